//! Everything that can wake the master.

use std::sync::Arc;

use mezzo_ids::Principal;
use mezzo_mesos::v1;
use mezzo_protocol::link::ToMaster;

/// One SUBSCRIBE connection of a scheduler; minted by the driver, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u64);

/// One link session of an agent; minted by the driver when it is opened, each higher than all before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// One request that waits for a [`crate::Answer`]; minted by the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// What happened. Calls have been decoded and are of the right shape for their type's payload to be
/// looked at; nothing else about them has been checked.
#[derive(Debug)]
pub enum Input {
    /// A scheduler opened its event stream.
    Subscribe {
        /// Events go here until [`Input::StreamClosed`] or [`crate::Effect::CloseStream`].
        stream: StreamId,
        /// The text of the Mesos-Stream-Id header the answer will carry.
        stream_uuid: Arc<str>,
        /// Of type SUBSCRIBE, with `subscribe` set.
        call: Box<v1::scheduler::Call>,
        /// Who authenticated, if anybody.
        principal: Option<Principal>,
    },
    /// Any other scheduler call. Answered by [`crate::Effect::Answer`].
    SchedulerCall {
        /// To be answered.
        request: RequestId,
        /// Not of type SUBSCRIBE.
        call: Box<v1::scheduler::Call>,
        /// The Mesos-Stream-Id header.
        stream_uuid: Option<Arc<str>>,
        /// Who authenticated, if anybody.
        principal: Option<Principal>,
    },
    /// A scheduler's event stream broke, or was cut off for not reading.
    StreamClosed(StreamId),
    /// An operator call that changes something, or a v0 endpoint translated into one (for example
    /// POST /teardown). Answered by [`crate::Effect::Answer`].
    Operator {
        /// To be answered.
        request: RequestId,
        /// What is asked.
        call: OperatorCall,
        /// Who authenticated, if anybody.
        principal: Option<Principal>,
    },
    /// An agent said something. The first message of a link is Register or Reregister.
    FromAgent {
        /// Its link.
        link: LinkId,
        /// What it said.
        message: Box<ToMaster>,
    },
    /// The connection under a link broke; the session may be resumed.
    LinkDown(LinkId),
    /// The session goes on over a fresh connection; nothing was lost.
    LinkResumed(LinkId),
    /// The session can no longer be resumed; the agent must register again.
    LinkLost(LinkId),
    /// [`crate::Master::next_deadline`] has passed. Early or late is harmless.
    Timer,
}

/// State changes an operator can ask for.
#[derive(Debug)]
pub enum OperatorCall {
    /// A v1 call of a changing type (RESERVE_RESOURCES, UPDATE_WEIGHTS, DRAIN_AGENT, TEARDOWN ...).
    V1(Box<v1::master::Call>),
    /// DELETE /quota/{role}.
    RemoveQuota(String),
}
