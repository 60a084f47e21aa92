//! From what a container asks for, and the isolators that are there, to how it is set apart.

use std::path::{Path, PathBuf};

use mezzo_mesos::v1::{CommandInfo, ContainerInfo, container_info};
use rustix::thread::CapabilitySet;

use super::{
    Isolation, IsolationError, capabilities,
    namespaces::{self, Settings as Namespaces},
    seccomp::{self, Seccomp},
    secrets,
    volumes::{self, Volumes},
};
use crate::confinement::{BackEnd, Confinement, Mount, Privileges, Root, Source};

pub(super) const FILESYSTEM: &str = "filesystem/linux";
pub(super) const NO_NEW_PRIVILEGES: &str = "linux/nnp";
/// Those that need namespaces and mounts.
const MOUNTING: [&str; 7] = [
    FILESYSTEM,
    namespaces::PID,
    namespaces::IPC,
    volumes::HOST_PATH,
    volumes::SANDBOX_PATH,
    volumes::IMAGE,
    secrets::VOLUME,
];
const OTHERS: [&str; 4] = [secrets::ENVIRONMENT, capabilities::NAME, seccomp::NAME, NO_NEW_PRIVILEGES];

/// All that are started here.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    MOUNTING.into_iter().chain(OTHERS)
}

/// What is known of a container beside what it asks for.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances<'a> {
    /// Its sandbox on the host.
    pub sandbox: &'a Path,
    /// That of the container it is a child of.
    pub parent_sandbox: Option<&'a Path>,
    /// User and group that own its sandbox.
    pub owner: Option<(u32, u32)>,
    /// Persistent volumes: path on the host, path in the sandbox, read only. Mounted into containers with a
    /// root of their own; others have links.
    pub persistent: &'a [(String, String, bool)],
    /// The images of its volumes, in their order.
    pub images: &'a [ImageLayers],
}

/// The folders of an image's layers, the lowest first, and how they become one file system.
pub type ImageLayers = (Vec<PathBuf>, BackEnd);

/// The isolators that set containers apart.
#[derive(Debug, Default)]
pub(super) struct Confiner {
    filesystem: bool,
    volumes: Volumes,
    namespaces: Namespaces,
    capabilities: Option<capabilities::Settings>,
    no_new_privileges: bool,
    seccomp: Option<Seccomp>,
    environment_secrets: bool,
    /// For containers with an image where the isolator is not there.
    standard: Seccomp,
}

impl Confiner {
    /// Whether the name is that of an isolator that is started here.
    pub(super) fn knows(name: &str) -> bool {
        names().any(|known| known == name)
    }

    pub(super) fn start(isolation: &Isolation) -> Result<Self, IsolationError> {
        let has = |wanted: &str| isolation.names.iter().any(|name| name == wanted);
        for name in MOUNTING {
            if has(name) {
                check_host(name)?;
            }
        }
        let mut confiner = Self {
            filesystem: has(FILESYSTEM),
            volumes: Volumes::by_name(has, isolation),
            namespaces: Namespaces {
                pid: has(namespaces::PID),
                ipc: has(namespaces::IPC),
                sharing_pid_disallowed: isolation.disallow_sharing_agent_pid_namespace,
                sharing_ipc_disallowed: isolation.disallow_sharing_agent_ipc_namespace,
                shm_bytes: isolation.default_container_shm_bytes,
            },
            no_new_privileges: has(NO_NEW_PRIVILEGES),
            environment_secrets: has(secrets::ENVIRONMENT),
            ..Self::default()
        };
        if has(capabilities::NAME) {
            confiner.capabilities = Some(capabilities::Settings::new(
                isolation.effective_capabilities.as_ref(),
                isolation.bounding_capabilities.as_ref(),
            )?);
        }
        if has(seccomp::NAME) {
            confiner.seccomp = Some(Seccomp::start(
                isolation.seccomp_config_dir.as_deref(),
                isolation.seccomp_profile_name.as_deref(),
            )?);
        }
        Ok(confiner)
    }

    /// How a container is set apart. One with an image is restricted in every way, and what it is let do
    /// beyond that is let by an isolator; all others get what they ask for, as in Mesos.
    pub(super) fn confine(
        &self,
        info: Option<&ContainerInfo>,
        root: Option<Root>,
        circumstances: &Circumstances<'_>,
    ) -> Result<Confinement, String> {
        let info = info.filter(|info| info.r#type() == container_info::Type::Mesos);
        let has_root = root.is_some();
        if has_root && !self.filesystem {
            return Err("Images need the isolator 'filesystem/linux'".to_owned());
        }
        let linux = info.and_then(|info| info.linux_info.as_ref());
        let namespaces = self.namespaces.of(linux, circumstances.parent_sandbox.is_some(), has_root)?;
        let mut mounts = Vec::new();
        if has_root {
            for (host, inside, read_only) in circumstances.persistent {
                let source = Source::Volume(host.into());
                mounts.push(Mount { source, target: inside.into(), read_only: *read_only });
            }
        }
        let mut images = circumstances.images.iter();
        for volume in info.map(|info| info.volumes.as_slice()).unwrap_or_default() {
            mounts.extend(self.volumes.mount(volume, circumstances, &mut images)?);
        }
        let privileges = self.privileges(linux, has_root)?;
        let devices = Vec::new();
        Ok(Confinement {
            root,
            mounts,
            devices,
            namespaces,
            privileges,
            working_directory: None,
            enter: None,
        })
    }

    /// The variables of a command that are secrets.
    pub(super) fn secret_variables(&self, command: &CommandInfo) -> Result<Vec<(String, String)>, String> {
        secrets::variables(command, self.environment_secrets)
    }

    fn privileges(
        &self,
        linux: Option<&mezzo_mesos::v1::LinuxInfo>,
        has_root: bool,
    ) -> Result<Privileges, String> {
        let needed = |isolator: &str, what: &str| {
            Err(format!("{what} of a container with an image need the isolator '{isolator}'"))
        };
        let capabilities = match &self.capabilities {
            Some(settings) => settings.of(linux)?,
            None if has_root && capabilities::is_asked_for(linux) => {
                return needed(capabilities::NAME, "Capabilities");
            }
            None => None,
        };
        let capabilities = capabilities.or_else(|| has_root.then(capabilities::restricted));
        let set = capabilities.map_or(u64::MAX, |capabilities| capabilities.bounding);
        let filter = match &self.seccomp {
            Some(seccomp) => seccomp.of(linux, set, has_root)?,
            None if has_root && linux.is_some_and(|linux| linux.seccomp.is_some()) => {
                return needed(seccomp::NAME, "System call filters");
            }
            None if has_root => self.standard.of(None, set, true)?,
            None => None,
        };
        let no_new_privileges = self.no_new_privileges || has_root;
        Ok(Privileges { capabilities, no_new_privileges, filter })
    }
}

/// Namespaces and mounts need root, and system calls that kernels have since 5.12.
fn check_host(name: &'static str) -> Result<(), IsolationError> {
    let refused = |reason: &str| Err(IsolationError::Host { name, reason: reason.to_owned() });
    if !rustix::process::geteuid().is_root() {
        return refused("mounts and namespaces need root");
    }
    // Root of somebody's container may be without it.
    let own = rustix::thread::capabilities(None);
    if own.is_ok_and(|own| !own.effective.contains(CapabilitySet::SYS_ADMIN)) {
        return refused("mounts and namespaces need the capability SYS_ADMIN");
    }
    if !crate::mount_api::is_there() {
        return refused("this kernel cannot change mounts by descriptor, as those since 5.12 can");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use mezzo_mesos::v1::{CapabilityInfo, LinuxInfo, SeccompInfo};

    use super::*;

    fn root() -> Option<Root> {
        Some(Root {
            layers: vec![PathBuf::from("/l")],
            back_end: BackEnd::Any,
            read_only: false,
            sandbox: PathBuf::from("/mnt/mesos/sandbox"),
        })
    }

    fn nothing() -> Circumstances<'static> {
        Circumstances {
            sandbox: Path::new("/s"),
            parent_sandbox: None,
            owner: None,
            persistent: &[],
            images: &[],
        }
    }

    fn info(linux: LinuxInfo) -> ContainerInfo {
        ContainerInfo {
            r#type: container_info::Type::Mesos as i32,
            linux_info: Some(linux),
            ..ContainerInfo::default()
        }
    }

    #[test]
    fn without_isolators_a_container_is_plain() {
        let confiner = Confiner::default();
        let linux = LinuxInfo { share_pid_namespace: Some(false), ..LinuxInfo::default() };
        assert!(confiner.confine(Some(&info(linux)), None, &nothing()).unwrap().is_plain());
        assert!(confiner.confine(None, root(), &nothing()).unwrap_err().contains("filesystem/linux"));
    }

    #[test]
    fn a_container_with_an_image_is_restricted_and_loosening_is_refused_by_name() {
        let confiner = Confiner { filesystem: true, ..Confiner::default() };
        let confined = confiner.confine(None, root(), &nothing()).unwrap();
        let privileges = &confined.privileges;
        assert!(privileges.no_new_privileges && privileges.filter.is_some());
        assert_eq!(privileges.capabilities, Some(capabilities::restricted()));
        assert!(confined.namespaces.pid && confined.namespaces.ipc);
        let seccomp = SeccompInfo { profile_name: None, unconfined: Some(true) };
        let unconfined = LinuxInfo { seccomp: Some(seccomp), ..LinuxInfo::default() };
        let why = confiner.confine(Some(&info(unconfined.clone())), root(), &nothing()).unwrap_err();
        assert!(why.ends_with("need the isolator 'linux/seccomp'"), "{why}");
        let all = CapabilityInfo { capabilities: vec![1021] };
        let more = LinuxInfo { effective_capabilities: Some(all), ..LinuxInfo::default() };
        let why = confiner.confine(Some(&info(more)), root(), &nothing()).unwrap_err();
        assert!(why.ends_with("need the isolator 'linux/capabilities'"), "{why}");
        let lets = Confiner { filesystem: true, seccomp: Some(Seccomp::default()), ..Confiner::default() };
        let confined = lets.confine(Some(&info(unconfined)), root(), &nothing()).unwrap();
        assert!(confined.privileges.filter.is_none());
    }

    #[test]
    fn rule_350_files_of_their_own_bring_volumes_along() {
        let volumes =
            |names: &[&str]| Volumes::by_name(|wanted| names.contains(&wanted), &Isolation::default());
        let three = |volumes: &Volumes| (volumes.images, volumes.host_paths, volumes.sandbox_paths);
        assert_eq!(three(&volumes(&[FILESYSTEM])), (true, true, true));
        assert_eq!(three(&volumes(&["filesystem/posix"])), (false, false, false));
        assert_eq!(three(&volumes(&[volumes::IMAGE])), (true, false, false));
        assert_eq!(three(&volumes(&[volumes::HOST_PATH])), (false, true, false));
        assert_eq!(three(&volumes(&[volumes::SANDBOX_PATH])), (false, false, true));
    }

    #[test]
    fn persistent_volumes_are_mounted_into_a_root() {
        let confiner = Confiner { filesystem: true, ..Confiner::default() };
        let persistent = [("/srv/volumes/v".to_owned(), "data".to_owned(), true)];
        let circumstances = Circumstances { persistent: &persistent, ..nothing() };
        let confined = confiner.confine(None, root(), &circumstances).unwrap();
        assert!(matches!(&confined.mounts[..], [Mount { source: Source::Volume(_), read_only: true, .. }]));
        assert!(confiner.confine(None, None, &circumstances).unwrap().mounts.is_empty());
    }
}
