//! Operations on the agent's own resources: reservations and persistent volumes (rules 187 to 204).

use std::{sync::Arc, time::Duration};

use mezzo_ids::Uuid;
use mezzo_mesos::v1;
use mezzo_protocol::{
    link::{AcknowledgeOperation, ApplyOperation, OperationStatusUpdate, ReconcileOperations, to_master},
    records::{OperationAcknowledged, OperationRecord, ResourcesRecord, agent_record::Record},
};
use mezzo_resources::{Conversion, Form, Resource, Resources, Value};
use mezzo_time::Timestamp;

use crate::{
    agent::{Agent, Moment},
    config::{UPDATE_RETRY_MAX, UPDATE_RETRY_MIN},
    effect::Effect,
    timers::Timer,
};

/// When an operation's status is sent again.
#[derive(Debug, Default)]
pub(crate) struct OperationStream {
    retry: Option<(Timestamp, Duration)>,
}

/// Whether all reserved and persistent resources among those needed are known (rule 424).
pub(crate) fn knows<'a>(total: &[v1::Resource], needed: impl Iterator<Item = &'a v1::Resource>) -> bool {
    let kept = |r: &&v1::Resource| {
        let dynamic = v1::resource::reservation_info::Type::Dynamic as i32;
        r.reservations.iter().any(|s| s.r#type == Some(dynamic))
            || r.disk.as_ref().is_some_and(|d| d.persistence.is_some())
    };
    let needed: Vec<v1::Resource> = needed.filter(kept).cloned().collect();
    if needed.is_empty() {
        return true;
    }
    let (Ok(needed), Ok(total)) = (Resources::from_proto(&needed), Resources::from_proto(total)) else {
        return false;
    };
    total.contains(&needed.unallocated())
}

/// A volume as the plain disk it was made from.
fn stripped(volume: &Resource) -> Resource {
    let source = volume.disk().and_then(|d| d.source.clone());
    let disk = source.map(|source| v1::resource::DiskInfo { source: Some(source), ..Default::default() });
    volume.clone().with_disk(disk).with_copies(None)
}

/// Why an operation cannot be applied.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unapplicable {
    #[error("{0}")]
    Invalid(#[from] mezzo_resources::InvalidResource),
    #[error("The operation's type needs a resource provider or is not known")]
    Unsupported,
    #[error("The operation lacks the message of its type")]
    Incomplete,
    #[error("{0}")]
    NotContained(#[from] mezzo_resources::NotContained),
    #[error("A volume's size must stay above zero")]
    Size,
}

/// What an operation takes and gives.
fn conversion(operation: &v1::offer::Operation) -> Result<Conversion, Unapplicable> {
    use v1::offer::operation::Type;
    let read = |list: &[v1::Resource]| Ok::<_, Unapplicable>(Resources::from_proto(list)?.unallocated());
    let both = |consumed, converted| Ok(Conversion { consumed, converted });
    match operation.r#type() {
        Type::Reserve => {
            let reserve = operation.reserve.as_ref().ok_or(Unapplicable::Incomplete)?;
            let converted = read(&reserve.resources)?;
            let source =
                if reserve.source.is_empty() { converted.pop_reservation() } else { read(&reserve.source)? };
            both(source, converted)
        }
        Type::Unreserve => {
            let consumed = read(&operation.unreserve.as_ref().ok_or(Unapplicable::Incomplete)?.resources)?;
            let converted = consumed.pop_reservation();
            both(consumed, converted)
        }
        Type::Create => {
            let volumes = read(&operation.create.as_ref().ok_or(Unapplicable::Incomplete)?.volumes)?;
            both(volumes.map(|v| stripped(&v)), volumes)
        }
        Type::Destroy => {
            let volumes = read(&operation.destroy.as_ref().ok_or(Unapplicable::Incomplete)?.volumes)?;
            let converted = volumes.map(|v| stripped(&v));
            both(volumes, converted)
        }
        Type::GrowVolume => {
            let grow = operation.grow_volume.as_ref().ok_or(Unapplicable::Incomplete)?;
            let volume = read(std::slice::from_ref(&grow.volume))?;
            let addition = read(std::slice::from_ref(&grow.addition))?;
            let more = addition.scalar("disk");
            let grown = volume.map(|v| match v.as_scalar() {
                Some(size) => {
                    let sum = mezzo_resources::Scalar::from_f64(size.as_f64() + more.as_f64());
                    v.with_value(Value::Scalar(sum))
                }
                None => v,
            });
            let mut consumed = volume;
            consumed += &addition;
            both(consumed, grown)
        }
        Type::ShrinkVolume => {
            let shrink = operation.shrink_volume.as_ref().ok_or(Unapplicable::Incomplete)?;
            let volume = read(std::slice::from_ref(&shrink.volume))?;
            let less = mezzo_resources::Scalar::from_f64(shrink.subtract.value);
            let Some(rest) = volume.scalar("disk").checked_sub(less) else { return Err(Unapplicable::Size) };
            let mut converted = volume.map(|v| v.with_value(Value::Scalar(rest)));
            converted += &volume.map(|v| stripped(&v).with_value(Value::Scalar(less)));
            both(volume, converted)
        }
        _ => Err(Unapplicable::Unsupported),
    }
}

impl Agent {
    pub(crate) fn on_apply_operation(&mut self, m: &mut Moment<'_>, apply: ApplyOperation) {
        let Some(info) = apply.operation else { return };
        let Some(uuid) = Uuid::from_slice(&apply.operation_uuid) else { return };
        if self.state.operations.contains_key(&uuid) {
            // A repeated request: its status is on the way.
            return;
        }
        let outdated =
            !apply.resource_version_uuid.is_empty() && apply.resource_version_uuid != self.resource_version.0;
        let applied = if outdated {
            Err("Operation assumes outdated resource state".to_owned())
        } else {
            self.apply(&info).map_err(|error| error.to_string())
        };
        let state = match &applied {
            Ok(()) => v1::OperationState::OperationFinished,
            Err(_) => v1::OperationState::OperationDropped,
        };
        // Without an id nobody wants to know, so the master is told once and nothing is kept.
        let wanted = info.id.is_some();
        let status = v1::OperationStatus {
            operation_id: info.id.clone(),
            state: state as i32,
            message: applied.err(),
            uuid: wanted.then(|| v1::Uuid { value: m.uuid().to_vec() }),
            agent_id: Some(v1::AgentId { value: self.id().as_str().into() }),
            ..Default::default()
        };
        let operation = v1::Operation {
            framework_id: apply.framework_id,
            agent_id: status.agent_id.clone(),
            info,
            latest_status: status.clone(),
            statuses: vec![status],
            uuid: v1::Uuid { value: uuid.to_vec() },
        };
        if wanted {
            self.persist(Record::Operation(OperationRecord { operation: Some(operation.clone()) }));
            self.state.operations.insert(uuid, Arc::new(operation));
            self.send_operation(m, uuid, UPDATE_RETRY_MIN);
        } else {
            self.tell(operation_update(&operation));
        }
    }

    /// Changes the total and makes or empties what lies on the disk.
    fn apply(&mut self, info: &v1::offer::Operation) -> Result<(), Unapplicable> {
        let conversion = conversion(info)?;
        let total = Resources::from_proto(&self.state.total)?;
        let total = total.apply(&conversion)?.to_proto(Form::PostRefinement);
        self.persist(Record::Resources(ResourcesRecord { resources: total.clone() }));
        self.state.total = Arc::new(total);
        let (create, volumes) = match (&info.create, &info.destroy) {
            (Some(create), _) => (true, &create.volumes),
            (_, Some(destroy)) => (false, &destroy.volumes),
            _ => return Ok(()),
        };
        for volume in volumes {
            self.effects.push(Effect::Volume { create, volume: Box::new(volume.clone()) });
        }
        Ok(())
    }

    fn send_operation(&mut self, m: &Moment<'_>, uuid: Uuid, wait: Duration) {
        let Some(operation) = self.state.operations.get(&uuid) else { return };
        if !self.state.registered {
            return;
        }
        let message = operation_update(operation);
        let stream = self.operation_streams.entry(uuid).or_default();
        let at = m.now + wait;
        if let Some((old, _)) = stream.retry.replace((at, wait)) {
            self.timers.clear(old, Timer::RetryOperation(uuid));
        }
        self.timers.set(at, Timer::RetryOperation(uuid));
        self.tell(message);
    }

    pub(crate) fn on_operation_retry(&mut self, m: &mut Moment<'_>, at: Timestamp, uuid: Uuid) {
        let Some(stream) = self.operation_streams.get_mut(&uuid) else { return };
        let Some((_, wait)) = stream.retry.take_if(|(due, _)| *due == at) else { return };
        self.send_operation(m, uuid, (wait * 2).min(UPDATE_RETRY_MAX));
    }

    pub(crate) fn resend_operations(&mut self, m: &mut Moment<'_>) {
        let all: Vec<Uuid> = self.state.operations.keys().copied().collect();
        for uuid in all {
            self.send_operation(m, uuid, UPDATE_RETRY_MIN);
        }
    }

    pub(crate) fn on_acknowledge_operation(&mut self, ack: AcknowledgeOperation) {
        let Some(uuid) = Uuid::from_slice(&ack.operation_uuid) else { return };
        let Some(operation) = self.state.operations.get(&uuid) else { return };
        let pending = operation.latest_status.uuid.as_ref().map(|u| u.value.as_slice());
        if pending != Some(&ack.status_uuid) {
            return;
        }
        self.state.operations.remove(&uuid);
        if let Some((at, _)) = self.operation_streams.remove(&uuid).and_then(|s| s.retry) {
            self.timers.clear(at, Timer::RetryOperation(uuid));
        }
        self.persist(Record::OperationAcknowledged(OperationAcknowledged {
            operation_uuid: ack.operation_uuid,
            status_uuid: ack.status_uuid,
        }));
    }

    /// Operations that the master believes to be here and this agent never saw, or is done with.
    pub(crate) fn on_reconcile_operations(&mut self, list: ReconcileOperations) {
        for uuid in list.operation_uuids {
            if Uuid::from_slice(&uuid).is_some_and(|uuid| self.state.operations.contains_key(&uuid)) {
                continue;
            }
            let status = v1::OperationStatus {
                state: v1::OperationState::OperationDropped as i32,
                message: Some("Reconciliation: Operation is unknown to the agent".into()),
                agent_id: Some(v1::AgentId { value: self.id().as_str().into() }),
                ..Default::default()
            };
            self.tell(to_master::Message::OperationStatusUpdate(OperationStatusUpdate {
                framework_id: None,
                operation_uuid: uuid,
                latest_status: Some(status.clone()),
                status: Some(status),
            }));
        }
    }
}

fn operation_update(operation: &v1::Operation) -> to_master::Message {
    to_master::Message::OperationStatusUpdate(OperationStatusUpdate {
        framework_id: operation.framework_id.clone(),
        operation_uuid: operation.uuid.value.clone(),
        status: operation.statuses.last().cloned(),
        latest_status: Some(operation.latest_status.clone()),
    })
}
