//! Which behaviour rules a test or docs/compatibility.md names.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::Command,
};

use anyhow::{Context, Result, bail};

/// Where the numbered rules are, beside the checkout.
const TABLE: &str = "../shared/reference/mesos/behaviours.tsv";

/// Areas of which every rule has to be named.
const COMPLETE: &[&str] = &[
    "http",
    "json",
    "recordio",
    "subscribe",
    "framework validation",
    "offers",
    "offer constraints",
    "allocation",
    "quota",
    "weights",
    "maintenance",
    "oversubscription",
    "drain",
    "task validation",
    "task group validation",
    "launch on agent",
    "status updates",
    "kill",
    "reconciliation",
    "agents",
    "executors",
    "command executor",
    "checks",
    "sandbox and logs",
    "fetcher",
    "agent recovery",
    "checkpoints",
    "registry",
    "operations",
    "resources",
];

/// Prints the coverage per area; fails when an area that must be complete is not.
pub(crate) fn run(root: &Path, arguments: &[&str]) -> Result<()> {
    let Ok(table) = fs::read_to_string(root.join(TABLE)) else {
        println!("rules: skipped, {TABLE} is not there");
        return Ok(());
    };
    let mut areas: BTreeMap<&str, Vec<(u32, &str)>> = BTreeMap::new();
    for line in table.lines().skip(1) {
        let mut cells = line.split('\t');
        let number: u32 = cells.next().unwrap_or_default().parse().context("rule number")?;
        let area = cells.next().context("rule area")?;
        let rule = cells.nth(1).context("rule text")?;
        areas.entry(area).or_default().push((number, rule));
    }
    let named = named(root)?;
    let mut missing = Vec::new();
    println!("{:24} {:>5} {:>5}", "area", "rules", "named");
    for (area, rules) in &areas {
        let count = rules.iter().filter(|(number, _)| named.contains(number)).count();
        println!("{area:24} {:5} {count:5}", rules.len());
        if COMPLETE.contains(area) {
            missing
                .extend(rules.iter().filter(|(number, _)| !named.contains(number)).map(|rule| (area, rule)));
        }
    }
    if arguments.contains(&"--missing") {
        for (area, (number, rule)) in &missing {
            println!("{number} {area}: {rule}");
        }
    }
    if !missing.is_empty() && arguments.contains(&"--check") {
        bail!("{} rules are named by no test and no row of docs/compatibility.md", missing.len());
    }
    Ok(())
}

/// Numbers in `rule_12`, `rule 12`, `rules 12, 13-15` of Rust and Python files and of the compatibility page.
fn named(root: &Path) -> Result<BTreeSet<u32>> {
    let output = Command::new("git")
        .args(["ls-files", "-co", "--exclude-standard", "*.rs", "*.py", "*.go", "docs/compatibility.md"])
        .current_dir(root)
        .output()
        .context("list files")?;
    let mut named = BTreeSet::new();
    for file in String::from_utf8_lossy(&output.stdout).lines() {
        let Ok(text) = fs::read_to_string(root.join(file)) else { continue };
        let text = if file.ends_with(".rs") && !file.contains("test") {
            // Outside of test files only what stands in the test module counts.
            text.find("#[cfg(test)]").map(|start| text[start..].to_string()).unwrap_or_default()
        } else {
            text
        };
        collect(&text, &mut named);
    }
    Ok(named)
}

fn collect(text: &str, named: &mut BTreeSet<u32>) {
    for (at, _) in text.match_indices("rule") {
        let rest = &text[at + 4..];
        let rest = rest.strip_prefix('s').unwrap_or(rest);
        let Some(rest) = rest.strip_prefix(['_', ' ']) else { continue };
        let mut previous = None;
        let mut range = false;
        let mut rest = rest;
        loop {
            let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let Ok(number) = rest[..digits].parse::<u32>() else { break };
            match previous {
                Some(first) if range => named.extend(first..=number),
                _ => _ = named.insert(number),
            }
            previous = Some(number);
            rest = &rest[digits..];
            range = rest.starts_with('-') || rest.starts_with("_to_");
            let next =
                ["_to_", "_and_", " and ", ", ", "-", "_", ","].iter().find_map(|p| rest.strip_prefix(p));
            let Some(next) = next else { break };
            rest = next;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_in_names_and_prose() {
        let mut named = BTreeSet::new();
        collect("fn rule_12_and_13_x() // rules 20-22, 25: rule 30. unruled 7", &mut named);
        assert_eq!(named.into_iter().collect::<Vec<_>>(), [12, 13, 20, 21, 22, 25, 30]);
    }
}
