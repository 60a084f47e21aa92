//! The state as a list of records, for rewriting a log that has grown (rules 404 to 411).

use std::sync::Arc;

use mezzo_ids::TaskId;
use mezzo_mesos::v1;
use mezzo_protocol::records::{
    AcknowledgedRecord, AgentIdentity, AgentRecord, ExecutorEnded, ExecutorKind, FrameworkEnded,
    FrameworkRecord, OperationRecord, ResourcesRecord, StandaloneRecord, UpdateRecord, agent_record::Record,
};

use crate::{
    agent::{Agent, container_proto},
    state::{Executor, Framework, Owner, Phase, Task},
};

impl Agent {
    /// Records that give the same state as all those made so far. Only what belongs to checkpointing
    /// frameworks is kept (rule 410).
    pub fn records(&self) -> Vec<AgentRecord> {
        let mut out = Vec::new();
        if self.state.id.is_some() {
            out.push(Record::Identity(AgentIdentity {
                info: Some((*self.state.info).clone()),
                boot_id: self.state.config.boot_id.clone(),
            }));
        }
        out.push(Record::Resources(ResourcesRecord { resources: (*self.state.total).clone() }));
        for framework in &self.state.completed_frameworks {
            self.framework_records(framework, &mut out);
            if framework.checkpoint() {
                let framework_id = Some(v1::FrameworkId { value: framework.id.as_str().into() });
                out.push(Record::FrameworkEnded(FrameworkEnded { framework_id }));
            }
        }
        for framework in self.state.frameworks.values() {
            self.framework_records(framework, &mut out);
        }
        for ((framework, task), stream) in self.streams.iter().filter(|(_, s)| s.checkpoint) {
            let owner = self.executor(framework, &stream.executor);
            if owner.is_some_and(|e| e.tasks.contains_key(task)) {
                continue;
            }
            for status in &stream.pending {
                out.push(update_record(framework, &stream.executor, status));
            }
        }
        for operation in self.state.operations.values() {
            out.push(Record::Operation(OperationRecord { operation: Some((**operation).clone()) }));
        }
        if let Some(drain) = &self.state.drain {
            out.push(Record::Drain(drain.config));
        }
        for (id, container) in self.state.containers.iter().filter(|(_, c)| c.owner == Owner::Standalone) {
            out.push(Record::Standalone(StandaloneRecord {
                container_id: Some(container_proto(id)),
                directory: container.sandbox.to_string(),
            }));
        }
        out.into_iter().map(|record| AgentRecord { record: Some(record) }).collect()
    }

    fn framework_records(&self, framework: &Framework, out: &mut Vec<Record>) {
        if !framework.checkpoint() {
            return;
        }
        out.push(Record::Framework(FrameworkRecord { info: Some((*framework.info).clone()) }));
        for executor in framework.completed_executors.iter().chain(framework.executors.values()) {
            self.executor_records(executor, out);
        }
    }

    fn executor_records(&self, executor: &Arc<Executor>, out: &mut Vec<Record>) {
        if executor.kind != ExecutorKind::Command {
            out.push(Self::executor_record(executor));
        }
        for task in &executor.completed_tasks {
            self.task_records(executor, task, out);
        }
        for task in executor.tasks.values() {
            self.task_records(executor, task, out);
        }
        if executor.phase == Phase::Terminated {
            out.push(Record::ExecutorEnded(ExecutorEnded {
                framework_id: Some(v1::FrameworkId { value: executor.framework.as_str().into() }),
                executor_id: Some(v1::ExecutorId { value: executor.id.as_str().into() }),
                container_id: Some(container_proto(&executor.container)),
            }));
        }
    }

    fn task_records(&self, executor: &Executor, task: &Task, out: &mut Vec<Record>) {
        out.push(Self::task_record(executor, task));
        let id = TaskId::from(task.info.task_id.value.as_str());
        let stream = self.streams.get(&(executor.framework.clone(), id.clone()));
        let pending =
            |status: &v1::TaskStatus| stream.is_some_and(|s| s.pending.iter().any(|p| p.uuid == status.uuid));
        for status in task.statuses.iter().filter(|s| !pending(s)) {
            out.push(update_record(&executor.framework, &executor.id, status));
            out.push(Record::Acknowledged(AcknowledgedRecord {
                framework_id: Some(v1::FrameworkId { value: executor.framework.as_str().into() }),
                task_id: Some(task.info.task_id.clone()),
                uuid: status.uuid.clone().unwrap_or_default(),
            }));
        }
        for status in stream.iter().flat_map(|s| &s.pending) {
            out.push(update_record(&executor.framework, &executor.id, status));
        }
        if let Some(kill) = &task.run.kill {
            out.push(crate::kill::record(&executor.framework, &executor.id, &id, kill));
        }
    }
}

fn update_record(framework: &str, executor: &str, status: &v1::TaskStatus) -> Record {
    Record::Update(UpdateRecord {
        framework_id: Some(v1::FrameworkId { value: framework.to_owned() }),
        executor_id: Some(v1::ExecutorId { value: executor.to_owned() }),
        status: Some(status.clone()),
    })
}
