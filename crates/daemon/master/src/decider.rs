//! The thread that decides: takes inputs, steps the core, hands effects on.

use std::{
    sync::{Arc, atomic::Ordering, mpsc::SyncSender},
    thread,
    time::{Duration, Instant},
};

use mezzo_clock::now;
use mezzo_master::{Effect, Input, Master, state::Snapshot};
use mezzo_time::Timestamp;
use rand_core::Rng;
use tokio::sync::oneshot;

use crate::{
    checks::Witness,
    inbox::Work,
    inquiries::Inquiries,
    operator_stream::NewSubscriber,
    performer,
    shared::{ExitOnPanic, Shared},
};

/// Inputs whose effects travel together. Small, so that the first effects of a long queue leave while
/// the rest is still being decided.
const BATCH_MAX: usize = 64;

/// Effects that are performed by the deciding thread itself, when nothing is in line before them and
/// nothing has to be made durable: for a few, waking the other thread takes longer.
const HERE_MAX: usize = 64;

/// What the performing thread gets, in order.
#[derive(Debug)]
pub(crate) enum Out {
    /// As the core returned it.
    Effect(Effect),
    /// For a reader.
    Snapshot(oneshot::Sender<Snapshot>, Snapshot),
    /// For an operator who subscribes; every `Publish` behind it goes there too.
    Watch(NewSubscriber, Snapshot),
    /// Everything before it has been decided.
    Stop,
}

/// Starts the thread; it ends after [`Work::Stop`].
pub(crate) fn spawn(
    mut master: Master,
    mut rng: impl Rng + Send + 'static,
    shared: Arc<Shared>,
    out: SyncSender<Vec<Out>>,
    witness: Option<Witness>,
    runtime: tokio::runtime::Handle,
) -> std::io::Result<thread::JoinHandle<()>> {
    thread::Builder::new().name("decide".into()).spawn(move || {
        let _exit = ExitOnPanic(shared.clone());
        // Lets effects spawn heartbeats.
        let _guard = runtime.enter();
        let inbox = &shared.inbox;
        let mut work = Vec::new();
        let mut effects: Vec<Out> = Vec::new();
        let mut inquiries = Inquiries::default();
        loop {
            let deadline = master.next_deadline();
            inbox.take(inquiries.wait_until(deadline.map(instant)), &mut work);
            let is_idle = work.is_empty();
            let mut stop = false;
            // Everybody whose subscription is in the batch is counted already.
            master.set_watched(shared.subscribers.watched());
            for (count, work) in work.drain(..).enumerate() {
                match work {
                    Work::Step(input) => {
                        let (begun, runs, now) = (Instant::now(), master.allocation_runs(), now());
                        effects.extend(master.step(now, &mut rng, input).into_iter().map(Out::Effect));
                        if master.allocation_runs() > runs {
                            shared.allocations.record(begun.elapsed());
                            shared.allocation_delays.record(Duration::ZERO);
                        }
                        if let Some(witness) = &witness {
                            witness.look(&mut master, now);
                        }
                    }
                    Work::Read(reader) => effects.push(Out::Snapshot(reader, master.snapshot())),
                    Work::Why(framework, asker) => inquiries.ask(&master, &framework, asker),
                    Work::Watch(subscriber) => effects.push(Out::Watch(subscriber, master.snapshot())),
                    Work::Stop => {
                        stop = true;
                        break;
                    }
                }
                if count % BATCH_MAX == BATCH_MAX - 1 && !hand_on(&shared, &out, &mut effects) {
                    return;
                }
            }
            let now = now();
            if let Some(due) = master.next_deadline().filter(|due| *due <= now) {
                let (begun, runs) = (Instant::now(), master.allocation_runs());
                effects.extend(master.step(now, &mut rng, Input::Timer).into_iter().map(Out::Effect));
                if master.allocation_runs() > runs {
                    shared.allocations.record(begun.elapsed());
                    // Work of no known time is due at zero, which is at once.
                    let due = if due == Timestamp::ZERO { now } else { due };
                    shared.allocation_delays.record(now.since(due));
                }
                if let Some(witness) = &witness {
                    witness.look(&mut master, now);
                }
            }
            if stop {
                effects.push(Out::Stop);
            }
            if !hand_on(&shared, &out, &mut effects) || stop {
                return;
            }
            inquiries.go_on(&master, is_idle);
        }
    })
}

/// Has the effects performed behind all earlier ones; false when the process ends.
fn hand_on(shared: &Shared, out: &SyncSender<Vec<Out>>, effects: &mut Vec<Out>) -> bool {
    if effects.is_empty() {
        return true;
    }
    let here = effects.len() <= HERE_MAX
        && shared.performing.load(Ordering::Acquire) == 0
        && !effects.iter().any(performer::needs_performer);
    if here {
        let goes_on = effects.drain(..).all(|out| performer::deliver(shared, out));
        performer::send_queued(shared);
        return goes_on;
    }
    shared.performing.fetch_add(1, Ordering::Relaxed);
    out.send(std::mem::take(effects)).is_ok()
}

fn instant(deadline: Timestamp) -> Instant {
    // Far deadlines are looked at again: time may be steered meanwhile.
    let left = deadline.since(now()).min(Duration::from_secs(60));
    Instant::now() + left
}
