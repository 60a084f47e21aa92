//! The paths of the master's port, and what each leads to.

use mezzo_http::{Method, Request, Response, Routes, StatusCode, header};

/// Everything that can be asked, by path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    ApiV1,
    ApiV1Scheduler,
    Link,
    State,
    StateSummary,
    Agents,
    Frameworks,
    Tasks,
    Roles,
    Flags,
    Health,
    Redirect,
    Quota,
    Weights,
    Reserve,
    Unreserve,
    CreateVolumes,
    DestroyVolumes,
    Teardown,
    MaintenanceSchedule,
    MaintenanceStatus,
    MachineDown,
    MachineUp,
    Registry,
    OfferConstraintsDebug,
    Why,
    Version,
    MetricsSnapshot,
    Metrics,
    FilesBrowse,
    FilesRead,
    FilesDownload,
    FilesDebug,
    LoggingToggle,
    SystemStats,
    Processes,
    Help,
}

/// Process, path, target and a summary for /help.
const TABLE: &[(&str, &str, Endpoint, &str)] = &[
    ("__processes__", "", Endpoint::Processes, "Lists the parts of this process."),
    (
        "allocator",
        "offer_constraints_debug",
        Endpoint::OfferConstraintsDebug,
        "Agents that offer constraints exclude.",
    ),
    ("allocator", "why", Endpoint::Why, "What a framework is not offered, and why: framework_id=VALUE."),
    ("files", "browse", Endpoint::FilesBrowse, "Lists a folder: path=VALUE."),
    ("files", "debug", Endpoint::FilesDebug, "Virtual paths and what they stand for."),
    ("files", "download", Endpoint::FilesDownload, "A file as it is: path=VALUE."),
    ("files", "read", Endpoint::FilesRead, "Part of a file: path=VALUE, offset=VALUE, length=VALUE."),
    ("help", "", Endpoint::Help, "This page; format=json for programs."),
    ("logging", "toggle", Endpoint::LoggingToggle, "Logs more for a while: level=VALUE, duration=VALUE."),
    ("master", "api/v1", Endpoint::ApiV1, "The v1 operator API."),
    ("master", "api/v1/scheduler", Endpoint::ApiV1Scheduler, "The v1 scheduler API."),
    ("master", "create-volumes", Endpoint::CreateVolumes, "Creates persistent volumes."),
    ("master", "destroy-volumes", Endpoint::DestroyVolumes, "Destroys persistent volumes."),
    ("master", "flags", Endpoint::Flags, "The effective flags."),
    ("master", "frameworks", Endpoint::Frameworks, "Frameworks: framework_id=VALUE for one."),
    ("master", "health", Endpoint::Health, "200 while the process serves requests."),
    ("master", "link", Endpoint::Link, "Agents connect here."),
    ("master", "machine/down", Endpoint::MachineDown, "Brings machines down for maintenance."),
    ("master", "machine/up", Endpoint::MachineUp, "Brings machines back from maintenance."),
    (
        "master",
        "maintenance/schedule",
        Endpoint::MaintenanceSchedule,
        "Reads or replaces the maintenance schedule.",
    ),
    ("master", "maintenance/status", Endpoint::MaintenanceStatus, "Machines in maintenance."),
    ("master", "quota", Endpoint::Quota, "Reads, sets or removes quota."),
    ("master", "redirect", Endpoint::Redirect, "Redirects to the leading master."),
    ("master", "reserve", Endpoint::Reserve, "Reserves resources of an agent."),
    ("master", "roles", Endpoint::Roles, "Roles and what they use."),
    ("master", "slaves", Endpoint::Agents, "Agents: slave_id=VALUE for one."),
    ("master", "state", Endpoint::State, "Everything the master knows."),
    ("master", "state-summary", Endpoint::StateSummary, "Agents, frameworks and task counts."),
    ("master", "tasks", Endpoint::Tasks, "Tasks: limit, offset, order, framework_id, task_id."),
    ("master", "teardown", Endpoint::Teardown, "Removes a framework."),
    ("master", "unreserve", Endpoint::Unreserve, "Unreserves resources of an agent."),
    ("master", "weights", Endpoint::Weights, "Reads or sets weights of roles."),
    ("metrics", "", Endpoint::Metrics, "Metrics in the OpenMetrics text form."),
    ("metrics", "snapshot", Endpoint::MetricsSnapshot, "Metrics as JSON: timeout=VALUE."),
    ("registrar(1)", "registry", Endpoint::Registry, "The registry as JSON."),
    ("system", "stats.json", Endpoint::SystemStats, "Load and memory of the machine."),
    ("version", "", Endpoint::Version, "Version and build."),
];

/// The routes of the master's port.
pub(crate) fn routes() -> Routes<Endpoint> {
    let mut routes = Routes::new("master");
    for (process, path, endpoint, _) in TABLE {
        routes.add(process, path, *endpoint);
    }
    routes
}

/// Process, path and summary of every endpoint, by process.
pub(crate) fn summaries() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    TABLE.iter().map(|(process, path, _, summary)| (*process, *path, *summary))
}

/// 405 with the methods that are allowed, unless the request uses one of them.
pub(crate) fn expect_method(request: &Request, allowed: &[Method]) -> Result<(), Response> {
    if allowed.contains(&request.method) {
        return Ok(());
    }
    let quoted: Vec<_> = allowed.iter().map(|method| format!("'{method}'")).collect();
    let listed: Vec<_> = allowed.iter().map(Method::as_str).collect();
    let text = format!(
        "405 Method Not Allowed. Expecting one of {{ {} }}, but received '{}'.",
        quoted.join(", "),
        request.method
    );
    Err(Response::text(StatusCode::METHOD_NOT_ALLOWED, text).with(header::ALLOW, &listed.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_9_rule_10_and_rule_11_paths_of_the_master() {
        let routes = routes();
        let find = |path: &str| routes.find(path).map(|(endpoint, rest)| (*endpoint, rest));
        for path in ["/state", "/master/state", "/state/anything"] {
            assert_eq!(find(path).map(|(e, _)| e), Some(Endpoint::State), "{path}: rules 8 and 9");
        }
        assert_eq!(find("/api/v1/scheduler"), Some((Endpoint::ApiV1Scheduler, String::new())));
        assert_eq!(find("/master/quota/eng/web"), Some((Endpoint::Quota, "eng/web".into())));
        assert_eq!(find("/metrics/snapshot"), Some((Endpoint::MetricsSnapshot, String::new())));
        assert_eq!(find("/registrar(1)/registry").map(|(e, _)| e), Some(Endpoint::Registry));
        assert_eq!(find("/state/../flags"), None, "rule 10");
        for path in ["/state.json", "/master/tasks.json", "/no/such/endpoint"] {
            assert_eq!(find(path), None, "{path}: rule 11");
        }
        assert_eq!(find("/system/stats.json").map(|(e, _)| e), Some(Endpoint::SystemStats), "rule 11");
    }
}
