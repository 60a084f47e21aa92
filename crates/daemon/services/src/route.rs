//! The paths of the API, and what each leads to.

use mezzo_http::{Method, decode_percent};
use mezzo_services_model::PathId;

/// What a path means. Ids are absolute, and not checked any further than that they are paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    Root,
    Ping,
    Metrics,
    Prometheus,
    Config,
    Logging,
    Page,
    Apps,
    App(PathId),
    /// A path that ends in an asterisk: all apps of a group.
    AppsOf(PathId),
    AppRestart(PathId),
    AppTasks(PathId),
    /// The tasks of all apps of a group.
    TasksOf(PathId),
    AppTask(PathId, String),
    AppVersions(PathId),
    AppVersion(PathId, String),
    Pods,
    PodStatuses,
    Pod(PathId),
    PodStatus(PathId),
    PodVersions(PathId),
    PodVersion(PathId, String),
    PodInstances(PathId),
    PodInstance(PathId, String),
    Group(PathId),
    GroupApps(PathId),
    GroupVersions(PathId),
    GroupVersion(PathId, String),
    Tasks,
    TasksDelete,
    Deployments,
    Deployment(String),
    Queue,
    QueueDelay(PathId),
    Secrets,
    Secret(String),
    Info,
    Leader,
    Events,
    Plugins,
    Plugin(String),
}

impl Route {
    /// The methods it takes. HEAD is answered like GET without the body.
    pub(crate) fn methods(&self) -> &'static [Method] {
        const GET: &[Method] = &[Method::GET];
        match self {
            Self::Logging | Self::Pods => &[Method::GET, Method::POST],
            Self::Apps => &[Method::GET, Method::POST, Method::PUT, Method::PATCH],
            Self::App(_) => &[Method::GET, Method::PUT, Method::PATCH, Method::DELETE],
            // An app that is called restart can be removed, and nothing else.
            Self::AppRestart(_) => &[Method::POST, Method::DELETE],
            Self::AppTasks(_) => &[Method::GET, Method::DELETE],
            Self::AppTask(..) | Self::PodInstances(_) | Self::PodInstance(..) | Self::QueueDelay(_) => {
                &[Method::DELETE]
            }
            Self::Pod(_) => &[Method::GET, Method::PUT, Method::DELETE],
            Self::Group(_) => &[Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE],
            Self::TasksDelete => &[Method::POST],
            Self::Secret(_) => &[Method::PUT, Method::DELETE],
            Self::Deployment(_) => &[Method::DELETE],
            Self::Leader => &[Method::GET, Method::DELETE],
            Self::Events => &[Method::GET, Method::OPTIONS],
            Self::Plugin(_) => &[Method::GET, Method::PUT, Method::POST, Method::DELETE],
            _ => GET,
        }
    }

    /// What a raw path leads to; none is no path of the API (marathon rule 250).
    pub(crate) fn find(path: &str) -> Option<Self> {
        let segments: Vec<String> =
            path.split('/').filter(|part| !part.is_empty()).map(decode_percent).collect();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        match segments.as_slice() {
            [] => Some(Self::Root),
            ["ping"] => Some(Self::Ping),
            ["metrics"] => Some(Self::Metrics),
            ["metrics", "prometheus"] => Some(Self::Prometheus),
            ["config"] => Some(Self::Config),
            ["logging"] => Some(Self::Logging),
            ["ui" | "help" | "api-console" | "public", ..] => Some(Self::Page),
            ["v2", "apps", rest @ ..] => Self::app(rest),
            ["v2", "pods", rest @ ..] => Self::pod(rest),
            ["v2", "groups", rest @ ..] => Self::group(rest),
            ["v2", "tasks"] => Some(Self::Tasks),
            ["v2", "tasks", "delete"] => Some(Self::TasksDelete),
            ["v2", "deployments"] => Some(Self::Deployments),
            ["v2", "deployments", id] => Some(Self::Deployment((*id).to_owned())),
            ["v2", "queue"] => Some(Self::Queue),
            ["v2", "queue", id @ .., "delay"] if !id.is_empty() => Some(Self::QueueDelay(absolute(id)?)),
            ["v2", "secrets"] => Some(Self::Secrets),
            ["v2", "secrets", name @ ..] => Some(Self::Secret(name.join("/"))),
            ["v2", "info"] => Some(Self::Info),
            ["v2", "leader"] => Some(Self::Leader),
            ["v2", "events"] => Some(Self::Events),
            ["v2", "plugins"] => Some(Self::Plugins),
            ["v2", "plugins", id, ..] => Some(Self::Plugin((*id).to_owned())),
            _ => None,
        }
    }

    fn app(rest: &[&str]) -> Option<Self> {
        match rest {
            [] => Some(Self::Apps),
            [group @ .., "*"] => Some(Self::AppsOf(absolute(group)?)),
            [group @ .., "*", "tasks"] => Some(Self::TasksOf(absolute(group)?)),
            [id @ .., "restart"] if !id.is_empty() => Some(Self::AppRestart(absolute(id)?)),
            [id @ .., "tasks"] if !id.is_empty() => Some(Self::AppTasks(absolute(id)?)),
            [id @ .., "tasks", task] if !id.is_empty() => {
                Some(Self::AppTask(absolute(id)?, (*task).to_owned()))
            }
            [id @ .., "versions"] if !id.is_empty() => Some(Self::AppVersions(absolute(id)?)),
            [id @ .., "versions", version] if !id.is_empty() => {
                Some(Self::AppVersion(absolute(id)?, (*version).to_owned()))
            }
            id => Some(Self::App(absolute(id)?)),
        }
    }

    /// The part behind two colons says what of the pod is meant, and may itself have a slash in it.
    fn pod(rest: &[&str]) -> Option<Self> {
        let text = rest.join("/");
        let Some((id, what)) = text.split_once("::") else {
            return match rest {
                [] => Some(Self::Pods),
                id => Some(Self::Pod(absolute(id)?)),
            };
        };
        if id.is_empty() && what == "status" {
            return Some(Self::PodStatuses);
        }
        let id = absolute(&[id])?;
        match what.split_once('/') {
            None if what == "status" => Some(Self::PodStatus(id)),
            None if what == "versions" => Some(Self::PodVersions(id)),
            None if what == "instances" => Some(Self::PodInstances(id)),
            Some(("versions", version)) => Some(Self::PodVersion(id, version.to_owned())),
            Some(("instances", instance)) => Some(Self::PodInstance(id, instance.to_owned())),
            _ => None,
        }
    }

    fn group(rest: &[&str]) -> Option<Self> {
        match rest {
            [id @ .., "apps"] => Some(Self::GroupApps(absolute(id)?)),
            [id @ .., "versions"] => Some(Self::GroupVersions(absolute(id)?)),
            [id @ .., "versions", version] => Some(Self::GroupVersion(absolute(id)?, (*version).to_owned())),
            id => Some(Self::Group(absolute(id)?)),
        }
    }
}

/// The path with these segments.
fn absolute(segments: &[&str]) -> Option<PathId> {
    PathId::parse(&format!("/{}", segments.join("/")), &PathId::root()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every row of the table of endpoints: methods, an example of its path, and the route it must lead to.
    const ENDPOINTS: &[(&str, &str, &str)] = &[
        ("GET", "/", "Root"),
        ("GET", "/ping", "Ping"),
        ("GET", "/metrics", "Metrics"),
        ("GET", "/metrics/prometheus", "Prometheus"),
        ("GET", "/config", "Config"),
        ("GET POST", "/logging", "Logging"),
        ("GET POST PUT PATCH", "/v2/apps", "Apps"),
        ("GET PUT PATCH DELETE", "/v2/apps/{id}", "App"),
        ("GET", "/v2/apps/{group}/*", "AppsOf"),
        ("GET", "/v2/apps/*", "AppsOf"),
        ("DELETE POST", "/v2/apps/{id}/restart", "AppRestart"),
        ("GET DELETE", "/v2/apps/{id}/tasks", "AppTasks"),
        ("GET", "/v2/apps/{group}/*/tasks", "TasksOf"),
        ("DELETE", "/v2/apps/{id}/tasks/{taskId}", "AppTask"),
        ("GET", "/v2/apps/{id}/versions", "AppVersions"),
        ("GET", "/v2/apps/{id}/versions/{version}", "AppVersion"),
        ("HEAD GET POST", "/v2/pods", "Pods"),
        ("GET PUT DELETE", "/v2/pods/{id}", "Pod"),
        ("GET", "/v2/pods/{id}::status", "PodStatus"),
        ("GET", "/v2/pods/::status", "PodStatuses"),
        ("GET", "/v2/pods/{id}::versions", "PodVersions"),
        ("GET", "/v2/pods/{id}::versions/{version}", "PodVersion"),
        ("DELETE", "/v2/pods/{id}::instances/{instanceId}", "PodInstance"),
        ("DELETE", "/v2/pods/{id}::instances", "PodInstances"),
        ("GET POST PUT DELETE", "/v2/groups", "Group"),
        ("GET POST PUT PATCH DELETE", "/v2/groups/{id}", "Group"),
        ("GET", "/v2/groups/{id}/apps", "GroupApps"),
        ("GET", "/v2/groups/apps", "GroupApps"),
        ("GET", "/v2/groups/{id}/versions", "GroupVersions"),
        ("GET", "/v2/groups/versions", "GroupVersions"),
        ("GET", "/v2/groups/{id}/versions/{version}", "GroupVersion"),
        ("GET", "/v2/groups/versions/{version}", "GroupVersion"),
        ("GET", "/v2/tasks", "Tasks"),
        ("POST", "/v2/tasks/delete", "TasksDelete"),
        ("GET", "/v2/deployments", "Deployments"),
        ("DELETE", "/v2/deployments/{id}", "Deployment"),
        ("GET", "/v2/queue", "Queue"),
        ("DELETE", "/v2/queue/{id}/delay", "QueueDelay"),
        ("GET", "/v2/info", "Info"),
        ("GET DELETE", "/v2/leader", "Leader"),
        ("GET OPTIONS", "/v2/events", "Events"),
        ("GET", "/v2/plugins", "Plugins"),
        ("GET HEAD PUT POST DELETE", "/v2/plugins/{pluginId}/{path}", "Plugin"),
        ("GET", "/ui/*", "Page"),
        ("GET", "/help", "Page"),
        ("GET", "/api-console/*", "Page"),
        ("GET", "/public/*", "Page"),
    ];

    fn example(path: &str) -> String {
        path.replace("deployments/{id}", "deployments/d-1")
            .replace("{id}", "shop/web")
            .replace("{group}", "shop")
    }

    #[test]
    fn every_endpoint_is_routed() {
        for (methods, path, route) in ENDPOINTS {
            let found = Route::find(&example(path)).unwrap_or_else(|| panic!("{path}"));
            assert!(format!("{found:?}").split('(').next() == Some(route), "{path}: {found:?}");
            for method in methods.split(' ').filter(|method| *method != "HEAD") {
                assert!(found.methods().iter().any(|taken| taken.as_str() == method), "{method} {path}");
            }
        }
    }

    /// The table lies beside the repository, and may not be there.
    #[test]
    fn every_row_of_the_table_of_endpoints_is_in_our_list() {
        let folder =
            std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../../shared/reference/marathon");
        let Ok(table) = std::fs::read_to_string(folder.join("endpoints.tsv")) else { return };
        for row in table.lines().skip(1) {
            let mut columns = row.split('\t');
            let (Some(methods), Some(paths)) = (columns.next(), columns.next()) else { continue };
            if paths.starts_with('(') {
                continue;
            }
            // One row may name several: with optional parts, with commas, or with another in brackets.
            let paths = paths.replace("[/{id}]", "/{id}").replace(" (and ", ",").replace(')', "");
            for path in paths.split(',').map(str::trim) {
                let ours = ENDPOINTS.iter().find(|(_, ours, _)| *ours == path);
                let (ours, ..) = ours.unwrap_or_else(|| panic!("{path} is in the table and not in our list"));
                for method in methods.split('|') {
                    assert!(ours.split(' ').any(|ours| ours == method), "{method} {path}");
                }
            }
        }
    }

    #[test]
    fn ids_may_hold_the_words_of_the_api_in_their_middle() {
        let id = |text: &str| PathId::parse(text, &PathId::root()).unwrap();
        assert_eq!(Route::find("/v2/apps//a/tasks/b/"), Some(Route::AppTask(id("/a"), "b".into())));
        assert_eq!(Route::find("/v2/apps/tasks/web"), Some(Route::App(id("/tasks/web"))));
        assert_eq!(Route::find("/v2/apps/restart"), Some(Route::App(id("/restart"))));
        assert_eq!(Route::find("/v2/pods/a/b%3A%3Astatus"), Some(Route::PodStatus(id("/a/b"))));
    }

    #[test]
    fn marathon_rule_250_what_is_no_path_leads_nowhere() {
        for path in
            ["/v2", "/v2/nothing", "/v3/apps", "/v2/pods/a::b", "/v2/apps/UPPER CASE", "/v2/queue/delay"]
        {
            assert_eq!(Route::find(path), None, "{path}");
        }
    }
}
