use base64::{Engine as _, engine::general_purpose::STANDARD};
use mezzo_protocol::link::{ExecutorMessage, FrameworkMessage};
use mezzo_protocol::link::{Frame, Hello, Ping, ToAgent, ToMaster, Welcome, to_agent, to_master};
use proptest::prelude::*;
use prost::Message as _;

use crate::session::{UNACKNOWLEDGED_MAX, WINDOW_FRAMES_MAX};
use crate::{
    AgentSession, FrameError, Frames, MasterSession, OpeningError, Outcome, SessionError, frame, opening,
};

fn to_master(number: u64) -> ToMaster {
    let data = number.to_be_bytes().to_vec();
    ToMaster {
        message: Some(to_master::Message::ExecutorMessage(ExecutorMessage { data, ..Default::default() })),
    }
}

fn to_agent(number: u64) -> ToAgent {
    let data = number.to_be_bytes().to_vec();
    ToAgent {
        message: Some(to_agent::Message::FrameworkMessage(FrameworkMessage { data, ..Default::default() })),
    }
}

fn body(frame: &[u8]) -> &[u8] {
    &frame[4..]
}

#[test]
fn frames_are_drained_in_order_from_any_pieces() {
    let bodies: Vec<Vec<u8>> = [0, 1, 300, 5, 70_000, 0, 2].map(|size| vec![size as u8; size]).into();
    let mut stream = Vec::new();
    for body in &bodies {
        stream.extend_from_slice(&(body.len() as u32).to_be_bytes());
        stream.extend_from_slice(body);
    }
    for piece in [1, 3, 4, 7, 1000, stream.len()] {
        let (mut frames, mut taken) = (Frames::new(), Vec::new());
        for bytes in stream.chunks(piece) {
            frames
                .drain(bytes, |body| {
                    taken.push(body.to_vec());
                    Ok::<_, FrameError>(())
                })
                .unwrap();
        }
        assert!(taken == bodies, "in pieces of {piece}");
        assert_eq!(frames.finish(), Ok(()));
    }
    let drained = Frames::new().drain(&[0x10, 0, 0, 0], |_| Ok::<_, FrameError>(()));
    assert_eq!(drained, Err(FrameError::TooLarge(0x1000_0000)));
}

#[test]
fn frames_over_the_limit_are_refused_before_they_are_read() {
    let mut frames = Frames::new();
    frames.push(&[0x10, 0, 0, 0]);
    assert_eq!(frames.next_frame(), Err(FrameError::TooLarge(0x1000_0000)));
    let mut frames = Frames::new();
    frames.push(&[0, 0, 0, 2, 1]);
    assert_eq!(frames.next_frame(), Ok(None));
    assert_eq!(frames.finish(), Err(FrameError::Truncated));
    frames.push(&[2]);
    assert_eq!(frames.next_frame().unwrap().unwrap().as_ref(), &[1, 2]);
    assert_eq!(frames.finish(), Ok(()));
}

#[test]
fn repeated_frames_are_dropped_and_gaps_refused() {
    let mut agent = AgentSession::new([1; 16]);
    let mut master = MasterSession::new([1; 16]);
    let first = agent.send(to_master(1)).unwrap();
    let second = agent.send(to_master(2)).unwrap();
    let third = agent.send(to_master(3)).unwrap();
    assert_eq!(master.on_frame(body(&first)), Ok(Some(to_master(1))));
    assert_eq!(master.on_frame(body(&first)), Ok(None));
    assert_eq!(master.on_frame(body(&third)), Err(SessionError::Gap { expected: 2, found: 3 }));
    assert_eq!(master.on_frame(body(&second)), Ok(Some(to_master(2))));
    let acknowledgement = master.acknowledgement().unwrap();
    assert_eq!(agent.on_frame(body(&acknowledgement)), Ok(None));
    assert_eq!((agent.unacknowledged(), master.acknowledgement()), (1, None));
    assert_eq!(master.on_frame(&[0xff; 30]), Err(SessionError::Malformed));
    let backwards = frame::encode(&Frame { sequence: 3, received: 9, payload: None }).unwrap();
    assert!(matches!(master.on_frame(body(&backwards)), Err(SessionError::Acknowledgement { .. })));
}

#[test]
fn a_message_of_the_wrong_direction_is_refused() {
    let mut agent = AgentSession::new([1; 16]);
    let own = agent.send(to_master(1)).unwrap();
    assert_eq!(agent.on_frame(body(&own)), Err(SessionError::Malformed));
}

#[test]
fn unknown_messages_count_but_give_nothing() {
    let mut master = MasterSession::new([1; 16]);
    // to_master with a field 90 that this version does not have.
    let bytes = [0x08, 1, 0x1a, 3, 0xd2, 0x05, 0];
    assert_eq!(master.on_frame(&bytes), Ok(Some(ToMaster { message: None })));
    assert_eq!(master.received(), 1);
}

#[test]
fn a_peer_that_does_not_acknowledge_fills_the_window() {
    let mut agent = AgentSession::new([1; 16]);
    for number in 0..WINDOW_FRAMES_MAX {
        agent.send(to_master(number as u64)).unwrap();
    }
    assert!(matches!(agent.send(to_master(0)), Err(SessionError::WindowFull { .. })));
    assert_eq!(agent.resume(5).unwrap().len(), WINDOW_FRAMES_MAX - 5);
    assert!(agent.send(to_master(0)).is_ok());
    assert!(agent.check_resume(4).is_err());
}

#[test]
fn acknowledgements_are_due_after_a_number_of_frames() {
    let mut agent = AgentSession::new([1; 16]);
    let mut master = MasterSession::new([1; 16]);
    for number in 0..UNACKNOWLEDGED_MAX {
        assert!(!master.acknowledgement_due());
        let frame = agent.send(to_master(number)).unwrap();
        master.on_frame(body(&frame)).unwrap();
    }
    assert!(master.acknowledgement_due());
    // Any frame of the master acknowledges too.
    let ping = ToAgent { message: Some(to_agent::Message::Ping(Ping { connected: true })) };
    let frame = master.send(ping).unwrap();
    assert!(!master.acknowledgement_due());
    agent.on_frame(body(&frame)).unwrap();
    assert_eq!(agent.unacknowledged(), 0);
}

#[test]
fn versions_are_negotiated() {
    let hello = |version| STANDARD.encode(Hello { version, ..Default::default() }.encode_to_vec());
    assert_eq!(opening::parse_hello(&hello(0)), Err(OpeningError::Version { found: 0 }));
    let newer = opening::parse_hello(&hello(7)).unwrap();
    let (welcome, outcome) = opening::welcome(&newer, None, [3; 16]);
    assert_eq!(outcome, Outcome::Fresh { id: [3; 16] });
    assert_eq!(Welcome::decode(body(&welcome)).unwrap().version, opening::VERSION);
    assert_eq!(opening::on_welcome(body(&welcome), None), Ok(Outcome::Fresh { id: [3; 16] }));
    let ahead = Welcome { version: 9, session: vec![0; 16], ..Default::default() }.encode_to_vec();
    assert_eq!(opening::on_welcome(&ahead, None), Err(OpeningError::Version { found: 9 }));
    for malformed in ["", "/w==", "no base64"] {
        let parsed = opening::parse_hello(malformed);
        assert!(matches!(parsed, Err(OpeningError::Malformed | OpeningError::Version { found: 0 })));
    }
    let stranger = Welcome { version: 1, session: vec![0; 16], resumed: true, received: 0 }.encode_to_vec();
    assert_eq!(opening::on_welcome(&stranger, None), Err(OpeningError::Session));
}

#[test]
fn a_session_the_master_forgot_begins_afresh() {
    let mut agent = AgentSession::new([1; 16]);
    agent.send(to_master(1)).unwrap();
    let hello = opening::parse_hello(&opening::hello(Some(&agent))).unwrap();
    assert_eq!(opening::session_of(&hello), Some([1; 16]));
    let (welcome, _) = opening::welcome(&hello, None, [2; 16]);
    assert_eq!(opening::on_welcome(body(&welcome), Some(&mut agent)), Ok(Outcome::Fresh { id: [2; 16] }));
    // An agent that lost what it had taken cannot go on either.
    let mut master = MasterSession::new([1; 16]);
    let frame = master.send(to_agent(1)).unwrap();
    agent.on_frame(body(&frame)).unwrap();
    let acknowledgement = agent.acknowledgement().unwrap();
    master.on_frame(body(&acknowledgement)).unwrap();
    let hello = Hello { version: 1, session: vec![1; 16], received: 0 };
    let (_, outcome) = opening::welcome(&hello, Some(&mut master), [2; 16]);
    assert_eq!(outcome, Outcome::Fresh { id: [2; 16] });
}

/// One step of the lossy world below.
#[derive(Debug, Clone)]
enum Step {
    AgentSends,
    MasterSends,
    AgentAcknowledges,
    MasterAcknowledges,
    /// Delivers up to this many bytes to the master, or to the agent.
    ToMaster(usize),
    ToAgent(usize),
    /// Drops everything under way and connects again.
    Reconnect,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => Just(Step::AgentSends),
        4 => Just(Step::MasterSends),
        1 => Just(Step::AgentAcknowledges),
        1 => Just(Step::MasterAcknowledges),
        5 => (1usize..80).prop_map(Step::ToMaster),
        5 => (1usize..80).prop_map(Step::ToAgent),
        1 => Just(Step::Reconnect),
    ];
    prop::collection::vec(step, 0..300)
}

/// Both ends and the bytes between them.
struct World {
    agent: AgentSession,
    master: MasterSession,
    up: Vec<u8>,
    down: Vec<u8>,
    up_frames: Frames,
    down_frames: Frames,
    sent: (u64, u64),
    taken: (u64, u64),
}

impl World {
    fn reconnect(&mut self) {
        (self.up_frames, self.down_frames) = (Frames::new(), Frames::new());
        let hello = opening::parse_hello(&opening::hello(Some(&self.agent))).unwrap();
        let (welcome, outcome) = opening::welcome(&hello, Some(&mut self.master), [9; 16]);
        let Outcome::Resumed { resend } = outcome else { panic!("the master lost the session") };
        self.down = resend.concat();
        let outcome = opening::on_welcome(body(&welcome), Some(&mut self.agent)).unwrap();
        let Outcome::Resumed { resend } = outcome else { panic!("the agent lost the session") };
        self.up = resend.concat();
    }

    fn deliver_up(&mut self, count: usize) {
        let count = count.min(self.up.len());
        self.up_frames.push(&self.up[..count]);
        self.up.drain(..count);
        while let Some(frame) = self.up_frames.next_frame().unwrap() {
            if let Some(message) = self.master.on_frame(&frame).unwrap() {
                self.taken.0 += 1;
                assert_eq!(message, to_master(self.taken.0));
            }
        }
    }

    fn deliver_down(&mut self, count: usize) {
        let count = count.min(self.down.len());
        self.down_frames.push(&self.down[..count]);
        self.down.drain(..count);
        while let Some(frame) = self.down_frames.next_frame().unwrap() {
            if let Some(message) = self.agent.on_frame(&frame).unwrap() {
                self.taken.1 += 1;
                assert_eq!(message, to_agent(self.taken.1));
            }
        }
    }
}

proptest! {
    #[test]
    fn every_message_arrives_once_and_in_order_over_lossy_connections(steps in steps()) {
        let mut world = World {
            agent: AgentSession::new([1; 16]),
            master: MasterSession::new([1; 16]),
            up: Vec::new(),
            down: Vec::new(),
            up_frames: Frames::new(),
            down_frames: Frames::new(),
            sent: (0, 0),
            taken: (0, 0),
        };
        for step in steps {
            match step {
                Step::AgentSends => {
                    world.sent.0 += 1;
                    let frame = world.agent.send(to_master(world.sent.0)).unwrap();
                    world.up.extend_from_slice(&frame);
                }
                Step::MasterSends => {
                    world.sent.1 += 1;
                    let frame = world.master.send(to_agent(world.sent.1)).unwrap();
                    world.down.extend_from_slice(&frame);
                }
                Step::AgentAcknowledges => world.up.extend(world.agent.acknowledgement().unwrap_or_default()),
                Step::MasterAcknowledges => world.down.extend(world.master.acknowledgement().unwrap_or_default()),
                Step::ToMaster(count) => world.deliver_up(count),
                Step::ToAgent(count) => world.deliver_down(count),
                Step::Reconnect => world.reconnect(),
            }
        }
        world.reconnect();
        world.deliver_up(usize::MAX);
        world.deliver_down(usize::MAX);
        prop_assert_eq!(world.taken, world.sent);
        prop_assert!(world.agent.unacknowledged() as u64 <= world.sent.0);
    }

    #[test]
    fn any_bytes_are_refused_or_taken_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut session = AgentSession::new([1; 16]);
        let _ = session.on_frame(&bytes);
        let _ = opening::parse_hello(&STANDARD.encode(&bytes));
        let _ = opening::parse_hello(&String::from_utf8_lossy(&bytes));
        let _ = opening::on_welcome(&bytes, Some(&mut session));
        let mut frames = Frames::new();
        frames.push(&bytes);
        while let Ok(Some(_)) = frames.next_frame() {}
    }
}
