//! SUBSCRIBE: a framework comes, comes back, or takes over from an earlier stream.

use std::sync::Arc;

use mezzo_ids::{FrameworkId, Principal, Role};
use mezzo_mesos::v1::{
    self,
    scheduler::{self, Call, call},
};

use crate::{
    effect::Effect,
    events::scheduler_event,
    input::StreamId,
    master::{Master, Moment},
    metrics::Counter,
    profiles::{compile_constraints, framework_profile},
    state::Framework,
    validate,
};

/// Seconds between HEARTBEAT events (rule 52).
const HEARTBEAT_INTERVAL_SECONDS: f64 = 15.0;

/// Opens a framework's stream, or ends it with an ERROR event (rule 51).
pub(crate) fn on_subscribe(
    master: &mut Master,
    moment: &mut Moment<'_>,
    stream: StreamId,
    stream_uuid: Arc<str>,
    call: Call,
    principal: Option<Principal>,
) {
    let Some(mut subscribe) = call.subscribe else {
        return master.close_with_error(stream, "Expecting 'subscribe' to be present");
    };
    // Rule 50.
    if let Some(principal) = &principal {
        subscribe.framework_info.principal.get_or_insert_with(|| principal.to_string());
    }
    let new = subscribe.framework_info.id.as_ref().is_none_or(|id| id.value.is_empty());
    master.count(if new { Counter::MessagesRegisterFramework } else { Counter::MessagesReregisterFramework });
    if let Err(why) = validate_subscribe(master, &subscribe) {
        return master.close_with_error(stream, why);
    }
    let id = match &subscribe.framework_info.id {
        Some(id) if !new => FrameworkId::from(id.value.as_str()),
        _ => master.mint_framework(),
    };
    subscribe.framework_info.id = Some(v1::FrameworkId { value: id.as_str().into() });
    if master.state.frameworks.contains_key(&id) {
        fail_over(master, moment, &id, *subscribe);
    } else {
        // Rule 55: an id that is not known comes from a time before this master.
        add(master, moment, &id, *subscribe);
    }
    connect(master, &id, stream, stream_uuid, principal);
}

fn validate_subscribe(master: &Master, subscribe: &call::Subscribe) -> Result<(), String> {
    let info = &subscribe.framework_info;
    let config = &master.config;
    validate::framework_info(info, config.root_submissions, config.roles.as_deref())?;
    validate::suppressed_roles(info, &subscribe.suppressed_roles)?;
    compile_constraints(master, info, subscribe.offer_constraints.as_ref())?;
    let Some(id) = &info.id else { return Ok(()) };
    let completed = |f: &Arc<Framework>| f.info.id.as_ref() == Some(id);
    if master.state.completed_frameworks.iter().any(completed) {
        return Err("Framework has been removed".into());
    }
    // Rule 58.
    if let Some(framework) = master.state.frameworks.get(id.value.as_str())
        && framework.info.principal != info.principal
    {
        return Err("Changing framework's principal is not allowed.".into());
    }
    Ok(())
}

fn add(master: &mut Master, moment: &Moment<'_>, id: &FrameworkId, subscribe: call::Subscribe) {
    let mut framework = Framework::described(subscribe.framework_info, moment.now);
    framework.suppressed = subscribe.suppressed_roles.into_iter().map(Role::from).collect();
    framework.constraints = subscribe.offer_constraints.map(Arc::new);
    let profile = framework_profile(master, &framework);
    master.allocator.add_framework(id, profile, false);
    master.counters().add_framework(id, &framework.info.name);
    master.state.frameworks.insert(id.clone(), Arc::new(framework));
    master.note_framework(id);
}

/// The framework is known: its earlier stream, if any, ends, and so do its offers (rules 56 and 57).
fn fail_over(master: &mut Master, moment: &mut Moment<'_>, id: &FrameworkId, mut subscribe: call::Subscribe) {
    let old = master.state.frameworks.get(id).and_then(|f| f.stream.as_ref()).map(|(stream, _)| *stream);
    if let Some(old) = old {
        master.streams.remove(&old);
        master.close_with_error(old, "Framework failed over");
    }
    master.note_forgotten(id, []);
    master.allocator.deactivate_framework(id);
    master.withdraw_framework_offers(moment, id);
    master.withdraw_framework_inverse_offers(id);
    let Some(framework) = master.framework_mut(id) else { return };
    // Rule 58: these two keep their first values.
    subscribe.framework_info.user.clone_from(&framework.info.user);
    subscribe.framework_info.checkpoint = framework.info.checkpoint;
    framework.reregistered = Some(moment.now);
    let changed = *framework.info != subscribe.framework_info;
    replace_info(
        master,
        moment,
        id,
        subscribe.framework_info,
        subscribe.suppressed_roles,
        subscribe.offer_constraints,
    );
    if changed {
        master.send_framework_to_agents(id);
    }
}

/// Takes a new FrameworkInfo with what came beside it (rules 67 to 69).
pub(super) fn replace_info(
    master: &mut Master,
    moment: &Moment<'_>,
    id: &FrameworkId,
    info: v1::FrameworkInfo,
    suppressed: Vec<String>,
    constraints: Option<scheduler::OfferConstraints>,
) {
    let Some(framework) = master.framework_mut(id) else { return };
    let fresh = Framework::described(info, moment.now);
    framework.info = fresh.info;
    framework.capabilities = fresh.capabilities;
    let old = std::mem::replace(&mut framework.roles, fresh.roles);
    let roles = framework.roles.clone();
    let suppressed = suppressed.into_iter().map(Role::from).collect();
    let before = std::mem::replace(&mut framework.suppressed, suppressed);
    framework.constraints = constraints.map(Arc::new);
    let framework = framework.clone();
    // Roles that it left or wants again.
    let wants = |role: &Role| framework.roles.contains(role) && !framework.suppressed.contains(role);
    let left = old.iter().filter(|role| !framework.roles.contains(role));
    let again: Vec<Role> = before.iter().filter(|role| wants(role)).chain(left).cloned().collect();
    if !again.is_empty() {
        master.note_forgotten(id, again);
    }
    let profile = framework_profile(master, &framework);
    master.allocator.update_framework(id, profile);
    // Rule 68.
    if old.iter().any(|role| !roles.contains(role)) {
        let offers = master.framework_offers.get(id).cloned().unwrap_or_default();
        for offer in offers {
            let role = master
                .offer_agents
                .get(&offer)
                .and_then(|agent| master.state.agents.get(agent))
                .and_then(|agent| agent.offers.get(&offer))
                .map(|offer| offer.role.clone());
            if role.is_some_and(|role| !roles.contains(&role)) {
                master.rescind_offer(moment, &offer);
            }
        }
    }
}

/// Lets events flow: SUBSCRIBED first, then a heartbeat, then offers (rule 52).
fn connect(
    master: &mut Master,
    id: &FrameworkId,
    stream: StreamId,
    stream_uuid: Arc<str>,
    principal: Option<Principal>,
) {
    let Some(framework) = master.framework_mut(id) else { return };
    let returned = framework.reregistered.is_some() || framework.recovered;
    framework.stream = Some((stream, stream_uuid));
    framework.principal = principal;
    framework.active = true;
    framework.recovered = false;
    framework.failover_deadline = None;
    master.streams.insert(stream, id.clone());
    master.counters().call(id, call::Type::Subscribe);
    let subscribed = scheduler::event::Subscribed {
        framework_id: v1::FrameworkId { value: id.as_str().into() },
        heartbeat_interval_seconds: Some(HEARTBEAT_INTERVAL_SECONDS),
        master_info: Some(master.config.info.clone()),
    };
    let event = scheduler::Event {
        subscribed: Some(Box::new(subscribed)),
        ..scheduler_event(scheduler::event::Type::Subscribed)
    };
    master.send(id, event);
    master.effects.push(Effect::StartHeartbeat(stream));
    master.allocator.activate_framework(id);
    if returned {
        master.publish_framework_updated(id);
    } else {
        master.publish_framework_added(id);
    }
}
