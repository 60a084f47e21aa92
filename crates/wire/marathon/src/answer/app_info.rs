//! Apps as the API shows them: the definition and what is asked for beside it.

use mezzo_json::Writer;
use mezzo_services_model::App;

use super::{
    app::write_app_fields,
    embed::AppEmbeds,
    facts::Facts,
    fields::{key, list},
    stats::{Counts, write_task_stats},
    task::{keeps_response, write_readiness, write_task_failure, write_tasks_of},
};

/// The answer with some apps: `{"apps":[..]}`.
pub fn write_app_list<'a>(
    w: &mut Writer<'_>,
    apps: impl IntoIterator<Item = &'a App>,
    facts: &Facts<'_>,
    embeds: AppEmbeds,
) {
    write_keyed_list(w, b"\"apps\":", apps, facts, embeds);
}

/// The answer to a path that ends in an asterisk: `{"*":[..]}`.
pub fn write_app_star<'a>(
    w: &mut Writer<'_>,
    apps: impl IntoIterator<Item = &'a App>,
    facts: &Facts<'_>,
    embeds: AppEmbeds,
) {
    write_keyed_list(w, b"\"*\":", apps, facts, embeds);
}

fn write_keyed_list<'a>(
    w: &mut Writer<'_>,
    key: &'static [u8],
    apps: impl IntoIterator<Item = &'a App>,
    facts: &Facts<'_>,
    embeds: AppEmbeds,
) {
    w.begin_object();
    w.raw_key(key);
    write_app_infos(w, apps, facts, embeds);
    w.end_object();
}

/// A bare list of apps.
pub fn write_app_infos<'a>(
    w: &mut Writer<'_>,
    apps: impl IntoIterator<Item = &'a App>,
    facts: &Facts<'_>,
    embeds: AppEmbeds,
) {
    list(w, apps, |w, app| {
        w.pause();
        write_app_info(w, app, facts, embeds);
    });
}

/// The answer with one app: `{"app":{..}}`.
pub fn write_app_single(w: &mut Writer<'_>, app: &App, facts: &Facts<'_>, embeds: AppEmbeds) {
    w.begin_object();
    key!(w, "app");
    write_app_info(w, app, facts, embeds);
    w.end_object();
}

/// One app.
pub fn write_app_info(w: &mut Writer<'_>, app: &App, facts: &Facts<'_>, embeds: AppEmbeds) {
    w.begin_object();
    write_app_fields(w, app);
    if embeds.counts {
        let counts = Counts::of(app, facts);
        key!(w, "tasksStaged");
        w.unsigned(counts.staged.into());
        key!(w, "tasksRunning");
        w.unsigned(counts.running.into());
        key!(w, "tasksHealthy");
        w.unsigned(counts.healthy.into());
        key!(w, "tasksUnhealthy");
        w.unsigned(counts.unhealthy.into());
    }
    if embeds.deployments {
        key!(w, "deployments");
        list(w, facts.deployments(&app.id), |w, deployment| {
            w.begin_object();
            key!(w, "id");
            w.string(&deployment.plan.id.0);
            w.end_object();
        });
    }
    if embeds.readiness {
        key!(w, "readinessCheckResults");
        w.begin_array();
        for deployment in facts.deployments(&app.id) {
            for readiness in &deployment.readiness {
                if readiness.task.instance().run_spec().is_ok_and(|id| id == app.id) {
                    write_readiness(w, readiness, keeps_response(app, readiness));
                }
            }
        }
        w.end_array();
    }
    if embeds.tasks {
        key!(w, "tasks");
        w.begin_array();
        write_tasks_of(w, app, facts, false);
        w.end_array();
    }
    if let Some(failure) = facts.failure(&app.id).filter(|_| embeds.last_task_failure) {
        key!(w, "lastTaskFailure");
        write_task_failure(w, failure);
    }
    if embeds.task_stats {
        key!(w, "tasksStats");
        write_task_stats(w, app, facts);
    }
    w.end_object();
}
