//! Output streams that the supervisor cuts into files of bounded size (rule 397), and what is written to a
//! terminal (rule 377).

use std::{
    ffi::CString,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    event::{PollFd, PollFlags},
    fs::{Mode, OFlags},
    io::Errno,
};

use crate::{
    job::Job,
    kernel::{self, Taken},
    relay::Relay,
    request::{OutputRef, Rotation},
};

/// Moved at once; the size of a pipe.
const CHUNK_BYTES: usize = 64 * 1024;

/// The rotated outputs of one container; usually none.
#[derive(Default)]
pub(crate) struct Outputs {
    streams: [Option<Stream>; 2],
    /// The first stream is a terminal, which takes all output.
    terminal: bool,
    /// Readable when a signal waits; only there when a stream is.
    signals: Option<OwnedFd>,
    /// Input to a terminal that another runtime has made.
    relay: Option<Relay>,
}

struct Stream {
    reading_end: Option<OwnedFd>,
    writing_end: Option<OwnedFd>,
    /// The end of a terminal that nobody writes to: closing it would hang the terminal up.
    silent: Option<OwnedFd>,
    log: Log,
}

/// One file, however large: who reads it follows it as it grows.
const UNCUT: Rotation = Rotation { size_max: u64::MAX, files_kept: 0 };

/// A log file and its older parts `<name>.1` (the newest of them), `<name>.2`, ...
struct Log {
    sandbox: OwnedFd,
    name: CString,
    rotation: Rotation,
    /// Files are made and renamed with this user's rights: the sandbox is the task's own.
    owner: Option<(u32, u32)>,
    file: Option<OwnedFd>,
    size: u64,
}

impl Outputs {
    pub(crate) fn open(job: &mut Job) -> rustix::io::Result<Self> {
        let mut outputs = Self::default();
        if job.launch.terminal {
            let rotation = job.launch.outputs[0].rotation.unwrap_or(UNCUT);
            let mut log = Log::new(job, job.launch.outputs[0], rotation)?;
            // Whoever hears of the start may look for it.
            log.open()?;
            let (reading_end, writing_end) =
                (kernel::own_descriptor(job.terminal), kernel::own_descriptor(job.input));
            job.terminal = -1;
            outputs.streams[0] = Some(Stream::new(reading_end, writing_end, log));
            outputs.terminal = true;
        } else {
            for (output, stream) in job.launch.outputs.into_iter().zip(&mut outputs.streams) {
                let Some(rotation) = output.rotation else { continue };
                let log = Log::new(job, output, rotation)?;
                let (reading_end, writing_end) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
                rustix::fs::fcntl_setfl(&reading_end, OFlags::NONBLOCK)?;
                *stream = Some(Stream::new(reading_end, writing_end, log));
            }
        }
        if outputs.streams.iter().any(Option::is_some) {
            outputs.signals = Some(
                kernel::signal_descriptor()
                    .map_err(|error| Errno::from_raw_os_error(error.raw_os_error().unwrap_or_default()))?,
            );
        }
        Ok(outputs)
    }

    /// Where the program writes, unless that is a file.
    pub(crate) fn pipe(&self, n: usize) -> Option<BorrowedFd<'_>> {
        let n = if self.terminal { 0 } else { n };
        self.streams[n].as_ref()?.writing_end.as_ref().map(AsFd::as_fd)
    }

    /// Lets the pipes end when the container's last process does.
    pub(crate) fn close_writing_ends(&mut self) {
        for stream in self.streams.iter_mut().flatten() {
            stream.writing_end = None;
        }
    }

    /// Waits for a signal, moving output meanwhile. May return `None`.
    pub(crate) fn next_signal(&mut self) -> Option<Taken> {
        let Some(signals) = &self.signals else { return kernel::take_signal(None) };
        let mut waits = Vec::with_capacity(4);
        waits.push(PollFd::new(signals, PollFlags::IN));
        for stream in self.streams.iter().flatten() {
            waits.extend(stream.reading_end.as_ref().map(|end| PollFd::new(end, PollFlags::IN)));
        }
        waits.extend(self.relay.as_ref().map(Relay::wait));
        let _ = rustix::event::poll(&mut waits, None);
        drop(waits);
        self.pump();
        let taken = kernel::take_signal(Some(0));
        if let (Some(relay), Some(Taken { signal: kernel::SIZE_SIGNAL, .. })) = (&self.relay, &taken) {
            relay.resize();
        }
        taken
    }

    /// Lets another terminal take the place of the one that was made for the container, which only passes on
    /// from here what is written to it.
    pub(crate) fn use_terminal(&mut self, terminal: OwnedFd) -> rustix::io::Result<()> {
        let stream = self.streams[0].as_mut().ok_or(Errno::NOTTY)?;
        rustix::fs::fcntl_setfl(&terminal, OFlags::RDWR | OFlags::NONBLOCK)?;
        let copy = rustix::io::fcntl_dupfd_cloexec(&terminal, 3)?;
        let (agent, from) = (stream.reading_end.take(), stream.writing_end.take());
        self.relay = Some(Relay::new(from.ok_or(Errno::NOTTY)?, agent.ok_or(Errno::NOTTY)?, copy)?);
        stream.reading_end = Some(terminal);
        Ok(())
    }

    /// Moves some of what waits.
    pub(crate) fn pump(&mut self) {
        for stream in self.streams.iter_mut().flatten() {
            stream.pump();
        }
        if let Some(relay) = &mut self.relay {
            relay.pump();
        }
    }

    /// Moves all that waits. Bounded by what fits a pipe, because every writer has ended; one that
    /// was given the descriptor from outside the container gets no second round.
    pub(crate) fn drain(&mut self) {
        for stream in self.streams.iter_mut().flatten() {
            // A pipe holds at most 1 MiB unless root raised the limit.
            for _ in 0..(1 << 20) / CHUNK_BYTES {
                if stream.pump() == 0 {
                    break;
                }
            }
        }
    }
}

impl Stream {
    fn new(reading_end: OwnedFd, writing_end: OwnedFd, log: Log) -> Self {
        Self { reading_end: Some(reading_end), writing_end: Some(writing_end), silent: None, log }
    }

    fn pump(&mut self) -> usize {
        let Some(end) = &self.reading_end else { return 0 };
        let mut chunk = vec![0; CHUNK_BYTES];
        match rustix::io::read(end.as_fd(), &mut chunk) {
            Ok(0) => {
                self.reading_end = None;
                0
            }
            Ok(count) => {
                self.log.append(&chunk[..count]);
                count
            }
            Err(Errno::AGAIN | Errno::INTR) => 0,
            // A terminal that nobody has open any more.
            Err(_) => {
                self.silent = self.reading_end.take();
                0
            }
        }
    }
}

impl Log {
    fn new(job: &Job, output: OutputRef<'_>, rotation: Rotation) -> rustix::io::Result<Self> {
        let launch = &job.launch;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self {
            sandbox: rustix::fs::open(launch.sandbox.unwrap_or_default(), flags, Mode::empty())?,
            name: output.name.unwrap_or_default().to_owned(),
            rotation,
            owner: launch.credentials.as_ref().map(|user| (user.uid, user.gid)),
            file: None,
            size: 0,
        })
    }

    /// Appends; what the disk refuses is dropped, as the program must not be stopped by its log.
    fn append(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.file.is_none() && self.open().is_err() {
                return;
            }
            let room = self.rotation.size_max.saturating_sub(self.size);
            if room == 0 {
                self.rotate();
                continue;
            }
            let part = bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX));
            let Some(file) = &self.file else { return };
            match rustix::io::write(file, &bytes[..part]) {
                Ok(count) if count > 0 => {
                    self.size += count as u64;
                    bytes = &bytes[count..];
                }
                Err(Errno::INTR) => {}
                _ => return,
            }
        }
    }

    fn open(&mut self) -> rustix::io::Result<()> {
        let flags = OFlags::WRONLY
            | OFlags::CREATE
            | OFlags::APPEND
            | OFlags::NOFOLLOW
            | OFlags::NONBLOCK
            | OFlags::CLOEXEC;
        let file = self.as_owner(|log| {
            rustix::fs::openat(&log.sandbox, &*log.name, flags, Mode::from_raw_mode(0o644))
        })?;
        self.size = u64::try_from(rustix::fs::fstat(&file)?.st_size).unwrap_or_default();
        self.file = Some(file);
        Ok(())
    }

    /// Puts the file aside. A failure leaves the count at zero, so that it is tried again one full
    /// file later and not at every write.
    fn rotate(&mut self) {
        self.file = None;
        self.as_owner(|log| {
            for n in (1..log.rotation.files_kept).rev() {
                let _ =
                    rustix::fs::renameat(&log.sandbox, log.numbered(n), &log.sandbox, log.numbered(n + 1));
            }
            if log.rotation.files_kept > 0 {
                let _ = rustix::fs::renameat(&log.sandbox, &*log.name, &log.sandbox, log.numbered(1));
            } else {
                let _ = rustix::fs::unlinkat(&log.sandbox, &*log.name, rustix::fs::AtFlags::empty());
            }
        });
        if self.open().is_ok() {
            self.size = 0;
        }
    }

    fn numbered(&self, n: u32) -> Vec<u8> {
        let mut name = self.name.to_bytes().to_vec();
        name.extend_from_slice(format!(".{n}").as_bytes());
        name
    }

    fn as_owner<T>(&self, act: impl FnOnce(&Self) -> T) -> T {
        let Some((uid, gid)) = self.owner else { return act(self) };
        kernel::with_rights_of(uid, gid, || act(self))
    }
}
