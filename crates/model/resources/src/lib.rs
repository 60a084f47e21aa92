//! The algebra of resources: exact amounts, what they are reserved for, and how they add and subtract.
//!
//! Scalars are integer thousandths, so sums are exact and order does not matter (rule 432). A
//! [`Resources`] is a normalised list: resources that add up are one entry (rule 433), zeros vanish
//! (rule 437). Everything inside uses the post-refinement form (a stack of reservations); the older
//! forms exist only while converting to and from `mezzo_mesos::v1::Resource`.
//!
//! What a disk, volume or provider means is not decided here; only whether two of them are the same
//! thing. JSON and protobuf are read by the floor above, which hands over decoded messages.

mod attributes;
mod convert;
mod display;
mod name;
mod parse;
mod quantities;
mod resource;
mod resources;
mod value;

pub use attributes::parse_attributes;
pub use convert::{Form, InvalidResource, validate_resource};
pub use display::display_proto;
pub use name::Name;
pub use parse::{ParseError, agent_resources, parse_resources};
pub use quantities::Quantities;
pub use resource::{Reservation, ReservationKind, Resource};
pub use resources::{Conversion, NotContained, Resources};
pub use value::{Overlap, Ranges, Scalar, Set, Value};

#[cfg(test)]
mod tests;
