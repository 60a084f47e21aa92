//! Reads a scenario file: what is wrong is told with its place.

mod events;
mod expect;
mod frameworks;
mod nodes;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::Duration,
};

use toml::de::DeTable;

use crate::{
    feasible,
    scenario::{
        FILE_BYTES_MAX, Framework, MasterSettings, NodeGroup, Policy, Preference, Scenario, Sorter,
        TABLES_MAX,
    },
    trace::Trace,
};
use mezzo_document::{At, Place, Problem, Section, Source};

/// Bytes of a name of a node group, role or framework.
const NAME_LENGTH_MAX: usize = 200;
/// Settle time unless said otherwise: longer than Mesos waits for agents to come back (10 minutes).
const SETTLE_DEFAULT: Duration = Duration::from_secs(15 * 60);
/// Policies compared in one run.
const POLICIES_MAX: usize = 16;

/// What the words of a scenario refer to while the rest of it is read.
struct Names {
    folder: PathBuf,
    nodes: usize,
    /// Names of frameworks with their first number and how many copies.
    frameworks: Vec<(String, usize, usize)>,
    duration: Duration,
}

impl Names {
    fn add(&mut self, framework: &Framework) {
        let first = self.frameworks.iter().map(|(_, _, count)| count).sum();
        self.frameworks.push((framework.name.clone(), first, framework.count as usize));
    }
}

impl Scenario {
    /// One framework for each owner of a trace, on equal nodes, under one policy.
    pub fn of_trace(trace: Trace, nodes: NodeGroup, policy: Policy) -> Result<Self, Problem> {
        let mut names = Names {
            folder: PathBuf::new(),
            nodes: nodes.count as usize,
            frameworks: Vec::new(),
            duration: Duration::ZERO,
        };
        let mut frameworks = Vec::new();
        let file = trace.file.clone();
        let last = trace.last_submit();
        let longest = trace.submissions.iter().map(|one| one.duration).max().unwrap_or_default();
        let place = Place { file: file.clone(), line: 1, column: 1, text: String::new(), length: 1 };
        frameworks::of_trace(trace, &frameworks::plain(), place, &mut names, &mut frameworks);
        let scenario = Self {
            title: file.clone(),
            file,
            rows: Vec::new(),
            seed: 1,
            duration: last + Duration::from_secs(1),
            settle: longest.saturating_mul(2) + SETTLE_DEFAULT,
            policies: vec![policy],
            nodes: vec![nodes],
            roles: Vec::new(),
            frameworks,
            faults: Vec::new(),
            expect: Default::default(),
            master: MasterSettings::default(),
        };
        feasible::check(&scenario)?;
        Ok(scenario)
    }

    /// Reads a file and the traces that it names, which lie beside it.
    pub fn read_file(path: &Path) -> Result<Self, Problem> {
        let name = path.display().to_string();
        let failed = |error: std::io::Error| {
            Problem::new(format!("read scenario {name}"), error.to_string())
                .help("mezzo sim run sim/scenarios/two-teams.toml")
        };
        let length = std::fs::metadata(path).map_err(failed)?.len();
        if length > FILE_BYTES_MAX as u64 {
            return Err(too_big(&name, length));
        }
        let text = std::fs::read_to_string(path).map_err(failed)?;
        Self::read(&name, &text, path.parent().unwrap_or(Path::new(".")))
    }

    /// Reads a text; traces that it names lie in `folder`.
    pub fn read(name: &str, text: &str, folder: &Path) -> Result<Self, Problem> {
        if text.len() > FILE_BYTES_MAX {
            return Err(too_big(name, text.len() as u64));
        }
        let source = Source { name, text };
        let root = DeTable::parse(text).map_err(|error| {
            let what = format!("the file is not TOML: {}", error.message().lines().next().unwrap_or("?"));
            Problem::new(what, "expected lines of `key = value` under [tables]")
                .at(source.place(error.span().unwrap_or(0..0)))
                .help("a value that is not a number, true or false is in quotes: name = \"web\"")
        })?;
        let scenario = Section::new(&source, "a scenario", 0..1, root.get_ref());
        scenario_of(scenario, folder)
    }
}

fn too_big(name: &str, length: u64) -> Problem {
    Problem::new(format!("{name} has {length} bytes"), format!("expected at most {FILE_BYTES_MAX}"))
        .help("many tasks are better told by a trace: docs/simulation.md")
}

fn scenario_of(root: Section<'_>, folder: &Path) -> Result<Scenario, Problem> {
    let title = root.text("title", "\"Two teams share a cluster\"")?.map(|title| title.value.to_owned());
    let mut rows: Vec<String> = Vec::new();
    for key in ["row", "rows"] {
        for row in root.texts(key, "\"F042\"")?.into_iter().flatten() {
            let number = row.value.strip_prefix('F').filter(|rest| rest.len() == 3);
            if number.is_none_or(|rest| !rest.bytes().all(|byte| byte.is_ascii_digit())) {
                let what = format!("'{key}' cannot be \"{}\"", row.value);
                return Err(root
                    .wrong(row.span, what, "expected F and three digits, a row of the table of faults")
                    .help("for example  row = \"F042\""));
            }
            rows.push(row.value.to_owned());
        }
    }
    let seed = root.whole("seed", 0..=u64::MAX >> 1, "1")?.map_or(1, |seed| seed.value);
    let duration = root.duration("duration", "\"10m\"")?;
    let duration = root.need("duration", duration, "how long work arrives and faults happen", "\"10m\"")?;
    if duration.value.is_zero() {
        return Err(root
            .wrong(duration.span, "'duration' is nothing", "expected more than 0s")
            .help("\"10m\""));
    }
    let settle = root.duration("settle", "\"15m\"")?.map_or(SETTLE_DEFAULT, |settle| settle.value);
    let policies = match root.texts("policy", "[\"fair-share\", \"pack\"]")? {
        None => vec![Policy::default()],
        Some(words) if words.is_empty() || words.len() > POLICIES_MAX => {
            let what = format!("'policy' has {} words", words.len());
            return Err(root.wrong(root.span(), what, format!("expected 1 to {POLICIES_MAX}")));
        }
        Some(words) => {
            let policy = |word: At<&str>| {
                Policy::parse(word.value).map_err(|problem| problem.at(root.source.place(word.span)))
            };
            words.into_iter().map(policy).collect::<Result<_, _>>()?
        }
    };
    let nodes = bounded(&root, root.tables("nodes", "[[nodes]]")?)?;
    let nodes = nodes.into_iter().enumerate().map(|(number, section)| nodes::group(number, section));
    let nodes: Vec<_> = nodes.collect::<Result<_, _>>()?;
    nodes::check(&root, &nodes)?;
    let roles = bounded(&root, root.tables("roles", "[[roles]]")?)?;
    let roles: Vec<_> = roles.into_iter().map(nodes::role).collect::<Result<_, _>>()?;
    let mut names = Names {
        folder: folder.to_owned(),
        nodes: nodes.iter().map(|group| group.count as usize).sum(),
        frameworks: Vec::new(),
        duration: duration.value,
    };
    let mut frameworks = Vec::new();
    for section in bounded(&root, root.tables("frameworks", "[[frameworks]]")?)? {
        frameworks::read(section, &mut names, &mut frameworks)?;
    }
    frameworks::check(&root, &frameworks)?;
    let faults = bounded(&root, root.tables("faults", "[[faults]]")?)?;
    let faults: Vec<_> =
        faults.into_iter().map(|one| events::fault(one, &names)).collect::<Result<_, _>>()?;
    let expect = match root.table("expect", "{ done_min = 10 }")? {
        Some(section) => expect::read(section, &names)?,
        None => Default::default(),
    };
    let master = match root.table("master", "{ agent_ping_timeout = \"15s\" }")? {
        Some(section) => master_settings(section)?,
        None => MasterSettings::default(),
    };
    let file = root.source.name.to_owned();
    let title = title.unwrap_or_else(|| file.clone());
    root.end()?;
    let duration = duration.value;
    let scenario = Scenario {
        file,
        title,
        rows,
        seed,
        duration,
        settle,
        policies,
        nodes,
        roles,
        frameworks,
        faults,
        expect,
        master,
    };
    feasible::check(&scenario)?;
    Ok(scenario)
}

fn bounded<'a>(root: &Section<'_>, tables: Vec<Section<'a>>) -> Result<Vec<Section<'a>>, Problem> {
    match tables.get(TABLES_MAX) {
        None => Ok(tables),
        Some(one) => {
            let what = format!("there are {} tables {}", tables.len(), one.name);
            Err(root.wrong(one.span(), what, format!("expected at most {TABLES_MAX}")))
        }
    }
}

/// A name that can stand in ids, paths and tables.
fn check_name(section: &Section<'_>, name: &At<&str>, slashes: bool) -> Result<String, Problem> {
    let good = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c) || (slashes && c == '/');
    let whole = slashes && name.value == "*";
    let parts = name.value.split('/').all(|part| !part.is_empty() && !part.starts_with(['-', '.']));
    if whole || (name.value.len() <= NAME_LENGTH_MAX && parts && name.value.chars().all(good)) {
        return Ok(name.value.to_owned());
    }
    let what = format!("{}: the name \"{}\" cannot be used", section.name, name.value.escape_debug());
    let more = if slashes { ", / between the parts of a role" } else { "" };
    let why = format!("expected letters, digits, - _ .{more}, at most {NAME_LENGTH_MAX}");
    Err(section.wrong(name.span.clone(), what, why).help("for example  name = \"team-a\""))
}

fn unique<'a>(
    section: &Section<'_>,
    name: &At<&str>,
    mut others: impl Iterator<Item = &'a str>,
) -> Result<(), Problem> {
    if others.any(|other| other == name.value) {
        let what = format!("the name \"{}\" is there twice", name.value);
        return Err(section
            .wrong(name.span.clone(), what, "expected each name once")
            .help("use another name"));
    }
    Ok(())
}

fn master_settings(section: Section<'_>) -> Result<MasterSettings, Problem> {
    let duration = |key, example| Ok::<_, Problem>(section.duration(key, example)?.map(|at| at.value));
    let settings = MasterSettings {
        agent_ping_timeout: duration("agent_ping_timeout", "\"15s\"")?,
        agent_ping_timeouts_max: section.whole("max_agent_ping_timeouts", 1..=1_000, "5")?.map(|at| at.value),
        agent_reregister_timeout: duration("agent_reregister_timeout", "\"10m\"")?,
        agent_removal_every: duration("agent_removal_every", "\"1m\"")?,
        offer_timeout: duration("offer_timeout", "\"1m\"")?,
        allocation_interval: duration("allocation_interval", "\"1s\"")?,
    };
    section.end()?;
    Ok(settings)
}

/// The trace that a word of a scenario names.
fn trace(section: &Section<'_>, names: &Names, file: &At<&str>) -> Result<Trace, Problem> {
    let path = names.folder.join(file.value);
    let opened = std::fs::File::open(&path).map_err(|error| {
        let what = format!("{}: cannot read the trace \"{}\"", section.name, file.value);
        section
            .wrong(file.span.clone(), what, format!("{}: {error}", path.display()))
            .help("the path starts at the folder of the scenario")
    })?;
    Trace::read(&path.display().to_string(), std::io::BufReader::new(opened))
}

impl Default for Policy {
    fn default() -> Self {
        Self { name: "fair-share".into(), sorter: Sorter::FairShare, preference: Preference::Any }
    }
}

impl Policy {
    /// Words that a policy is made of, joined by `+`.
    pub const WORDS: [&'static str; 6] = ["fair-share", "drf", "random", "spread", "pack", "most-free:gpus"];

    /// Reads `fair-share` (or `drf`), `random`, `spread`, `pack`, `most-free:NAME`, or two of them joined by `+`.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        let mut policy = Self { name: text.to_owned(), ..Self::default() };
        let mut said = BTreeSet::new();
        for word in text.split('+') {
            let slot = match word.trim() {
                "fair-share" | "drf" => "who",
                "random" => {
                    policy.sorter = Sorter::Random;
                    "who"
                }
                "spread" => {
                    policy.preference = Preference::Spread;
                    "where"
                }
                "pack" => {
                    policy.preference = Preference::Pack;
                    "where"
                }
                word => {
                    let named = word.strip_prefix("most-free:").filter(|name| {
                        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
                    });
                    let Some(name) = named else { return Err(Self::unknown(word)) };
                    policy.preference = Preference::MostFree(name.to_owned());
                    "where"
                }
            };
            if !said.insert(slot) {
                let why =
                    "expected at most one of fair-share and random, and one of spread, pack and most-free";
                return Err(Problem::new(format!("the policy \"{text}\" says two things at once"), why)
                    .help("for example  fair-share+pack"));
            }
        }
        Ok(policy)
    }

    fn unknown(word: &str) -> Problem {
        let words = Self::WORDS.join(", ");
        let problem = Problem::new(
            format!("there is no policy \"{}\"", word.escape_debug()),
            format!("expected some of: {words}; two may be joined by +"),
        );
        match mezzo_document::nearest(word, Self::WORDS) {
            Some(word) => problem.help(format!("did you mean \"{word}\"?")),
            None => problem.help("for example  fair-share+pack"),
        }
    }
}

#[cfg(test)]
mod tests;
