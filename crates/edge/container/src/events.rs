//! The thread that hears supervisors.

use std::{
    collections::VecDeque,
    io,
    os::fd::{AsFd, OwnedFd},
    path::Path,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use mezzo_ids::ContainerId;
use rustix::{
    event::epoll,
    fs::Mode,
    net::{AddressFamily, RecvFlags, SocketAddrUnix, SocketFlags, SocketType},
    process::{Pid, PidfdFlags},
};

use crate::{
    containers::{Shared, State},
    event::{ContainerEvent, Limitation, News, Notice},
    kernel,
    launcher::Launcher,
    layout, oci, recovery,
    supervisor::ORDER_DESTROY,
};

/// A notice is a handful of numbers, an id and at most one error text.
const NOTICE_BYTES_MAX: usize = 64 * 1024;

/// How much more important this thread is than containers, as a nice value. A socket holds ten notices;
/// where containers use all processors and this thread waits for its turn, the supervisors of those that
/// end wait for it, and each that waits costs more than its notice.
const NICENESS: i32 = -10;

/// How long a container runs until its supervisor is watched. Most short ones have told their end by
/// then, and watching takes three system calls and wakes this thread once more.
const WATCH_AFTER: Duration = Duration::from_millis(200);

/// What an epoll entry stands for; supervisors are entered under their process id.
const SOCKET: u64 = u64::MAX;
const LAUNCHER: u64 = u64::MAX - 1;
/// Control group watches carry this bit and their number.
const CGROUP: u64 = 1 << 62;

/// Binds the socket on which supervisors are heard, in place of an earlier agent's.
pub(crate) fn bind(runtime_dir: &Path) -> io::Result<OwnedFd> {
    let path = runtime_dir.join(layout::EVENTS_SOCKET);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(path.as_path())?)?;
    // Only the agent's own user may send: a task must not be able to speak for a supervisor.
    rustix::fs::chmod(&path, Mode::from_raw_mode(0o600))?;
    Ok(socket)
}

/// What the thread waits on; and a pipe whose second end keeps the thread alive while it is open.
pub(crate) fn poll() -> io::Result<(OwnedFd, OwnedFd, OwnedFd)> {
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let (ended, alive) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    epoll::add(&poll, &ended, epoll::EventData::new_u64(SOCKET), epoll::EventFlags::HUP)?;
    Ok((poll, ended, alive))
}

/// Starts the thread; it ends when the [`crate::Containers`] are dropped.
pub(crate) fn spawn(shared: &Arc<Shared>, socket: OwnedFd, ended: OwnedFd) -> io::Result<()> {
    let poll = shared.poll.try_clone()?;
    epoll::add(&poll, &socket, epoll::EventData::new_u64(SOCKET), epoll::EventFlags::IN)?;
    let recovered: Vec<_> = {
        let mut state = shared.state();
        watch_launcher(&poll, &state)?;
        let recovered: Vec<_> =
            state.table.iter().map(|(id, entry)| (id.clone(), entry.own_cgroups)).collect();
        for (id, _) in &recovered {
            watch_supervisor(&poll, &mut state, id);
        }
        recovered
    };
    for (id, own_cgroups) in recovered {
        if own_cgroups {
            shared.watch_memory(&id);
        }
    }
    let thread = Thread { shared: Arc::downgrade(shared), poll, socket, _ended: ended };
    std::thread::Builder::new().name("containers".to_owned()).spawn(move || thread.run())?;
    Ok(())
}

fn watch_launcher(poll: &OwnedFd, state: &State) -> io::Result<()> {
    if let Some(launcher) = &state.launcher {
        let data = epoll::EventData::new_u64(LAUNCHER);
        epoll::add(poll, launcher.descriptor(), data, epoll::EventFlags::HUP)?;
    }
    Ok(())
}

/// A supervisor of an earlier agent that dies without a word is noticed by its descriptor. One that is
/// gone already is left to the caller's next look at the socket, where its last notice lies.
fn watch_supervisor(poll: &OwnedFd, state: &mut State, id: &ContainerId) {
    let Some(entry) = state.table.get_mut(id) else { return };
    let Some(supervisor) = entry.supervisor else { return };
    let Some(pid) = i32::try_from(supervisor).ok().and_then(Pid::from_raw) else { return };
    let Ok(descriptor) = rustix::process::pidfd_open(pid, PidfdFlags::empty()) else { return };
    let data = epoll::EventData::new_u64(u64::from(supervisor));
    if epoll::add(poll, &descriptor, data, epoll::EventFlags::IN).is_ok() {
        entry.watch = Some(descriptor);
    }
}

/// Containers whose supervisors are not watched yet, and when they shall be.
type Unwatched = VecDeque<(Instant, ContainerId)>;

struct Thread {
    shared: Weak<Shared>,
    poll: OwnedFd,
    socket: OwnedFd,
    _ended: OwnedFd,
}

impl Thread {
    fn run(self) {
        let mut buffer = vec![0; NOTICE_BYTES_MAX];
        let mut events = Vec::with_capacity(64);
        let mut unwatched = Unwatched::new();
        let niceness = rustix::process::getpriority_process(None).unwrap_or(0);
        let be = |niceness| {
            // Of this thread alone. Only root may ask for more than it has; others go without.
            let _ = rustix::process::setpriority_process(None, niceness);
        };
        be(niceness + NICENESS);
        loop {
            events.clear();
            let spare = rustix::buffer::spare_capacity(&mut events);
            let wait = unwatched.front().map(|(at, _)| at.saturating_duration_since(Instant::now()));
            let wait = wait.and_then(|wait| rustix::fs::Timespec::try_from(wait).ok());
            match epoll::wait(&self.poll, spare, wait.as_ref()) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(errno) => {
                    tracing::error!(%errno, "waiting for container events failed");
                    return;
                }
            }
            let Some(shared) = self.shared.upgrade() else { return };
            // Notices first: a supervisor that ended has sent its last one before it did.
            self.hear(&shared, &mut buffer, &mut unwatched);
            for event in &events {
                match event.data.u64() {
                    SOCKET => {}
                    LAUNCHER => {
                        // Its containers are as important as those of the launcher before.
                        be(niceness);
                        self.on_launcher_lost(&shared);
                        be(niceness + NICENESS);
                    }
                    number if number & CGROUP != 0 => shared.on_memory_event(number & !CGROUP),
                    supervisor => self.on_supervisor_gone(&shared, supervisor),
                }
            }
            let now = Instant::now();
            while unwatched.front().is_some_and(|(at, _)| *at <= now)
                && let Some((_, id)) = unwatched.pop_front()
            {
                self.watch(&shared, &id);
            }
        }
    }

    /// Watches the supervisor of a container that has not ended meanwhile.
    fn watch(&self, shared: &Shared, id: &ContainerId) {
        let supervisor = shared.state().table.get(id).and_then(|entry| entry.supervisor);
        let Some(supervisor) = supervisor else { return };
        match recovery::open_supervisor(&shared.container_dir(id)) {
            Ok(Some(descriptor)) => {
                let data = epoll::EventData::new_u64(u64::from(supervisor));
                let mut state = shared.state();
                if let Some(entry) = state.table.get_mut(id)
                    && epoll::add(&self.poll, &descriptor, data, epoll::EventFlags::IN).is_ok()
                {
                    entry.watch = Some(descriptor);
                }
            }
            // Its last notice, if there is one, comes too late to change anything.
            Ok(None) => self.on_supervisor_gone(shared, u64::from(supervisor)),
            Err(error) => tracing::error!(container = %id, %error, "watching a supervisor failed"),
        }
    }

    /// Takes all notices.
    fn hear(&self, shared: &Shared, buffer: &mut [u8], unwatched: &mut Unwatched) {
        loop {
            match rustix::net::recv(&self.socket, &mut *buffer, RecvFlags::empty()) {
                Ok((_, length)) => {
                    let bytes = &buffer[..length.min(buffer.len())];
                    match Notice::decode(bytes) {
                        Some(notice) => on_notice(shared, &notice, unwatched),
                        None => tracing::warn!(length, "dropped a datagram that no supervisor sends"),
                    }
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return,
            }
        }
    }

    fn on_supervisor_gone(&self, shared: &Shared, supervisor: u64) {
        let found = {
            let state = shared.state();
            state
                .table
                .iter()
                .find(|(_, entry)| entry.supervisor.map(u64::from) == Some(supervisor))
                .map(|(id, entry)| (id.clone(), entry.pid))
        };
        let Some((id, pid)) = found else { return };
        let directory = shared.container_dir(&id);
        let status = shared.status(&directory);
        if status.is_none() {
            tracing::warn!(container = %id, "the supervisor ended without a word");
        }
        shared.end_orphans(&id, pid);
        let Some(again) = self.shared.upgrade().filter(|_| oci::is_there(&directory)) else {
            return on_exited(shared, &id, status);
        };
        // Another runtime takes its time.
        let name = id.clone();
        let settle = move || {
            oci::settle(&directory);
            on_exited(&again, &id, status);
        };
        if let Err(error) = std::thread::Builder::new().name("runtime".to_owned()).spawn(settle) {
            tracing::error!(container = %name, %error, "what its runtime has left is cleared away when the agent starts again");
            on_exited(shared, &name, status);
        }
    }

    /// Starts another launcher. Containers that were on their way are looked up on disk once the
    /// lost launcher's supervisors have settled.
    fn on_launcher_lost(&self, shared: &Shared) {
        let launching: Vec<ContainerId> = {
            let mut state = shared.state();
            if let Some(lost) = state.launcher.take() {
                tracing::error!(pid = lost.pid(), "the container launcher ended; starting another");
                let _ = epoll::delete(&self.poll, lost.descriptor());
                lost.reap();
            }
            let launching = state.table.iter().filter(|(_, entry)| entry.supervisor.is_none());
            launching.map(|(id, _)| id.clone()).collect()
        };
        if let Err(error) = recovery::await_earlier_launcher(&shared.config.runtime_dir) {
            tracing::error!(%error, "waiting for the lost launcher's supervisors failed");
        }
        {
            let mut state = shared.state();
            match Launcher::spawn(&shared.config.launcher, &shared.config.runtime_dir) {
                Ok(launcher) => state.launcher = Some(launcher),
                Err(error) => tracing::error!(%error, "no container can be started any more"),
            }
            if let Err(error) = watch_launcher(&self.poll, &state) {
                tracing::error!(%error, "watching the launcher failed");
            }
        }
        for id in launching {
            let directory = shared.container_dir(&id);
            // With a `pid` file there was a supervisor, and its notices are in the socket.
            if !directory.join(layout::PID).exists() && !directory.join(layout::FAILED).exists() {
                shared.launch_failed(&id, "The container launcher ended unexpectedly".to_owned());
            }
        }
    }
}

fn on_notice(shared: &Shared, notice: &Notice<'_>, unwatched: &mut Unwatched) {
    let id = ContainerId::from(notice.id);
    match notice.news {
        News::Started(pid) => {
            let known = shared.state().table.get_mut(&id).map(|entry| {
                let first = entry.pid.is_none();
                entry.pid = Some(pid);
                entry.supervisor = Some(notice.supervisor);
                (first, entry.destroy)
            });
            match known {
                Some((first, destroy)) => {
                    if first {
                        (shared.on_event)(ContainerEvent::Started { id: id.clone(), pid });
                    }
                    if destroy {
                        destroy_started(shared, &id);
                    }
                    unwatched.push_back((Instant::now() + WATCH_AFTER, id));
                }
                None => {
                    tracing::warn!(container = %id, "ends a container that nobody asked for");
                    destroy_started(shared, &id);
                }
            }
        }
        News::Failed(message) => {
            let known = shared.state().table.contains_key(&id);
            if known {
                shared.launch_failed(&id, message.to_owned());
            }
        }
        News::Exited(status) => on_exited(shared, &id, Some(status)),
    }
}

fn destroy_started(shared: &Shared, id: &ContainerId) {
    let supervisor = recovery::open_supervisor(&shared.container_dir(id));
    if let Ok(Some(supervisor)) = supervisor
        && let Err(error) = kernel::send_order(supervisor.as_fd(), ORDER_DESTROY)
    {
        tracing::warn!(container = %id, %error, "ending a container failed");
    }
}

fn on_exited(shared: &Shared, id: &ContainerId, status: Option<i32>) {
    // Notices of containers that were recovered as ended, or were told before, find no entry.
    let (own_cgroups, has_scratch, out_of_memory, known) = {
        let mut state = shared.state();
        let Some(entry) = state.table.remove(id) else { return };
        if let Some((number, _)) = entry.memory_watch {
            state.memory_watches.remove(&number);
        }
        (entry.own_cgroups, entry.has_scratch, entry.out_of_memory, entry.limitation)
    };
    let limitation = own_cgroups.then(|| shared.isolators.limitation(id, out_of_memory)).flatten().or(known);
    shared.disks.forget(id);
    shared.ports.forget(id);
    if own_cgroups {
        shared.isolators.cleanup(id);
    }
    if has_scratch {
        shared.scratch.remove(id);
    }
    shared.tell_end(id, ContainerEvent::Exited { id: id.clone(), status, limitation });
}

impl Shared {
    /// Hears when a container runs out of memory.
    pub(crate) fn watch_memory(&self, id: &ContainerId) {
        let Some(watch) = self.isolators.memory_watch(id) else { return };
        let mut state = self.state();
        let number = state.next_watch;
        state.next_watch += 1;
        let data = epoll::EventData::new_u64(CGROUP | number);
        if epoll::add(&self.poll, &watch.descriptor, data, watch.events).is_err() {
            return;
        }
        if let Some(entry) = state.table.get_mut(id) {
            entry.memory_watch = Some((number, watch.descriptor));
            state.memory_watches.insert(number, id.clone());
        }
    }

    /// Ends a container that ran into a limit.
    pub(crate) fn end_for(&self, id: &ContainerId, limitation: Limitation) {
        match self.state().table.get_mut(id) {
            // One that has just started to end keeps its first reason.
            Some(entry) if entry.supervisor.is_some() && entry.limitation.is_none() => {
                entry.limitation = Some(limitation);
            }
            _ => return,
        }
        self.isolators.kill(id);
        destroy_started(self, id);
    }

    /// The kernel has killed or is about to kill one process of the container; what is left would
    /// be a container that nobody asked for, so all of it ends (rule 364).
    fn on_memory_event(&self, number: u64) {
        let id = {
            let mut state = self.state();
            let Some(id) = state.memory_watches.get(&number).cloned() else { return };
            let Some(entry) = state.table.get_mut(&id) else { return };
            if let Some((_, descriptor)) = &entry.memory_watch {
                // Takes an eventfd's count, so that it is told once.
                let _ = rustix::io::read(descriptor, &mut [0; 8]);
            }
            if !self.isolators.is_out_of_memory(&id) {
                return;
            }
            entry.out_of_memory = true;
            id
        };
        self.isolators.kill(&id);
        destroy_started(self, &id);
    }
}
