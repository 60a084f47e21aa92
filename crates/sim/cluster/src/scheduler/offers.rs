//! Offers become launches, first come first served; what is not used goes back.

use mezzo_mesos::v1::{
    self,
    offer::operation::{Launch, LaunchGroup, Type},
    scheduler::{Call, call},
};

use super::{Calls, Note, Scheduler, Stage, decline};
use crate::{
    agent::{machine::command, resources},
    queue::Nanos,
    setup::{Amounts, Behaviour},
};

/// Waiting tasks that are tried with one offer; those behind them wait for the next.
const TRIED_MAX: usize = 64;
/// Tasks launched with one offer.
const LAUNCHED_MAX: usize = 64;
/// What the executor around a group takes.
const POD: Amounts = Amounts { cpus: 0.1, mem: 32.0, disk: 1.0, gpus: 0.0 };

impl Scheduler {
    pub(super) fn on_offers(&mut self, _now: Nanos, offers: &[v1::Offer], calls: &mut Calls) {
        match self.setup.behaviour {
            Behaviour::Hoarder => return,
            Behaviour::DeclinesAll => {
                let ids = offers.iter().map(|offer| offer.id.clone()).collect();
                return calls.push(decline(ids, Some(3600.0)));
            }
            Behaviour::Absurd => return self.on_offers_absurdly(offers, calls),
            _ => {}
        }
        let mut unused = Vec::new();
        for offer in offers {
            match self.use_offer(offer) {
                Some((operations, tasks)) => {
                    self.tasks.launched(&operations);
                    let accept =
                        call::Accept { offer_ids: vec![offer.id.clone()], operations, filters: None };
                    let kind = call::Type::Accept as i32;
                    let call = Call { r#type: Some(kind), accept: Some(accept), ..Default::default() };
                    let note = Note::Accept { tasks, offers: vec![offer.id.clone()] };
                    calls.push((Box::new(call), Some(Box::new(note))));
                }
                None => unused.push(offer.id.clone()),
            }
        }
        if !unused.is_empty() {
            calls.push(decline(unused, Some(self.setup.refuse.as_secs_f64())));
        }
        self.hush(calls);
    }

    /// Takes as many waiting tasks as fit.
    fn use_offer(
        &mut self,
        offer: &v1::Offer,
    ) -> Option<(Vec<v1::offer::Operation>, Vec<crate::agent::machine::TaskKey>)> {
        if self.waiting.is_empty() {
            return None;
        }
        let mut left = offered(offer);
        let mut chosen: Vec<u32> = Vec::new();
        let mut at = 0;
        while at < self.waiting.len().min(TRIED_MAX) && chosen.len() < LAUNCHED_MAX {
            let members = self.members(at);
            let mut needs = Amounts::default();
            if self.group(at) != 0 {
                add(&mut needs, &POD);
            }
            for plan in self.waiting.iter().skip(at).take(members) {
                add(&mut needs, &self.setup.tasks[*plan as usize].needs);
            }
            if subtract(&mut left, &needs) {
                chosen.extend(self.waiting.drain(at..at + members));
            } else {
                at += members;
            }
        }
        if chosen.is_empty() {
            return None;
        }
        let mut alone = Vec::new();
        let mut groups: Vec<(u32, Vec<v1::TaskInfo>)> = Vec::new();
        let mut keys = Vec::with_capacity(chosen.len());
        for plan in chosen {
            let key = self.key(plan);
            let wanted = &self.setup.tasks[plan as usize];
            let task = v1::TaskInfo {
                name: self.setup.name.clone(),
                task_id: v1::TaskId { value: key.text() },
                agent_id: offer.agent_id.clone(),
                resources: resources(&wanted.needs),
                command: Some(v1::CommandInfo {
                    value: Some(command(key, wanted)),
                    shell: Some(true),
                    ..Default::default()
                }),
                ..Default::default()
            };
            match (wanted.group, groups.last_mut()) {
                (0, _) => alone.push(task),
                (group, Some((last, tasks))) if *last == group => tasks.push(task),
                (group, _) => groups.push((group, vec![task])),
            }
            let state = &mut self.plans[plan as usize];
            state.stage = Stage::Launched;
            state.doomed = false;
            state.agent = Some(offer.agent_id.clone());
            state.outcome.attempts += 1;
            keys.push(key);
        }
        let mut operations = Vec::new();
        if !alone.is_empty() {
            operations.push(v1::offer::Operation {
                r#type: Some(Type::Launch as i32),
                launch: Some(Launch { task_infos: alone }),
                ..Default::default()
            });
        }
        operations.extend(groups.into_iter().map(|(group, tasks)| {
            // Every launch is a pod of its own.
            let first = tasks.first().map_or(String::new(), |task| task.task_id.value.clone());
            let executor = v1::ExecutorInfo {
                r#type: Some(v1::executor_info::Type::Default as i32),
                executor_id: v1::ExecutorId { value: format!("pod-{group}-{first}") },
                framework_id: self.framework_id.clone(),
                resources: resources(&POD),
                ..Default::default()
            };
            v1::offer::Operation {
                r#type: Some(Type::LaunchGroup as i32),
                launch_group: Some(Box::new(LaunchGroup {
                    executor,
                    task_group: v1::TaskGroupInfo { tasks },
                })),
                ..Default::default()
            }
        }));
        Some((operations, keys))
    }

    fn group(&self, at: usize) -> u32 {
        self.waiting.get(at).map_or(0, |plan| self.setup.tasks[*plan as usize].group)
    }

    /// How many waiting tasks from here on go together.
    fn members(&self, at: usize) -> usize {
        let group = self.group(at);
        if group == 0 {
            return 1;
        }
        (at..self.waiting.len()).take_while(|at| self.group(*at) == group).count()
    }
}

/// The amounts of an offer.
pub(crate) fn offered(offer: &v1::Offer) -> Amounts {
    let mut amounts = Amounts::default();
    for resource in &offer.resources {
        let value = resource.scalar.as_ref().map_or(0.0, |scalar| scalar.value);
        match resource.name.as_str() {
            "cpus" => amounts.cpus += value,
            "mem" => amounts.mem += value,
            "disk" => amounts.disk += value,
            "gpus" => amounts.gpus += value,
            _ => {}
        }
    }
    amounts
}

pub(crate) fn add(to: &mut Amounts, more: &Amounts) {
    to.cpus += more.cpus;
    to.mem += more.mem;
    to.disk += more.disk;
    to.gpus += more.gpus;
}

/// Takes `needs` away if all of it is there, to the thousandth.
pub(crate) fn subtract(from: &mut Amounts, needs: &Amounts) -> bool {
    const SLACK: f64 = 0.0005;
    let fits = from.cpus + SLACK >= needs.cpus
        && from.mem + SLACK >= needs.mem
        && from.disk + SLACK >= needs.disk
        && from.gpus + SLACK >= needs.gpus;
    if fits {
        from.cpus -= needs.cpus;
        from.mem -= needs.mem;
        from.disk -= needs.disk;
        from.gpus -= needs.gpus;
    }
    fits
}
