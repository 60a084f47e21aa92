//! What the threads and the handlers of requests share.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
};

use mezzo_marathon_api::Settings;
use mezzo_mesos::v1;
use mezzo_services::{Answer, Input, Request, RequestId, Snapshot};
use mezzo_time::Timestamp;
use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    api::settings, config::Config, events::Hub, inbox::Inbox, metrics::Meter, probes::Prober, secrets::Key,
    shown::Shown,
};

/// Calls to the master that wait for those before them. The performing thread waits beyond it.
pub(crate) const CALLS_WAITING_MAX: usize = 4_096;
/// Changes whose answers are waited for at once; more are refused. Each holds a tree of its own making.
const CHANGES_WAITING_MAX: usize = 512;

/// The state of the process that is not the core's.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: Config,
    /// What documents are read against.
    pub(crate) settings: Settings,
    /// Where we listen.
    pub(crate) address: SocketAddr,
    pub(crate) started: Timestamp,
    pub(crate) inbox: Inbox,
    pub(crate) hub: Arc<Hub>,
    pub(crate) prober: Prober,
    /// Opens secrets.
    pub(crate) key: Key,
    /// In the order of the effects.
    pub(crate) calls: mpsc::Sender<Box<v1::scheduler::Call>>,
    snapshot: Mutex<Arc<Shown>>,
    answers: Mutex<BTreeMap<RequestId, oneshot::Sender<Answer>>>,
    next_request: AtomicU64,
    /// Held by the change that is being made.
    pub(crate) changes: tokio::sync::Mutex<()>,
    /// The master we are subscribed with.
    pub(crate) master: Mutex<Option<v1::MasterInfo>>,
    /// The store does not take records at the moment.
    pub(crate) stalled: AtomicBool,
    pub(crate) meter: Meter,
    /// Requests that are being answered.
    pub(crate) requests: AtomicUsize,
    exit: watch::Sender<Option<String>>,
}

/// Why a change has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoAnswer {
    /// It took too long; what becomes of it is not known.
    Timeout,
    /// It was not even tried: the store takes nothing, or too many wait.
    Busy,
    /// The process stops.
    Stopping,
}

impl Shared {
    pub(crate) fn new(
        config: Config,
        address: SocketAddr,
        started: Timestamp,
        snapshot: Snapshot,
        key: Key,
        calls: mpsc::Sender<Box<v1::scheduler::Call>>,
    ) -> Self {
        Self {
            hub: Arc::new(Hub::new(config.events_outstanding_max)),
            prober: Prober::new(config.hosts.clone()),
            settings: settings(&config),
            config,
            address,
            started,
            key,
            inbox: Inbox::new(),
            calls,
            snapshot: Mutex::new(Arc::new(Shown(snapshot))),
            answers: Mutex::default(),
            next_request: AtomicU64::new(0),
            changes: tokio::sync::Mutex::new(()),
            master: Mutex::default(),
            stalled: AtomicBool::new(false),
            meter: Meter::default(),
            requests: AtomicUsize::new(0),
            exit: watch::Sender::new(None),
        }
    }

    /// What everybody may see: nothing in it can be taken back by a crash.
    pub(crate) fn snapshot(&self) -> Arc<Shown> {
        self.snapshot.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn show(&self, snapshot: Snapshot) {
        *self.snapshot.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(Shown(snapshot));
    }

    fn answers(&self) -> MutexGuard<'_, BTreeMap<RequestId, oneshot::Sender<Answer>>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the core for a change and waits for its answer.
    pub(crate) async fn ask(&self, request: Request) -> Result<Answer, NoAnswer> {
        // A change that is refused here has not happened; one that times out below may happen later.
        if self.stalled.load(Ordering::Relaxed) {
            return Err(NoAnswer::Busy);
        }
        let id = RequestId(self.next_request.fetch_add(1, Ordering::Relaxed));
        let (sender, receiver) = oneshot::channel();
        {
            let mut answers = self.answers();
            if answers.len() >= CHANGES_WAITING_MAX {
                return Err(NoAnswer::Busy);
            }
            answers.insert(id, sender);
        }
        let _forget = Forget { shared: self, id };
        self.inbox.push(Input::Request(id, request)).await;
        match tokio::time::timeout(self.config.request_timeout, receiver).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(NoAnswer::Stopping),
            Err(_) => Err(NoAnswer::Timeout),
        }
    }

    /// Gives a client its answer; one that went away needs none.
    pub(crate) fn answer(&self, id: RequestId, answer: Answer) {
        if let Some(sender) = self.answers().remove(&id) {
            let _ = sender.send(answer);
        }
    }

    /// Nobody gets an answer any more.
    pub(crate) fn refuse_waiting(&self) {
        self.answers().clear();
    }

    /// Ends the process with this reason.
    pub(crate) fn exit(&self, why: String) {
        self.exit.send_replace(Some(why));
    }

    /// A metric's name with `metrics_name_prefix` in place of Marathon's own.
    pub(crate) fn renamed(&self, name: &'static str) -> Cow<'static, str> {
        match name.strip_prefix("marathon.") {
            Some(rest) if self.config.metrics_prefix != "marathon" => {
                format!("{}.{rest}", self.config.metrics_prefix).into()
            }
            _ => name.into(),
        }
    }

    /// Whether the process is about to end.
    pub(crate) fn is_exiting(&self) -> bool {
        self.exit.borrow().is_some()
    }

    /// Resolves when the process must end.
    pub(crate) fn exited(&self) -> impl Future<Output = String> + Send + use<> {
        let mut exit = self.exit.subscribe();
        async move {
            loop {
                if let Some(why) = exit.borrow_and_update().clone() {
                    return why;
                }
                if exit.changed().await.is_err() {
                    return std::future::pending().await;
                }
            }
        }
    }
}

/// Forgets a request that nobody waits for any more.
struct Forget<'a> {
    shared: &'a Shared,
    id: RequestId,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.shared.answers().remove(&self.id);
    }
}

/// Ends the process when the thread that holds it panics: half a daemon is worse than none.
pub(crate) struct ExitOnPanic(pub(crate) Arc<Shared>);

impl Drop for ExitOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.exit("an invariant of the services broke; see the log".into());
            self.0.refuse_waiting();
        }
    }
}
