//! Everything a supervisor works with, made by the launcher before the supervisor exists.
//!
//! A supervisor may share the launcher's memory (see [`crate::crew`]), where asking for memory would race
//! with the launcher and all others. So whatever it needs is here, and it only fills in what is here.

use std::{
    ffi::{CStr, CString, c_char},
    fmt,
    os::fd::{AsRawFd, OwnedFd, RawFd},
    sync::atomic::AtomicBool,
};

use rustix::{fs::Gid, net::SocketAddrUnix};

use crate::{
    child::Failure,
    crew::Users,
    event::{News, Notice},
    layout,
    outputs::Outputs,
    request::Launch,
};

/// Longest reason that is told why something did not start; paths are shorter than 4,096 bytes, and at
/// most one is in it.
const REASON_BYTES_MAX: usize = 4608;

/// Descriptors that every supervisor begins with.
pub(crate) struct Inherited {
    /// A datagram socket without a name, shared by all, that sends to the agent there is at first.
    pub(crate) socket: OwnedFd,
    /// Where the agent listens.
    pub(crate) events: SocketAddrUnix,
    /// Closed when the container is on disk; see [`layout::LAUNCHER_LOCK`].
    pub(crate) lock: OwnedFd,
    /// Where the launcher hears the agent. Closed first: it tells the agent whether the launcher lives.
    pub(crate) requests: OwnedFd,
    /// See [`crate::stage`]; `None` where there can be none.
    pub(crate) stage: Option<OwnedFd>,
}

/// The work of one supervisor.
pub(crate) struct Job {
    /// Borrows from `bytes`.
    pub(crate) launch: Launch<'static>,
    bytes: *mut [u8],
    /// Lists of the program, each with a null pointer at its end.
    pub(crate) arguments: Vec<*const c_char>,
    pub(crate) environment: Vec<*const c_char>,
    pub(crate) groups: Vec<Gid>,
    /// The runtime directory, and files in it.
    pub(crate) directory: Vec<u8>,
    pub(crate) pid_file: CString,
    pub(crate) status_file: CString,
    pub(crate) failed_file: CString,
    /// Where the program's first steps happen.
    pub(crate) stack: *mut u8,
    /// See [`crate::crew::Users`].
    pub(crate) program: *mut i32,
    pub(crate) outputs: Outputs,
    /// Standard input, and the other end of a terminal; negative for none. This process' own.
    pub(crate) input: RawFd,
    pub(crate) terminal: RawFd,
    /// A descriptor of the container's first process, whose namespaces the program joins; negative for none.
    pub(crate) init: RawFd,
    /// Where that process says that it is ready; negative when there is nothing to wait for.
    pub(crate) ready: RawFd,
    /// The program's process has got as far as executing it.
    pub(crate) prepared: AtomicBool,
    /// Where the container works that is entered; negative for none.
    pub(crate) start: RawFd,
    /// Why the program did not start.
    pub(crate) failure: Option<Failure>,
    pub(crate) socket: RawFd,
    pub(crate) lock: RawFd,
    pub(crate) requests: RawFd,
    /// Where a container with a root of its own begins; negative for none.
    pub(crate) stage: RawFd,
    events: SocketAddrUnix,
    notice: Vec<u8>,
    pub(crate) reason: Reason,
}

impl Job {
    /// Reads a request; `None` when it was not written by [`crate::LaunchRequest`].
    #[expect(unsafe_code, reason = "the request is borrowed by its neighbour")]
    pub(crate) fn new(
        request: &[u8],
        inherited: &Inherited,
        passed: &[OwnedFd],
        stack: *mut u8,
        users: &Users,
    ) -> Option<Self> {
        let bytes: *mut [u8] = Box::into_raw(Box::from(request));
        // SAFETY: the bytes are freed by `drop` alone, which is the end of all that borrows from them, and
        // nobody changes them.
        let launch = Launch::decode(unsafe { &*bytes });
        let Some(launch) = launch else {
            // SAFETY: made above, and borrowed by nothing.
            drop(unsafe { Box::from_raw(bytes) });
            return None;
        };
        let directory = launch.runtime_dir.unwrap_or_default();
        let pointers = |texts: &[&CStr]| {
            texts.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect::<Vec<_>>()
        };
        let groups = launch.credentials.iter().flat_map(|user| &user.groups);
        let number = |n: usize| passed.get(n).map_or(-1, AsRawFd::as_raw_fd);
        let reason = Reason { text: String::with_capacity(REASON_BYTES_MAX) };
        Some(Self {
            arguments: pointers(&launch.arguments),
            environment: pointers(&launch.environment),
            groups: groups.map(|group| Gid::from_raw(*group)).collect(),
            directory: directory.to_bytes_with_nul().to_vec(),
            pid_file: below(directory, layout::PID),
            status_file: below(directory, layout::STATUS),
            failed_file: below(directory, layout::FAILED),
            stack,
            program: users.program.as_ptr(),
            outputs: Outputs::default(),
            input: number(0),
            terminal: number(1),
            init: -1,
            ready: -1,
            prepared: AtomicBool::new(false),
            start: -1,
            failure: None,
            socket: inherited.socket.as_raw_fd(),
            lock: inherited.lock.as_raw_fd(),
            requests: inherited.requests.as_raw_fd(),
            stage: inherited.stage.as_ref().map_or(-1, AsRawFd::as_raw_fd),
            events: inherited.events.clone(),
            notice: Vec::with_capacity(Notice::SIZE_WITHOUT_TEXTS + launch.id.len() + REASON_BYTES_MAX),
            reason,
            bytes,
            launch,
        })
    }

    /// Tells the agent. An agent that is away reads the files when it comes back.
    pub(crate) fn tell(&mut self, supervisor: u32, news: News<'_>) {
        self.notice.clear();
        Notice { supervisor, id: self.launch.id, news }.encode(&mut self.notice);
        let flags = rustix::net::SendFlags::NOSIGNAL;
        let socket = crate::kernel::borrow_descriptor(self.socket);
        loop {
            match rustix::net::send(socket, &self.notice, flags) {
                Err(rustix::io::Errno::INTR) => {}
                // Another agent than the one that the launcher was started by: it is found by name.
                Err(rustix::io::Errno::CONNREFUSED | rustix::io::Errno::NOTCONN) => break,
                _ => return,
            }
        }
        while let Err(rustix::io::Errno::INTR) =
            rustix::net::sendto(socket, &self.notice, flags, &self.events)
        {}
    }

    /// Tells the agent, and a later one, why nothing runs.
    pub(crate) fn tell_failure(&mut self, supervisor: u32) {
        let reason = std::mem::take(&mut self.reason.text);
        self.tell(supervisor, News::Failed(&reason));
        self.reason.text = reason;
    }
}

impl Drop for Job {
    #[expect(unsafe_code, reason = "the request is borrowed by its neighbour")]
    fn drop(&mut self) {
        self.launch = Launch::default();
        // SAFETY: made by `new`, and what borrowed from it is gone.
        drop(unsafe { Box::from_raw(self.bytes) });
    }
}

/// A text that never asks for memory: what does not fit is cut off.
pub(crate) struct Reason {
    text: String,
}

impl Reason {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.text.as_bytes()
    }
}

impl fmt::Write for Reason {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.text.capacity() - self.text.len();
        let end = (0..=text.len().min(room)).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        self.text.push_str(text.get(..end).unwrap_or_default());
        Ok(())
    }
}

/// A text of the kernel's, for people.
pub(crate) struct Shown<'a>(pub(crate) Option<&'a CStr>);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.map(CStr::to_bytes).unwrap_or_default().utf8_chunks() {
            f.write_str(chunk.valid())?;
            if !chunk.invalid().is_empty() {
                f.write_str("\u{fffd}")?;
            }
        }
        Ok(())
    }
}

fn below(directory: &CStr, name: &str) -> CString {
    let mut bytes = Vec::with_capacity(directory.to_bytes().len() + name.len() + 2);
    bytes.extend_from_slice(directory.to_bytes());
    bytes.push(b'/');
    bytes.extend_from_slice(name.as_bytes());
    // Neither part has a zero byte inside: one was a C string, the other is a constant.
    CString::new(bytes).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    #[test]
    fn a_reason_never_grows_and_stays_text() {
        let mut reason = Reason { text: String::with_capacity(10) };
        let capacity = reason.text.capacity();
        for _ in 0..capacity {
            write!(reason, "a{}", Shown(Some(c"\xff\xc3\xa4"))).expect("written");
        }
        assert_eq!(reason.text.capacity(), capacity);
        assert!(reason.text.starts_with("a\u{fffd}ä"));
    }
}
