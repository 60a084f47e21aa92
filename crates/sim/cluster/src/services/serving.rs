//! Instances of apps on the machines of agents: when they are well, and what they answer.

use mezzo_agent::ContainerSpec;
use mezzo_services::{Probe, ProbeOutcome};
use mezzo_services_model::{HttpAnswer, TaskId};

use super::setup::{CRASH_MAX, Quality};
use crate::{
    event::{Event, Side},
    queue::Nanos,
    random::{Draw, mix},
    setup::Amounts,
    world::{MILLI, SECOND, World, nanos},
};

/// What every instance needs.
pub(crate) const NEEDS: Amounts = Amounts { cpus: 0.1, mem: 16.0, disk: 0.0, gpus: 0.0 };
/// How long a frail instance lasts, at most.
const FRAIL_MAX: u64 = 120_000;
/// One answer in so many of flapping instances is bad: seldom enough that all of an app are well at one time, as
/// deployments want it.
const FLAPS_EVERY: u64 = 7;
/// The status of an instance that fails.
const FAILED: u8 = 1;

/// The instance of an app that a container is, as its command and its variables tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Serving {
    /// The task's id.
    pub(crate) task: TaskId,
    /// The app's path.
    pub(crate) app: String,
    /// Which of the operators' definitions.
    pub(crate) make: u32,
    pub(crate) quality: Quality,
    /// The version of its definition, as the services gave it.
    pub(crate) version: String,
}

const LETTERS: [(Quality, char); 6] = [
    (Quality::Good, 'g'),
    (Quality::Slow, 's'),
    (Quality::Flapping, 'l'),
    (Quality::Frail, 'f'),
    (Quality::Sick, 'i'),
    (Quality::Crashing, 'c'),
];

/// What an app's command says.
pub(crate) fn command(make: u32, quality: Quality) -> String {
    let letter = LETTERS.iter().find(|(known, _)| *known == quality).map_or('g', |(_, letter)| *letter);
    format!("serve {make} {letter}")
}

/// Which definition a command is of.
pub(crate) fn read_command(text: &str) -> Option<(u32, Quality)> {
    let (make, letter) = text.strip_prefix("serve ")?.split_once(' ')?;
    let (quality, _) = LETTERS.iter().find(|(_, known)| letter.starts_with(*known))?;
    Some((make.parse().ok()?, *quality))
}

impl Serving {
    pub(crate) fn of(spec: &ContainerSpec) -> Option<Self> {
        let (make, quality) = read_command(spec.command.value.as_deref()?)?;
        let variable = |name: &str| {
            let found = spec.environment.iter().find(|(known, _)| known == name);
            found.map(|(_, value)| value.clone())
        };
        Some(Self {
            task: TaskId::parse(&variable("MESOS_TASK_ID")?).ok()?,
            app: variable("MARATHON_APP_ID")?,
            make,
            quality,
            version: variable("MARATHON_APP_VERSION")?,
        })
    }

    /// How long it runs, and with what it ends.
    pub(crate) fn end(&self, rng: &mut impl Draw, is_load_over: bool) -> (Option<Nanos>, u8) {
        match self.quality {
            Quality::Crashing => {
                let most = u64::try_from(CRASH_MAX.as_millis()).unwrap_or(1);
                (Some(rng.below(most) as Nanos * MILLI), FAILED)
            }
            Quality::Frail if !is_load_over && rng.percent(40) => {
                (Some(rng.below(FRAIL_MAX) as Nanos * MILLI), FAILED)
            }
            _ => (None, FAILED),
        }
    }

    /// How long after its start it is well; never, maybe.
    pub(crate) fn well_after(&self, rng: &mut impl Draw) -> Option<Nanos> {
        match self.quality {
            Quality::Sick | Quality::Crashing => None,
            Quality::Slow => Some(20 * SECOND),
            _ => Some(rng.below(2_000) as Nanos * MILLI),
        }
    }
}

impl World<'_> {
    /// A probe of the services node goes out, and finds what there is when it arrives.
    pub(crate) fn services_probe(&mut self, probe: Probe) {
        let Some(host) = &mut self.services else { return };
        let scheduler = host.scheduler;
        let (mut at, most) = (self.now + MILLI, nanos(probe.timeout));
        let running = probe.instance.as_ref().and_then(|id| self.checks.services.of_instance(id));
        let found = running.map(|one| (one.agent, one.well_at, one.serving.quality));
        let outcome = match found {
            Some((agent, ..)) if self.net.agents[agent].blocked(Side::Agent) > self.now => {
                at = self.now + most;
                ProbeOutcome::Failed("no answer in time".into())
            }
            Some((_, Some(well_at), quality)) if well_at <= self.now => {
                host.probed += 1;
                // Mixed, or with as many instances it would be the same one in each round.
                let is_bad = quality == Quality::Flapping && mix(host.probed).is_multiple_of(FLAPS_EVERY);
                let status = if is_bad { 500 } else { 200 };
                answered(status)
            }
            Some(_) => answered(503),
            None => ProbeOutcome::Failed("connection refused".into()),
        };
        let life = self.schedulers[scheduler].life;
        let input = Box::new(mezzo_services::Input::Probed(probe.id, outcome));
        self.queue.push(at, Event::ServicesInput { life, input });
    }
}

fn answered(status: u16) -> ProbeOutcome {
    ProbeOutcome::Answered(HttpAnswer { status, content_type: "text/plain".into(), body: String::new() })
}
