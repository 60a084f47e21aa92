//! `mezzo doctor`

use std::path::{Path, PathBuf};

use mezzo_container::OciRuntime;
use serde::Serialize;

use crate::{
    args::{Doctor, Global},
    error::CliError,
    table::{self, Row},
};

#[derive(Debug, Serialize)]
struct Finding {
    what: String,
    works: bool,
    note: String,
}

impl Row for Finding {
    const TITLES: &'static [&'static str] = &["WHAT", "WORKS", "NOTE"];

    fn cells(&self) -> Vec<String> {
        vec![self.what.clone(), if self.works { "yes" } else { "no" }.into(), self.note.clone()]
    }
}

/// Tells what an agent could do on this machine, and what is missing for the rest.
pub(crate) fn run(global: &Global, doctor: &Doctor) -> Result<(), CliError> {
    let mut findings = vec![kernel(), control_groups(&doctor.cgroups_hierarchy), overlay()];
    findings.extend(mezzo_container::support(&doctor.cgroups_hierarchy, &doctor.work_dir).into_iter().map(
        |support| {
            let works = support.lacks.is_none();
            Finding { what: support.isolator.to_owned(), works, note: support.lacks.unwrap_or_default() }
        },
    ));
    findings.extend(runtimes(doctor.runtime.as_deref()));
    table::print(&findings, global.output)
}

/// Runtimes that could be used instead of our own, by the names of their programs.
const RUNTIMES: [&str; 3] = ["crun", "runc", "youki"];

/// Those that are looked for, or the one that is named as `--runtime` of an agent has it.
fn runtimes(named: Option<&str>) -> Vec<Finding> {
    let found: Vec<PathBuf> = match named {
        Some(named) => vec![named.strip_prefix("oci:").unwrap_or(named).into()],
        None => {
            let path = std::env::var_os("PATH").unwrap_or_default();
            let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
            let first =
                |name: &&str| folders.iter().map(|folder| folder.join(name)).find(|path| path.is_file());
            RUNTIMES.iter().filter_map(first).collect()
        }
    };
    if found.is_empty() {
        let note = format!("none of {} is installed; none is needed", RUNTIMES.join(", "));
        return vec![Finding { what: "other runtimes".into(), works: false, note }];
    }
    let finding = |path: PathBuf| {
        let what = format!("--runtime=oci:{}", path.display());
        match OciRuntime::new(path).check() {
            Ok(version) => Finding { what, works: true, note: version },
            Err(error) => Finding { what, works: false, note: error.to_string() },
        }
    };
    found.into_iter().map(finding).collect()
}

fn kernel() -> Finding {
    let names = rustix::system::uname();
    let note = format!("{} {}", names.sysname().to_string_lossy(), names.release().to_string_lossy());
    Finding { what: "kernel".into(), works: names.sysname() == c"Linux", note }
}

fn control_groups(hierarchy: &Path) -> Finding {
    let v2 = |path: &Path| path.join("cgroup.controllers").exists();
    let version = if v2(hierarchy) {
        Some("version 2")
    } else if v2(&hierarchy.join("unified")) {
        Some("version 1, with 2 beside it")
    } else {
        hierarchy.join("memory").exists().then_some("version 1")
    };
    let missing = || format!("there are none at '{}'; --cgroups_hierarchy tells where", hierarchy.display());
    let note = version.map_or_else(missing, str::to_owned);
    Finding { what: "control groups".into(), works: version.is_some(), note }
}

fn overlay() -> Finding {
    let known = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
    let works = known.lines().any(|line| line.split_whitespace().last() == Some("overlay"));
    let note = if works { "" } else { "images are copied for each container (modprobe overlay may help)" };
    Finding { what: "overlay file systems".into(), works, note: note.into() }
}
