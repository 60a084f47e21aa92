//! The links to agents: connections that are upgraded to frames, and the sessions that outlive them.

use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
    future::poll_fn,
    io::{ErrorKind, IoSlice},
    mem,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use mezzo_http::{Bytes, Request, Response, StatusCode, Upgrade};
use mezzo_link::{Frames, MasterSession, Outcome, Session, SessionError, SessionId, opening};
use mezzo_master::{Input, LinkId};
use mezzo_protocol::link::{Hello, ToAgent};
use tokio::{
    io::{AsyncRead, ReadBuf},
    net::tcp::{OwnedReadHalf, OwnedWriteHalf},
    time::{Sleep, sleep, timeout},
};
use tracing::{debug, info};

use crate::{
    inbox::{Inbox, Work},
    shared::Shared,
};

/// A broken link may be resumed for this long. As long as the agent is given to answer a ping: longer
/// would only delay the news that it is gone.
const RESUME_WINDOW: Duration = Duration::from_secs(15);
/// What was taken is acknowledged at latest after this, when nothing else goes to the agent.
const ACKNOWLEDGE_AFTER: Duration = Duration::from_secs(1);
/// An agent that takes nothing for this long has to connect again.
const WRITE_STALL: Duration = Duration::from_secs(60);
/// Read from a connection at once, by each thread into one piece of memory: links are many.
const READ_SIZE: usize = 64 << 10;
/// Frames that one system call writes.
const SLICES_MAX: usize = 64;

thread_local! {
    static READ_BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_SIZE].into());
}

/// All sessions with agents.
#[derive(Debug)]
pub(crate) struct Links {
    table: Mutex<Table>,
    /// Links with frames that [`Links::flush`] has to write.
    unflushed: Mutex<Vec<Arc<Link>>>,
    inbox: Arc<Inbox>,
}

#[derive(Debug, Default)]
struct Table {
    links: BTreeMap<LinkId, Arc<Link>>,
    sessions: BTreeMap<SessionId, LinkId>,
}

#[derive(Debug)]
struct Link {
    id: LinkId,
    session: SessionId,
    state: Mutex<State>,
    /// Held by the connection that reads, so that frames of two connections cannot overtake each other.
    reading: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Debug)]
struct State {
    session: MasterSession,
    /// Counts connections; a change ends the task of an earlier one.
    number: u64,
    /// Of the connection, if there is one.
    writer: Option<OwnedWriteHalf>,
    /// Not yet taken by the socket; bounded by the session's window.
    unsent: VecDeque<Bytes>,
    /// Bytes of the first of them that the socket has taken.
    unsent_from: usize,
    /// The socket has no room, so the connection's task waits for some.
    blocked: bool,
    /// The connection ends after what is unsent.
    closing: bool,
    /// The connection's task.
    task: Option<Waker>,
    /// Whether it is among the unflushed.
    queued: bool,
    /// Whether the agent has said anything that is worth resuming.
    spoke: bool,
}

impl State {
    fn new(session: MasterSession) -> Self {
        Self {
            session,
            number: 0,
            writer: None,
            unsent: VecDeque::new(),
            unsent_from: 0,
            blocked: false,
            closing: false,
            task: None,
            queued: false,
            spoke: false,
        }
    }

    /// Begins a connection, with these frames first; gives its number.
    fn connect(&mut self, writer: OwnedWriteHalf, first: impl IntoIterator<Item = Bytes>) -> u64 {
        self.let_go();
        self.writer = Some(writer);
        self.unsent.extend(first);
        self.number
    }

    /// Drops the connection and tells its task.
    fn let_go(&mut self) {
        self.number += 1;
        self.writer = None;
        self.unsent.clear();
        (self.unsent_from, self.blocked, self.closing) = (0, false, false);
        self.wake();
    }

    fn wake(&mut self) {
        if let Some(task) = self.task.take() {
            task.wake();
        }
    }

    /// Queues a frame; without a connection it stays in the session's window, for a resumption.
    fn queue(&mut self, frame: Bytes) {
        if self.writer.is_some() && !self.closing {
            self.unsent.push_back(frame);
        }
    }

    /// Writes what is unsent as far as the socket has room; the rest is left to the connection's task.
    fn flush(&mut self) {
        let Some(writer) = &self.writer else { return };
        while !self.unsent.is_empty() && !self.blocked {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let mut from = self.unsent_from;
            for (slice, frame) in slices.iter_mut().zip(&self.unsent) {
                *slice = IoSlice::new(&frame[mem::take(&mut from)..]);
            }
            let count = self.unsent.len().min(SLICES_MAX);
            match writer.try_write_vectored(&slices[..count]) {
                Ok(written) => {
                    self.unsent_from += written;
                    while let Some(frame) = self.unsent.front()
                        && self.unsent_from >= frame.len()
                    {
                        self.unsent_from -= frame.len();
                        self.unsent.pop_front();
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.blocked = true,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => {
                    // The task finds the connection broken when it reads.
                    self.unsent.clear();
                    self.unsent_from = 0;
                }
            }
        }
        if self.blocked {
            self.wake();
        }
    }

    /// Tells the agent what was taken, if it does not know.
    fn acknowledge(&mut self) {
        if let Some(frame) = self.session.acknowledgement() {
            self.queue(frame);
            self.flush();
        }
    }

    /// Ready when the socket has taken all it was given.
    fn poll_unblocked(&mut self, context: &mut Context<'_>) -> Poll<()> {
        while self.blocked {
            let Some(writer) = &self.writer else { return Poll::Ready(()) };
            // An error shows when it is written to.
            let _ = ready!(writer.as_ref().poll_write_ready(context));
            self.blocked = false;
            self.flush();
        }
        Poll::Ready(())
    }
}

impl Link {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the connection, if there is one, after what has been sent.
    fn disconnect(&self) {
        let mut state = self.lock();
        state.closing = true;
        state.flush();
        state.wake();
    }
}

impl Links {
    pub(crate) fn new(inbox: Arc<Inbox>) -> Self {
        Self { table: Mutex::default(), unflushed: Mutex::default(), inbox }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remove(&self, id: LinkId) -> Option<Arc<Link>> {
        let mut table = self.lock();
        let link = table.links.remove(&id)?;
        table.sessions.remove(&link.session);
        Some(link)
    }

    fn unflushed(&self) -> MutexGuard<'_, Vec<Arc<Link>>> {
        self.unflushed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a message to an agent; it leaves with [`Links::flush`], or when the agent resumes. A session
    /// that cannot take more is lost.
    pub(crate) fn send(&self, id: LinkId, message: ToAgent) {
        let Some(link) = self.lock().links.get(&id).cloned() else { return };
        let mut state = link.lock();
        match state.session.send(message) {
            Ok(frame) => {
                state.queue(frame);
                if !mem::replace(&mut state.queued, true) {
                    drop(state);
                    self.unflushed().push(link);
                }
            }
            Err(error) => {
                drop(state);
                info!(link = id.0, %error, "agent's session is lost");
                self.lose(id);
            }
        }
    }

    /// Writes what was queued: one system call for all that goes to one agent, made here, because waking
    /// another thread for it costs as much.
    pub(crate) fn flush(&self) {
        for link in mem::take(&mut *self.unflushed()) {
            let mut state = link.lock();
            state.queued = false;
            state.flush();
        }
    }

    /// Ends a session after what was sent on it; the core knows.
    pub(crate) fn close(&self, id: LinkId) {
        if let Some(link) = self.remove(id) {
            link.disconnect();
        }
    }

    /// Ends every session without a word: the process stops.
    pub(crate) fn close_all(&self) {
        let links = std::mem::take(&mut *self.lock()).links;
        links.into_values().for_each(|link| link.disconnect());
    }

    /// Ends a session and tells the core.
    fn lose(&self, id: LinkId) {
        if let Some(link) = self.remove(id) {
            link.disconnect();
            self.inbox.push_now(Work::Step(Input::LinkLost(id)));
        }
    }

    /// Sessions by whether they have a connection.
    pub(crate) fn count(&self) -> (usize, usize) {
        let links: Vec<_> = self.lock().links.values().cloned().collect();
        let connected = links.iter().filter(|link| link.lock().writer.is_some()).count();
        (connected, links.len() - connected)
    }
}

/// GET /link with an upgrade.
pub(crate) fn handle(shared: &Arc<Shared>, mut request: Request) -> Response {
    let Some(upgrade) = request.upgrade(mezzo_link::UPGRADE) else {
        return Response::text(StatusCode::UPGRADE_REQUIRED, "Expecting an upgrade to 'mezzo-link'")
            .with(mezzo_http::header::UPGRADE, mezzo_link::UPGRADE);
    };
    let hello = match opening::parse_hello(request.header(mezzo_link::HELLO_HEADER).unwrap_or_default()) {
        Ok(hello) => hello,
        Err(error) => {
            let text = format!("Failed to open the link: {error}");
            return Response::text(StatusCode::BAD_REQUEST, text);
        }
    };
    let response = upgrade.response();
    let (shared, peer) = (shared.clone(), request.peer);
    tokio::spawn(async move {
        match upgrade.connection().await {
            Ok(upgraded) => {
                if let Err(reason) = serve(&shared, &hello, upgraded).await {
                    debug!(%peer, reason, "link connection ended");
                }
            }
            Err(error) => debug!(%peer, %error, "link connection was not upgraded"),
        }
    });
    response
}

/// Opens or resumes a session and moves frames until the connection ends, then waits for the agent to
/// come back.
async fn serve(shared: &Arc<Shared>, hello: &Hello, upgraded: Upgrade) -> Result<(), String> {
    let Upgrade { stream, unsent, early } = upgraded;
    let (reader, writer) = stream.into_split();
    let links = &shared.links;
    let earlier = {
        let table = links.lock();
        let id = opening::session_of(hello).and_then(|session| table.sessions.get(&session));
        id.and_then(|id| table.links.get(id)).cloned()
    };
    let mut turn = None;
    if let Some(link) = &earlier {
        // The agent has given the earlier connection up, so its frames are not waited for; but the
        // one that is being handed over to the core is.
        link.lock().let_go();
        turn = Some(link.reading.clone().lock_owned().await);
    }
    let (link, number) = begin(shared, hello, earlier.as_ref(), writer, unsent).ok_or("resumed nothing")?;
    if earlier.is_some_and(|earlier| Arc::ptr_eq(&earlier, &link)) {
        links.inbox.push(Work::Step(Input::LinkResumed(link.id)), 0).await;
    } else {
        turn = Some(link.reading.clone().lock_owned().await);
    }
    link.lock().flush();
    let frames = Frames::new();
    let mut connection = Connection { link: &link, number, reader, frames, quiet: None, stall: None };
    let ended = connection.serve(shared, &early).await;
    // The connection is closed and nobody is kept waiting meanwhile.
    drop((connection, turn));
    after(shared, &link, number).await;
    ended
}

/// Resumes the earlier session, or begins a fresh one, whose first words follow what is `unsent`; gives the
/// link and the number of its connection.
fn begin(
    shared: &Shared,
    hello: &Hello,
    earlier: Option<&Arc<Link>>,
    writer: OwnedWriteHalf,
    unsent: Bytes,
) -> Option<(Arc<Link>, u64)> {
    let fresh = shared.random_uuid().0;
    let mut state = earlier.map(|link| link.lock());
    let (welcome, outcome) = opening::welcome(hello, state.as_mut().map(|s| &mut s.session), fresh);
    match outcome {
        Outcome::Resumed { resend } => {
            let number = state?.connect(writer, [unsent, welcome].into_iter().chain(resend));
            Some((earlier?.clone(), number))
        }
        Outcome::Fresh { id } => {
            drop(state);
            if let Some(earlier) = earlier {
                shared.links.lose(earlier.id);
            }
            let mut state = State::new(Session::new(id));
            let number = state.connect(writer, [unsent, welcome]);
            let link = Arc::new(Link {
                id: LinkId(shared.mint()),
                session: id,
                state: Mutex::new(state),
                reading: Arc::default(),
            });
            let mut table = shared.links.lock();
            table.links.insert(link.id, link.clone());
            table.sessions.insert(id, link.id);
            drop(table);
            Some((link, number))
        }
    }
}

/// When a connection has ended, and nobody has ended the link or resumed it, waits for the agent to come
/// back.
async fn after(shared: &Shared, link: &Arc<Link>, number: u64) {
    let (spoke, waiting) = {
        let mut state = link.lock();
        if state.number != number {
            return;
        }
        let closing = state.closing;
        state.let_go();
        if closing {
            return;
        }
        (state.spoke, state.number)
    };
    if !spoke {
        shared.links.remove(link.id);
        return;
    }
    shared.inbox.push_now(Work::Step(Input::LinkDown(link.id)));
    let back = poll_fn(|context| {
        let mut state = link.lock();
        if state.number != waiting || state.closing {
            return Poll::Ready(());
        }
        state.task = Some(context.waker().clone());
        Poll::Pending
    });
    if timeout(RESUME_WINDOW, back).await.is_err() {
        shared.links.lose(link.id);
    }
}

/// One connection of a link, as its task sees it.
struct Connection<'a> {
    link: &'a Link,
    number: u64,
    reader: OwnedReadHalf,
    frames: Frames,
    /// When what was taken is acknowledged at latest.
    quiet: Option<Pin<Box<Sleep>>>,
    /// When an agent that takes nothing is given up.
    stall: Option<Pin<Box<Sleep>>>,
}

/// What one read brought.
#[derive(Default)]
struct Taken {
    work: Vec<Work>,
    bytes: usize,
    error: Option<SessionError>,
}

impl Connection<'_> {
    /// Hands messages to the core until the connection ends.
    async fn serve(&mut self, shared: &Shared, early: &[u8]) -> Result<(), String> {
        let mut taken = self.take(early);
        loop {
            if !taken.work.is_empty() {
                shared.inbox.push_all(taken.work, taken.bytes).await;
            }
            if let Some(error) = taken.error {
                if !matches!(error, SessionError::Frame(_)) {
                    // Going on would skip a message; a fresh session tells everything again.
                    shared.links.lose(self.link.id);
                }
                return Err(error.to_string());
            }
            match poll_fn(|context| self.poll_taken(context)).await? {
                Some(next) => taken = next,
                None => return Ok(()),
            }
        }
    }

    /// The next messages; `None` at the end of the connection.
    fn poll_taken(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Taken>, String>> {
        loop {
            let closing = {
                let mut state = self.link.lock();
                if state.number != self.number {
                    return Poll::Ready(Ok(None));
                }
                let before = (state.unsent.len(), state.unsent_from);
                let unblocked = state.poll_unblocked(context).is_ready();
                if unblocked || before != (state.unsent.len(), state.unsent_from) {
                    self.stall = None;
                }
                if !unblocked && self.stall.is_none() {
                    self.stall = Some(Box::pin(sleep(WRITE_STALL)));
                }
                if state.closing && state.unsent.is_empty() {
                    return Poll::Ready(Ok(None));
                }
                if !state.task.as_ref().is_some_and(|task| task.will_wake(context.waker())) {
                    state.task = Some(context.waker().clone());
                }
                state.closing
            };
            if poll_timer(&mut self.stall, context) {
                return Poll::Ready(Err("the agent takes nothing".into()));
            }
            if closing {
                return Poll::Pending;
            }
            if poll_timer(&mut self.quiet, context) {
                self.link.lock().acknowledge();
            }
            let taken = READ_BUFFER.with_borrow_mut(|buffer| {
                let mut buffer = ReadBuf::new(buffer);
                ready!(Pin::new(&mut self.reader).poll_read(context, &mut buffer))?;
                let filled = buffer.filled();
                Poll::Ready(Ok::<_, std::io::Error>((!filled.is_empty()).then(|| self.take(filled))))
            });
            match ready!(taken).map_err(|error| error.to_string())? {
                // Only acknowledgements, or a part of a frame.
                Some(taken) if taken.work.is_empty() && taken.error.is_none() => {}
                taken => return Poll::Ready(Ok(taken)),
            }
        }
    }

    /// Takes the messages of what was read, all that came whole.
    fn take(&mut self, bytes: &[u8]) -> Taken {
        let (link, number) = (self.link, self.number);
        let mut taken = Taken::default();
        let mut any = false;
        let drained = self.frames.drain(bytes, |body| {
            let mut state = link.lock();
            // Another connection has taken over and has been told which frame came last.
            if state.number != number {
                return Ok(());
            }
            let message = state.session.on_frame(body)?;
            state.spoke = true;
            drop(state);
            any = true;
            if let Some(message) = message {
                taken.bytes += body.len();
                let message = Box::new(message);
                taken.work.push(Work::Step(Input::FromAgent { link: link.id, message }));
            }
            Ok(())
        });
        taken.error = drained.err();
        if any {
            let mut state = link.lock();
            if state.session.acknowledgement_due() {
                state.acknowledge();
            } else if self.quiet.is_none() {
                self.quiet = Some(Box::pin(sleep(ACKNOWLEDGE_AFTER)));
            }
        }
        taken
    }
}

/// Whether the time has come; the timer is over then.
fn poll_timer(timer: &mut Option<Pin<Box<Sleep>>>, context: &mut Context<'_>) -> bool {
    let over = timer.as_mut().is_some_and(|sleep| sleep.as_mut().poll(context).is_ready());
    if over {
        *timer = None;
    }
    over
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::AsyncReadExt,
        net::{TcpListener, TcpStream},
    };

    use super::*;

    #[tokio::test]
    async fn what_the_socket_does_not_take_follows_in_order() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut theirs, _) = listener.accept().await.unwrap();
        let (_reader, writer) = ours.into_split();
        let mut state = State::new(Session::new([0; 16]));
        state.connect(writer, [Bytes::from_static(b"welcome")]);
        let frames: Vec<Bytes> = (0..200).map(|n| vec![n; 100_000].into()).collect();
        frames.iter().for_each(|frame| state.queue(frame.clone()));
        state.flush();
        assert!(state.blocked && state.unsent.len() > 1, "nobody reads yet");
        let mut all = vec![0; 7 + 200 * 100_000];
        let (read, ()) =
            tokio::join!(theirs.read_exact(&mut all), poll_fn(|context| state.poll_unblocked(context)));
        read.unwrap();
        assert!(state.unsent.is_empty() && !state.blocked);
        assert!(all.starts_with(b"welcome") && all[7..] == frames.concat());
        state.queue(Bytes::from_static(b"last"));
        state.closing = true;
        state.queue(Bytes::from_static(b"too late"));
        state.flush();
        state.let_go();
        let mut rest = Vec::new();
        theirs.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"last");
    }
}
