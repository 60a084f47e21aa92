//! Operations on resources: reserve, unreserve, create, destroy, grow, shrink, and disks of providers.

use mezzo_mesos::v1;

use crate::{
    master::{Master, Moment},
    scheduler::Acceptance,
};

/// Validates one operation of an ACCEPT that is not a launch against what the acceptance has left, and
/// applies it: `acceptance.remaining` changes, the agent is told. See [`Acceptance`].
pub(crate) fn on_accepted_operation(
    _master: &mut Master,
    _moment: &mut Moment<'_>,
    _acceptance: &mut Acceptance,
    _operation: v1::offer::Operation,
) {
}

/// Books a status of an operation: `latest` decides about its resources, `status` is forwarded when the
/// operation has an id, and acknowledged to the agent when it has none but a uuid.
pub(crate) fn on_status(
    _master: &mut Master,
    _moment: &mut Moment<'_>,
    _agent: &mezzo_ids::AgentId,
    _uuid: &mezzo_ids::Uuid,
    _framework: Option<&mezzo_ids::FrameworkId>,
    _status: v1::OperationStatus,
    _latest: v1::OperationStatus,
) {
}

/// An agent is back with these unfinished or unacknowledged operations: those that the master lacks are
/// booked, those that the agent lacks are asked for.
pub(crate) fn on_agent_returned(
    _master: &mut Master,
    _moment: &mut Moment<'_>,
    _agent: &mezzo_ids::AgentId,
    _operations: Vec<v1::Operation>,
) {
}
