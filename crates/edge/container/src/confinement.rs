//! What sets a container apart from its host: a root file system, mounts, namespaces, privileges.
//!
//! A container for which nothing of this is asked costs nothing more than its processes.

use std::{ffi::CStr, path::PathBuf, sync::Arc};

use mezzo_ids::ContainerId;

use crate::{
    network,
    request::{Places, Reader, Writer},
};

/// The most layers of a root file system. The kernel's overlay takes 500, two of which are the container's.
pub const LAYERS_MAX: usize = 498;

/// How a container is set apart. The default shares everything with the host.
#[derive(Clone, Debug, Default)]
pub struct Confinement {
    /// A root file system of its own; `None` for the host's.
    pub root: Option<Root>,
    /// What else it sees, in the order in which it is mounted.
    pub mounts: Vec<Mount>,
    /// What else is in the /dev of a root of its own.
    pub devices: Vec<DeviceNode>,
    /// What else it has for itself.
    pub namespaces: Namespaces,
    /// What it may do.
    pub privileges: Privileges,
    /// Where the program starts; `None` for the sandbox, or where the container works that is entered.
    pub working_directory: Option<PathBuf>,
    /// A container that runs: everything but the privileges is taken from it, and these as well unless they
    /// are given. One that is not set apart has nothing to enter.
    pub enter: Option<ContainerId>,
}

/// A root file system, put together from the layers of an image.
#[derive(Clone, Debug)]
pub struct Root {
    /// The folders of the layers, the lowest first, at least one and at most [`LAYERS_MAX`]. In the form
    /// that overlayfs understands: a deleted name is a character device 0:0, and a folder that hides those
    /// below it has the attribute `trusted.overlay.opaque`. Never written to.
    pub layers: Vec<PathBuf>,
    /// How layers become one file system.
    pub back_end: BackEnd,
    /// Whether only mounts can be written to.
    pub read_only: bool,
    /// Where the sandbox appears in it: an absolute path.
    pub sandbox: PathBuf,
}

/// How the layers of an image become one file system (`--image_provisioner_backend`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BackEnd {
    /// An overlay, or a copy where the kernel refuses one.
    #[default]
    Any,
    /// An overlay: nothing is copied, and all containers share what lies in memory.
    Overlay,
    /// A copy, file by file.
    Copy,
}

impl BackEnd {
    fn encode(self, writer: &mut Writer<'_>) {
        writer.number(match self {
            Self::Any => 0,
            Self::Overlay => 1,
            Self::Copy => 2,
        });
    }

    fn decode(reader: &mut Reader<'_>) -> Option<Self> {
        Some(match reader.number()? {
            0 => Self::Any,
            1 => Self::Overlay,
            _ => Self::Copy,
        })
    }
}

/// Begins the name of the folder, beside those of the root, that holds what is written to a volume.
pub(crate) const VOLUME: &str = "volume-";

/// A file or folder that appears in a container.
#[derive(Clone, Debug)]
pub struct Mount {
    /// What appears.
    pub source: Source,
    /// Where: an absolute path in the container's root, or a path below the sandbox. It is made when
    /// missing, but not on the host's own file system.
    pub target: PathBuf,
    /// Also what is mounted below the source cannot be written to.
    pub read_only: bool,
}

/// A node of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceNode {
    /// Its place, below /dev.
    pub path: PathBuf,
    /// It is a block device, and otherwise one of characters.
    pub block: bool,
    /// The first of the kernel's two numbers.
    pub major: u32,
    /// The second.
    pub minor: u32,
    /// Permissions of the node.
    pub mode: u32,
    /// User and group that own it.
    pub owner: (u32, u32),
    /// It can be read.
    pub read: bool,
    /// It can be written.
    pub write: bool,
    /// Nodes of it can be made.
    pub mknod: bool,
}

/// Where a mount comes from.
#[derive(Clone, Debug)]
pub enum Source {
    /// A path of the host, which must exist.
    Host(PathBuf),
    /// A folder of the agent's own, as a persistent volume is.
    Volume(PathBuf),
    /// A folder below a sandbox, made when missing, with this owner. No link leads out of the sandbox.
    Sandbox {
        /// The sandbox.
        sandbox: PathBuf,
        /// A path below it.
        path: PathBuf,
        /// User and group of a folder that is made.
        owner: Option<(u32, u32)>,
    },
    /// What an image holds, put together as a root is, with a folder of the container's own above.
    Image {
        /// As those of a [`Root`].
        layers: Vec<PathBuf>,
        /// How they become one.
        back_end: BackEnd,
    },
    /// A file with this content, which lies in memory and nowhere else. Nobody writes to it.
    Content {
        /// All of it.
        bytes: Vec<u8>,
        /// User and group that may read it.
        owner: Option<(u32, u32)>,
    },
}

/// Namespaces beside that of the mounts, which comes with a root or mounts. A container with a root of its
/// own always has a host name of its own, and control groups show it none but its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Namespaces {
    /// Only its own processes are seen. Its first process is ours: it reaps those without a parent.
    pub pid: bool,
    /// Message queues, semaphores and shared memory of its own.
    pub ipc: bool,
    /// The size of /dev/shm; `None` for [`SHM_BYTES`].
    pub shm_bytes: Option<u64>,
    /// The host name; `None` for the host's, or that of the network. Only with a root or a network of its own.
    pub hostname: Option<String>,
}

/// Size of /dev/shm where nothing else is asked for, as everywhere else.
pub const SHM_BYTES: u64 = 64 << 20;

/// What the processes of a container may do.
#[derive(Clone, Debug, Default)]
pub struct Privileges {
    /// Capabilities; `None` for those of the user.
    pub capabilities: Option<Capabilities>,
    /// Programs that are set-user-id or have capabilities of their own gain nothing.
    pub no_new_privileges: bool,
    /// Which system calls there are.
    pub filter: Option<Arc<crate::Filter>>,
}

impl Privileges {
    /// Whether nothing is said about them.
    pub(crate) fn is_none(&self) -> bool {
        self.capabilities.is_none() && !self.no_new_privileges && self.filter.is_none()
    }
}

/// Capabilities by the kernel's numbers: bit n stands for capability n.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// What the program has, whoever its user is.
    pub effective: u64,
    /// What can be gained by running a program that brings it along.
    pub bounding: u64,
}

impl Confinement {
    /// Whether anything at all is asked for.
    pub(crate) fn is_plain(&self) -> bool {
        // What is entered is looked up first.
        let Self { root, mounts, devices: _, namespaces, privileges, working_directory, enter: _ } = self;
        // Nodes are made in a root only.
        root.is_none()
            && mounts.is_empty()
            && *namespaces == Namespaces::default()
            && privileges.is_none()
            && working_directory.is_none()
    }

    /// Whether something of what it writes lies neither in its sandbox nor in a volume that stays.
    pub(crate) fn has_scratch(&self) -> bool {
        let is_image = |mount: &Mount| matches!(mount.source, Source::Image { .. });
        self.root.is_some() || self.mounts.iter().any(is_image)
    }

    pub(crate) fn encode(&self, places: &Places<'_>, writer: &mut Writer<'_>) {
        let Places { scratch, protected, entered, network, .. } = *places;
        let is_plain = self.is_plain() && entered.is_none() && network.is_none();
        writer.flag(!is_plain);
        if is_plain {
            return;
        }
        writer.flag(entered.is_some());
        if let Some(entered) = entered {
            writer.number(entered.pid);
            writer.path("runtime directory", &entered.directory);
        }
        writer.flag(network.is_some());
        if let Some(network) = network {
            writer.path("network namespace", &network.namespace);
            for name in NETWORK_FILES {
                writer.path("network file", &network.files.join(name));
            }
        }
        writer.flag(self.root.is_some());
        if let Some(root) = &self.root {
            writer.paths("image layer", &root.layers);
            root.back_end.encode(writer);
            writer.flag(root.read_only);
            writer.path("sandbox directory", &root.sandbox);
            writer.path("scratch directory", scratch);
            writer.count(self.devices.len());
            for node in &self.devices {
                writer.path("device", &node.path);
                writer.flag(node.block);
                for number in [node.major, node.minor, node.mode, node.owner.0, node.owner.1] {
                    writer.number(number);
                }
            }
        }
        writer.count(self.mounts.len());
        for (n, mount) in self.mounts.iter().enumerate() {
            match &mount.source {
                Source::Host(path) => {
                    writer.number(0);
                    writer.path("volume", path);
                }
                Source::Volume(path) => {
                    writer.number(2);
                    writer.path("volume", path);
                }
                Source::Sandbox { sandbox, path, owner } => {
                    writer.number(1);
                    writer.path("volume", path);
                    writer.path("sandbox", sandbox);
                    writer.owner(*owner);
                }
                Source::Image { layers, back_end } => {
                    writer.number(4);
                    writer.paths("image layer", layers);
                    back_end.encode(writer);
                    writer.path("scratch directory", scratch);
                    writer.path("scratch directory", &scratch.join(format!("{VOLUME}{n}")));
                }
                Source::Content { bytes, owner } => {
                    writer.number(3);
                    writer.blob(bytes);
                    writer.owner(*owner);
                }
            }
            writer.path("volume", &mount.target);
            writer.flag(mount.read_only);
        }
        writer.paths("protected folder", protected);
        writer.flag(self.namespaces.pid);
        writer.flag(self.namespaces.ipc);
        writer.long(self.namespaces.shm_bytes.unwrap_or(SHM_BYTES));
        let hostname = self.namespaces.hostname.as_ref().or(network.map(|network| &network.hostname));
        writer.flag(hostname.is_some());
        if let Some(hostname) = hostname {
            writer.text("host name", hostname);
        }
        writer.flag(self.privileges.capabilities.is_some());
        if let Some(capabilities) = &self.privileges.capabilities {
            writer.long(capabilities.effective);
            writer.long(capabilities.bounding);
        }
        writer.flag(self.privileges.no_new_privileges);
        let programs = self.privileges.filter.as_ref().map(|filter| filter.programs()).unwrap_or_default();
        writer.count(programs.len());
        for program in programs {
            writer.blob(program);
        }
        writer.flag(self.working_directory.is_some());
        if let Some(path) = &self.working_directory {
            writer.path("working directory", path);
        }
    }
}

/// A program that is entered, and the runtime directory of its container.
#[derive(Clone, Debug)]
pub(crate) struct Entered {
    pub(crate) pid: u32,
    pub(crate) directory: PathBuf,
}

/// [`Entered`], borrowed.
#[derive(Debug)]
pub(crate) struct EnteredRef<'a> {
    pub(crate) pid: u32,
    pub(crate) directory: &'a CStr,
}

/// [`Confinement`], borrowed from a request.
#[derive(Debug, Default)]
pub(crate) struct Confined<'a> {
    pub(crate) entered: Option<EnteredRef<'a>>,
    pub(crate) network: Option<NetworkRef<'a>>,
    pub(crate) root: Option<RootRef<'a>>,
    pub(crate) devices: Vec<DeviceRef<'a>>,
    pub(crate) mounts: Vec<MountRef<'a>>,
    /// Those among the mounts.
    pub(crate) images: Vec<ImageRef<'a>>,
    pub(crate) protected: Vec<&'a CStr>,
    pub(crate) pid: bool,
    pub(crate) ipc: bool,
    pub(crate) shm_bytes: u64,
    pub(crate) hostname: Option<&'a CStr>,
    pub(crate) capabilities: Option<Capabilities>,
    pub(crate) no_new_privileges: bool,
    pub(crate) programs: Vec<&'a [u8]>,
    pub(crate) working_directory: Option<&'a CStr>,
}

/// A network that the container joins, borrowed.
#[derive(Debug)]
pub(crate) struct NetworkRef<'a> {
    /// A file that holds the namespace.
    pub(crate) namespace: &'a CStr,
    /// In the order of [`NETWORK_FILES`].
    pub(crate) files: Vec<&'a CStr>,
}

/// Files of `/etc` that say how to reach others, and under which name.
pub(crate) const NETWORK_FILES: [&str; 3] = [network::HOSTS, network::RESOLV_CONF, network::HOSTNAME];

/// [`Root`], borrowed.
#[derive(Debug)]
pub(crate) struct RootRef<'a> {
    pub(crate) layers: Vec<&'a CStr>,
    pub(crate) back_end: BackEnd,
    pub(crate) read_only: bool,
    pub(crate) sandbox: &'a CStr,
    pub(crate) scratch: &'a CStr,
}

/// [`DeviceNode`], borrowed, without what control groups say.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct DeviceRef<'a> {
    pub(crate) path: &'a CStr,
    pub(crate) block: bool,
    pub(crate) major: u32,
    pub(crate) minor: u32,
    pub(crate) mode: u32,
    pub(crate) owner: (u32, u32),
}

/// [`Mount`], borrowed.
#[derive(Debug)]
pub(crate) struct MountRef<'a> {
    pub(crate) source: SourceRef<'a>,
    pub(crate) target: &'a CStr,
    pub(crate) read_only: bool,
}

/// [`Source::Image`], borrowed, with its folder for what is written and the folder around that.
#[derive(Debug)]
pub(crate) struct ImageRef<'a> {
    pub(crate) layers: Vec<&'a CStr>,
    pub(crate) back_end: BackEnd,
    pub(crate) parent: &'a CStr,
    pub(crate) scratch: &'a CStr,
}

/// [`Source`], borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SourceRef<'a> {
    Host(&'a CStr),
    Volume(&'a CStr),
    Sandbox {
        sandbox: &'a CStr,
        path: &'a CStr,
        owner: Option<(u32, u32)>,
    },
    Content {
        bytes: &'a [u8],
        owner: Option<(u32, u32)>,
    },
    /// One of [`Confined::images`].
    Image(usize),
}

impl<'a> SourceRef<'a> {
    /// The path, or what is said in its place; never what a file holds.
    pub(crate) fn shown(self) -> &'a CStr {
        match self {
            Self::Host(path) | Self::Volume(path) | Self::Sandbox { path, .. } => path,
            Self::Content { .. } => c"(a secret)",
            Self::Image(_) => c"(an image)",
        }
    }
}

impl<'a> Confined<'a> {
    /// Reads what [`Confinement::encode`] wrote; `Some(None)` for a plain container.
    pub(crate) fn decode(reader: &mut Reader<'a>) -> Option<Option<Self>> {
        if !reader.flag()? {
            return Some(None);
        }
        let mut confined = Self::default();
        if reader.flag()? {
            confined.entered = Some(EnteredRef { pid: reader.number()?, directory: reader.text()? });
        }
        if reader.flag()? {
            let namespace = reader.text()?;
            let files = NETWORK_FILES.iter().map(|_| reader.text()).collect::<Option<_>>()?;
            confined.network = Some(NetworkRef { namespace, files });
        }
        if reader.flag()? {
            confined.root = Some(RootRef {
                layers: reader.texts()?,
                back_end: BackEnd::decode(reader)?,
                read_only: reader.flag()?,
                sandbox: reader.text()?,
                scratch: reader.text()?,
            });
            // A text takes five bytes, and each number four.
            confined.devices = reader.many(29, |reader| {
                Some(DeviceRef {
                    path: reader.text()?,
                    block: reader.flag()?,
                    major: reader.number()?,
                    minor: reader.number()?,
                    mode: reader.number()?,
                    owner: (reader.number()?, reader.number()?),
                })
            })?;
        }
        let images = &mut confined.images;
        confined.mounts = reader.many(18, |reader| {
            let source = match reader.number()? {
                0 => SourceRef::Host(reader.text()?),
                1 => SourceRef::Sandbox {
                    path: reader.text()?,
                    sandbox: reader.text()?,
                    owner: reader.owner()?,
                },
                2 => SourceRef::Volume(reader.text()?),
                4 => {
                    images.push(ImageRef {
                        layers: reader.texts()?,
                        back_end: BackEnd::decode(reader)?,
                        parent: reader.text()?,
                        scratch: reader.text()?,
                    });
                    SourceRef::Image(images.len() - 1)
                }
                _ => SourceRef::Content { bytes: reader.blob()?, owner: reader.owner()? },
            };
            Some(MountRef { source, target: reader.text()?, read_only: reader.flag()? })
        })?;
        confined.protected = reader.texts()?;
        confined.pid = reader.flag()?;
        confined.ipc = reader.flag()?;
        confined.shm_bytes = reader.long()?;
        if reader.flag()? {
            confined.hostname = Some(reader.text()?);
        }
        if reader.flag()? {
            confined.capabilities =
                Some(Capabilities { effective: reader.long()?, bounding: reader.long()? });
        }
        confined.no_new_privileges = reader.flag()?;
        confined.programs = reader.many(4, Reader::blob)?;
        if reader.flag()? {
            confined.working_directory = Some(reader.text()?);
        }
        Some(Some(confined))
    }

    /// Whether it sees other mounts than the host.
    pub(crate) fn has_namespaces(&self) -> bool {
        self.root.is_some() || !self.mounts.is_empty() || self.pid || self.ipc || self.network.is_some()
    }
}
