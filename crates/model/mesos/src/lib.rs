//! The messages of the Mesos v1 API as plain structs, one module per protobuf package.
//!
//! A core may hold these; parsing and printing them is `mezzo-json`'s (JSON) and prost's (protobuf).
//! The `.proto` files under `proto/` keep the declaration order of the fields, which is the order of
//! keys in Mesos' JSON.

#![expect(
    missing_docs,
    clippy::allow_attributes,
    reason = "generated messages; their meaning is in the reference tables"
)]

pub mod secrets;

include!(concat!(env!("OUT_DIR"), "/mod.rs"));

pub use mesos::v1;
