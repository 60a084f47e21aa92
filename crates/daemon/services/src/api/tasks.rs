//! `/v2/tasks`

use std::{collections::BTreeSet, sync::Arc};

use mezzo_http::{Request, Response};
use mezzo_marathon_api::answer::{Problem, write_task_list};
use mezzo_services_model::{Condition, InstanceId, TaskId};
use serde_json::Value;

use super::{
    app_tasks::{HowToKill, kill},
    body, documents, facts, produced,
};
use crate::{http::Failure, shared::Shared};

/// The tasks of all apps, or those in the states that are asked for; unknown words mean nothing.
pub(super) fn list(shared: &Shared, request: &Request) -> Response {
    let words = request.query.iter().filter(|(key, _)| key == "status" || key == "status[]");
    let wanted: BTreeSet<String> = words.map(|(_, value)| value.to_ascii_lowercase()).collect();
    let (running, staging) = (wanted.contains("running"), wanted.contains("staging"));
    produced(shared.snapshot(), move |snapshot, w| {
        let apps = snapshot.root.all_apps().map(Arc::as_ref);
        write_task_list(w, apps, &facts(snapshot), true, |task| match task.condition {
            _ if !running && !staging => true,
            Condition::Running => running,
            Condition::Staging | Condition::Starting => staging,
            _ => false,
        });
    })
}

/// Kills tasks by their ids. Those that are not there are passed over.
pub(super) async fn delete(shared: &Arc<Shared>, request: &mut Request) -> Result<Response, Failure> {
    let how = HowToKill::read(request)?;
    let document = body(request).await?;
    let ids = document.get("ids").and_then(Value::as_array).ok_or_else(documents::no_ids)?;
    let mut meant: BTreeSet<InstanceId> = BTreeSet::new();
    let snapshot = shared.snapshot();
    for id in ids {
        let text = id.as_str().ok_or_else(documents::no_ids)?;
        let task = TaskId::parse(text);
        // Marathon rule 194.
        let task = task.map_err(|error| Problem::BadTaskId(text.to_owned(), error.to_string()))?;
        let instance = task.instance();
        let Ok(path) = instance.run_spec() else { continue };
        let known = snapshot.instances.get(&path).is_some_and(|instances| instances.contains_key(&instance));
        if known && snapshot.root.app(&path).is_some() {
            meant.insert(instance);
        }
    }
    kill(shared, &snapshot, how, meant).await
}
