//! Instances as records.

use mezzo_protocol::services as proto;
use mezzo_services_model::{
    AgentRef, Condition, Goal, Instance, InstanceId, Reservation, ReservationState, Task, VolumeId,
};
use mezzo_time::Timestamp;

use super::{RecordError, path, task_id};

const CONDITIONS: [Condition; 15] = [
    Condition::Scheduled,
    Condition::Provisioned,
    Condition::Staging,
    Condition::Starting,
    Condition::Running,
    Condition::Killing,
    Condition::Unreachable,
    Condition::UnreachableInactive,
    Condition::Unknown,
    Condition::Finished,
    Condition::Killed,
    Condition::Failed,
    Condition::Error,
    Condition::Gone,
    Condition::Dropped,
];

const GOALS: [Goal; 3] = [Goal::Running, Goal::Stopped, Goal::Decommissioned];

pub(super) fn write(instance: &Instance) -> proto::Instance {
    proto::Instance {
        id: instance.id.to_string(),
        run_spec: instance.run_spec.to_string(),
        version: instance.version.as_nanos(),
        goal: instance.goal.name().into(),
        condition: instance.condition.name().into(),
        since: instance.since.as_nanos(),
        active_since: instance.active_since.map(Timestamp::as_nanos),
        healthy: instance.healthy,
        agent: instance.agent.as_ref().map(|agent| proto::Agent {
            id: agent.id.clone(),
            host: agent.host.clone(),
            region: agent.region.clone(),
            zone: agent.zone.clone(),
            attributes: agent.attributes.clone(),
        }),
        tasks: instance.tasks.iter().map(|(name, task)| write_task(name, task)).collect(),
        incarnation: instance.incarnation,
        reservation: instance.reservation.as_ref().map(write_reservation),
        role: instance.role.clone(),
    }
}

fn write_task(name: &str, task: &Task) -> proto::Task {
    proto::Task {
        name: name.to_owned(),
        id: task.id.to_string(),
        condition: task.condition.name().into(),
        staged_at: task.staged_at.as_nanos(),
        started_at: task.started_at.map(Timestamp::as_nanos),
        status: task.status.as_deref().cloned(),
        host_ports: task.host_ports.iter().copied().map(u32::from).collect(),
        healthy: task.healthy,
    }
}

fn write_reservation(reservation: &Reservation) -> proto::Reservation {
    use proto::reservation::State;
    let (state, deadline) = match reservation.state {
        ReservationState::New { deadline } => (State::New, deadline.as_nanos()),
        ReservationState::Launched => (State::Launched, 0),
        ReservationState::Suspended => (State::Suspended, 0),
    };
    let volumes = reservation.volumes.iter().map(|volume| proto::Volume {
        run_spec: volume.run_spec.to_string(),
        container_path: volume.container_path.clone(),
        uuid: volume.uuid.clone(),
    });
    proto::Reservation { volumes: volumes.collect(), state: state.into(), deadline }
}

pub(super) fn read(key: &str, record: proto::Instance) -> Result<Instance, RecordError> {
    let wrong = |text: &str, what| RecordError::Text { key: key.to_owned(), text: text.to_owned(), what };
    let condition = |text: &str| {
        let found = CONDITIONS.into_iter().find(|condition| condition.name() == text);
        found.ok_or_else(|| wrong(text, "condition"))
    };
    let mut tasks = std::collections::BTreeMap::new();
    for task in record.tasks {
        let ports: Result<Vec<u16>, _> = task.host_ports.iter().map(|port| u16::try_from(*port)).collect();
        let read = Task {
            id: task_id(key, &task.id)?,
            condition: condition(&task.condition)?,
            staged_at: Timestamp::from_nanos(task.staged_at),
            started_at: task.started_at.map(Timestamp::from_nanos),
            status: task.status.map(Box::new),
            host_ports: ports.map_err(|_| wrong(&format!("{:?}", task.host_ports), "list of ports"))?,
            healthy: task.healthy,
        };
        tasks.insert(task.name, read);
    }
    let goal = GOALS.into_iter().find(|goal| goal.name() == record.goal);
    Ok(Instance {
        id: InstanceId::parse(&record.id).map_err(|_| wrong(&record.id, "instance id"))?,
        run_spec: path(key, &record.run_spec)?,
        version: Timestamp::from_nanos(record.version),
        goal: goal.ok_or_else(|| wrong(&record.goal, "goal"))?,
        condition: condition(&record.condition)?,
        since: Timestamp::from_nanos(record.since),
        active_since: record.active_since.map(Timestamp::from_nanos),
        healthy: record.healthy,
        agent: record.agent.map(|agent| AgentRef {
            id: agent.id,
            host: agent.host,
            region: agent.region,
            zone: agent.zone,
            attributes: agent.attributes,
        }),
        tasks,
        incarnation: record.incarnation,
        reservation: record.reservation.map(|reservation| read_reservation(key, reservation)).transpose()?,
        role: record.role,
    })
}

fn read_reservation(key: &str, record: proto::Reservation) -> Result<Reservation, RecordError> {
    use proto::reservation::State;
    let state = match record.state() {
        State::New => ReservationState::New { deadline: Timestamp::from_nanos(record.deadline) },
        State::Launched => ReservationState::Launched,
        State::Suspended => ReservationState::Suspended,
    };
    let volumes = record.volumes.into_iter().map(|volume| {
        Ok(VolumeId {
            run_spec: path(key, &volume.run_spec)?,
            container_path: volume.container_path,
            uuid: volume.uuid,
        })
    });
    Ok(Reservation { volumes: volumes.collect::<Result<_, RecordError>>()?, state })
}
