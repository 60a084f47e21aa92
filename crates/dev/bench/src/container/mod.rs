//! Containers: beside the bare system calls, Debian's runtimes, and `tar` (docs/performance-container.md).
//!
//! The launcher is the release binary's, as an agent's is. Needs root and busybox-static; what else is not
//! installed is said.

mod exec;
mod groups;
mod layout;
mod many;
mod thousand;
mod unpack;
mod wait;

use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    sync::{
        Arc,
        atomic::AtomicBool,
        mpsc::{Receiver, channel},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use mezzo_container::{
    BackEnd, Capabilities, Config, Confinement, ContainerEvent, Containers, Filter, Input, Isolation,
    LAUNCHER_ARGUMENT, LaunchRequest, LauncherProgram, Namespaces, NetworkSettings, Output, Privileges,
    Resources, Root,
};

use mezzo_mesos::v1::NetworkInfo;

use crate::daemons::{Folder, binary};
use wait::PATIENCE;

pub(crate) use exec::{exec, network};
pub(crate) use many::many;
pub(crate) use thousand::thousand;
pub(crate) use unpack::unpack;

/// What a container with an image has.
const CAPABILITIES: u64 = 0x5fb;

/// A folder with an image of busybox in it, and what starts containers of it.
struct Bench {
    folder: Folder,
    containers: Containers,
    events: Receiver<ContainerEvent>,
    privileges: Privileges,
    cgroups_root: String,
}

/// A network that has only the loopback interface, and its plugin.
const NETWORK: &str = r#"{"cniVersion":"1.0.0","name":"alone","plugins":[{"type":"loopback"}]}"#;
/// Where Debian has plugins.
const PLUGINS: &str = "/usr/lib/cni";

impl Bench {
    fn start(name: &str) -> Result<Self> {
        if !rustix::process::geteuid().is_root() {
            bail!("needs root");
        }
        let folder = Folder::new(name)?;
        let top = folder.path();
        image(&top.join("image"))?;
        fs::create_dir(top.join("cni"))?;
        fs::write(top.join("cni/alone.conflist"), NETWORK)?;
        let networks = NetworkSettings {
            config_dir: Some(top.join("cni")),
            plugin_dirs: vec![PLUGINS.into()],
            ..NetworkSettings::default()
        };
        let cgroups_root = format!("mezzo-bench-{}", std::process::id());
        let (sender, events) = channel();
        let config = Config {
            runtime_dir: folder.runtime_dir(),
            launcher: LauncherProgram { path: binary()?, arguments: vec![LAUNCHER_ARGUMENT.to_owned()] },
            isolation: Isolation {
                names: vec!["cgroups/all".to_owned()],
                cgroups_root: cgroups_root.clone(),
                networks,
                ..Isolation::default()
            },
            scratch_dir: top.join("scratch"),
            networks_dir: top.join("networks"),
            protected: vec![top.join("scratch")],
            runtime: None,
        };
        let (containers, _) = Containers::start(config, move |event| drop(sender.send(event)))?;
        fs::create_dir(top.join("sandbox"))?;
        let filter = Arc::new(Filter::standard(CAPABILITIES)?);
        let capabilities = Capabilities { effective: CAPABILITIES, bounding: CAPABILITIES };
        let privileges =
            Privileges { capabilities: Some(capabilities), no_new_privileges: true, filter: Some(filter) };
        Ok(Self { folder, containers, events, privileges, cgroups_root })
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A container of the image with everything that containers with an image have.
    fn request(&self, id: &str, arguments: &[&str]) -> LaunchRequest {
        let root = Root {
            layers: vec![self.path().join("image")],
            back_end: BackEnd::Overlay,
            read_only: false,
            sandbox: "/mnt/mesos/sandbox".into(),
        };
        let namespaces =
            Namespaces { pid: true, ipc: true, hostname: Some("bench".to_owned()), ..Namespaces::default() };
        let confinement = Confinement {
            root: Some(root),
            namespaces,
            privileges: self.privileges.clone(),
            ..Confinement::default()
        };
        LaunchRequest { confinement, ..self.plain(id, arguments) }
    }

    /// One that shares everything with the host but its control groups.
    fn plain(&self, id: &str, arguments: &[&str]) -> LaunchRequest {
        LaunchRequest {
            id: id.into(),
            program: arguments.first().copied().unwrap_or_default().to_owned(),
            arguments: arguments.iter().map(|text| (*text).to_owned()).collect(),
            environment: Vec::new(),
            sandbox: self.path().join("sandbox"),
            credentials: None,
            rlimits: Vec::new(),
            stdin: Input::Null,
            stdout: Output::Null,
            stderr: Output::Null,
            resources: Resources { cpus_milli: 100, mem_bytes: 32 << 20, ..Resources::default() },
            share_cgroups: false,
            quotas: Vec::new(),
            ports: Vec::new(),
            confinement: Confinement::default(),
        }
    }

    /// Runs a container to its end: until the program was executed, and until nothing is left of it. It may have
    /// a network of its own.
    fn run(&self, request: &LaunchRequest, network: bool) -> Result<(Duration, Duration)> {
        let begun = Instant::now();
        if network {
            let alone = NetworkInfo { name: Some("alone".to_owned()), ..NetworkInfo::default() };
            self.containers.join_networks(&request.id, &[alone], None, &AtomicBool::new(false))?;
        }
        self.containers.launch(request);
        let started = self.next_started(begun)?.1;
        match self.next()? {
            ContainerEvent::Exited { status: Some(0), .. } => {}
            other => bail!("expected a good end, got {other:?}"),
        }
        self.containers.remove(&request.id);
        Ok((started, begun.elapsed()))
    }

    fn next(&self) -> Result<ContainerEvent> {
        self.events.recv_timeout(PATIENCE).context("wait for a container")
    }

    /// Process id of a container that starts, and how long after `begun` it did.
    fn next_started(&self, begun: Instant) -> Result<(u32, Duration)> {
        match self.next()? {
            ContainerEvent::Started { pid, .. } => Ok((pid, begun.elapsed())),
            other => bail!("expected a start, got {other:?}"),
        }
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        groups::clear(&self.cgroups_root);
    }
}

/// A root file system of busybox.
fn image(folder: &Path) -> Result<()> {
    for name in ["bin", "etc", "tmp", "proc", "sys", "dev"] {
        fs::create_dir_all(folder.join(name))?;
    }
    fs::copy("/bin/busybox", folder.join("bin/busybox")).context("needs busybox-static")?;
    for name in ["true", "sleep", "sh"] {
        symlink("busybox", folder.join("bin").join(name))?;
    }
    Ok(())
}
