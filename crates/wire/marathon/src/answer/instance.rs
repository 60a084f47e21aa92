//! Instances of pods as kills answer them.

use mezzo_json::Writer;
use mezzo_services_model::{Instance, UnreachableStrategy};

use super::{
    fields::{key, list, time},
    queue::write_attribute,
    shared::write_unreachable_strategy,
};

/// One instance, with the strategy of its definition.
pub fn write_instance(w: &mut Writer<'_>, instance: &Instance, strategy: UnreachableStrategy) {
    w.begin_object();
    key!(w, "instanceId");
    w.string(instance.id.as_str());
    if let Some(agent) = &instance.agent {
        key!(w, "agentInfo");
        w.begin_object();
        key!(w, "host");
        w.string(&agent.host);
        key!(w, "agentId");
        w.string(&agent.id);
        if let Some(region) = &agent.region {
            key!(w, "region");
            w.string(region);
        }
        if let Some(zone) = &agent.zone {
            key!(w, "zone");
            w.string(zone);
        }
        key!(w, "attributes");
        list(w, &agent.attributes, write_attribute);
        w.end_object();
    }
    key!(w, "runSpecVersion");
    time(w, instance.version);
    key!(w, "state");
    w.begin_object();
    key!(w, "condition");
    w.string(instance.condition.name());
    key!(w, "since");
    time(w, instance.since);
    if let Some(at) = instance.active_since {
        key!(w, "activeSince");
        time(w, at);
    }
    if let Some(healthy) = instance.healthy {
        key!(w, "healthy");
        w.boolean(healthy);
    }
    key!(w, "goal");
    w.string(instance.goal.name());
    w.end_object();
    key!(w, "unreachableStrategy");
    write_unreachable_strategy(w, strategy);
    w.end_object();
}

/// A bare list of instances of one pod.
pub fn write_instances<'a>(
    w: &mut Writer<'_>,
    instances: impl IntoIterator<Item = &'a Instance>,
    strategy: UnreachableStrategy,
) {
    list(w, instances, |w, instance| write_instance(w, instance, strategy));
}
