use std::{collections::BTreeMap, sync::Arc};

use mezzo_json::Writer;
use mezzo_mesos::v1;
use mezzo_services_model::{
    Action, ActionKind, Condition, DeploymentId, Group, Health, HttpAnswer, HttpScheme, Instance, InstanceId,
    NoMatch, NoPlace, Outlook, PathId, Plan, QueueItem, Readiness, ReadinessCheck, Reservation,
    ReservationState, RunSpec, Step, TaskFailure, UnreachableStrategy, UnusedOffer, VolumeId,
};
use serde_json::{Value, json};

use super::*;
use crate::sample::{app, at, health, instance, instance_id, instances, path};

/// What [`Sources`] point to.
#[derive(Default)]
struct World {
    instances: BTreeMap<PathId, Arc<BTreeMap<InstanceId, Arc<Instance>>>>,
    versions: BTreeMap<PathId, Arc<BTreeMap<mezzo_time::Timestamp, RunSpec>>>,
    health: BTreeMap<InstanceId, Vec<Option<Health>>>,
    failures: BTreeMap<PathId, TaskFailure>,
}

impl World {
    fn facts<'a>(&'a self, deployments: impl IntoIterator<Item = DeploymentFacts<'a>>) -> Facts<'a> {
        Facts::new(at(12), self, deployments)
    }
}

impl Sources for World {
    fn instances<'a>(&'a self, id: &PathId) -> Box<dyn Iterator<Item = &'a Instance> + 'a> {
        Box::new(self.instances.get(id).into_iter().flat_map(|map| map.values()).map(Arc::as_ref))
    }

    fn version(&self, id: &PathId, version: mezzo_time::Timestamp) -> Option<&RunSpec> {
        self.versions.get(id)?.get(&version)
    }

    fn health(&self, id: &InstanceId) -> &[Option<Health>] {
        self.health.get(id).map_or(&[], Vec::as_slice)
    }

    fn failure(&self, id: &PathId) -> Option<&TaskFailure> {
        self.failures.get(id)
    }
}

fn json_of(write: impl FnOnce(&mut Writer<'_>)) -> Value {
    let mut w = Writer::new();
    write(&mut w);
    serde_json::from_slice(&w.finish()).unwrap()
}

fn plan(root: Group, actions: Vec<Action>) -> Plan {
    let root = Arc::new(root);
    Plan {
        id: DeploymentId("d1".into()),
        original: root.clone(),
        target: root,
        steps: vec![Step { actions }],
        version: at(5),
    }
}

fn scale(id: &str) -> Action {
    Action { run_spec: path(id), is_pod: false, kind: ActionKind::Scale { to: 2 } }
}

#[test]
fn an_app_as_the_api_writes_it() {
    assert_eq!(
        json_of(|w| write_app(w, &app("/shop/web"))),
        json!({
            "id": "/shop/web",
            "cmd": "sleep 100",
            "backoffFactor": 1.15,
            "backoffSeconds": 1,
            "maxLaunchDelaySeconds": 300,
            "cpus": 0.1,
            "mem": 128,
            "disk": 0,
            "gpus": 0,
            "executor": "",
            "instances": 1,
            "killSelection": "YOUNGEST_FIRST",
            "labels": {},
            "networks": [{"mode": "host"}],
            "portDefinitions": [{"port": 10000, "name": "default", "protocol": "tcp"}],
            "requirePorts": false,
            "role": "*",
            "unreachableStrategy": {"inactiveAfterSeconds": 0, "expungeAfterSeconds": 0},
            "upgradeStrategy": {"minimumHealthCapacity": 1, "maximumOverCapacity": 1},
            "version": "2023-11-14T22:13:20.000Z",
            "versionInfo": {
                "lastScalingAt": "2023-11-14T22:13:20.000Z",
                "lastConfigChangeAt": "2023-11-14T22:13:20.000Z",
            },
        })
    );
    // Whole numbers have no fraction, as clients of Marathon know them.
    let mut w = Writer::new();
    write_app(&mut w, &app("/a"));
    assert!(String::from_utf8(w.finish()).unwrap().contains("\"mem\":128,"));
}

#[test]
fn what_is_embedded_is_what_was_asked_for() {
    let web = app("/web");
    let mut world = World { instances: instances(vec![instance(&web.id, 1, &[None])]), ..World::default() };
    world.failures.insert(web.id.clone(), failure());
    let facts = world.facts([]);
    let keys = |embeds| {
        let info = json_of(|w| write_app_info(w, &web, &facts, embeds));
        let plain = json_of(|w| write_app(w, &web));
        let mut more: Vec<String> =
            info.as_object().unwrap().keys().filter(|key| plain.get(key).is_none()).cloned().collect();
        more.sort();
        more
    };
    let counts = ["tasksHealthy", "tasksRunning", "tasksStaged", "tasksUnhealthy"];
    assert!(keys(AppEmbeds::default()).is_empty());
    assert_eq!(keys(AppEmbeds::LIST), [&["deployments"][..], &counts].concat());
    assert_eq!(keys(AppEmbeds::SINGLE), [&["deployments", "lastTaskFailure", "tasks"][..], &counts].concat());
    let word = |word| keys(AppEmbeds::default().with_words([word]));
    assert_eq!(word("apps.tasks"), ["deployments", "tasks"]);
    assert_eq!(word("app.counts"), counts);
    assert_eq!(word("apps.failures"), ["deployments", "lastTaskFailure", "tasks"]);
    assert_eq!(word("apps.readiness"), ["readinessCheckResults"]);
    assert_eq!(word("apps.taskStats"), ["tasksStats"]);
    assert!(word("apps.wishes").is_empty() && word("tasks").is_empty());
}

fn failure() -> TaskFailure {
    let web = path("/web");
    TaskFailure {
        task: mezzo_services_model::TaskId::new(&instance_id(&web, 9), None, 1),
        run_spec: web,
        state: "TASK_FAILED".into(),
        message: "exit 1".into(),
        host: "one.example".into(),
        agent_id: None,
        version: at(0),
        at: at(6),
    }
}

#[test]
fn a_task_and_its_health() {
    let web = app("/web");
    let mut one = instance(&web.id, 1, &[None]);
    one.reservation = Some(Reservation {
        volumes: vec![VolumeId {
            run_spec: web.id.clone(),
            container_path: "data".into(),
            uuid: "u1".into(),
        }],
        state: ReservationState::Launched,
    });
    let id = one.id.clone();
    one.tasks.get_mut("_app").unwrap().status.as_mut().unwrap().check_status = Some(v1::CheckStatusInfo {
        http: Some(v1::check_status_info::Http { status_code: Some(200) }),
        ..Default::default()
    });
    let mut world = World { instances: instances(vec![one]), ..World::default() };
    world.health.insert(id.clone(), vec![None, Some(health(&id, true))]);
    let facts = world.facts([]);
    let list = json_of(|w| write_task_list(w, [&web], &facts, true, |_| true));
    assert_eq!(
        list,
        json!({"tasks": [{
            "id": "web.instance-00000000-0000-0000-0000-000000000001._app.1",
            "appId": "/web",
            "host": "one.example",
            "slaveId": "agent-1",
            "region": "r1",
            "zone": "z1",
            "state": "TASK_RUNNING",
            "ports": [31000],
            "stagedAt": "2023-11-14T22:13:21.000Z",
            "startedAt": "2023-11-14T22:13:22.000Z",
            "version": "2023-11-14T22:13:20.000Z",
            "ipAddresses": [{"ipAddress": "10.0.0.7", "protocol": "IPv4"}],
            "servicePorts": [10000],
            "localVolumes": [{"runSpecId": "/web", "containerPath": "data", "uuid": "u1",
                              "persistenceId": "web#data#u1"}],
            "healthCheckResults": [{
                "alive": true,
                "consecutiveFailures": 0,
                "firstSuccess": "2023-11-14T22:13:23.000Z",
                "lastSuccess": "2023-11-14T22:13:24.000Z",
                "lastFailure": null,
                "lastFailureCause": null,
                "instanceId": "web.instance-00000000-0000-0000-0000-000000000001",
            }],
            "checkResult": {"http": {"statusCode": 200}},
            "role": "*",
        }]})
    );
    let mut ended = instance(&web.id, 1, &[None]);
    ended.tasks.get_mut("_app").unwrap().condition = Condition::Failed;
    let world = World { instances: instances(vec![ended]), ..World::default() };
    let task = &json_of(|w| write_task_list(w, [&web], &world.facts([]), false, |_| true))["tasks"][0];
    assert_eq!(
        (&task["state"], &task["ports"], &task["servicePorts"]),
        (&json!("TASK_FAILED"), &json!([]), &json!([]))
    );
    assert!(task.get("version").is_none() && task.get("stagedAt").is_none());
}

#[test]
fn counts_and_statistics_by_version() {
    let mut web = app("/web");
    web.version_info.last_config_change_at = at(1);
    let old = instance(&web.id, 1, &[None]);
    let mut new = instance(&web.id, 2, &[None]);
    (new.version, new.condition) = (at(1), Condition::Staging);
    let mut ill = instance(&web.id, 3, &[None]);
    ill.version = at(2);
    let mut waiting = instance(&web.id, 4, &[]);
    waiting.condition = Condition::Scheduled;
    let mut world = World::default();
    world.health.insert(old.id.clone(), vec![Some(health(&old.id, true)), None]);
    world.health.insert(ill.id.clone(), vec![Some(health(&ill.id, true)), Some(health(&ill.id, false))]);
    world.instances = instances(vec![old, new, ill, waiting]);
    let facts = world.facts([]);
    assert_eq!(Counts::of(&web, &facts), Counts { staged: 1, running: 2, healthy: 1, unhealthy: 1 });
    let info =
        json_of(|w| write_app_info(w, &web, &facts, AppEmbeds::default().with_words(["apps.taskStats"])));
    let part = |name: &str| info["tasksStats"][name]["stats"].clone();
    assert_eq!(
        part("totalSummary"),
        json!({
            "counts": {"staged": 1, "running": 2, "healthy": 1, "unhealthy": 1},
            "lifeTime": {"averageSeconds": 10, "medianSeconds": 10},
        })
    );
    assert_eq!(part("withOutdatedConfig")["counts"]["running"], 1);
    assert_eq!(part("withLatestConfig")["counts"]["staged"], 1);
    assert_eq!(part("startedAfterLastScaling")["counts"]["running"], 2);
    let empty = World::default();
    let info = json_of(|w| {
        write_app_info(w, &web, &empty.facts([]), AppEmbeds { task_stats: true, ..AppEmbeds::LIST })
    });
    assert_eq!(info["tasksStats"], json!({}));
}

#[test]
fn marathon_rule_29_deployments_with_their_place() {
    let mut web = app("/web");
    web.readiness_checks = vec![ReadinessCheck {
        name: "ready".into(),
        scheme: HttpScheme::Http,
        path: "/".into(),
        port_name: "default".into(),
        interval: std::time::Duration::from_secs(1),
        timeout: std::time::Duration::from_secs(1),
        ready_statuses: vec![200],
        preserve_last_response: true,
    }];
    let mut root = Group::empty(PathId::root(), at(0));
    root.apps.insert(web.id.clone(), Arc::new(web.clone()));
    let plan = plan(
        root,
        vec![scale("/web"), Action { run_spec: path("/pod"), is_pod: true, kind: ActionKind::Start }],
    );
    let readiness = [Readiness {
        name: "ready".into(),
        task: mezzo_services_model::TaskId::new(&instance_id(&web.id, 1), None, 1),
        is_ready: false,
        last_response: Some(HttpAnswer {
            status: 504,
            content_type: "text/plain".into(),
            body: "away".into(),
        }),
    }];
    let deployment =
        DeploymentFacts { plan: &plan, step: 1, readiness: readiness.iter().collect(), canaries: Vec::new() };
    let result = json!({
        "name": "ready",
        "taskId": "web.instance-00000000-0000-0000-0000-000000000001._app.1",
        "ready": false,
        "lastResponse": {"status": 504, "contentType": "text/plain", "body": "away"},
    });
    let actions =
        json!([{"action": "ScaleApplication", "app": "/web"}, {"action": "StartPod", "pod": "/pod"}]);
    assert_eq!(
        json_of(|w| write_deployments(w, [deployment.clone()])),
        json!([{
            "id": "d1",
            "version": "2023-11-14T22:13:25.000Z",
            "steps": [{"actions": actions}],
            "affectedApps": ["/web"],
            "affectedPods": ["/pod"],
            "currentActions": [
                {"action": "ScaleApplication", "app": "/web", "readinessCheckResults": [result]},
                {"action": "StartPod", "pod": "/pod", "readinessCheckResults": []},
            ],
            "currentStep": 1,
            "totalSteps": 1,
        }])
    );
    let before = json_of(|w| write_deployments(w, [DeploymentFacts { step: 0, ..deployment.clone() }]));
    assert_eq!((&before[0]["currentStep"], &before[0]["currentActions"]), (&json!(0), &json!([])));
    // Rule 153: without `preserveLastResponse` the answer stays inside.
    web.readiness_checks[0].preserve_last_response = false;
    let world = World::default();
    let info = json_of(|w| {
        write_app_info(w, &web, &world.facts([deployment]), AppEmbeds { readiness: true, ..AppEmbeds::LIST });
    });
    assert_eq!(info["deployments"], json!([{"id": "d1"}]));
    assert_eq!(info["readinessCheckResults"][0]["ready"], false);
    assert!(info["readinessCheckResults"][0].get("lastResponse").is_none());
    // Rule 14.
    let steps = json!([{"actions": actions}]);
    let unknown = json!({"steps": steps, "outlookUnknown": "no master"});
    assert_eq!(json_of(|w| write_steps_only(w, &plan, Err("no master"))), unknown);
    let outlook = Outlook {
        run_spec: path("/web"),
        starts: 3,
        stops: 2,
        places: [("h1".to_owned(), 2)].into(),
        waiting: 1,
        lacks: vec![NoPlace { host: "h2".into(), why: "wanted: cpus 2, free: 1".into() }],
        missing_secrets: vec!["shop/db".into()],
        changes: vec!["cpus 1".into()],
    };
    let shown = json!([{
        "id": "/web", "starts": 3, "stops": 2, "places": {"h1": 2}, "waiting": 1, "missingSecrets": ["shop/db"],
        "lacks": [{"host": "h2", "why": "wanted: cpus 2, free: 1"}], "wouldDo": ["cpus 1"],
    }]);
    assert_eq!(
        json_of(|w| write_steps_only(w, &plan, Ok(&[outlook]))),
        json!({"steps": steps, "outlook": shown})
    );
    assert_eq!(
        json_of(|w| write_deployment_result(w, plan.version, &plan.id)),
        json!({"version": "2023-11-14T22:13:25.000Z", "deploymentId": "d1"})
    );
}

#[test]
fn marathon_rules_90_to_93_the_queue() {
    let offer = v1::Offer {
        id: v1::OfferId { value: "o1".into() },
        agent_id: v1::AgentId { value: "agent-1".into() },
        hostname: "one.example".into(),
        resources: vec![v1::Resource {
            name: "cpus".into(),
            scalar: Some(v1::value::Scalar { value: 0.5 }),
            ..Default::default()
        }],
        attributes: vec![v1::Attribute {
            name: "rack".into(),
            text: Some(v1::value::Text { value: "a".into() }),
            ..Default::default()
        }],
        ..Default::default()
    };
    let mut item = QueueItem {
        run_spec: RunSpec::App(Arc::new(app("/web"))),
        role: "*".into(),
        count: 3,
        since: at(0),
        missing_secrets: vec!["shop/db".into()],
        delayed_until: Some(at(12) + std::time::Duration::from_millis(1)),
        processed: 10,
        unused: 9,
        last_unused_at: Some(at(11)),
        last_used_at: None,
        rejected: BTreeMap::from([(NoMatch::UnfulfilledRole, 2), (NoMatch::InsufficientCpus, 5)]),
        last_unused: vec![UnusedOffer {
            offer: Arc::new(offer),
            reasons: vec![NoMatch::InsufficientCpus, NoMatch::UnfulfilledConstraint],
            details: vec!["cpus: 1 wanted, 0.5 free".into(), "rack LIKE b: a".into()],
            at: at(11),
        }],
    };
    let queue = json_of(|w| write_queue(w, [&item], at(12), true));
    let shown = &queue["queue"][0];
    assert_eq!(shown["delay"], json!({"timeLeftSeconds": 1, "overdue": false}));
    assert_eq!((&shown["count"], &shown["app"]["id"]), (&json!(3), &json!("/web")));
    assert_eq!(shown["missingSecrets"], json!(["shop/db"]));
    let summary = &shown["processedOffersSummary"];
    let funnel = |name: &str| -> Vec<(String, u64, u64)> {
        let stages = summary[name].as_array().unwrap().iter();
        let stage = |stage: &Value| {
            let number = |key| stage[key].as_u64().unwrap();
            (stage["reason"].as_str().unwrap().into(), number("declined"), number("processed"))
        };
        stages.map(stage).collect()
    };
    let attempt = funnel("rejectSummaryLaunchAttempt");
    assert_eq!(attempt.iter().map(|stage| stage.1).collect::<Vec<_>>(), [2, 0, 0, 0, 5, 0, 0, 0, 0, 0]);
    assert_eq!(attempt.iter().map(|stage| stage.2).collect::<Vec<_>>(), [10, 8, 8, 8, 8, 3, 3, 3, 3, 3]);
    assert_eq!(funnel("rejectSummaryLastOffers")[1], ("UnfulfilledConstraint".into(), 1, 1));
    assert_eq!((&summary["unusedOffersCount"], summary.get("lastUsedOfferAt")), (&json!(9), None));
    let unused = &shown["lastUnusedOffers"][0];
    assert_eq!(unused["reason"], json!(["InsufficientCpus", "UnfulfilledConstraint"]));
    assert_eq!(unused["offer"]["resources"], json!([{"name": "cpus", "role": "*", "scalar": 0.5}]));
    assert_eq!(unused["offer"]["attributes"], json!([{"name": "rack", "text": "a"}]));
    item.delayed_until = Some(at(12));
    let queue = json_of(|w| write_queue(w, [&item], at(12), false));
    assert_eq!(queue["queue"][0]["delay"], json!({"timeLeftSeconds": 0, "overdue": true}));
    assert!(queue["queue"][0].get("lastUnusedOffers").is_none());
}

#[test]
fn groups_with_what_is_asked_for() {
    let mut root = Group::empty(PathId::root(), at(0));
    for id in ["/shop/web", "/shop/deep/db"] {
        let app = app(id);
        let parent = app.id.parent();
        let app = Arc::new(app);
        root = root.updated(&parent, at(1), &mut |group| {
            group.apps.insert(app.id.clone(), app.clone());
        });
    }
    let world = World::default();
    let facts = world.facts([]);
    let with = |words: &[&str]| {
        json_of(|w| write_group(w, &root, &facts, GroupEmbeds::from_words(words.iter().copied())))
    };
    let all = with(&[]);
    assert_eq!(all["groups"][0]["apps"][0]["id"], "/shop/web");
    assert_eq!(all["groups"][0]["groups"][0]["apps"][0]["id"], "/shop/deep/db");
    assert_eq!((&all["groups"][0]["enforceRole"], all.get("enforceRole")), (&json!(false), None));
    assert!(all["groups"][0]["groups"][0].get("enforceRole").is_none());
    assert!(all["groups"][0]["apps"][0].get("tasksRunning").is_none());
    assert_eq!(all["groups"][0]["pods"], json!([]));
    let groups = with(&["group.groups"]);
    assert!(groups["groups"][0].get("apps").is_none() && groups["groups"][0].get("pods").is_none());
    assert!(with(&["group.apps"]).get("groups").is_none());
    let counted = with(&["group.groups", "group.apps", "group.apps.counts"]);
    assert_eq!(counted["groups"][0]["apps"][0]["tasksRunning"], 0);
}

#[test]
fn an_instance_as_kills_answer_it() {
    let pod = path("/pod");
    let mut one = instance(&pod, 1, &[Some("a")]);
    one.healthy = Some(true);
    assert_eq!(
        json_of(|w| write_instances(w, [&one], UnreachableStrategy::Disabled)),
        json!([{
            "instanceId": "pod.instance-00000000-0000-0000-0000-000000000001",
            "agentInfo": {"host": "one.example", "agentId": "agent-1", "region": "r1", "zone": "z1", "attributes": []},
            "runSpecVersion": "2023-11-14T22:13:20.000Z",
            "state": {
                "condition": "Running",
                "since": "2023-11-14T22:13:22.000Z",
                "activeSince": "2023-11-14T22:13:22.000Z",
                "healthy": true,
                "goal": "Running",
            },
            "unreachableStrategy": "disabled",
        }])
    );
}

#[test]
fn problems_have_marathons_status_and_text() {
    let web = path("/web");
    for (rule, problem, status, message) in [
        (252, Problem::NoApp(web.clone(), None), 404, "App '/web' does not exist"),
        (
            252,
            Problem::NoApp(web.clone(), Some(at(0))),
            404,
            "App '/web' does not exist in version 2023-11-14T22:13:20.000Z",
        ),
        (252, Problem::NoGroup(web.clone(), None), 404, "Group '/web' does not exist"),
        (252, Problem::NoPod(web.clone(), None), 404, "Pod '/web' does not exist"),
        (252, Problem::NoTask("x".into()), 404, "Task 'x' does not exist"),
        (193, Problem::NoTask("web.1".into()), 404, "Task 'web.1' does not exist"),
        (45, Problem::NoDeployment("d1".into()), 404, "DeploymentPlan d1 does not exist"),
        (86, Problem::NotQueued(web.clone()), 404, "Application /web not found in tasks queue."),
        (
            299,
            Problem::GroupExists(web.clone()),
            409,
            "Group /web is already created. Use PUT to change this group.",
        ),
        (191, Problem::ScaleAndWipe, 400, "You cannot use scale and wipe at the same time."),
        (213, Problem::NoServicePort(10..20), 500, "All ports in the range [10-20) are already in use"),
        (250, Problem::NoRoute, 500, "URI not found"),
        (259, Problem::TooManyRequests(7), 503, "Too many concurrent requests! Allowed: 7."),
        (249, Problem::Argument("so not".into()), 422, "so not"),
        (
            285,
            Problem::PodIdDiffers { path: web.clone(), body: path("/b") },
            400,
            "'/web' does not match definition's id '/b'",
        ),
    ] {
        assert_eq!(problem.status(), status, "marathon rule {rule}");
        let body: Value = serde_json::from_slice(&problem.body()).unwrap();
        assert_eq!(body, json!({"message": message}), "marathon rule {rule}");
    }
    assert_eq!(
        (Problem::TooManyDeployments(100).status(), Problem::AppExists(web.clone()).status()),
        (403, 409)
    );
    let nested: Value = serde_json::from_slice(&Problem::NoPodNested(web).body()).unwrap();
    assert_eq!(nested["message"], "{\"message\": \"pod with /web does not exist\"}");
    assert!(Problem::BadTaskId("x".into(), "no id".into()).to_string().starts_with("Invalid task id"));
}

#[test]
fn marathon_rule_20_locks_name_the_deployments() {
    let problem = Problem::Locked(vec![DeploymentId("d1".into())]);
    let body: Value = serde_json::from_slice(&problem.body()).unwrap();
    assert_eq!((problem.status(), &body["deployments"]), (409, &json!([{"id": "d1"}])));
    assert!(body["message"].as_str().unwrap().starts_with("App is locked by one or more deployments. "));
}

#[test]
fn marathon_rules_243_and_244_contradictions_by_path() {
    let problem = Problem::Invalid(BTreeMap::from([("/".into(), vec!["a".into(), "b".into()])]));
    let body: Value = serde_json::from_slice(&problem.body()).unwrap();
    assert_eq!(problem.status(), 422);
    let wanted = json!({"message": "Object is not valid", "details": [{"path": "/", "errors": ["a", "b"]}]});
    assert_eq!(body, wanted);
}

#[test]
fn info_and_lists_of_versions() {
    let info = Info {
        name: "marathon",
        version: "1.11.24",
        build: "unknown",
        is_elected: true,
        leader: Some("h:8080"),
        framework: None,
        settings: &[
            ("ha", Setting::Flag(true)),
            ("mesos_role", Setting::Unset),
            ("features", Setting::Texts(vec![])),
        ],
        store: &[("zk", Setting::Text("file".into()))],
        http_port: 8080,
        https_port: 0,
    };
    let shown = json_of(|w| write_info(w, &info));
    assert_eq!(shown["marathon_config"], json!({"ha": true, "mesos_role": null, "features": []}));
    assert_eq!(shown["http_config"], json!({"http_port": 8080, "https_port": 0}));
    assert_eq!((&shown["frameworkId"], &shown["zookeeper_config"]["zk"]), (&Value::Null, &json!("file")));
    assert_eq!(
        json_of(|w| write_app_versions(w, [at(1), at(0)], [], [])),
        json!({"versions": ["2023-11-14T22:13:21.000Z", "2023-11-14T22:13:20.000Z"]})
    );
    assert_eq!(
        json_of(|w| write_app_versions(w, [at(0)], [], [(at(0), "ana")]))["principals"],
        json!([{"version": "2023-11-14T22:13:20.000Z", "principal": "ana"}])
    );
    assert_eq!(json_of(|w| write_leader(w, "h:1")), json!({"leader": "h:1"}));
}
