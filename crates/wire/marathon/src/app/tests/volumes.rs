//! Apps that keep volumes.

use super::*;

#[test]
fn marathon_rules_157_and_166_resident_apps() {
    let app = read_with(&db_settings(), &resident()).unwrap();
    assert!(app.is_resident());
    assert_eq!(app.upgrade_strategy, UpgradeStrategy::RESIDENT);
    assert_eq!(app.unreachable_strategy, UnreachableStrategy::Disabled);
    let volume = |volume: Value| {
        let mut app = resident();
        app["container"]["volumes"][0] = volume;
        errors(read_with(&db_settings(), &app))
    };
    assert_eq!(
        volume(json!({"containerPath": "/a/b", "mode": "RO", "persistent": {"size": 0, "maxSize": 0}})),
        [
            "/container/volumes(0)/containerPath: value must not contain \"/\"",
            "/container/volumes(0)/mode: got Ro, expected Rw",
            "/container/volumes(0)/persistent: Only mount volumes can have maxSize",
            "/container/volumes(0)/persistent: Max size must be larger than size",
            "/container/volumes(0)/persistent/size: got 0, expected more than 0",
        ]
    );
    assert_eq!(
        volume(
            json!({"containerPath": "..", "mode": "RW", "persistent": {"size": 1, "constraints": [["path", "LIKE", "x"]]}})
        ),
        [
            "/container/volumes(0)/containerPath: can not be one of (.,..)",
            "/container/volumes(0)/persistent: Constraints on root volumes are not supported",
        ]
    );
    assert!(
        volume(json!({"containerPath": "d", "mode": "RW", "persistent": {"size": 1, "profileName": "p"}}))
            .is_empty()
    );
    let mut roles = resident();
    roles["acceptedResourceRoles"] = json!(["db"]);
    assert_eq!(
        errors(read_with(&db_settings(), &roles)),
        ["/acceptedResourceRoles: A resident app must have `acceptedResourceRoles = [\"*\"]`."]
    );
    let mut star = resident();
    star["role"] = json!("*");
    assert_eq!(errors(read_with(&all_features(), &star)), ["/role: Resident apps cannot have the role *"]);
}

#[test]
fn marathon_rule_162_what_a_resident_app_may_not_change() {
    let stored = read_with(&db_settings(), &resident()).unwrap();
    let root = Group::empty(PathId::root(), Timestamp::ZERO);
    let root = root.updated(&PathId::root(), Timestamp::ZERO, &mut |group| {
        group.apps.insert(stored.id.clone(), Arc::new(stored.clone()));
    });
    let settings = db_settings();
    let context = Context { settings: &settings, root: &root, now: now(), force: false };
    let change = |sent: Value| {
        let update = read_app_update(&sent).unwrap();
        errors(update.apply(Some(&Arc::new(stored.clone())), &stored.id, true, &context))
    };
    let resources = "/: Resident Tasks may not change resource requirements!";
    for sent in [json!({"cpus": 3}), json!({"mem": 3}), json!({"disk": 3}), json!({"requirePorts": true})] {
        assert_eq!(change(sent), [resources]);
    }
    assert_eq!(
        change(json!({"container": {"type": "MESOS", "volumes": [
            {"containerPath": "data", "mode": "RW", "persistent": {"size": 200}}]}})),
        ["/: Persistent volumes can not be changed!"]
    );
    assert!(change(json!({"cmd": "another", "instances": 3})).is_empty());
}

#[test]
fn a_resident_app_may_be_sent_again_after_it_was_given_a_port() {
    let mut sent = resident();
    sent["requirePorts"] = json!(true);
    let mut stored = read_with(&db_settings(), &sent).unwrap();
    let again = read_with(&db_settings(), &sent).unwrap();
    stored.port_definitions[0].port = 10_001;
    assert!(judge_change(&stored, &again).is_ok());
    sent["portDefinitions"] = json!([{"port": 9, "name": "default"}]);
    assert!(judge_change(&stored, &read_with(&db_settings(), &sent).unwrap()).is_err());
}

#[test]
fn marathon_rule_167_a_resident_app_changes_its_role_only_by_force() {
    let mut sent = resident();
    sent["id"] = json!("/shop/db");
    let root = Group::empty(PathId::root(), Timestamp::ZERO);
    let settings = db_settings();
    let context = Context { settings: &settings, root: &root, now: now(), force: false };
    let stored = Arc::new(read_app(&sent, &PathId::root(), &context).unwrap());
    let root = root.updated(&stored.id.parent(), Timestamp::ZERO, &mut |group| {
        group.apps.insert(stored.id.clone(), Arc::clone(&stored));
    });
    let change = |force: bool| {
        let context = Context { settings: &settings, root: &root, now: now(), force };
        let update = read_app_update(&json!({"role": "shop"})).unwrap();
        update.apply(Some(&stored), &stored.id, true, &context)
    };
    assert_eq!(
        errors(change(false)),
        [
            "/role: Changing the role of a resident service from db to shop leaves existing instances in their old role; use force to do it"
        ]
    );
    assert_eq!(change(true).unwrap().role, "shop");
}

#[test]
fn marathon_rules_67_and_293_external_volumes() {
    let volume = |more: Value| {
        let mut volume = json!({"name": "v", "provider": "dvdi", "options": {"dvdi/driver": "rexray"}});
        for (key, value) in more.as_object().unwrap() {
            volume[key] = value.clone();
        }
        app(
            json!({"container": {"type": "MESOS", "volumes": [{"containerPath": "d", "mode": "RW", "external": volume}]}}),
        )
    };
    assert_eq!(read(volume(json!({}))).upgrade_strategy, UpgradeStrategy::RESIDENT);
    let at = "/container/volumes(0)/external";
    refused(
        volume(json!({"name": null, "provider": "x", "options": {}})),
        &[
            &format!("{at}/name: not defined"),
            &format!("{at}/options(\"dvdi/driver\"): not defined"),
            &format!("{at}/provider: is unknown provider"),
        ],
    );
    refused(
        volume(
            json!({"provider": "csi", "options": {"pluginName": "p", "capability": {"accessType": "mount"}}}),
        ),
        &[&format!("{at}/provider: volumes of CSI plugins are not supported")],
    );
    let mut two = volume(json!({}));
    two["instances"] = json!(2);
    refused(two, &["/: Number of instances is limited to 1 when declaring DVDI volumes in app [/a]"]);
    assert_eq!(
        errors(read_with(&Settings::default(), &volume(json!({})))),
        [
            "/container/volumes(0): Feature external_volumes is not enabled. Enable with --enable_features external_volumes)"
        ]
    );
}
