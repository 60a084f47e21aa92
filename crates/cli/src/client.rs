//! Asks masters and agents over the v1 operator API.

use std::error::Error as _;

use mezzo_http::{Client, ClientError, ClientResponse, StatusCode, header};
use mezzo_mesos::v1::{self, agent, master};
use prost::Message;

use crate::error::{CliError, Exit};

const PROTOBUF: &str = "application/x-protobuf";
/// The state of a large cluster: 400,000 tasks of 500 bytes.
const ANSWER_BYTES_MAX: usize = 1 << 30;
/// Redirects in a row before we give up.
const REDIRECTS_MAX: usize = 5;

/// The leading master.
#[derive(Clone, Debug)]
pub(crate) struct Master {
    client: Client,
    address: String,
}

impl Master {
    /// The master at `host:port`; a `http://` in front is taken too.
    pub(crate) fn new(address: &str) -> Self {
        let address = address.strip_prefix("http://").unwrap_or(address).trim_end_matches('/');
        Self { client: Client::new(), address: address.to_owned() }
    }

    /// As given, or where redirects led.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// For requests that are not calls.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Makes a call without parameters.
    pub(crate) async fn get(&mut self, kind: master::call::Type) -> Result<master::Response, CliError> {
        self.call(master::Call { r#type: Some(kind as i32), ..Default::default() }).await
    }

    /// Makes a call, at the leading master.
    pub(crate) async fn call(&mut self, call: master::Call) -> Result<master::Response, CliError> {
        let body = call.encode_to_vec();
        for _ in 0..REDIRECTS_MAX {
            let sent = self.client.post(&self.address, "/api/v1", PROTOBUF, body.clone().into()).await;
            let answer = sent.map_err(|error| self.unreachable(&error))?;
            if answer.status == StatusCode::TEMPORARY_REDIRECT
                && let Some(leader) = answer.header(header::LOCATION).and_then(leader)
            {
                self.address = leader;
                continue;
            }
            return read(answer, &self.address, "the master refused").await;
        }
        Err(CliError::new(Exit::Unreachable, "no leading master")
            .place(&self.address)
            .why("redirects go in circles"))
    }

    /// Everything the master knows.
    pub(crate) async fn state(&mut self) -> Result<State, CliError> {
        let state = self.get(master::call::Type::GetState).await?.get_state.unwrap_or_default();
        Ok(State {
            tasks: state.get_tasks.unwrap_or_default(),
            frameworks: state.get_frameworks.unwrap_or_default(),
            agents: state.get_agents.unwrap_or_default(),
        })
    }

    /// What a framework is not offered. `None` from a master that cannot tell, as Mesos' cannot.
    pub(crate) async fn withheld(&mut self, framework: &str) -> Result<Option<Vec<Withheld>>, CliError> {
        let path = format!("/allocator/why?framework_id={framework}");
        let answer = self.client.get(&self.address, &path).await;
        let answer = answer.map_err(|error| self.unreachable(&error))?;
        if !answer.status.is_success() {
            return Ok(None);
        }
        let body = answer
            .bytes(ANSWER_BYTES_MAX)
            .await
            .map_err(|error| unreachable("the answer broke off", &self.address, &error))?;
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        Ok(body["withheld"].as_array().map(|all| all.iter().filter_map(Withheld::read).collect()))
    }

    fn unreachable(&self, error: &ClientError) -> CliError {
        unreachable("no master answers", &self.address, error)
            .help("start one here:   mezzo dev")
            .help("or name another:  mezzo --master HOST:PORT ...   (MEZZO_MASTER)")
    }
}

/// A snapshot of the master.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) tasks: master::response::GetTasks,
    pub(crate) frameworks: master::response::GetFrameworks,
    pub(crate) agents: master::response::GetAgents,
}

impl State {
    /// Tasks that have not ended, then those that have.
    pub(crate) fn all_tasks(&self) -> impl Iterator<Item = &v1::Task> {
        let tasks = &self.tasks;
        tasks.tasks.iter().chain(&tasks.unreachable_tasks).chain(&tasks.completed_tasks)
    }

    /// Name of a framework, also of an ended one.
    pub(crate) fn framework_name(&self, id: &v1::FrameworkId) -> Option<&str> {
        let all = self.frameworks.frameworks.iter().chain(&self.frameworks.completed_frameworks);
        let mut infos = all.map(|framework| &framework.framework_info);
        infos.find(|info| info.id.as_ref() == Some(id)).map(|info| info.name.as_str())
    }

    /// An agent by id.
    pub(crate) fn agent(&self, id: &v1::AgentId) -> Option<&master::response::get_agents::Agent> {
        self.agents.agents.iter().find(|agent| agent.agent_info.id.as_ref() == Some(id))
    }

    /// Whether a task has ended for good, or is nowhere to be found. A master that has just started
    /// hears of the tasks that go on from agents that have still to come back.
    pub(crate) fn is_over(&self, task: &v1::Task) -> bool {
        let tasks = &self.tasks;
        let mut open = tasks.tasks.iter().chain(&tasks.unreachable_tasks);
        let expected =
            self.agents.recovered_agents.iter().any(|info| info.id.as_ref() == Some(&task.agent_id));
        !expected
            && !open.any(|known| known.task_id == task.task_id && known.framework_id == task.framework_id)
    }

    /// The one task a user means: an id, the start of one, a name, or `last`.
    pub(crate) fn find_task(&self, wanted: &str) -> Result<&v1::Task, CliError> {
        if wanted == "last" {
            let first = |task: &&v1::Task| task.statuses.first().and_then(|s| s.timestamp).unwrap_or(0.0);
            let newest = self.all_tasks().max_by(|a, b| first(a).total_cmp(&first(b)));
            return newest.ok_or_else(|| CliError::new(Exit::NotFound, "there is no task yet"));
        }
        if let Some(task) = self.all_tasks().find(|task| task.task_id.value == wanted) {
            return Ok(task);
        }
        let matching: Vec<&v1::Task> = self
            .all_tasks()
            .filter(|task| task.task_id.value.starts_with(wanted) || task.name == wanted)
            .collect();
        match matching[..] {
            [task] => Ok(task),
            [] => Err(CliError::new(Exit::NotFound, format!("no task is called '{wanted}'"))
                .why("neither a running task nor one of the completed ones that the master remembers")
                .help("mezzo tasks --all")),
            [first, second, ..] => {
                Err(CliError::new(Exit::Conflict, format!("'{wanted}' can mean several tasks"))
                    .why(format!(
                        "{} tasks match, for example {} and {}",
                        matching.len(),
                        first.task_id.value,
                        second.task_id.value
                    ))
                    .help("give more of the id"))
            }
        }
    }
}

/// Makes a call to an agent at `host:port`.
pub(crate) async fn agent_call(
    client: &Client,
    address: &str,
    call: agent::Call,
) -> Result<agent::Response, CliError> {
    let sent = client.post(address, "/api/v1", PROTOBUF, call.encode_to_vec().into()).await;
    let answer =
        sent.map_err(|error| unreachable("the agent does not answer", address, &error).help("mezzo nodes"))?;
    read(answer, address, "the agent refused").await
}

/// Agents that a framework is not offered for one reason.
#[derive(Debug)]
pub(crate) struct Withheld {
    pub(crate) role: String,
    pub(crate) reason: String,
    /// Zero when it is about all.
    pub(crate) agents: u64,
    pub(crate) cpus: f64,
    /// In MB, as messages have it.
    pub(crate) mem: f64,
}

impl Withheld {
    fn read(value: &serde_json::Value) -> Option<Self> {
        let free = |name: &str| value["free"][name].as_f64().unwrap_or_default();
        Some(Self {
            role: value["role"].as_str()?.to_owned(),
            reason: value["reason"].as_str()?.to_owned(),
            agents: value["agents"].as_u64()?,
            cpus: free("cpus"),
            mem: free("mem"),
        })
    }
}

/// An answer whose status says that it was done, its body still to be read.
pub(crate) async fn accepted(
    answer: ClientResponse,
    address: &str,
    refused: &str,
) -> Result<ClientResponse, CliError> {
    if answer.status.is_success() {
        return Ok(answer);
    }
    read::<agent::Response>(answer, address, refused).await.and_then(|_| {
        Err(CliError::new(Exit::Failed, refused).place(address).why("the answer cannot be read"))
    })
}

async fn read<T: Message + Default>(
    answer: ClientResponse,
    address: &str,
    refused: &str,
) -> Result<T, CliError> {
    let status = answer.status;
    let body = answer
        .bytes(ANSWER_BYTES_MAX)
        .await
        .map_err(|error| unreachable("the answer broke off", address, &error))?;
    if !status.is_success() {
        let exit = match status {
            StatusCode::NOT_FOUND => Exit::NotFound,
            StatusCode::CONFLICT => Exit::Conflict,
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Exit::Denied,
            StatusCode::SERVICE_UNAVAILABLE => Exit::Unreachable,
            _ => Exit::Failed,
        };
        let text = String::from_utf8_lossy(&body);
        let why =
            if text.trim().is_empty() { status.to_string() } else { format!("{status}: {}", text.trim()) };
        return Err(CliError::new(exit, refused).place(format!("http://{address}/api/v1")).why(why));
    }
    if body.is_empty() {
        return Ok(T::default());
    }
    T::decode(body).map_err(|error| {
        CliError::new(Exit::Failed, "the answer cannot be read").place(address).why(error.to_string())
    })
}

/// Nobody there, with the chain of reasons.
pub(crate) fn unreachable(what: &str, address: &str, error: &ClientError) -> CliError {
    let mut why = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        why = format!("{why}: {cause}");
        source = cause.source();
    }
    CliError::new(Exit::Unreachable, what).place(format!("http://{address}")).why(why)
}

/// `//host:port/path` to `host:port`.
fn leader(location: &str) -> Option<String> {
    let rest = location.strip_prefix("http:").unwrap_or(location).strip_prefix("//")?;
    rest.split('/').next().filter(|address| !address.is_empty()).map(str::to_owned)
}
