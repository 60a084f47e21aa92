//! What holds for every document, however odd.

use std::sync::Arc;

use mezzo_services_model::{Group, PathId};
use mezzo_time::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{Context, Invalid, read_app_update, read_stored_app};

use super::tests::{all_features, full, now, read_with, written};

/// A value that may be of any type.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-2_i64..90_000).prop_map(Value::from),
        (0.0_f64..3.0).prop_map(Value::from),
        "[a-z/.:_-]{0,9}".prop_map(Value::from),
        Just(json!("unlimited")),
        Just(json!("disabled")),
        Just(json!("host")),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        let key = prop::sample::select(vec![
            "name",
            "mode",
            "port",
            "type",
            "docker",
            "image",
            "secret",
            "uri",
            "protocol",
            "portIndex",
        ]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::vec((key, inner), 0..3).prop_map(|fields| {
                let fields = fields.into_iter().map(|(key, value)| (key.to_string(), value));
                Value::Object(fields.collect())
            }),
        ]
    })
}

/// A document with some of the fields of a full one, one of which may have another value.
fn document() -> impl Strategy<Value = Value> {
    let keys: Vec<String> = full().as_object().into_iter().flatten().map(|(key, _)| key.clone()).collect();
    let count = keys.len();
    let old =
        ["ports", "uris", "ipAddress", "portDefinitions", "requirePorts", "residency"].map(String::from);
    let changed: Vec<String> = keys.iter().cloned().chain(old).collect();
    (prop::sample::subsequence(keys, 0..=count), prop::option::of((prop::sample::select(changed), value())))
        .prop_map(|(keys, changed)| {
            let full = full();
            let mut document = json!({"id": "/shop/web"});
            for key in keys {
                document[&key] = full[&key].clone();
            }
            if let Some((key, value)) = changed {
                document[&key] = value;
            }
            document
        })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn documents_are_refused_with_reasons_or_read_back_as_they_were_written(document in document()) {
        match read_with(&all_features(), &document) {
            Ok(app) => {
                let text = written(&app);
                prop_assert_eq!(&read_stored_app(&text).unwrap(), &app);
                prop_assert_eq!(&read_with(&all_features(), &text).unwrap(), &app);
                // A change that says nothing changes nothing but what it does not keep.
                let app = Arc::new(app);
                let root = Group::empty(PathId::root(), Timestamp::ZERO);
                let root = root.updated(&app.id.parent(), Timestamp::ZERO, &mut |group| {
                    group.apps.insert(app.id.clone(), Arc::clone(&app));
                });
                let settings = all_features();
                let context = Context { settings: &settings, root: &root, now: now(), force: false };
                let same = read_app_update(&json!({})).unwrap().apply(Some(&app), &app.id, true, &context).unwrap();
                let mut kept = (*app).clone();
                (kept.executor_resources, kept.resource_limits) = (None, None);
                prop_assert_eq!(same, kept);
            }
            Err(Invalid::Json(details) | Invalid::Object(details)) => {
                prop_assert!(!details.is_empty() && details.keys().all(|path| path.starts_with('/')));
            }
            Err(other) => prop_assert!(!other.to_string().is_empty()),
        }
    }
}
