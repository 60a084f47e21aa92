//! What the compiler does not check: which floor may use which, how long files are, and the map.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// No source file is longer: one that wants to be is two things.
const FILE_LINES_MAX: usize = 1000;

/// The floors, and which floors each may use. A crate's floor is its folder under `crates/`.
const FLOORS: &[(&str, &[&str])] = &[
    ("model", &["model"]),
    ("wire", &["model", "wire"]),
    ("core", &["model"]),
    ("edge", &["model", "wire"]),
    ("sdk", &["model", "wire", "edge"]),
    ("daemon", &["model", "wire", "core", "edge", "sdk"]),
    ("sim", &["model", "wire", "core", "sdk", "sim"]),
    ("cli", &["model", "wire", "core", "edge", "sdk", "daemon", "sim"]),
    ("dev", &["model", "wire", "core", "edge", "sdk", "daemon", "sim"]),
    ("tests", &["model", "wire", "core", "edge", "sdk", "daemon", "sim", "cli", "dev"]),
];

/// Arrows inside a floor or across that the table above does not give.
const EXTRA: &[(&str, &str)] = &[
    ("mezzo-master", "mezzo-allocator"),
    ("mezzo-judge", "mezzo-master"),
    ("mezzo-judge", "mezzo-allocator-checker"),
    ("mezzo-fetcher", "mezzo-download"),
    ("mezzo-images", "mezzo-download"),
];

/// What a core never pulls in, however indirectly.
const CORE_BANS: &[&str] = &["tokio", "hyper", "rustix", "nix", "redb", "serde_json", "tracing"];

/// Folders whose word for an agent is Mesos' old one.
const OLD_WORD_ALLOWED: &[&str] =
    &["crates/wire/mesos-v0", "crates/wire/marathon", "crates/wire/json", "tests", "crates/dev"];

/// Checks everything and lists all that is wrong.
pub(crate) fn run(root: &Path) -> Result<()> {
    let mut wrong = Vec::new();
    let packages = packages(root)?;
    floors(&packages, &mut wrong);
    cores(root, &packages, &mut wrong)?;
    files(root, &mut wrong)?;
    map(root, &packages, &mut wrong)?;
    if wrong.is_empty() {
        println!("tidy: {} crates, arrows, files and map are in order", packages.len());
        return Ok(());
    }
    for line in &wrong {
        eprintln!("tidy: {line}");
    }
    bail!("{} things are not in order", wrong.len())
}

struct Package {
    floor: String,
    folder: PathBuf,
    uses: Vec<String>,
}

fn packages(root: &Path) -> Result<BTreeMap<String, Package>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(root)
        .output()
        .context("run cargo metadata")?;
    let metadata: Value = serde_json::from_slice(&output.stdout).context("read cargo metadata")?;
    let workspace = PathBuf::from(metadata["workspace_root"].as_str().context("workspace_root")?);
    let mut packages = BTreeMap::new();
    for package in metadata["packages"].as_array().context("packages")? {
        let manifest = PathBuf::from(package["manifest_path"].as_str().context("manifest_path")?);
        let folder = manifest.parent().context("manifest folder")?.strip_prefix(&workspace)?.to_path_buf();
        let mut parts = folder.components().map(|part| part.as_os_str().to_string_lossy());
        let floor = match parts.next().as_deref() {
            Some("crates") => parts.next().context("floor")?.into_owned(),
            _ => "tests".into(),
        };
        let uses = package["dependencies"]
            .as_array()
            .context("dependencies")?
            .iter()
            .filter(|dependency| dependency["kind"].is_null())
            .filter_map(|dependency| dependency["name"].as_str().map(String::from))
            .collect();
        let name = package["name"].as_str().context("name")?.to_string();
        packages.insert(name, Package { floor, folder, uses });
    }
    Ok(packages)
}

fn floors(packages: &BTreeMap<String, Package>, wrong: &mut Vec<String>) {
    for (name, package) in packages {
        let Some((_, may)) = FLOORS.iter().find(|(floor, _)| *floor == package.floor) else {
            wrong.push(format!("{name} lies on floor '{}', which the table does not know", package.floor));
            continue;
        };
        for used in &package.uses {
            let Some(other) = packages.get(used) else { continue };
            let extra = EXTRA.contains(&(name.as_str(), used.as_str()));
            if !extra && !may.contains(&other.floor.as_str()) {
                wrong.push(format!("{name} ({}) must not use {used} ({})", package.floor, other.floor));
            }
        }
        let base = package.folder.file_name().map(|name| name.to_string_lossy().into_owned());
        let plain = name.strip_prefix("mezzo-").unwrap_or(name);
        let expected = base.as_deref().is_some_and(|base| {
            base == plain
                || format!("{base}-api") == plain
                || format!("{base}-{}", package.floor) == plain
                || format!("{}-{base}", package.floor) == plain
                || (base == "cli" && name == "mezzo")
        });
        if !expected {
            wrong.push(format!("{name} lies in {}, which is not its name", package.folder.display()));
        }
    }
}

fn cores(root: &Path, packages: &BTreeMap<String, Package>, wrong: &mut Vec<String>) -> Result<()> {
    for (name, _) in packages.iter().filter(|(_, package)| package.floor == "core") {
        let output = Command::new(env!("CARGO"))
            .args(["tree", "--offline", "--edges=normal", "--prefix=none", "--format={p}", "-p", name])
            .current_dir(root)
            .output()
            .context("run cargo tree")?;
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            let used = line.split(' ').next().unwrap_or_default();
            if CORE_BANS.contains(&used) {
                wrong.push(format!("core {name} pulls in {used}"));
            }
        }
    }
    Ok(())
}

fn files(root: &Path, wrong: &mut Vec<String>) -> Result<()> {
    let output = Command::new("git")
        .args(["ls-files", "-co", "--exclude-standard", "*.rs"])
        .current_dir(root)
        .output()
        .context("list source files")?;
    for file in String::from_utf8_lossy(&output.stdout).lines() {
        let Ok(text) = fs::read_to_string(root.join(file)) else { continue };
        let lines = text.lines().count();
        if lines > FILE_LINES_MAX {
            wrong.push(format!("{file} has {lines} lines, over {FILE_LINES_MAX}: split it"));
        }
        for word in ["FIX\u{4d}E", "dbg\u{21}(", "todo\u{21}(", "unimplemented\u{21}("] {
            if text.contains(word) {
                wrong.push(format!("{file} contains {word}"));
            }
        }
        let old_word = !OLD_WORD_ALLOWED.iter().any(|folder| file.starts_with(folder));
        if old_word && file.starts_with("crates/core") && text.to_lowercase().contains("slave") {
            wrong.push(format!("{file} says slave: only wire may"));
        }
    }
    Ok(())
}

/// ARCHITECTURE.md names every crate folder, and no folder that is not there.
fn map(root: &Path, packages: &BTreeMap<String, Package>, wrong: &mut Vec<String>) -> Result<()> {
    let text = fs::read_to_string(root.join("ARCHITECTURE.md")).context("read ARCHITECTURE.md")?;
    for package in packages.values() {
        let folder = package.folder.display().to_string();
        if !text.contains(&format!("`{folder}`")) {
            wrong.push(format!("ARCHITECTURE.md does not describe `{folder}`"));
        }
    }
    for word in text.split('`').filter(|word| word.starts_with("crates/") && !word.contains(' ')) {
        if !root.join(word).exists() {
            wrong.push(format!("ARCHITECTURE.md names `{word}`, which is not there"));
        }
    }
    Ok(())
}
