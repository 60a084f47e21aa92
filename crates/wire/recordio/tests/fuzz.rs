//! The fuzz target of RecordIO, driven by seeded changes of a real stream.

#[path = "../../../../fuzz/src/recordio.rs"]
mod recordio;

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
fn changed_streams_give_the_same_records_in_any_pieces() {
    let tokens: [&[u8]; 5] = [b"\n", b"0\n", b"99999999999999999999\n", b"-1\n", b"3\nabc"];
    let mut mutations = Mutations(3);
    for _ in 0..5_000 {
        recordio::run(&mutations.mutate(b"5\nhello0\n20\n{\"type\":\"HEARTBEAT\"}", &tokens));
    }
}
