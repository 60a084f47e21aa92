//! GET /registrar(1)/registry of the master.

use mezzo_json::{Writer, to_vec};
use mezzo_mesos::v1;
use mezzo_resources::{Form, Resources};

use crate::alphabetical::alphabetical;

/// What the registry holds, in the shape Mesos keeps it. Times are nanoseconds since the epoch.
#[derive(Clone, Copy)]
pub struct RegistryView<'a> {
    /// The master that wrote it last.
    pub master: &'a v1::MasterInfo,
    /// Admitted agents, and whether an operator deactivated them.
    pub agents: &'a [(&'a v1::AgentInfo, bool)],
    /// Unreachable agents and since when; empty to leave the key out.
    pub unreachable: &'a [(&'a str, i64)],
    /// Gone agents and since when; empty to leave the key out.
    pub gone: &'a [(&'a str, i64)],
    /// Machines in maintenance; `None` before there was a schedule.
    pub machines: Option<&'a [v1::MachineInfo]>,
    /// Maintenance schedules.
    pub schedules: &'a [v1::maintenance::Schedule],
    /// Quotas.
    pub quotas: &'a [v1::quota::QuotaConfig],
    /// Explicit weights.
    pub weights: &'a [(&'a str, f64)],
}

/// The registry with its keys in alphabetical order.
pub fn registry(w: &mut Writer<'_>, view: &RegistryView<'_>) {
    let mut inner = Writer::new();
    write_unsorted(&mut inner, view);
    w.raw(&alphabetical(&inner.finish()));
}

fn write_unsorted(w: &mut Writer<'_>, view: &RegistryView<'_>) {
    w.begin_object();
    w.key("master");
    w.begin_object();
    w.key("info");
    w.value(view.master);
    w.end_object();
    if let Some(machines) = view.machines {
        w.key("machines");
        w.begin_object();
        if !machines.is_empty() {
            w.key("machines");
            w.begin_array();
            for machine in machines {
                w.begin_object();
                w.key("info");
                w.value(machine);
                w.end_object();
            }
            w.end_array();
        }
        w.end_object();
    }
    w.key("slaves");
    w.begin_object();
    if !view.agents.is_empty() {
        w.key("slaves");
        w.begin_array();
        for (info, deactivated) in view.agents {
            w.begin_object();
            w.key("info");
            write_agent_info(w, info);
            w.key("deactivated");
            w.boolean(*deactivated);
            w.end_object();
        }
        w.end_array();
    }
    w.end_object();
    write_times(w, "unreachable", view.unreachable);
    write_times(w, "gone", view.gone);
    for (key, list) in [("schedules", view.schedules)] {
        if !list.is_empty() {
            w.key(key);
            w.value(list);
        }
    }
    if !view.quotas.is_empty() {
        w.key("quota_configs");
        w.value(view.quotas);
    }
    if !view.weights.is_empty() {
        w.key("weights");
        w.begin_array();
        for (role, weight) in view.weights {
            w.begin_object();
            w.key("info");
            w.begin_object();
            w.key("role");
            w.string(role);
            w.key("weight");
            w.double(*weight);
            w.end_object();
            w.end_object();
        }
        w.end_array();
    }
    w.end_object();
}

/// As the v0 message prints: with `checkpoint`, which is true on every agent, and with the role of
/// unreserved resources.
fn write_agent_info(w: &mut Writer<'_>, info: &v1::AgentInfo) {
    let mut shown = info.clone();
    if let Ok(resources) = Resources::from_proto(&info.resources) {
        shown.resources = resources.to_proto(Form::Endpoint);
    }
    let mut json = to_vec(&shown);
    json.pop();
    json.extend_from_slice(b",\"checkpoint\":true}");
    w.raw(&json);
}

fn write_times(w: &mut Writer<'_>, key: &str, agents: &[(&str, i64)]) {
    if agents.is_empty() {
        return;
    }
    w.key(key);
    w.begin_object();
    w.key("slaves");
    w.begin_array();
    for (id, nanoseconds) in agents {
        w.begin_object();
        w.key("id");
        w.begin_object();
        w.key("value");
        w.string(id);
        w.end_object();
        w.key("timestamp");
        w.begin_object();
        w.key("nanoseconds");
        w.integer(*nanoseconds);
        w.end_object();
        w.end_object();
    }
    w.end_array();
    w.end_object();
}
