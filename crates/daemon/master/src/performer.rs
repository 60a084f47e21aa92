//! The thread that performs effects: makes records durable, then tells what they promise.
//!
//! All `Persist` effects that are waiting go into one commit. Nothing behind the first of them leaves
//! before the commit, so the order of the core's effects is kept over all steps; committing a later
//! record early is harmless, because it only makes more durable than has been told.

use std::{
    sync::{Arc, atomic::Ordering, mpsc::Receiver},
    thread,
    time::Instant,
};

use mezzo_master::Effect;
use mezzo_mesos::v1::master::Event;
use mezzo_store::Registry;
use tracing::{error, info};

use crate::{
    decider::Out,
    registry,
    shared::{ExitOnPanic, Shared},
};

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
        let _exit = ExitOnPanic(shared.clone());
        // Lets effects spawn heartbeats.
        let _guard = runtime.enter();
        while let Ok(mut waiting) = effects.recv() {
            let mut batches = 1;
            while waiting.len() <= COMMIT_EFFECTS_MAX
                && let Ok(batch) = effects.try_recv()
            {
                waiting.extend(batch);
                batches += 1;
            }
            let goes_on = perform(&mut *store, &shared, waiting);
            send_queued(&shared);
            // What the deciding thread performs itself from here on comes behind all of this.
            shared.performing.fetch_sub(batches, Ordering::Release);
            if !goes_on {
                break;
            }
        }
        shared.refuse_waiting();
    })
}

/// Whether only this thread can perform it.
pub(crate) fn needs_performer(out: &Out) -> bool {
    matches!(out, Out::Effect(Effect::Persist(_)) | Out::Stop)
}

/// Performs all; false when the process ends.
fn perform(store: &mut dyn Registry, shared: &Shared, effects: Vec<Out>) -> bool {
    let mut committed = false;
    let mut effects = effects.into_iter();
    while let Some(out) = effects.next() {
        match out {
            Out::Effect(Effect::Persist(record)) if !committed => {
                let rest = effects.as_slice().iter().filter_map(|out| match out {
                    Out::Effect(Effect::Persist(record)) => Some(&**record),
                    _ => None,
                });
                let changes: Vec<_> =
                    std::iter::once(&*record).chain(rest).filter_map(registry::change).collect();
                let begun = Instant::now();
                if let Err(error) = store.apply(&changes) {
                    let source = std::error::Error::source(&error).map(ToString::to_string);
                    error!(%error, source, "the registry cannot be written, so the master stops");
                    shared.exit(format!("Failed to write the registry: {error}"));
                    return false;
                }
                shared.count_commit(begun.elapsed());
                committed = true;
            }
            out => {
                if !deliver(shared, out) {
                    return false;
                }
            }
        }
    }
    true
}

/// Performs what needs no record, or has it; false when the process ends. Needs a runtime.
pub(crate) fn deliver(shared: &Shared, out: Out) -> bool {
    match out {
        Out::Effect(Effect::Persist(_)) => {}
        Out::Effect(Effect::Event { stream, event }) => shared.streams.send(stream, &event),
        Out::Effect(Effect::CloseStream(stream)) => shared.streams.finish(stream),
        Out::Effect(Effect::StartHeartbeat(stream)) => shared.streams.start_heartbeat(stream),
        Out::Effect(Effect::ToAgent { link, message }) => shared.links.send(link, *message),
        Out::Effect(Effect::CloseLink(link)) => shared.links.close(link),
        Out::Effect(Effect::Answer { request, answer }) => shared.answer(request, answer),
        Out::Effect(Effect::Publish(event)) => {
            log(&event);
            shared.subscribers.publish(&event);
        }
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
    true
}

/// What was queued for the same reader leaves together.
pub(crate) fn send_queued(shared: &Shared) {
    shared.streams.wake();
    shared.links.flush();
}

/// Who comes and goes is what operators look for in a log; tasks are too many for it.
fn log(event: &Event) {
    if let Some(agent) = event.agent_added.as_ref().map(|added| &added.agent.agent_info) {
        let id = agent.id.as_ref().map_or("", |id| &id.value);
        info!(id, hostname = agent.hostname, "agent added");
    } else if let Some(removed) = &event.agent_removed {
        info!(id = removed.agent_id.value, "agent removed");
    } else if let Some(framework) =
        event.framework_added.as_ref().map(|added| &added.framework.framework_info)
    {
        let id = framework.id.as_ref().map_or("", |id| &id.value);
        info!(id, name = framework.name, "framework added");
    } else if let Some(framework) = event.framework_removed.as_ref().map(|removed| &removed.framework_info) {
        let id = framework.id.as_ref().map_or("", |id| &id.value);
        info!(id, name = framework.name, "framework removed");
    }
}
