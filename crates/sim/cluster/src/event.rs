//! Everything that can happen next.

use std::sync::Arc;

use bytes::Bytes;
use mezzo_ids::ContainerId;
use mezzo_master::LinkId;
use mezzo_mesos::v1::scheduler;
use mezzo_protocol::link::{ToAgent, ToMaster};

use crate::scheduler::Note;

/// Which end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Agent,
    Master,
}

/// What travels on a link's connection.
#[derive(Debug)]
pub(crate) enum Packet {
    /// A frame of the real protocol, without its length.
    Frame(Bytes),
    /// The same without encoding: opening, with the earlier link.
    PlainHello(Option<LinkId>),
    PlainWelcome(LinkId),
    Up(Box<ToMaster>),
    Down(Box<ToAgent>),
}

/// What happens to a container by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ContainerEvent {
    Starts,
    Fails,
    Ends(i32),
}

/// One thing that happens. `life` is that of the process at the time of planning: a later one is not
/// concerned.
#[derive(Debug)]
pub(crate) enum Event {
    AgentWake(u32),
    AgentStart {
        agent: u32,
        life: u32,
    },
    AgentSynced {
        agent: u32,
        life: u32,
    },
    AgentInput {
        agent: u32,
        life: u32,
        input: Box<mezzo_agent::Input>,
    },
    AgentConnect {
        agent: u32,
        life: u32,
    },
    /// An agent looks at what runs on its machine.
    AgentCheck {
        agent: u32,
        life: u32,
        check: mezzo_agent::CheckId,
    },
    OpeningOver {
        conn: u32,
    },
    AckDue {
        conn: u32,
        side: Side,
    },
    Packet {
        conn: u32,
        to: Side,
        packet: Packet,
    },
    Closed {
        conn: u32,
        at: Side,
    },
    Container {
        agent: u32,
        serial: u32,
        id: ContainerId,
        what: ContainerEvent,
    },

    MasterWake,
    MasterStart {
        life: u32,
    },
    MasterSynced {
        life: u32,
    },
    MasterInput {
        life: u32,
        input: Box<mezzo_master::Input>,
    },
    ResumeOver {
        link: LinkId,
        conn: u32,
    },
    Heartbeat {
        stream: u64,
    },

    SchedulerWake(u32),
    SchedulerStart {
        scheduler: u32,
        life: u32,
    },
    Subscribe {
        scheduler: u32,
        stream: u64,
        call: Box<scheduler::Call>,
        /// Of the master's process in whose socket it waits, if it waits.
        waits_at: Option<u32>,
    },
    Call {
        scheduler: u32,
        stream: u64,
        call: Box<scheduler::Call>,
        note: Option<Box<Note>>,
        answer_lost: bool,
    },
    Answered {
        scheduler: u32,
        life: u32,
        refused: bool,
        note: Box<Note>,
    },
    StreamSays {
        scheduler: u32,
        stream: u64,
        event: Arc<scheduler::Event>,
    },
    StreamClosedAtScheduler {
        scheduler: u32,
        stream: u64,
    },
    StreamClosedAtMaster {
        stream: u64,
    },

    /// The store of the services node has taken its records, or refuses them.
    ServicesSynced {
        life: u32,
    },
    ServicesWake {
        life: u32,
    },
    ServicesInput {
        life: u32,
        input: Box<mezzo_services::Input>,
    },
    /// An operator asks something of the services node.
    Order(u32),

    Fault(u32),
    FaultOver(u32),
    Sample,
    Look,
}

impl Event {
    /// For the running hash and the counts: which kind it is and about whom.
    pub(crate) fn key(&self) -> u64 {
        let (kind, whom) = match self {
            Self::AgentWake(agent) => (1, u64::from(*agent)),
            Self::AgentStart { agent, .. } => (2, u64::from(*agent)),
            Self::AgentSynced { agent, .. } => (3, u64::from(*agent)),
            Self::AgentInput { agent, .. } => (4, u64::from(*agent)),
            Self::AgentConnect { agent, .. } => (5, u64::from(*agent)),
            Self::OpeningOver { conn } => (6, u64::from(*conn)),
            Self::AckDue { conn, .. } => (7, u64::from(*conn)),
            Self::Packet { conn, .. } => (8, u64::from(*conn)),
            Self::Closed { conn, .. } => (9, u64::from(*conn)),
            Self::Container { agent, serial, .. } => (10, (u64::from(*agent) << 32) | u64::from(*serial)),
            Self::MasterWake => (11, 0),
            Self::MasterStart { life } => (12, u64::from(*life)),
            Self::MasterSynced { life } => (13, u64::from(*life)),
            Self::MasterInput { .. } => (14, 0),
            Self::ResumeOver { link, .. } => (15, link.0),
            Self::Heartbeat { stream } => (16, *stream),
            Self::SchedulerWake(scheduler) => (17, u64::from(*scheduler)),
            Self::SchedulerStart { scheduler, .. } => (18, u64::from(*scheduler)),
            Self::Subscribe { stream, .. } => (19, *stream),
            Self::Call { stream, .. } => (20, *stream),
            Self::Answered { scheduler, .. } => (21, u64::from(*scheduler)),
            Self::StreamSays { stream, .. } => (22, *stream),
            Self::StreamClosedAtScheduler { stream, .. } => (23, *stream),
            Self::StreamClosedAtMaster { stream } => (24, *stream),
            Self::Fault(number) => (25, u64::from(*number)),
            Self::FaultOver(number) => (26, u64::from(*number)),
            Self::Sample => (27, 0),
            Self::Look => (28, 0),
            Self::ServicesSynced { life } => (29, u64::from(*life)),
            Self::ServicesInput { .. } => (30, 0),
            Self::ServicesWake { life } => (32, u64::from(*life)),
            Self::Order(number) => (31, u64::from(*number)),
            Self::AgentCheck { agent, check, .. } => (33, (check.0 << 32) | u64::from(*agent)),
        };
        (kind << 56) ^ whom
    }
}
