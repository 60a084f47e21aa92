//! What containers of a development cluster can be given on this machine.

use std::{fs, path::Path};

use mezzo_agent_daemon::{Config, ImageSettings};
use mezzo_container::{Isolation, check_isolation};

use super::Folder;

/// Where control groups are mounted.
const HIERARCHY: &str = "/sys/fs/cgroup";
const LIMITS: [&str; 3] = ["cgroups/cpu", "cgroups/mem", "cgroups/pids"];
const FILES: &str = "filesystem/linux";
const SECRET_FILES: &str = "volume/secret";

/// Images and limits, where this machine can have them.
#[derive(Debug)]
pub(super) struct Powers {
    /// Why containers have no images.
    images: Result<(), String>,
    /// Why nothing holds them to what they asked for.
    limits: Result<(), String>,
    /// Whether secrets can be files; as variables they always can.
    secret_files: bool,
    /// The control group above those of the agents.
    cgroups_root: String,
}

impl Powers {
    /// Finds out by trying.
    pub(super) fn detect(folder: &Folder) -> Self {
        let cgroups_root = folder.name();
        let can = |names: &[&str]| {
            let names = names.iter().map(|name| (*name).to_owned()).collect();
            let isolation = Isolation { names, cgroups_root: cgroups_root.clone(), ..Isolation::default() };
            check_isolation(&isolation).map_err(|error| error.to_string())
        };
        let secret_files = can(&[FILES, SECRET_FILES]).is_ok();
        Self { images: can(&[FILES]), limits: can(&LIMITS), secret_files, cgroups_root }
    }

    /// Settings of an agent of this name.
    pub(super) fn apply(&self, config: &mut Config, name: &str) {
        let mut isolators =
            if self.limits.is_ok() { LIMITS.to_vec() } else { vec!["posix/cpu", "posix/mem"] };
        isolators.push("environment_secret");
        if self.images.is_ok() {
            isolators.extend([FILES, "docker/runtime"]);
            if self.secret_files {
                isolators.push(SECRET_FILES);
            }
            config.images = Some(ImageSettings::new(config.work_dir.join("images")));
        }
        config.isolation = isolators.join(",");
        // Each its own: an agent removes groups that it does not know.
        config.cgroups_root = format!("{}/{name}", self.cgroups_root);
    }

    /// The command that is worth being tried, besides those that always are.
    pub(super) fn next(&self) -> Option<&'static str> {
        self.images.is_ok().then_some("run IMAGE")
    }

    /// What is missing, for who starts the cluster.
    pub(super) fn notes(&self) -> Vec<String> {
        if !rustix::process::geteuid().is_root() {
            return vec![
                "without root tasks run as you, containers have no images, and cgroup limits are off"
                    .to_owned(),
            ];
        }
        let missing = |what: &str, can: &Result<(), String>| Some(format!("{what}: {}", can.as_ref().err()?));
        let both =
            [missing("containers have no images", &self.images), missing("limits are off", &self.limits)];
        both.into_iter().flatten().collect()
    }

    /// Removes the control groups of agents that have ended. Those with processes stay.
    pub(super) fn remove_groups(&self) {
        let hierarchies = fs::read_dir(HIERARCHY).into_iter().flatten().flatten().map(|entry| entry.path());
        for hierarchy in hierarchies.chain([Path::new(HIERARCHY).to_owned()]) {
            let root = hierarchy.join(&self.cgroups_root);
            for agent in fs::read_dir(&root).into_iter().flatten().flatten() {
                // Only an empty group can be removed, and its files are no entries to the kernel.
                let _ = fs::remove_dir(agent.path());
            }
            let _ = fs::remove_dir(root);
        }
    }
}
