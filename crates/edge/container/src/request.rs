//! What a launch needs, and its form on the way to the launcher.
//!
//! The form is private to one build of one binary: agent, launcher and supervisor are the same
//! file, so it has no version. Texts travel with their ending zero byte so that the supervisor can
//! hand pointers into the received bytes to `execve`.

use std::{
    ffi::CStr,
    path::{Path, PathBuf},
};

use mezzo_ids::ContainerId;

use crate::{
    confinement::{Confined, Confinement, Entered},
    isolators::{Quota, Resources},
    network, oci,
    port_watch::PortRange,
};

/// The largest request in bytes. The kernel refuses arguments and environments above about 2 MiB
/// (a quarter of the usual 8 MiB stack), so nothing larger could ever start.
pub(crate) const REQUEST_BYTES_MAX: usize = 4 << 20;

/// One container to start. Everything is explicit: nothing is inherited from the agent.
#[derive(Clone, Debug)]
pub struct LaunchRequest {
    /// Which; a child is written `parent.child`.
    pub id: ContainerId,
    /// An absolute or relative path, or a bare name that is looked for in the environment's PATH.
    pub program: String,
    /// All arguments, the zeroth included.
    pub arguments: Vec<String>,
    /// The whole environment.
    pub environment: Vec<(String, String)>,
    /// The working directory. It exists already and belongs to the task's user.
    pub sandbox: PathBuf,
    /// `None` for the agent's own user and groups.
    pub credentials: Option<Credentials>,
    /// Set before the program starts; hard limits may be raised when the agent is root.
    pub rlimits: Vec<Rlimit>,
    /// Where standard input comes from.
    pub stdin: Input,
    /// Where standard output goes; with a terminal, all that is written to it.
    pub stdout: Output,
    /// Where standard error goes; unused with a terminal.
    pub stderr: Output,
    /// For the isolators.
    pub resources: Resources,
    /// Use the control groups of the root container instead of having its own.
    pub share_cgroups: bool,
    /// How much of the disk it may use, the sandbox first, where disk/du looks.
    pub quotas: Vec<Quota>,
    /// The ports it holds, where listeners are watched.
    pub ports: Vec<PortRange>,
    /// What sets it apart from the host.
    pub confinement: Confinement,
}

/// Where the parts of a container that its caller does not choose are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Places<'a> {
    pub(crate) runtime_dir: &'a str,
    pub(crate) cgroup_entrances: &'a [PathBuf],
    /// For what it writes to its root.
    pub(crate) scratch: &'a Path,
    /// What no container may mount.
    pub(crate) protected: &'a [PathBuf],
    /// What it enters.
    pub(crate) entered: Option<&'a Entered>,
    /// The network it is in; `None` for the host's, or that of what it enters.
    pub(crate) network: Option<&'a network::Place>,
    /// The runtime that starts it; `None` for this one.
    pub(crate) runtime: Option<&'a oci::Place>,
}

/// A user as the kernel knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// User id.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// Supplementary groups; exactly these.
    pub groups: Vec<u32>,
}

/// One resource limit, in the numbers of `setrlimit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rlimit {
    /// RLIMIT_NOFILE and its like.
    pub resource: u32,
    /// `u64::MAX` for none.
    pub soft: u64,
    /// `u64::MAX` for none.
    pub hard: u64,
}

/// Where standard input comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Input {
    /// There is none: reading ends at once.
    #[default]
    Null,
    /// What is written to [`crate::Containers::input`].
    Pipe,
    /// A terminal that the program is the leader of. It is standard output and standard error as well.
    Terminal(Option<WindowSize>),
}

/// Size of a terminal, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowSize {
    /// Its lines.
    pub rows: u16,
    /// Its columns.
    pub columns: u16,
}

/// Where an output stream goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Dropped.
    Null,
    /// Appended to a file of this name in the sandbox, opened as the task's user.
    File(String),
    /// The same, cut into files by the supervisor.
    Rotated(String, Rotation),
}

/// When a log file is put aside as `<name>.1`, `<name>.2` and so on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// Before it would grow above this many bytes.
    pub size_max: u64,
    /// How many old files are kept; the oldest is deleted.
    pub files_kept: u32,
}

/// A text of a request that contains a zero byte, which no system call could take.
#[derive(Debug, thiserror::Error)]
#[error("{what} contains a zero byte")]
pub(crate) struct ZeroByte {
    what: &'static str,
}

/// What the launcher gets, borrowed from the bytes it came in.
#[derive(Debug, Default)]
pub(crate) struct Launch<'a> {
    pub(crate) id: &'a str,
    pub(crate) runtime_dir: Option<&'a CStr>,
    pub(crate) candidates: Vec<&'a CStr>,
    pub(crate) arguments: Vec<&'a CStr>,
    pub(crate) environment: Vec<&'a CStr>,
    pub(crate) sandbox: Option<&'a CStr>,
    pub(crate) credentials: Option<Credentials>,
    pub(crate) rlimits: Vec<Rlimit>,
    /// The first descriptor passed along is standard input, and a terminal.
    pub(crate) terminal: bool,
    pub(crate) outputs: [OutputRef<'a>; 2],
    pub(crate) cgroup_entrances: Vec<&'a CStr>,
    /// `None` for a plain one.
    pub(crate) confined: Option<Confined<'a>>,
    /// What another runtime is told; `None` for one of our own.
    pub(crate) assignment: Option<oci::Assignment<'a>>,
}

/// [`Output`], borrowed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct OutputRef<'a> {
    pub(crate) name: Option<&'a CStr>,
    pub(crate) rotation: Option<Rotation>,
}

/// Where a bare program name is looked for when the environment has no PATH.
const PATH_DEFAULT: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

impl LaunchRequest {
    /// Appends the request for the launcher to `to`.
    pub(crate) fn encode(&self, places: Places<'_>, to: &mut Vec<u8>) -> Result<(), ZeroByte> {
        let mut writer = Writer { to, zero_byte: None };
        writer.text("container id", &self.id);
        writer.text("runtime directory", places.runtime_dir);
        self.encode_candidates(&mut writer);
        writer.count(self.arguments.len());
        for argument in &self.arguments {
            writer.text("argument", argument);
        }
        writer.count(self.environment.len());
        for (name, value) in &self.environment {
            writer.pieces("environment variable", &[name, "=", value]);
        }
        writer.path("sandbox", &self.sandbox);
        match &self.credentials {
            None => writer.count(0),
            Some(credentials) => {
                writer.count(1);
                writer.number(credentials.uid);
                writer.number(credentials.gid);
                writer.count(credentials.groups.len());
                for group in &credentials.groups {
                    writer.number(*group);
                }
            }
        }
        writer.count(self.rlimits.len());
        for limit in &self.rlimits {
            writer.number(limit.resource);
            writer.long(limit.soft);
            writer.long(limit.hard);
        }
        writer.flag(matches!(self.stdin, Input::Terminal(_)));
        for output in [&self.stdout, &self.stderr] {
            match output {
                Output::Null => writer.number(0),
                Output::File(name) => {
                    writer.number(1);
                    writer.text("output file", name);
                }
                Output::Rotated(name, rotation) => {
                    writer.number(2);
                    writer.text("output file", name);
                    writer.long(rotation.size_max);
                    writer.number(rotation.files_kept);
                }
            }
        }
        writer.paths("control group", places.cgroup_entrances);
        self.confinement.encode(&places, &mut writer);
        writer.flag(places.runtime.is_some());
        if let Some(runtime) = places.runtime {
            runtime.encode(&mut writer);
        }
        match writer.zero_byte {
            Some(what) => Err(ZeroByte { what }),
            None => Ok(()),
        }
    }

    /// The paths to try in order, as `execvp` would.
    fn encode_candidates(&self, writer: &mut Writer<'_>) {
        if self.program.contains('/') {
            writer.count(1);
            writer.text("program", &self.program);
            return;
        }
        let path = self
            .environment
            .iter()
            .rfind(|(name, _)| name == "PATH")
            .map_or(PATH_DEFAULT, |(_, value)| value.as_str());
        writer.count(path.split(':').count());
        for directory in path.split(':') {
            // An empty entry means the working directory, as in every shell.
            let directory = if directory.is_empty() { "." } else { directory };
            writer.pieces("program", &[directory, "/", &self.program]);
        }
    }
}

pub(crate) struct Writer<'a> {
    to: &'a mut Vec<u8>,
    zero_byte: Option<&'static str>,
}

impl Writer<'_> {
    pub(crate) fn number(&mut self, number: u32) {
        self.to.extend_from_slice(&number.to_le_bytes());
    }

    pub(crate) fn long(&mut self, number: u64) {
        self.to.extend_from_slice(&number.to_le_bytes());
    }

    pub(crate) fn count(&mut self, count: usize) {
        // Saturated counts cannot be followed by that many elements: decoding refuses them.
        self.number(u32::try_from(count).unwrap_or(u32::MAX));
    }

    pub(crate) fn text(&mut self, what: &'static str, text: &str) {
        self.bytes(what, text.as_bytes());
    }

    pub(crate) fn flag(&mut self, flag: bool) {
        self.number(u32::from(flag));
    }

    pub(crate) fn path(&mut self, what: &'static str, path: &Path) {
        self.bytes(what, path.as_os_str().as_encoded_bytes());
    }

    pub(crate) fn paths(&mut self, what: &'static str, paths: &[PathBuf]) {
        self.count(paths.len());
        for path in paths {
            self.path(what, path);
        }
    }

    /// A user and a group.
    pub(crate) fn owner(&mut self, owner: Option<(u32, u32)>) {
        self.flag(owner.is_some());
        let (user, group) = owner.unwrap_or_default();
        self.number(user);
        self.number(group);
    }

    /// Any bytes at all.
    pub(crate) fn blob(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        self.to.extend_from_slice(bytes);
    }

    fn bytes(&mut self, what: &'static str, bytes: &[u8]) {
        if bytes.contains(&0) {
            self.zero_byte = Some(what);
        }
        self.count(bytes.len());
        self.to.extend_from_slice(bytes);
        self.to.push(0);
    }

    fn pieces(&mut self, what: &'static str, pieces: &[&str]) {
        if pieces.iter().any(|piece| piece.as_bytes().contains(&0)) {
            self.zero_byte = Some(what);
        }
        self.count(pieces.iter().map(|piece| piece.len()).sum());
        for piece in pieces {
            self.to.extend_from_slice(piece.as_bytes());
        }
        self.to.push(0);
    }
}

impl<'a> Launch<'a> {
    /// Where the program starts, as the container sees it; `None` for where the one works that it enters.
    pub(crate) fn start_directory(&self) -> Option<&'a CStr> {
        let confined = self.confined.as_ref();
        let given = confined.and_then(|confined| confined.working_directory);
        if given.is_none() && confined.is_some_and(|confined| confined.entered.is_some()) {
            return None;
        }
        given.or_else(|| Some(confined?.root.as_ref()?.sandbox)).or(self.sandbox)
    }

    /// Reads what [`LaunchRequest::encode`] wrote; `None` when it was anything else.
    pub(crate) fn decode(bytes: &'a [u8]) -> Option<Self> {
        let mut reader = Reader { rest: bytes };
        let mut launch = Launch {
            id: reader.text()?.to_str().ok()?,
            runtime_dir: Some(reader.text()?),
            candidates: reader.texts()?,
            arguments: reader.texts()?,
            environment: reader.texts()?,
            sandbox: Some(reader.text()?),
            ..Launch::default()
        };
        if reader.number()? == 1 {
            let (uid, gid) = (reader.number()?, reader.number()?);
            let groups = reader.many(4, Reader::number)?;
            launch.credentials = Some(Credentials { uid, gid, groups });
        }
        launch.rlimits = reader.many(20, |reader| {
            Some(Rlimit { resource: reader.number()?, soft: reader.long()?, hard: reader.long()? })
        })?;
        launch.terminal = reader.flag()?;
        for output in &mut launch.outputs {
            let kind = reader.number()?;
            if kind > 0 {
                output.name = Some(reader.text()?);
            }
            if kind == 2 {
                let size_max = reader.long()?;
                let files_kept = reader.number()?;
                output.rotation = Some(Rotation { size_max, files_kept });
            }
        }
        launch.cgroup_entrances = reader.texts()?;
        launch.confined = Confined::decode(&mut reader)?;
        if reader.flag()? {
            launch.assignment = Some(oci::Assignment::decode(&mut reader)?);
        }
        Some(launch)
    }
}

pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(taken)
    }

    pub(crate) fn number(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    pub(crate) fn long(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    pub(crate) fn flag(&mut self) -> Option<bool> {
        Some(self.number()? != 0)
    }

    pub(crate) fn owner(&mut self) -> Option<Option<(u32, u32)>> {
        let is_given = self.flag()?;
        let owner = (self.number()?, self.number()?);
        Some(is_given.then_some(owner))
    }

    pub(crate) fn blob(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        self.take(length)
    }

    pub(crate) fn text(&mut self) -> Option<&'a CStr> {
        let length = usize::try_from(self.number()?).ok()?;
        CStr::from_bytes_with_nul(self.take(length.checked_add(1)?)?).ok()
    }

    pub(crate) fn texts(&mut self) -> Option<Vec<&'a CStr>> {
        self.many(5, Self::text)
    }

    /// A count and that many elements of at least `size` bytes each.
    pub(crate) fn many<T>(
        &mut self,
        size: usize,
        mut read: impl FnMut(&mut Self) -> Option<T>,
    ) -> Option<Vec<T>> {
        let count = usize::try_from(self.number()?).ok()?;
        if count.checked_mul(size)? > self.rest.len() {
            return None;
        }
        (0..count).map(|_| read(self)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::confinement::{
        BackEnd, Capabilities, DeviceNode, Mount, Namespaces, Privileges, Root, Source, SourceRef,
    };

    fn request() -> LaunchRequest {
        LaunchRequest {
            id: "parent.child".into(),
            program: "echo".to_owned(),
            arguments: vec!["echo".to_owned(), String::new(), "a b".to_owned()],
            environment: vec![("PATH".to_owned(), "/a::/b".to_owned()), ("X".to_owned(), "=".to_owned())],
            sandbox: PathBuf::from("/sandbox"),
            credentials: Some(Credentials { uid: 7, gid: 8, groups: vec![8, 9] }),
            rlimits: vec![Rlimit { resource: 7, soft: 1, hard: u64::MAX }],
            stdin: Input::Terminal(None),
            stdout: Output::File("stdout".to_owned()),
            stderr: Output::Rotated("stderr".to_owned(), Rotation { size_max: 4096, files_kept: 3 }),
            resources: Resources::default(),
            share_cgroups: false,
            ports: Vec::new(),
            quotas: Vec::new(),
            confinement: confinement(),
        }
    }

    fn confinement() -> Confinement {
        Confinement {
            root: Some(Root {
                layers: vec![PathBuf::from("/l1"), PathBuf::from("/l2")],
                back_end: BackEnd::Copy,
                read_only: true,
                sandbox: PathBuf::from("/mnt/mesos/sandbox"),
            }),
            mounts: vec![
                Mount { source: Source::Host("/etc".into()), target: "/x".into(), read_only: true },
                Mount {
                    source: Source::Sandbox {
                        sandbox: "/sandbox".into(),
                        path: "tmp".into(),
                        owner: Some((7, 8)),
                    },
                    target: "/tmp".into(),
                    read_only: false,
                },
                Mount {
                    source: Source::Content { bytes: b"a\0b".to_vec(), owner: None },
                    target: "key".into(),
                    read_only: true,
                },
            ],
            devices: vec![DeviceNode {
                path: "/dev/dri/card0".into(),
                block: false,
                major: 226,
                minor: 1,
                mode: 0o660,
                owner: (0, 44),
                read: true,
                write: true,
                mknod: false,
            }],
            namespaces: Namespaces { pid: true, ipc: true, shm_bytes: Some(9), hostname: Some("h".into()) },
            privileges: Privileges {
                capabilities: Some(Capabilities { effective: 1, bounding: 3 }),
                no_new_privileges: true,
                filter: None,
            },
            working_directory: Some("/w".into()),
            enter: Some("parent".into()),
        }
    }

    fn encode(request: &LaunchRequest, to: &mut Vec<u8>) -> Result<(), ZeroByte> {
        let places = Places {
            runtime_dir: "/run/c",
            cgroup_entrances: &[PathBuf::from("/cg/tasks")],
            scratch: Path::new("/scratch/c"),
            protected: &[PathBuf::from("/work")],
            entered: Some(&Entered { pid: 77, directory: PathBuf::from("/run/parent") }),
            network: Some(&network::Place {
                namespace: PathBuf::from("/run/networks/c"),
                files: PathBuf::from("/networks/c"),
                hostname: "host".to_owned(),
            }),
            runtime: Some(&oci::Place {
                program: PathBuf::from("/usr/bin/crun"),
                patience: std::time::Duration::from_secs(1),
                hierarchy: PathBuf::from("/sys/fs/cgroup"),
                cgroup: "/mesos/c".to_owned(),
                devices: Some(vec!["c 1:3 rwm".to_owned()]),
                given: Vec::new(),
                profile: b"{}".to_vec(),
            }),
        };
        request.encode(places, to)
    }

    #[test]
    fn a_request_survives_the_way_to_the_launcher() {
        let mut bytes = Vec::new();
        encode(&request(), &mut bytes).unwrap();
        let launch = Launch::decode(&bytes).unwrap();
        assert_eq!(launch.id, "parent.child");
        assert_eq!(launch.runtime_dir, Some(c"/run/c"));
        assert_eq!(launch.candidates, [c"/a/echo", c"./echo", c"/b/echo"]);
        assert_eq!(launch.arguments, [c"echo", c"", c"a b"]);
        assert_eq!(launch.environment, [c"PATH=/a::/b", c"X=="]);
        assert_eq!(launch.credentials, request().credentials);
        assert_eq!(launch.rlimits, request().rlimits);
        assert_eq!(launch.outputs[0].name, Some(c"stdout"));
        assert!(launch.outputs[0].rotation.is_none());
        assert_eq!(launch.outputs[1].rotation.unwrap().files_kept, 3);
        assert_eq!(launch.cgroup_entrances, [c"/cg/tasks"]);
        let confined = launch.confined.unwrap();
        let root = confined.root.unwrap();
        assert_eq!(root.layers, [c"/l1", c"/l2"]);
        assert_eq!((root.back_end, root.read_only), (BackEnd::Copy, true));
        assert_eq!((root.sandbox, root.scratch), (c"/mnt/mesos/sandbox", c"/scratch/c"));
        let [host, own, secret] = confined.mounts.as_slice() else { panic!("three mounts") };
        assert_eq!((host.source, host.target, host.read_only), (SourceRef::Host(c"/etc"), c"/x", true));
        let (path, sandbox, owner) = (c"tmp", c"/sandbox", Some((7, 8)));
        assert_eq!(own.source, SourceRef::Sandbox { sandbox, path, owner });
        assert_eq!(secret.source, SourceRef::Content { bytes: b"a\0b", owner: None });
        assert_eq!(confined.protected, [c"/work"]);
        assert!(confined.pid && confined.ipc && confined.no_new_privileges);
        assert_eq!((confined.shm_bytes, confined.hostname), (9, Some(c"h")));
        assert_eq!(confined.capabilities, confinement().privileges.capabilities);
        assert_eq!(confined.working_directory, Some(c"/w"));
        let network = confined.network.unwrap();
        assert_eq!((network.namespace, network.files[0]), (c"/run/networks/c", c"/networks/c/hosts"));
        let entered = confined.entered.unwrap();
        assert_eq!((entered.pid, entered.directory), (77, c"/run/parent"));
    }

    #[test]
    fn a_plain_container_travels_as_one_word() {
        let plain = LaunchRequest { confinement: Confinement::default(), ..request() };
        let (mut with, mut without) = (Vec::new(), Vec::new());
        encode(&request(), &mut with).unwrap();
        let places = Places {
            runtime_dir: "/run/c",
            cgroup_entrances: &[],
            scratch: Path::new("/scratch/c"),
            protected: &[PathBuf::from("/work")],
            entered: None,
            network: None,
            runtime: None,
        };
        plain.encode(places, &mut without).unwrap();
        assert!(Launch::decode(&without).unwrap().confined.is_none());
        assert!(with.len() > without.len());
    }

    #[test]
    fn a_cut_or_damaged_request_is_refused_and_never_read_past() {
        let mut bytes = Vec::new();
        encode(&request(), &mut bytes).unwrap();
        for length in 0..bytes.len() {
            assert!(Launch::decode(&bytes[..length]).is_none(), "{length} bytes");
        }
        for position in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[position] = 0xff;
            let _ = Launch::decode(&damaged);
        }
    }

    #[test]
    fn a_zero_byte_names_where_it_is() {
        let mut bad = request();
        bad.arguments.push("a\0b".to_owned());
        let error = encode(&bad, &mut Vec::new()).unwrap_err();
        assert_eq!(error.to_string(), "argument contains a zero byte");
    }
}
