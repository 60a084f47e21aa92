//! `mezzo run`: one task, its output, and its exit code.

use std::{io::Write, process::ExitCode, time::Duration};

use mezzo_http::Client;
use mezzo_images::Reference;
use mezzo_mesos::v1::{self, TaskState};
use mezzo_sdk::{Config, Driver, RunError, Scheduler};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
    time::{Instant, sleep, sleep_until, timeout},
};

use super::why::{self, NEEDS_LABEL};
use crate::{
    args::{Global, Run},
    client::Master,
    error::{CliError, Exit},
    files::LogFile,
    images,
    output::{number, state},
    progress::Ticker,
};

/// Between two looks at the output while there is some.
const POLL_MIN: Duration = Duration::from_millis(20);
/// Between two looks at the output of a quiet task.
const POLL_MAX: Duration = Duration::from_millis(500);
/// Between two looks at how far an image is.
const PULL_POLL: Duration = Duration::from_millis(300);
/// Without a fitting offer for this long we say what we wait for.
const WAIT_NOTICE: Duration = Duration::from_secs(3);
/// How long a killed task may take to end before we leave it to its agent.
const KILL_WAIT: Duration = Duration::from_secs(10);
/// A master that has just started knows that a task has ended, but not the words of its agent, which
/// hold the code. The agent repeats them after 10 s at the latest.
const WORDS_WAIT: Duration = Duration::from_secs(15);
/// How long an agent that restarts as its task ends may keep the last output from us.
const REST_WAIT: Duration = Duration::from_secs(30);
/// How long the master may take to hear that we are done.
const TEARDOWN_WAIT: Duration = Duration::from_secs(5);
/// The exit code after Ctrl-C.
const INTERRUPTED: u8 = 130;

/// What the scheduler tells the command.
enum News {
    /// The task was launched here.
    Launched { agent: String, framework: String },
    /// It has changed.
    Status(Box<v1::TaskStatus>),
}

/// Waits for one offer that fits, and then for the end of the task.
struct OneTask {
    task: v1::TaskInfo,
    role: String,
    launched: bool,
    framework: String,
    news: mpsc::UnboundedSender<News>,
}

impl Scheduler for OneTask {
    async fn subscribed(&mut self, _: &Driver, framework: &v1::FrameworkId, _: bool) {
        self.framework.clone_from(&framework.value);
    }

    async fn offers(&mut self, driver: &Driver, offers: Vec<v1::Offer>) {
        let mut declined = Vec::new();
        for offer in offers {
            if self.launched || !self.fits(&offer) {
                declined.push(offer.id);
                continue;
            }
            let mut task = self.task.clone();
            let allocation = v1::resource::AllocationInfo { role: Some(self.role.clone()) };
            task.resources
                .iter_mut()
                .for_each(|resource| resource.allocation_info = Some(allocation.clone()));
            let agent = address(&offer);
            if driver.launch(&offer, vec![task]).await.is_ok() {
                self.launched = true;
                let _ = self.news.send(News::Launched { agent, framework: self.framework.clone() });
            }
        }
        if !declined.is_empty() {
            // An offer that was lost on the way comes again by itself.
            let _ = driver.decline(declined, Some(1.0)).await;
        }
        if self.launched {
            let _ = driver.suppress(Vec::new()).await;
        }
    }

    async fn update(&mut self, _: &Driver, status: v1::TaskStatus) {
        let _ = self.news.send(News::Status(Box::new(status)));
    }
}

impl OneTask {
    /// Whether an offer's unreserved resources are enough.
    fn fits(&self, offer: &v1::Offer) -> bool {
        let free = |name: &str| -> f64 {
            let named = offer
                .resources
                .iter()
                .filter(|resource| resource.name == name && resource.reservations.is_empty());
            named.filter_map(|resource| Some(resource.scalar.as_ref()?.value)).sum()
        };
        self.task
            .resources
            .iter()
            .all(|need| need.scalar.as_ref().is_none_or(|scalar| free(&need.name) >= scalar.value))
    }
}

/// Where the agent of an offer answers.
fn address(offer: &v1::Offer) -> String {
    let told = offer.url.as_ref().map(|url| &url.address);
    match told {
        Some(address) => {
            let host = address.ip.as_deref().or(address.hostname.as_deref()).unwrap_or(&offer.hostname);
            format!("{host}:{}", address.port)
        }
        None => format!("{}:5051", offer.hostname),
    }
}

/// Runs a task to its end; its exit code is ours.
pub(crate) async fn run(global: &Global, arguments: Run) -> Result<ExitCode, CliError> {
    let task = task(&arguments)?;
    let id = task.task_id.value.clone();
    // Who cannot be reached is told so at once, instead of trying for ever.
    let mut master = Master::new(&global.master);
    master.get(v1::master::call::Type::GetHealth).await?;
    let needs = format!("cpus:{};mem:{}", number(arguments.cpus), number(arguments.mem));
    let mut config =
        Config::new([master.address().to_owned()], &format!("mezzo run {id}"), &user(&arguments));
    config.framework.roles = vec![arguments.role.clone()];
    config.framework.labels =
        Some(v1::Labels { labels: vec![v1::Label { key: NEEDS_LABEL.into(), value: Some(needs) }] });
    let (news, told) = mpsc::unbounded_channel();
    let mut scheduler =
        OneTask { task, role: arguments.role.clone(), launched: false, framework: String::new(), news };
    let (started, driver) = tokio::sync::oneshot::channel();
    let mut running = tokio::spawn(async move {
        mezzo_sdk::run(config, &mut scheduler, |driver| drop(started.send(driver))).await
    });
    let Ok(driver) = driver.await else {
        return Err(CliError::new(Exit::Failed, "the scheduler did not start"));
    };
    let watcher = Watcher { arguments: &arguments, id: &id, driver: driver.clone(), master, told };
    let outcome = tokio::select! {
        outcome = watcher.watch() => outcome,
        ended = &mut running => return Err(ended_early(ended)),
    };
    driver.teardown();
    // What the task did is known; a master that does not answer any more changes nothing.
    let _ = timeout(TEARDOWN_WAIT, running).await;
    outcome.map(ExitCode::from)
}

fn ended_early(ended: Result<Result<(), RunError>, tokio::task::JoinError>) -> CliError {
    let (exit, why) = match ended {
        Ok(Ok(())) => (Exit::Failed, "it was stopped".to_owned()),
        Ok(Err(error @ RunError::Refused { .. })) => (Exit::Denied, error.to_string()),
        Ok(Err(error)) => (Exit::Failed, error.to_string()),
        Err(error) => (Exit::Failed, error.to_string()),
    };
    CliError::new(exit, "the framework of this task ended").why(why)
}

/// Follows the task: news from the scheduler, output from the agent, and the user's Ctrl-C.
struct Watcher<'a> {
    arguments: &'a Run,
    id: &'a str,
    driver: Driver,
    master: Master,
    told: mpsc::UnboundedReceiver<News>,
}

impl Watcher<'_> {
    async fn watch(mut self) -> Result<u8, CliError> {
        let mut interrupt =
            signal(SignalKind::interrupt()).map_err(|error| super::daemon::failed("start", &error))?;
        let began = Instant::now();
        let mut notice_at = Some(began + WAIT_NOTICE);
        let mut outputs: Vec<(LogFile, bool)> = Vec::new();
        let mut last: Option<Box<v1::TaskStatus>> = None;
        let mut agent_id = None;
        let mut poll = POLL_MIN;
        let mut interrupted: Option<Instant> = None;
        let mut words_until: Option<Instant> = None;
        let mut pulling: Option<Pulling> = None;
        loop {
            let give_up = self.arguments.timeout.map(|seconds| began + Duration::from_secs(seconds));
            tokio::select! {
                news = self.told.recv() => match news {
                    None => return Err(CliError::new(Exit::Failed, "the scheduler ended")),
                    Some(News::Launched { agent, framework }) => {
                        notice_at = None;
                        pulling = self.pulling(&agent)?;
                        for (name, is_stderr) in [("stdout", false), ("stderr", true)] {
                            let file = LogFile::new(self.master.client(), &agent, &framework, self.id, name);
                            outputs.push((file, is_stderr));
                        }
                    }
                    Some(News::Status(status)) => {
                        agent_id = status.agent_id.clone().or(agent_id);
                        let ended = is_terminal(status.state());
                        if ended || status.state() == TaskState::TaskRunning {
                            pulling = None;
                        }
                        let is_summary = ended && is_summary(&status);
                        last = Some(status);
                        poll = POLL_MIN;
                        if is_summary {
                            words_until.get_or_insert_with(|| Instant::now() + WORDS_WAIT);
                        } else if ended {
                            break;
                        }
                    }
                },
                () = sleep(poll), if last.is_some() => {
                    let some = copy(&mut outputs).await?;
                    poll = if some { POLL_MIN } else { (poll * 2).min(POLL_MAX) };
                }
                () = look(&mut pulling) => {}
                () = sleep_until(notice_at.unwrap_or(began)), if notice_at.is_some() => {
                    notice_at = None;
                    self.tell_waiting().await;
                }
                () = sleep_until(give_up.unwrap_or(began)), if give_up.is_some() && outputs.is_empty() => {
                    return Err(self.not_placed().await);
                }
                _ = interrupt.recv() => {
                    if outputs.is_empty() || interrupted.is_some() {
                        return Ok(INTERRUPTED);
                    }
                    eprintln!("killing task {} ...", self.id);
                    interrupted = Some(Instant::now() + KILL_WAIT);
                    let task = v1::TaskId { value: self.id.into() };
                    // A lost call is told by the missing end.
                    let _ = self.driver.kill(task, agent_id.clone()).await;
                }
                () = sleep_until(words_until.unwrap_or(began)), if words_until.is_some() => break,
                () = sleep_until(interrupted.unwrap_or(began)), if interrupted.is_some() => {
                    eprintln!("task {} does not end; its agent goes on killing it", self.id);
                    return Ok(INTERRUPTED);
                }
            }
        }
        copy_rest(&mut outputs).await?;
        if interrupted.is_some() {
            return Ok(INTERRUPTED);
        }
        let status = last.unwrap_or_default();
        self.exit_code(&status)
    }

    /// The task's own code, or an error for an end that has none.
    fn exit_code(&self, status: &v1::TaskStatus) -> Result<u8, CliError> {
        let message = status.message.as_deref().unwrap_or_default();
        if status.state() == TaskState::TaskFinished {
            return Ok(0);
        }
        if let Some(code) = code_of(message) {
            return Ok(code);
        }
        let reason = status.reason.and_then(|reason| v1::task_status::Reason::try_from(reason).ok());
        let reason = reason.map(|reason| format!(" ({})", reason.as_str_name())).unwrap_or_default();
        Err(CliError::new(Exit::Failed, format!("task {} ended as {}", self.id, state(status.state())))
            .why(format!("{message}{reason}"))
            .help(format!("mezzo why {}", self.id)))
    }

    /// Follows the image of the task to the agent that has been chosen.
    fn pulling(&self, agent: &str) -> Result<Option<Pulling>, CliError> {
        let image = self.arguments.image.as_deref().map(images::reference).transpose()?;
        Ok(image.map(|image| Pulling {
            client: self.master.client().clone(),
            agent: agent.to_owned(),
            image,
            ticker: Ticker::new(PULL_POLL),
        }))
    }

    async fn tell_waiting(&mut self) {
        eprintln!(
            "waiting for {} cpus and {} MB; nobody has offered that much yet",
            number(self.arguments.cpus),
            number(self.arguments.mem)
        );
        if let Ok(snapshot) = self.master.state().await {
            for line in why::placement_lines(&snapshot, self.arguments.cpus, self.arguments.mem) {
                eprintln!("{line}");
            }
        }
    }

    async fn not_placed(&mut self) -> CliError {
        self.tell_waiting().await;
        CliError::new(Exit::NotPlaced, format!("no room for task {}", self.id))
            .why(format!("waited {} s", self.arguments.timeout.unwrap_or_default()))
            .help("mezzo nodes")
    }
}

/// An image on its way to the agent that needs it.
struct Pulling {
    client: Client,
    agent: String,
    image: Reference,
    ticker: Ticker,
}

/// Waits until it is time to look how far the image is, and shows that.
async fn look(pulling: &mut Option<Pulling>) {
    let Some(Pulling { client, agent, image, ticker }) = pulling else {
        return std::future::pending().await;
    };
    ticker.tick().await;
    match images::coming(client, agent, image).await {
        Some(coming) => ticker.show(&format!("pulling {image}: {}", coming.progress())),
        None => ticker.clear(),
    }
}

/// Copies what was written since; whether there was anything.
async fn copy(outputs: &mut [(LogFile, bool)]) -> Result<bool, CliError> {
    let mut some = false;
    for (file, is_stderr) in outputs {
        // The file comes into being when the container starts. An agent that is away for a moment
        // keeps what was written.
        let Ok(Some(data)) = file.read().await else { continue };
        if data.is_empty() {
            continue;
        }
        some = true;
        pass_on(&data, *is_stderr)?;
    }
    Ok(some)
}

/// Copies all that a task which has ended has left, also from an agent that is just coming back.
async fn copy_rest(outputs: &mut [(LogFile, bool)]) -> Result<(), CliError> {
    let give_up = Instant::now() + REST_WAIT;
    for (file, is_stderr) in outputs {
        let mut was_away = false;
        loop {
            match file.read().await {
                Ok(Some(data)) if data.is_empty() => break,
                Ok(Some(data)) => {
                    pass_on(&data, *is_stderr)?;
                    continue;
                }
                // An agent that has just come back may not know its files yet; otherwise the task never
                // had a sandbox.
                Ok(None) if !was_away && !file.is_begun() => break,
                Ok(None) => {}
                Err(_) => was_away = true,
            }
            if Instant::now() > give_up {
                eprintln!("the agent does not answer; the end of the output is missing here");
                return Ok(());
            }
            sleep(POLL_MAX).await;
        }
    }
    Ok(())
}

fn pass_on(data: &[u8], is_stderr: bool) -> Result<(), CliError> {
    if is_stderr {
        // Nobody can be told when stderr is gone.
        let _ = std::io::stderr().write_all(data);
    } else {
        super::logs::write(data)?;
    }
    Ok(())
}

/// The code in the words of a status message: of a process that exited, or 128 and the signal.
fn code_of(message: &str) -> Option<u8> {
    if let Some((_, code)) = message.split_once("exited with status ") {
        return code.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok();
    }
    let (_, signal) = message.split_once("terminated with signal ")?;
    let number = SIGNALS.iter().find(|(name, _)| signal.starts_with(name))?.1;
    Some(128 + number)
}

/// Signals that end processes, as the C library words them.
const SIGNALS: [(&str, u8); 14] = [
    ("Hangup", 1),
    ("Interrupt", 2),
    ("Quit", 3),
    ("Illegal instruction", 4),
    ("Trace/breakpoint trap", 5),
    ("Aborted", 6),
    ("Bus error", 7),
    ("Floating point exception", 8),
    ("Killed", 9),
    ("User defined signal 1", 10),
    ("Segmentation fault", 11),
    ("User defined signal 2", 12),
    ("Broken pipe", 13),
    ("Terminated", 15),
];

/// Whether this end is only the master's summary: the update of the agent is still to come.
fn is_summary(status: &v1::TaskStatus) -> bool {
    let ran = matches!(status.state(), TaskState::TaskFailed | TaskState::TaskKilled);
    ran && status.uuid.is_none() && status.reason() == v1::task_status::Reason::Reconciliation
}

/// A task that nobody knows any more counts as ended: no news of it can come.
fn is_terminal(state: TaskState) -> bool {
    !matches!(
        state,
        TaskState::TaskStaging
            | TaskState::TaskStarting
            | TaskState::TaskRunning
            | TaskState::TaskKilling
            | TaskState::TaskUnreachable
    )
}

/// The task that the command line describes.
fn task(arguments: &Run) -> Result<v1::TaskInfo, CliError> {
    let scalar = |name: &str, value: f64| v1::Resource {
        name: name.into(),
        r#type: v1::value::Type::Scalar as i32,
        scalar: Some(v1::value::Scalar { value }),
        ..Default::default()
    };
    let mut resources = Vec::new();
    for (name, value) in [("cpus", arguments.cpus), ("mem", arguments.mem), ("disk", arguments.disk)] {
        if !value.is_finite() || value < 0.0 {
            return Err(CliError::usage(format!("--{name} {value} cannot be asked for"))
                .why("an amount is a number, not below 0"));
        }
        if value > 0.0 {
            resources.push(scalar(name, value));
        }
    }
    let mut variables = Vec::new();
    for variable in &arguments.env {
        let (name, value) = variable.split_once('=').ok_or_else(|| {
            CliError::usage(format!("--env {variable} has no value")).help("--env NAME=VALUE")
        })?;
        variables.push(v1::environment::Variable {
            name: name.into(),
            value: Some(value.into()),
            ..Default::default()
        });
    }
    let id = unique_id("run");
    let image = arguments.image.as_deref().map(images::reference).transpose()?;
    Ok(v1::TaskInfo {
        name: name(arguments, image.as_ref()),
        task_id: v1::TaskId { value: id },
        resources,
        command: Some(v1::CommandInfo {
            shell: Some(false),
            value: arguments.command.first().cloned(),
            arguments: arguments.command.clone(),
            user: arguments.user.clone(),
            environment: (!variables.is_empty()).then_some(v1::Environment { variables }),
            uris: arguments
                .uri
                .iter()
                .map(|uri| v1::command_info::Uri { value: uri.clone(), ..Default::default() })
                .collect(),
        }),
        container: container(arguments, image.as_ref()).map(Box::new),
        ..Default::default()
    })
}

/// What the task is called: as its user says, or by what runs.
fn name(arguments: &Run, image: Option<&Reference>) -> String {
    let given = arguments.name.as_deref().or(arguments.command.first().map(String::as_str));
    let last = |image: &Reference| image.repository().rsplit('/').next().unwrap_or_default().to_owned();
    given.map(str::to_owned).or(image.map(last)).unwrap_or_default()
}

/// The container that a task needs, if it needs one.
fn container(arguments: &Run, image: Option<&Reference>) -> Option<v1::ContainerInfo> {
    if image.is_none() && !arguments.tty && arguments.network.is_empty() {
        return None;
    }
    let mesos = image.map(|image| v1::container_info::MesosInfo {
        image: Some(v1::Image {
            r#type: v1::image::Type::Docker as i32,
            docker: Some(v1::image::Docker { name: image.to_string(), ..Default::default() }),
            ..Default::default()
        }),
    });
    let network = |name: &String| v1::NetworkInfo { name: Some(name.clone()), ..Default::default() };
    Some(v1::ContainerInfo {
        r#type: v1::container_info::Type::Mesos as i32,
        mesos,
        tty_info: arguments.tty.then(v1::TtyInfo::default),
        network_infos: arguments.network.iter().map(network).collect(),
        ..Default::default()
    })
}

/// Short, and different from what ran before: the time in letters and digits.
pub(super) fn unique_id(what: &str) -> String {
    let micros = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_micros());
    let mut rest = micros ^ u128::from(std::process::id()) << 52;
    let mut text = format!("{what}-");
    for _ in 0..11 {
        let digit = u32::try_from(rest % 36).unwrap_or(0);
        text.push(char::from_digit(digit, 36).unwrap_or('0'));
        rest /= 36;
    }
    text
}

/// Who the task runs as unless its command says otherwise.
fn user(arguments: &Run) -> String {
    let own = || std::env::var("USER").ok().filter(|user| !user.is_empty());
    arguments
        .user
        .clone()
        .or_else(own)
        .unwrap_or_else(|| if rustix::process::geteuid().is_root() { "root".into() } else { "nobody".into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_read_from_the_words_of_the_agent() {
        assert_eq!(code_of("Command exited with status 3"), Some(3));
        assert_eq!(code_of("Command terminated with signal Killed"), Some(137));
        assert_eq!(code_of("Command terminated with signal User defined signal 1 (core dumped)"), Some(138));
        assert_eq!(code_of("Failed to launch container: no"), None);
    }

    #[test]
    fn the_answer_to_a_question_is_not_the_end() {
        let told = |state: TaskState, uuid: Option<Vec<u8>>| v1::TaskStatus {
            state: state as i32,
            reason: Some(v1::task_status::Reason::Reconciliation as i32),
            uuid,
            ..Default::default()
        };
        assert!(is_summary(&told(TaskState::TaskFailed, None)));
        assert!(!is_summary(&told(TaskState::TaskDropped, None)), "it never ran; no more will be said");
        assert!(!is_summary(&told(TaskState::TaskFailed, Some(vec![1; 16]))));
    }

    #[test]
    fn ids_differ() {
        let first = unique_id("run");
        std::thread::sleep(Duration::from_micros(5));
        assert_ne!(first, unique_id("run"));
    }
}
