//! Container images: found, fetched, checked, and unpacked into directories that overlayfs puts together.
//!
//! A [`Store`] is a directory that all containers of an agent share. [`Store::pull`] brings an image from a
//! registry, a layout folder or a `docker save` archive, and blocks; the daemon calls it on a thread of its own.
//! The result names the unpacked layers, lowest first, and holds a lease: what is leased is never collected.
//!
//! Nothing an image says is believed before it was hashed, and nothing it holds leaves its layer's directory:
//! [`registry`], [`manifest`], [`config`] and [`unpack`] each say what they refuse. Not done here: mounting,
//! running credential helpers, signatures, pushing, building.
//!
//! Sources: the OCI image and distribution specifications; Docker's version 2, schema 2; rules 329 and 369.

mod config;
mod digest;
mod error;
mod integrity;
mod limits;
mod local;
mod manifest;
mod progress;
mod reference;
mod registry;
mod source;
mod store;
#[cfg(test)]
mod testing;
mod unpack;

pub use config::{ImageConfig, check_user};
pub use digest::{Digest, DigestError};
pub use error::{PullError, Reason};
pub use limits::Limits;
pub use manifest::Platform;
pub use progress::Progress;
pub use reference::{Reference, ReferenceError};
pub use registry::{Accounts, AccountsError, RegistrySettings};
pub use store::{Collected, Image, Listed, OpenError, Policy, PullOptions, Settings, Source, Store};
pub use unpack::UnpackError;
