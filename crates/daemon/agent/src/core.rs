//! The thread that owns the agent's core: choose inputs, step, hand the effects on in order.

use std::{
    sync::{
        Arc,
        atomic::{AtomicIsize, Ordering},
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use mezzo_agent::{Agent, Effect, Input, Snapshot};
use mezzo_clock::now;
use prost::Message;
use rand_chacha::ChaCha12Rng;
use rand_core::SeedableRng;
use tokio::sync::oneshot;

use crate::perform::Batch;

/// Inputs that may wait for the core. Who sends more waits, or is answered 503: an HTTP request has
/// at most one input on its way, so this is more than connections can bring.
const INPUTS_MAX: isize = 32_768;
/// How long those wait who find no room; the core takes thousands of inputs in this time.
const FULL_PAUSE: Duration = Duration::from_millis(5);
/// Inputs stepped before their effects are handed on together, so that one disk write serves many.
const BATCH_MAX: usize = 512;

/// What wakes the core's thread.
#[derive(Debug)]
enum Wake {
    Input(Input),
    Snapshot(oneshot::Sender<Snapshot>),
    Compact,
    Stop,
}

/// Sends to the core. Cheap to clone.
///
/// The bound is a count beside an unbounded channel: a bounded one holds room for everything from the
/// start, which is megabytes in an agent that idles.
#[derive(Clone, Debug)]
pub(crate) struct Core {
    sender: Sender<Wake>,
    waiting: Arc<AtomicIsize>,
}

/// The core takes nothing more: it has stopped, or is far behind.
#[derive(Debug)]
pub(crate) struct Busy;

impl Core {
    /// Sends an input, waiting for room. For threads that may block.
    pub(crate) fn send(&self, input: Input) {
        while self.is_full() {
            thread::sleep(FULL_PAUSE);
        }
        self.put(Wake::Input(input));
    }

    /// Sends an input unless the core is far behind.
    pub(crate) fn try_send(&self, input: Input) -> Result<(), Busy> {
        self.try_wake(Wake::Input(input))
    }

    /// Sends an input, waiting for room without blocking the thread.
    pub(crate) async fn deliver(&self, input: Input) {
        while self.is_full() {
            tokio::time::sleep(FULL_PAUSE).await;
        }
        self.put(Wake::Input(input));
    }

    /// The state as of now.
    pub(crate) async fn snapshot(&self) -> Result<Snapshot, Busy> {
        let (sender, receiver) = oneshot::channel();
        self.try_wake(Wake::Snapshot(sender))?;
        receiver.await.map_err(|_| Busy)
    }

    /// Asks for the whole state as records, behind all effects so far. Waits for room: the core never
    /// waits for the thread that asks.
    pub(crate) fn compact(&self) {
        let _ = self.sender.send(Wake::Compact);
    }

    /// Stops the thread after what has been sent before.
    pub(crate) fn stop(&self) {
        self.put(Wake::Stop);
    }

    fn try_wake(&self, wake: Wake) -> Result<(), Busy> {
        if !self.is_full() && self.put(wake) { Ok(()) } else { Err(Busy) }
    }

    /// As many senders as there are threads and connections may pass this at the same time and go over
    /// the bound by one each.
    fn is_full(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) >= INPUTS_MAX
    }

    /// False when the core has stopped: then nothing matters to anybody any more.
    fn put(&self, wake: Wake) -> bool {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let sent = self.sender.send(wake).is_ok();
        if !sent {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
        }
        sent
    }
}

/// The receiving end, until the thread starts.
pub(crate) struct Inbox {
    receiver: Receiver<Wake>,
    waiting: Arc<AtomicIsize>,
}

impl Inbox {
    fn taken(&self, wake: Wake) -> Wake {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        wake
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        // Nobody takes anything any more, so nobody has to wait for room. Who is just failing to send may
        // take the count below zero, which is as good.
        self.waiting.store(0, Ordering::Relaxed);
    }
}

/// A queue to a core that does not run yet.
pub(crate) fn queue() -> (Core, Inbox) {
    let (sender, receiver) = channel();
    let waiting = Arc::new(AtomicIsize::new(0));
    (Core { sender, waiting: waiting.clone() }, Inbox { receiver, waiting })
}

/// Starts the thread. `first` are the effects of recovery, to be performed before all others.
pub(crate) fn spawn(
    mut agent: Agent,
    inbox: Inbox,
    first: Vec<Effect>,
    mut rng: ChaCha12Rng,
    effects: std::sync::mpsc::Sender<Batch>,
) -> std::io::Result<JoinHandle<()>> {
    thread::Builder::new().name("core".into()).spawn(move || {
        let mut batch = first;
        loop {
            if !batch.is_empty() && effects.send(Batch::Effects(std::mem::take(&mut batch))).is_err() {
                return;
            }
            let wait = agent.next_deadline().map(|at| at.since(now()));
            let mut next = match wait {
                Some(wait) => match inbox.receiver.recv_timeout(wait) {
                    Ok(wake) => Some(inbox.taken(wake)),
                    Err(RecvTimeoutError::Timeout) => None,
                    Err(RecvTimeoutError::Disconnected) => return,
                },
                None => match inbox.receiver.recv() {
                    Ok(wake) => Some(inbox.taken(wake)),
                    Err(_) => return,
                },
            };
            if next.is_none() {
                batch.extend(agent.step(now(), &mut rng, Input::Timer));
            }
            let mut taken = 0;
            while let Some(wake) = next.take() {
                match wake {
                    Wake::Input(input) => batch.extend(agent.step(now(), &mut rng, input)),
                    Wake::Snapshot(reader) => drop(reader.send(agent.snapshot())),
                    Wake::Compact => {
                        let records = agent.records().iter().map(Message::encode_to_vec).collect();
                        let effects_so_far = Batch::Effects(std::mem::take(&mut batch));
                        let sent =
                            effects.send(effects_so_far).and_then(|()| effects.send(Batch::Compact(records)));
                        if sent.is_err() {
                            return;
                        }
                    }
                    Wake::Stop => {
                        let _ = effects.send(Batch::Effects(batch));
                        let _ = effects.send(Batch::Stop);
                        return;
                    }
                }
                taken += 1;
                if taken < BATCH_MAX {
                    next = inbox.receiver.try_recv().ok().map(|wake| inbox.taken(wake));
                }
            }
        }
    })
}

/// A random source of its own for every run.
pub(crate) fn random() -> std::io::Result<ChaCha12Rng> {
    let mut seed = [0; 32];
    let mut file = std::fs::File::open("/dev/urandom")?;
    std::io::Read::read_exact(&mut file, &mut seed)?;
    Ok(ChaCha12Rng::from_seed(seed))
}
