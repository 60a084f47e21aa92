//! The machine under an agent: containers that start, run, end, and live on when the agent dies.

use std::collections::BTreeMap;

use mezzo_agent::{ContainerSpec, Input, LaunchStage};
use mezzo_ids::ContainerId;
use rand_chacha::ChaCha8Rng;

use crate::{
    event::{ContainerEvent, Event},
    network::draw,
    queue::Nanos,
    random::Draw,
    services::serving::Serving,
    setup::TaskPlan,
    world::{MILLI, World, nanos},
};

const SIGTERM: i32 = 15;
const SIGKILL: i32 = 9;

/// Which task, of all that a run ever launches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TaskKey {
    pub(crate) framework: u32,
    pub(crate) plan: u32,
    pub(crate) attempt: u32,
}

impl TaskKey {
    /// The task's id.
    pub(crate) fn text(self) -> String {
        format!("t{}-{}-{}", self.framework, self.plan, self.attempt)
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut rest = text.strip_prefix('t')?.as_bytes();
        let mut number = || {
            let end = rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
            let (digits, behind) = rest.split_at(end);
            rest = behind.strip_prefix(b"-").unwrap_or(behind);
            let add = |sum: u32, digit: &u8| sum.checked_mul(10)?.checked_add(u32::from(digit - b'0'));
            (!digits.is_empty()).then(|| digits.iter().try_fold(0, add)).flatten()
        };
        Some(Self { framework: number()?, plan: number()?, attempt: number()? })
    }
}

/// Where a container is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Starting,
    Running,
    Ended(i32),
}

/// One container.
#[derive(Clone, Debug)]
pub(crate) struct Container {
    pub(crate) serial: u32,
    pub(crate) pid: u32,
    pub(crate) state: State,
    pub(crate) task: Option<TaskKey>,
    /// The instance of an app that it is.
    pub(super) serving: Option<Serving>,
    run: Option<Nanos>,
    exit: u8,
    stubborn: bool,
}

/// All containers of one machine.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) rng: ChaCha8Rng,
    pub(crate) containers: BTreeMap<ContainerId, Container>,
    serials: u32,
    /// How often launches fail, in percent, and until when.
    pub(crate) failing: (u8, Nanos),
}

impl Machine {
    pub(crate) fn new(rng: ChaCha8Rng) -> Self {
        Self { rng, containers: BTreeMap::new(), serials: 0, failing: (0, 0) }
    }
}

/// What a task's command says: the machine does it, whatever the agent makes of the task.
pub(crate) fn command(key: TaskKey, plan: &TaskPlan) -> String {
    let run = plan.run.map_or(-1, |run| i64::try_from(run.as_nanos()).unwrap_or(i64::MAX));
    format!("{} {run} {} {}", key.text(), plan.exit, u8::from(plan.stubborn))
}

fn read_command(text: &str) -> Option<(TaskKey, Option<Nanos>, u8, bool)> {
    let mut words = text.split(' ');
    let key = TaskKey::parse(words.next()?)?;
    let run: Nanos = words.next()?.parse().ok()?;
    let exit = words.next()?.parse().ok()?;
    Some((key, (run >= 0).then_some(run), exit, words.next()? == "1"))
}

impl World<'_> {
    pub(crate) fn machine_launch(&mut self, agent: usize, spec: ContainerSpec) {
        let serving = Serving::of(&spec);
        let id = spec.container;
        if spec.pod {
            let pid = 1;
            return self.agent_hears(agent, 0, Input::Started { container: id, pid });
        }
        let said = spec.command.value.as_deref().and_then(read_command);
        let is_load_over = self.now >= nanos(self.setup.load);
        let rng = &mut self.agents[agent].machine.rng;
        let (task, run, exit, stubborn) = match (said, &serving) {
            (Some((task, run, exit, stubborn)), _) => (Some(task), run, exit, stubborn),
            (None, Some(serving)) => {
                let (run, exit) = serving.end(rng, is_load_over);
                (None, run, exit, rng.percent(10))
            }
            (None, None) => (None, Some(MILLI), 127, false),
        };
        let start = self.setup.start;
        let machine = &mut self.agents[agent].machine;
        machine.serials += 1;
        let serial = machine.serials;
        let (percent, until) = machine.failing;
        let fails = until > self.now && machine.rng.percent(u64::from(percent));
        let what = if fails { ContainerEvent::Fails } else { ContainerEvent::Starts };
        let at = self.now + draw(&mut machine.rng, start);
        let container = Container {
            serial,
            pid: 1000 + serial,
            state: State::Starting,
            task,
            serving,
            run,
            exit,
            stubborn,
        };
        machine.containers.insert(id.clone(), container);
        self.queue.push(at, Event::Container { agent: agent as u32, serial, id, what });
    }

    pub(crate) fn on_container(&mut self, agent: usize, serial: u32, id: &ContainerId, what: ContainerEvent) {
        let Some(container) = self.agents[agent].machine.containers.get(id) else { return };
        if container.serial != serial {
            return;
        }
        match (what, container.state) {
            (ContainerEvent::Starts, State::Starting) => {
                let pid = container.pid;
                self.container_runs(agent, id);
                self.agent_hears_now(agent, Input::Started { container: id.clone(), pid });
            }
            (ContainerEvent::Fails, State::Starting) => {
                self.agents[agent].machine.containers.remove(id);
                let message = "Failed to launch container: the machine would not".to_owned();
                let stage = LaunchStage::Container;
                let input = Input::LaunchFailed { container: id.clone(), stage, message };
                self.agent_hears_now(agent, input);
            }
            (ContainerEvent::Ends(status), State::Running) => {
                self.container_ends(agent, id, status);
                let status = Some(status);
                let input = Input::Exited { container: id.clone(), status, limitation: None };
                self.agent_hears_now(agent, input);
            }
            _ => {}
        }
    }

    /// At once, unless the process stands still.
    fn agent_hears_now(&mut self, agent: usize, input: Input) {
        if self.agents[agent].paused_until > self.now {
            self.agent_hears(agent, 0, input);
        } else {
            self.agent_step(agent, input);
        }
    }

    pub(crate) fn container_runs(&mut self, agent: usize, id: &ContainerId) {
        let Some(container) = self.agents[agent].machine.containers.get_mut(id) else { return };
        container.state = State::Running;
        let (task, serial, exit) = (container.task, container.serial, container.exit);
        let serving = container.serving.clone();
        if let Some(run) = container.run {
            let what = ContainerEvent::Ends(i32::from(exit) << 8);
            let event = Event::Container { agent: agent as u32, serial, id: id.clone(), what };
            self.queue.push(self.now + run, event);
        }
        if let Some(task) = task {
            self.log(|| format!("agent {agent} container of {} runs", task.text()));
            let plans = &mut self.schedulers[task.framework as usize].plans;
            plans[task.plan as usize].outcome.agent = Some(agent as u32);
            self.task_runs(agent, task);
        }
        if let Some(serving) = serving {
            let well_after = serving.well_after(&mut self.agents[agent].machine.rng);
            self.instance_runs(agent, serving, well_after);
        }
    }

    fn container_ends(&mut self, agent: usize, id: &ContainerId, status: i32) {
        let Some(container) = self.agents[agent].machine.containers.get_mut(id) else { return };
        let was_running = container.state == State::Running;
        container.state = State::Ended(status);
        let serving = container.serving.clone().filter(|_| was_running);
        if let (Some(task), true) = (container.task, was_running) {
            self.log(|| format!("agent {agent} container of {} ends with {status}", task.text()));
            self.task_ends(agent, task, Some(status));
        }
        if let Some(serving) = serving {
            self.instance_ends(agent, &serving, Some(status));
        }
    }

    pub(crate) fn container_vanishes(&mut self, agent: usize, id: &ContainerId) {
        let Some(container) = self.agents[agent].machine.containers.remove(id) else { return };
        if let (Some(task), State::Running) = (container.task, container.state) {
            self.task_ends(agent, task, None);
        }
        if let (Some(serving), State::Running) = (container.serving, container.state) {
            self.instance_ends(agent, &serving, None);
        }
    }

    pub(crate) fn machine_signal(&mut self, agent: usize, id: &ContainerId, signal: i32) {
        let machine = &mut self.agents[agent].machine;
        let Some(container) = machine.containers.get(id) else { return };
        let heeds = signal == SIGKILL || !container.stubborn;
        if container.state == State::Running && heeds {
            let after = 1 + machine.rng.below(20) as Nanos;
            let what = ContainerEvent::Ends(if signal == SIGKILL { SIGKILL } else { SIGTERM });
            let event =
                Event::Container { agent: agent as u32, serial: container.serial, id: id.clone(), what };
            self.queue.push(self.now + after * MILLI, event);
        }
    }

    pub(crate) fn machine_destroy(&mut self, agent: usize, id: &ContainerId) {
        let Some(container) = self.agents[agent].machine.containers.get(id) else {
            // Nothing runs; the core waits for an end all the same.
            let input = Input::Exited { container: id.clone(), status: None, limitation: None };
            return self.agent_hears(agent, 0, input);
        };
        match container.state {
            State::Running => self.machine_signal(agent, id, SIGKILL),
            State::Starting => {
                // It is killed as soon as it runs.
                let pid = container.pid;
                self.container_runs(agent, id);
                self.agent_hears(agent, 0, Input::Started { container: id.clone(), pid });
                self.machine_signal(agent, id, SIGKILL);
            }
            State::Ended(_) => {}
        }
    }

    pub(crate) fn machine_remove(&mut self, agent: usize, id: &ContainerId) {
        let removed = self.agents[agent].machine.containers.remove(id);
        if let Some(container) = removed
            && container.state == State::Running
        {
            self.violate("containers are removed when they have ended", format!("agent {agent}: {id} runs"));
        }
    }
}
