//! What this host can do, isolator by isolator, found out by starting each of them.

use std::{error::Error, path::Path};

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
/// removed again. `hierarchy` is `--cgroups_hierarchy`.
pub fn support(hierarchy: &Path) -> Vec<Support> {
    let plain = ["posix/cpu", "posix/mem", "posix/rlimits", disk::NAME];
    let names = plain.into_iter().chain(CGROUPS).chain(confine::NAMES);
    names.map(|isolator| Support { isolator, lacks: lacks(isolator, hierarchy) }).collect()
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
        Err(IsolationError::Host { reason, .. }) => Some(reason),
        Err(error) => Some(match error.source() {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_isolator_is_told_once_and_what_is_missing_by_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let all = support(folder.path());
        let told = |name: &str| all.iter().filter(|known| known.isolator == name).collect::<Vec<_>>();
        assert_eq!(told("posix/cpu").len(), 1);
        assert_eq!(told("posix/cpu")[0].lacks, None);
        let [memory] = told("cgroups/mem")[..] else { panic!("it is told once") };
        assert!(memory.lacks.as_ref().is_some_and(|why| why.contains("control group")), "{memory:?}");
        assert_eq!(told("filesystem/linux").len(), 1);
    }
}
