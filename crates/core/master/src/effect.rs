//! Everything the master can do.

use std::sync::Arc;

use mezzo_mesos::v1;
use mezzo_protocol::{link::ToAgent, records::RegistryRecord};

use crate::input::{LinkId, RequestId, StreamId};

/// Performed in order; see the crate's page about durability.
#[derive(Debug)]
pub enum Effect {
    /// Make this durable before anything behind it.
    Persist(Box<RegistryRecord>),
    /// Send an event to a scheduler. Encoded by the driver in the format of the stream.
    Event {
        /// Where to.
        stream: StreamId,
        /// What.
        event: Arc<v1::scheduler::Event>,
    },
    /// End a scheduler's stream after what was sent on it.
    CloseStream(StreamId),
    /// Keep a heartbeat running on this stream from now on: one at once, then every 15 seconds.
    StartHeartbeat(StreamId),
    /// Send to an agent.
    ToAgent {
        /// Where to.
        link: LinkId,
        /// What.
        message: Box<ToAgent>,
    },
    /// Close a link for good after what was sent on it.
    CloseLink(LinkId),
    /// Answer a request.
    Answer {
        /// Which.
        request: RequestId,
        /// How.
        answer: Answer,
    },
    /// Tell operator subscribers.
    Publish(Arc<v1::master::Event>),
    /// The master cannot go on; say why and exit with status 1 (rules 253, 488).
    Exit(String),
}

/// Status and body of an answer to a call.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// 200 without body.
    Ok,
    /// 202 without body.
    Accepted,
    /// 400 with a text.
    BadRequest(String),
    /// 403 with a text.
    Forbidden(String),
    /// 404 with a text.
    NotFound(String),
    /// 409 with a text.
    Conflict(String),
    /// 501 with a text.
    NotImplemented(String),
    /// 503 with a text.
    Unavailable(String),
}
