//! The links to agents: connections that are upgraded to frames, and the sessions that outlive them.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use mezzo_http::{Bytes, Request, Response, StatusCode, Upgraded};
use mezzo_link::{Frames, MasterSession, Outcome, Session, SessionId, opening};
use mezzo_master::{Input, LinkId};
use mezzo_protocol::link::{ToAgent, ToMaster};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf},
    sync::{mpsc, watch},
    time::timeout,
};
use tracing::{debug, info};

use crate::{
    inbox::{Inbox, Work},
    shared::Shared,
};

/// A broken link may be resumed for this long. As long as the agent is given to answer a ping: longer
/// would only delay the news that it is gone.
const RESUME_WINDOW: Duration = Duration::from_secs(15);
/// The first frame has to come within this.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// What was taken is acknowledged at latest after this, when nothing else goes to the agent.
const ACKNOWLEDGE_AFTER: Duration = Duration::from_secs(1);
/// Read from the connection at once.
const READ_SIZE: usize = 16 << 10;
/// Frames that wait are written together up to about this size.
const WRITE_SIZE: usize = 64 << 10;

/// All sessions with agents.
#[derive(Debug)]
pub(crate) struct Links {
    table: Mutex<Table>,
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
    reading: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct State {
    session: MasterSession,
    /// To the connection's writer. What waits in there is bounded by the session's window.
    out: Option<mpsc::UnboundedSender<Bytes>>,
    /// Counts connections; a change ends the reader of an earlier one.
    connection: watch::Sender<u64>,
    /// Whether the agent has said anything that is worth resuming.
    spoke: bool,
}

impl Link {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the connection, if there is one, after what has been sent.
    fn disconnect(&self) {
        let mut state = self.lock();
        state.out = None;
        state.connection.send_modify(|number| *number += 1);
    }
}

impl Links {
    pub(crate) fn new(inbox: Arc<Inbox>) -> Self {
        Self { table: Mutex::default(), inbox }
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

    /// Sends to an agent, now or when it resumes. A session that cannot take more is lost.
    pub(crate) fn send(&self, id: LinkId, message: ToAgent) {
        let Some(link) = self.lock().links.get(&id).cloned() else { return };
        let mut state = link.lock();
        match state.session.send(message) {
            Ok(frame) => {
                if let Some(out) = &state.out {
                    // A writer that has ended is followed by a resumption, which sends the frame again.
                    let _ = out.send(frame);
                }
            }
            Err(error) => {
                drop(state);
                info!(link = id.0, %error, "agent's session is lost");
                self.lose(id);
            }
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
        let connected = links.iter().filter(|link| link.lock().out.is_some()).count();
        (connected, links.len() - connected)
    }
}

/// GET /link with an upgrade.
pub(crate) fn handle(shared: &Arc<Shared>, mut request: Request) -> Response {
    let Some(upgrade) = request.upgrade(mezzo_link::UPGRADE) else {
        return Response::text(StatusCode::UPGRADE_REQUIRED, "Expecting an upgrade to 'mezzo-link'")
            .with(mezzo_http::header::UPGRADE, mezzo_link::UPGRADE);
    };
    let response = upgrade.response();
    let (shared, peer) = (shared.clone(), request.peer);
    tokio::spawn(async move {
        match upgrade.connection().await {
            Ok(connection) => {
                if let Err(reason) = serve(&shared, connection).await {
                    debug!(%peer, reason, "link connection ended");
                }
            }
            Err(error) => debug!(%peer, %error, "link connection was not upgraded"),
        }
    });
    response
}

/// Opens or resumes a session and moves frames until the connection ends.
async fn serve(shared: &Arc<Shared>, connection: Upgraded) -> Result<(), String> {
    let (reader, mut writer) = tokio::io::split(connection);
    let mut reader = FrameReader { reader, frames: Frames::new() };
    let hello = timeout(HELLO_TIMEOUT, reader.next())
        .await
        .map_err(|_| "no opening in time")??
        .ok_or("closed before the opening")?;
    let hello = opening::parse_hello(&hello).map_err(|error| error.to_string())?;
    let links = &shared.links;
    let earlier = {
        let table = links.lock();
        let id = opening::session_of(&hello).and_then(|session| table.sessions.get(&session));
        id.and_then(|id| table.links.get(id)).cloned()
    };
    let _turn;
    if let Some(link) = &earlier {
        // The agent has given the earlier connection up, so its frames are not waited for; but the
        // one that is being handed over to the core is.
        link.lock().connection.send_modify(|number| *number += 1);
        _turn = link.reading.lock().await;
    }
    let fresh = shared.random_uuid().0;
    let (out, frames) = mpsc::unbounded_channel();
    let (welcome, link, outcome) = {
        let mut state = earlier.as_ref().map(|link| link.lock());
        let (welcome, outcome) = opening::welcome(&hello, state.as_mut().map(|s| &mut s.session), fresh);
        if let (Some(state), Outcome::Resumed { resend }) = (&mut state, &outcome) {
            for frame in std::iter::once(&welcome).chain(resend) {
                let _ = out.send(frame.clone());
            }
            state.out = Some(out.clone());
        }
        drop(state);
        (welcome, earlier.clone(), outcome)
    };
    match (outcome, link) {
        (Outcome::Resumed { .. }, Some(link)) => {
            links.inbox.push(Work::Step(Input::LinkResumed(link.id)), 0).await;
            let number = *link.lock().connection.borrow();
            tokio::spawn(async move { write(&mut writer, frames).await });
            drop(out);
            read(shared, &link, &mut reader, number).await
        }
        (Outcome::Fresh { id }, earlier) => {
            if let Some(earlier) = earlier {
                links.lose(earlier.id);
            }
            let link = Arc::new(Link {
                id: LinkId(shared.mint()),
                session: id,
                state: Mutex::new(State {
                    session: Session::new(id),
                    out: Some(out.clone()),
                    connection: watch::Sender::new(0),
                    spoke: false,
                }),
                reading: tokio::sync::Mutex::new(()),
            });
            let _ = out.send(welcome);
            drop(out);
            {
                let mut table = links.lock();
                table.links.insert(link.id, link.clone());
                table.sessions.insert(id, link.id);
            }
            tokio::spawn(async move { write(&mut writer, frames).await });
            let _turn = link.reading.lock().await;
            read(shared, &link, &mut reader, 0).await
        }
        // A session is resumed only if there was one.
        (Outcome::Resumed { .. }, None) => Err("resumed nothing".into()),
    }
}

/// Hands messages to the core until the connection ends, then waits for the agent to come back.
async fn read(
    shared: &Arc<Shared>,
    link: &Arc<Link>,
    reader: &mut FrameReader,
    number: u64,
) -> Result<(), String> {
    let mut connection = link.lock().connection.subscribe();
    let ended = tokio::select! {
        ended = read_frames(shared, link, reader) => ended,
        _ = connection.wait_for(|current| *current != number) => return Ok(()),
    };
    let spoke = {
        let mut state = link.lock();
        if *state.connection.borrow() != number {
            return Ok(());
        }
        state.out = None;
        state.spoke
    };
    if !spoke {
        shared.links.remove(link.id);
        return ended;
    }
    shared.inbox.push_now(Work::Step(Input::LinkDown(link.id)));
    let (shared, link) = (shared.clone(), link.clone());
    tokio::spawn(async move {
        let mut connection = link.lock().connection.subscribe();
        let back = timeout(RESUME_WINDOW, connection.wait_for(|current| *current != number)).await.is_ok();
        if !back {
            shared.links.lose(link.id);
        }
    });
    ended
}

async fn read_frames(shared: &Shared, link: &Link, reader: &mut FrameReader) -> Result<(), String> {
    let mut owed = false;
    loop {
        // What is owed is sent when the link has been quiet for a moment.
        let frame = if owed {
            match timeout(ACKNOWLEDGE_AFTER, reader.next()).await {
                Ok(frame) => frame?,
                Err(_) => {
                    acknowledge(link);
                    owed = false;
                    continue;
                }
            }
        } else {
            reader.next().await?
        };
        let Some(body) = frame else { return Ok(()) };
        let message = {
            let mut state = link.lock();
            let taken = state.session.on_frame(&body);
            match taken {
                Ok(message) => {
                    state.spoke = true;
                    message
                }
                Err(error) => {
                    drop(state);
                    // Going on would skip a message; a fresh session tells everything again.
                    shared.links.lose(link.id);
                    return Err(error.to_string());
                }
            }
        };
        if link.lock().session.acknowledgement_due() {
            acknowledge(link);
        }
        owed = true;
        if let Some(message) = message {
            from_agent(shared, link.id, message, body.len()).await;
        }
    }
}

async fn from_agent(shared: &Shared, link: LinkId, message: ToMaster, bytes: usize) {
    let message = Box::new(message);
    shared.inbox.push(Work::Step(Input::FromAgent { link, message }), bytes).await;
}

fn acknowledge(link: &Link) {
    let mut state = link.lock();
    if let Some(frame) = state.session.acknowledgement()
        && let Some(out) = &state.out
    {
        let _ = out.send(frame);
    }
}

/// Writes until the session lets the connection go, or the agent does not take more.
async fn write(writer: &mut WriteHalf<Upgraded>, mut frames: mpsc::UnboundedReceiver<Bytes>) {
    let mut together = Vec::new();
    while let Some(frame) = frames.recv().await {
        let written = if frames.is_empty() {
            writer.write_all(&frame).await
        } else {
            // What has gathered is one system call.
            together.extend_from_slice(&frame);
            while together.len() < WRITE_SIZE
                && let Ok(frame) = frames.try_recv()
            {
                together.extend_from_slice(&frame);
            }
            let written = writer.write_all(&together).await;
            together.clear();
            together.shrink_to(WRITE_SIZE);
            written
        };
        if written.is_err() || writer.flush().await.is_err() {
            return;
        }
    }
    let _ = writer.shutdown().await;
}

struct FrameReader {
    reader: ReadHalf<Upgraded>,
    frames: Frames,
}

impl FrameReader {
    /// The next frame's body; `None` at the end of the connection. May be dropped and called again.
    async fn next(&mut self) -> Result<Option<Bytes>, String> {
        loop {
            if let Some(body) = self.frames.next_frame().map_err(|error| error.to_string())? {
                return Ok(Some(body));
            }
            let mut buffer = [0; READ_SIZE];
            match self.reader.read(&mut buffer).await {
                Ok(0) => return Ok(None),
                Ok(length) => self.frames.push(&buffer[..length]),
                Err(error) => return Err(error.to_string()),
            }
        }
    }
}
