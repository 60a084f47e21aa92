//! What agents say about their images.

use mezzo_http::{Body, Client, ClientResponse, HeaderMap, Method, StatusCode};
use mezzo_images::Reference;
use mezzo_mesos::v1;
use serde::Deserialize;

use crate::{
    client::{self, State},
    error::{CliError, Exit},
    files::agent_address,
    output::bytes_of,
};

/// An agent's answer about its images; some hundred thousand of them.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// One line about a pull.
const LINE_BYTES_MAX: usize = 64 << 10;

/// What an agent has, and what it is bringing.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Images {
    pub(crate) images: Vec<Here>,
    pub(crate) pulls: Vec<Coming>,
}

/// An image in an agent's store.
#[derive(Debug, Deserialize)]
pub(crate) struct Here {
    /// With its registry.
    pub(crate) name: String,
    pub(crate) digest: String,
    /// Unpacked.
    pub(crate) bytes: u64,
    /// Seconds since the epoch.
    pub(crate) pulled: f64,
    pub(crate) in_use: bool,
}

/// An image on its way to an agent.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Coming {
    /// As it was asked for.
    pub(crate) image: String,
    /// Who wants it.
    pub(crate) waiting: u64,
    /// Packed bytes that are there.
    pub(crate) bytes: u64,
    pub(crate) bytes_total: u64,
    /// Layers that are unpacked.
    pub(crate) layers: u64,
    pub(crate) layers_total: u64,
}

impl Coming {
    /// How far it is: `12 of 68 MB`.
    pub(crate) fn progress(&self) -> String {
        if self.layers_total == 0 {
            "asks the registry".to_owned()
        } else if self.bytes < self.bytes_total {
            bytes_of(self.bytes, self.bytes_total)
        } else {
            format!("unpacks, {} of {} layers done", self.layers, self.layers_total)
        }
    }
}

/// The last word about a pull.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Line {
    Done { digest: String, bytes_unpacked: u64 },
    Failed { error: String },
    Progress(Coming),
}

/// What came of a pull.
#[derive(Debug)]
pub(crate) struct Pulled {
    pub(crate) digest: String,
    /// Unpacked.
    pub(crate) bytes: u64,
}

/// Reads the name of an image.
pub(crate) fn reference(text: &str) -> Result<Reference, CliError> {
    text.parse::<Reference>().map_err(|error| {
        CliError::usage(error.to_string())
            .help("mezzo run busybox:1.36 -- echo hi      a container with an image")
            .help("mezzo run -- echo hi                   a process without")
    })
}

/// The image of a task, when it has one.
pub(crate) fn of_task(task: &v1::Task) -> Option<Reference> {
    let image = task.container.as_ref()?.mesos.as_ref()?.image.as_ref()?;
    image.docker.as_ref()?.name.parse().ok()
}

/// Images of the agent at `host:port`; `None` where containers have none.
pub(crate) async fn of_agent(client: &Client, address: &str) -> Result<Option<Images>, CliError> {
    let answer = client.get(address, "/images").await;
    let answer = answer.map_err(|error| {
        client::unreachable("the agent does not answer", address, &error).help("mezzo nodes")
    })?;
    if answer.status == StatusCode::NOT_FOUND {
        return Ok(None);
    }
    let answer = client::accepted(answer, address, "the agent refused").await?;
    let body = answer.bytes(ANSWER_BYTES_MAX).await;
    let body = body.map_err(|error| client::unreachable("the answer broke off", address, &error))?;
    serde_json::from_slice(&body).map(Some).map_err(|error| unreadable(address, &error.to_string()))
}

/// An image on its way to an agent, if it is.
pub(crate) async fn coming(client: &Client, address: &str, image: &Reference) -> Option<Coming> {
    let wanted = image.to_string();
    let images = of_agent(client, address).await.ok()??;
    images.pulls.into_iter().find(|pull| pull.image == wanted)
}

/// Has an agent bring an image; `told` hears how far it is.
pub(crate) async fn pull(
    client: &Client,
    address: &str,
    image: &Reference,
    told: impl Fn(Coming),
) -> Result<Pulled, CliError> {
    let broken = |error| client::unreachable("the agent does not answer", address, &error);
    // Every character of a reference stands for itself in a query.
    let path = format!("/images/pull?image={image}");
    let sent = client.request(Method::POST, address, &path, HeaderMap::new(), Body::Empty).await;
    let answer = client::accepted(sent.map_err(broken)?, address, "the agent refused").await?;
    let mut lines = Lines { answer, rest: Vec::new() };
    while let Some(line) = lines.next(address).await? {
        match serde_json::from_slice(&line).map_err(|error| unreadable(address, &error.to_string()))? {
            Line::Progress(coming) => told(coming),
            Line::Done { digest, bytes_unpacked: bytes } => return Ok(Pulled { digest, bytes }),
            Line::Failed { error } => return Err(CliError::new(Exit::Failed, error)),
        }
    }
    Err(CliError::new(Exit::Unreachable, "the agent ended while it pulled").place(address))
}

/// The lines of an answer as they come.
struct Lines {
    answer: ClientResponse,
    rest: Vec<u8>,
}

impl Lines {
    async fn next(&mut self, address: &str) -> Result<Option<Vec<u8>>, CliError> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let after = self.rest.split_off(end + 1);
                return Ok(Some(std::mem::replace(&mut self.rest, after)));
            }
            if self.rest.len() > LINE_BYTES_MAX {
                return Err(unreadable(address, "a line of it does not end"));
            }
            match self.answer.chunk().await {
                None => return Ok(None),
                Some(Ok(chunk)) => self.rest.extend_from_slice(&chunk),
                Some(Err(error)) => {
                    return Err(client::unreachable("the answer broke off", address, &error));
                }
            }
        }
    }
}

fn unreadable(address: &str, why: &str) -> CliError {
    CliError::new(Exit::Failed, "the answer cannot be read").place(address).why(why)
}

/// Agents that a user means: names and addresses. All, or the one of this host name or id.
pub(crate) fn agents(state: &State, wanted: Option<&str>) -> Result<Vec<(String, String)>, CliError> {
    let wanted = wanted.filter(|wanted| *wanted != "all");
    let all = state.agents.agents.iter().filter_map(|agent| {
        let id = agent.agent_info.id.as_ref()?;
        Some((agent.agent_info.hostname.clone(), id.value.as_str(), agent_address(state, id)?))
    });
    let meant = |name: &str, id: &str| wanted.is_none_or(|wanted| name == wanted || id.starts_with(wanted));
    let mut agents: Vec<(String, String)> =
        all.filter(|(name, id, _)| meant(name, id)).map(|(name, _, address)| (name, address)).collect();
    agents.sort();
    match (wanted, agents.is_empty()) {
        (Some(wanted), true) => {
            Err(CliError::new(Exit::NotFound, format!("no agent is called '{wanted}'")).help("mezzo nodes"))
        }
        (None, true) => Err(CliError::new(Exit::NotFound, "there is no agent").help("mezzo nodes")),
        _ => Ok(agents),
    }
}

/// What to say when no agent has images.
pub(crate) fn none_has_any() -> CliError {
    CliError::new(Exit::NotFound, "containers of these agents have no images")
        .why("an agent needs --image_providers=docker --isolation=filesystem/linux,docker/runtime,...")
        .help("mezzo dev   as root starts agents that have images")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_told_in_bytes_and_then_in_layers() {
        let mut coming = Coming::default();
        assert_eq!(coming.progress(), "asks the registry");
        coming = Coming { bytes: 12_400_000, bytes_total: 68_000_000, layers_total: 5, ..coming };
        assert_eq!(coming.progress(), "12 of 68 MB");
        coming = Coming { bytes: 68_000_000, layers: 3, ..coming };
        assert_eq!(coming.progress(), "unpacks, 3 of 5 layers done");
    }

    #[test]
    fn lines_of_a_pull_are_told_apart() {
        let read = |text: &str| serde_json::from_str::<Line>(text).expect("a line");
        assert!(matches!(
            read(r#"{"bytes":1,"bytes_total":2,"layers":0,"layers_total":1}"#),
            Line::Progress(_)
        ));
        assert!(matches!(read(r#"{"digest":"d","id":"i","bytes_unpacked":1}"#), Line::Done { .. }));
        assert!(matches!(read(r#"{"error":"no"}"#), Line::Failed { .. }));
    }
}
