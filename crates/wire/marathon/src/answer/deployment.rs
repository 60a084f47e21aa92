//! Deployments: what changing calls answer, the list of those that run, and their steps.

use mezzo_json::Writer;
use mezzo_services_model::{Action, DeploymentId, Outlook, Plan, Step};
use mezzo_time::Timestamp;

use super::{
    canary::write_canary_report,
    facts::DeploymentFacts,
    fields::{key, list, texts, time},
    task::{keeps_response, write_readiness},
};

/// The answer to a change that was accepted.
pub fn write_deployment_result(w: &mut Writer<'_>, version: Timestamp, id: &DeploymentId) {
    w.begin_object();
    key!(w, "version");
    time(w, version);
    key!(w, "deploymentId");
    w.string(&id.0);
    w.end_object();
}

/// The answer to a dry run: the steps (rule 14), and what they would do to instances, or why that cannot be told.
pub fn write_steps_only(w: &mut Writer<'_>, plan: &Plan, outlook: Result<&[Outlook], &str>) {
    w.begin_object();
    key!(w, "steps");
    list(w, &plan.steps, write_step);
    match outlook {
        Ok(outlook) => {
            key!(w, "outlook");
            list(w, outlook, write_outlook);
        }
        Err(why) => {
            key!(w, "outlookUnknown");
            w.string(why);
        }
    }
    w.end_object();
}

fn write_outlook(w: &mut Writer<'_>, outlook: &Outlook) {
    w.begin_object();
    key!(w, "id");
    w.string(outlook.run_spec.as_str());
    key!(w, "starts");
    w.unsigned(outlook.starts.into());
    key!(w, "stops");
    w.unsigned(outlook.stops.into());
    key!(w, "places");
    w.begin_object();
    for (host, count) in &outlook.places {
        w.key(host);
        w.unsigned((*count).into());
    }
    w.end_object();
    key!(w, "waiting");
    w.unsigned(outlook.waiting.into());
    if !outlook.missing_secrets.is_empty() {
        key!(w, "missingSecrets");
        texts(w, outlook.missing_secrets.iter().map(String::as_str));
    }
    if outlook.waiting > 0 {
        key!(w, "lacks");
        list(w, &outlook.lacks, |w, lack| {
            w.begin_object();
            key!(w, "host");
            w.string(&lack.host);
            key!(w, "why");
            w.string(&lack.why);
            w.end_object();
        });
        key!(w, "wouldDo");
        texts(w, outlook.changes.iter().map(String::as_str));
    }
    w.end_object();
}

/// The deployments that run, as a bare list.
pub fn write_deployments<'a>(w: &mut Writer<'_>, deployments: impl IntoIterator<Item = DeploymentFacts<'a>>) {
    list(w, deployments, |w, deployment| {
        w.pause();
        write_deployment(w, &deployment);
    });
}

fn write_deployment(w: &mut Writer<'_>, deployment: &DeploymentFacts<'_>) {
    let plan = deployment.plan;
    w.begin_object();
    write_plan_fields(w, plan);
    key!(w, "affectedApps");
    texts(w, plan.affected_apps().iter().map(|id| id.as_str()));
    key!(w, "affectedPods");
    texts(w, plan.affected_pods().iter().map(|id| id.as_str()));
    key!(w, "currentActions");
    w.begin_array();
    for action in current_step(plan, deployment.step).iter().flat_map(|step| &step.actions) {
        w.begin_object();
        write_action_fields(w, action);
        key!(w, "readinessCheckResults");
        w.begin_array();
        for readiness in &deployment.readiness {
            if readiness.task.instance().run_spec().is_ok_and(|id| id == action.run_spec) {
                let app = plan.target.app(&action.run_spec);
                write_readiness(w, readiness, app.is_some_and(|app| keeps_response(app, readiness)));
            }
        }
        w.end_array();
        if let Some(report) = deployment.canaries.iter().find(|report| report.run_spec == action.run_spec) {
            key!(w, "canary");
            write_canary_report(w, report);
        }
        w.end_object();
    }
    w.end_array();
    key!(w, "currentStep");
    w.unsigned(deployment.step as u64);
    key!(w, "totalSteps");
    w.unsigned(plan.steps.len() as u64);
    w.end_object();
}

/// The step with a number, from 1 (rule 29).
pub(crate) fn current_step(plan: &Plan, step: usize) -> Option<&Step> {
    plan.steps.get(step.checked_sub(1)?)
}

/// The plan without its trees, as events carry it.
pub(crate) fn write_plan(w: &mut Writer<'_>, plan: &Plan) {
    w.begin_object();
    write_plan_fields(w, plan);
    w.end_object();
}

fn write_plan_fields(w: &mut Writer<'_>, plan: &Plan) {
    key!(w, "id");
    w.string(&plan.id.0);
    key!(w, "version");
    time(w, plan.version);
    key!(w, "steps");
    list(w, &plan.steps, write_step);
}

pub(crate) fn write_step(w: &mut Writer<'_>, step: &Step) {
    w.begin_object();
    key!(w, "actions");
    list(w, &step.actions, |w, action| {
        w.begin_object();
        write_action_fields(w, action);
        w.end_object();
    });
    w.end_object();
}

fn write_action_fields(w: &mut Writer<'_>, action: &Action) {
    key!(w, "action");
    w.string(action.name());
    if action.is_pod {
        key!(w, "pod");
    } else {
        key!(w, "app");
    }
    w.string(action.run_spec.as_str());
}
