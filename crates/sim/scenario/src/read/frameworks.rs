//! Tenants and their work.

use std::{sync::Arc, time::Duration};

use super::{Names, check_name, nodes, unique};
use crate::{
    scenario::{
        BEHAVIOURS, Behaviour, FRAMEWORKS_MAX, Framework, TABLES_MAX, TASKS_MAX, Workload, WorkloadKind,
    },
    trace::Trace,
};
use mezzo_document::{At, Place, Problem, Section, units::duration_text};

/// Roles of a framework.
const ROLES_MAX: usize = 1_000;
/// Unless said otherwise: longer than the scheduler of a scenario is away.
const FAILOVER_DEFAULT: Duration = Duration::from_secs(7 * 86_400);
/// Mesos' own default (rule 89).
const REFUSE_DEFAULT: Duration = Duration::from_secs(5);
/// Tasks launched as one pod.
const POD_MAX: u64 = 100;
/// A task that was lost, or failed to start, is tried again unless said otherwise.
const RETRIES_DEFAULT: u32 = 1_000;
/// More is for ever.
const RETRIES_MAX: u64 = 1_000_000;
/// Arrivals per second of one workload.
const RATE_MAX: f64 = 100_000.0;

pub(super) fn read(
    section: Section<'_>,
    names: &mut Names,
    frameworks: &mut Vec<Framework>,
) -> Result<(), Problem> {
    let file = section.text("trace", "\"../traces/gpu-cluster.csv\"")?;
    let mut base = base(&section)?;
    if let Some(file) = file {
        let trace = super::trace(&section, names, &file)?;
        let place = section.source.place(file.span);
        section.end()?;
        of_trace(trace, &base, place, names, frameworks);
        return Ok(());
    }
    let name = section.text("name", "\"web\"")?;
    let name = section.need("name", name, "a name, or a trace", "\"web\"")?;
    unique(&section, &name, names.frameworks.iter().map(|(other, _, _)| other.as_str()))?;
    base.name = check_name(&section, &name, false)?;
    base.count = section.whole("count", 1..=FRAMEWORKS_MAX, "1")?.map_or(1, |at| at.value);
    for key in ["role", "roles"] {
        for role in section.texts(key, "\"web\"")?.into_iter().flatten() {
            if base.roles.len() >= ROLES_MAX {
                let what = format!("{} has too many roles", section.name);
                return Err(section.wrong(role.span, what, format!("expected at most {ROLES_MAX}")));
            }
            let role = check_name(&section, &role, true)?;
            if !base.roles.contains(&role) {
                base.roles.push(role);
            }
        }
    }
    if base.roles.is_empty() {
        base.roles.push(base.name.clone());
    }
    let tables = section.tables("workloads", "[[frameworks.workloads]]")?;
    if tables.len() > TABLES_MAX {
        let what = format!("{} has {} workloads", section.name, tables.len());
        return Err(section.wrong(section.span(), what, format!("expected at most {TABLES_MAX}")));
    }
    for table in tables {
        workload(table, names, &mut base.workloads)?;
    }
    let wants_gpus = base.workloads.iter().any(|workload| workload.resources.gpus > 0.0);
    base.gpus = section.flag("gpus")?.unwrap_or(wants_gpus);
    section.end()?;
    names.add(&base);
    frameworks.push(base);
    Ok(())
}

/// What a framework of its own and those of a trace have in common.
fn base(section: &Section<'_>) -> Result<Framework, Problem> {
    let behaviour = match section.word("behaviour", &BEHAVIOURS.map(|(word, _)| word))? {
        Some(word) => BEHAVIOURS.iter().find(|(known, _)| *known == word.value).map(|(_, one)| *one),
        None => None,
    };
    let time = |key, example, otherwise| {
        Ok::<_, Problem>(section.duration(key, example)?.map_or(otherwise, |at| at.value))
    };
    let plain = plain();
    Ok(Framework {
        behaviour: behaviour.unwrap_or(plain.behaviour),
        partition_aware: section.flag("partition_aware")?.unwrap_or(plain.partition_aware),
        region_aware: section.flag("region_aware")?.unwrap_or(plain.region_aware),
        joins: time("joins", "\"10s\"", plain.joins)?,
        suppresses: section.flag("suppresses")?.unwrap_or(plain.suppresses),
        failover_timeout: time("failover_timeout", "\"10m\"", plain.failover_timeout)?,
        refuse: time("refuse", "\"5s\"", plain.refuse)?,
        ..plain
    })
}

/// A polite framework that runs nothing.
pub(super) fn plain() -> Framework {
    Framework {
        name: String::new(),
        count: 1,
        roles: Vec::new(),
        behaviour: Behaviour::Polite,
        partition_aware: true,
        region_aware: true,
        gpus: false,
        joins: Duration::ZERO,
        suppresses: true,
        failover_timeout: FAILOVER_DEFAULT,
        refuse: REFUSE_DEFAULT,
        workloads: Vec::new(),
    }
}

/// One framework for each owner of a trace.
pub(super) fn of_trace(
    trace: Trace,
    base: &Framework,
    place: Place,
    names: &mut Names,
    frameworks: &mut Vec<Framework>,
) {
    let trace = Arc::new(trace);
    for (number, owner) in trace.owners.iter().enumerate() {
        let alone = trace.owners.iter().filter(|other| other.framework == owner.framework).count() == 1;
        let mine = trace.submissions.iter().filter(|one| one.owner as usize == number);
        let framework = Framework {
            name: match alone {
                true => owner.framework.clone(),
                false => format!("{}-{}", owner.framework, owner.role.replace('/', "-")),
            },
            roles: vec![owner.role.clone()],
            gpus: mine.clone().any(|one| one.resources.gpus > 0.0),
            workloads: vec![Workload {
                kind: WorkloadKind::Trace { trace: trace.clone(), owner: number as u32 },
                resources: Default::default(),
                runtime: None,
                fails: 0.0,
                kill_after: None,
                stubborn: false,
                retries: RETRIES_DEFAULT,
                pod: 1,
                place: place.clone(),
            }],
            ..base.clone()
        };
        names.add(&framework);
        frameworks.push(framework);
    }
}

pub(super) fn check(root: &Section<'_>, frameworks: &[Framework]) -> Result<(), Problem> {
    if frameworks.is_empty() {
        let help = "for example\n          [[frameworks]]\n          name = \"web\"\n          \
                    [[frameworks.workloads]]\n          kind = \"service\"\n          tasks = 3\n          \
                    cpus = 0.5\n          memory = \"256 MiB\"";
        return Err(root
            .wrong(root.span(), "a scenario needs frameworks", "expected at least one table [[frameworks]]")
            .help(help));
    }
    let all: u64 = frameworks.iter().map(|framework| framework.count).sum();
    if all > FRAMEWORKS_MAX {
        let why = format!("expected at most {FRAMEWORKS_MAX}, copies counted");
        return Err(root.wrong(root.span(), format!("there are {all} frameworks"), why));
    }
    Ok(())
}

fn workload(section: Section<'_>, names: &Names, workloads: &mut Vec<Workload>) -> Result<(), Problem> {
    let kind = section.word("kind", &["service", "batch", "short"])?;
    let kind = section.need("kind", kind, "service, batch or short", "\"service\"")?;
    let place = section.source.place(kind.span);
    let resources = nodes::amounts(&section)?;
    if resources.cpus < 0.01 && resources.memory < 32.0 {
        let what = format!("{} needs nothing", section.name);
        return Err(section
            .wrong(section.span(), what, "expected at least 0.01 cpus or 32 MiB, the least that is offered")
            .help("for example  cpus = 0.5\n                     memory = \"256 MiB\""));
    }
    let start = section.duration("start", "\"10s\"")?.map_or(Duration::ZERO, |at| at.value);
    let tasks = || -> Result<u64, Problem> {
        let tasks = section.whole("tasks", 1..=TASKS_MAX, "10")?;
        Ok(section.need("tasks", tasks, "how many", "10")?.value)
    };
    let kind = match kind.value {
        "service" => WorkloadKind::Service { tasks: tasks()?, start },
        "batch" => {
            let waves = section.whole("waves", 1..=TASKS_MAX, "5")?.map_or(1, |at| at.value);
            let every = section.duration("every", "\"1m\"")?;
            if waves > 1 && every.is_none() {
                section.need("every", every.as_ref(), "the time between two waves", "\"1m\"")?;
            }
            let tasks = tasks()?;
            if tasks.saturating_mul(waves) > TASKS_MAX {
                let what = format!("{} waves of {tasks} tasks are too many", waves);
                return Err(section.wrong(
                    section.span(),
                    what,
                    format!("expected at most {TASKS_MAX} tasks"),
                ));
            }
            WorkloadKind::Batch { tasks, waves, every: every.map_or(Duration::ZERO, |at| at.value), start }
        }
        _ => {
            let rate = section.number("rate", RATE_MAX, "2.5")?;
            let rate = section.need("rate", rate, "arrivals per second", "2.5")?;
            let end = section.duration("end", "\"5m\"")?.map_or(names.duration, |at| at.value);
            if rate.value <= 0.0 || rate.value * end.as_secs_f64() > TASKS_MAX as f64 {
                let what = format!("{} tasks a second for {} cannot be", rate.value, duration_text(end));
                let why = format!("expected more than none and at most {TASKS_MAX} tasks");
                return Err(section.wrong(rate.span, what, why).help("for example  rate = 2.5"));
            }
            WorkloadKind::Short { rate: rate.value, start, end }
        }
    };
    let runtime = runtime(&section)?;
    if runtime.is_none() && !matches!(kind, WorkloadKind::Service { .. }) {
        section.need("runtime", runtime.as_ref(), "how long a task runs", "\"30s\"")?;
    }
    let fails = section.number("fails", 1.0, "0.1")?.map_or(0.0, |at| at.value);
    let kill_after = section.duration("kill_after", "\"1m\"")?.map(|at| at.value);
    let stubborn = section.flag("stubborn")?.unwrap_or(false);
    let retries = section.whole("retries", 0..=RETRIES_MAX, "3")?;
    let retries = retries.map_or(RETRIES_DEFAULT, |at| at.value as u32);
    let pod = section.whole("pod", 1..=POD_MAX, "4")?.map_or(1, |at| at.value);
    section.end()?;
    workloads.push(Workload { kind, resources, runtime, fails, kill_after, stubborn, retries, pod, place });
    Ok(())
}

/// `runtime = "30s"`, or from and to.
fn runtime(section: &Section<'_>) -> Result<Option<(Duration, Duration)>, Problem> {
    let example = "[\"10s\", \"2m\"]";
    let Some(words) = section.texts("runtime", example)? else { return Ok(None) };
    let read = |word: &At<&str>| {
        mezzo_document::units::duration(word.value).ok_or_else(|| {
            let what = format!("{}: 'runtime' cannot be \"{}\"", section.name, word.value.escape_debug());
            section
                .wrong(word.span.clone(), what, "expected a duration, or two: from and to")
                .help(format!("for example  runtime = {example}"))
        })
    };
    match &words[..] {
        [one] => {
            let one = read(one)?;
            Ok(Some((one, one)))
        }
        [from, to] => {
            let (low, high) = (read(from)?, read(to)?);
            if low > high {
                let what = format!("{}: 'runtime' ends before it starts", section.name);
                return Err(section
                    .wrong(to.span.clone(), what, "expected the shorter one first")
                    .help(example));
            }
            Ok(Some((low, high)))
        }
        _ => {
            let what = format!("{}: 'runtime' has {} durations", section.name, words.len());
            Err(section.wrong(section.span(), what, "expected one, or two: from and to").help(example))
        }
    }
}
