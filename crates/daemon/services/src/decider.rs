//! The thread that decides: takes inputs, steps the core, hands effects on.

use std::{
    sync::{Arc, mpsc::SyncSender},
    thread,
    time::{Duration, Instant},
};

use mezzo_clock::now;
use mezzo_services::{Effect, Input, Services, Snapshot};
use mezzo_time::Timestamp;
use rand_core::Rng;

use crate::{
    inbox::Work,
    shared::{ExitOnPanic, Shared},
};

/// Inputs whose effects travel together, so that the first leave while the rest is being decided.
const BATCH_MAX: usize = 256;

/// What the performing thread gets, in order.
#[derive(Debug)]
pub(crate) struct Batch {
    /// As the core returned them.
    pub(crate) effects: Vec<Effect>,
    /// How everything is after them.
    pub(crate) snapshot: Snapshot,
    /// Nothing comes behind it.
    pub(crate) is_last: bool,
}

/// Starts the thread; it ends after [`Work::Stop`].
pub(crate) fn spawn(
    mut services: Services,
    mut rng: impl Rng + Send + 'static,
    shared: Arc<Shared>,
    out: SyncSender<Batch>,
    mut effects: Vec<Effect>,
) -> std::io::Result<thread::JoinHandle<()>> {
    thread::Builder::new().name("decide".into()).spawn(move || {
        let _exit = ExitOnPanic(shared.clone());
        let mut work = Vec::new();
        loop {
            let mut is_last = false;
            shared.inbox.take(services.next_deadline().map(instant), &mut work);
            for (count, work) in work.drain(..).enumerate() {
                match work {
                    Work::Step(input) => effects.extend(services.step(now(), &mut rng, *input)),
                    Work::Stop => {
                        is_last = true;
                        break;
                    }
                }
                if count % BATCH_MAX == BATCH_MAX - 1 && !hand_on(&services, &out, &mut effects, false) {
                    return;
                }
            }
            let now = now();
            if services.next_deadline().is_some_and(|due| due <= now) {
                effects.extend(services.step(now, &mut rng, Input::Timer));
            }
            if !hand_on(&services, &out, &mut effects, is_last) || is_last {
                return;
            }
        }
    })
}

/// Has the effects performed behind all earlier ones; false when the process ends.
fn hand_on(services: &Services, out: &SyncSender<Batch>, effects: &mut Vec<Effect>, is_last: bool) -> bool {
    let batch = Batch { effects: std::mem::take(effects), snapshot: services.snapshot(), is_last };
    out.send(batch).is_ok()
}

/// When that is on the clock that waits are measured with.
fn instant(deadline: Timestamp) -> Instant {
    /// Looking again after so long costs nothing.
    const WAIT_MAX: Duration = Duration::from_secs(3_600);
    Instant::now() + deadline.since(now()).min(WAIT_MAX)
}
