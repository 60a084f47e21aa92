//! What readers wrote of agents and their tasks, kept for the next reader.
//!
//! Dashboards ask for everything every few seconds, while little of it changes. A [`Snapshot`] shares
//! what did not change with the one before it, so what was written of a part is true for as long as the
//! part is the same allocation; a [`Weak`] keeps that allocation from being used for another part.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use mezzo_ids::{AgentId, FrameworkId, TaskId};
use mezzo_master::state::{Agent, Snapshot, Task, Tasks};

use crate::giving_way::giving_way;

/// Bytes kept of one form: 800,000 tasks. What is beyond is written anew for each reader.
const KEPT_BYTES_MAX: usize = 256 << 20;
/// What nobody asked for during this time is forgotten: rarer readers can wait for it to be written.
const KEPT_FOR: Duration = Duration::from_secs(60);
/// Groups with nothing on their sheets from which on two threads write: it takes some 10 ms.
const AHEAD_MIN: usize = 1000;

/// What one form of answers keeps.
#[derive(Debug, Default)]
pub(crate) struct Written(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    sheets: Arc<Sheets>,
    used: Option<Instant>,
    /// Somebody waits for the time to forget.
    watched: bool,
}

/// A [`Sheet`] for each agent of a snapshot, in its order.
#[derive(Debug, Default)]
pub(crate) struct Sheets {
    sheets: Vec<Sheet>,
    bytes: AtomicUsize,
    /// Groups of tasks that nothing was written of when these were lent.
    blank: usize,
}

/// What was written of one agent.
#[derive(Debug)]
pub(crate) struct Sheet {
    id: AgentId,
    agent: Weak<Agent>,
    tasks: Weak<Tasks>,
    own: Arc<Own>,
    groups: Arc<[Group]>,
}

/// What was written of the agent itself.
#[derive(Debug, Default)]
pub(crate) struct Own {
    pub(crate) agent: Slot,
    pub(crate) executors: Slot,
}

/// The tasks of one framework on the agent.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) framework: FrameworkId,
    pub(crate) tasks: Slot,
}

/// A place for what was written of something.
#[derive(Debug, Default)]
pub(crate) struct Slot(OnceLock<Box<[u8]>>);

impl Written {
    /// Sheets for this snapshot, with all that is still true on them. Call it where tokio runs.
    pub(crate) fn lend(self: &Arc<Self>, snapshot: &Snapshot) -> Arc<Sheets> {
        let known = {
            let mut kept = self.lock();
            kept.used = Some(Instant::now());
            if !std::mem::replace(&mut kept.watched, true) {
                tokio::spawn(forget(self.clone()));
            }
            kept.sheets.clone()
        };
        let sheets = Arc::new(known.renewed(snapshot));
        self.lock().sheets = sheets.clone();
        sheets
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        // Every change is complete before the lock is released, also in a panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn forget(written: Arc<Written>) {
    loop {
        tokio::time::sleep(KEPT_FOR).await;
        let mut kept = written.lock();
        if kept.used.is_none_or(|used| used.elapsed() >= KEPT_FOR) {
            *kept = Kept::default();
            return;
        }
    }
}

impl Sheets {
    fn renewed(&self, snapshot: &Snapshot) -> Self {
        let mut known = self.sheets.iter().peekable();
        let (mut bytes, mut blank) = (0, 0);
        let mut sheets = Vec::with_capacity(snapshot.agents.len());
        for (id, agent) in giving_way(&snapshot.agents) {
            while known.next_if(|sheet| sheet.id < *id).is_some() {}
            let sheet = known.next_if(|sheet| sheet.id == *id);
            let same = sheet.filter(|sheet| std::ptr::eq(sheet.agent.as_ptr(), Arc::as_ptr(agent)));
            let own = same.map_or_else(Arc::default, |sheet| sheet.own.clone());
            let same = sheet.filter(|sheet| std::ptr::eq(sheet.tasks.as_ptr(), Arc::as_ptr(&agent.tasks)));
            let groups = same.map_or_else(|| groups(&agent.tasks), |sheet| sheet.groups.clone());
            bytes += own.agent.len() + own.executors.len();
            bytes += groups.iter().map(|group| group.tasks.len()).sum::<usize>();
            blank += groups.iter().filter(|group| group.tasks.get().is_none()).count();
            sheets.push(Sheet {
                id: id.clone(),
                agent: Arc::downgrade(agent),
                tasks: Arc::downgrade(&agent.tasks),
                own,
                groups,
            });
        }
        Self { sheets, bytes: bytes.into(), blank }
    }

    /// Does `read`. If nearly nothing was written before, a second thread fills sheets with `fill` meanwhile,
    /// the last ones first, so that whoever comes from the front finds the rest done.
    pub(crate) fn ahead<T>(
        &self,
        fill: impl Fn(&Agent, &Sheet, &mut Pen<'_>) + Sync,
        read: impl FnOnce() -> T,
    ) -> T {
        if self.blank < AHEAD_MIN {
            return read();
        }
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            // Without it there is one thread, as ever.
            let _ = thread::Builder::new().name("ahead".into()).spawn_scoped(scope, || {
                let mut pen = Pen { sheets: self, buffer: Vec::new(), is_dry: false };
                for sheet in giving_way(self.sheets.iter().rev()) {
                    if over.load(Ordering::Relaxed) || pen.is_dry {
                        return;
                    }
                    if let Some(agent) = sheet.agent.upgrade() {
                        fill(&agent, sheet, &mut pen);
                    }
                }
            });
            let done = read();
            over.store(true, Ordering::Relaxed);
            done
        })
    }

    /// The agents of the snapshot these sheets were lent for, each with its sheet.
    pub(crate) fn agents<'a>(
        &'a self,
        snapshot: &'a Snapshot,
    ) -> impl Iterator<Item = (&'a Agent, &'a Sheet)> {
        giving_way(snapshot.agents.values().map(AsRef::as_ref).zip(&self.sheets))
    }

    /// Keeps what was written, if there is room; whether there was.
    pub(crate) fn keep(&self, slot: &Slot, written: &[u8]) -> bool {
        let before = self.bytes.fetch_add(written.len(), Ordering::Relaxed);
        let has_room = before + written.len() <= KEPT_BYTES_MAX;
        if has_room {
            // Another reader may have been first, with the same.
            slot.0.get_or_init(|| written.into());
        } else {
            self.bytes.fetch_sub(written.len(), Ordering::Relaxed);
        }
        has_room
    }
}

/// What [`Sheets::ahead`] writes with.
pub(crate) struct Pen<'a> {
    sheets: &'a Sheets,
    buffer: Vec<u8>,
    /// There is no room for more.
    is_dry: bool,
}

impl Pen<'_> {
    /// Fills a slot, unless it is full.
    pub(crate) fn fill(&mut self, slot: &Slot, write: impl FnOnce(&mut Vec<u8>)) {
        if slot.get().is_none() {
            self.buffer.clear();
            write(&mut self.buffer);
            self.is_dry |= !self.sheets.keep(slot, &self.buffer);
        }
    }
}

impl Sheet {
    pub(crate) fn own(&self) -> &Own {
        &self.own
    }

    /// In the order of the agent's tasks.
    pub(crate) fn groups(&self) -> &[Group] {
        &self.groups
    }
}

impl Group {
    /// Its tasks, of the agent that it is a group of.
    pub(crate) fn tasks_of<'a>(&self, agent: &'a Agent) -> impl Iterator<Item = &'a Task> {
        let first = (self.framework.clone(), TaskId::from(""));
        agent
            .tasks
            .range(first..)
            .take_while(|((framework, _), _)| *framework == self.framework)
            .map(|(_, task)| task.as_ref())
    }
}

impl Slot {
    /// What is kept here.
    pub(crate) fn get(&self) -> Option<&[u8]> {
        self.0.get().map(AsRef::as_ref)
    }

    fn len(&self) -> usize {
        self.get().map_or(0, <[u8]>::len)
    }
}

/// Tasks come grouped by framework.
fn groups(tasks: &Tasks) -> Arc<[Group]> {
    let mut groups: Vec<Group> = Vec::new();
    for (framework, _) in tasks.keys() {
        if groups.last().is_none_or(|last| last.framework != *framework) {
            groups.push(Group { framework: framework.clone(), tasks: Slot::default() });
        }
    }
    groups.into()
}
