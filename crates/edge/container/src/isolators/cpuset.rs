//! cgroups/cpuset: a group for whoever assigns processors. Containers use those of their parent until then.

use std::path::Path;

use super::{
    IsolationError,
    cgroup::{Group, Host, Version},
};

pub(super) const NAME: &str = "cgroups/cpuset";

/// Without these nobody can join a group of v1.
const NEEDED: [&str; 2] = ["cpuset.cpus", "cpuset.mems"];
/// With it the kernel fills new groups from their parent. Whoever writes to them makes it spread load anew over
/// all groups, which takes longer the more there are.
const CLONE: &str = "cgroup.clone_children";

#[derive(Debug)]
pub(super) struct Cpuset {
    pub(super) root: Group,
}

impl Cpuset {
    pub(super) fn start(host: &Host) -> Result<Self, IsolationError> {
        let root = host.controller(NAME, "cpuset")?;
        if root.version == Version::V1 {
            fill(&root, host.hierarchy())?;
            root.write(CLONE, "1")?;
        }
        Ok(Self { root })
    }

    pub(super) fn prepare(&self, id: &str) -> Result<(), IsolationError> {
        let group = self.root.child(id);
        if group.version == Version::V1 && is_empty(&group) { inherit(&group, &self.root) } else { Ok(()) }
    }
}

/// Fills the groups from the top down to the agent's own.
fn fill(root: &Group, hierarchy: &Path) -> Result<(), IsolationError> {
    let top = hierarchy.join("cpuset");
    let mut parent = Group { path: top.clone(), version: root.version };
    for part in root.path.strip_prefix(&top).into_iter().flat_map(Path::components) {
        let group = Group { path: parent.path.join(part), version: root.version };
        if is_empty(&group) {
            inherit(&group, &parent)?;
        }
        parent = group;
    }
    Ok(())
}

fn is_empty(group: &Group) -> bool {
    NEEDED.iter().any(|file| group.read(file).is_none_or(|text| text.trim().is_empty()))
}

fn inherit(group: &Group, parent: &Group) -> Result<(), IsolationError> {
    for file in NEEDED {
        group.write(file, parent.read(file).unwrap_or_default().trim())?;
    }
    Ok(())
}
