//! The thread that performs effects: makes records durable, then tells what they promise.
//!
//! All `Persist` effects that are waiting go into one commit. Nothing behind the first of them leaves
//! before the commit, so the order of the core's effects is kept over all steps; committing a later
//! record early is harmless, because it only makes more durable than has been told.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, TryRecvError},
    },
    thread,
};

use mezzo_master::Effect;
use mezzo_store::Registry;
use tracing::error;

use crate::{decider::Out, registry, shared::Shared};

/// Effects that one commit may cover; more only delays the first of them.
const COMMIT_EFFECTS_MAX: usize = 50_000;

/// Starts the thread; it ends after [`Out::Stop`].
pub(crate) fn spawn(
    mut store: Box<dyn Registry>,
    shared: Arc<Shared>,
    effects: Receiver<Vec<Out>>,
    runtime: tokio::runtime::Handle,
) -> std::io::Result<thread::JoinHandle<()>> {
    thread::Builder::new().name("perform".into()).spawn(move || {
        // Lets effects spawn heartbeats.
        let _guard = runtime.enter();
        let mut waiting = Vec::new();
        while let Ok(batch) = effects.recv() {
            waiting.extend(batch);
            loop {
                match effects.try_recv() {
                    Ok(batch) => waiting.extend(batch),
                    Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
                }
                if waiting.len() > COMMIT_EFFECTS_MAX {
                    break;
                }
            }
            if !perform(&mut *store, &shared, waiting.drain(..)) {
                return;
            }
        }
    })
}

/// Performs all; false when the process ends.
fn perform(store: &mut dyn Registry, shared: &Shared, effects: impl Iterator<Item = Out>) -> bool {
    let mut committed = false;
    let mut effects = effects.collect::<Vec<_>>().into_iter();
    while let Some(out) = effects.next() {
        match out {
            Out::Effect(Effect::Persist(record)) if !committed => {
                let rest = effects.as_slice().iter().filter_map(|out| match out {
                    Out::Effect(Effect::Persist(record)) => Some(&**record),
                    _ => None,
                });
                let changes: Vec<_> =
                    std::iter::once(&*record).chain(rest).filter_map(registry::change).collect();
                if let Err(error) = store.apply(&changes) {
                    let source = std::error::Error::source(&error).map(ToString::to_string);
                    error!(%error, source, "the registry cannot be written, so the master stops");
                    shared.exit(format!("Failed to write the registry: {error}"));
                    return false;
                }
                shared.count_commit();
                committed = true;
            }
            Out::Effect(Effect::Persist(_)) => {}
            Out::Effect(Effect::Event { stream, event }) => shared.streams.send(stream, &event),
            Out::Effect(Effect::CloseStream(stream)) => shared.streams.finish(stream),
            Out::Effect(Effect::StartHeartbeat(stream)) => shared.streams.start_heartbeat(stream),
            Out::Effect(Effect::ToAgent { link, message }) => shared.links.send(link, *message),
            Out::Effect(Effect::CloseLink(link)) => shared.links.close(link),
            Out::Effect(Effect::Answer { request, answer }) => shared.answer(request, answer),
            Out::Effect(Effect::Publish(event)) => shared.subscribers.publish(&event),
            Out::Effect(Effect::Exit(why)) => {
                error!(why, "the master cannot go on");
                shared.exit(why);
                return false;
            }
            Out::Snapshot(reader, snapshot) => {
                // A reader that went away needs no answer.
                let _ = reader.send(snapshot);
            }
            Out::Watch(subscriber, snapshot) => shared.subscribers.add(subscriber, snapshot),
            Out::Stop => return false,
        }
    }
    true
}
