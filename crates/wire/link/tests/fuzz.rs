//! The fuzz target of the link, driven by seeded changes of real frames.

use mezzo_link::AgentSession;
use mezzo_protocol::link::{ExecutorMessage, ToMaster, to_master};

#[path = "../../../../fuzz/src/link.rs"]
mod link;

/// Changes at random, from a fixed seed: the same bytes on every run.
struct Mutations(u64);

impl Mutations {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn mutate(&mut self, seed: &[u8], tokens: &[&[u8]]) -> Vec<u8> {
        let mut data = seed.to_vec();
        for _ in 0..1 + self.next() % 6 {
            let at = self.next() as usize % (data.len() + 1);
            match self.next() % 5 {
                0 => data.truncate(at),
                1 if at < data.len() => data[at] = self.next() as u8,
                2 => {
                    let token = tokens[self.next() as usize % tokens.len()];
                    data.splice(at..at, token.iter().copied());
                }
                3 => {
                    let end = (at + self.next() as usize % 16).min(data.len());
                    data.drain(at..end);
                }
                _ => {
                    let end = (at + self.next() as usize % 64).min(data.len());
                    let piece = data[at..end].to_vec();
                    data.splice(at..at, piece);
                }
            }
        }
        data
    }
}

#[test]
fn changed_frames_are_refused_or_taken() {
    let mut agent = AgentSession::new([1; 16]);
    let mut stream = Vec::new();
    for number in 0..3 {
        let message =
            to_master::Message::ExecutorMessage(ExecutorMessage { data: vec![number], ..Default::default() });
        stream.extend_from_slice(&agent.send(ToMaster { message: Some(message) }).unwrap());
    }
    let tokens: [&[u8]; 4] =
        [&[0, 0, 0, 0], &[0xff, 0xff, 0xff, 0xff], &[0, 0, 0, 2, 8, 1], &[0x10, 0xff, 0x01]];
    let mut mutations = Mutations(4);
    link::run(&stream);
    for _ in 0..5_000 {
        link::run(&mutations.mutate(&stream, &tokens));
    }
}
