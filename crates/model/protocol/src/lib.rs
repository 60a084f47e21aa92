//! Mezzo's own messages: what agents and masters say to each other, and what daemons keep on disk.
//!
//! Plain structs that the cores hold and make; [`link`] is framed by `wire/link`, [`records`] is
//! written by `edge/store`. Both only ever grow fields, so neighbours of one version apart interoperate.

/// The messages between agent and master.
#[expect(missing_docs, clippy::large_enum_variant, reason = "generated; described in proto/mezzo/link.proto")]
pub mod link {
    include!(concat!(env!("OUT_DIR"), "/mezzo.link.rs"));
}

/// The master's registry and the agent's append log.
#[expect(missing_docs, reason = "generated; described in proto/mezzo/records.proto")]
pub mod records {
    include!(concat!(env!("OUT_DIR"), "/mezzo.records.rs"));
}

/// What the services daemon keeps.
#[expect(missing_docs, reason = "generated; described in proto/mezzo/services.proto")]
pub mod services {
    include!(concat!(env!("OUT_DIR"), "/mezzo.services.rs"));
}
