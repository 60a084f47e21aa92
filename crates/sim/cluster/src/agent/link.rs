//! An agent's end of its link, as the daemon holds it: one connection after the other, and a session that
//! outlives them.

use mezzo_agent::Input;
use mezzo_link::{AgentSession, Outcome, opening};
use mezzo_master::LinkId;
use mezzo_protocol::link::{ToMaster, to_master};

use crate::{
    event::{Event, Packet, Side},
    queue::Nanos,
    random::Draw,
    world::{Conn, MILLI, SECOND, World},
};

const BACKOFF_MIN: Nanos = 50 * MILLI;
const BACKOFF_MAX: Nanos = 10 * SECOND;
const OPENING_TIMEOUT: Nanos = 10 * SECOND;
pub(crate) const ACKNOWLEDGE_AFTER: Nanos = SECOND;

/// What the core wanted while a connection was being opened.
#[derive(Debug)]
enum Order {
    Send(Box<ToMaster>),
    Reconnect,
}

/// The agent's end.
#[derive(Debug, Default)]
pub(crate) struct AgentLink {
    session: Option<AgentSession>,
    /// The same for plain links.
    plain: Option<LinkId>,
    conn: Option<u32>,
    pub(crate) is_open: bool,
    introduced: bool,
    orders: Vec<Order>,
    failures: u32,
    opened_at: Nanos,
    ack_planned: bool,
}

fn introduces(message: &ToMaster) -> bool {
    matches!(&message.message, Some(to_master::Message::Register(_) | to_master::Message::Reregister(_)))
}

impl World<'_> {
    /// Opens a connection.
    pub(crate) fn agent_connect(&mut self, agent: usize) {
        let conn = self.conns.len() as u32;
        self.conns.push(Conn {
            agent: agent as u32,
            link: None,
            agent_open: true,
            master_open: false,
            clear: [0; 2],
        });
        let link = &mut self.agents[agent].link;
        link.conn = Some(conn);
        link.is_open = false;
        let hello = if self.setup.framed_links {
            Packet::Frame(opening::hello(link.session.as_ref()).into())
        } else {
            Packet::PlainHello(link.plain)
        };
        self.send_packet(conn, Side::Master, hello);
        self.queue.push(self.now + OPENING_TIMEOUT, Event::OpeningOver { conn });
    }

    /// The master did not answer in time.
    pub(crate) fn on_opening_over(&mut self, conn: u32) {
        let agent = self.conns[conn as usize].agent as usize;
        let link = &self.agents[agent].link;
        if link.conn == Some(conn) && !link.is_open {
            self.agent_hangs_up(agent);
        }
    }

    pub(crate) fn agent_sends(&mut self, agent: usize, message: Box<ToMaster>) {
        let message = match self.mutate_to_master(agent, message) {
            Some(message) => message,
            None => return,
        };
        let framed = self.setup.framed_links;
        let link = &mut self.agents[agent].link;
        let Some(conn) = link.conn else {
            // Without a session the core sends again once there is one.
            if let Some(Err(_)) = link.session.as_mut().map(|session| session.send(*message)) {
                link.session = None;
            }
            return;
        };
        if !link.is_open {
            return link.orders.push(Order::Send(message));
        }
        link.introduced |= introduces(&message);
        if !link.introduced {
            return;
        }
        if !framed {
            return self.send_packet(conn, Side::Master, Packet::Up(message));
        }
        let Some(session) = link.session.as_mut() else { return };
        match session.send(*message) {
            Ok(frame) => self.send_packet(conn, Side::Master, Packet::Frame(frame)),
            Err(_) => {
                link.session = None;
                self.agent_hangs_up(agent);
            }
        }
    }

    pub(crate) fn agent_reconnects(&mut self, agent: usize) {
        let link = &mut self.agents[agent].link;
        if link.conn.is_some() && !link.is_open {
            return link.orders.push(Order::Reconnect);
        }
        link.session = None;
        link.plain = None;
        if link.conn.is_some() {
            self.agent_hangs_up(agent);
        }
    }

    /// Ends the connection from this end and plans the next.
    fn agent_hangs_up(&mut self, agent: usize) {
        let Some(conn) = self.agents[agent].link.conn else { return };
        self.conns[conn as usize].agent_open = false;
        self.close_at(conn, Side::Master);
        self.agent_disconnected(agent);
    }

    /// The other end closed.
    pub(crate) fn on_closed_at_agent(&mut self, conn: u32) {
        let state = &mut self.conns[conn as usize];
        if !state.agent_open {
            return;
        }
        state.agent_open = false;
        let agent = state.agent as usize;
        if self.agents[agent].link.conn == Some(conn) {
            self.agent_disconnected(agent);
        }
    }

    fn agent_disconnected(&mut self, agent: usize) {
        let now = self.now;
        let host = &mut self.agents[agent];
        let life = host.life;
        let link = &mut host.link;
        link.conn = None;
        link.ack_planned = false;
        let orders = std::mem::take(&mut link.orders);
        let was_open = std::mem::replace(&mut link.is_open, false);
        if was_open && now - link.opened_at >= BACKOFF_MAX {
            link.failures = 0;
        }
        let full = (BACKOFF_MIN << link.failures.min(16)).min(BACKOFF_MAX);
        link.failures += 1;
        let wait = full / 2 + host.machine.rng.below(full.unsigned_abs() / 2) as Nanos;
        self.queue.push(now + wait, Event::AgentConnect { agent: agent as u32, life });
        if was_open {
            self.agent_step(agent, Input::LinkDown);
        }
        for order in orders {
            match order {
                Order::Send(message) => self.agent_sends(agent, message),
                Order::Reconnect => self.agent_reconnects(agent),
            }
        }
    }

    /// The process or the machine is gone.
    pub(crate) fn agent_link_dies(&mut self, agent: usize, _by_crash: bool) {
        let is_off = self.agents[agent].is_off;
        let link = std::mem::take(&mut self.agents[agent].link);
        if let Some(conn) = link.conn {
            self.conns[conn as usize].agent_open = false;
            if !is_off {
                self.close_at(conn, Side::Master);
            }
        }
    }

    /// Something came for the agent.
    pub(crate) fn on_packet_at_agent(&mut self, conn: u32, packet: Packet) {
        let state = &self.conns[conn as usize];
        let agent = state.agent as usize;
        if !state.agent_open {
            // A machine that knows nothing of the connection says so.
            if !self.agents[agent].is_off {
                self.close_at(conn, Side::Master);
            }
            return;
        }
        if self.agents[agent].link.conn != Some(conn) {
            return;
        }
        match packet {
            Packet::PlainWelcome(id) => {
                self.agents[agent].link.plain = Some(id);
                self.agent_opened(agent, Input::LinkUp);
            }
            Packet::Down(message) => self.agent_step(agent, Input::FromMaster(message)),
            Packet::Frame(frame) if self.agents[agent].link.is_open => {
                self.on_agent_frame(agent, conn, &frame)
            }
            Packet::Frame(frame) => self.on_welcome(agent, conn, &frame),
            Packet::PlainHello(_) | Packet::Up(_) => {}
        }
    }

    fn on_welcome(&mut self, agent: usize, conn: u32, frame: &[u8]) {
        let link = &mut self.agents[agent].link;
        match opening::on_welcome(frame.get(4..).unwrap_or_default(), link.session.as_mut()) {
            Err(_) => {
                link.session = None;
                self.agent_hangs_up(agent);
            }
            Ok(Outcome::Fresh { id }) => {
                link.session = Some(AgentSession::new(id));
                self.agent_opened(agent, Input::LinkUp);
            }
            Ok(Outcome::Resumed { resend }) => {
                for frame in resend {
                    self.send_packet(conn, Side::Master, Packet::Frame(frame));
                }
                self.agent_opened(agent, Input::LinkResumed);
            }
        }
    }

    fn agent_opened(&mut self, agent: usize, input: Input) {
        let now = self.now;
        let link = &mut self.agents[agent].link;
        // What the core said before it knew of a fresh session is left out: it is part of what it tells
        // when it introduces itself.
        link.introduced = matches!(input, Input::LinkResumed);
        link.is_open = true;
        link.opened_at = now;
        let orders = std::mem::take(&mut link.orders);
        let resumed = link.introduced;
        self.log(|| format!("agent {agent} link is up{}", if resumed { " again" } else { "" }));
        self.agent_step(agent, input);
        for order in orders {
            match order {
                Order::Send(message) => self.agent_sends(agent, message),
                Order::Reconnect => self.agent_reconnects(agent),
            }
        }
    }

    fn on_agent_frame(&mut self, agent: usize, conn: u32, frame: &[u8]) {
        let Some(session) = self.agents[agent].link.session.as_mut() else { return };
        match session.on_frame(frame.get(4..).unwrap_or_default()) {
            Err(error) => {
                self.agents[agent].link.session = None;
                // Frames are only skipped or repeated by a mistake in the protocol itself.
                self.violate("frames come in order", format!("agent {agent}: {error}"));
                self.agent_hangs_up(agent);
            }
            Ok(message) => {
                if session.acknowledgement_due() {
                    self.agent_acknowledges(agent);
                } else if !std::mem::replace(&mut self.agents[agent].link.ack_planned, true) {
                    let at = self.now + ACKNOWLEDGE_AFTER;
                    self.queue.push(at, Event::AckDue { conn, side: Side::Agent });
                }
                if let Some(message) = message {
                    self.agent_step(agent, Input::FromMaster(Box::new(message)));
                }
            }
        }
    }

    pub(crate) fn on_ack_due_at_agent(&mut self, conn: u32) {
        let agent = self.conns[conn as usize].agent as usize;
        if self.agents[agent].link.conn == Some(conn) {
            self.agents[agent].link.ack_planned = false;
            self.agent_acknowledges(agent);
        }
    }

    fn agent_acknowledges(&mut self, agent: usize) {
        let link = &mut self.agents[agent].link;
        let Some(conn) = link.conn.filter(|_| link.is_open) else { return };
        if let Some(frame) = link.session.as_mut().and_then(|session| session.acknowledgement()) {
            self.send_packet(conn, Side::Master, Packet::Frame(frame));
        }
    }
}
