//! Containers made through the API: children of running ones, and standalone ones (rules 354 to 361, 371).

use std::sync::Arc;

use mezzo_ids::{ContainerId, ExecutorId, FrameworkId};
use mezzo_mesos::v1;
use mezzo_protocol::records::{ExecutorKind, StandaloneRecord, StandaloneRemoved, agent_record::Record};
use v1::agent::{Call, Response, call, response};

use crate::{
    agent::{Agent, Moment, container_proto, container_text},
    effect::{Answer, ContainerSpec, Effect, Limits},
    environment,
    input::RequestId,
    resources, sandbox,
    state::{Container, Owner, Stage, Termination, Verdict},
    text,
};

/// Longest name of one container; it becomes the name of a folder.
const NAME_MAX: usize = 250;
/// Deepest nesting; each level is a level of folders.
const DEPTH_MAX: usize = 8;
/// Requests that may wait for the end of one container at once.
const WAITERS_MAX: usize = 1024;
/// Containers made through the API that are remembered at once, so that a client that never removes
/// what has ended cannot fill the memory.
const API_CONTAINERS_MAX: usize = 10_000;
const SIGKILL: i32 = 9;

/// What a launch call asks for.
struct Wanted {
    id: v1::ContainerId,
    command: Option<v1::CommandInfo>,
    container: Option<v1::ContainerInfo>,
    resources: Vec<v1::Resource>,
    limits: Limits,
    /// It belongs to one client's session (DEBUG class).
    session: bool,
}

/// What is wrong with an id, part by part.
fn id_fault(id: &v1::ContainerId) -> Option<String> {
    let mut depth = 0;
    let mut next = Some(id);
    while let Some(part) = next {
        depth += 1;
        let value = &part.value;
        let bad = |c: char| c.is_control() || matches!(c, '/' | '\\' | '.' | ' ');
        if value.is_empty() {
            return Some("'ContainerID.value' must be non-empty".into());
        }
        if value.len() > NAME_MAX || value.contains(bad) {
            return Some(format!("'ContainerID.value' '{value}' is too long or contains invalid characters"));
        }
        if depth > DEPTH_MAX {
            return Some(format!("Containers nest at most {DEPTH_MAX} levels deep"));
        }
        next = part.parent.as_deref();
    }
    None
}

/// What is wrong with the resources of a standalone container (rule 371).
fn resources_fault(list: &[v1::Resource]) -> Option<&'static str> {
    for resource in list {
        let reserved = !resource.reservations.is_empty()
            || resource.reservation.is_some()
            || resource.role.as_deref().is_some_and(|role| role != "*");
        if reserved {
            return Some("Resources of a standalone container must be unreserved");
        }
        if resource.revocable.is_some() {
            return Some("Resources of a standalone container must not be revocable");
        }
        if resource.disk.as_ref().is_some_and(|d| d.persistence.is_some()) {
            return Some("A standalone container cannot use persistent volumes");
        }
    }
    None
}

impl Agent {
    pub(crate) fn on_operator(&mut self, request: RequestId, call: Call) {
        use call::Type;
        let answer = match call.r#type() {
            Type::LaunchNestedContainer => match call.launch_nested_container {
                None => missing("launch_nested_container"),
                Some(l) if l.container_id.parent.is_none() => {
                    missing("launch_nested_container.container_id.parent")
                }
                Some(l) => {
                    let wanted = Wanted {
                        id: l.container_id,
                        command: l.command,
                        container: l.container,
                        resources: Vec::new(),
                        limits: Limits::default(),
                        session: false,
                    };
                    return self.launch_container(request, wanted, "launch_nested_container");
                }
            },
            Type::LaunchNestedContainerSession => match call.launch_nested_container_session {
                None => missing("launch_nested_container_session"),
                Some(l) if l.container_id.parent.is_none() => {
                    missing("launch_nested_container_session.container_id.parent")
                }
                Some(l) => {
                    let wanted = Wanted {
                        id: l.container_id,
                        command: l.command,
                        container: l.container,
                        resources: Vec::new(),
                        limits: Limits::default(),
                        session: true,
                    };
                    return self.launch_container(request, wanted, "launch_nested_container_session");
                }
            },
            Type::LaunchContainer => match call.launch_container {
                None => missing("launch_container"),
                Some(l) => {
                    let limit = |name: &str| l.limits.get(name).map(|limit| limit.value);
                    let wanted = Wanted {
                        limits: Limits { cpus: limit("cpus"), mem: limit("mem") },
                        id: l.container_id,
                        command: l.command,
                        container: l.container,
                        resources: l.resources,
                        session: false,
                    };
                    return self.launch_container(request, wanted, "launch_container");
                }
            },
            Type::WaitNestedContainer => match call.wait_nested_container {
                None => missing("wait_nested_container"),
                Some(w) if w.container_id.parent.is_none() => {
                    missing("wait_nested_container.container_id.parent")
                }
                Some(w) => return self.wait_container(request, &w.container_id, true),
            },
            Type::WaitContainer => match call.wait_container {
                None => missing("wait_container"),
                Some(w) => return self.wait_container(request, &w.container_id, false),
            },
            Type::KillNestedContainer => match call.kill_nested_container {
                None => missing("kill_nested_container"),
                Some(k) if k.container_id.parent.is_none() => {
                    missing("kill_nested_container.container_id.parent")
                }
                Some(k) => self.kill_container(&k.container_id, k.signal),
            },
            Type::KillContainer => match call.kill_container {
                None => missing("kill_container"),
                Some(k) => self.kill_container(&k.container_id, k.signal),
            },
            Type::RemoveNestedContainer => match call.remove_nested_container {
                None => missing("remove_nested_container"),
                Some(r) if r.container_id.parent.is_none() => {
                    missing("remove_nested_container.container_id.parent")
                }
                Some(r) => self.remove_container(&r.container_id),
            },
            Type::RemoveContainer => match call.remove_container {
                None => missing("remove_container"),
                Some(r) => self.remove_container(&r.container_id),
            },
            Type::AddResourceProviderConfig
            | Type::UpdateResourceProviderConfig
            | Type::RemoveResourceProviderConfig
            | Type::MarkResourceProviderGone => {
                Answer::NotImplemented("Resource providers are not supported by this agent".into())
            }
            _ => Answer::NotImplemented(String::new()),
        };
        self.answer(request, answer);
    }

    fn launch_container(&mut self, request: RequestId, wanted: Wanted, field: &str) {
        let invalid = |text: String| Answer::BadRequest(format!("Failed to validate agent::Call: {text}"));
        if let Some(fault) = id_fault(&wanted.id) {
            return self.answer(request, invalid(format!("'{field}.container_id' is invalid: {fault}")));
        }
        if wanted.id.parent.is_none()
            && let Some(fault) = resources_fault(&wanted.resources)
        {
            return self.answer(request, invalid(fault.into()));
        }
        let id = container_text(&wanted.id);
        if self.state.containers.contains_key(&id) {
            return self.answer(request, Answer::Accepted);
        }
        let made =
            self.state.containers.values().filter(|c| matches!(c.owner, Owner::Nested | Owner::Standalone));
        if made.count() >= API_CONTAINERS_MAX {
            return self
                .answer(request, Answer::Unavailable("Too many containers; remove ended ones".into()));
        }
        let config = self.state.config.clone();
        let (parent, directory, user, owner) = match &wanted.id.parent {
            Some(parent) => {
                let parent = container_text(parent);
                let Some(known) = self.state.containers.get(&parent) else {
                    let text = format!("Parent container {parent} does not exist");
                    return self.answer(request, Answer::BadRequest(text));
                };
                if !matches!(known.stage, Stage::Running(_)) {
                    let text = format!("Parent container {parent} is not running");
                    return self.answer(request, Answer::BadRequest(text));
                }
                let directory = sandbox::child_directory(&known.sandbox, &wanted.id.value);
                (Some(parent), directory, known.user.clone(), Owner::Nested)
            }
            None => (None, sandbox::standalone_directory(&config, &id), None, Owner::Standalone),
        };
        let command = wanted.command.unwrap_or_default();
        let own = command.user.clone().filter(|_| config.switch_user);
        // A session is for a look at its parent, from the same place and with the same variables (rule 354).
        let inherited =
            parent.as_ref().filter(|_| wanted.session).and_then(|parent| self.played_spec(parent));
        let working_directory = inherited.as_ref().map(|parent| parent.sandbox.clone());
        let variables = inherited.map_or_else(
            || {
                let mut variables = config.executor_environment.clone();
                if variables.is_empty() {
                    variables.push((environment::PATH.0.into(), environment::PATH.1.into()));
                }
                variables.push(("MESOS_SANDBOX".into(), directory.to_string()));
                variables
            },
            |parent| parent.environment,
        );
        let spec = ContainerSpec {
            container: id.clone(),
            framework: None,
            sandbox: directory.clone(),
            environment: environment::over(variables, Some(&command)),
            command,
            user: own.or(user),
            resources: resources::merged(wanted.resources.iter()),
            limits: wanted.limits,
            container_info: wanted.container,
            volumes: Vec::new(),
            working_directory,
            debug: wanted.session,
            pod: false,
            executor: None,
            parent,
        };
        if owner == Owner::Standalone {
            self.keep(&directory);
            self.persist(Record::Standalone(StandaloneRecord {
                container_id: Some(wanted.id),
                directory: directory.to_string(),
            }));
        }
        let container = Container {
            owner,
            sandbox: directory,
            user: spec.user.clone(),
            stage: Stage::Starting,
            waiters: Vec::new(),
            launchers: vec![request],
            session: wanted.session,
            networks: Arc::default(),
            resources: Arc::new(spec.resources.clone()),
        };
        self.state.containers.insert(id, Arc::new(container));
        self.effects.push(Effect::Launch(Box::new(spec)));
    }

    fn wait_container(&mut self, request: RequestId, id: &v1::ContainerId, nested: bool) {
        let text = container_text(id);
        let answer = match self.container_mut(&text) {
            None => Answer::NotFound(format!("Container {text} cannot be found")),
            Some(container) => match &container.stage {
                Stage::Ended(end) => waited(end, nested),
                _ if container.waiters.len() >= WAITERS_MAX => {
                    Answer::Unavailable("Too many requests wait for this container".into())
                }
                _ => return container.waiters.push((request, nested)),
            },
        };
        self.answer(request, answer);
    }

    /// Tells those who wait how the container ended.
    pub(crate) fn answer_waiters(&mut self, id: &ContainerId) {
        let Some(container) = self.container_mut(id) else { return };
        let Stage::Ended(end) = container.stage.clone() else { return };
        for request in std::mem::take(&mut container.launchers) {
            self.answer(request, Answer::BadRequest("The container ended while it was being started".into()));
        }
        let Some(container) = self.container_mut(id) else { return };
        for (request, nested) in std::mem::take(&mut container.waiters) {
            self.answer(request, waited(&end, nested));
        }
    }

    fn kill_container(&mut self, id: &v1::ContainerId, signal: Option<i32>) -> Answer {
        let text = container_text(id);
        let alive = self.state.containers.get(&text).is_some_and(|c| !matches!(c.stage, Stage::Ended(_)));
        if !alive {
            return Answer::NotFound(format!("Container '{text}' cannot be found (or is already killed)"));
        }
        let signal = signal.unwrap_or(SIGKILL);
        if !(1..=64).contains(&signal) {
            return Answer::BadRequest(format!("{signal} is not a signal"));
        }
        if let Some((framework, executor)) = self.pod_of(&text) {
            if ends_by_default(signal) {
                self.destroy_executor(&framework, &executor, Some(killed_pod(signal)));
            }
            return Answer::Ok;
        }
        self.effects.push(Effect::Signal { container: text, signal });
        Answer::Ok
    }

    /// The task group whose container this is. It has no process that could be sent a signal.
    fn pod_of(&self, container: &ContainerId) -> Option<(FrameworkId, ExecutorId)> {
        let Owner::Executor(framework, id) = &self.state.containers.get(container)?.owner else {
            return None;
        };
        let executor = self.executor(framework, id)?;
        (executor.kind == ExecutorKind::Default).then(|| (framework.clone(), id.clone()))
    }

    fn remove_container(&mut self, id: &v1::ContainerId) -> Answer {
        if let Some(fault) = id_fault(id) {
            return Answer::BadRequest(format!("Failed to validate agent::Call: {fault}"));
        }
        let text = container_text(id);
        let root = text.split('.').next().unwrap_or_default();
        if !self.state.containers.contains_key(root) {
            return Answer::InternalError("Unknown root container".into());
        }
        let Some(container) = self.state.containers.get(&text) else { return Answer::Ok };
        if !matches!(container.stage, Stage::Ended(_)) {
            return Answer::InternalError(format!("Container {text} has not ended yet"));
        }
        let sandbox = (container.owner == Owner::Nested).then(|| container.sandbox.clone());
        self.effects.push(Effect::Remove { container: text.clone(), sandbox });
        self.forget_container(&text);
        Answer::Ok
    }

    /// A standalone container needs nobody's word: its end is its removal, only the sandbox stays.
    pub(crate) fn on_standalone_ended(&mut self, m: &Moment<'_>, id: &ContainerId) {
        let Some(directory) = self.state.containers.get(id).map(|c| c.sandbox.clone()) else { return };
        self.persist(Record::StandaloneRemoved(StandaloneRemoved {
            container_id: Some(container_proto(id)),
        }));
        self.effects.push(Effect::Remove { container: id.clone(), sandbox: None });
        self.forget_container(id);
        self.collect_later(m, directory);
    }
}

/// Whether a process that says nothing about it ends by a signal: all but CHLD, CONT, STOP, TSTP, TTIN, TTOU, URG
/// and WINCH.
fn ends_by_default(signal: i32) -> bool {
    !matches!(signal, 17..=23 | 28)
}

/// What becomes of the tasks of a group whose executor was killed from outside.
fn killed_pod(signal: i32) -> Verdict {
    Verdict {
        state: v1::TaskState::TaskFailed,
        reason: v1::task_status::Reason::ExecutorTerminated,
        message: format!("The container of the task group {}", text::wait_status(signal)),
    }
}

fn missing(field: &str) -> Answer {
    Answer::BadRequest(format!("Failed to validate agent::Call: Expecting '{field}' to be present"))
}

/// The answer to those who wait, in the shape of the call they used.
fn waited(end: &Termination, nested: bool) -> Answer {
    let limit = end.limitation.as_ref();
    let limitation = limit.map(|l| v1::TaskResourceLimitation { resources: l.resources.clone() });
    let state = limit.map(|_| v1::TaskState::TaskFailed as i32);
    let reason = limit.map(|l| l.reason as i32);
    let message = limit.map(|l| l.message.clone());
    let exit_status = end.status;
    let response = if nested {
        let wait = response::WaitNestedContainer { exit_status, state, reason, limitation, message };
        Response {
            r#type: Some(response::Type::WaitNestedContainer as i32),
            wait_nested_container: Some(wait),
            ..Default::default()
        }
    } else {
        let wait = response::WaitContainer { exit_status, state, reason, limitation, message };
        Response {
            r#type: Some(response::Type::WaitContainer as i32),
            wait_container: Some(wait),
            ..Default::default()
        }
    };
    Answer::Response(Box::new(response))
}
