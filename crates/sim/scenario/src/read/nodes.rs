//! Machines and roles.

use super::check_name;
use crate::scenario::{Amounts, NODES_MAX, NodeGroup, Role};
use mezzo_document::{Problem, Section};

/// Attributes of a node.
const ATTRIBUTES_MAX: usize = 64;
/// Cores or gpus of anything.
const COUNT_MAX: f64 = 1e6;
/// Megabytes of anything: an exabyte.
const SIZE_MAX: f64 = 1e12;

pub(super) fn group(number: usize, section: Section<'_>) -> Result<NodeGroup, Problem> {
    let name = match section.text("name", "\"big\"")? {
        Some(name) => check_name(&section, &name, false)?,
        None if number == 0 => "node".into(),
        None => format!("node{}", number + 1),
    };
    let count = section.whole("count", 1..=NODES_MAX, "3")?;
    let count = section.need("count", count, "how many such nodes there are", "3")?.value;
    let resources = amounts(&section)?;
    section.need("cpus", (resources.cpus > 0.0).then_some(()), "more than no cpus", "8")?;
    section.need("memory", (resources.memory > 0.0).then_some(()), "a size", "\"32 GiB\"")?;
    let attributes = section.pairs("attributes", "{ rack = \"r1\" }")?;
    if attributes.len() > ATTRIBUTES_MAX {
        let what = format!("{} has {} attributes", section.name, attributes.len());
        return Err(section.wrong(section.span(), what, format!("expected at most {ATTRIBUTES_MAX}")));
    }
    let region = section.text("region", "\"eu\"")?;
    let zone = section.text("zone", "\"eu-1\"")?;
    let domain = match (region, zone) {
        (Some(region), Some(zone)) => {
            Some((check_name(&section, &region, false)?, check_name(&section, &zone, false)?))
        }
        (None, None) => None,
        (Some(one), None) | (None, Some(one)) => {
            let why = "expected both, a region and a zone, or neither";
            return Err(section
                .wrong(one.span, format!("{} has half a fault domain", section.name), why)
                .help("for example  region = \"eu\"\n                     zone = \"eu-1\""));
        }
    };
    section.end()?;
    Ok(NodeGroup { name, count, resources, attributes, domain })
}

pub(super) fn check(root: &Section<'_>, nodes: &[NodeGroup]) -> Result<(), Problem> {
    if nodes.is_empty() {
        let help = "for example\n          [[nodes]]\n          count = 3\n          cpus = 8\n          memory = \"32 GiB\"";
        return Err(root
            .wrong(root.span(), "a scenario needs nodes", "expected at least one table [[nodes]]")
            .help(help));
    }
    let all = nodes.iter().map(|group| group.count).sum::<u64>();
    if all > NODES_MAX {
        return Err(root.wrong(
            root.span(),
            format!("there are {all} nodes"),
            format!("expected at most {NODES_MAX}"),
        ));
    }
    for (number, group) in nodes.iter().enumerate() {
        if nodes[..number].iter().any(|other| other.name == group.name) {
            let what = format!("two groups of nodes are called \"{}\"", group.name);
            return Err(root.wrong(root.span(), what, "expected each name once").help("name = \"big\""));
        }
    }
    Ok(())
}

/// cpus, memory, disk and gpus of a table.
pub(super) fn amounts(section: &Section<'_>) -> Result<Amounts, Problem> {
    let number =
        |key, example| Ok::<_, Problem>(section.number(key, COUNT_MAX, example)?.map_or(0.0, |at| at.value));
    let size =
        |key, example| Ok::<_, Problem>(section.size(key, SIZE_MAX, example)?.map_or(0.0, |at| at.value));
    let gpus = section.number("gpus", COUNT_MAX, "1")?;
    if let Some(gpus) = gpus.as_ref().filter(|gpus| gpus.value.fract() != 0.0) {
        let what = format!("{}: 'gpus' is {}", section.name, gpus.value);
        return Err(section
            .wrong(gpus.span.clone(), what, "expected whole gpus")
            .help("for example  gpus = 1"));
    }
    Ok(Amounts {
        cpus: number("cpus", "8")?,
        memory: size("memory", "\"32 GiB\"")?,
        disk: size("disk", "\"100 GiB\"")?,
        gpus: gpus.map_or(0.0, |at| at.value),
    })
}

pub(super) fn role(section: Section<'_>) -> Result<Role, Problem> {
    let name = section.text("name", "\"web\"")?;
    let name = section.need("name", name, "the role's path", "\"web\"")?;
    let checked = check_name(&section, &name, true)?;
    let weight = section.number("weight", 1e6, "2.0")?;
    if let Some(weight) = weight.as_ref().filter(|weight| weight.value <= 0.0) {
        let what = format!("{}: 'weight' is {}", section.name, weight.value);
        return Err(section
            .wrong(weight.span.clone(), what, "expected more than 0")
            .help("for example  weight = 2.0"));
    }
    let guarantee = match section.table("guarantee", "{ cpus = 4, memory = \"8 GiB\" }")? {
        Some(table) => Some(quota(table)?.0),
        None => None,
    };
    let limit = match section.table("limit", "{ cpus = 4, memory = \"8 GiB\" }")? {
        Some(table) => quota(table)?.1,
        None => Vec::new(),
    };
    let place = section.source.place(name.span);
    section.end()?;
    let guaranteed = guarantee.iter().flat_map(|amounts| amounts.named());
    for (resource, amount) in guaranteed {
        let limit = limit.iter().find(|(name, _)| name == resource);
        if let Some((_, limit)) = limit.filter(|(_, limit)| *limit < amount) {
            let what = format!("the limit of role {checked} is below its guarantee");
            let why = format!("{resource}: guarantee {amount}, limit {limit}, lacks {}", amount - limit);
            return Err(Problem::new(what, why).at(place).help("raise the limit or lower the guarantee"));
        }
    }
    Ok(Role { name: checked, weight: weight.map_or(1.0, |at| at.value), guarantee, limit, place })
}

/// Amounts of a guarantee or limit, and those that were named.
pub(super) fn quota(table: Section<'_>) -> Result<(Amounts, Vec<(String, f64)>), Problem> {
    let found = amounts(&table)?;
    let named = [
        ("cpus", table.number("cpus", COUNT_MAX, "4")?.is_some()),
        ("mem", table.size("memory", SIZE_MAX, "\"8 GiB\"")?.is_some()),
        ("disk", table.size("disk", SIZE_MAX, "\"8 GiB\"")?.is_some()),
        ("gpus", table.number("gpus", COUNT_MAX, "1")?.is_some()),
    ];
    table.end()?;
    let amounts = found.named();
    let named = named.into_iter().zip(amounts).filter(|((_, named), _)| *named);
    Ok((found, named.map(|((name, _), (_, amount))| (name.to_owned(), amount)).collect()))
}
