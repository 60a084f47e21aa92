//! The master's ends of the links, as the daemon holds them: sessions that wait for their agents to come
//! back.

use mezzo_link::{MasterSession, Outcome, Session, opening};
use mezzo_master::{Input, LinkId};
use mezzo_protocol::link::ToAgent;

use crate::{
    agent::{link::ACKNOWLEDGE_AFTER, session_id},
    event::{Event, Packet, Side},
    queue::Nanos,
    world::{SECOND, World},
};

/// A broken link may be resumed for this long.
const RESUME_WINDOW: Nanos = 15 * SECOND;

/// The master's end of one session.
#[derive(Debug)]
pub(crate) struct MasterLink {
    session: Option<MasterSession>,
    pub(crate) conn: Option<u32>,
    /// The last one it had.
    last: u32,
    /// Whether the agent has said anything that is worth resuming.
    spoke: bool,
    ack_planned: bool,
}

impl World<'_> {
    pub(crate) fn on_packet_at_master(&mut self, conn: u32, packet: Packet) {
        let state = &self.conns[conn as usize];
        if !state.master_open {
            let opens = state.link.is_none() && self.master.core.is_some();
            return match packet {
                Packet::Frame(frame) if opens => self.on_hello(conn, &frame),
                Packet::PlainHello(earlier) if opens => self.on_plain_hello(conn, earlier),
                // Nobody listens, or nobody knows this connection.
                _ => self.close_at(conn, Side::Agent),
            };
        }
        let Some(id) = state.link else { return };
        match packet {
            Packet::Up(message) => {
                if let Some(link) = self.master.links.get_mut(&id) {
                    link.spoke = true;
                }
                self.master_step(Input::FromAgent { link: id, message });
            }
            Packet::Frame(frame) => self.on_master_frame(id, conn, &frame),
            _ => {}
        }
    }

    fn on_hello(&mut self, conn: u32, frame: &[u8]) {
        let hello = std::str::from_utf8(frame).map_err(drop);
        let Ok(hello) = hello.and_then(|text| opening::parse_hello(text).map_err(drop)) else {
            return self.close_at(conn, Side::Agent);
        };
        let fresh = session_id(&mut self.disk_rng);
        let earlier =
            opening::session_of(&hello).and_then(|session| self.master.sessions.get(&session)).copied();
        let mut link = earlier.and_then(|id| self.master.links.get_mut(&id));
        let session = link.as_mut().and_then(|link| link.session.as_mut());
        let (welcome, outcome) = opening::welcome(&hello, session, fresh);
        match (outcome, earlier) {
            (Outcome::Resumed { resend }, Some(id)) => {
                if let Some(old) = link.and_then(|link| link.conn.replace(conn)) {
                    self.conns[old as usize].master_open = false;
                    self.close_at(old, Side::Agent);
                }
                self.open_at_master(conn, id);
                for frame in std::iter::once(welcome).chain(resend) {
                    self.send_packet(conn, Side::Agent, Packet::Frame(frame));
                }
                self.log(|| format!("master resumes link {}", id.0));
                self.master_step(Input::LinkResumed(id));
            }
            (_, earlier) => {
                if let Some(earlier) = earlier {
                    self.master_loses(earlier);
                }
                let id = self.begin_link(conn, Some(Session::new(fresh)));
                self.master.sessions.insert(fresh, id);
                self.send_packet(conn, Side::Agent, Packet::Frame(welcome));
            }
        }
    }

    fn on_plain_hello(&mut self, conn: u32, earlier: Option<LinkId>) {
        if let Some(earlier) = earlier.filter(|earlier| self.master.links.contains_key(earlier)) {
            self.master_loses(earlier);
        }
        let id = self.begin_link(conn, None);
        self.send_packet(conn, Side::Agent, Packet::PlainWelcome(id));
    }

    fn begin_link(&mut self, conn: u32, session: Option<MasterSession>) -> LinkId {
        let id = LinkId(self.mint());
        let link = MasterLink { session, conn: Some(conn), last: conn, spoke: false, ack_planned: false };
        self.master.links.insert(id, link);
        self.open_at_master(conn, id);
        id
    }

    fn open_at_master(&mut self, conn: u32, link: LinkId) {
        let state = &mut self.conns[conn as usize];
        state.master_open = true;
        state.link = Some(link);
        if let Some(link) = self.master.links.get_mut(&link) {
            link.ack_planned = false;
            link.last = conn;
        }
    }

    fn on_master_frame(&mut self, id: LinkId, conn: u32, frame: &[u8]) {
        let Some(link) = self.master.links.get_mut(&id).filter(|link| link.conn == Some(conn)) else {
            return;
        };
        let Some(session) = link.session.as_mut() else { return };
        match session.on_frame(frame.get(4..).unwrap_or_default()) {
            Err(error) => {
                self.violate("frames come in order", format!("master, link {}: {error}", id.0));
                self.master_loses(id);
                self.master_step(Input::LinkLost(id));
            }
            Ok(message) => {
                link.spoke = true;
                if session.acknowledgement_due() {
                    self.master_acknowledges(id);
                } else if !std::mem::replace(&mut link.ack_planned, true) {
                    let at = self.now + ACKNOWLEDGE_AFTER;
                    self.queue.push(at, Event::AckDue { conn, side: Side::Master });
                }
                if let Some(message) = message {
                    self.master_step(Input::FromAgent { link: id, message: Box::new(message) });
                }
            }
        }
    }

    pub(crate) fn on_ack_due_at_master(&mut self, conn: u32) {
        let Some(id) = self.conns[conn as usize].link else { return };
        if let Some(link) = self.master.links.get_mut(&id).filter(|link| link.conn == Some(conn)) {
            link.ack_planned = false;
            self.master_acknowledges(id);
        }
    }

    fn master_acknowledges(&mut self, id: LinkId) {
        let Some(link) = self.master.links.get_mut(&id) else { return };
        let frame = link.session.as_mut().and_then(|session| session.acknowledgement());
        if let (Some(conn), Some(frame)) = (link.conn, frame) {
            self.send_packet(conn, Side::Agent, Packet::Frame(frame));
        }
    }

    /// Without a connection a message stays in the session's window.
    pub(crate) fn master_sends(&mut self, id: LinkId, message: Box<ToAgent>) {
        let Some(link) = self.master.links.get_mut(&id) else { return };
        let conn = link.conn;
        match link.session.as_mut() {
            None => {
                if let Some(conn) = conn {
                    self.send_packet(conn, Side::Agent, Packet::Down(message));
                }
            }
            Some(session) => match session.send(*message) {
                Ok(frame) => {
                    if let Some(conn) = conn {
                        self.send_packet(conn, Side::Agent, Packet::Frame(frame));
                    }
                }
                Err(_) => self.master_loses(id),
            },
        }
    }

    /// Ends a session after what was sent on it; the core knows.
    pub(crate) fn master_closes(&mut self, id: LinkId) {
        let Some(link) = self.master.links.remove(&id) else { return };
        if let Some(session) = &link.session {
            self.master.sessions.remove(session.id());
        }
        if let Some(conn) = link.conn {
            self.conns[conn as usize].master_open = false;
            self.close_at(conn, Side::Agent);
        }
    }

    /// Ends a session and tells the core.
    fn master_loses(&mut self, id: LinkId) {
        if self.master.links.contains_key(&id) {
            self.master_closes(id);
            let life = self.master.life;
            let input = Box::new(Input::LinkLost(id));
            self.queue.push(self.now, Event::MasterInput { life, input });
        }
    }

    /// The other end closed.
    pub(crate) fn on_closed_at_master(&mut self, conn: u32) {
        let state = &mut self.conns[conn as usize];
        if !state.master_open {
            return;
        }
        state.master_open = false;
        let Some(id) = state.link else { return };
        let Some(link) = self.master.links.get_mut(&id).filter(|link| link.conn == Some(conn)) else {
            return;
        };
        link.conn = None;
        if !link.spoke {
            return self.master_closes(id);
        }
        self.queue.push(self.now + RESUME_WINDOW, Event::ResumeOver { link: id, conn });
        self.master_step(Input::LinkDown(id));
    }

    /// The agent had its time to come back.
    pub(crate) fn on_resume_over(&mut self, id: LinkId, conn: u32) {
        // A link that broke again has a wait of its own.
        if self.master.links.get(&id).is_some_and(|link| link.conn.is_none() && link.last == conn) {
            self.master_loses(id);
        }
    }
}
