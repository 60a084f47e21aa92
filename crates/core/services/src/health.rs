//! Health checks that the services daemon makes itself, and what all checks say together.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use mezzo_mesos::v1::TaskState;
use mezzo_services_model::{
    App, AppHealthCheck, Condition, EventKind, Health, HealthProtocol, HttpScheme, Instance, InstanceId,
    PathId, PortRef, RunSpec,
};

use crate::{
    Effect, Probe, ProbeId, ProbeKind, ProbeOutcome,
    services::{Moment, Services},
    timers::Timer,
    updates::failure_of,
};

/// The longest wait before the first check (rule 127).
const FIRST: Duration = Duration::from_secs(5);

/// What a probe is for.
#[derive(Clone, Debug)]
pub(crate) enum Purpose {
    /// The nth health check of an instance.
    Health(InstanceId, usize),
    /// The readiness of an instance.
    Readiness(InstanceId),
    /// The check of a service's canaries.
    Canary(PathId),
}

impl Purpose {
    fn instance(&self) -> Option<&InstanceId> {
        match self {
            Self::Health(id, _) | Self::Readiness(id) => Some(id),
            Self::Canary(_) => None,
        }
    }
}

/// Probes that are out, and those that wait because too many are (rule 145).
#[derive(Debug, Default)]
pub(crate) struct Checks {
    next: u64,
    out: BTreeMap<ProbeId, Purpose>,
    backlog: VecDeque<(InstanceId, usize)>,
}

impl Services {
    pub(crate) fn start_checks(&mut self, m: &mut Moment<'_>, instance: &Instance) {
        let Some(RunSpec::App(app)) = self.definition(&instance.run_spec, instance.version) else { return };
        if app.health_checks.is_empty() {
            return;
        }
        self.ensure_health(&instance.id, app.health_checks.len());
        for (index, check) in app.health_checks.iter().enumerate().filter(|(_, c)| !c.protocol.is_by_agent())
        {
            self.timers.set(Timer::Check(instance.id.clone(), index), m.now + check.interval.min(FIRST));
        }
    }

    fn ensure_health(&mut self, id: &InstanceId, count: usize) {
        if self.state.health.get(id).is_none_or(|all| all.len() != count) {
            self.state.health.insert_mut(id.clone(), Arc::new(vec![None; count]));
        }
    }

    pub(crate) fn stop_checks(&mut self, id: &InstanceId) {
        let count = self.state.health.get(id).map_or(0, |all| all.len());
        for index in 0..count {
            self.timers.clear(&Timer::Check(id.clone(), index));
        }
        self.timers.clear(&Timer::Ready(id.clone()));
        self.state.health.remove_mut(id);
    }

    pub(crate) fn on_check_due(&mut self, m: &mut Moment<'_>, id: &InstanceId, index: usize) {
        if self.checks.out.len() >= self.config.concurrent_checks {
            self.checks.backlog.push_back((id.clone(), index));
            return;
        }
        let Some(instance) = self.instance(id).filter(|known| known.condition == Condition::Running).cloned()
        else {
            return;
        };
        let Some(RunSpec::App(app)) = self.definition(&instance.run_spec, instance.version) else { return };
        let Some(check) = app.health_checks.get(index) else { return };
        match address(&instance, &app, check.port.as_ref()) {
            Some((host, port)) => {
                let kind = probe_kind(check);
                self.probe(Purpose::Health(id.clone(), index), host, port, kind, check.timeout);
            }
            None => {
                let text = "the instance has no such port".to_owned();
                self.on_checked(m, &instance, &app, index, &ProbeOutcome::Failed(text));
            }
        }
    }

    pub(crate) fn probe(
        &mut self,
        purpose: Purpose,
        host: String,
        port: u16,
        kind: ProbeKind,
        timeout: Duration,
    ) {
        self.checks.next += 1;
        let probe = ProbeId(self.checks.next);
        let instance = purpose.instance().cloned();
        self.checks.out.insert(probe, purpose);
        self.effects.push(Effect::Probe(Probe { id: probe, instance, host, port, kind, timeout }));
    }

    pub(crate) fn on_probed(&mut self, m: &mut Moment<'_>, probe: ProbeId, outcome: ProbeOutcome) {
        let Some(purpose) = self.checks.out.remove(&probe) else { return };
        if let Some((next, index)) = self.checks.backlog.pop_front() {
            self.on_check_due(m, &next, index);
        }
        if let Purpose::Canary(path) = &purpose {
            return self.on_canary_checked(m, path, &outcome);
        }
        let instance = purpose.instance().and_then(|id| self.instance(id));
        let Some(instance) = instance.filter(|known| known.condition == Condition::Running).cloned() else {
            return;
        };
        let Some(RunSpec::App(app)) = self.definition(&instance.run_spec, instance.version) else { return };
        match purpose {
            Purpose::Readiness(_) => self.on_readiness(m, &instance, &app, outcome),
            Purpose::Health(_, index) => self.on_checked(m, &instance, &app, index, &outcome),
            Purpose::Canary(_) => {}
        }
    }

    fn on_checked(
        &mut self,
        m: &mut Moment<'_>,
        instance: &Instance,
        app: &App,
        index: usize,
        outcome: &ProbeOutcome,
    ) {
        let Some(check) = app.health_checks.get(index) else { return };
        self.timers.set(Timer::Check(instance.id.clone(), index), m.now + check.interval);
        let (healthy, cause) = match outcome {
            ProbeOutcome::Connected => (true, String::new()),
            // Rules 128 and 129.
            ProbeOutcome::Answered(answer) => match answer.status {
                200..=399 => (true, String::new()),
                100..=199 if check.ignore_http_1xx => return,
                status => (false, format!("the answer was {status}")),
            },
            ProbeOutcome::Failed(text) => (false, text.clone()),
        };
        let must_end = self.note_health(m, instance, app, index, healthy, &cause);
        let mut new = instance.clone();
        new.healthy = self.health_of(&instance.id, app).or(new.healthy);
        self.put(m, new);
        if must_end && !self.kills.is_asked(&instance.id) {
            self.kill_unhealthy(m, instance, cause);
        }
    }

    /// Rules 136 and 189: it counts as killed, and its service is told of a failure all the same.
    fn kill_unhealthy(&mut self, m: &mut Moment<'_>, instance: &Instance, cause: String) {
        let Some(task) = instance.tasks.values().next() else { return };
        let reason = if cause.is_empty() { "unknown".to_owned() } else { cause };
        let message = format!("Task was killed since health check failed. Reason: {reason}");
        self.note_failure(failure_of(instance, &task.id, TaskState::TaskKilled, message, m.now));
        let kind = EventKind::UnhealthyInstanceKilled {
            app: instance.run_spec.clone(),
            task: task.id.clone(),
            instance: instance.id.clone(),
            version: instance.version,
            reason,
            host: instance.agent.as_ref().map(|agent| agent.host.clone()).unwrap_or_default(),
            agent_id: instance.agent.as_ref().map(|agent| agent.id.clone()),
        };
        self.publish(m, kind);
        self.kill(m, &instance.id);
    }

    /// Books the result of one check, and says whether the instance has failed too often.
    pub(crate) fn note_health(
        &mut self,
        m: &mut Moment<'_>,
        instance: &Instance,
        app: &App,
        index: usize,
        healthy: bool,
        cause: &str,
    ) -> bool {
        let Some(check) = app.health_checks.get(index) else { return false };
        if self.unheard.remove(&instance.id) {
            self.touched.insert(instance.run_spec.clone());
        }
        self.ensure_health(&instance.id, app.health_checks.len());
        let old = self.state.health.get(&instance.id).and_then(|all| all.get(index).cloned()).flatten();
        let mut health = old.unwrap_or_else(|| Health {
            instance: instance.id.clone(),
            first_success: None,
            last_success: None,
            last_failure: None,
            last_failure_cause: None,
            consecutive_failures: 0,
        });
        let was_alive = health.is_alive();
        let mut must_end = false;
        if healthy {
            health.first_success = health.first_success.or(Some(m.now));
            health.last_success = Some(m.now);
            health.consecutive_failures = 0;
        } else {
            // Rule 132.
            let in_grace = health.first_success.is_none()
                && instance.active_since.is_none_or(|since| m.now < since + check.grace_period);
            if in_grace {
                return false;
            }
            // Rules 133 and 134: the failure at hand is not counted yet.
            must_end = check.max_consecutive_failures > 0
                && health.consecutive_failures >= check.max_consecutive_failures;
            health.last_failure = Some(m.now);
            health.last_failure_cause = Some(cause.to_owned());
            health.consecutive_failures = health.consecutive_failures.saturating_add(1);
            let (id, check) = (instance.id.clone(), check.clone());
            self.publish(m, EventKind::HealthCheckFailed { app: app.id.clone(), instance: id, check });
        }
        let alive = health.is_alive();
        if let Some(all) = self.state.health.get_mut(&instance.id)
            && let Some(one) = Arc::make_mut(all).get_mut(index)
        {
            *one = Some(health);
        }
        if alive != was_alive {
            let (id, version) = (instance.id.clone(), instance.version);
            self.publish(
                m,
                EventKind::HealthStatusChanged { app: app.id.clone(), instance: id, version, alive },
            );
        }
        must_end
    }

    /// Rule 139.
    pub(crate) fn health_of(&self, id: &InstanceId, app: &App) -> Option<bool> {
        let all = self.state.health.get(id).filter(|all| all.len() == app.health_checks.len())?;
        if all.is_empty() {
            return None;
        }
        let known: Option<Vec<bool>> = all.iter().map(|one| one.as_ref().map(Health::is_alive)).collect();
        known.map(|known| known.into_iter().all(|alive| alive))
    }
}

fn probe_kind(check: &AppHealthCheck) -> ProbeKind {
    let path = check.path.clone().unwrap_or_else(|| "/".into());
    match check.protocol {
        HealthProtocol::Https => ProbeKind::Http { scheme: HttpScheme::Https, path },
        HealthProtocol::Http => ProbeKind::Http { scheme: HttpScheme::Http, path },
        _ => ProbeKind::Tcp,
    }
}

/// Where an instance is looked at: the agent's host and port, or its own address where it has no port there (rule 137).
pub(crate) fn address(instance: &Instance, app: &App, port: Option<&PortRef>) -> Option<(String, u16)> {
    let host = instance.agent.as_ref()?.host.clone();
    let task = instance.tasks.values().next()?;
    let index = match port {
        Some(PortRef::Number(port)) => return Some((host, *port)),
        Some(PortRef::Index(index)) => *index,
        Some(PortRef::Endpoint(name)) => named_port(app, name)?,
        None => 0,
    };
    let mappings = app.container.as_ref().map(|container| container.port_mappings.as_slice()).unwrap_or(&[]);
    let Some(mapping) = mappings.get(index).filter(|_| !app.is_on_host_network()) else {
        return Some((host, *task.host_ports.get(index)?));
    };
    if mapping.host_port.is_some() {
        // Only mappings with a port on the agent have an entry there.
        let before = mappings.get(..index)?.iter().filter(|mapping| mapping.host_port.is_some()).count();
        return Some((host, *task.host_ports.get(before)?));
    }
    let networks = task.status.as_ref()?.container_status.as_ref()?.network_infos.iter();
    let own = networks.flat_map(|network| &network.ip_addresses).find_map(|one| one.ip_address.clone())?;
    Some((own, mapping.container_port))
}

/// Which port has this name.
pub(crate) fn named_port(app: &App, name: &str) -> Option<usize> {
    let definitions = app.port_definitions.iter().map(|port| port.name.as_deref());
    let mappings = app.container.iter().flat_map(|container| &container.port_mappings);
    definitions.chain(mappings.map(|mapping| mapping.name.as_deref())).position(|known| known == Some(name))
}
