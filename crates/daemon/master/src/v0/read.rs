//! Endpoints that read the state, answered piece by piece from a snapshot on a blocking thread.

use std::{collections::BTreeMap, io, path::PathBuf, sync::Arc};

use mezzo_http::{Output, Request, Response};
use mezzo_ids::{AgentId, FrameworkId, Role};
use mezzo_master::{query::View, state::Snapshot};
use mezzo_mesos::v1;
use mezzo_mesos_v0::{
    self as v0, FrameworkView, LeaderView, MasterState, RegistryView, RoleView, StateSummary, TaskCounts,
    TaskQuery, Writer,
};
use mezzo_resources::Quantities;
use mezzo_time::Timestamp;

use super::{
    process,
    views::{AgentParts, FrameworkParts, agent_views, fill, framework_parts, seconds, write_agents},
};
use crate::{
    AGENT_URL_PATH, big_answer::hand_on, endpoint::Endpoint, giving_way::giving_way, shared::Shared,
    written::Sheets,
};

/// Reads one of the endpoints of the state.
pub(super) async fn read(
    shared: &Arc<Shared>,
    endpoint: Endpoint,
    request: &Request,
) -> Result<Response, Response> {
    let snapshot = shared.snapshot().await?;
    let shared = shared.clone();
    let query = request.query.clone();
    Ok(Response::produced("application/json", move |out| {
        let parameter =
            |name: &str| query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        stream(out, |w| match endpoint {
            Endpoint::State => state(w, &shared, &snapshot),
            Endpoint::StateSummary => state_summary(w, &shared, &snapshot),
            Endpoint::Agents => agents(w, &snapshot, parameter("slave_id")),
            Endpoint::Frameworks => frameworks(w, &snapshot, parameter("framework_id")),
            Endpoint::Tasks => tasks(w, &snapshot, &TaskQuery::new(parameter)),
            Endpoint::Roles => roles(w, &snapshot),
            Endpoint::Weights => {
                v0::weights(w, snapshot.weights.iter().map(|(role, weight)| (role.as_str(), *weight)));
            }
            Endpoint::MaintenanceSchedule => v0::maintenance_schedule(w, &snapshot.schedule),
            Endpoint::MaintenanceStatus => {
                let view = View { snapshot: &snapshot, agent_url_path: AGENT_URL_PATH };
                let answer = view.get_maintenance_status().get_maintenance_status.unwrap_or_default();
                v0::maintenance_status(w, &answer.status);
            }
            Endpoint::Registry => registry(w, &shared, &snapshot),
            Endpoint::OfferConstraintsDebug => constraints(w, &shared, &snapshot),
            _ => {
                let view = View { snapshot: &snapshot, agent_url_path: AGENT_URL_PATH };
                v0::quota(w, &view.get_quota().get_quota.unwrap_or_default().status);
            }
        })
    }))
}

/// Hands JSON on as it is written.
fn stream(out: &mut Output, write: impl FnOnce(&mut Writer<'_>)) -> io::Result<()> {
    let mut sent = Ok(());
    let mut sink = |piece: Vec<u8>| hand_on(out, &mut sent, piece);
    let mut writer = Writer::streaming(&mut sink);
    write(&mut writer);
    writer.finish();
    sent
}

fn state(w: &mut Writer<'_>, shared: &Shared, snapshot: &Snapshot) {
    let sheets = shared.written_v0.lend(snapshot);
    sheets.ahead(fill, || write_state(w, shared, snapshot, &sheets));
}

fn write_state(w: &mut Writer<'_>, shared: &Shared, snapshot: &Snapshot, sheets: &Sheets) {
    let flags: Vec<_> =
        shared.config.flags.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let (registered, completed) = framework_parts(snapshot, None, Some(sheets));
    let writers: Vec<_> =
        registered.iter().map(|parts| |w: &mut Writer<'_>| parts.write_tasks(w, sheets)).collect();
    let registered: Vec<_> = registered
        .iter()
        .zip(&writers)
        .map(|(parts, write)| FrameworkView { more_tasks: Some(write), ..parts.view() })
        .collect();
    let recovered: Vec<_> = snapshot.recovered_agents.values().map(AsRef::as_ref).collect();
    let capabilities: Vec<_> = shared
        .info
        .capabilities
        .iter()
        .filter_map(|c| v1::master_info::capability::Type::try_from(c.r#type?).ok())
        .map(|kind| kind.as_str_name())
        .collect();
    let activated = snapshot.agents.values().filter(|agent| agent.active).count();
    let text = |path: &Option<PathBuf>| path.as_ref().map(|path| path.to_string_lossy().into_owned());
    let (log_dir, external) = (text(&shared.config.log_dir), text(&shared.config.external_log_file));
    let info = &shared.info;
    v0::master_state(
        w,
        &MasterState {
            build: process::build(),
            start_time: seconds(shared.started),
            elected_time: Some(seconds(shared.elected)),
            id: &info.id,
            pid: info.pid(),
            hostname: info.hostname(),
            capabilities: &capabilities,
            activated_agents: activated,
            deactivated_agents: snapshot.agents.len() - activated,
            unreachable_agents: snapshot.unreachable_agents.len(),
            domain: info.domain.as_ref(),
            leader: Some(LeaderView {
                id: &info.id,
                pid: info.pid(),
                port: u16::try_from(info.port).unwrap_or_default(),
                hostname: info.hostname(),
                domain: info.domain.as_ref(),
            }),
            cluster: shared.config.cluster.as_deref(),
            log_dir: log_dir.as_deref(),
            external_log_file: external.as_deref(),
            flags: Some(&flags),
            agents: &[],
            more_agents: Some(&|w| write_agents(w, snapshot, sheets)),
            recovered_agents: &recovered,
            frameworks: &registered,
            completed_frameworks: &completed.iter().map(FrameworkParts::view).collect::<Vec<_>>(),
        },
    );
}

fn state_summary(w: &mut Writer<'_>, shared: &Shared, snapshot: &Snapshot) {
    let agents: Vec<_> = giving_way(snapshot.agents.values()).map(|agent| AgentParts::new(agent)).collect();
    let reserved: Vec<_> = agents.iter().map(AgentParts::reserved).collect();
    let (registered, _) = framework_parts(snapshot, None, None);
    // Ended tasks count where they ran.
    let mut by_agent: BTreeMap<&str, (TaskCounts, std::collections::BTreeSet<&str>)> = BTreeMap::new();
    for task in registered.iter().flat_map(FrameworkParts::all_tasks) {
        let (counts, frameworks) = by_agent.entry(&task.agent_id.value).or_default();
        counts.add(task.state);
        frameworks.insert(&task.framework_id.value);
    }
    let agents: Vec<_> = agent_views(&agents, &reserved)
        .into_iter()
        .map(|view| {
            let id = view.info.id.as_ref().map_or("", |id| id.value.as_str());
            let (counts, frameworks) = by_agent.remove(id).unwrap_or_default();
            (view, counts, frameworks.into_iter().collect::<Vec<_>>())
        })
        .collect();
    let frameworks: Vec<_> = registered
        .iter()
        .map(|parts| {
            let (counts, agents) = parts.summary();
            (parts.view(), counts, agents)
        })
        .collect();
    let hostname = shared.info.hostname();
    let cluster = shared.config.cluster.as_deref();
    v0::state_summary(w, &StateSummary { hostname, cluster, agents: &agents, frameworks: &frameworks });
}

fn agents(w: &mut Writer<'_>, snapshot: &Snapshot, only: Option<&str>) {
    let wanted = |id: &str| only.is_none_or(|only| only == id);
    let agents: Vec<_> = snapshot
        .agents
        .iter()
        .filter(|(id, _)| wanted(id))
        .map(|(_, agent)| AgentParts::new(agent))
        .collect();
    let reserved: Vec<_> = agents.iter().map(AgentParts::reserved).collect();
    let recovered: Vec<_> = snapshot
        .recovered_agents
        .iter()
        .filter(|(id, _)| wanted(id))
        .map(|(_, info)| info.as_ref())
        .collect();
    v0::slaves(w, &agent_views(&agents, &reserved), &recovered);
}

fn frameworks(w: &mut Writer<'_>, snapshot: &Snapshot, only: Option<&str>) {
    let (registered, completed) = framework_parts(snapshot, only, None);
    let registered: Vec<_> = registered.iter().map(FrameworkParts::view).collect();
    let completed: Vec<_> = completed.iter().map(FrameworkParts::view).collect();
    v0::frameworks(w, &registered, &completed);
}

fn tasks(w: &mut Writer<'_>, snapshot: &Snapshot, query: &TaskQuery<'_>) {
    let (registered, completed) = framework_parts(snapshot, query.framework_id, None);
    let mut tasks: Vec<_> = registered.iter().chain(&completed).flat_map(FrameworkParts::all_tasks).collect();
    v0::order_tasks(&mut tasks, query);
    v0::tasks(w, &tasks);
}

fn roles(w: &mut Writer<'_>, snapshot: &Snapshot) {
    let none = Quantities::default();
    let roles = View { snapshot, agent_url_path: AGENT_URL_PATH }.roles();
    let ids: Vec<Vec<&str>> =
        roles.iter().map(|role| role.frameworks.iter().map(FrameworkId::as_str).collect()).collect();
    let limits: Vec<Quantities> = roles
        .iter()
        .map(|role| {
            let limit = snapshot.quotas.get(&role.role).map(|quota| quota.limit.clone());
            limit.unwrap_or_default().into_iter().collect()
        })
        .collect();
    let views: Vec<_> = roles
        .iter()
        .zip(&ids)
        .zip(&limits)
        .map(|((role, frameworks), limit)| {
            let quota = snapshot.quotas.get(&role.role);
            RoleView {
                name: &role.role,
                weight: role.weight,
                guarantee: quota.map_or(&none, |quota| &quota.guarantee),
                limit,
                consumed: &role.consumed,
                resources: &role.allocated,
                allocated: &role.used,
                offered: &role.offered,
                reserved: &role.reserved,
                frameworks,
            }
        })
        .collect();
    v0::roles(w, &views);
}

/// The registry (rule 497).
fn registry(w: &mut Writer<'_>, shared: &Shared, snapshot: &Snapshot) {
    let view = View { snapshot, agent_url_path: AGENT_URL_PATH };
    let quotas = view.get_quota().get_quota.unwrap_or_default().status.configs;
    // A removed quota is listed by GET_QUOTA until the master restarts; it is not written down.
    let quotas: Vec<_> =
        quotas.into_iter().filter(|quota| !quota.guarantees.is_empty() || !quota.limits.is_empty()).collect();
    let registered = snapshot.agents.values().map(|agent| (&*agent.info, agent.deactivated));
    let recovered = snapshot
        .recovered_agents
        .iter()
        .map(|(id, info)| (&**info, snapshot.drains.get(id).is_some_and(|drain| drain.deactivated)));
    let agents: Vec<_> = registered.chain(recovered).collect();
    let (unreachable, gone) = (times(&snapshot.unreachable_agents), times(&snapshot.gone_agents));
    let machines: Vec<_> = snapshot.machines.iter().map(|machine| machine.info.clone()).collect();
    let scheduled = !snapshot.schedule.windows.is_empty();
    let schedules = if scheduled { vec![(*snapshot.schedule).clone()] } else { Vec::new() };
    let weights: Vec<_> =
        snapshot.weights.iter().map(|(role, weight)| (Role::as_str(role), *weight)).collect();
    v0::registry(
        w,
        &RegistryView {
            master: &shared.info,
            agents: &agents,
            unreachable: &unreachable,
            gone: &gone,
            machines: (scheduled || !machines.is_empty()).then_some(&machines[..]),
            schedules: &schedules,
            quotas: &quotas,
            weights: &weights,
        },
    );
}

fn times(agents: &BTreeMap<AgentId, Timestamp>) -> Vec<(&str, i64)> {
    agents.iter().map(|(id, time)| (id.as_str(), time.as_nanos())).collect()
}

/// Frameworks with their suppressed roles. What their constraints exclude is known to the allocator
/// alone, so roles are listed without agents.
fn constraints(w: &mut Writer<'_>, shared: &Shared, snapshot: &Snapshot) {
    let limits = shared.config.constraint_limits();
    let agents = View { snapshot, agent_url_path: AGENT_URL_PATH }.constrained_agents();
    w.begin_object();
    w.key("frameworks");
    w.begin_object();
    for (id, framework) in &snapshot.frameworks {
        w.key(id);
        w.begin_object();
        w.key("suppressed_roles");
        w.begin_array();
        framework.suppressed.iter().for_each(|role| w.string(role));
        w.end_array();
        w.key("excluded_by_attribute_constraints");
        w.begin_object();
        for (role, excluded) in agents.excluded_from(framework, limits) {
            w.key(&role);
            w.begin_array();
            excluded.iter().for_each(|agent| w.string(agent));
            w.end_array();
        }
        w.end_object();
        w.end_object();
    }
    w.end_object();
    w.end_object();
}
