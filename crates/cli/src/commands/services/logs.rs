//! `mezzo logs` of an app: all instances, and the last one that failed, line by line.

use std::{
    collections::BTreeMap,
    io::{IsTerminal as _, Write as _},
    time::Duration,
};

use mezzo_mesos::v1;
use serde_json::Value;

use super::{list as members, text};
use crate::{
    args::{Global, Logs},
    client::{Master, State},
    error::{CliError, Exit},
    files::LogFile,
    services::{Services, path_of},
};

/// Between two looks at what is followed.
const POLL: Duration = Duration::from_millis(500);
/// Instances whose logs are shown at once: a person follows no more, and each is a request twice a second.
const INSTANCES_MAX: usize = 100;
/// A line longer than this is shown in pieces.
const LINE_BYTES_MAX: usize = 64 << 10;
/// Colours that are told apart on dark and light terminals.
const COLOURS: [u8; 6] = [36, 33, 35, 32, 34, 31];

/// One instance whose output is shown.
struct Source {
    file: LogFile,
    label: String,
    rest: Vec<u8>,
}

/// Prints what all instances of an app write. `false`: there is no such app, or nobody to ask.
pub(crate) async fn app_logs(global: &Global, arguments: &Logs) -> Result<bool, CliError> {
    let services = Services::new(&arguments.server.services);
    let path = format!("/v2/apps{}", path_of(&arguments.task));
    let mut app = match services.get(&path).await {
        Ok(answer) => answer,
        Err(error) if error.exit() != Exit::Denied => return Ok(false),
        Err(error) => return Err(error),
    };
    let mut master = Master::new(&global.master);
    let name = if arguments.stderr { "stderr" } else { "stdout" };
    let coloured = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let mut sources: BTreeMap<String, Source> = BTreeMap::new();
    let mut seen = 0;
    loop {
        let wanted = wanted(&app["app"]);
        if wanted.iter().any(|(id, _)| !sources.contains_key(id)) {
            let state = master.state().await?;
            for (id, label) in &wanted {
                if !sources.contains_key(id)
                    && let Some(task) = task_of(&state, id)
                    && let Ok(file) = LogFile::of_task(master.client(), &state, task, name)
                {
                    let label = if coloured {
                        format!("\x1b[{}m{label}\x1b[0m ", COLOURS[seen % COLOURS.len()])
                    } else {
                        format!("{label} ")
                    };
                    seen += 1;
                    sources.insert(id.clone(), Source { file, label, rest: Vec::new() });
                }
            }
        }
        let mut gone = Vec::new();
        for (id, source) in &mut sources {
            // An agent that is away comes back; an instance that has ended and was read to its end is let go.
            let Ok(any) = source.read().await else { continue };
            if !any && !wanted.iter().any(|(one, _)| one == id) {
                gone.push(id.clone());
            }
        }
        for id in gone {
            if let Some(mut source) = sources.remove(&id) {
                source.flush()?;
            }
        }
        if !arguments.follow {
            return sources.values_mut().try_for_each(Source::flush).map(|()| true);
        }
        tokio::time::sleep(POLL).await;
        match services.get(&path).await {
            Ok(answer) => app = answer,
            Err(error) if error.exit() == Exit::NotFound => return Ok(true),
            // The framework is started again while its instances go on.
            Err(error) if error.exit() == Exit::Unreachable => {}
            Err(error) => return Err(error),
        }
    }
}

/// Ids and labels of what is shown: the last that failed first.
fn wanted(app: &Value) -> Vec<(String, String)> {
    let mut wanted = Vec::new();
    let failed = text(&app["lastTaskFailure"], "taskId");
    if !failed.is_empty() {
        let label = format!("{} {} (failed)", text(&app["lastTaskFailure"], "host"), short(&failed));
        wanted.push((failed, label));
    }
    for task in members(app, "tasks").iter().take(INSTANCES_MAX) {
        let id = text(task, "id");
        let label = format!("{} {}", text(task, "host"), short(&id));
        wanted.push((id, label));
    }
    wanted
}

/// The first letters of an instance's own part of its id.
fn short(task: &str) -> String {
    let unique = task.split_once(".instance-").map_or(task, |(_, rest)| rest);
    unique.chars().take(6).collect()
}

fn task_of<'a>(state: &'a State, id: &str) -> Option<&'a v1::Task> {
    state.all_tasks().find(|task| task.task_id.value == id)
}

impl Source {
    /// Prints the lines that were written since; whether there were any bytes.
    async fn read(&mut self) -> Result<bool, CliError> {
        let mut any = false;
        while let Some(data) = self.file.read().await? {
            if data.is_empty() {
                break;
            }
            any = true;
            self.rest.extend_from_slice(&data);
            let whole = match self.rest.iter().rposition(|byte| *byte == b'\n') {
                Some(end) => end + 1,
                None if self.rest.len() > LINE_BYTES_MAX => self.rest.len(),
                None => continue,
            };
            let lines: Vec<u8> = self.rest.drain(..whole).collect();
            print(&self.label, &lines)?;
        }
        Ok(any)
    }

    /// Prints a last line without its end.
    fn flush(&mut self) -> Result<(), CliError> {
        let rest = std::mem::take(&mut self.rest);
        if rest.is_empty() { Ok(()) } else { print(&self.label, &rest) }
    }
}

/// Whole lines, each with its label, in one write.
fn print(label: &str, lines: &[u8]) -> Result<(), CliError> {
    let mut text = Vec::with_capacity(lines.len() + label.len());
    for line in lines.split_inclusive(|byte| *byte == b'\n') {
        text.extend_from_slice(label.as_bytes());
        text.extend_from_slice(line);
    }
    if !text.ends_with(b"\n") {
        text.push(b'\n');
    }
    let mut out = std::io::stdout().lock();
    match out.write_all(&text).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => Err(CliError::new(Exit::Failed, "write to stdout").why(error.to_string())),
        Ok(()) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_last_failed_one_comes_first() {
        let app = json!({
            "tasks": [{ "id": "web.instance-abcdefgh._app.1", "host": "dev-1" }],
            "lastTaskFailure": { "taskId": "web.instance-zyxwvuts._app.1", "host": "dev-2" },
        });
        let labels: Vec<String> = wanted(&app).into_iter().map(|(_, label)| label).collect();
        assert_eq!(labels, ["dev-2 zyxwvu (failed)", "dev-1 abcdef"]);
    }
}
