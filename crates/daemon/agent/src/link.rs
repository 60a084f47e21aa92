//! The link to the master: one connection, a session that outlives it, and reconnection.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    io,
    time::Duration,
};

use bytes::{Buf, BytesMut};
use mezzo_agent::Input;
use mezzo_http::{Client, ClientError, HeaderMap};
use mezzo_link::{AgentSession, FrameError, Frames, OpeningError, Outcome, SessionError, opening};
use mezzo_protocol::link::{ToMaster, to_master};
use thiserror::Error;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::{Instant, sleep_until, timeout},
};
use tracing::{debug, info, warn};

use crate::core::Core;

/// The first wait after a connection broke; doubles with every failure.
const BACKOFF_MIN: Duration = Duration::from_millis(50);
/// The longest wait between two attempts.
const BACKOFF_MAX: Duration = Duration::from_secs(10);
/// A master that accepts a connection answers within this.
const OPENING_TIMEOUT: Duration = Duration::from_secs(10);
/// What was taken is acknowledged at latest after this; no timer runs while the link is quiet.
const ACKNOWLEDGE_AFTER: Duration = Duration::from_secs(1);
/// Bytes that wait for the network before no more messages are encoded; the rest wait as messages.
const UNSENT_MAX: usize = 1 << 20;

enum Order {
    Send(Box<ToMaster>),
    Reconnect,
}

/// Hands messages to the link. Never waits: the session's window bounds what is on its way.
#[derive(Clone)]
pub(crate) struct LinkSender {
    orders: UnboundedSender<Order>,
}

impl LinkSender {
    pub(crate) fn send(&self, message: ToMaster) {
        // The link ends only with the process.
        let _ = self.orders.send(Order::Send(Box::new(message)));
    }

    pub(crate) fn reconnect(&self) {
        let _ = self.orders.send(Order::Reconnect);
    }
}

/// Why a connection is over.
#[derive(Debug, Error)]
enum LinkError {
    #[error("open connection")]
    Connect(#[from] ClientError),
    #[error("connection")]
    Io(#[from] io::Error),
    #[error("the master closed the connection")]
    Closed,
    #[error("the master did not answer in time")]
    Slow,
    #[error("opening")]
    Opening(#[from] OpeningError),
    #[error("frames")]
    Frame(#[from] FrameError),
    #[error("session")]
    Session(#[from] SessionError),
    #[error("the agent wants a fresh session")]
    Reconnect,
}

impl LinkError {
    /// Whether the session itself is beyond repair.
    fn ends_session(&self) -> bool {
        matches!(self, Self::Opening(_) | Self::Frame(_) | Self::Session(_) | Self::Reconnect)
    }
}

/// A link that does not run yet.
pub(crate) struct Link {
    masters: Vec<String>,
    core: Core,
    orders: UnboundedReceiver<Order>,
}

/// A link to one of these masters, and what sends over it.
pub(crate) fn link(masters: Vec<String>, core: Core) -> (LinkSender, Link) {
    let (sender, orders) = unbounded_channel();
    (LinkSender { orders: sender }, Link { masters, core, orders })
}

impl Link {
    /// Keeps the link up until the task is dropped or nobody can send any more.
    pub(crate) async fn run(mut self) {
        let client = Client::new();
        let mut session: Option<AgentSession> = None;
        let mut failures: u32 = 0;
        let mut at = 0;
        while !self.masters.is_empty() {
            let master = self.masters[at % self.masters.len()].clone();
            let mut opened = false;
            let began = Instant::now();
            let error = self.connection(&client, &master, &mut session, &mut opened).await;
            if opened {
                self.core.deliver(Input::LinkDown).await;
                warn!(master, error = &error as &dyn std::error::Error, "link to the master broke");
                // A master that hangs up at once is not asked again at once.
                if began.elapsed() >= BACKOFF_MAX {
                    failures = 0;
                }
            } else {
                debug!(master, error = &error as &dyn std::error::Error, "no link to the master");
                at += 1;
            }
            if error.ends_session() {
                session = None;
            }
            let again = Instant::now() + backoff(failures);
            failures += 1;
            if !self.wait(again, &mut session).await {
                return;
            }
        }
    }

    /// Takes messages while there is no connection; false when nobody can send any more.
    async fn wait(&mut self, until: Instant, session: &mut Option<AgentSession>) -> bool {
        loop {
            let order = tokio::select! {
                () = sleep_until(until) => return true,
                order = self.orders.recv() => order,
            };
            match order {
                None => return false,
                Some(Order::Reconnect) => *session = None,
                Some(Order::Send(message)) => {
                    // Without a session the core sends again once there is one. A full window means
                    // that the master was away too long for what happened here: begin afresh.
                    if let Some(Err(_)) = session.as_mut().map(|session| session.send(*message)) {
                        *session = None;
                    }
                }
            }
        }
    }

    async fn connection(
        &mut self,
        client: &Client,
        master: &str,
        slot: &mut Option<AgentSession>,
        opened: &mut bool,
    ) -> LinkError {
        match self.converse(client, master, slot, opened).await {
            Ok(never) => match never {},
            Err(error) => error,
        }
    }

    async fn converse(
        &mut self,
        client: &Client,
        master: &str,
        slot: &mut Option<AgentSession>,
        opened: &mut bool,
    ) -> Result<std::convert::Infallible, LinkError> {
        let mut headers = HeaderMap::new();
        if let Ok(hello) = opening::hello(slot.as_ref()).try_into() {
            headers.insert(mezzo_link::HELLO_HEADER, hello);
        }
        let upgraded = client.upgrade(master, mezzo_link::PATH, mezzo_link::UPGRADE, headers);
        let mut connection = timeout(OPENING_TIMEOUT, upgraded).await.map_err(|_| LinkError::Slow)??;
        let mut frames = Frames::new();
        let mut input = BytesMut::with_capacity(16 << 10);
        let welcome = loop {
            if let Some(frame) = frames.next_frame()? {
                break frame;
            }
            input.clear();
            let read = timeout(OPENING_TIMEOUT, connection.read_buf(&mut input));
            if read.await.map_err(|_| LinkError::Slow)?? == 0 {
                return Err(LinkError::Closed);
            }
            frames.push(&input);
        };
        let mut out = BytesMut::new();
        // In a fresh session the master first has to hear who speaks. What the core said before it knew
        // of the session is left out: it is part of that.
        let mut introduced = true;
        let (session, input_event) = match opening::on_welcome(&welcome, slot.as_mut())? {
            Outcome::Fresh { id } => {
                introduced = false;
                (slot.insert(AgentSession::new(id)), Input::LinkUp)
            }
            Outcome::Resumed { resend } => {
                resend.iter().for_each(|frame| out.extend_from_slice(frame));
                (slot.as_mut().ok_or(LinkError::Reconnect)?, Input::LinkResumed)
            }
        };
        *opened = true;
        info!(master, resumed = matches!(input_event, Input::LinkResumed), "link to the master is up");
        self.core.deliver(input_event).await;
        let (mut reader, mut writer) = tokio::io::split(connection);
        let mut acknowledge_at: Option<Instant> = None;
        loop {
            while let Some(frame) = frames.next_frame()? {
                if let Some(message) = session.on_frame(&frame)? {
                    self.core.deliver(Input::FromMaster(Box::new(message))).await;
                }
                acknowledge_at.get_or_insert(Instant::now() + ACKNOWLEDGE_AFTER);
            }
            if session.acknowledgement_due() || acknowledge_at.is_some_and(|at| at <= Instant::now()) {
                acknowledge_at = None;
                if let Some(frame) = session.acknowledgement() {
                    out.extend_from_slice(&frame);
                }
            }
            let quiet = acknowledge_at.unwrap_or_else(Instant::now);
            tokio::select! {
                read = async { input.clear(); reader.read_buf(&mut input).await } => {
                    if read? == 0 {
                        return Err(LinkError::Closed);
                    }
                    frames.push(&input);
                }
                written = async { writer.write(&out).await }, if !out.is_empty() => {
                    out.advance(written?);
                    if out.is_empty() {
                        writer.flush().await?;
                    }
                }
                order = self.orders.recv(), if out.len() < UNSENT_MAX => {
                    let mut next = order;
                    loop {
                        match next {
                            None | Some(Order::Reconnect) => return Err(LinkError::Reconnect),
                            Some(Order::Send(message)) => {
                                introduced |= introduces(&message);
                                if introduced {
                                    out.extend_from_slice(&session.send(*message)?);
                                }
                            }
                        }
                        if out.len() >= UNSENT_MAX {
                            break;
                        }
                        match self.orders.try_recv() {
                            Ok(more) => next = Some(more),
                            Err(_) => break,
                        }
                    }
                    // Every frame carries the acknowledgement.
                    acknowledge_at = None;
                }
                () = sleep_until(quiet), if acknowledge_at.is_some() => {}
            }
        }
    }
}

fn introduces(message: &ToMaster) -> bool {
    matches!(&message.message, Some(to_master::Message::Register(_) | to_master::Message::Reregister(_)))
}

/// Doubles with the failures; half of it is random so that agents do not come back all at once.
fn backoff(failures: u32) -> Duration {
    let full = BACKOFF_MIN.saturating_mul(1 << failures.min(16)).min(BACKOFF_MAX);
    let random = RandomState::new().build_hasher().finish() as f64 / u64::MAX as f64;
    full.mul_f64(0.5 + random / 2.0)
}
