//! Reads what a task wrote, through its agent.

use mezzo_http::Client;
use mezzo_mesos::v1::{self, agent};

use crate::{
    client::{self, State},
    error::{CliError, Exit},
};

/// Bytes asked for at once.
const READ_BYTES: u64 = 64 << 10;

/// One output file of a task, read from the start on.
#[derive(Clone, Debug)]
pub(crate) struct LogFile {
    client: Client,
    agent: String,
    path: String,
    offset: u64,
}

impl LogFile {
    /// `stdout` or `stderr` in the sandbox of an executor.
    pub(crate) fn new(client: &Client, agent: &str, framework: &str, executor: &str, name: &str) -> Self {
        let path = format!("/frameworks/{framework}/executors/{executor}/runs/latest/{name}");
        Self { client: client.clone(), agent: agent.into(), path, offset: 0 }
    }

    /// `stdout` or `stderr` of a task. Tasks of a group have a sandbox below their executor's.
    pub(crate) fn of_task(
        client: &Client,
        state: &State,
        task: &v1::Task,
        name: &str,
    ) -> Result<Self, CliError> {
        let agent = agent_address(state, &task.agent_id).ok_or_else(|| {
            CliError::new(Exit::Unreachable, format!("the agent of task {} is gone", task.task_id.value))
                .why(format!("agent {} is not registered", task.agent_id.value))
                .help("mezzo nodes")
        })?;
        let executor = task.executor_id.as_ref().map_or(&task.task_id.value, |id| &id.value);
        let nested = task.statuses.iter().any(|status| {
            let container = status.container_status.as_ref().and_then(|status| status.container_id.as_ref());
            container.is_some_and(|id| id.parent.is_some())
        });
        let name = if nested { format!("tasks/{}/{name}", task.task_id.value) } else { name.to_owned() };
        Ok(Self::new(client, &agent, &task.framework_id.value, executor, &name))
    }

    /// Whether something has been read of it.
    pub(crate) fn is_begun(&self) -> bool {
        self.offset > 0
    }

    /// What was written since the last time; empty when there is nothing, `None` when there is no file.
    pub(crate) async fn read(&mut self) -> Result<Option<Vec<u8>>, CliError> {
        let call = agent::Call {
            r#type: Some(agent::call::Type::ReadFile as i32),
            read_file: Some(agent::call::ReadFile {
                path: self.path.clone(),
                offset: self.offset,
                length: Some(READ_BYTES),
            }),
            ..Default::default()
        };
        match client::agent_call(&self.client, &self.agent, call).await {
            Ok(answer) => {
                let data = answer.read_file.unwrap_or_default().data;
                self.offset += data.len() as u64;
                Ok(Some(data))
            }
            Err(error) if error.exit() == Exit::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Where an agent's API is.
pub(crate) fn agent_address(state: &State, id: &v1::AgentId) -> Option<String> {
    let agent = state.agent(id)?;
    // The pid is name@ip:port; the host's name may not be known to the resolver here.
    let pid = agent.pid.as_deref().and_then(|pid| pid.split_once('@'));
    match pid {
        Some((_, address)) => Some(address.to_owned()),
        None => Some(format!("{}:{}", agent.agent_info.hostname, agent.agent_info.port.unwrap_or(5051))),
    }
}
