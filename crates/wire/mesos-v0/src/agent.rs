//! One agent, as the master shows it.

use mezzo_json::Writer;
use mezzo_mesos::v1;
use mezzo_resources::{Form, Resources};

use crate::resources::{write_attributes, write_resources};
use crate::shapes::{bool_field, domain_field, double_field, string_field, strings};

/// Reserved resources by role, in the order of the roles; leave out roles the caller may not see.
pub type ReservedView<'a> = &'a [(&'a str, &'a Resources)];

/// An agent of the master. Times are seconds since the epoch.
#[derive(Clone, Copy)]
pub struct AgentView<'a> {
    /// As it registered, with its id.
    pub info: &'a v1::AgentInfo,
    /// `slave(1)@ip:port`.
    pub pid: &'a str,
    /// First registration.
    pub registered: f64,
    /// Last re-registration.
    pub reregistered: Option<f64>,
    /// Everything it has.
    pub total: &'a Resources,
    /// Used by tasks and executors, allocated.
    pub used: &'a Resources,
    /// In outstanding offers, allocated.
    pub offered: &'a Resources,
    /// Of `total`, per role.
    pub reserved: ReservedView<'a>,
    /// Of `total`, for everyone.
    pub unreserved: &'a Resources,
    /// May be offered.
    pub active: bool,
    /// By an operator.
    pub deactivated: bool,
    /// Of its software.
    pub version: &'a str,
    /// As announced.
    pub capabilities: &'a [v1::agent_info::Capability],
    /// While it drains and after.
    pub drain: Option<&'a v1::DrainInfo>,
    /// When the drain began, seconds since the epoch.
    pub drain_started: Option<f64>,
}

/// What is known of an agent that is not registered.
pub fn write_agent_info(w: &mut Writer<'_>, info: &v1::AgentInfo) {
    w.begin_object();
    info_fields(w, info);
    w.end_object();
}

fn info_fields(w: &mut Writer<'_>, info: &v1::AgentInfo) {
    string_field(w, b"\"id\":", info.id.as_ref().map_or("", |id| &id.value));
    string_field(w, b"\"hostname\":", &info.hostname);
    w.raw_key(b"\"port\":");
    w.integer(i64::from(info.port.unwrap_or(5051)));
    w.raw_key(b"\"attributes\":");
    write_attributes(w, &info.attributes);
    domain_field(w, &info.domain);
}

/// An agent as in /state.
pub fn write_agent(w: &mut Writer<'_>, agent: &AgentView<'_>) {
    w.begin_object();
    agent_fields(w, agent);
    w.end_object();
}

/// The keys of an agent, inside an open object.
pub(crate) fn agent_fields(w: &mut Writer<'_>, agent: &AgentView<'_>) {
    info_fields(w, agent.info);
    string_field(w, b"\"pid\":", agent.pid);
    double_field(w, b"\"registered_time\":", agent.registered);
    if let Some(time) = agent.reregistered {
        double_field(w, b"\"reregistered_time\":", time);
    }
    w.raw_key(b"\"resources\":");
    write_resources(w, agent.total);
    w.raw_key(b"\"used_resources\":");
    write_resources(w, agent.used);
    w.raw_key(b"\"offered_resources\":");
    write_resources(w, agent.offered);
    w.raw_key(b"\"reserved_resources\":");
    write_reserved(w, agent.reserved);
    w.raw_key(b"\"unreserved_resources\":");
    write_resources(w, agent.unreserved);
    bool_field(w, b"\"active\":", agent.active);
    bool_field(w, b"\"deactivated\":", agent.deactivated);
    string_field(w, b"\"version\":", agent.version);
    w.raw_key(b"\"capabilities\":");
    strings(w, agent_capabilities(agent.capabilities));
    if let Some(drain) = agent.drain {
        w.raw_key(b"\"drain_info\":");
        w.value(drain);
        if let Some(time) = agent.drain_started {
            double_field(w, b"\"estimated_drain_start_time_seconds\":", time);
        }
    }
}

pub(crate) fn agent_capabilities(
    list: &[v1::agent_info::Capability],
) -> impl Iterator<Item = &'static str> + '_ {
    list.iter().filter_map(|c| {
        let kind = v1::agent_info::capability::Type::try_from(c.r#type?).ok()?;
        Some(kind.as_str_name())
    })
}

pub(crate) fn write_reserved(w: &mut Writer<'_>, reserved: ReservedView<'_>) {
    w.begin_object();
    for (role, resources) in reserved {
        w.key(role);
        write_resources(w, resources);
    }
    w.end_object();
}

/// Resources one by one, in the form endpoints show.
pub(crate) fn write_full(w: &mut Writer<'_>, resources: &Resources) {
    w.value(&resources.to_proto(Form::Endpoint)[..]);
}

pub(crate) fn write_reserved_full(w: &mut Writer<'_>, reserved: ReservedView<'_>) {
    w.begin_object();
    for (role, resources) in reserved {
        w.key(role);
        write_full(w, resources);
    }
    w.end_object();
}

/// An agent as in /slaves: with its resources one by one.
pub fn write_agent_full(w: &mut Writer<'_>, agent: &AgentView<'_>) {
    w.begin_object();
    agent_fields(w, agent);
    w.raw_key(b"\"reserved_resources_full\":");
    write_reserved_full(w, agent.reserved);
    w.raw_key(b"\"unreserved_resources_full\":");
    write_full(w, agent.unreserved);
    w.raw_key(b"\"used_resources_full\":");
    write_full(w, agent.used);
    w.raw_key(b"\"offered_resources_full\":");
    write_full(w, agent.offered);
    w.end_object();
}
