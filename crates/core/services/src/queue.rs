//! What waits for an offer, and what is done with offers.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::Arc,
    time::Duration,
};

use mezzo_mesos::v1::{
    self, Filters, offer,
    scheduler::{Call, call, call::Type},
};
use mezzo_services_model::{
    Condition, Goal, Instance, InstanceId, PathId, QueueItem, ReservationState, RunSpec, TaskId,
};
use mezzo_time::Timestamp;

use crate::{
    Effect,
    instances::waiting,
    launch,
    matching::{Mismatch, Need, Opened, Placed, Terms},
    services::{Moment, Services},
    timers::Timer,
};

/// How many services an offer is tried for; the next offer begins with the next one. Bounds the work per offer when thousands
/// of services wait for something that nobody has.
const TRIED_MAX: usize = 1_000;

/// Of how many agents the last unused offer is remembered per service, for who asks why it waits.
const UNUSED_MAX: usize = 64;

/// How often launches without an answer are looked for, and when first (rule 99).
const OVERDUE_LOOK: Duration = Duration::from_secs(5);

type Key = (PathId, String);

/// What waits, by service and role.
#[derive(Debug)]
pub(crate) struct Queue {
    /// Those without a reservation first: the others fit one agent only, and are found by its offer.
    waiting: BTreeMap<Key, BTreeSet<(bool, InstanceId)>>,
    /// Services that wait and are not delayed, by role.
    open: BTreeMap<String, BTreeSet<PathId>>,
    /// The service that was tried last, by role.
    last: BTreeMap<String, PathId>,
    /// Ended instances whose reservations are to be given up, by role (rule 98).
    releasing: BTreeMap<String, BTreeSet<InstanceId>>,
    tokens: u32,
    /// Roles for which there is something new.
    revive: BTreeSet<String>,
    revived_at: Option<Timestamp>,
    /// Offers that the master may still hold to be ours.
    lost: Vec<v1::OfferId>,
    /// When a call was last lost: what has to be said again waits a little, because more may be lost.
    lost_at: Option<Timestamp>,
    /// Roles that offers are or were wanted for, and whether the master was told that none are.
    roles: BTreeMap<String, bool>,
    /// Services whose place in the queue is to be shown anew.
    pub(crate) dirty: BTreeSet<Key>,
}

impl Queue {
    pub(crate) fn new(tokens: u32) -> Self {
        Self {
            waiting: BTreeMap::new(),
            open: BTreeMap::new(),
            last: BTreeMap::new(),
            releasing: BTreeMap::new(),
            tokens,
            revive: BTreeSet::new(),
            revived_at: None,
            lost: Vec::new(),
            lost_at: None,
            roles: BTreeMap::new(),
            dirty: BTreeSet::new(),
        }
    }

    /// A launch has come to run, and makes room for another within the same interval.
    pub(crate) fn give_token_back(&mut self, max: u32) {
        self.tokens = (self.tokens + 1).min(max);
    }

    /// A master that has just been found knows nothing of what was said to another.
    pub(crate) fn begin_again(&mut self, role: &str) {
        self.roles.values_mut().for_each(|suppressed| *suppressed = false);
        self.roles.entry(role.to_owned()).or_default();
        self.revive.extend(self.open.keys().cloned());
        self.revive.extend(self.releasing.keys().cloned());
        self.revived_at = None;
        // Offers of before are void.
        self.lost.clear();
        self.lost_at = None;
    }

    fn wants(&self, role: &str) -> bool {
        self.open.contains_key(role) || self.releasing.contains_key(role)
    }
}

fn is_shown(instance: &Instance) -> bool {
    matches!(instance.condition, Condition::Scheduled | Condition::Provisioned)
        && instance.goal == Goal::Running
}

fn is_released(instance: &Instance) -> bool {
    instance.goal == Goal::Decommissioned
        && (instance.condition == Condition::Scheduled || instance.condition.is_terminal())
}

impl Services {
    pub(crate) fn queue_enter(&mut self, m: &mut Moment<'_>, instance: &Instance) {
        let key = (instance.run_spec.clone(), instance.role.clone());
        if instance.condition == Condition::Scheduled && instance.goal == Goal::Running {
            let entry = (instance.reservation.is_some(), instance.id.clone());
            self.queue.waiting.entry(key.clone()).or_default().insert(entry);
            self.open_or_close(m, &key, true);
        }
        if is_released(instance) && instance.reservation.is_some() {
            let role = instance.role.clone();
            self.queue.roles.entry(role.clone()).or_default();
            self.queue.revive.insert(role.clone());
            self.queue.releasing.entry(role).or_default().insert(instance.id.clone());
        }
        if matches!(instance.reservation.as_ref().map(|kept| kept.state), Some(ReservationState::New { .. }))
        {
            self.launching.insert(instance.id.clone());
        }
        if is_shown(instance) {
            self.queue.dirty.insert(key);
            self.timers.ensure(Timer::Overdue, m.now + OVERDUE_LOOK);
        }
    }

    pub(crate) fn queue_leave(&mut self, instance: &Instance) {
        let key = (instance.run_spec.clone(), instance.role.clone());
        if instance.condition == Condition::Scheduled && instance.goal == Goal::Running {
            let entry = (instance.reservation.is_some(), instance.id.clone());
            if let Some(waiting) = self.queue.waiting.get_mut(&key) {
                waiting.remove(&entry);
                if waiting.is_empty() {
                    self.queue.waiting.remove(&key);
                    self.close(&key);
                }
            }
        }
        if let Some(releasing) = self.queue.releasing.get_mut(&instance.role) {
            releasing.remove(&instance.id);
            if releasing.is_empty() {
                self.queue.releasing.remove(&instance.role);
            }
        }
        if is_shown(instance) {
            self.queue.dirty.insert(key);
        }
    }

    fn close(&mut self, (path, role): &Key) {
        if let Some(open) = self.queue.open.get_mut(role) {
            open.remove(path);
            if open.is_empty() {
                self.queue.open.remove(role);
            }
        }
    }

    fn open_or_close(&mut self, m: &mut Moment<'_>, key: &Key, is_new: bool) {
        let (path, role) = key;
        if self.queue.waiting.contains_key(key) && self.delayed_until(path, m.now).is_none() {
            let opened = self.queue.open.entry(role.clone()).or_default().insert(path.clone());
            if opened || is_new {
                self.queue.roles.entry(role.clone()).or_default();
                self.queue.revive.insert(role.clone());
            }
        } else {
            self.close(key);
        }
    }

    fn keys(&self, path: &PathId) -> Vec<Key> {
        let from = (path.clone(), String::new());
        self.queue
            .waiting
            .range(from..)
            .map(|(key, _)| key.clone())
            .take_while(|key| key.0 == *path)
            .collect()
    }

    /// What waits and is not delayed: service, role, and instances, those that keep a place last.
    pub(crate) fn open_queue(&self) -> impl Iterator<Item = (&PathId, &str, &BTreeSet<(bool, InstanceId)>)> {
        self.queue
            .open
            .iter()
            .flat_map(|(role, paths)| paths.iter().map(move |path| (path, role)))
            .filter_map(|(path, role)| {
                let ids = self.queue.waiting.get(&(path.clone(), role.clone()))?;
                Some((path, role.as_str(), ids))
            })
    }

    /// Whether offers of a role are wanted to give reservations up.
    pub(crate) fn is_releasing(&self, role: &str) -> bool {
        self.queue.releasing.contains_key(role)
    }

    /// Roles that the master was told to offer nothing to.
    pub(crate) fn suppressed_roles(&self) -> Vec<String> {
        let suppressed = self.queue.roles.iter().filter(|(_, suppressed)| **suppressed);
        suppressed.map(|(role, _)| role.clone()).collect()
    }

    pub(crate) fn is_waiting(&self, path: &PathId) -> bool {
        !self.keys(path).is_empty()
    }

    /// A delay has begun, grown or ended (rule 87).
    pub(crate) fn queue_delay_changed(&mut self, m: &mut Moment<'_>, path: &PathId) {
        for key in self.keys(path) {
            self.open_or_close(m, &key, false);
            self.queue.dirty.insert(key);
        }
    }

    pub(crate) fn on_tokens_timer(&mut self, m: &mut Moment<'_>) {
        let empty = self.queue.tokens == 0;
        self.queue.tokens = self.config.launch_tokens;
        if empty {
            self.queue.revive.extend(self.queue.open.keys().cloned());
        }
        let _ = m;
    }

    /// Rule 97: at most one call per interval, for all roles with something new.
    pub(crate) fn ask_for_offers(&mut self, m: &mut Moment<'_>) {
        if !self.connected {
            return;
        }
        let mut revive = std::mem::take(&mut self.queue.revive);
        revive.retain(|role| self.queue.wants(role));
        if !revive.is_empty() {
            let earliest = self.queue.revived_at.map_or(m.now, |at| at + self.config.revive_interval);
            if earliest > m.now {
                self.timers.ensure(Timer::Revive, earliest);
                self.queue.revive = revive;
            } else {
                self.queue.revived_at = Some(m.now);
                for role in &revive {
                    self.queue.roles.insert(role.clone(), false);
                }
                let roles = revive.into_iter().collect();
                self.call(Type::Revive, |call| call.revive = Some(call::Revive { roles }));
            }
        }
        let again_at = self.queue.lost_at.map(|at| at + self.config.revive_interval);
        if let Some(again_at) = again_at.filter(|at| *at > m.now) {
            return self.timers.ensure(Timer::Revive, again_at);
        }
        self.queue.lost_at = None;
        let lost = std::mem::take(&mut self.queue.lost);
        if !lost.is_empty() {
            self.call(Type::Decline, |call| {
                call.decline = Some(call::Decline { offer_ids: lost, filters: None });
            });
        }
        if self.config.suppress_offers {
            let quiet: Vec<String> = self
                .queue
                .roles
                .iter()
                .filter(|(role, suppressed)| !**suppressed && !self.queue.wants(role))
                .map(|(role, _)| role.clone())
                .collect();
            if !quiet.is_empty() {
                for role in &quiet {
                    self.queue.roles.insert(role.clone(), true);
                }
                self.call(Type::Suppress, |call| call.suppress = Some(call::Suppress { roles: quiet }));
            }
        }
    }

    pub(crate) fn on_offers(&mut self, m: &mut Moment<'_>, offers: Vec<Arc<v1::Offer>>) {
        let Some(framework) = self.state.framework.clone().map(|value| v1::FrameworkId { value }) else {
            return;
        };
        // What is of no use stays away for long; what could not be looked at properly comes back soon (rule 96).
        let (mut useless, mut later) = (Vec::new(), Vec::new());
        for offer in offers {
            let id = offer.id.clone();
            let Ok(mut opened) = Opened::new(offer) else {
                later.push(id);
                continue;
            };
            let (operations, more) = self.use_offer(m, &framework, &mut opened);
            if operations.is_empty() {
                if more {
                    later.push(id)
                } else {
                    useless.push(id)
                }
                continue;
            }
            let mut call = launch::accept(&framework, vec![id], operations);
            if let Some(accept) = &mut call.accept
                && self.queue.wants(opened.role())
            {
                // More waits: what is left is wanted at once.
                accept.filters = Some(Filters { refuse_seconds: Some(0.0) });
            }
            self.effects.push(Effect::Call(Box::new(call)));
        }
        for (offers, refuse) in [(useless, Some(self.config.decline_offer_duration)), (later, None)] {
            if !offers.is_empty() {
                self.effects.push(Effect::Call(Box::new(launch::decline(&framework, offers, refuse))));
            }
        }
    }

    /// What is done with an offer, and whether it was left although something waits that it was not tried for.
    fn use_offer(
        &mut self,
        m: &mut Moment<'_>,
        framework: &v1::FrameworkId,
        offer: &mut Opened,
    ) -> (Vec<offer::Operation>, bool) {
        let keepers = offer.keepers(framework);
        let mut operations = launch::release(offer, framework, &|id| {
            self.instance(id).is_some_and(|known| known.reservation.is_some() && !is_released(known))
        });
        for id in &keepers {
            if let Some(known) = self.instance(id).filter(|known| is_released(known)).cloned() {
                self.put(m, Instance { reservation: None, ..(*known).clone() });
                self.expunge(id);
            }
        }
        let mut launched = 0;
        let full = |services: &Self, launched: u32| {
            launched >= services.config.instances_per_offer || services.queue.tokens == 0
        };
        // Rule 168.
        for id in keepers {
            let waits = self.instance(&id).filter(|known| {
                known.condition == Condition::Scheduled
                    && known.goal == Goal::Running
                    && !self.lacks_secrets(known)
            });
            if let Some(known) = waits.cloned()
                && self.delayed_until(&known.run_spec, m.now).is_none()
                && !full(self, launched)
                && let Ok(more) = self.place(m, framework, offer, &known)
            {
                operations.extend(more);
                launched += 1;
            }
        }
        let role = offer.role().to_owned();
        let candidates = self.candidates(&role);
        let mut more = candidates.len() >= TRIED_MAX;
        for path in candidates {
            loop {
                if full(self, launched) {
                    more = true;
                    break;
                }
                let waiting = self.queue.waiting.get(&(path.clone(), role.clone())).into_iter().flatten();
                let mut known = waiting.take(TRIED_MAX).filter_map(|(_, id)| self.instance(id));
                let Some(known) = known.find(|known| !self.lacks_secrets(known)).cloned() else { break };
                match self.place(m, framework, offer, &known) {
                    Ok(new) => {
                        operations.extend(new);
                        launched += 1;
                        // One that has only been reserved waits for its next offer.
                        if self
                            .instance(&known.id)
                            .is_some_and(|known| known.condition == Condition::Scheduled)
                            && known.reservation.is_some()
                        {
                            break;
                        }
                    }
                    Err(mismatch) => {
                        self.note_unused(m, &known, offer, &mismatch);
                        break;
                    }
                }
            }
            self.queue.last.insert(role.clone(), path);
        }
        (operations, more)
    }

    /// Services that wait for offers of a role, beginning behind the one that was tried last.
    fn candidates(&self, role: &str) -> Vec<PathId> {
        let Some(open) = self.queue.open.get(role) else { return Vec::new() };
        match self.queue.last.get(role) {
            Some(last) => {
                let behind = open.range((Bound::Excluded(last.clone()), Bound::Unbounded));
                behind.chain(open.range(..=last.clone())).take(TRIED_MAX).cloned().collect()
            }
            None => open.iter().take(TRIED_MAX).cloned().collect(),
        }
    }

    /// What a waiting instance will run: one of the same make as the newest definition that one.
    pub(crate) fn launched_as(&self, instance: &Instance) -> Option<RunSpec> {
        let path = &instance.run_spec;
        let wanted = self.wanted(path).filter(|spec| {
            instance.version >= spec.version_info().last_config_change_at
                || (instance.reservation.is_some() && !self.is_kept_by_trial(instance, spec))
        });
        wanted.or_else(|| self.definition(path, instance.version))
    }

    /// Whether an instance waits for a secret that does not exist.
    fn lacks_secrets(&self, instance: &Instance) -> bool {
        self.launched_as(instance).is_some_and(|spec| !self.state.missing_secrets(&spec).is_empty())
    }

    /// A secret has come, changed or gone: who waits may go on, and what is shown of those who wait may differ.
    pub(crate) fn queue_secrets_changed(&mut self) {
        self.queue.dirty.extend(self.queue.waiting.keys().cloned());
        self.queue.revive.extend(self.queue.open.keys().cloned());
    }

    fn place(
        &mut self,
        m: &mut Moment<'_>,
        framework: &v1::FrameworkId,
        offer: &mut Opened,
        instance: &Instance,
    ) -> Result<Vec<offer::Operation>, Mismatch> {
        let path = &instance.run_spec;
        let Some(run_spec) = self.launched_as(instance) else { return Ok(Vec::new()) };
        // What is kept counts the instances of the wanted make; those of one before it are counted when one of them is placed.
        let make = run_spec.version_info().last_config_change_at;
        let is_kept = self.wanted(path).is_some_and(|spec| spec.version_info().last_config_change_at == make);
        let kept = if is_kept { self.placed.remove(path) } else { None };
        let placed = match kept {
            Some(placed) if placed.is_for(&run_spec) => placed,
            _ if run_spec.constraints().is_empty() => Placed::new(&run_spec),
            _ => Placed::of(&run_spec, self.instances(path).map(Arc::as_ref)),
        };
        let top = path.segments().next().map(|name| PathId::root().child(name));
        let enforce_role =
            top.and_then(|top| self.state.root.groups.get(&top)).is_some_and(|group| group.enforce_role);
        let need = Need { run_spec: &run_spec, instance, placed: &placed, enforce_role };
        let terms = Terms { config: &self.config, framework, region: self.region.as_deref(), now: m.now };
        let placement = launch::place(offer, &need, &terms, m.rng);
        if is_kept && !run_spec.constraints().is_empty() {
            self.placed.insert(path.clone(), placed);
        }
        let placement = placement?;
        self.queue.tokens = self.queue.tokens.saturating_sub(1);
        self.timers.ensure(Timer::Tokens, m.now + self.config.launch_token_interval);
        if let Some(item) = self.state.queue.get_mut(&(path.clone(), instance.role.clone())) {
            let item = Arc::make_mut(item);
            item.processed += 1;
            item.last_used_at = Some(m.now);
        }
        self.put(m, placement.instance);
        Ok(placement.operations)
    }

    fn note_unused(&mut self, m: &Moment<'_>, instance: &Instance, offer: &Opened, mismatch: &Mismatch) {
        let key = (instance.run_spec.clone(), instance.role.clone());
        let Some(item) = self.state.queue.get_mut(&key) else { return };
        let item = Arc::make_mut(item);
        item.processed += 1;
        item.unused += 1;
        item.last_unused_at = Some(m.now);
        *item.rejected.entry(mismatch.first()).or_default() += 1;
        let agent = &offer.offer().agent_id;
        item.last_unused.retain(|unused| unused.offer.agent_id != *agent);
        if item.last_unused.len() >= UNUSED_MAX {
            item.last_unused.remove(0);
        }
        item.last_unused.push(mismatch.unused(offer.offer().clone(), m.now));
    }

    /// Brings what reads show of the queue in line with it.
    pub(crate) fn show_queue(&mut self, m: &mut Moment<'_>) {
        for key in std::mem::take(&mut self.queue.dirty) {
            let (path, role) = &key;
            let count = self.queue.waiting.get(&key).map_or(0, BTreeSet::len);
            let launched = self.count(path, |kind| kind.condition == Condition::Provisioned);
            let Some(run_spec) = self.wanted(path).filter(|_| count > 0 || launched > 0) else {
                self.state.queue.remove_mut(&key);
                continue;
            };
            let delayed_until = self.delayed_until(path, m.now);
            let count = u32::try_from(count).unwrap_or(u32::MAX);
            let missing_secrets = self.state.missing_secrets(&run_spec);
            if let Some(item) = self.state.queue.get_mut(&key) {
                let item = Arc::make_mut(item);
                (item.run_spec, item.count, item.delayed_until) = (run_spec, count, delayed_until);
                item.missing_secrets = missing_secrets;
                continue;
            }
            let item = QueueItem {
                run_spec,
                role: role.clone(),
                count,
                since: m.now,
                missing_secrets,
                delayed_until,
                processed: 0,
                unused: 0,
                last_unused_at: None,
                last_used_at: None,
                rejected: BTreeMap::new(),
                last_unused: Vec::new(),
            };
            self.state.queue.insert_mut(key, item.into());
        }
    }

    /// Rule 100: what was to be launched waits again. Should the master have heard all the same, the task is unknown by then,
    /// and killed.
    pub(crate) fn on_call_failed(&mut self, m: &mut Moment<'_>, call: &Call) {
        let operations = call.accept.iter().flat_map(|accept| &accept.operations);
        let tasks: Vec<TaskId> = operations
            .flat_map(|operation| {
                let single = operation.launch.iter().flat_map(|launch| &launch.task_infos);
                let group = operation.launch_group.iter().flat_map(|launch| &launch.task_group.tasks);
                single.chain(group)
            })
            .filter_map(|task| TaskId::parse(&task.task_id.value).ok())
            .collect();
        for task in tasks {
            if let Some((instance, _)) = self.find(&task)
                && instance.condition == Condition::Provisioned
            {
                let id = instance.id.clone();
                if instance.goal == Goal::Running {
                    self.put(m, waiting(&instance, m.now));
                } else {
                    let ended = Instance { condition: Condition::Dropped, ..(*instance).clone() };
                    self.put(m, ended.clone());
                    self.after_end(m, &id, &ended);
                }
            }
        }
    }

    /// What a lost call has asked for is asked for again: a lost revive would be missed for ever by whatever waits, and the
    /// offers of a lost accept or decline by everybody. Of an offer that was used all the same the master thinks nothing.
    pub(crate) fn on_call_lost(&mut self, m: &mut Moment<'_>, call: Call) {
        let accepted = call.accept.into_iter().flat_map(|accept| accept.offer_ids);
        let declined = call.decline.into_iter().flat_map(|decline| decline.offer_ids);
        if self.connected {
            self.queue.lost.extend(accepted.chain(declined));
        }
        self.queue.revive.extend(call.revive.into_iter().flat_map(|revive| revive.roles));
        for role in call.suppress.into_iter().flat_map(|suppress| suppress.roles) {
            self.queue.roles.insert(role, false);
        }
        if call.update_framework.is_some() {
            self.told.forget();
        }
        self.queue.lost_at = Some(m.now);
    }

    /// Rules 99 and 158.
    pub(crate) fn on_overdue_timer(&mut self, m: &mut Moment<'_>) {
        let all: Vec<InstanceId> = self.launching.iter().cloned().collect();
        for id in all {
            let Some(instance) = self.instance(&id).cloned() else { continue };
            if let Some(kept) = &instance.reservation
                && let ReservationState::New { deadline } = kept.state
                && deadline <= m.now
                && instance.condition == Condition::Scheduled
            {
                self.put(m, Instance { reservation: None, agent: None, ..(*instance).clone() });
                continue;
            }
            let timeout = match instance.condition {
                Condition::Provisioned => self.config.launch_confirm_timeout,
                Condition::Staging | Condition::Starting => self.config.launch_timeout,
                _ => continue,
            };
            if instance.since + timeout <= m.now {
                self.kill(m, &id);
            }
        }
        if !self.launching.is_empty() || !self.queue.waiting.is_empty() {
            self.timers.set(Timer::Overdue, m.now + OVERDUE_LOOK);
        }
    }
}
