//! One container of another runtime, as its supervisor starts it.

use std::{
    fmt,
    fs::{self, DirBuilder, File},
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::{ffi::OsStrExt, fs::DirBuilderExt},
    },
    path::PathBuf,
    process::Stdio,
    time::{Duration, Instant},
};

use rustix::fs::{Mode, OFlags};

use super::{
    Assignment, bundle,
    command::{self, Said},
    console, folder,
    leftovers::Leftovers,
};
use crate::{
    confinement::Confined,
    filesystem::{self, Problem},
    job::Job,
    kernel::{self, Waited},
    relay,
};

/// Longest name that a runtime is given for a container.
const ID_BYTES_MAX: usize = 128;

/// What is left to be cleared away of a container.
pub(crate) struct Container {
    folder: PathBuf,
    leftovers: Leftovers,
    patience: Duration,
}

/// Why a container was not started.
pub(crate) enum Error {
    /// Its files could not be put together.
    Problem(Problem),
    /// Something else, in words to be read behind "Failed to".
    Words(String),
}

impl Error {
    fn io(what: &'static str) -> impl Fn(io::Error) -> Self {
        move |error| Self::Words(format!("{what}: {error}"))
    }

    fn errno(what: &'static str) -> impl Fn(rustix::io::Errno) -> Self {
        move |errno| Self::Words(format!("{what}: {}", kernel::errno_text(errno.raw_os_error())))
    }
}

impl Container {
    /// Writes down what will have to be cleared away, before there is anything.
    pub(crate) fn new(job: &Job, assignment: &Assignment<'_>) -> Result<Self, Error> {
        let container_dir = path(job.launch.runtime_dir.unwrap_or_default().to_bytes());
        let folder = folder(&container_dir);
        // What the program's environment holds is nobody else's business.
        DirBuilder::new().mode(0o700).create(&folder).map_err(Error::io("make the bundle's folder"))?;
        let groups = job.launch.cgroup_entrances.iter();
        let leftovers = Leftovers {
            program: path(assignment.program.to_bytes()),
            id: name(job.launch.id),
            hierarchy: path(assignment.hierarchy.to_bytes()),
            cgroup: path(assignment.cgroup.to_bytes()).iter().skip(1).collect(),
            kept: groups
                .filter_map(|entrance| Some(path(entrance.to_bytes()).parent()?.to_path_buf()))
                .collect(),
        };
        leftovers.write(&folder).map_err(Error::io("write down what is to be cleared away"))?;
        Ok(Self { folder, leftovers, patience: assignment.patience })
    }

    /// Lets the runtime make the container and start its program, whose process is a child of this one then.
    pub(crate) fn start(&self, job: &mut Job, assignment: &Assignment<'_>) -> Result<i32, Error> {
        let deadline = Instant::now() + self.patience;
        let plain = Confined::default();
        let confined = job.launch.confined.as_ref().unwrap_or(&plain);
        let (root, left) = filesystem::arrange(&job.launch, confined, &self.folder, assignment.hierarchy)
            .map_err(Error::Problem)?;
        let bundle = bundle::config(job, confined, assignment, &root, &left).map_err(Error::Words)?;
        let file = self.folder.join("config.json");
        fs::write(&file, bundle).map_err(Error::io("write the bundle"))?;

        let pid_file = self.folder.join("pid");
        let mut create = self.leftovers.command(&self.folder);
        create.arg("create").arg("--bundle").arg(&self.folder).arg("--pid-file").arg(&pid_file);
        kernel::die_with_parent(&mut create);
        if job.launch.terminal {
            self.create_with_terminal(job, create, deadline)?;
        } else {
            create.arg(&self.leftovers.id);
            let [stdout, stderr] = outputs(job)?;
            let words_from = stderr.try_clone().ok().map(File::from);
            create.stdin(input(job)?).stdout(stdout).stderr(stderr);
            self.run("create", create, deadline, Said::Passed, words_from)?;
        }
        // The runtime has its own copy as far as it needs one.
        let _ = fs::remove_file(&file);

        let text = fs::read_to_string(&pid_file).unwrap_or_default();
        let pid = text.trim().parse::<i32>().ok().filter(|pid| *pid > 1);
        let program = self.leftovers.program.display();
        let pid = pid.ok_or_else(|| {
            Error::Words(format!("create the container: '{program} create' has written no process id"))
        })?;
        match kernel::reap(pid) {
            Waited::NoneEnded => {}
            Waited::Ended { .. } => {
                let why = self.words(String::new(), None);
                return Err(Error::Words(format!("start the container: it has ended too early{why}")));
            }
            Waited::NoChildren => {
                let what = "whose end can be waited for: only runtimes that run containers as processes of this \
                    host can be used";
                return Err(Error::Words(format!(
                    "start the container: '{program}' has made process {pid}, not one {what}"
                )));
            }
        }
        let mut start = self.leftovers.command(&self.folder);
        start.args(["start", &self.leftovers.id]);
        kernel::die_with_parent(&mut start);
        self.run("start", start, deadline, Said::Kept, None)?;
        Ok(pid)
    }

    /// The program's streams are a terminal that the runtime makes and hands over.
    fn create_with_terminal(
        &self,
        job: &mut Job,
        mut create: std::process::Command,
        deadline: Instant,
    ) -> Result<(), Error> {
        relay::pass_everything(kernel::borrow_descriptor(job.input))
            .map_err(Error::errno("prepare the terminal"))?;
        let listener =
            console::listen(&self.folder).map_err(Error::io("listen for the container's terminal"))?;
        create.arg("--console-socket").arg(console::NAME).arg(&self.leftovers.id);
        self.run("create", create, deadline, Said::Kept, None)?;
        let terminal = console::take(&listener).ok_or_else(|| {
            let program = self.leftovers.program.display();
            Error::Words(format!("create the container: '{program} create' has handed over no terminal"))
        })?;
        job.outputs.use_terminal(terminal).map_err(Error::errno("use the container's terminal"))
    }

    fn run(
        &self,
        what: &str,
        command: std::process::Command,
        deadline: Instant,
        said: Said,
        words_from: Option<File>,
    ) -> Result<(), Error> {
        let program = self.leftovers.program.display();
        let before = words_from.as_ref().map_or(0, length);
        let patience = deadline.saturating_duration_since(Instant::now());
        let ended = command::run(command, patience, said).map_err(|error| {
            Error::Words(format!(
                "run the runtime '{program}': {error}; --runtime=oci:PATH tells which is used"
            ))
        })?;
        if ended.status.is_some_and(|status| status.success()) {
            return Ok(());
        }
        let how = command::ending(ended.status, self.patience);
        let words = self.words(ended.said, words_from.map(|file| (file, before)));
        Err(Error::Words(format!("{what} the container: '{program} {what}' {how}{words}")))
    }

    /// What the runtime had to say: in its log or else where it was heard, or in the container's standard error,
    /// from where its own begins.
    fn words(&self, said: String, from: Option<(File, u64)>) -> String {
        let mut words = command::complaints(&self.folder.join("log"));
        if words.is_empty() {
            words = said;
        }
        if words.is_empty()
            && let Some((file, before)) = from
        {
            words = tail(&file, before);
        }
        if words.is_empty() { "; it said nothing".to_owned() } else { format!(": {words}") }
    }

    /// Ends what may still be there and removes everything.
    pub(crate) fn clear(&self) {
        // Who could be told has other things to do; the next agent tries again.
        let _ = self.leftovers.clear(&self.folder);
    }
}

impl fmt::Debug for Container {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Container").field(&self.leftovers.id).finish()
    }
}

/// A name that every runtime takes; no two containers are in the same folder.
fn name(id: &str) -> String {
    let allowed = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' };
    let start = id.len().saturating_sub(ID_BYTES_MAX);
    let end = id.get(start..).unwrap_or("container");
    // Some do not take a name that begins with a dot.
    format!("m{}", end.chars().map(allowed).collect::<String>())
}

fn path(bytes: &[u8]) -> PathBuf {
    PathBuf::from(std::ffi::OsStr::from_bytes(bytes))
}

fn length(file: &File) -> u64 {
    file.metadata().map_or(0, |found| found.len())
}

/// The end of what was written to a file that is open for writing alone.
fn tail(file: &File, from: u64) -> String {
    use io::{Read as _, Seek as _};
    let link = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(file));
    let mut bytes = Vec::new();
    // A pipe must not be waited for.
    if !file.metadata().is_ok_and(|found| found.is_file()) {
        return String::new();
    }
    let Ok(mut again) = File::open(link) else { return String::new() };
    let start = from.max(length(file).saturating_sub(4096));
    if again.seek(io::SeekFrom::Start(start)).is_ok() {
        let _ = again.take(4096).read_to_end(&mut bytes);
    }
    command::shortened(&bytes)
}

fn input(job: &Job) -> Result<Stdio, Error> {
    if job.input < 0 {
        return Ok(Stdio::null());
    }
    Ok(copy(kernel::borrow_descriptor(job.input))?.into())
}

fn copy(descriptor: BorrowedFd<'_>) -> Result<OwnedFd, Error> {
    rustix::io::fcntl_dupfd_cloexec(descriptor, 3).map_err(Error::errno("connect the container's streams"))
}

/// Opens where the program writes, with its user's rights: the sandbox is the task's own.
fn outputs(job: &Job) -> Result<[OwnedFd; 2], Error> {
    let launch = &job.launch;
    let Some(credentials) = &launch.credentials else { return Ok([output(job, 0)?, output(job, 1)?]) };
    let failed = Error::errno("change to the task's user");
    let own = rustix::process::getgroups().map_err(&failed)?;
    rustix::thread::set_thread_groups(&job.groups).map_err(&failed)?;
    let opened =
        kernel::with_rights_of(credentials.uid, credentials.gid, || [output(job, 0), output(job, 1)]);
    rustix::thread::set_thread_groups(&own).map_err(&failed)?;
    let [stdout, stderr] = opened;
    Ok([stdout?, stderr?])
}

fn output(job: &Job, n: usize) -> Result<OwnedFd, Error> {
    if let Some(pipe) = job.outputs.pipe(n) {
        return copy(pipe);
    }
    let Some(output) = job.launch.outputs[n].name else {
        let opened = rustix::fs::open(c"/dev/null", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty());
        return opened.map_err(Error::errno("open /dev/null"));
    };
    let shown = path(output.to_bytes());
    let failed = |errno: rustix::io::Errno| {
        let why = kernel::errno_text(errno.raw_os_error());
        Error::Words(format!("open output file '{}': {why}", shown.display()))
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let sandbox = rustix::fs::open(job.launch.sandbox.unwrap_or_default(), flags, Mode::empty());
    let sandbox = sandbox.map_err(failed)?;
    let file = kernel::open_for_append_at(sandbox.as_fd(), output).map_err(failed)?;
    // NONBLOCK only guarded the opening; the program expects an ordinary file.
    rustix::fs::fcntl_setfl(&file, OFlags::APPEND).map_err(failed)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_such_that_every_runtime_takes_them() {
        assert_eq!(name("6e8d-1.check:2"), "m6e8d-1.check_2");
        assert!(name(&"x".repeat(900)).len() <= ID_BYTES_MAX + 1);
        assert_eq!(name(".."), "m..");
        let long = "é".repeat(100);
        assert!(name(&long).is_ascii());
    }
}
