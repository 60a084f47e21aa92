//! One framework, as the master shows it.

use mezzo_json::Writer;
use mezzo_mesos::v1;
use mezzo_resources::Resources;

use crate::resources::write_resources;
use crate::shapes::{
    bool_field, double_field, executor_fields, labels_field, optional_string, string_field, strings,
};
use crate::task::write_task;

/// Writes elements of a list by itself, for whoever has written them before. It should pause between them.
pub type Written<'a> = &'a dyn Fn(&mut Writer<'_>);

/// A framework of the master. Times are seconds since the epoch.
#[derive(Clone, Copy)]
pub struct FrameworkView<'a> {
    /// As subscribed, id filled in.
    pub info: &'a v1::FrameworkInfo,
    /// Only of a framework on the v0 driver.
    pub pid: Option<&'a str>,
    /// Used by its tasks and executors.
    pub used: &'a Resources,
    /// In its outstanding offers.
    pub offered: &'a Resources,
    /// Used and offered together.
    pub total: &'a Resources,
    /// Gets offers.
    pub active: bool,
    /// Has an open stream.
    pub connected: bool,
    /// Known only from agents since the master started.
    pub recovered: bool,
    /// First subscription.
    pub registered: f64,
    /// Last subscription.
    pub reregistered: Option<f64>,
    /// End of a completed framework.
    pub unregistered: Option<f64>,
    /// Its tasks on registered agents.
    pub tasks: &'a [&'a v1::Task],
    /// Writes more of those, each as [`write_task`] does.
    pub more_tasks: Option<Written<'a>>,
    /// Its tasks on unreachable agents.
    pub unreachable_tasks: &'a [&'a v1::Task],
    /// Its ended tasks, oldest first.
    pub completed_tasks: &'a [&'a v1::Task],
    /// Its outstanding offers.
    pub offers: &'a [OfferView<'a>],
    /// Its executors, without those of command tasks.
    pub executors: &'a [ExecutorView<'a>],
    /// As subscribed.
    pub constraints: Option<&'a v1::scheduler::OfferConstraints>,
}

/// An outstanding offer.
#[derive(Clone, Copy)]
pub struct OfferView<'a> {
    /// Its id.
    pub id: &'a str,
    /// To whom.
    pub framework: &'a str,
    /// For which of its roles.
    pub role: &'a str,
    /// Of which agent.
    pub agent: &'a str,
    /// What it holds.
    pub resources: &'a Resources,
}

/// An executor and where it runs.
#[derive(Clone, Copy)]
pub struct ExecutorView<'a> {
    /// With its framework id and allocated resources; `None` when the caller may not see it.
    pub info: Option<&'a v1::ExecutorInfo>,
    /// The agent.
    pub agent: &'a str,
}

/// A framework without its tasks, as in /state-summary.
pub fn write_framework_summary(w: &mut Writer<'_>, framework: &FrameworkView<'_>) {
    w.begin_object();
    summary_fields(w, framework);
    w.end_object();
}

pub(crate) fn summary_fields(w: &mut Writer<'_>, framework: &FrameworkView<'_>) {
    let info = framework.info;
    string_field(w, b"\"id\":", info.id.as_ref().map_or("", |id| &id.value));
    string_field(w, b"\"name\":", &info.name);
    optional_string(w, b"\"pid\":", framework.pid);
    w.raw_key(b"\"used_resources\":");
    write_resources(w, framework.used);
    w.raw_key(b"\"offered_resources\":");
    write_resources(w, framework.offered);
    w.raw_key(b"\"capabilities\":");
    strings(w, capability_names(info));
    string_field(w, b"\"hostname\":", info.hostname.as_deref().unwrap_or_default());
    string_field(w, b"\"webui_url\":", info.webui_url.as_deref().unwrap_or_default());
    bool_field(w, b"\"active\":", framework.active);
    bool_field(w, b"\"connected\":", framework.connected);
    bool_field(w, b"\"recovered\":", framework.recovered);
}

fn capability_names(info: &v1::FrameworkInfo) -> impl Iterator<Item = &'static str> + '_ {
    info.capabilities.iter().filter_map(|c| {
        let kind = v1::framework_info::capability::Type::try_from(c.r#type?).ok()?;
        Some(kind.as_str_name())
    })
}

/// A framework with all it has, as in /state and /frameworks.
pub fn write_framework(w: &mut Writer<'_>, framework: &FrameworkView<'_>) {
    let info = framework.info;
    w.begin_object();
    summary_fields(w, framework);
    string_field(w, b"\"user\":", &info.user);
    double_field(w, b"\"failover_timeout\":", info.failover_timeout.unwrap_or(0.0));
    bool_field(w, b"\"checkpoint\":", info.checkpoint.unwrap_or(false));
    double_field(w, b"\"registered_time\":", framework.registered);
    double_field(w, b"\"unregistered_time\":", framework.unregistered.unwrap_or(0.0));
    optional_string(w, b"\"principal\":", info.principal.as_deref());
    w.raw_key(b"\"resources\":");
    write_resources(w, framework.total);
    if let Some(time) = framework.reregistered.filter(|&time| time != framework.registered) {
        double_field(w, b"\"reregistered_time\":", time);
    }
    roles_field(w, info);
    for (key, tasks, more) in [
        (&b"\"tasks\":"[..], framework.tasks, framework.more_tasks),
        (b"\"unreachable_tasks\":", framework.unreachable_tasks, None),
        (b"\"completed_tasks\":", framework.completed_tasks, None),
    ] {
        w.raw_key(key);
        w.begin_array();
        for task in tasks {
            write_task(w, task);
            w.pause();
        }
        if let Some(write) = more {
            write(w);
        }
        w.end_array();
    }
    w.raw_key(b"\"offers\":");
    w.begin_array();
    for offer in framework.offers {
        write_offer(w, offer);
        w.pause();
    }
    w.end_array();
    w.raw_key(b"\"executors\":");
    w.begin_array();
    for executor in framework.executors {
        w.begin_object();
        if let Some(info) = executor.info {
            executor_fields(w, info);
            string_field(w, b"\"slave_id\":", executor.agent);
        }
        w.end_object();
        w.pause();
    }
    w.end_array();
    labels_field(w, &info.labels);
    w.raw_key(b"\"offer_constraints\":");
    match framework.constraints {
        Some(constraints) => w.value(constraints),
        None => w.raw(b"{}"),
    }
    w.end_object();
}

/// `roles` of a MULTI_ROLE framework, `role` of another.
pub(crate) fn roles_field(w: &mut Writer<'_>, info: &v1::FrameworkInfo) {
    let multi = v1::framework_info::capability::Type::MultiRole as i32;
    if info.capabilities.iter().any(|c| c.r#type == Some(multi)) {
        w.raw_key(b"\"roles\":");
        strings(w, info.roles.iter().map(String::as_str));
    } else {
        #[expect(deprecated, reason = "frameworks without MULTI_ROLE have their role here")]
        string_field(w, b"\"role\":", info.role.as_deref().unwrap_or("*"));
    }
}

fn write_offer(w: &mut Writer<'_>, offer: &OfferView<'_>) {
    w.begin_object();
    string_field(w, b"\"id\":", offer.id);
    string_field(w, b"\"framework_id\":", offer.framework);
    w.raw_key(b"\"allocation_info\":");
    w.begin_object();
    string_field(w, b"\"role\":", offer.role);
    w.end_object();
    string_field(w, b"\"slave_id\":", offer.agent);
    w.raw_key(b"\"resources\":");
    write_resources(w, offer.resources);
    w.end_object();
}
