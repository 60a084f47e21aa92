//! Gives the core what an earlier agent left: its log and its containers.

use mezzo_agent::{Agent, Effect, FoundContainer, FoundState};
use mezzo_container::RecoveredState;
use mezzo_protocol::records::AgentRecord;
use mezzo_time::Timestamp;
use prost::Message as _;
use rand_chacha::ChaCha12Rng;

/// The agent that goes on from there, and what it has to do first.
pub(crate) fn agent(
    config: mezzo_agent::Config,
    records: &[Vec<u8>],
    containers: Vec<mezzo_container::Recovered>,
    now: Timestamp,
    rng: &mut ChaCha12Rng,
) -> Result<(Agent, Vec<Effect>), String> {
    let records: Result<Vec<AgentRecord>, _> =
        records.iter().map(|record| AgentRecord::decode(record.as_slice())).collect();
    let records = records.map_err(|error| format!("a record of the log cannot be read: {error}"))?;
    let found = containers.into_iter().map(found).collect();
    let recovered = Agent::recover(config, records, found, now, rng).map_err(|error| error.to_string())?;
    Ok((recovered.agent, recovered.effects))
}

fn found(container: mezzo_container::Recovered) -> FoundContainer {
    let state = match container.state {
        // Zero is no process: its supervisor runs it and could not say which one it is.
        RecoveredState::Running { pid } => FoundState::Running(pid.unwrap_or(0)),
        RecoveredState::Ended(status) => FoundState::Ended(Some(status)),
        RecoveredState::LaunchFailed(_) | RecoveredState::Unknown => FoundState::Ended(None),
    };
    FoundContainer { id: container.id, state }
}
