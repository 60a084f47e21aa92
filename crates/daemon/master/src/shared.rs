//! What the parts of the process share.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use mezzo_http::{Response, StatusCode};
use mezzo_ids::Uuid;
use mezzo_master::{Answer, Input, OperatorCall, RequestId, state::Snapshot};
use mezzo_mesos::v1;
use mezzo_time::Timestamp;
use rand_chacha::ChaCha12Rng;
use tokio::sync::{oneshot, watch};

use crate::{
    checks::Counts,
    config::Config,
    inbox::{Inbox, Work},
    links::Links,
    operator_stream::Subscribers,
    process::Process,
    random,
    scheduler_stream::SchedulerStreams,
    timing::Timing,
    written::Written,
};

/// One per process.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) info: v1::MasterInfo,
    pub(crate) started: Timestamp,
    pub(crate) elected: Timestamp,
    pub(crate) process: Process,
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) streams: SchedulerStreams,
    pub(crate) subscribers: Subscribers,
    pub(crate) links: Links,
    /// For GET /state.
    pub(crate) written_v0: Arc<Written>,
    /// For GET_STATE in protobuf, and for its parts.
    pub(crate) written_v1: Arc<Written>,
    requests: Mutex<BTreeMap<RequestId, oneshot::Sender<Answer>>>,
    next_id: AtomicU64,
    random: Mutex<ChaCha12Rng>,
    commits: AtomicU64,
    /// Batches of effects that the performing thread has been given and has not finished.
    pub(crate) performing: AtomicUsize,
    /// Of the core's steps that ran the allocator.
    pub(crate) allocations: Timing,
    /// From when the allocator was due to when it ran.
    pub(crate) allocation_delays: Timing,
    /// Of the judge of allocations.
    pub(crate) checks: Arc<Counts>,
    /// Of commits to the registry.
    pub(crate) stores: Timing,
    /// Of reading the registry at the start.
    pub(crate) fetch: Duration,
    exit: watch::Sender<Option<String>>,
}

impl Shared {
    pub(crate) fn new(
        config: Config,
        info: v1::MasterInfo,
        started: Timestamp,
        elected: Timestamp,
        fetch: Duration,
        random: ChaCha12Rng,
    ) -> Self {
        let inbox = Arc::new(Inbox::new());
        Self {
            subscribers: Subscribers::new(config.operator_subscribers_max, crate::AGENT_URL_PATH.to_owned()),
            links: Links::new(inbox.clone()),
            process: Process::new(&config),
            config,
            info,
            started,
            elected,
            inbox,
            streams: SchedulerStreams::default(),
            written_v0: Arc::default(),
            written_v1: Arc::default(),
            requests: Mutex::default(),
            next_id: AtomicU64::new(1),
            random: Mutex::new(random),
            commits: AtomicU64::new(0),
            performing: AtomicUsize::new(0),
            allocations: Timing::default(),
            allocation_delays: Timing::default(),
            checks: Arc::default(),
            stores: Timing::default(),
            fetch,
            exit: watch::Sender::new(None),
        }
    }

    /// A number that no other stream, link or request has.
    pub(crate) fn mint(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// A random UUID.
    pub(crate) fn random_uuid(&self) -> Uuid {
        random::uuid(&mut *self.random.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Asks the core and waits for its answer. `bytes` is what the question holds.
    pub(crate) async fn ask(&self, bytes: usize, input: impl FnOnce(RequestId) -> Input) -> Response {
        let request = RequestId(self.mint());
        let (sender, receiver) = oneshot::channel();
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).insert(request, sender);
        self.inbox.push(Work::Step(input(request)), bytes).await;
        match receiver.await {
            Ok(answer) => respond(answer),
            Err(_) => stopping(),
        }
    }

    /// Asks the core for a change.
    pub(crate) async fn change(&self, bytes: usize, call: OperatorCall) -> Response {
        self.ask(bytes, |request| Input::Operator { request, call, principal: None }).await
    }

    /// A snapshot to read from.
    pub(crate) async fn snapshot(&self) -> Result<Snapshot, Response> {
        self.inbox.snapshot().await.ok_or_else(stopping)
    }

    /// Delivers an answer; a client that went away needs none.
    pub(crate) fn answer(&self, request: RequestId, answer: Answer) {
        let waiting = self.requests.lock().unwrap_or_else(PoisonError::into_inner).remove(&request);
        if let Some(sender) = waiting {
            let _ = sender.send(answer);
        }
    }

    /// Answers everybody who still waits that the process ends.
    pub(crate) fn refuse_waiting(&self) {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Ends the process with this reason.
    pub(crate) fn exit(&self, why: String) {
        self.exit.send_replace(Some(why));
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

    /// A commit of the registry took this long.
    pub(crate) fn count_commit(&self, took: Duration) {
        self.stores.record(took);
        self.commits.fetch_add(1, Ordering::Relaxed);
    }

    /// Commits of the registry.
    pub(crate) fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }
}

pub(crate) fn stopping() -> Response {
    Response::text(StatusCode::SERVICE_UNAVAILABLE, "The master is stopping")
}

/// Mesos' text of a status that is answered without a reason: `404 Not Found.`
pub(crate) fn plain(status: StatusCode) -> Response {
    let reason = status.canonical_reason().unwrap_or_default();
    Response::text(status, format!("{} {reason}.", status.as_u16()))
}

fn respond(answer: Answer) -> Response {
    let (status, text) = match answer {
        Answer::Ok => return Response::new(StatusCode::OK, mezzo_http::Body::Empty),
        Answer::Accepted => return Response::new(StatusCode::ACCEPTED, mezzo_http::Body::Empty),
        Answer::BadRequest(text) => (StatusCode::BAD_REQUEST, text),
        Answer::Forbidden(text) => (StatusCode::FORBIDDEN, text),
        Answer::NotFound(text) => (StatusCode::NOT_FOUND, text),
        Answer::Conflict(text) => (StatusCode::CONFLICT, text),
        Answer::NotImplemented(text) => (StatusCode::NOT_IMPLEMENTED, text),
        Answer::Unavailable(text) => (StatusCode::SERVICE_UNAVAILABLE, text),
    };
    if text.is_empty() { plain(status) } else { Response::text(status, text) }
}

/// Ends the process when the thread that holds it panics: half a master is worse than none.
pub(crate) struct ExitOnPanic(pub(crate) Arc<Shared>);

impl Drop for ExitOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.exit("an invariant of the master broke; see the log".into());
            self.0.refuse_waiting();
        }
    }
}
