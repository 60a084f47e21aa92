//! Any bytes as a link: frames, openings and a session that refuses or takes them.

use mezzo_link::{AgentSession, Frames, MasterSession, opening};

/// Reads `data` as a stream of frames on both ends, and as an opening.
pub(crate) fn run(data: &[u8]) {
    let mut frames = Frames::new();
    frames.push(data);
    let mut agent = AgentSession::new([1; 16]);
    let mut master = MasterSession::new([1; 16]);
    while let Ok(Some(body)) = frames.next_frame() {
        let before = (agent.received(), master.received());
        let _ = agent.on_frame(&body);
        let _ = master.on_frame(&body);
        assert!(agent.received() - before.0 <= 1 && master.received() - before.1 <= 1);
    }
    if let Ok(hello) = opening::parse_hello(&String::from_utf8_lossy(data)) {
        opening::welcome(&hello, Some(&mut master), [2; 16]);
    }
    let _ = opening::on_welcome(data, Some(&mut agent));
}
