//! Readiness checks: what a new instance must answer before its deployment goes on.

use std::sync::Arc;

use mezzo_services_model::{App, Condition, HttpAnswer, Instance, InstanceId, PortRef, Readiness, RunSpec};

use crate::{
    ProbeKind, ProbeOutcome,
    health::{Purpose, address},
    services::{Moment, Services},
    timers::Timer,
};

/// How much of an answer is kept, in bytes: it is shown to people, and there may be ten thousand instances.
const BODY_MAX: usize = 8 * 1024;

impl Services {
    /// Rule 148: during deployments, from running to the first good answer.
    pub(crate) fn start_readiness(&mut self, m: &mut Moment<'_>, instance: &Instance) {
        let Some(RunSpec::App(app)) = self.definition(&instance.run_spec, instance.version) else { return };
        if !app.readiness_checks.is_empty()
            && self.locks.contains_key(&instance.run_spec)
            && !self.ready.contains(&instance.id)
        {
            self.timers.ensure(Timer::Ready(instance.id.clone()), m.now);
        }
    }

    pub(crate) fn on_readiness_due(&mut self, m: &mut Moment<'_>, id: &InstanceId) {
        let Some(instance) = self.instance(id).filter(|known| known.condition == Condition::Running).cloned()
        else {
            return;
        };
        let Some(RunSpec::App(app)) = self.definition(&instance.run_spec, instance.version) else { return };
        let Some(check) = app.readiness_checks.first() else { return };
        if !self.locks.contains_key(&instance.run_spec) {
            return;
        }
        let port = PortRef::Endpoint(check.port_name.clone());
        match address(&instance, &app, Some(&port)) {
            Some((host, port)) => {
                let kind = ProbeKind::Http { scheme: check.scheme, path: check.path.clone() };
                self.probe(Purpose::Readiness(id.clone()), host, port, kind, check.timeout);
            }
            None => {
                let text = format!("the instance has no port named {}", check.port_name);
                self.on_readiness(m, &instance, &app, ProbeOutcome::Failed(text));
            }
        }
    }

    pub(crate) fn on_readiness(
        &mut self,
        m: &mut Moment<'_>,
        instance: &Instance,
        app: &App,
        outcome: ProbeOutcome,
    ) {
        let Some(check) = app.readiness_checks.first() else { return };
        let mut answer = match outcome {
            ProbeOutcome::Answered(answer) => answer,
            // Rule 150.
            ProbeOutcome::Connected => no_answer("no answer by HTTP".into()),
            ProbeOutcome::Failed(text) => no_answer(text),
        };
        // Rule 149.
        let is_ready = check.ready_statuses.contains(&answer.status);
        if let (Some(id), Some(task)) = (self.locks.get(&app.id).cloned(), instance.tasks.values().next()) {
            let end =
                (0..=BODY_MAX.min(answer.body.len())).rev().find(|end| answer.body.is_char_boundary(*end));
            answer.body.truncate(end.unwrap_or(0));
            let shown = Readiness {
                name: check.name.clone(),
                task: task.id.clone(),
                is_ready,
                // Rule 153.
                last_response: check.preserve_last_response.then_some(answer),
            };
            if let Some(deployment) = Arc::make_mut(&mut self.state.deployments).get_mut(&id) {
                Arc::make_mut(deployment).readiness.insert_mut(task.id.clone(), shown.into());
            }
        }
        if is_ready {
            self.set_ready(&instance.id, true);
        } else {
            self.timers.set(Timer::Ready(instance.id.clone()), m.now + check.interval);
        }
    }
}

fn no_answer(text: String) -> HttpAnswer {
    HttpAnswer { status: 504, content_type: "text/plain".into(), body: text }
}
