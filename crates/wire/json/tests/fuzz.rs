//! The fuzz targets of JSON and protobuf, driven by seeded changes of real bodies.

use mezzo_mesos::v1::scheduler::Call;
use prost::Message as _;

#[path = "../../../../fuzz/src/json.rs"]
mod json;
#[path = "../../../../fuzz/src/protobuf.rs"]
mod protobuf;

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

const ACCEPT: &str = r#"{"type":"ACCEPT","framework_id":{"value":"f"},"accept":{"offer_ids":[{"value":"o"}],
"operations":[{"type":"LAUNCH","launch":{"task_infos":[{"name":"t","task_id":{"value":"t"},"agent_id":{"value":"a"},
"resources":[{"name":"cpus","type":"SCALAR","scalar":{"value":0.5}},{"name":"ports","type":"RANGES","ranges":{"range":[{"begin":1,"end":2}]}}],
"command":{"value":"sleep \u0031\ud83d\ude00","shell":"true","environment":{"variables":[{"name":"A","value":"b"}]}},
"limits":{"cpus":{"value":"Infinity"}},"data":"AAEC","labels":{"labels":{"key":"k"}}}]}}],"filters":{"refuse_seconds":1e1}}}"#;

#[test]
fn changed_json_bodies_are_refused_or_read() {
    let tokens: [&[u8]; 12] = [
        b"{",
        b"}",
        b"[",
        b"]",
        b"null",
        b"\"",
        b"\\u",
        b"1e999",
        b"-",
        b",",
        b"\xff",
        b"\"type\":\"KILL\",",
    ];
    let mut mutations = Mutations(1);
    json::run(ACCEPT.as_bytes());
    for _ in 0..4_000 {
        json::run(&mutations.mutate(ACCEPT.as_bytes(), &tokens));
    }
}

#[test]
fn changed_protobuf_bodies_are_refused_or_read() {
    let call: Call = mezzo_json::from_slice(ACCEPT.as_bytes()).unwrap();
    let bytes = call.encode_to_vec();
    let tokens: [&[u8]; 4] = [&[0xff; 10], &[0x0a, 0], &[0x12, 0xff, 0xff, 0xff, 0x0f], &[0]];
    let mut mutations = Mutations(2);
    protobuf::run(&bytes);
    for _ in 0..4_000 {
        protobuf::run(&mutations.mutate(&bytes, &tokens));
    }
}
