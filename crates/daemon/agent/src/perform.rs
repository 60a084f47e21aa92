//! Performs the effects of the core, in order, behind the agent's log.
//!
//! All batches that wait are taken together: their records go to disk with one write, and only then
//! is the first of the effects behind a record performed. While the disk works the core goes on, so the
//! more there is to do, the more records share a write.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        mpsc::{Receiver, Sender},
    },
};

use mezzo_agent::{Effect, Input};
use mezzo_files::VirtualFiles;
use mezzo_store::{AppendLog, LogError};
use prost::Message as _;
use tracing::{error, info, warn};

use crate::{checks::Checks, core::Core, desk::Desk, janitor, launch::Launches, link::LinkSender, volumes};

/// The log is rewritten when it has grown above this and above four times what was left of it then: a
/// restart reads it in a blink, and rewriting costs a fraction of what was written.
pub(crate) const LOG_BYTES_MIN: u64 = 16 << 20;

/// What the performing thread takes.
#[derive(Debug)]
pub(crate) enum Batch {
    /// Effects of the core, in order.
    Effects(Vec<Effect>),
    /// The state as of here, to replace what the log holds so far.
    Compact(Vec<Vec<u8>>),
    /// The core has stopped; end after what came before.
    Stop,
}

/// How the agent ends, for the exit status of the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// 0 for an orderly end.
    pub status: i32,
    /// For the operator.
    pub message: String,
}

/// Everything effects act on.
pub(crate) struct Performer {
    pub(crate) log: AppendLog,
    /// Size of the log at which it is rewritten.
    pub(crate) compact_above: u64,
    pub(crate) core: Core,
    pub(crate) desk: Arc<Desk>,
    pub(crate) link: LinkSender,
    pub(crate) launches: Launches,
    pub(crate) checks: Checks,
    pub(crate) files: VirtualFiles,
    pub(crate) janitor: Sender<janitor::Job>,
    pub(crate) work_dir: PathBuf,
    pub(crate) ended: tokio::sync::mpsc::UnboundedSender<Ended>,
}

impl Performer {
    /// Runs until the core has stopped or the log cannot be written.
    pub(crate) fn run(mut self, batches: &Receiver<Batch>) {
        while let Ok(first) = batches.recv() {
            let mut effects = Vec::new();
            let mut last = None;
            for batch in std::iter::once(first).chain(std::iter::from_fn(|| batches.try_recv().ok())) {
                match batch {
                    Batch::Effects(more) if effects.is_empty() => effects = more,
                    Batch::Effects(more) => effects.extend(more),
                    // What follows belongs behind it.
                    other => {
                        last = Some(other);
                        break;
                    }
                }
            }
            // What comes before the first record waits for none: all earlier ones are on disk.
            let free = effects.iter().position(|effect| matches!(effect, Effect::Persist(_)));
            let mut effects = effects.into_iter();
            for effect in effects.by_ref().take(free.unwrap_or(usize::MAX)) {
                self.perform(effect);
            }
            let mut written = self.persist(effects.as_slice());
            if written.is_ok() {
                for effect in effects {
                    self.perform(effect);
                }
                if let Some(Batch::Compact(records)) = &last {
                    written = self.compact(records);
                }
            }
            if let Err(error) = written {
                // Nothing behind these records may be seen by anybody: end, and start from the log.
                error!(error = &error as &dyn std::error::Error, "write the agent's log");
                self.end(1, format!("cannot write the agent's log: {error}"));
                return;
            }
            if matches!(last, Some(Batch::Stop)) {
                return;
            }
        }
    }

    fn compact(&mut self, records: &[Vec<u8>]) -> Result<(), LogError> {
        self.log.compact(records)?;
        info!(bytes = self.log.size(), "the agent's log was rewritten");
        self.compact_above = (self.log.size() * 4).max(LOG_BYTES_MIN);
        Ok(())
    }

    fn persist(&mut self, effects: &[Effect]) -> Result<(), LogError> {
        let records: Vec<Vec<u8>> = effects
            .iter()
            .filter_map(|effect| match effect {
                Effect::Persist(record) => Some(record.encode_to_vec()),
                _ => None,
            })
            .collect();
        if records.is_empty() {
            return Ok(());
        }
        self.log.append(&records)?;
        if self.log.size() > self.compact_above {
            // Not again before it was done.
            self.compact_above = u64::MAX;
            self.core.compact();
        }
        Ok(())
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Persist(_) => {}
            Effect::ToMaster(message) => self.link.send(*message),
            Effect::Reconnect => self.link.reconnect(),
            Effect::Event { stream, event } => {
                if !self.desk.event(stream, &event) {
                    self.core.send(Input::StreamClosed(stream));
                }
            }
            Effect::CloseStream(stream) => self.desk.close_stream(stream),
            Effect::Answer { request, answer } => self.desk.answer(request, answer),
            Effect::Launch(spec) => self.launches.launch(*spec),
            Effect::Update { container, sandbox, resources, limits } => {
                self.launches.update(&container, Path::new(&*sandbox), &resources, &limits);
            }
            Effect::Signal { container, signal } => self.launches.signal(&container, signal),
            Effect::Destroy(container) => self.launches.destroy(&container),
            Effect::Remove { container, sandbox } => {
                self.launches.remove(&container);
                if let Some(sandbox) = sandbox {
                    self.tidy(janitor::Job::Remove(sandbox));
                }
            }
            Effect::StartCheck { check, container, spec } => self.checks.start(check, container, *spec),
            Effect::StopCheck(check) => self.checks.stop(check),
            Effect::Attach { virtual_path, real_path } => self.files.attach(&virtual_path, &*real_path),
            Effect::Detach { virtual_path } => self.files.detach(&virtual_path),
            Effect::Link { path, target } => {
                if let Err(error) = crate::sandbox::link(&self.work_dir, &path, &target) {
                    warn!(path, %error, "make symbolic link");
                }
            }
            Effect::DeleteSandbox(path) => self.tidy(janitor::Job::Sandbox(path)),
            Effect::Volume { create, volume } => {
                let containers = self.launches.containers();
                let path = volumes::folder(&self.work_dir, &volume).unwrap_or_default();
                let apply = || volumes::apply(&self.work_dir, create, &volume);
                if let Err(error) = containers.delete_folder(&path, apply) {
                    warn!(error = &error as &dyn std::error::Error, create, "persistent volume");
                }
                if !create {
                    self.launches.volume_destroyed(&volume);
                }
            }
            Effect::MeasureDisk => self.core.send(Input::DiskUsage(disk_usage(&self.work_dir))),
            Effect::Exit { status, message } => self.end(status, message),
        }
    }

    fn tidy(&self, job: janitor::Job) {
        // The janitor outlives this thread; it ends only with the process.
        let _ = self.janitor.send(job);
    }

    fn end(&self, status: i32, message: String) {
        info!(status, message, "agent ends");
        let _ = self.ended.send(Ended { status, message });
    }
}

/// Used share of the file system of a folder; nothing when it cannot be found out, so that nothing is
/// deleted early.
pub(crate) fn disk_usage(path: &std::path::Path) -> f64 {
    match rustix::fs::statvfs(path) {
        Ok(disk) if disk.f_blocks > 0 => 1.0 - disk.f_bavail as f64 / disk.f_blocks as f64,
        Ok(_) | Err(_) => 0.0,
    }
}
