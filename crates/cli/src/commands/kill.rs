//! `mezzo kill`

use mezzo_mesos::v1::{ContainerId, agent};

use crate::{
    args::{Global, Kill},
    client::{self, Master},
    error::{CliError, Exit},
    files,
};

/// Signals the container of a task. A kill in Mesos' sense is its scheduler's alone; this is the
/// operator's: the scheduler sees the task fail and may start it again.
pub(crate) async fn kill(global: &Global, arguments: &Kill) -> Result<(), CliError> {
    let mut master = Master::new(&global.master);
    let state = master.state().await?;
    let task = state.find_task(&arguments.task)?;
    let id = &task.task_id.value;
    let not_running = |why: &str| {
        CliError::new(Exit::Conflict, format!("task {id} does not run"))
            .why(why)
            .help(format!("mezzo why {id}"))
    };
    if !state
        .tasks
        .tasks
        .iter()
        .any(|live| live.task_id == task.task_id && live.framework_id == task.framework_id)
    {
        return Err(not_running("it has ended"));
    }
    let container: ContainerId = task
        .statuses
        .iter()
        .rev()
        .find_map(|status| status.container_status.as_ref()?.container_id.clone())
        .ok_or_else(|| not_running("it has no container yet"))?;
    let agent = files::agent_address(&state, &task.agent_id)
        .ok_or_else(|| not_running("its agent is not registered"))?;
    let call = agent::Call {
        r#type: Some(agent::call::Type::KillContainer as i32),
        kill_container: Some(agent::call::KillContainer {
            container_id: container,
            signal: Some(arguments.signal),
        }),
        ..Default::default()
    };
    client::agent_call(master.client(), &agent, call).await?;
    eprintln!("sent signal {} to task {id}", arguments.signal);
    Ok(())
}
