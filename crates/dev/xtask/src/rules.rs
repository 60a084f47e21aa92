//! Which behaviour rules a test or docs/compatibility.md names.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::Command,
};

use anyhow::{Context, Result, bail};

/// Numbered rules, beside the checkout.
struct Table {
    /// What they are of.
    name: &'static str,
    /// Where they are.
    path: &'static str,
    /// Areas of which every rule has to be named.
    complete: &'static [&'static str],
}

const TABLES: [Table; 2] = [
    Table { name: "Mesos", path: "../shared/reference/mesos/behaviours.tsv", complete: MESOS },
    Table { name: "Marathon", path: "../shared/reference/marathon/behaviours.tsv", complete: MARATHON },
];

/// Files whose numbers are Marathon's; in others, those that say so.
const MARATHON_FILES: &[&str] = &["/services/", "/marathon/", "services.rs"];

/// The heading of the part of docs/compatibility.md that speaks of Marathon's rules.
const MARATHON_HEADING: &str = "\n## Services";

const MARATHON: &[&str] = &[
    "deployment-plan",
    "deployment-run",
    "rollback",
    "upgradeStrategy",
    "kill-selection",
    "backoff",
    "launch-queue",
    "constraints",
    "health-checks",
    "readiness",
    "residency",
    "unreachable",
    "task-state",
    "kill-api",
    "environment",
    "ports",
    "networks",
    "secrets",
    "roles",
    "versions",
    "errors",
    "auth",
    "leader",
    "state",
    "metrics",
    "pods",
    "app-validation",
    "groups",
    "suspended",
    "docker",
];

const MESOS: &[&str] = &[
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
    "default executor",
    "docker",
    "containers",
    "attach",
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
    let named = named(root)?;
    let mut missing = 0;
    for (table, named) in TABLES.iter().zip(&named) {
        let Ok(rows) = fs::read_to_string(root.join(table.path)) else {
            println!("rules of {}: skipped, {} is not there", table.name, table.path);
            continue;
        };
        missing += report(table, &rows, named, arguments.contains(&"--missing"))?;
    }
    if missing > 0 && arguments.contains(&"--check") {
        bail!("{missing} rules are named by no test and no row of docs/compatibility.md");
    }
    Ok(())
}

/// Prints one table's coverage; how many rules that must be named are not.
fn report(table: &Table, rows: &str, named: &BTreeSet<u32>, list: bool) -> Result<usize> {
    let mut areas: BTreeMap<&str, Vec<(u32, &str)>> = BTreeMap::new();
    for line in rows.lines().skip(1) {
        let mut cells = line.split('\t');
        let number: u32 = cells.next().unwrap_or_default().parse().context("rule number")?;
        let area = cells.next().context("rule area")?;
        // The tables differ in whether a title stands between area and rule.
        let rule = if table.name == "Mesos" { cells.nth(1) } else { cells.next() }.context("rule text")?;
        areas.entry(area).or_default().push((number, rule));
    }
    let mut missing = 0;
    println!("{:24} {:>5} {:>5}", format!("{}: area", table.name), "rules", "named");
    for (area, rules) in &areas {
        let unnamed: Vec<_> = rules.iter().filter(|(number, _)| !named.contains(number)).collect();
        println!("{area:24} {:5} {:5}", rules.len(), rules.len() - unnamed.len());
        if table.complete.contains(area) {
            missing += unnamed.len();
        }
        if list && table.complete.contains(area) {
            unnamed.iter().for_each(|(number, rule)| println!("{number} {area}: {rule}"));
        }
    }
    Ok(missing)
}

/// Numbers in `rule_12`, `rule 12`, `Rule 12`, `rules 12, 13-15` of Rust and Python files and of the compatibility page, of
/// Mesos and of Marathon.
fn named(root: &Path) -> Result<[BTreeSet<u32>; 2]> {
    let output = Command::new("git")
        .args([
            "ls-files",
            "-co",
            "--exclude-standard",
            "*.rs",
            "*.py",
            "*.go",
            "*.js",
            "docs/compatibility.md",
        ])
        .current_dir(root)
        .output()
        .context("list files")?;
    let mut named = [BTreeSet::new(), BTreeSet::new()];
    for file in String::from_utf8_lossy(&output.stdout).lines() {
        let Ok(text) = fs::read_to_string(root.join(file)) else { continue };
        let of_marathon = MARATHON_FILES.iter().any(|part| file.contains(part));
        if file.ends_with(".md") {
            let services = text.find(MARATHON_HEADING).unwrap_or(text.len());
            let end =
                text[services..].match_indices("\n## ").nth(1).map_or(text.len(), |(at, _)| services + at);
            collect(&text[..services], false, &mut named);
            collect(&text[services..end], true, &mut named);
            collect(&text[end..], false, &mut named);
        } else if file.ends_with(".rs") && !file.contains("test") {
            // Outside of test files only what stands in the test module counts.
            let start = text.find("#[cfg(test)]").unwrap_or(text.len());
            collect(&text[start..], of_marathon, &mut named);
        } else {
            collect(&text, of_marathon, &mut named);
        }
    }
    Ok(named)
}

/// Adds the numbers to Mesos' rules or, when `of_marathon` or the word before says so, to Marathon's.
fn collect(text: &str, of_marathon: bool, named: &mut [BTreeSet<u32>; 2]) {
    for (at, _) in text.match_indices("rule").chain(text.match_indices("Rule")) {
        let rest = &text[at + 4..];
        let before = text[..at].trim_end_matches(['_', ' ']);
        let said = ["marathon", "Marathon", "Marathon's"].iter().any(|name| before.ends_with(name));
        let named = &mut named[usize::from(of_marathon || said)];
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
        let mut named = [BTreeSet::new(), BTreeSet::new()];
        collect(
            "fn rule_912_and_913_x() // rules 920-922, 925: rule 930. Rule 931: unruled 7",
            false,
            &mut named,
        );
        collect(
            "marathon_rule_905_and_906 Marathon's rule 907, marathon rules 908 and 909; rule 940",
            false,
            &mut named,
        );
        collect("rule 910", true, &mut named);
        let named = named.map(|numbers| numbers.into_iter().collect::<Vec<_>>());
        assert_eq!(named[0], [912, 913, 920, 921, 922, 925, 930, 931, 940]);
        assert_eq!(named[1], [905, 906, 907, 908, 909, 910]);
    }
}
