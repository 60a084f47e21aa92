//! What this host can do, isolator by isolator, found out by starting each of them.

use std::{error::Error, path::Path};

use crate::{
    gpus, network, port_watch,
    projects::{self, ProjectSettings, Projects},
};

use super::{CGROUPS, Isolation, IsolationError, Isolators, confine, disk};

/// One isolator on this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Support {
    /// As `--isolation` has it.
    pub isolator: &'static str,
    /// Why it cannot work here.
    pub lacks: Option<String>,
}

/// Tries every isolator whose settings are not an agent's own choice. Control groups that are made for it are
/// removed again. `hierarchy` is `--cgroups_hierarchy`, `folder` `--work_dir`.
pub fn support(hierarchy: &Path, folder: &Path) -> Vec<Support> {
    let plain = ["posix/cpu", "posix/mem", "posix/rlimits", disk::NAME];
    let names = plain.into_iter().chain(CGROUPS).chain(confine::names());
    let mut all: Vec<Support> =
        names.map(|isolator| Support { isolator, lacks: lacks(isolator, hierarchy) }).collect();
    let other = |isolator, result: Result<(), IsolationError>| {
        let lacks = result.err().map(|error| told(&error));
        Support { isolator, lacks }
    };
    let isolation = |names: &[&str]| Isolation {
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        projects: ProjectSettings { folder: folder.to_path_buf(), ..ProjectSettings::default() },
        ..Isolation::default()
    };
    all.push(other(projects::NAME, Projects::start(&isolation(&[projects::NAME])).map(drop)));
    let gpus = isolation(&[super::devices::NAME, gpus::NAME]);
    all.push(other(gpus::NAME, gpus::gpu_count(&gpus).map(drop)));
    for name in [network::NAME, port_watch::NAME] {
        let root = rustix::process::geteuid().is_root();
        let lacks = (!root).then(|| "it needs root".to_owned());
        all.push(Support { isolator: name, lacks });
    }
    all
}

fn told(error: &IsolationError) -> String {
    match error {
        IsolationError::Host { reason, .. } => reason.clone(),
        error => match error.source() {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        },
    }
}

fn lacks(isolator: &str, hierarchy: &Path) -> Option<String> {
    let isolation = Isolation {
        names: vec![isolator.to_owned()],
        cgroups_hierarchy: hierarchy.to_path_buf(),
        cgroups_root: format!("mezzo-doctor-{}", std::process::id()),
        ..Isolation::default()
    };
    match Isolators::start(&isolation) {
        Ok(isolators) => {
            for group in isolators.roots() {
                group.remove();
            }
            None
        }
        Err(error) => Some(told(&error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_isolator_is_told_once_and_what_is_missing_by_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let all = support(folder.path(), folder.path());
        let told = |name: &str| all.iter().filter(|known| known.isolator == name).collect::<Vec<_>>();
        assert_eq!(told("posix/cpu").len(), 1);
        assert_eq!(told("posix/cpu")[0].lacks, None);
        let [memory] = told("cgroups/mem")[..] else { panic!("it is told once") };
        assert!(memory.lacks.as_ref().is_some_and(|why| why.contains("control group")), "{memory:?}");
        for name in ["filesystem/linux", "disk/xfs", "gpu/nvidia", "network/cni", "network/ports"] {
            assert_eq!(told(name).len(), 1, "{name}");
        }
    }
}
