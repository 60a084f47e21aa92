//! The thread that performs effects: makes records durable, then does what stands behind them.
//!
//! All records that are waiting go into one commit, and nothing is shown, said or answered before it: a later record may
//! become durable early, which takes nothing back. A store that does not take the commit is tried again, with everything
//! waiting behind it; meanwhile changes are refused at the door.

use std::{
    path::PathBuf,
    sync::{Arc, atomic::Ordering, mpsc::Receiver},
    thread,
    time::Duration,
};

use mezzo_services::Effect;
use mezzo_store::{Change, EmbeddedRegistry, Registry, RegistryError};
use tracing::{error, info};

use crate::{
    decider::Batch,
    records::Books,
    shared::{ExitOnPanic, Shared},
};

/// Effects that one commit may cover; more only delays the first of them.
const COMMIT_EFFECTS_MAX: usize = 50_000;
/// Between attempts to write: a full disk is not emptied faster.
const RETRY: Duration = Duration::from_secs(1);

/// The records, and where they lie.
pub(crate) struct Store {
    /// None after a failed write: the file has to be opened again.
    pub(crate) registry: Option<EmbeddedRegistry>,
    pub(crate) path: PathBuf,
    pub(crate) books: Books,
}

/// Starts the thread; it ends after the last batch.
pub(crate) fn spawn(
    mut store: Store,
    shared: Arc<Shared>,
    batches: Receiver<Batch>,
    runtime: tokio::runtime::Handle,
) -> std::io::Result<thread::JoinHandle<()>> {
    thread::Builder::new().name("perform".into()).spawn(move || {
        let _exit = ExitOnPanic(shared.clone());
        // Probes and calls are spawned from here.
        let _guard = runtime.enter();
        while let Ok(Batch { mut effects, mut snapshot, mut is_last }) = batches.recv() {
            while effects.len() <= COMMIT_EFFECTS_MAX
                && !is_last
                && let Ok(next) = batches.try_recv()
            {
                effects.extend(next.effects);
                (snapshot, is_last) = (next.snapshot, next.is_last);
            }
            let records = effects.iter().filter_map(|effect| match effect {
                Effect::Persist(records) => Some(records),
                _ => None,
            });
            let changes = store.books.changes(records.flatten());
            if !changes.is_empty() && !commit(&mut store, &shared, &changes) {
                break;
            }
            shared.show(snapshot);
            for effect in effects {
                perform(&shared, effect);
            }
            if is_last {
                break;
            }
        }
        shared.refuse_waiting();
    })
}

/// Makes changes durable, however often that has to be tried; false when the process ends before it works.
fn commit(store: &mut Store, shared: &Shared, changes: &[Change]) -> bool {
    loop {
        let Err(error) = store.apply(changes) else { break };
        if !shared.stalled.swap(true, Ordering::Relaxed) {
            let source = std::error::Error::source(&error).map(ToString::to_string);
            error!(%error, source, "the records cannot be written; changes are refused until they can");
        }
        thread::sleep(RETRY);
        if shared.is_exiting() {
            return false;
        }
    }
    if shared.stalled.swap(false, Ordering::Relaxed) {
        info!("the records are written again");
    }
    true
}

impl Store {
    /// One attempt, with the file opened again when an earlier one failed.
    fn apply(&mut self, changes: &[Change]) -> Result<(), RegistryError> {
        let mut registry = match self.registry.take() {
            Some(registry) => registry,
            None => EmbeddedRegistry::open(&self.path)?,
        };
        registry.apply(changes)?;
        self.registry = Some(registry);
        Ok(())
    }
}

/// Does one thing.
fn perform(shared: &Arc<Shared>, effect: Effect) {
    match effect {
        Effect::Persist(_) => {}
        Effect::Call(call) => {
            // The receiver is gone only while the process stops.
            let _ = shared.calls.blocking_send(call);
        }
        Effect::Answer(request, answer) => shared.answer(request, answer),
        Effect::Publish(event) => shared.hub.publish(&event),
        Effect::Probe(probe) => shared.prober.start(shared, probe),
    }
}
