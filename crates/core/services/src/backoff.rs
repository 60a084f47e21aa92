//! Waits after failures, which grow while failures go on.

use std::{collections::BTreeMap, time::Duration};

use mezzo_services_model::{PathId, RunSpec};
use mezzo_time::Timestamp;

use crate::{
    Answer, Delay, Refusal, RequestId,
    services::{Moment, Services},
    timers::Timer,
};

/// How often delays that are over are looked for (rule 84).
const LOOK: Duration = Duration::from_secs(10);

/// Delays by service. One belongs to a definition: any change but of the number of instances begins anew (rule 82).
pub(crate) type Delays = BTreeMap<PathId, (Timestamp, Delay)>;

impl Services {
    fn delay(&self, spec: &RunSpec) -> Option<Delay> {
        let (version, delay) = self.delays.get(spec.id())?;
        (*version == spec.version_info().last_config_change_at).then_some(*delay)
    }

    /// Until when nothing of a service is launched.
    pub(crate) fn delayed_until(&self, path: &PathId, now: Timestamp) -> Option<Timestamp> {
        let delay = self.delay(&self.wanted(path)?)?;
        let until = delay.since + delay.length;
        (until > now).then_some(until)
    }

    /// A failure: the wait begins, or grows (rule 79).
    pub(crate) fn add_delay(&mut self, m: &mut Moment<'_>, path: &PathId) {
        let Some(spec) = self.wanted(path) else { return };
        let backoff = spec.backoff();
        let length = match self.delay(&spec) {
            None => backoff.first,
            Some(delay) => {
                let grown = delay.length.as_secs_f64() * backoff.factor;
                Duration::try_from_secs_f64(grown).unwrap_or(backoff.longest)
            }
        };
        self.set_delay(m, &spec, length.min(backoff.longest));
    }

    /// A sign of life: the wait that is there counts from now (rule 83).
    pub(crate) fn advance_delay(&mut self, m: &mut Moment<'_>, path: &PathId) {
        if let Some(spec) = self.wanted(path)
            && let Some(delay) = self.delay(&spec)
        {
            self.set_delay(m, &spec, delay.length);
        }
    }

    fn set_delay(&mut self, m: &mut Moment<'_>, spec: &RunSpec, length: Duration) {
        let path = spec.id().clone();
        let version = spec.version_info().last_config_change_at;
        self.delays.insert(path.clone(), (version, Delay { length, since: m.now }));
        self.timers.ensure(Timer::Backoff, m.now + LOOK);
        self.timers.set(Timer::Delay(path.clone()), m.now + length);
        self.queue_delay_changed(m, &path);
    }

    pub(crate) fn reset_delay(&mut self, m: &mut Moment<'_>, path: &PathId) {
        self.delays.remove(path);
        self.timers.clear(&Timer::Delay(path.clone()));
        self.queue_delay_changed(m, path);
    }

    pub(crate) fn on_delay_over(&mut self, m: &mut Moment<'_>, path: &PathId) {
        self.queue_delay_changed(m, path);
    }

    pub(crate) fn on_backoff_timer(&mut self, m: &mut Moment<'_>) {
        let longest = |path: &PathId| self.wanted(path).map_or(Duration::ZERO, |spec| spec.backoff().longest);
        let over: Vec<PathId> = self
            .delays
            .iter()
            .filter(|(path, (_, delay))| m.now > delay.since + longest(path))
            .map(|(path, _)| path.clone())
            .collect();
        for path in over {
            self.reset_delay(m, &path);
        }
        if !self.delays.is_empty() {
            self.timers.ensure(Timer::Backoff, m.now + LOOK);
        }
    }

    /// Rule 86: only for what waits.
    pub(crate) fn on_reset_delay(&mut self, m: &mut Moment<'_>, request: RequestId, path: &PathId) {
        if !self.is_waiting(path) {
            let text = format!("Application {path} not found in tasks queue.");
            self.answer(request, Answer::Refused(Refusal::Unknown(text)));
            return;
        }
        self.reset_delay(m, path);
        self.answer(request, Answer::Done);
    }
}
