//! Canaries: the first new instances of an upgrade. The others follow once these have held; when they fail the service goes
//! back, or its deployment stays where it is.
//!
//! A definition that asks for canaries is **on trial** from the change that brings it until its canaries have passed. What is
//! kept of a trial is its report: the version to go back to, failures, and how far it is. Times begin again after a restart
//! of the daemon, because nobody has looked meanwhile; failures are kept.
//!
//! While the trial lasts the old instances stay: one goes only where the bounds of the upgrade leave no room for a canary, and
//! one that dies is launched again as what it was.

use std::{collections::BTreeSet, sync::Arc};

use mezzo_services_model::{
    CanaryPhase, CanaryReport, Condition, EventKind, Goal, Instance, InstanceId, OnFailure, PathId, RunSpec,
};

use crate::{
    ProbeKind, ProbeOutcome, Record,
    differences::Differences,
    health::Purpose,
    services::{Moment, Services},
    spec::{Difference, difference, with_instances},
    timers::Timer,
    upgrade::{Bounds, Replace, old_goal, serves},
};

impl Services {
    /// The trial that a definition is on.
    pub(crate) fn trial(&self, spec: &RunSpec) -> Option<&CanaryReport> {
        spec.canary()?;
        self.report(spec).filter(|report| !report.phase.is_over())
    }

    fn report(&self, spec: &RunSpec) -> Option<&CanaryReport> {
        self.state.canaries.get(spec.id())?.get(&spec.version())
    }

    /// The definition to go back to, where it is still kept.
    pub(crate) fn base(&self, report: &CanaryReport) -> Option<RunSpec> {
        let base = self.state.versions.get(&report.run_spec)?.get(&report.base)?;
        Some(with_instances(base, report.base_instances))
    }

    /// What missing instances of a service run: while a definition is on trial, the one before it.
    pub(crate) fn filling(&self, spec: RunSpec) -> RunSpec {
        let base = self.trial(&spec).and_then(|report| self.base(report));
        base.unwrap_or(spec)
    }

    /// Whether an instance is of the make that a trial would go back to: then it stays what it is.
    pub(crate) fn is_kept_by_trial(&self, instance: &Instance, spec: &RunSpec) -> bool {
        self.trial(spec).is_some_and(|report| instance.version <= report.base && self.base(report).is_some())
    }

    pub(crate) fn keep_report(&mut self, report: CanaryReport) {
        self.records.push(Record::Canary(Box::new(report.clone())));
        let mut reports = self.state.canaries.get(&report.run_spec).cloned().unwrap_or_default();
        let path = report.run_spec.clone();
        Arc::make_mut(&mut reports).insert(report.version, report);
        self.state.canaries.insert_mut(path, reports);
    }

    /// A version that is not kept any more.
    pub(crate) fn forget_report(&mut self, path: &PathId, version: mezzo_time::Timestamp) {
        let Some(reports) = self.state.canaries.get_mut(path) else { return };
        if Arc::make_mut(reports).remove(&version).is_none() {
            return;
        }
        if reports.is_empty() {
            self.state.canaries.remove_mut(path);
        }
        self.records.push(Record::CanaryGone(path.clone(), version));
    }

    /// Begins, moves and ends trials as definitions change.
    pub(crate) fn change_trials(
        &mut self,
        m: &mut Moment<'_>,
        differences: &Differences,
        back: &BTreeSet<PathId>,
        restart: &BTreeSet<PathId>,
    ) {
        for (path, (old, new)) in &differences.changed {
            let trial = self.trial(old).cloned();
            let what = difference(old, new);
            if old.version() == new.version() {
                // Canaries that are not asked for any more, or in another way: the deployment looks again.
                self.touched.insert(path.clone());
                continue;
            }
            if let (true, Some(report)) = (back.contains(path), &trial) {
                self.end_trial(m, report, "taken back");
                self.take_back(m, report, new);
                continue;
            }
            let begun = match &trial {
                Some(report) => Some((report.base, report.base_instances)),
                None if what == Difference::Config
                    && !restart.contains(path)
                    && self.count(path, |kind| kind.is_wanted()) > 0 =>
                {
                    Some((old.version(), old.instances()))
                }
                None => None,
            };
            // A trial with another number of instances is the same trial.
            let same = trial.as_ref().filter(|_| what == Difference::Scale);
            let failed = same.is_some_and(|report| report.phase == CanaryPhase::Failed);
            let (failures, reason) =
                same.map_or((0, String::new()), |report| (report.failures, report.reason.clone()));
            match (&trial, what) {
                (Some(report), Difference::Scale) => self.forget_report(path, report.version),
                (Some(report), _) => self.end_trial(m, report, "another version has come before it was over"),
                (None, _) => {}
            }
            let Some((base, base_instances)) =
                begun.filter(|_| new.canary().is_some() && new.instances() > 0)
            else {
                continue;
            };
            self.keep_report(CanaryReport {
                run_spec: path.clone(),
                version: new.version(),
                base,
                base_instances: if what == Difference::Scale { new.instances() } else { base_instances },
                phase: if failed { CanaryPhase::Failed } else { CanaryPhase::Waiting },
                since: m.now,
                checked: false,
                failures,
                reason,
            });
        }
    }

    /// Instances of the make that a service goes back to are taken over as they are: their definition is the wanted one, by
    /// another version.
    fn take_back(&mut self, m: &mut Moment<'_>, report: &CanaryReport, spec: &RunSpec) {
        let Some(base) = self.base(report) else { return };
        let since = base.version_info().last_config_change_at;
        let kept: Vec<Arc<Instance>> = self
            .instances(&report.run_spec)
            .filter(|one| (since..=report.base).contains(&one.version) && one.goal == Goal::Running)
            .cloned()
            .collect();
        for instance in kept {
            self.put(m, Instance { version: spec.version(), ..(*instance).clone() });
        }
    }

    /// A trial goes on, or ends, in the words of `reason`.
    fn enter_phase(&mut self, m: &Moment<'_>, report: &mut CanaryReport, phase: CanaryPhase) {
        (report.phase, report.since) = (phase, m.now);
        self.keep_report(report.clone());
        self.publish(m, EventKind::CanaryChanged { report: report.clone() });
    }

    /// A trial is over without a verdict, unless it has one.
    pub(crate) fn end_trial(&mut self, m: &Moment<'_>, report: &CanaryReport, reason: &str) {
        if report.phase != CanaryPhase::Failed {
            let mut report = CanaryReport { reason: reason.into(), ..report.clone() };
            self.enter_phase(m, &mut report, CanaryPhase::Failed);
        }
    }

    /// The replacing of instances begins, or begins again after a restart.
    pub(crate) fn begin_trial(&mut self, m: &Moment<'_>, spec: &RunSpec) {
        let (Some(report), Some(canary)) = (self.trial(spec).cloned(), spec.canary()) else { return };
        if report.phase == CanaryPhase::Failed {
            return;
        }
        self.timers.set(Timer::Canary(spec.id().clone()), m.now + canary.deadline);
        let phase = CanaryPhase::Waiting;
        self.keep_report(CanaryReport { phase, since: m.now, checked: false, ..report });
    }

    /// Moves a trial on. Says whether the others may follow.
    pub(crate) fn drive_trial(&mut self, m: &mut Moment<'_>, spec: &RunSpec, replace: &mut Replace) -> bool {
        let Some(mut report) = self.report(spec).filter(|report| !report.phase.is_over()).cloned() else {
            return true;
        };
        let Some(canary) = spec.canary().cloned() else {
            self.enter_phase(m, &mut report, CanaryPhase::Waived);
            *replace = self.begin_replace(m, spec);
            return true;
        };
        let path = spec.id();
        let count = canary.count(spec.instances());
        let well = self.count(path, |kind| kind.is_current(spec) && kind.is_done(spec)).min(count);
        if report.phase == CanaryPhase::Waiting && well == count {
            report.checked = canary.check.is_none();
            self.enter_phase(m, &mut report, CanaryPhase::Holding);
            self.timers.set(Timer::Canary(path.clone()), m.now + canary.hold);
            if canary.check.is_some() {
                self.timers.set(Timer::CanaryCheck(path.clone()), m.now);
            }
        }
        match report.phase {
            CanaryPhase::Holding if well < count => {
                self.enter_phase(m, &mut report, CanaryPhase::Waiting);
                self.timers.set(Timer::Canary(path.clone()), m.now + canary.deadline);
            }
            CanaryPhase::Holding if report.since + canary.hold <= m.now && report.checked => {
                self.enter_phase(m, &mut report, CanaryPhase::Passed);
                *replace = self.begin_replace(m, spec);
                return true;
            }
            CanaryPhase::Waiting if report.since + canary.deadline <= m.now => {
                let seconds = canary.deadline.as_secs();
                report.reason = format!("{well} of {count} were well after {seconds} s");
                self.fail_trial(m, report.clone(), canary.on_failure);
            }
            _ => {}
        }
        if !self.failed_trials.contains(path) {
            self.keep_up(m, spec, replace, &report, count);
        }
        false
    }

    fn fail_trial(&mut self, m: &Moment<'_>, mut report: CanaryReport, on_failure: OnFailure) {
        self.enter_phase(m, &mut report, CanaryPhase::Failed);
        if on_failure == OnFailure::Rollback {
            self.failed_trials.insert(report.run_spec);
        }
    }

    /// As many canaries as there are to be, as many old instances as were wanted, and no more than there may be.
    fn keep_up(
        &mut self,
        m: &mut Moment<'_>,
        spec: &RunSpec,
        replace: &Replace,
        report: &CanaryReport,
        count: u32,
    ) {
        let path = spec.id();
        let Bounds { min, max } = self.bounds(path, spec);
        // What another trial has left goes as soon as nothing is lost by it.
        let others =
            replace.old.iter().filter_map(|id| self.instance(id)).filter(|one| one.version > report.base);
        let others: Vec<InstanceId> = others.map(|one| one.id.clone()).collect();
        for id in others {
            self.end_one(m, &id, spec, min);
        }
        let current = spec.version_info().last_config_change_at;
        let mut new = self.count(path, |kind| kind.is_current(spec) && kind.is_wanted());
        if new > count {
            self.end_surplus(m, path, new - count, |instance| instance.version >= current);
            new = count;
        }
        let going = self.count(path, |kind| !kind.stays && kind.is_in_the_way());
        let old = self.count(path, |kind| !kind.is_current(spec) && kind.is_wanted());
        let mut room = max.saturating_sub(going + old + new);
        let more = room.min(count - new);
        self.add_instances(m, spec, more);
        (new, room) = (new + more, room - more);
        if new < count && going == 0 {
            // No room for a canary: one of the old ones makes some.
            let candidates: Vec<InstanceId> = replace.old.iter().cloned().collect();
            let _ = candidates.iter().any(|id| self.end_one(m, id, spec, min));
        }
        if let Some(base) = self.base(report) {
            let wanted = report.base_instances.min(spec.instances());
            self.add_instances(m, &base, wanted.saturating_sub(old + new).min(room));
        }
    }

    /// Ends an instance that is there to stay, unless it serves and no more than `min` do.
    fn end_one(&mut self, m: &mut Moment<'_>, id: &InstanceId, spec: &RunSpec, min: u32) -> bool {
        let Some(instance) = self.instance(id).filter(|instance| instance.goal == Goal::Running) else {
            return false;
        };
        if serves(instance, spec) && self.count(spec.id(), |kind| kind.serves(spec)) <= min {
            return false;
        }
        self.end(m, id, old_goal(spec));
        true
    }

    /// Looks whether a change of an instance is the failure of a canary: it has ended by itself or is not healthy any more. One
    /// that has ended after it was unhealthy has failed once.
    pub(crate) fn watch_canary(&mut self, m: &Moment<'_>, old: &Instance, new: &Instance) {
        let Some(spec) = self.wanted(&new.run_spec) else { return };
        if self.trial(&spec).is_none()
            || new.goal != Goal::Running
            || new.version < spec.version_info().last_config_change_at
            || old.healthy == Some(false)
        {
            return;
        }
        let host = new.agent.as_ref().map_or("", |agent| agent.host.as_str());
        let ended = matches!(new.condition, Condition::Failed | Condition::Error | Condition::Finished);
        if ended && !old.condition.is_terminal() {
            let failure = self.state.failures.get(&new.run_spec);
            let own = failure.filter(|failure| failure.task.instance() == new.id);
            let message = own.map_or("", |failure| failure.message.as_str());
            let colon = if message.is_empty() { "" } else { ": " };
            let what = if new.condition == Condition::Finished { "ended" } else { "failed" };
            self.note_canary_failure(m, &spec, format!("the one on {host} {what}{colon}{message}"));
        } else if new.healthy == Some(false) {
            let health = self.state.health.get(&new.id);
            let cause =
                health.and_then(|all| all.iter().flatten().find_map(|one| one.last_failure_cause.clone()));
            let cause = cause.map(|cause| format!(": {cause}")).unwrap_or_default();
            self.note_canary_failure(m, &spec, format!("the one on {host} is unhealthy{cause}"));
        }
    }

    fn note_canary_failure(&mut self, m: &Moment<'_>, spec: &RunSpec, reason: String) {
        let (Some(report), Some(canary)) = (self.trial(spec).cloned(), spec.canary()) else { return };
        if report.phase == CanaryPhase::Failed {
            return;
        }
        let report = CanaryReport { failures: report.failures.saturating_add(1), reason, ..report };
        self.touched.insert(spec.id().clone());
        if report.failures > canary.failures_max {
            self.fail_trial(m, report, canary.on_failure);
        } else {
            self.keep_report(report.clone());
            self.publish(m, EventKind::CanaryChanged { report });
        }
    }

    pub(crate) fn on_canary_check_due(&mut self, path: &PathId) {
        let Some(spec) = self.wanted(path) else { return };
        let holding = self.trial(&spec).is_some_and(|report| report.phase == CanaryPhase::Holding);
        if let Some(check) = spec.canary().and_then(|canary| canary.check.clone()).filter(|_| holding) {
            let kind = ProbeKind::Http { scheme: check.scheme, path: check.path };
            self.probe(Purpose::Canary(path.clone()), check.host, check.port, kind, check.timeout);
        }
    }

    pub(crate) fn on_canary_checked(&mut self, m: &Moment<'_>, path: &PathId, outcome: &ProbeOutcome) {
        let Some(spec) = self.wanted(path) else { return };
        let Some(check) = spec.canary().and_then(|canary| canary.check.as_ref()) else { return };
        let Some(report) = self.trial(&spec).filter(|one| one.phase == CanaryPhase::Holding).cloned() else {
            return;
        };
        self.timers.set(Timer::CanaryCheck(path.clone()), m.now + check.interval);
        let words = match outcome {
            ProbeOutcome::Answered(answer) if (200..300).contains(&answer.status) => {
                if !report.checked {
                    self.keep_report(CanaryReport { checked: true, ..report });
                }
                self.touched.insert(path.clone());
                return;
            }
            ProbeOutcome::Answered(answer) => format!("answered {}", answer.status),
            ProbeOutcome::Connected => "did not answer by HTTP".into(),
            ProbeOutcome::Failed(text) => format!("failed: {text}"),
        };
        self.note_canary_failure(m, &spec, format!("the check of {} {words}", check.host));
    }
}
