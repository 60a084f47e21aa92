//! Apps that are written, read again and changed.

use super::*;

#[test]
fn what_is_written_reads_as_the_same() {
    let mut host = full();
    host["networks"] = json!([]);
    host["portDefinitions"] =
        json!([{"port": 81, "name": "http", "protocol": "udp", "labels": {"a": "b"}}, {}]);
    host["container"] =
        json!({"docker": {"image": "i", "privileged": true, "parameters": [{"key": "a", "value": "b"}]}});
    host["check"] = json!(null);
    host["gpus"] = json!(0);
    host["requirePorts"] = json!(true);
    let resident = read_with(&db_settings(), &resident()).unwrap();
    for app in [
        read(full()),
        read(host),
        read(app(json!({}))),
        read(app(json!({"networks": [{"mode": "container/bridge"}]}))),
    ] {
        let text = written(&app);
        assert_eq!(read(text.clone()), app, "{text}");
        assert_eq!(read_stored_app(&text).unwrap(), app, "{text}");
        assert_eq!(
            update(&app, json!({}), true).map(|updated| written(&updated)["container"].clone()).unwrap(),
            text["container"]
        );
    }
    assert_eq!(read_with(&db_settings(), &written(&resident)).unwrap(), resident);
    assert_eq!(read_stored_app(&written(&resident)).unwrap(), resident);
}

#[test]
fn marathon_rule_297_unknown_keys_do_no_harm_and_none_is_unknown_that_is_not() {
    let settings = all_features();
    let root = Group::empty(PathId::root(), Timestamp::ZERO);
    let context = Context { settings: &settings, root: &root, now: now(), force: false };
    let (_, unknown) = read_app_strictly(&full(), &PathId::root(), &context).unwrap();
    assert_eq!(unknown, []);
    let sent = app(json!({"memory": 3, "container": {"type": "MESOS", "volume": []}}));
    let (_, unknown) = read_app_strictly(&sent, &PathId::root(), &context).unwrap();
    let told: Vec<_> =
        unknown.iter().map(|u| (u.path.as_str(), u.key.as_str(), u.suggestion.as_deref())).collect();
    assert_eq!(told, [("/container", "volume", Some("volumes")), ("/", "memory", Some("mem"))]);
}

#[test]
fn partial_updates_replace_whole_fields_and_keep_the_rest() {
    let stored = App { version: Timestamp::from_nanos(5_000_000), ..read(full()) };
    let updated =
        update(&stored, json!({"labels": {"new": "1"}, "instances": null, "cmd": null, "mem": 100}), true)
            .unwrap();
    assert_eq!(updated.labels.keys().collect::<Vec<_>>(), ["new"]);
    assert_eq!((updated.instances, updated.resources.mem, updated.version), (5, 100.0, stored.version));
    assert_eq!(
        (updated.executor_resources, updated.resource_limits),
        (None, None),
        "absent means cleared for these two"
    );
    let whole = update(&stored, json!({"cmd": "sleep 9", "role": "shop"}), false).unwrap();
    assert_eq!(
        (whole.instances, whole.version, whole.version_info),
        (1, stored.version, stored.version_info)
    );
    assert!(whole.container.is_none() && whole.labels.is_empty());
    assert_eq!(
        errors(update(&stored, json!({"cmd": "sleep 9"}), true)),
        ["/: AppDefinition must either contain one of 'cmd' or 'args', and/or a 'container'."]
    );
    let host = update(&stored, json!({"networks": [{"mode": "host"}], "healthChecks": [], "check": {"tcp": {}}, "readinessChecks": []}), true).unwrap();
    assert!(host.container.unwrap().port_mappings.is_empty());
}

#[test]
fn marathon_rules_47_and_225_what_a_change_may_not_combine() {
    let stored = read(app(json!({})));
    let alone = "/: The 'version' field may only be combined with the 'id' field.";
    assert_eq!(
        errors(update(&stored, json!({"version": "2020-01-01T00:00:00.000Z", "cmd": "aa"}), true)),
        [alone]
    );
    let restored = read_app_update(&json!({"id": "/a", "version": "2020-01-01T00:00:00.000Z"})).unwrap();
    assert_eq!(restored.version().unwrap(), crate::parse_time("2020-01-01T00:00:00.000Z"));
    assert_eq!(restored.id().unwrap().unwrap().as_str(), "/a");
    assert_eq!(
        errors(update(&stored, json!({"version": "yesterday"}), true)),
        ["/version: error.expected.date.isoformat"]
    );
    assert_eq!(
        errors(update(&stored, json!({"networks": [{"name": "n"}], "portDefinitions": [{}]}), true)),
        ["/: portDefinitions are only allowed with host-networking"]
    );
}
