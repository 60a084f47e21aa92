//! Operators' calls through the public step, with the texts of a genuine Mesos.

use mezzo_ids::FrameworkId;
use mezzo_mesos::v1::{
    self, DrainState, TaskState,
    master::{Call, call, call::Type},
    quota::{QuotaConfig, QuotaRequest},
};
use mezzo_protocol::{
    link::{self, to_agent, to_master},
    records::registry_record::Record,
};

use crate::{
    Answer, registry,
    state::Snapshot,
    testing::{FakeAgent, World, framework_info, resources, with_capabilities},
};

fn operate(world: &mut World, kind: Type, fill: impl FnOnce(&mut Call)) -> Answer {
    let mut call = Call { r#type: Some(kind.into()), ..Default::default() };
    fill(&mut call);
    world.operate(call, None)
}

fn weights(world: &mut World, weights: &[(&str, f64)]) -> Answer {
    let info = |(role, weight): &(&str, f64)| v1::WeightInfo { weight: *weight, role: Some((*role).into()) };
    let weight_infos = weights.iter().map(info).collect();
    operate(world, Type::UpdateWeights, |call| {
        call.update_weights = Some(call::UpdateWeights { weight_infos });
    })
}

fn amounts(amounts: &[(&str, f64)]) -> std::collections::BTreeMap<String, v1::value::Scalar> {
    amounts.iter().map(|(name, value)| ((*name).into(), v1::value::Scalar { value: *value })).collect()
}

fn config(role: &str, guarantees: &[(&str, f64)], limits: &[(&str, f64)]) -> QuotaConfig {
    QuotaConfig { role: role.into(), guarantees: amounts(guarantees), limits: amounts(limits) }
}

fn update_quota(world: &mut World, force: bool, quota_configs: Vec<QuotaConfig>) -> Answer {
    operate(world, Type::UpdateQuota, |call| {
        call.update_quota = Some(call::UpdateQuota { force: Some(force), quota_configs });
    })
}

fn bad(text: &str) -> Answer {
    Answer::BadRequest(text.into())
}

fn machine(name: &str) -> v1::MachineId {
    v1::MachineId { hostname: Some(name.into()), ip: None }
}

fn schedule(world: &mut World, windows: &[&[&str]]) -> Answer {
    let unavailability = v1::Unavailability { start: v1::TimeInfo { nanoseconds: 1 }, duration: None };
    let windows = windows
        .iter()
        .map(|names| v1::maintenance::Window {
            machine_ids: names.iter().map(|name| machine(name)).collect(),
            unavailability,
        })
        .collect();
    operate(world, Type::UpdateMaintenanceSchedule, |call| {
        let schedule = v1::maintenance::Schedule { windows };
        call.update_maintenance_schedule = Some(call::UpdateMaintenanceSchedule { schedule });
    })
}

fn start(world: &mut World, names: &[&str]) -> Answer {
    let machines = names.iter().map(|name| machine(name)).collect();
    operate(world, Type::StartMaintenance, |call| {
        call.start_maintenance = Some(call::StartMaintenance { machines });
    })
}

fn stop(world: &mut World, names: &[&str]) -> Answer {
    let machines = names.iter().map(|name| machine(name)).collect();
    operate(world, Type::StopMaintenance, |call| {
        call.stop_maintenance = Some(call::StopMaintenance { machines });
    })
}

fn id(agent: &str) -> v1::AgentId {
    v1::AgentId { value: agent.into() }
}

fn drain(world: &mut World, agent: &str, mark_gone: bool) -> Answer {
    operate(world, Type::DrainAgent, |call| {
        call.drain_agent =
            Some(call::DrainAgent { agent_id: id(agent), mark_gone: Some(mark_gone), ..Default::default() });
    })
}

fn deactivate(world: &mut World, agent: &str) -> Answer {
    operate(world, Type::DeactivateAgent, |call| {
        call.deactivate_agent = Some(call::DeactivateAgent { agent_id: id(agent) });
    })
}

fn reactivate(world: &mut World, agent: &str) -> Answer {
    operate(world, Type::ReactivateAgent, |call| {
        call.reactivate_agent = Some(call::ReactivateAgent { agent_id: id(agent) });
    })
}

fn mark_gone(world: &mut World, agent: &str) -> Answer {
    operate(world, Type::MarkAgentGone, |call| {
        call.mark_agent_gone = Some(call::MarkAgentGone { agent_id: id(agent) });
    })
}

/// What a master that starts from the records of this one knows.
fn recovered(world: &World) -> Snapshot {
    let records = world.records.iter().cloned();
    let records = records.map(|record| mezzo_protocol::records::RegistryRecord { record: Some(record) });
    registry::read(records).expect("the records are whole")
}

fn drain_state(world: &World, agent: &FakeAgent) -> Option<DrainState> {
    world.master.snapshot().agents[&agent.id].drain.as_ref().map(v1::DrainInfo::state)
}

#[test]
fn rule_147_weights_are_positive_and_of_valid_roles() {
    let mut world = World::new();
    let refused = "Failed to validate update weights request JSON";
    let cases = [
        (("eng", -1.0), format!("{refused} for role 'eng': Invalid weight '-1': Weights must be positive")),
        (("a", 0.0), format!("{refused} for role 'a': Invalid weight '0': Weights must be positive")),
        (("/a", 1.0), format!("{refused}: Invalid role '/a': Role '/a' cannot start with a slash")),
    ];
    for (weight, text) in cases {
        assert_eq!(weights(&mut world, &[("good", 2.0), weight]), bad(&text));
    }
    assert!(world.records.is_empty(), "nothing is set when one is refused");
    assert_eq!(weights(&mut world, &[(" eng ", 2.5), ("ops", 0.5)]), Answer::Ok);
    // rule 148
    assert_eq!(recovered(&world).weights.get("eng"), Some(&2.5));
    let snapshot = world.master.snapshot();
    let names: Vec<_> = snapshot.roles.iter().map(|role| (role.role.to_string(), role.weight)).collect();
    assert_eq!(names, [("eng".to_owned(), 2.5), ("ops".to_owned(), 0.5)]);
}

#[test]
fn rule_149_a_weight_of_a_role_in_use_rescinds_all_offers() {
    let mut world = World::new();
    let scheduler = world.framework();
    world.agent("cpus:4;mem:4096");
    world.offer(&scheduler);
    assert_eq!(weights(&mut world, &[("unused", 2.0)]), Answer::Ok);
    assert!(world.events(&scheduler).is_empty());
    assert_eq!(weights(&mut world, &[("*", 2.0)]), Answer::Ok);
    assert!(world.events(&scheduler).iter().any(|event| event.rescind.is_some()));
}

#[test]
fn rule_133_to_138_quotas_are_checked_with_mesos_texts() {
    let mut world = World::new();
    world.agent("cpus:4;mem:4096;disk:10240");
    let eng = config("eng", &[("cpus", 1.0), ("mem", 256.0)], &[("cpus", 2.0), ("mem", 1024.0)]);
    assert_eq!(update_quota(&mut world, false, vec![eng]), Answer::Ok);
    let big = config("big", &[("cpus", 1000.0)], &[("cpus", 1000.0)]);
    let too_much = "Invalid QuotaConfig: total quota guarantees 'cpus:1001; mem:256' exceed cluster capacity \
                    'cpus:4; disk:10240; mem:4096' (use 'force' flag to bypass this check)";
    assert_eq!(update_quota(&mut world, false, vec![big.clone()]), bad(too_much));
    assert_eq!(update_quota(&mut world, true, vec![big]), Answer::Ok);
    assert_eq!(
        update_quota(&mut world, false, vec![config("eng", &[("cpus", 3.0)], &[("cpus", 2.0)])]),
        bad("Invalid QuotaConfig: 'QuotaConfig.guarantees' { cpus: 3 } is not contained within the \
             'QuotaConfig.limits' { cpus: 2 }")
    );
    // rule 136
    assert_eq!(
        update_quota(&mut world, false, vec![config("eng/web", &[("cpus", 2.0)], &[])]),
        bad("Updating quota on nested role 'eng/web' is not supported yet")
    );
    for wrong in [f64::NAN, f64::INFINITY, -1.0, 1e13] {
        let answer = update_quota(&mut world, true, vec![config("eng", &[("cpus", wrong)], &[])]);
        assert!(matches!(answer, Answer::BadRequest(_)), "{wrong}");
    }
    // rule 133: one bad entry, no change
    let before = world.master.snapshot().quotas;
    let mixed = vec![config("eng", &[], &[("cpus", 3.0)]), config("a/b", &[], &[])];
    assert!(matches!(update_quota(&mut world, true, mixed), Answer::BadRequest(_)));
    assert_eq!(world.master.snapshot().quotas, before);
    // rule 140: what is answered is in the registry; rule 134: an empty config removes
    assert_eq!(recovered(&world).quotas.len(), 2);
    assert_eq!(
        update_quota(&mut world, false, vec![config("eng", &[], &[]), config("big", &[], &[])]),
        Answer::Ok
    );
    assert!(recovered(&world).quotas.is_empty());
}

#[test]
fn rule_138_a_limit_below_consumption_needs_force() {
    let mut world = World::new();
    let (scheduler, _) = world.running(framework_info());
    world.pass(1.0);
    world.events(&scheduler);
    let limit = config("*", &[], &[("cpus", 0.5)]);
    assert!(matches!(update_quota(&mut world, false, vec![limit.clone()]), Answer::BadRequest(_)));
    assert_eq!(update_quota(&mut world, true, vec![limit]), Answer::Ok);
    // rule 141: offers above the limit are taken back
    assert!(world.events(&scheduler).iter().any(|event| event.rescind.is_some()));
    // rule 139: * is a role like others
    assert!(world.master.snapshot().quotas.contains_key("*"));
}

#[test]
#[expect(deprecated, reason = "the older calls are still served")]
fn rule_142_to_144_the_older_quota_calls() {
    let mut world = World::new();
    world.agent("cpus:4;mem:4096");
    let set = |world: &mut World, role: &str, guarantee: &str, force: bool| {
        let guarantee = resources(guarantee);
        let quota_request = QuotaRequest { force: Some(force), role: Some(role.into()), guarantee };
        operate(world, Type::SetQuota, |call| call.set_quota = Some(call::SetQuota { quota_request }))
    };
    let remove = |world: &mut World, role: &str| {
        operate(world, Type::RemoveQuota, |call| {
            call.remove_quota = Some(call::RemoveQuota { role: role.into() });
        })
    };
    assert!(matches!(set(&mut world, "old", "", false), Answer::BadRequest(_)));
    assert!(matches!(set(&mut world, "old", "ports:[1-2]", false), Answer::BadRequest(_)));
    assert!(matches!(set(&mut world, "old", "cpus(web):1", false), Answer::BadRequest(_)));
    // rule 143
    assert!(matches!(set(&mut world, "old", "cpus:5", false), Answer::Conflict(_)));
    assert_eq!(set(&mut world, "old", "cpus:1", false), Answer::Ok);
    let quota = &world.master.snapshot().quotas["old"];
    assert_eq!(quota.limit["cpus"], quota.guarantee.get("cpus"));
    assert!(matches!(set(&mut world, "old", "cpus:1", false), Answer::BadRequest(_)));
    assert_eq!(remove(&mut world, "old"), Answer::Ok);
    // rule 144
    assert_eq!(remove(&mut world, "old"), bad("Failed to remove quota: Role 'old' has no quota set"));
    assert_eq!(
        world.operate_with(crate::OperatorCall::RemoveQuota("nope".into()), None),
        bad("Failed to remove quota for path '/master/quota/nope': Role 'nope' has no quota set")
    );
}

#[test]
fn rule_270_to_274_schedules_and_modes() {
    let mut world = World::new();
    assert_eq!(schedule(&mut world, &[&["one", "other"]]), Answer::Ok);
    assert_eq!(schedule(&mut world, &[&[]]), bad("List of machines in the maintenance window is empty"));
    // rule 273: the same machine, whatever the case
    assert_eq!(
        schedule(&mut world, &[&["one"], &["ONE"]]),
        bad("Machine '{\"hostname\":\"ONE\"}' appears more than once in the schedule")
    );
    assert_eq!(
        start(&mut world, &["unknown"]),
        bad("Machine '{\"hostname\":\"unknown\"}' is not part of a maintenance schedule")
    );
    assert!(matches!(start(&mut world, &[]), Answer::BadRequest(_)));
    assert!(matches!(stop(&mut world, &["other"]), Answer::BadRequest(_)));
    assert_eq!(start(&mut world, &["other"]), Answer::Ok);
    assert!(matches!(start(&mut world, &["other"]), Answer::BadRequest(_)));
    // rule 271
    assert_eq!(
        schedule(&mut world, &[]),
        bad("Machine '{\"hostname\":\"other\"}' is deactivated and cannot be removed from the schedule")
    );
    assert_eq!(schedule(&mut world, &[&["other"]]), Answer::Ok);
    assert_eq!(recovered(&world).machines.len(), 1, "left-out machines are UP");
    assert_eq!(stop(&mut world, &["OTHER"]), Answer::Ok);
    // rule 276
    let state = recovered(&world);
    assert!(state.machines.is_empty() && state.schedule.windows.is_empty());
    assert!(world.master.snapshot().schedule.windows.is_empty());
}

#[test]
fn rule_272_machines_have_a_name_or_an_address() {
    let mut world = World::new();
    let mut list = |machine: v1::MachineId| {
        operate(&mut world, Type::StartMaintenance, |call| {
            call.start_maintenance = Some(call::StartMaintenance { machines: vec![machine] });
        })
    };
    assert_eq!(list(v1::MachineId::default()), bad("Both 'hostname' and 'ip' for a machine are empty"));
    let wrong = v1::MachineId { hostname: None, ip: Some("10.0.0".into()) };
    assert!(matches!(list(wrong), Answer::BadRequest(_)));
}

#[test]
fn rule_275_and_277_maintenance_of_an_agent() {
    let mut world = World::new();
    let (scheduler, agent) = world.running(framework_info());
    world.pass(1.0);
    world.events(&scheduler);
    let host = world.master.snapshot().agents[&agent.id].info.hostname.clone();
    assert_eq!(schedule(&mut world, &[&[host.as_str()]]), Answer::Ok);
    world.pass(1.0);
    let events = world.events(&scheduler);
    assert!(events.iter().any(|event| event.rescind.is_some()));
    let offers = events.iter().filter_map(|event| event.offers.as_ref()).flat_map(|offers| &offers.offers);
    // rule 278
    assert!(offers.clone().all(|offer| offer.unavailability.is_some()) && offers.count() == 1);
    let asked = events.iter().find_map(|event| event.inverse_offers.as_ref()).expect("it is asked to leave");
    // rule 279
    let asked = &asked.inverse_offers[0];
    assert!(asked.resources.is_empty() && asked.url.is_some() && asked.agent_id.is_some());
    assert!(matches!(drain(&mut world, &agent.id, false), Answer::BadRequest(_)), "rule 265");
    assert_eq!(start(&mut world, &[host.as_str()]), Answer::Ok);
    let status = world.status(&scheduler);
    assert_eq!(status.state(), TaskState::TaskLost);
    assert_eq!(status.reason(), v1::task_status::Reason::AgentRemoved);
    let told = world.told(agent.link);
    assert!(told.iter().any(|message| matches!(message, to_agent::Message::Shutdown(_))));
    assert!(world.master.snapshot().agents.is_empty());
}

#[test]
fn rule_260_to_264_a_drain_ends_when_nothing_is_left() {
    let mut world = World::new();
    let (scheduler, agent) = world.running(framework_info());
    world.pass(1.0);
    world.events(&scheduler);
    assert_eq!(drain(&mut world, "nope", false), bad("Unknown agent"));
    assert_eq!(drain(&mut world, &agent.id, false), Answer::Ok);
    assert_eq!(drain_state(&world, &agent), Some(DrainState::Draining));
    assert!(world.events(&scheduler).iter().any(|event| event.rescind.is_some()));
    let told = world.told(agent.link);
    assert!(told.iter().any(|message| matches!(message, to_agent::Message::Drain(_))));
    // rule 268
    assert!(recovered(&world).drains[&agent.id].info.is_some());
    // rule 267
    assert!(matches!(reactivate(&mut world, &agent.id), Answer::BadRequest(_)));
    world.update(&agent, &scheduler, "t", TaskState::TaskKilled);
    world.events(&scheduler);
    world.acknowledge(&agent, &scheduler, "t", TaskState::TaskKilled);
    assert_eq!(drain_state(&world, &agent), Some(DrainState::Drained));
    assert!(world.offers(&scheduler).is_empty(), "a drained agent stays deactivated");
    assert_eq!(reactivate(&mut world, &agent.id), Answer::Ok);
    assert_eq!(drain_state(&world, &agent), None);
    // It may have something left of which the master does not know.
    let told = world.told(agent.link);
    let over = to_agent::Message::Drain(mezzo_protocol::link::Drain { config: None });
    assert!(told.contains(&over), "{told:?}");
    assert_eq!(world.offers(&scheduler).len(), 1);
    assert!(recovered(&world).drains.is_empty());
}

#[test]
fn rule_263_a_drain_with_mark_gone_ends_with_the_agent_gone() {
    let mut world = World::new();
    let agent = world.agent("cpus:4;mem:4096");
    assert_eq!(drain(&mut world, &agent.id, true), Answer::Ok);
    assert!(world.master.snapshot().gone_agents.contains_key(&agent.id));
}

#[test]
fn rule_265_agents_must_know_what_draining_is() {
    let mut world = World::new();
    let mut description = crate::testing::description("cpus:4", "10.9.9.9");
    description
        .capabilities
        .retain(|capability| capability.r#type() != v1::agent_info::capability::Type::AgentDraining);
    let agent = world.agent_described(description);
    assert!(matches!(drain(&mut world, &agent.id, false), Answer::BadRequest(_)));
}

#[test]
fn rule_266_and_267_deactivated_agents_keep_their_tasks() {
    let mut world = World::new();
    let (scheduler, agent) = world.running(framework_info());
    assert!(matches!(reactivate(&mut world, &agent.id), Answer::BadRequest(_)));
    assert_eq!(deactivate(&mut world, &agent.id), Answer::Ok);
    assert!(world.offers(&scheduler).is_empty());
    assert!(world.told(agent.link).is_empty());
    let snapshot = world.master.snapshot();
    assert_eq!(snapshot.agents[&agent.id].tasks.len(), 1);
    // rule 269
    let view = crate::query::View { snapshot: &snapshot, agent_url_path: "/agent(1)" };
    let shown = view.get_agents().get_agents.expect("the answer has agents").agents.remove(0);
    assert_eq!((shown.active, shown.deactivated), (false, Some(true)));
    assert_eq!(reactivate(&mut world, &agent.id), Answer::Ok);
    assert_eq!(world.offers(&scheduler).len(), 1);
}

#[test]
fn rule_258_and_259_gone_agents() {
    use v1::framework_info::capability::Type::PartitionAware;
    let mut world = World::new();
    assert_eq!(mark_gone(&mut world, "nope"), Answer::NotFound("Agent 'nope' not found".into()));
    let (scheduler, agent) = world.running(with_capabilities(framework_info(), &[PartitionAware]));
    assert_eq!(mark_gone(&mut world, &agent.id), Answer::Ok);
    assert_eq!(mark_gone(&mut world, &agent.id), Answer::Ok, "already gone");
    assert_eq!(world.status(&scheduler).state(), TaskState::TaskGoneByOperator);
    // rule 246
    assert!(!world.published_types().contains(&v1::master::event::Type::AgentRemoved));
    let told = world.told(agent.link);
    assert!(told.iter().any(|message| matches!(message, to_agent::Message::Shutdown(_))));
    assert!(matches!(world.records.last(), Some(Record::GoneAgent(_))));
    assert!(matches!(drain(&mut world, &agent.id, false), Answer::BadRequest(_)));
}

#[test]
fn rule_64_teardown_by_an_operator() {
    let mut world = World::new();
    let (scheduler, agent) = world.running(framework_info());
    let teardown = |world: &mut World, id: &str| {
        let framework_id = v1::FrameworkId { value: id.into() };
        operate(world, Type::Teardown, |call| call.teardown = Some(call::Teardown { framework_id }))
    };
    assert_eq!(teardown(&mut world, "nope"), bad("No framework found with specified ID"));
    assert_eq!(teardown(&mut world, &scheduler.id), Answer::Ok);
    let snapshot = world.master.snapshot();
    assert!(snapshot.frameworks.is_empty());
    let ended = snapshot.completed_frameworks.back().expect("it is kept");
    assert_eq!(ended.completed_tasks[0].info.state(), TaskState::TaskKilled);
    let told = world.told(agent.link);
    assert!(told.iter().any(|message| matches!(message, to_agent::Message::ShutdownFramework(_))));
    assert_eq!(teardown(&mut world, &scheduler.id), bad("No framework found with specified ID"));
}

#[test]
fn a_call_without_its_message_says_so() {
    let mut world = World::new();
    assert_eq!(
        operate(&mut world, Type::DrainAgent, |_| {}),
        bad("Failed to validate master::Call: Expecting 'drain_agent' to be present")
    );
    assert!(matches!(operate(&mut world, Type::Unknown, |_| {}), Answer::NotImplemented(_)));
}

fn reservation(principal: Option<&str>) -> v1::resource::ReservationInfo {
    v1::resource::ReservationInfo {
        r#type: Some(v1::resource::reservation_info::Type::Dynamic.into()),
        role: Some("eng".into()),
        principal: principal.map(Into::into),
        ..Default::default()
    }
}

fn reserved(text: &str) -> Vec<v1::Resource> {
    let mut resources = resources(text);
    for resource in &mut resources {
        resource.reservations = vec![reservation(None)];
    }
    resources
}

fn volume(size: f64) -> v1::Resource {
    let mut volume = reserved(&format!("disk:{size}")).remove(0);
    volume.disk = Some(Box::new(v1::resource::DiskInfo {
        persistence: Some(v1::resource::disk_info::Persistence { id: "vol-1".into(), principal: None }),
        volume: Some(v1::Volume {
            container_path: "data".into(),
            mode: v1::volume::Mode::Rw.into(),
            ..Default::default()
        }),
        ..Default::default()
    }));
    volume
}

fn reserve(world: &mut World, agent: &str, resources: Vec<v1::Resource>) -> Answer {
    let reserve = call::ReserveResources { agent_id: id(agent), resources, source: Vec::new() };
    operate(world, Type::ReserveResources, |call| call.reserve_resources = Some(reserve))
}

fn create(world: &mut World, agent: &str, volumes: Vec<v1::Resource>) -> Answer {
    let create = call::CreateVolumes { agent_id: id(agent), volumes };
    operate(world, Type::CreateVolumes, |call| call.create_volumes = Some(create))
}

fn destroy(world: &mut World, agent: &str, volumes: Vec<v1::Resource>) -> Answer {
    let destroy = call::DestroyVolumes { agent_id: id(agent), volumes };
    operate(world, Type::DestroyVolumes, |call| call.destroy_volumes = Some(destroy))
}

fn total(world: &World, agent: &FakeAgent) -> String {
    world.master.snapshot().agents[&agent.id].total.to_string()
}

#[test]
fn rule_202_operators_reserve_what_offers_hold() {
    let mut world = World::new();
    let scheduler = world.framework();
    let agent = world.agent("cpus:4;mem:4096;disk:10240");
    world.offer(&scheduler);
    assert_eq!(reserve(&mut world, "nope", reserved("cpus:1")), bad("No agent found with specified ID"));
    let process = format!("agent(1)@{}:5051", world.master.snapshot().agents[&agent.id].ip);
    let host = world.master.snapshot().agents[&agent.id].info.hostname.clone();
    // rule 187
    assert_eq!(
        reserve(&mut world, &agent.id, resources("cpus:1")),
        bad(&format!(
            "Invalid RESERVE operation on agent {} at {process} ({host}): Resource cpus:1 is not dynamically reserved",
            agent.id
        ))
    );
    assert_eq!(reserve(&mut world, &agent.id, reserved("cpus:1;mem:128;disk:512")), Answer::Accepted);
    assert!(world.events(&scheduler).iter().any(|event| event.rescind.is_some()));
    assert_eq!(
        reserve(&mut world, &agent.id, reserved("cpus:1000")),
        Answer::Conflict(
            "cpus:3; mem:3968; disk:9728; cpus(reservations: [(DYNAMIC,eng)]):1; mem(reservations: \
             [(DYNAMIC,eng)]):128; disk(reservations: [(DYNAMIC,eng)]):512 does not contain cpus:1000"
                .into()
        )
    );
    // The agent is told, and the operation is forgotten when it has said that it is done.
    let apply = world.told(agent.link).into_iter().find_map(|message| match message {
        to_agent::Message::ApplyOperation(apply) => Some(apply),
        _ => None,
    });
    let apply = apply.expect("the agent is told");
    assert_eq!(world.master.snapshot().agents[&agent.id].operations.len(), 1);
    let status = v1::OperationStatus {
        state: v1::OperationState::OperationFinished.into(),
        uuid: Some(v1::Uuid { value: vec![1; 16] }),
        ..Default::default()
    };
    let update = link::OperationStatusUpdate {
        framework_id: None,
        operation_uuid: apply.operation_uuid,
        latest_status: Some(status.clone()),
        status: Some(status),
    };
    world.tell(agent.link, to_master::Message::OperationStatusUpdate(update));
    assert!(world.master.snapshot().agents[&agent.id].operations.is_empty());
    let told = world.told(agent.link);
    assert!(told.iter().any(|message| matches!(message, to_agent::Message::AcknowledgeOperation(_))));
}

#[test]
fn rule_189_an_authenticated_operator_reserves_in_its_own_name() {
    let mut world = World::new();
    let agent = world.agent("cpus:4;mem:4096");
    let mut resources = reserved("cpus:1");
    resources[0].reservations = vec![reservation(Some("golden"))];
    let call = Call {
        r#type: Some(Type::ReserveResources.into()),
        reserve_resources: Some(call::ReserveResources {
            agent_id: id(&agent.id),
            resources,
            source: Vec::new(),
        }),
        ..Default::default()
    };
    assert!(matches!(world.operate(call.clone(), Some("ops")), Answer::BadRequest(_)));
    assert_eq!(world.operate(call.clone(), Some("golden")), Answer::Accepted);
    // Nobody authenticated: any name will do.
    assert_eq!(world.operate(call.clone(), None), Answer::Accepted);
    // The allocation is a framework's only.
    let mut allocated = call;
    for resource in allocated.reserve_resources.iter_mut().flat_map(|reserve| &mut reserve.resources) {
        resource.allocation_info = Some(v1::resource::AllocationInfo { role: Some("eng".into()) });
    }
    assert!(matches!(world.operate(allocated, None), Answer::BadRequest(_)));
}

#[test]
fn rule_192_to_198_volumes_of_operators() {
    let mut world = World::new();
    let agent = world.agent("cpus:4;mem:4096;disk:10240");
    assert_eq!(reserve(&mut world, &agent.id, reserved("disk:512")), Answer::Accepted);
    assert_eq!(create(&mut world, &agent.id, vec![volume(256.0)]), Answer::Accepted);
    // rule 193
    let again = create(&mut world, &agent.id, vec![volume(256.0)]);
    assert!(
        matches!(&again, Answer::BadRequest(text) if text.ends_with("Persistence ID 'vol-1' is not unique"))
    );
    let mut read_only = volume(1.0);
    if let Some(mount) = read_only.disk.as_mut().and_then(|disk| disk.volume.as_mut()) {
        mount.mode = v1::volume::Mode::Ro.into();
    }
    assert!(matches!(create(&mut world, &agent.id, vec![read_only]), Answer::BadRequest(_)));
    // rule 197
    let grow = |world: &mut World, agent: &str, volume: v1::Resource, addition: v1::Resource| {
        let grow = call::GrowVolume { agent_id: Some(id(agent)), volume, addition };
        operate(world, Type::GrowVolume, |call| call.grow_volume = Some(grow))
    };
    let plain = resources("disk:64").remove(0);
    assert!(matches!(grow(&mut world, &agent.id, volume(256.0), plain), Answer::BadRequest(_)));
    let addition = reserved("disk:64").remove(0);
    assert_eq!(grow(&mut world, &agent.id, volume(256.0), addition), Answer::Accepted);
    assert!(total(&world, &agent).contains("[vol-1:data]:320"), "{}", total(&world, &agent));
    // rule 198
    let shrink = |world: &mut World, agent: &str, size: f64, value: f64| {
        let subtract = v1::value::Scalar { value };
        let shrink = call::ShrinkVolume { agent_id: Some(id(agent)), volume: volume(size), subtract };
        operate(world, Type::ShrinkVolume, |call| call.shrink_volume = Some(shrink))
    };
    for wrong in [0.0, 320.0, 321.0, -1.0] {
        assert!(matches!(shrink(&mut world, &agent.id, 320.0, wrong), Answer::BadRequest(_)), "{wrong}");
    }
    assert_eq!(shrink(&mut world, &agent.id, 320.0, 64.0), Answer::Accepted);
    assert!(total(&world, &agent).contains("[vol-1:data]:256"));
    // rule 192: a volume has to be destroyed first
    let unreserve = |world: &mut World, agent: &str, resources: Vec<v1::Resource>| {
        let unreserve = call::UnreserveResources { agent_id: id(agent), resources };
        operate(world, Type::UnreserveResources, |call| call.unreserve_resources = Some(unreserve))
    };
    let answer = unreserve(&mut world, &agent.id, reserved("disk:512"));
    assert!(matches!(&answer, Answer::Conflict(text)
            if text.ends_with("does not contain disk(reservations: [(DYNAMIC,eng)]):512")));
    assert!(matches!(unreserve(&mut world, &agent.id, vec![volume(256.0)]), Answer::BadRequest(_)));
    // rule 196
    assert_eq!(destroy(&mut world, &agent.id, vec![volume(256.0)]), Answer::Accepted);
    assert_eq!(
        destroy(&mut world, &agent.id, vec![volume(256.0)]),
        bad("Invalid DESTROY operation: Persistent volumes not found")
    );
    assert_eq!(unreserve(&mut world, &agent.id, reserved("disk:512")), Answer::Accepted);
    assert_eq!(total(&world, &agent), "cpus:4; mem:4096; disk:10240");
}

#[test]
fn roles_show_what_is_offered_to_them() {
    let mut world = World::new();
    let scheduler = world.framework();
    world.agent("cpus:4;mem:4096;ports:[31000-32000]");
    world.offer(&scheduler);
    let snapshot = world.master.snapshot();
    let view = crate::query::View { snapshot: &snapshot, agent_url_path: "/agent(1)" };
    let roles = view.roles();
    assert_eq!(roles.len(), 1);
    assert_eq!(roles[0].frameworks, [FrameworkId::from(scheduler.id.as_str())]);
    assert_eq!(roles[0].offered.to_string(), "cpus:4; mem:4096; ports:1001");
    assert_eq!(roles[0].allocated, roles[0].offered);
    // What is offered only is neither used nor counted against quota.
    assert!(roles[0].used.is_empty() && roles[0].consumed.is_empty());
    assert_eq!(snapshot.roles[0].allocated.to_string(), "cpus:4; mem:4096");
    let limit = config("*", &[], &[("cpus", 1.0)]);
    assert_eq!(update_quota(&mut world, false, vec![limit]), Answer::Ok);
}

#[test]
fn roles_show_what_tasks_use() {
    let mut world = World::new();
    world.running(framework_info());
    let snapshot = world.master.snapshot();
    let view = crate::query::View { snapshot: &snapshot, agent_url_path: "/agent(1)" };
    let roles = view.roles();
    assert!(!roles[0].used.is_empty());
    assert_eq!(roles[0].used, roles[0].consumed);
}

#[test]
fn rule_277_who_is_offered_a_machine_that_is_to_be_left_is_asked_to_leave() {
    let mut world = World::new();
    let scheduler = world.framework();
    let agent = world.agent("cpus:4;mem:4096");
    world.offer(&scheduler);
    world.events(&scheduler);
    let hostname = world.master.state.agents[&agent.id].info.hostname.clone();
    assert_eq!(schedule(&mut world, &[&[&hostname]]), Answer::Ok);
    world.pass(2.0);
    let events = world.events(&scheduler);
    assert!(events.iter().any(|event| event.rescind.is_some()));
    assert!(events.iter().any(|event| event.offers.is_some()));
    assert!(events.iter().any(|event| event.inverse_offers.is_some()));
}
