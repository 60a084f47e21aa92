//! `mezzo cp`: files out of tasks and into them.
//!
//! What lies in a sandbox is read through the agent's files, also when the task has ended. All else goes
//! through a command beside the task, with the task's own rights.

use std::{
    fs::{self, File},
    io::{Read as _, Write},
    path::{Path, PathBuf},
};

use mezzo_mesos::v1;

use crate::{
    args::{Cp, Global},
    client::{Master, State},
    error::{CliError, Exit},
    files::LogFile,
    session::Place,
};

/// Read of a file of ours at once.
const PIECE_BYTES: usize = 64 << 10;

/// Writes standard input to a file, or into a folder under the name of the source.
const STORE: &str = r#"if [ -d "$1" ]; then set -- "${1%/}/$2"; fi; exec cat > "$1""#;

/// One end of a copy.
#[derive(Debug, PartialEq)]
enum Side<'a> {
    /// A file of a task.
    Task(&'a str, &'a str),
    /// A file of ours.
    Local(&'a Path),
}

/// `TASK:PATH`, unless a slash comes before the colon.
fn side(text: &str) -> Side<'_> {
    match text.split_once(':') {
        Some((task, path)) if !task.is_empty() && !task.contains('/') => Side::Task(task, path),
        _ => Side::Local(Path::new(text)),
    }
}

/// Copies one file.
pub(crate) async fn copy(global: &Global, arguments: &Cp) -> Result<(), CliError> {
    let mut master = Master::new(&global.master);
    match (side(&arguments.source), side(&arguments.target)) {
        (Side::Task(task, path), Side::Local(target)) => {
            let state = master.state().await?;
            let task = state.find_task(task)?;
            read(&master, &state, task, path, target).await
        }
        (Side::Local(source), Side::Task(task, path)) => {
            let state = master.state().await?;
            let task = state.find_task(task)?;
            write(&master, &state, task, source, path).await
        }
        _ => Err(CliError::usage("one side has to be a file of a task, and only one")
            .help("mezzo cp TASK:stdout .")
            .help("mezzo cp ./file TASK:file")),
    }
}

async fn read(
    master: &Master,
    state: &State,
    task: &v1::Task,
    path: &str,
    target: &Path,
) -> Result<(), CliError> {
    let name = Path::new(path)
        .file_name()
        .filter(|_| !path.ends_with('/'))
        .ok_or_else(|| CliError::usage(format!("'{path}' names no file")).help("mezzo cp TASK:stdout ."))?;
    let mut sink =
        Sink { path: if target.is_dir() { target.join(name) } else { target.to_owned() }, file: None };
    if path.starts_with('/') {
        let place = Place::of_task(master.client(), state, task)?;
        let (container, mut output) =
            place.launch(&super::run::unique_id("cp"), command(&["cat", "--", path]), None).await?;
        // It reads none.
        let _input = container.input();
        let mut words = Vec::new();
        while let Some((is_error, bytes)) = output.next().await? {
            if is_error { words.extend(bytes) } else { sink.write(&bytes)? }
        }
        finish(&container, path, &words).await?;
    } else {
        let mut file = LogFile::of_task(master.client(), state, task, path)?;
        loop {
            match file.read().await? {
                Some(data) if data.is_empty() => break,
                Some(data) => sink.write(&data)?,
                None => {
                    let id = &task.task_id.value;
                    return Err(CliError::new(Exit::NotFound, format!("task {id} has no file '{path}'"))
                        .why("nothing of this name is in its sandbox"));
                }
            }
        }
    }
    // Also an empty file is a file.
    sink.write(&[])
}

async fn write(
    master: &Master,
    state: &State,
    task: &v1::Task,
    source: &Path,
    path: &str,
) -> Result<(), CliError> {
    let unreadable = |error: std::io::Error| {
        CliError::new(Exit::Failed, "read the source")
            .place(source.display().to_string())
            .why(error.to_string())
    };
    let name = source
        .file_name()
        .and_then(|name| name.to_str())
        .ok_or_else(|| CliError::usage(format!("'{}' names no file", source.display())))?;
    if source.is_dir() {
        return Err(CliError::usage(format!("'{}' is a folder", source.display()))
            .why("files are copied one by one")
            .help("tar c FOLDER | mezzo exec -i TASK -- tar x"));
    }
    let mut file = File::open(source).map_err(unreadable)?;
    let place = Place::of_task(master.client(), state, task)?;
    let path = if path.is_empty() { "." } else { path };
    let words = command(&["/bin/sh", "-c", STORE, "sh", path, name]);
    let (container, mut output) = place.launch(&super::run::unique_id("cp"), words, None).await?;
    let mut input = container.input();
    let mut said = Vec::new();
    let mut is_over = false;
    let mut buffer = vec![0; PIECE_BYTES];
    loop {
        tokio::select! {
            piece = output.next() => match piece? {
                Some((_, bytes)) => said.extend(bytes),
                None => break,
            },
            closed = input.closed(), if !is_over => {
                is_over = true;
                closed?;
            }
            () = tokio::time::sleep(super::exec::ROOM_POLL), if !is_over && !input.has_room() => {}
            () = std::future::ready(()), if !is_over && input.has_room() => {
                let length = file.read(&mut buffer).map_err(unreadable)?;
                // An empty piece ends its input.
                input.write(buffer.get(..length).unwrap_or_default().to_vec());
                if length == 0 {
                    is_over = true;
                }
                tokio::task::yield_now().await;
            }
        }
    }
    finish(&container, path, &said).await
}

/// The end of the command that read or wrote a file.
async fn finish(container: &Place, path: &str, said: &[u8]) -> Result<(), CliError> {
    let code = container.wait().await?;
    container.remove().await;
    if code == 0 {
        return Ok(());
    }
    let said = String::from_utf8_lossy(said);
    let why = if said.trim().is_empty() { format!("exit code {code}") } else { said.trim().to_owned() };
    Err(CliError::new(Exit::Failed, format!("copy '{path}'")).why(why))
}

fn command(words: &[&str]) -> v1::CommandInfo {
    v1::CommandInfo {
        shell: Some(false),
        value: words.first().map(|word| (*word).to_owned()),
        arguments: words.iter().map(|word| (*word).to_owned()).collect(),
        ..Default::default()
    }
}

/// Where a file is copied to: made when there is something to write, and never left half-written under
/// its name.
struct Sink {
    path: PathBuf,
    file: Option<(PathBuf, File)>,
}

impl Sink {
    fn write(&mut self, bytes: &[u8]) -> Result<(), CliError> {
        if self.path == Path::new("-") {
            return super::logs::write(bytes).map(|_| ());
        }
        let path = self.path.clone();
        let failed = |error: std::io::Error| {
            CliError::new(Exit::Failed, "write the target")
                .place(path.display().to_string())
                .why(error.to_string())
        };
        let file = match &mut self.file {
            Some((_, file)) => file,
            None => {
                let mut part = path.clone().into_os_string();
                part.push(".part");
                let part = PathBuf::from(part);
                let file = File::create(&part).map_err(failed)?;
                &mut self.file.insert((part, file)).1
            }
        };
        if bytes.is_empty() {
            // The end.
            if let Some((part, _)) = self.file.take() {
                fs::rename(part, &path).map_err(failed)?;
            }
            return Ok(());
        }
        file.write_all(bytes).map_err(failed)
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        if let Some((part, _)) = self.file.take() {
            // What is half of a file helps nobody.
            let _ = fs::remove_file(part);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_colon_behind_a_name_means_a_task() {
        assert_eq!(side("web:stdout"), Side::Task("web", "stdout"));
        assert_eq!(side("web:/etc/a:b"), Side::Task("web", "/etc/a:b"));
        assert_eq!(side("./a:b"), Side::Local(Path::new("./a:b")));
        assert_eq!(side("plain"), Side::Local(Path::new("plain")));
        assert_eq!(side("web:"), Side::Task("web", ""));
    }
}
