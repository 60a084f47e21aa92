//! An agent comes back with everything that runs on it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use mezzo_ids::{AgentId, ExecutorId, FrameworkId, TaskId};
use mezzo_mesos::v1::{self, TaskState, task_status::Reason};
use mezzo_protocol::link::{self, AgentDescription};
use mezzo_resources::Resources;

use super::register::{acknowledge, add_agent, describe, is_overtaken, refuse, replace_neighbour, shut_down};
use crate::{
    agents,
    effect::Effect,
    frameworks::to_agent,
    input::LinkId,
    master::{Master, Moment},
    metrics::Counter,
    operations,
    profiles::agent_profile,
    registry,
    scheduler::kill::kill_message,
    state::{Agent, Task},
    status,
};

/// Takes a returning agent in: one that is still registered, one that was marked unreachable, or one
/// that an earlier master admitted.
pub(super) fn on_reregister(
    master: &mut Master,
    moment: &mut Moment<'_>,
    link: LinkId,
    mut message: link::Reregister,
) {
    let description = message.agent.take();
    let id = description.as_ref().and_then(|d| d.info.as_ref()).and_then(|info| info.id.as_ref());
    let (Some(id), Some(description)) = (id.map(|id| AgentId::from(id.value.as_str())), description) else {
        return master.effects.push(Effect::CloseLink(link));
    };
    if master.links.get(&link).is_some_and(|agent| *agent != id) {
        return master.effects.push(Effect::CloseLink(link));
    }
    // The answer may have been slow, and the agent asks again over the same link: what it says now is older
    // than what the master has sent since.
    let served =
        master.state.agents.get(&id).is_some_and(|agent| agent.link == Some(link) && agent.connected);
    if served {
        return acknowledge(master, &id, link);
    }
    if is_overtaken(master, link, &description, Some(&id)) {
        return master.effects.push(Effect::CloseLink(link));
    }
    // Rule 249.
    if master.state.gone_agents.contains_key(&id) {
        return shut_down(master, link, "Agent has been marked gone");
    }
    if refuse(master, link, &description) {
        return;
    }
    replace_neighbour(master, moment, &description, Some(&id));
    if master.state.agents.contains_key(&id) {
        reconnect(master, moment, &id, link, description, message);
    } else {
        return_from_absence(master, moment, &id, link, description, message);
    }
}

/// The agent is known and was not given up: what it runs is compared with the books.
fn reconnect(
    master: &mut Master,
    moment: &mut Moment<'_>,
    id: &AgentId,
    link: LinkId,
    description: AgentDescription,
    message: link::Reregister,
) {
    let Some(known) = master.state.agents.get(id) else { return };
    // Rule 250.
    let hostname = description.info.as_ref().map_or("", |info| info.hostname.as_str());
    if known.info.hostname != hostname || known.ip != description.ip {
        return shut_down(master, link, "Agent re-registered with a different hostname or address");
    }
    if let Some(old) = known.link.filter(|old| *old != link) {
        master.links.remove(&old);
        master.effects.push(Effect::CloseLink(old));
    }
    // What was offered may have changed while the agent was away.
    master.suspend_agent(moment, id);
    let agent_operations = description.operations.clone();
    let drains = description.drain_config.is_some();
    let Some(fresh) = describe(master, moment, id, description, Default::default()) else {
        return master.effects.push(Effect::CloseLink(link));
    };
    let Some(agent) = master.agent_mut(id) else { return };
    let old_address = (agent.ip.clone(), agent.port);
    let changed = *agent.info != *fresh.info;
    let other_attributes = agent.info.attributes != fresh.info.attributes;
    agent.info = fresh.info;
    agent.port = fresh.port;
    agent.version = fresh.version;
    agent.capabilities = fresh.capabilities;
    agent.total = fresh.total;
    agent.resource_version = fresh.resource_version;
    agent.link = Some(link);
    agent.reregistered = Some(moment.now);
    let address = (agent.ip.clone(), agent.port);
    let (profile, record) = (agent_profile(agent), registry::admitted(agent));
    if changed {
        master.persist(record);
    }
    master.addresses.remove(&old_address);
    master.addresses.insert(address, id.clone());
    master.links.insert(link, id.clone());
    if let Some(watch) = master.watches.get_mut(id) {
        watch.newest_link = link;
    }
    if other_attributes {
        // Rule 94.
        master.note_agent_forgotten(id);
    }
    master.allocator.update_agent(id, profile);
    learn_frameworks(master, moment, link, &message);
    reconcile(master, moment, id, link, message);
    operations::on_agent_returned(master, moment, id, agent_operations);
    master.count(Counter::AgentReregistrations);
    acknowledge(master, id, link);
    master.resume_agent(id);
    resend_drain(master, id, link, drains);
    agents::check_drained(master, moment, id);
}

/// The agent was unreachable, or is known from the registry or only to itself (rules 247 and 255).
fn return_from_absence(
    master: &mut Master,
    moment: &mut Moment<'_>,
    id: &AgentId,
    link: LinkId,
    description: AgentDescription,
    mut message: link::Reregister,
) {
    // Rule 250, as far as the registry remembers.
    let hostname = description.info.as_ref().map_or("", |info| info.hostname.as_str());
    let remembered = master.state.recovered_agents.get(id);
    if remembered.is_some_and(|info| info.hostname != hostname) {
        return shut_down(master, link, "Agent re-registered with a different hostname or address");
    }
    let was_unreachable = master.state.unreachable_agents.contains_key(id);
    let drain = master.state.drains.get(id).cloned().unwrap_or_default();
    let agent_operations = description.operations.clone();
    let drains = description.drain_config.is_some();
    let Some(mut agent) = describe(master, moment, id, description, drain) else {
        return master.effects.push(Effect::CloseLink(link));
    };
    agent.reregistered = Some(moment.now);
    master.persist(registry::admitted(&agent));
    learn_frameworks(master, moment, link, &message);
    let completed: BTreeSet<FrameworkId> = completed_frameworks(master, &message);
    for executor in std::mem::take(&mut message.executors) {
        take_executor(&mut agent, &completed, executor);
    }
    let mut tasks = Vec::with_capacity(message.tasks.len());
    for task in std::mem::take(&mut message.tasks) {
        if let Some((framework, id, task)) = readable(master, task, &completed) {
            if !task.recovered {
                agent.hold(&framework, &task.resources);
            }
            tasks.push((framework.clone(), id.clone()));
            agent.tasks_mut().insert((framework, id), Arc::new(task));
        }
    }
    add_agent(master, moment, id, agent, link);
    for (framework, task) in &tasks {
        master.task_agents.entry(framework.clone()).or_default().insert(task.clone(), id.clone());
    }
    operations::on_agent_returned(master, moment, id, agent_operations);
    master.count(Counter::AgentReregistrations);
    acknowledge(master, id, link);
    if was_unreachable {
        forget_unreachable(master, id, link, &tasks);
        for (framework, task) in &tasks {
            tell_returned(master, moment, framework, task);
        }
    }
    resend_drain(master, id, link, drains);
    master.publish_agent_added(id);
    agents::check_drained(master, moment, id);
}

/// Frameworks that only this agent knows of, and those that have ended meanwhile (rules 65 and 248).
fn learn_frameworks(master: &mut Master, moment: &Moment<'_>, link: LinkId, message: &link::Reregister) {
    for info in &message.frameworks {
        let Some(framework) = info.id.as_ref().map(|id| FrameworkId::from(id.value.as_str())) else {
            continue;
        };
        if is_completed(master, &framework) {
            master.shut_framework_down(link, &framework);
        } else if let Some(known) = master.state.frameworks.get(&framework) {
            // The agent may have missed a change of it.
            if *known.info != *info && !known.recovered {
                let update = link::UpdateFramework { framework: Some((*known.info).clone()) };
                master.effects.push(to_agent(link, link::to_agent::Message::UpdateFramework(update)));
            }
        } else {
            master.recover_framework(moment, &framework, info.clone());
        }
    }
}

fn is_completed(master: &Master, id: &FrameworkId) -> bool {
    let is_it = |f: &Arc<crate::state::Framework>| f.info.id.as_ref().is_some_and(|i| i.value == id.as_str());
    !master.state.frameworks.contains_key(id) && master.state.completed_frameworks.iter().any(is_it)
}

fn completed_frameworks(master: &Master, message: &link::Reregister) -> BTreeSet<FrameworkId> {
    let tasks = message.tasks.iter().map(|task| task.framework_id.value.as_str());
    let executors =
        message.executors.iter().filter_map(|e| e.framework_id.as_ref()).map(|id| id.value.as_str());
    let named: BTreeSet<&str> = tasks.chain(executors).collect();
    // A framework that nobody describes cannot be kept either.
    named.into_iter().map(FrameworkId::from).filter(|id| !master.state.frameworks.contains_key(id)).collect()
}

fn take_executor(agent: &mut Agent, completed: &BTreeSet<FrameworkId>, executor: v1::ExecutorInfo) {
    let Some(framework) = &executor.framework_id else { return };
    let framework = FrameworkId::from(framework.value.as_str());
    if completed.contains(&framework) {
        return;
    }
    let id = ExecutorId::from(executor.executor_id.value.as_str());
    if let Ok(resources) = Resources::from_proto(&executor.resources) {
        agent.hold(&framework, &Arc::new(resources));
    }
    agent.executors.insert((framework, id), Arc::new(executor));
}

/// A task as an agent reports it.
fn readable(
    master: &mut Master,
    mut task: v1::Task,
    completed: &BTreeSet<FrameworkId>,
) -> Option<(FrameworkId, TaskId, Task)> {
    // All tasks of a framework share the text of its id.
    let known = master.state.frameworks.get_key_value(task.framework_id.value.as_str());
    let framework =
        known.map_or_else(|| FrameworkId::from(task.framework_id.value.as_str()), |(id, _)| id.clone());
    if completed.contains(&framework) {
        return None;
    }
    let id = TaskId::from(task.task_id.value.as_str());
    let resources = master.alike.share(Resources::from_proto(&task.resources).ok()?);
    let recovered = status::is_terminal(task.state());
    // Tasks are many and stay long; decoding leaves room for elements that never come.
    task.resources.shrink_to_fit();
    task.statuses.shrink_to_fit();
    Some((framework, id, Task { info: task, resources, recovered, kill: None }))
}

/// Tasks and executors that only one side knows (rules 224 and 237).
fn reconcile(
    master: &mut Master,
    moment: &mut Moment<'_>,
    id: &AgentId,
    link: LinkId,
    mut message: link::Reregister,
) {
    let completed = completed_frameworks(master, &message);
    let mut reported: BTreeMap<(FrameworkId, TaskId), Task> = std::mem::take(&mut message.tasks)
        .into_iter()
        .filter_map(|task| readable(master, task, &completed))
        .map(|(framework, id, task)| ((framework, id), task))
        .collect();
    let executors: BTreeMap<(FrameworkId, ExecutorId), v1::ExecutorInfo> =
        std::mem::take(&mut message.executors)
            .into_iter()
            .filter_map(|executor| {
                let framework = FrameworkId::from(executor.framework_id.as_ref()?.value.as_str());
                Some(((framework, ExecutorId::from(executor.executor_id.value.as_str())), executor))
            })
            .filter(|((framework, _), _)| !completed.contains(framework))
            .collect();
    let Some(agent) = master.state.agents.get(id).cloned() else { return };
    let mut lacking = Vec::new();
    for ((framework, task_id), task) in agent.tasks.iter() {
        if let Some(seen) = reported.remove(&(framework.clone(), task_id.clone())) {
            take_state(master, moment, framework, task_id, &seen);
            if let Some(kill_policy) = task.kill
                && !status::is_terminal(seen.info.state())
            {
                let kill = kill_message(framework, task.info.task_id.clone(), kill_policy);
                master.effects.push(to_agent(link, kill));
            }
        } else if status::is_terminal(task.info.state()) {
            // Acknowledged while the agent was away.
            master.remove_task(moment, framework, task_id);
        } else {
            lacking.push(link::reconcile_tasks::Task {
                framework_id: Some(task.info.framework_id.clone()),
                task_id: Some(task.info.task_id.clone()),
                executor_id: task.info.executor_id.clone(),
                partition_aware: master.is_partition_aware(framework),
            });
        }
    }
    let gone: Vec<_> = agent.executors.keys().filter(|key| !executors.contains_key(*key)).cloned().collect();
    for (framework, executor) in gone {
        master.remove_executor(moment, &framework, id, &executor);
    }
    for ((framework, executor), info) in executors {
        if !agent.executors.contains_key(&(framework.clone(), executor.clone())) {
            learn_executor(master, id, framework, executor, info);
        }
    }
    for ((framework, task_id), task) in reported {
        if !task.recovered {
            master.allocator.hold(&framework, id, &task.resources);
        }
        master.add_task(id, &framework, task_id, task);
    }
    ask_for(master, link, lacking);
}

/// Has the agent report the end of tasks that it lacks (rule 237).
fn ask_for(master: &mut Master, link: LinkId, lacking: Vec<link::reconcile_tasks::Task>) {
    if lacking.is_empty() {
        return;
    }
    let ids: BTreeSet<FrameworkId> = lacking
        .iter()
        .filter_map(|task| task.framework_id.as_ref())
        .map(|id| FrameworkId::from(id.value.as_str()))
        .collect();
    let known = ids.iter().filter_map(|id| master.state.frameworks.get(id));
    let frameworks = known.map(|framework| (*framework.info).clone()).collect();
    let tasks = link::ReconcileTasks { tasks: lacking, frameworks };
    master.effects.push(to_agent(link, link::to_agent::Message::ReconcileTasks(tasks)));
}

fn learn_executor(
    master: &mut Master,
    agent: &AgentId,
    framework: FrameworkId,
    executor: ExecutorId,
    info: v1::ExecutorInfo,
) {
    let resources = Resources::from_proto(&info.resources).unwrap_or_default();
    master.allocator.hold(&framework, agent, &resources);
    let Some(agent) = master.agent_mut(agent) else { return };
    agent.hold(&framework, &Arc::new(resources));
    agent.executors.insert((framework, executor), Arc::new(info));
}

/// The agent may have got further than the books; its updates will follow one by one. What it has
/// forwarded last is what the framework has to acknowledge.
fn take_state(master: &mut Master, moment: &Moment<'_>, framework: &FrameworkId, id: &TaskId, seen: &Task) {
    let Some(known) = master.task(framework, id) else { return };
    let (old, state) = (known.info.state(), seen.info.state());
    if old != state
        && !status::is_terminal(old)
        && let Some(last) = seen.info.statuses.last().cloned()
    {
        master.update_task(moment, framework, id, last, Some(state));
    }
    let Some(agent) = master.task_agents.get(framework).and_then(|tasks| tasks.get(id)).cloned() else {
        return;
    };
    let key = (framework.clone(), id.clone());
    if let Some(task) = master.agent_mut(&agent).and_then(|agent| agent.tasks_mut().get_mut(&key)) {
        let task = Arc::make_mut(task);
        task.info.status_update_state = seen.info.status_update_state;
        task.info.status_update_uuid.clone_from(&seen.info.status_update_uuid);
    }
}

/// Tasks of a returned agent are not unreachable any more. Those that it lacks, because their launch never
/// reached it, have to end some time: their frameworks wait for them, unless they were told of a loss.
fn forget_unreachable(master: &mut Master, agent: &AgentId, link: LinkId, tasks: &[(FrameworkId, TaskId)]) {
    let returned: BTreeSet<(&str, &str)> =
        tasks.iter().map(|(framework, task)| (framework.as_str(), task.as_str())).collect();
    let waiting = master.state.frameworks.iter().filter(|(_, f)| !f.unreachable_tasks.is_empty());
    let mut lacking = Vec::new();
    for id in waiting.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
        let partition_aware = master.is_partition_aware(&id);
        let Some(framework) = master.framework_mut(&id) else { continue };
        framework.unreachable_tasks.retain(|task| {
            let info = &task.info;
            let was_there = info.agent_id.value == agent.as_str();
            if was_there && partition_aware && !returned.contains(&(id.as_str(), info.task_id.value.as_str()))
            {
                lacking.push(link::reconcile_tasks::Task {
                    framework_id: Some(info.framework_id.clone()),
                    task_id: Some(info.task_id.clone()),
                    executor_id: info.executor_id.clone(),
                    partition_aware,
                });
            }
            !was_there
        });
    }
    ask_for(master, link, lacking);
}

/// The state of a task that a framework was told is unreachable or lost (rule 247).
fn tell_returned(master: &mut Master, moment: &Moment<'_>, framework: &FrameworkId, id: &TaskId) {
    let Some(task) = master.task(framework, id) else { return };
    let state = task.info.status_update_state.and_then(|state| TaskState::try_from(state).ok());
    let update = status::of_task(
        moment.now,
        &task.info,
        state.unwrap_or(task.info.state()),
        Reason::AgentReregistered,
        "Unreachable agent re-registered",
    );
    master.send_update(framework, update);
}

/// A draining agent may not know yet (rule 268), nor one that drains that it was taken back (rule 267).
fn resend_drain(master: &mut Master, id: &AgentId, link: LinkId, drains: bool) {
    let Some(agent) = master.state.agents.get(id) else { return };
    let config = match &agent.drain {
        Some(drain) if drain.state() == v1::DrainState::Draining => Some(drain.config),
        None if drains => None,
        _ => return,
    };
    master.effects.push(to_agent(link, link::to_agent::Message::Drain(link::Drain { config })));
}
