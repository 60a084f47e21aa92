//! Operations of frameworks through the public step, and the checks that no recorded agent can show.

use mezzo_mesos::v1::{
    self, OperationState,
    framework_info::capability::Type as Capability,
    offer::{
        Operation,
        operation::{self, Type},
    },
    resource::{ReservationInfo, disk_info, reservation_info},
    scheduler::{self, call},
};
use mezzo_protocol::link::{self, to_agent, to_master};

use super::{Requester, plan};
use crate::{
    Answer,
    state::{Agent, Capabilities},
    testing::{self, FakeAgent, Scheduler, World, accept, description, resources, task, with_capabilities},
};

fn info() -> v1::FrameworkInfo {
    let info = v1::FrameworkInfo {
        principal: Some("golden".into()),
        roles: vec!["eng".into()],
        ..testing::framework_info()
    };
    with_capabilities(info, &[Capability::MultiRole, Capability::ReservationRefinement])
}

fn world(info: v1::FrameworkInfo) -> (World, Scheduler, FakeAgent, v1::Offer) {
    let mut world = World::new();
    let subscribe = call::Subscribe { framework_info: info, ..Default::default() };
    let scheduler = world.subscribe_with(subscribe, Some("golden")).expect("the info is valid");
    let agent = world.agent("cpus:4;mem:4096;disk:1024");
    let offer = world.offer(&scheduler);
    (world, scheduler, agent, offer)
}

fn dynamic(role: &str, principal: Option<&str>) -> ReservationInfo {
    ReservationInfo {
        r#type: Some(reservation_info::Type::Dynamic.into()),
        role: Some(role.into()),
        principal: principal.map(Into::into),
        labels: None,
    }
}

fn reserved(text: &str) -> Vec<v1::Resource> {
    let mut all = resources(text);
    for resource in &mut all {
        resource.reservations = vec![dynamic("eng", Some("golden"))];
    }
    all
}

fn volume(size: f64) -> v1::Resource {
    let mut volume = reserved(&format!("disk:{size}")).remove(0);
    volume.disk = Some(Box::new(v1::resource::DiskInfo {
        persistence: Some(disk_info::Persistence { id: "vol".into(), principal: Some("golden".into()) }),
        volume: Some(v1::Volume {
            container_path: "data".into(),
            mode: v1::volume::Mode::Rw.into(),
            ..Default::default()
        }),
        source: None,
    }));
    volume
}

fn op(kind: Type, id: Option<&str>) -> Operation {
    Operation {
        r#type: Some(kind.into()),
        id: id.map(|id| v1::OperationId { value: id.into() }),
        ..Default::default()
    }
}

fn reserve(resources: Vec<v1::Resource>, id: Option<&str>) -> Operation {
    let reserve = operation::Reserve { resources, source: Vec::new() };
    Operation { reserve: Some(reserve), ..op(Type::Reserve, id) }
}

fn create(volumes: Vec<v1::Resource>, id: Option<&str>) -> Operation {
    Operation { create: Some(operation::Create { volumes }), ..op(Type::Create, id) }
}

fn do_accept(world: &mut World, of: &Scheduler, offer: &v1::Offer, operations: Vec<Operation>) {
    assert_eq!(world.call(of, accept(&[offer], operations)), Answer::Accepted);
}

fn applied(world: &mut World, agent: &FakeAgent) -> Vec<link::ApplyOperation> {
    let apply = |message| match message {
        to_agent::Message::ApplyOperation(apply) => Some(*apply),
        _ => None,
    };
    world.told(agent.link).into_iter().filter_map(apply).collect()
}

/// The agent says how an operation went.
fn report(world: &mut World, agent: &FakeAgent, apply: &link::ApplyOperation, status: v1::OperationStatus) {
    let update = link::OperationStatusUpdate {
        framework_id: apply.framework_id.clone(),
        operation_uuid: apply.operation_uuid.clone(),
        latest_status: Some(status.clone()),
        status: Some(status),
    };
    world.tell(agent.link, to_master::Message::OperationStatusUpdate(update));
}

fn finished(byte: u8) -> v1::OperationStatus {
    v1::OperationStatus {
        state: OperationState::OperationFinished.into(),
        uuid: Some(v1::Uuid { value: vec![byte; 16] }),
        ..Default::default()
    }
}

/// Refused operations: their statuses, with the texts that came.
fn refused(world: &mut World, of: &Scheduler, offer: &v1::Offer, operation: Operation) -> String {
    do_accept(world, of, offer, vec![operation]);
    let mut statuses = world.operation_statuses(of);
    assert_eq!(statuses.len(), 1, "{statuses:?}");
    let status = statuses.remove(0);
    assert_eq!((status.state(), &status.uuid), (OperationState::OperationError, &None));
    status.message.unwrap_or_default()
}

#[test]
fn rule_204_an_operation_from_accept_to_acknowledgement() {
    let (mut world, scheduler, agent, offer) = world(info());
    // rule 100: the volume lies on what the operation before it reserved
    let operations = vec![
        reserve(reserved("cpus:0.5;mem:64;disk:128"), Some("op-reserve")),
        create(vec![volume(128.0)], Some("op-create")),
    ];
    do_accept(&mut world, &scheduler, &offer, operations);
    let applied = applied(&mut world, &agent);
    assert_eq!(applied.len(), 2);
    let first = applied[0].operation.as_ref().and_then(|operation| operation.reserve.as_ref());
    let allocation = first.and_then(|reserve| reserve.resources[0].allocation_info.clone());
    assert_eq!(allocation.and_then(|info| info.role).as_deref(), Some("eng"));
    let snapshot = world.master.snapshot();
    let known = &snapshot.agents[&agent.id];
    assert_eq!(
        known.total.to_string(),
        "cpus:3.5; mem:4032; disk:896; cpus(reservations: [(DYNAMIC,eng,golden)]):0.5; mem(reservations: \
         [(DYNAMIC,eng,golden)]):64; disk(reservations: [(DYNAMIC,eng,golden)])[vol,golden:data]:128"
            .replace("[vol,golden:data]", "[vol:data]")
    );
    assert!(
        known
            .operations
            .values()
            .all(|operation| { operation.info.latest_status.state() == OperationState::OperationPending })
    );
    for (number, apply) in applied.iter().enumerate() {
        report(&mut world, &agent, apply, finished(number as u8 + 1));
    }
    let statuses = world.operation_statuses(&scheduler);
    assert_eq!(statuses.len(), 2);
    let id = |status: &v1::OperationStatus| status.operation_id.as_ref().map(|id| id.value.clone());
    assert_eq!(id(&statuses[0]).as_deref(), Some("op-reserve"));
    assert_eq!(statuses[0].agent_id.as_ref().map(|id| id.value.as_str()), Some(agent.id.as_str()));
    let snapshot = world.master.snapshot();
    let view = crate::query::View { snapshot: &snapshot, agent_url_path: "/agent(1)" };
    let shown = view.get_operations().get_operations.expect("the answer has operations").operations;
    assert_eq!(shown.len(), 2);
    assert!(shown.iter().all(|operation| operation.statuses == [operation.latest_status.clone()]));
    for status in &statuses {
        let acknowledge = call::AcknowledgeOperationStatus {
            agent_id: status.agent_id.clone(),
            operation_id: status.operation_id.clone().expect("it has an id"),
            uuid: status.uuid.clone().expect("it has a uuid").value,
            ..Default::default()
        };
        let call = testing::call(scheduler::call::Type::AcknowledgeOperationStatus, |call| {
            call.acknowledge_operation_status = Some(acknowledge);
        });
        assert_eq!(world.call(&scheduler, call), Answer::Accepted);
    }
    assert!(world.master.snapshot().agents[&agent.id].operations.is_empty());
    let told = world.told(agent.link);
    assert_eq!(told.len(), 2);
    // rule 102: what was reserved is offered again without filter
    let again = world.offers(&scheduler);
    assert!(again.iter().flat_map(|offer| &offer.resources).any(|resource| resource.disk.is_some()));
}

#[test]
fn rule_188_frameworks_reserve_for_themselves() {
    let cases = [
        (vec![dynamic("ops", Some("golden"))], "was allocated to role 'eng'"),
        (vec![dynamic("eng", Some("other"))], "with principal 'other' set in `ReservationInfo`"),
        (vec![dynamic("eng", None)], "with no principal set in `ReservationInfo`"),
        (Vec::new(), "is not dynamically reserved"),
    ];
    for (reservations, text) in cases {
        let (mut world, scheduler, _, offer) = world(info());
        let mut wanted = resources("cpus:1");
        wanted[0].reservations = reservations;
        let message = refused(&mut world, &scheduler, &offer, reserve(wanted, Some("op")));
        assert!(message.starts_with("Invalid RESERVE operation: ") && message.contains(text), "{message}");
    }
}

#[test]
fn rule_190_frameworks_cannot_update_reservations() {
    let (mut world, scheduler, _, offer) = world(info());
    let mut operation = reserve(reserved("cpus:1"), Some("op"));
    if let Some(reserve) = &mut operation.reserve {
        reserve.source = resources("cpus:1");
    }
    let message = refused(&mut world, &scheduler, &offer, operation);
    assert_eq!(message, "Invalid RESERVE operation: Reservation updates are not yet implemented");
}

#[test]
fn rule_191_reservations_narrow_inwards() {
    let (mut world, scheduler, _, offer) = world(info());
    let mut wanted = resources("cpus:1");
    wanted[0].reservations = vec![dynamic("eng", Some("golden")), dynamic("ops", Some("golden"))];
    let message = refused(&mut world, &scheduler, &offer, reserve(wanted, Some("op")));
    assert!(message.starts_with("Invalid RESERVE operation: "), "{message}");
}

#[test]
fn rule_201_without_an_id_nobody_is_told() {
    let (mut world, scheduler, agent, offer) = world(info());
    do_accept(&mut world, &scheduler, &offer, vec![reserve(resources("cpus:1"), None)]);
    assert!(world.operation_statuses(&scheduler).is_empty());
    assert!(applied(&mut world, &agent).is_empty());
    // What was not used goes back.
    assert_eq!(world.offers(&scheduler).len(), 1);
}

#[test]
fn rule_203_feedback_needs_an_agent_that_gives_it() {
    let mut world = World::new();
    let subscribe = call::Subscribe { framework_info: info(), ..Default::default() };
    let scheduler = world.subscribe_with(subscribe, Some("golden")).expect("the info is valid");
    let mut description = description("cpus:4;mem:4096", "10.1.1.1");
    let feedback = v1::agent_info::capability::Type::AgentOperationFeedback;
    description.capabilities.retain(|capability| capability.r#type() != feedback);
    world.agent_described(description);
    let offer = world.offer(&scheduler);
    let message = refused(&mut world, &scheduler, &offer, reserve(reserved("cpus:1"), Some("op")));
    assert!(message.contains("AGENT_OPERATION_FEEDBACK"), "{message}");
}

#[test]
fn rule_194_and_195_volumes_of_frameworks() {
    let (mut world, scheduler, _, offer) = world(info());
    let mut foreign = volume(64.0);
    if let Some(persistence) = foreign.disk.as_mut().and_then(|disk| disk.persistence.as_mut()) {
        persistence.principal = Some("other".into());
    }
    let operations = vec![reserve(reserved("disk:128"), None), create(vec![foreign], Some("foreign")), {
        let mut shared = volume(64.0);
        shared.shared = Some(v1::resource::SharedInfo {});
        create(vec![shared], Some("shared"))
    }];
    do_accept(&mut world, &scheduler, &offer, operations);
    let statuses = world.operation_statuses(&scheduler);
    let messages: Vec<_> = statuses.iter().filter_map(|status| status.message.as_deref()).collect();
    assert_eq!(messages.len(), 2, "{messages:?}");
    assert!(messages[0].contains("principal 'other'"), "{messages:?}");
    assert!(messages[1].contains("SHARED_RESOURCES"), "{messages:?}");
}

#[test]
fn rule_101_what_growing_makes_is_not_for_the_same_accept() {
    let (mut world, scheduler, agent, offer) = world(info());
    do_accept(
        &mut world,
        &scheduler,
        &offer,
        vec![reserve(reserved("disk:256"), None), create(vec![volume(128.0)], None)],
    );
    let offer = world.offers(&scheduler).remove(0);
    let grow = operation::GrowVolume { volume: volume(128.0), addition: reserved("disk:64").remove(0) };
    let mut launched = task("t", &offer, "cpus:1;mem:32");
    launched.resources.push(volume(192.0));
    let launch = Operation {
        launch: Some(operation::Launch { task_infos: vec![launched] }),
        ..op(Type::Launch, None)
    };
    let grow = Operation { grow_volume: Some(Box::new(grow)), ..op(Type::GrowVolume, None) };
    do_accept(&mut world, &scheduler, &offer, vec![grow, launch]);
    assert_eq!(world.status(&scheduler).state(), v1::TaskState::TaskError);
    assert!(world.master.snapshot().agents[&agent.id].total.to_string().contains("[vol:data]:192"));
    let offered = world.offers(&scheduler);
    let sizes: Vec<f64> = offered
        .iter()
        .flat_map(|offer| &offer.resources)
        .filter(|resource| resource.disk.is_some())
        .filter_map(|resource| resource.scalar.as_ref().map(|scalar| scalar.value))
        .collect();
    assert_eq!(sizes, [192.0], "the grown volume is offered afterwards");
}

#[test]
fn rule_196_a_volume_in_use_stays() {
    let (mut world, scheduler, _, offer) = world(info());
    let mut launched = task("t", &offer, "cpus:1;mem:32");
    launched.resources.push(volume(128.0));
    let launch = Operation {
        launch: Some(operation::Launch { task_infos: vec![launched] }),
        ..op(Type::Launch, None)
    };
    let destroy = operation::Destroy { volumes: vec![volume(128.0)] };
    let operations = vec![
        reserve(reserved("disk:128"), None),
        create(vec![volume(128.0)], None),
        launch,
        Operation { destroy: Some(destroy), ..op(Type::Destroy, Some("destroy")) },
    ];
    do_accept(&mut world, &scheduler, &offer, operations);
    let statuses = world.operation_statuses(&scheduler);
    assert_eq!(statuses[0].message.as_deref(), Some("Invalid DESTROY operation: Persistent volumes in use"));
}

#[test]
fn rule_236_reconciliation_of_operations() {
    let (mut world, scheduler, agent, offer) = world(info());
    do_accept(&mut world, &scheduler, &offer, vec![reserve(reserved("cpus:1"), Some("op"))]);
    let asked = |id: &str| call::reconcile_operations::Operation {
        operation_id: v1::OperationId { value: id.into() },
        agent_id: Some(v1::AgentId { value: agent.id.to_string() }),
        ..Default::default()
    };
    let operations = vec![asked("op"), asked("nope")];
    let call = testing::call(scheduler::call::Type::ReconcileOperations, |call| {
        call.reconcile_operations = Some(call::ReconcileOperations { operations });
    });
    assert_eq!(world.call(&scheduler, call), Answer::Accepted);
    let statuses = world.operation_statuses(&scheduler);
    assert_eq!(statuses[0].state(), OperationState::OperationPending);
    assert_eq!(statuses[1].state(), OperationState::OperationUnknown);
    assert_eq!(statuses[1].message.as_deref(), Some("Reconciliation: Operation is unknown"));
    assert!(statuses.iter().all(|status| status.uuid.is_none()));
}

/// An agent with disks of two providers, for checks that need no master.
fn agent() -> Agent {
    let mut world = World::new();
    let agent = world.agent("cpus:4;disk:1024");
    (*world.master.snapshot().agents[&agent.id]).clone()
}

fn provided(provider: &str, source: disk_info::source::Type, id: bool, profile: bool) -> v1::Resource {
    let mut disk = resources("disk:100").remove(0);
    disk.provider_id = Some(v1::ResourceProviderId { value: provider.into() });
    disk.disk = Some(Box::new(v1::resource::DiskInfo {
        source: Some(disk_info::Source {
            r#type: source.into(),
            id: id.then(|| "disk-1".into()),
            profile: profile.then(|| "fast".into()),
            ..Default::default()
        }),
        ..Default::default()
    }));
    disk
}

const OPERATOR: Requester<'static> = Requester::Operator { principal: None };

#[test]
fn rule_199_create_disk() {
    use disk_info::source::Type::{Block, Mount, Path, Raw};
    let agent = agent();
    let check = |source: v1::Resource, target: disk_info::source::Type, profile: Option<&str>| {
        let create = operation::CreateDisk {
            source,
            target_type: target.into(),
            target_profile: profile.map(Into::into),
        };
        plan(
            Operation { create_disk: Some(Box::new(create)), ..op(Type::CreateDisk, None) },
            &agent,
            OPERATOR,
        )
        .map(|plan| plan.speculative)
    };
    assert_eq!(check(provided("p", Raw, false, true), Mount, None), Ok(false));
    assert_eq!(check(provided("p", Raw, false, false), Block, Some("fast")), Ok(false));
    assert!(check(provided("p", Raw, false, true), Mount, Some("fast")).is_err());
    assert!(check(provided("p", Raw, false, false), Mount, None).is_err());
    assert!(check(provided("p", Raw, false, true), Path, None).is_err());
    assert!(check(provided("p", Mount, true, true), Mount, None).is_err());
    assert!(check(resources("disk:1").remove(0), Mount, None).is_err());
}

#[test]
fn rule_200_destroy_disk() {
    use disk_info::source::Type::{Mount, Path, Raw};
    let agent = agent();
    let check = |source: v1::Resource| {
        let destroy = operation::DestroyDisk { source };
        plan(
            Operation { destroy_disk: Some(Box::new(destroy)), ..op(Type::DestroyDisk, None) },
            &agent,
            OPERATOR,
        )
        .map(|plan| plan.speculative)
    };
    assert_eq!(check(provided("p", Mount, true, false)), Ok(false));
    assert_eq!(check(provided("p", Raw, true, false)), Ok(false));
    assert!(check(provided("p", Mount, false, false)).is_err());
    assert!(check(provided("p", Path, true, false)).is_err());
    assert!(check(resources("disk:1").remove(0)).is_err());
}

#[test]
fn rule_205_one_owner_per_operation() {
    use disk_info::source::Type::Mount;
    let agent = agent();
    let check = |resources: Vec<v1::Resource>| {
        let mut reserved = resources;
        for resource in &mut reserved {
            resource.reservations = vec![dynamic("eng", None)];
        }
        plan(reserve(reserved, None), &agent, OPERATOR).map(|_| ())
    };
    let of = |provider: &str| provided(provider, Mount, true, false);
    assert_eq!(check(vec![of("p")]), Ok(()));
    assert!(check(vec![of("p"), of("q")]).is_err());
    assert!(check(vec![of("p"), resources("cpus:1").remove(0)]).is_err());
}

#[test]
fn rule_190_operators_may_move_reservations() {
    let agent = agent();
    let check = |source: Vec<v1::Resource>, resources: Vec<v1::Resource>| {
        let reserve = operation::Reserve { source, resources };
        plan(Operation { reserve: Some(reserve), ..op(Type::Reserve, None) }, &agent, OPERATOR)
            .map(|plan| plan.conversion.consumed.to_string())
    };
    let mut moved = resources("cpus:1");
    moved[0].reservations = vec![dynamic("ops", None)];
    assert_eq!(
        check(reserved("cpus:1"), moved.clone()).as_deref(),
        Ok("cpus(reservations: [(DYNAMIC,eng,golden)]):1")
    );
    assert!(check(reserved("cpus:2"), moved).is_err());
}

#[test]
fn rule_197_and_198_resizing_needs_the_capability_and_a_plain_disk() {
    let mut agent = agent();
    let shrink = |agent: &Agent, volume: v1::Resource| {
        let shrink = operation::ShrinkVolume { volume, subtract: v1::value::Scalar { value: 1.0 } };
        let operation = Operation { shrink_volume: Some(Box::new(shrink)), ..op(Type::ShrinkVolume, None) };
        plan(operation, agent, OPERATOR).map(|_| ())
    };
    assert_eq!(shrink(&agent, volume(2.0)), Ok(()));
    let mut mounted = volume(2.0);
    if let Some(disk) = &mut mounted.disk {
        let kind = disk_info::source::Type::Mount.into();
        disk.source = Some(disk_info::Source { r#type: kind, ..Default::default() });
    }
    assert!(shrink(&agent, mounted).is_err());
    let mut shared = volume(2.0);
    shared.shared = Some(v1::resource::SharedInfo {});
    assert!(shrink(&agent, shared).is_err());
    agent.capabilities = Default::default();
    assert!(shrink(&agent, volume(2.0)).is_err());
}

#[test]
fn rule_192_frameworks_unreserve_what_is_reserved() {
    let agent = agent();
    let (role, capabilities) = (mezzo_ids::Role::from("eng"), Capabilities::default());
    let requester = Requester::Framework {
        role: &role,
        roles: std::slice::from_ref(&role),
        principal: None,
        capabilities: &capabilities,
    };
    let check = |resources: Vec<v1::Resource>| {
        let unreserve = operation::Unreserve { resources };
        plan(Operation { unreserve: Some(unreserve), ..op(Type::Unreserve, None) }, &agent, requester)
            .map(|plan| plan.conversion.converted.to_string())
    };
    assert_eq!(check(reserved("cpus:1")).as_deref(), Ok("cpus(allocated: eng):1"));
    assert!(check(resources("cpus:1")).is_err());
    assert!(check(vec![volume(1.0)]).is_err());
}

#[test]
fn rule_199_a_disk_is_free_when_the_provider_has_made_it() {
    let mut world = World::new();
    let subscribe = call::Subscribe { framework_info: info(), ..Default::default() };
    let scheduler = world.subscribe_with(subscribe, Some("golden")).expect("the info is valid");
    let mut description = description("cpus:4;mem:4096", "10.1.1.2");
    let raw = provided("p", disk_info::source::Type::Raw, false, true);
    description.resources.push(raw.clone());
    let agent = world.agent_described(description);
    let offer = world.offer(&scheduler);
    let mount = disk_info::source::Type::Mount;
    let create = operation::CreateDisk { source: raw, target_type: mount.into(), target_profile: None };
    let create = Operation { create_disk: Some(Box::new(create)), ..op(Type::CreateDisk, Some("disk")) };
    do_accept(&mut world, &scheduler, &offer, vec![create]);
    let apply = applied(&mut world, &agent).remove(0);
    let offered = world.offers(&scheduler);
    assert!(offered.iter().flat_map(|offer| &offer.resources).all(|resource| resource.disk.is_none()));
    let made = provided("p", mount, true, true);
    let status = v1::OperationStatus { converted_resources: vec![made], ..finished(1) };
    report(&mut world, &agent, &apply, status);
    let total = world.master.snapshot().agents[&agent.id].total.to_string();
    assert!(total.contains("MOUNT") && !total.contains("RAW"), "{total}");
    // A disk alone is too little to be offered, but it is free.
    assert!(world.master.allocator.available(&agent.id).to_string().contains("MOUNT"));
    assert!(world.master.snapshot().agents[&agent.id].used.is_empty());
}

#[test]
fn rule_204_an_agent_that_returns_and_the_master_compare_operations() {
    let (mut world, scheduler, agent, offer) = world(info());
    do_accept(&mut world, &scheduler, &offer, vec![reserve(reserved("cpus:1"), Some("op"))]);
    world.told(agent.link);
    world.step(crate::Input::LinkLost(agent.link));
    let mut again = description("cpus:3;mem:4096;disk:1024", &world.master.snapshot().agents[&agent.id].ip);
    if let Some(info) = &mut again.info {
        info.id = Some(v1::AgentId { value: agent.id.to_string() });
    }
    again.resources.extend(reserved("cpus:1"));
    let link = world.reregister(link::Reregister { agent: Some(again), ..Default::default() });
    let told = world.told(link);
    assert!(told.iter().any(|message| matches!(
        message,
        to_agent::Message::ReconcileOperations(asked) if asked.operation_uuids.len() == 1
    )));
}
