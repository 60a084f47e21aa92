//! Documents of groups on top of trees.

use std::sync::Arc;

use mezzo_services_model::{Group, PathId};
use mezzo_time::Timestamp;
use serde_json::{Value, json};

use crate::{
    Context, Invalid, Settings, judge_tree, read_app, read_group_update, with_app, with_enforcement,
    without_app,
};

fn path(text: &str) -> PathId {
    PathId::parse(text, &PathId::root()).unwrap()
}

fn now() -> Timestamp {
    Timestamp::from_nanos(9_000_000)
}

fn empty() -> Group {
    Group::empty(PathId::root(), Timestamp::ZERO)
}

fn apply_with(settings: &Settings, root: &Group, base: &str, update: &Value) -> Result<Group, Invalid> {
    let context = Context { settings, root, now: now(), force: false };
    read_group_update(update)?.apply(&path(base), &context)
}

fn apply(root: &Group, base: &str, update: Value) -> Group {
    apply_with(&Settings::default(), root, base, &update).unwrap_or_else(|error| panic!("{update}: {error}"))
}

fn errors(root: &Group, base: &str, update: Value) -> Vec<String> {
    match apply_with(&Settings::default(), root, base, &update) {
        Ok(_) => Vec::new(),
        Err(Invalid::Json(details) | Invalid::Object(details)) => {
            let lines =
                details.iter().flat_map(|(p, errors)| errors.iter().map(move |e| format!("{p}: {e}")));
            lines.collect()
        }
        Err(other) => vec![other.to_string()],
    }
}

fn app(id: &str) -> Value {
    json!({"id": id, "cmd": "sleep 9"})
}

fn ids(group: &Group) -> Vec<String> {
    group.all_apps().map(|app| app.id.to_string()).collect()
}

/// `/shop` with `web` (2 instances) and `api`, and `/shop/db` with `store`.
fn shop() -> Group {
    let mut web = app("web");
    web["instances"] = json!(2);
    apply(
        &empty(),
        "/",
        json!({"id": "shop", "apps": [web, app("/shop/api")], "groups": [{"id": "db", "apps": [app("store")]}],
            "dependencies": ["../network"]}),
    )
}

#[test]
fn a_tree_is_made_of_a_document() {
    let root = shop();
    assert_eq!(ids(&root), ["/shop/api", "/shop/web", "/shop/db/store"]);
    let shop = root.group(&path("/shop")).unwrap();
    assert_eq!((shop.version, shop.enforce_role), (now(), false));
    assert_eq!(shop.dependencies.iter().next().unwrap().as_str(), "/network");
}

#[test]
fn marathon_rule_298_lists_that_are_sent_replace_lists_and_others_stay() {
    let old = shop();
    let apps = apply(&old, "/shop", json!({"apps": [app("web2")]}));
    assert_eq!(ids(&apps), ["/shop/web2", "/shop/db/store"]);
    assert_eq!(apps.group(&path("/shop")).unwrap().dependencies.len(), 1);
    let groups = apply(&old, "/shop", json!({"groups": [{"id": "cache"}]}));
    assert_eq!(ids(&groups), ["/shop/api", "/shop/web"]);
    let below = apply(&old, "/", json!({"id": "/shop", "groups": [{"id": "db", "dependencies": ["x"]}]}));
    assert_eq!(ids(&below), ids(&old));
    assert_eq!(
        below.group(&path("/shop/db")).unwrap().dependencies.iter().next().unwrap().as_str(),
        "/shop/db/x"
    );
}

#[test]
fn apps_that_are_sent_again_as_they_are_stay_the_very_same() {
    let old = shop();
    let new = apply(&old, "/shop/db", json!({"apps": [app("store")]}));
    assert!(Arc::ptr_eq(
        old.app(&path("/shop/db/store")).unwrap(),
        new.app(&path("/shop/db/store")).unwrap()
    ));
}

#[test]
fn marathon_rules_49_and_50_scale_and_version_stand_alone() {
    let scaled = apply(&shop(), "/shop", json!({"scaleBy": 1.5}));
    let instances: Vec<u32> = scaled.all_apps().map(|app| app.instances).collect();
    assert_eq!(instances, [2, 3, 2], "rounded up");
    assert_eq!(
        errors(&shop(), "/", json!({"id": "shop", "scaleBy": 2})),
        ["/scaleBy: not allowed in conjunction with other properties."]
    );
    assert_eq!(
        errors(&shop(), "/shop", json!({"version": "2020-01-01T00:00:00.000Z", "scaleBy": 2})),
        [
            "/scaleBy: not allowed in conjunction with other properties.",
            "/version: not allowed in conjunction with other properties.",
        ]
    );
    assert_eq!(errors(&shop(), "/shop", json!({"scaleBy": -1})), ["/scaleBy: error.min"]);
    let many = apply(&shop(), "/shop", json!({"scaleBy": 1e300}));
    assert_eq!(many.all_apps().map(|app| app.instances).max(), Some(i32::MAX as u32));
}

#[test]
fn marathon_rule_48_a_group_comes_back_as_it_was() {
    let (then, root) = (shop(), apply(&shop(), "/shop", json!({"apps": []})));
    let settings = Settings::default();
    let context = Context { settings: &settings, root: &root, now: now(), force: false };
    let update = read_group_update(&json!({"version": "2020-01-01T00:00:00.000Z"})).unwrap();
    assert_eq!(update.version().unwrap(), crate::parse_time("2020-01-01T00:00:00.000Z"));
    assert_eq!(ids(&update.restore(&path("/shop"), &then, &context).unwrap()), ids(&then));
    let unknown = update.restore(&path("/other"), &then, &context).unwrap_err();
    assert_eq!(
        (unknown.status(), unknown.body()["message"].as_str()),
        (422, Some("Group /other not available in version"))
    );
}

#[test]
fn marathon_rules_251_and_303_errors_name_their_place() {
    assert_eq!(
        errors(&empty(), "/", json!({"id": "g", "apps": [app("/other/a")], "groups": [{"id": "/x"}]})),
        [
            "/apps(0)/id: Identifier is not child of /g. Hint: use relative paths.",
            "/groups(0)/id: Identifier is not child of /g. Hint: use relative paths.",
        ]
    );
    assert_eq!(
        errors(
            &empty(),
            "/",
            json!({"id": "g", "groups": [{"id": "h", "apps": [{"id": "a"}, {"id": "b", "cmd": "x"}]}]})
        ),
        [
            "/apps//g/h/a: AppDefinition must either contain one of 'cmd' or 'args', and/or a 'container'.",
            "/apps//g/h/b: must not be an empty string",
        ]
    );
    assert_eq!(
        errors(&empty(), "/", json!({"id": "g", "apps": [{"cmd": "aa"}]})),
        ["/apps(0)/id: error.path.missing"]
    );
    assert_eq!(errors(&empty(), "/", json!({"groups": [{}]})), ["/groups(0)/id: not defined"]);
}

#[test]
fn marathon_rule_19_one_path_is_one_thing() {
    assert_eq!(
        errors(&shop(), "/shop", json!({"apps": [app("db")]})),
        ["/groups: Groups and Applications may not have the same identifier."]
    );
    let settings = Settings::default();
    let root = shop();
    let context = Context { settings: &settings, root: &root, now: now(), force: false };
    let on_group = read_app(&app("/shop"), &PathId::root(), &context).unwrap();
    assert!(with_app(&context, on_group).is_err());
    assert!(judge_tree(&root).is_ok());
}

#[test]
fn marathon_rules_300_and_301_groups_around_an_app() {
    let settings = Settings { enforce_role: true, ..Settings::default() };
    let root = empty();
    let context = Context { settings: &settings, root: &root, now: now(), force: false };
    let new = read_app(&app("/a/b/c"), &PathId::root(), &context).unwrap();
    assert_eq!(new.role, "a", "marathon rule 232: new top-level groups take the flag");
    let root = with_app(&context, new).unwrap();
    assert!(
        root.group(&path("/a")).unwrap().enforce_role && !root.group(&path("/a/b")).unwrap().enforce_role
    );
    let root = without_app(&root, &path("/a/b/c"), now());
    assert!(root.group(&path("/a/b")).is_some() && root.all_apps().next().is_none());
    // An empty group gives way to an app.
    let context = Context { settings: &settings, root: &root, now: now(), force: false };
    let on_empty = read_app(&app("/a/b"), &PathId::root(), &context).unwrap();
    assert_eq!(ids(&with_app(&context, on_empty).unwrap()), ["/a/b"]);
}

#[test]
fn marathon_rules_229_and_231_to_233_enforced_roles() {
    let enforced = apply(
        &empty(),
        "/",
        json!({"id": "prod", "enforceRole": true, "apps": [app("a")],
        "groups": [{"id": "deep", "apps": [app("b")]}]}),
    );
    assert!(enforced.group(&path("/prod")).unwrap().enforce_role);
    assert!(enforced.all_apps().all(|app| app.role == "prod"));
    let top = Settings { enforce_role: true, ..Settings::default() };
    let by_flag = apply_with(&top, &empty(), "/", &json!({"id": "g", "apps": [app("a")]})).unwrap();
    assert!(
        by_flag.group(&path("/g")).unwrap().enforce_role && by_flag.all_apps().all(|app| app.role == "g")
    );
    let said = apply_with(&top, &empty(), "/", &json!({"id": "g", "enforceRole": false})).unwrap();
    assert!(!said.group(&path("/g")).unwrap().enforce_role, "what is said goes before the flag");
    let below = apply_with(&top, &empty(), "/", &json!({"id": "/g/h", "apps": [app("a")]})).unwrap();
    assert!(below.group(&path("/g")).unwrap().enforce_role && below.all_apps().all(|app| app.role == "g"));
    assert_eq!(
        errors(&empty(), "/", json!({"id": "/prod", "groups": [{"id": "second", "enforceRole": true}]})),
        [
            "/groups(0)/enforceRole: enforceRole can only be set for top-level groups, and /prod/second is not top-level"
        ]
    );
    assert_eq!(
        errors(&shop(), "/", json!({"id": "/shop", "enforceRole": true, "apps": []})),
        [
            "/enforceRole: enforceRole cannot be modified in a request that adds, removes or modifies services; please make \
          these changes in separate requests."
        ]
    );
    let changed = apply(&shop(), "/", json!({"id": "/shop", "enforceRole": true}));
    assert!(changed.group(&path("/shop")).unwrap().enforce_role);
}

#[test]
fn marathon_rule_302_only_top_level_groups_are_patched() {
    let settings = Settings::default();
    let root = shop();
    let context = Context { settings: &settings, root: &root, now: now(), force: false };
    let patched = with_enforcement(&context, &path("/shop"), Some(true)).unwrap();
    assert!(patched.group(&path("/shop")).unwrap().enforce_role);
    assert_eq!(ids(&patched), ids(&root));
    assert_eq!(with_enforcement(&context, &path("/shop/db"), Some(true)).unwrap_err().status(), 422);
}

#[test]
fn groups_forty_deep_work_and_deeper_ones_are_refused() {
    let nested = |depth: usize| {
        let mut group = json!({"id": "g", "apps": [app("a")]});
        for _ in 1..depth {
            group = json!({"id": "g", "groups": [group]});
        }
        group
    };
    let root = apply(&empty(), "/", nested(40));
    assert_eq!(root.all_apps().next().unwrap().id.segments().count(), 41);
    let refused = errors(&empty(), "/", nested(64));
    assert!(
        refused.iter().all(|error| error.ends_with("must not have more than 64 path elements")),
        "{refused:?}"
    );
    assert!(!refused.is_empty());
}
