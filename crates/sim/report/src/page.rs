//! The report as one HTML file that needs nothing else.

use std::fmt::Write;

use crate::{
    heat::{Heat, colour},
    measure::{Summary, summary, waits},
    plot::{Axis, COLOURS, Line, Plot, round_up},
    story::{RESOURCES, Run, Story},
    text::{escape, number_of, percent, seconds, thousands},
};

/// Roles with a line of their own; the smallest beyond them are told in a note.
const ROLES_SHOWN: usize = 12;
/// Faults that are marked in plots; more would hide the lines.
const MARKS_MAX: usize = 60;
/// Points of a distribution.
const CDF_POINTS: usize = 400;

/// The whole page.
pub fn page(story: &Story) -> String {
    let summaries: Vec<Summary> = story.runs.iter().map(|run| summary(story, run)).collect();
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">\n\
         <title>{} - mezzo sim</title>\n<style>{}</style></head><body><main>\n",
        escape(&story.title),
        include_str!("page.css"),
    );
    head(story, &mut html);
    table(&summaries, &mut html);
    trouble(story, &mut html);
    let until = story.runs.iter().map(|run| run.lasted).fold(1.0, f64::max);
    let busy = busy_until(story, until);
    html.push_str("<h2>Use of the cluster</h2>\n<div class=\"plots\">\n");
    for resource in 0..RESOURCES.len() {
        if story.capacity()[resource] > 0.0 {
            html.push_str(&use_plot(story, resource, busy).render());
        }
    }
    html.push_str(&waiting_plot(story, busy).render());
    html.push_str("</div>\n<h2>How long tasks waited</h2>\n<div class=\"plots\">\n");
    html.push_str(&wait_plot(story).render());
    html.push_str(&wait_table(story));
    html.push_str("</div>\n<h2>Dominant share of each role</h2>\n<div class=\"plots\">\n");
    shares(story, busy, &mut html);
    html.push_str("</div>\n<h2>Use of each node</h2>\n<div class=\"plots\">\n");
    for run in &story.runs {
        heat_map(story, run, busy, &mut html);
    }
    html.push_str("</div>\n");
    html.push_str(NOTES);
    html.push_str("</main></body></html>\n");
    html
}

const NOTES: &str = "<h2>What the numbers mean</h2><dl class=\"notes\">\
    <dt>wait</dt><dd>from the submission of a task until its scheduler knows that it runs; tasks that never ran \
    are counted apart</dd>\
    <dt>utilisation</dt><dd>the mean, while work arrived, of the resource that is used most in the cluster: what \
    running containers asked for, as a part of all nodes</dd>\
    <dt>dominant share</dt><dd>the largest part of any one resource of the cluster that a role holds</dd>\
    <dt>unfairness</dt><dd>how far the best served role is ahead of the worst served one that still waits, in \
    dominant share divided by weight: mean over the times at which anybody waits. 0 is fair</dd>\
    <dt>preemptions</dt><dd>tasks that were ended although neither they nor their scheduler wanted it</dd>\
    <dt>makespan</dt><dd>from the first submission to the end of the last task that ended</dd>\
    <dt>wall time</dt><dd>real time that the simulation took</dd></dl>\n";

fn head(story: &Story, html: &mut String) {
    let has = story.capacity();
    let mut cluster =
        format!("{} nodes, {} cpus", thousands(story.nodes.len() as u64), thousands(has[0] as u64));
    let _ = write!(cluster, ", {} GiB memory", thousands((has[1] / 1024.0).round() as u64));
    if has[2] > 0.0 {
        let _ = write!(cluster, ", {} gpus", thousands(has[2] as u64));
    }
    let tasks = story.runs.iter().map(|run| run.tasks.len()).max().unwrap_or(0);
    let _ = writeln!(
        html,
        "<header><h1>{}</h1><p>{cluster}; {} tasks of {} roles over {}; seed {}</p>\
         <p class=\"command\"><code>{}</code></p></header>",
        escape(&story.title),
        thousands(tasks as u64),
        story.roles.len(),
        seconds(story.load),
        story.seed,
        escape(&story.command),
    );
}

/// The titles of the table of policies, here and on a terminal.
pub const TITLES: [&str; 9] = [
    "policy",
    "wait p50",
    "wait p99",
    "utilisation",
    "unfairness",
    "preemptions",
    "makespan",
    "done",
    "wall time",
];

impl Summary {
    /// One text for each of [`TITLES`].
    pub fn cells(&self) -> [String; 9] {
        let wait = |wait: Option<f64>| wait.map_or("-".to_owned(), seconds);
        let early = if self.complete { "" } else { " (stopped early)" };
        [
            format!("{}{early}", self.policy),
            wait(self.wait_p50_seconds),
            wait(self.wait_p99_seconds),
            format!("{} of {}", percent(self.utilisation), self.utilisation_of),
            number_of(self.unfairness),
            thousands(self.preemptions),
            seconds(self.makespan_seconds),
            format!("{}/{}", thousands(self.done as u64), thousands(self.tasks as u64)),
            seconds(self.wall_seconds),
        ]
    }
}

fn table(summaries: &[Summary], html: &mut String) {
    html.push_str("<div class=\"scroll\"><table><thead><tr>");
    for title in TITLES {
        let _ = write!(html, "<th>{title}</th>");
    }
    html.push_str("</tr></thead><tbody>\n");
    for (number, summary) in summaries.iter().enumerate() {
        html.push_str("<tr>");
        for (column, cell) in summary.cells().iter().enumerate() {
            let key = if column == 0 && summaries.len() > 1 {
                format!("<i class=\"key c{}\"></i>", number % COLOURS)
            } else {
                String::new()
            };
            let _ = write!(html, "<td>{key}{}</td>", escape(cell));
        }
        html.push_str("</tr>\n");
    }
    html.push_str("</tbody></table></div>\n");
}

/// Violations, broken expectations, runs that were stopped.
fn trouble(story: &Story, html: &mut String) {
    for run in &story.runs {
        let policy = escape(&run.policy);
        if !run.complete {
            let at = seconds(run.lasted);
            let _ =
                writeln!(html, "<p class=\"warn\">{policy}: stopped early, at {at} of the simulation</p>");
        } else if !run.settled {
            let _ =
                writeln!(html, "<p class=\"warn\">{policy}: not everything came to rest before the end</p>");
        }
        for violation in &run.violations {
            let _ = writeln!(html, "<p class=\"bad\">{policy}: violated: {}</p>", escape(violation));
        }
        for (check, _) in run.checks.iter().filter(|(_, held)| !held) {
            let _ = writeln!(html, "<p class=\"bad\">{policy}: expected {}</p>", escape(check));
        }
    }
}

/// The end of the time axis: nothing is to be seen after the last task has ended.
fn busy_until(story: &Story, until: f64) -> f64 {
    let ends = story.runs.iter().flat_map(|run| {
        run.tasks.iter().filter_map(move |task| task.started.map(|_| task.ended.unwrap_or(run.lasted)))
    });
    ends.fold(story.load, f64::max).clamp(1.0, until.max(1.0))
}

fn marks(story: &Story) -> Vec<(f64, String)> {
    if story.faults.len() > MARKS_MAX { Vec::new() } else { story.faults.clone() }
}

fn per_policy(story: &Story, value: impl Fn(&crate::Sample) -> f64) -> Vec<Line> {
    let line = |(number, run): (usize, &Run)| Line {
        name: run.policy.clone(),
        colour: number,
        points: run.samples.iter().map(|sample| (sample.at, value(sample))).collect(),
        steps: true,
    };
    story.runs.iter().enumerate().map(line).collect()
}

fn use_plot(story: &Story, resource: usize, until: f64) -> Plot {
    Plot {
        title: format!("{} in use", RESOURCES[resource]),
        x: Axis::Time { to: until },
        x_label: "time since the start".into(),
        y: Axis::Share { to: 1.0 },
        y_label: format!("part of all {}", RESOURCES[resource]),
        lines: per_policy(story, |sample| sample.used[resource]),
        layered: true,
        marks: marks(story),
    }
}

fn waiting_plot(story: &Story, until: f64) -> Plot {
    let most = story.runs.iter().flat_map(|run| &run.samples).map(|sample| sample.waiting).max().unwrap_or(0);
    Plot {
        title: "Tasks that wait".into(),
        x: Axis::Time { to: until },
        x_label: "time since the start".into(),
        y: Axis::Count { to: round_up(most.max(5) as f64) },
        y_label: "tasks".into(),
        lines: per_policy(story, |sample| sample.waiting as f64),
        layered: true,
        marks: marks(story),
    }
}

fn wait_plot(story: &Story) -> Plot {
    let all: Vec<Vec<f64>> = story.runs.iter().map(waits).collect();
    let longest = all.iter().filter_map(|waits| waits.last().copied()).fold(1.0, f64::max);
    let from = 0.01;
    let lines = story.runs.iter().zip(&all).enumerate().map(|(number, (run, waits))| {
        let tasks = run.tasks.iter().filter(|task| task.submit <= run.lasted).count().max(1);
        let stride = waits.len().div_ceil(CDF_POINTS).max(1);
        let last = waits.len().saturating_sub(1);
        let mut points = vec![(from, 0.0)];
        points.extend(
            waits
                .iter()
                .enumerate()
                .filter(|(rank, _)| rank.is_multiple_of(stride) || *rank == last)
                .map(|(rank, wait)| (*wait, (rank + 1) as f64 / tasks as f64)),
        );
        Line { name: run.policy.clone(), colour: number, points, steps: true }
    });
    Plot {
        title: "Tasks that ran within a wait".into(),
        x: Axis::Waits { from, to: round_up(longest).max(1.0) },
        x_label: "wait (logarithmic)".into(),
        y: Axis::Share { to: 1.0 },
        y_label: "part of all submitted tasks".into(),
        lines: lines.collect(),
        layered: true,
        marks: Vec::new(),
    }
}

fn wait_table(story: &Story) -> String {
    let shares = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("longest", 1.0)];
    let mut html = String::from(
        "<figure class=\"plot\"><figcaption>Waits of each role</figcaption><div class=\"scroll\"><table>\
         <thead><tr><th>policy</th><th>role</th><th>tasks</th>",
    );
    for (name, _) in shares {
        let _ = write!(html, "<th>{name}</th>");
    }
    html.push_str("<th>never ran</th></tr></thead><tbody>\n");
    for run in &story.runs {
        for (number, role) in story.roles.iter().enumerate().take(ROLES_SHOWN) {
            let of_role = || run.tasks.iter().filter(|task| task.role == number && task.submit <= run.lasted);
            let mut waits: Vec<f64> =
                of_role().filter_map(|task| Some((task.started? - task.submit).max(0.0))).collect();
            waits.sort_by(f64::total_cmp);
            let _ = write!(
                html,
                "<tr><td>{}</td><td>{}</td><td>{}</td>",
                escape(&run.policy),
                escape(&role.name),
                thousands(of_role().count() as u64),
            );
            for (_, share) in shares {
                let wait = crate::quantile(&waits, share).map_or("-".into(), seconds);
                let _ = write!(html, "<td>{wait}</td>");
            }
            let _ = writeln!(html, "<td>{}</td></tr>", thousands((of_role().count() - waits.len()) as u64));
        }
    }
    html.push_str("</tbody></table></div></figure>\n");
    html
}

fn shares(story: &Story, until: f64, html: &mut String) {
    let most_of = |role: usize| {
        let samples = story.runs.iter().flat_map(|run| &run.samples);
        samples.filter_map(|sample| sample.shares.get(role)).fold(0.0_f64, |most, share| most.max(*share))
    };
    let mut shown: Vec<usize> = (0..story.roles.len()).collect();
    shown.sort_by(|a, b| most_of(*b).total_cmp(&most_of(*a)));
    shown.truncate(ROLES_SHOWN);
    shown.sort_unstable();
    let top = round_up(shown.iter().map(|role| most_of(*role)).fold(0.01, f64::max)).min(1.0);
    for run in &story.runs {
        let lines = shown.iter().enumerate().map(|(colour, role)| Line {
            name: match story.roles[*role].weight {
                1.0 => story.roles[*role].name.clone(),
                weight => format!("{} (weight {})", story.roles[*role].name, number_of(weight)),
            },
            colour,
            points: run
                .samples
                .iter()
                .map(|sample| (sample.at, sample.shares.get(*role).copied().unwrap_or(0.0)))
                .collect(),
            steps: true,
        });
        let plot = Plot {
            title: run.policy.clone(),
            x: Axis::Time { to: until },
            x_label: "time since the start".into(),
            y: Axis::Share { to: top },
            y_label: "dominant share".into(),
            lines: lines.collect(),
            layered: false,
            marks: Vec::new(),
        };
        html.push_str(&plot.render());
    }
    if story.roles.len() > ROLES_SHOWN {
        let _ = writeln!(
            html,
            "<p class=\"hint\">The {ROLES_SHOWN} roles with the largest shares of {} are shown.</p>",
            story.roles.len()
        );
    }
}

fn heat_map(story: &Story, run: &Run, until: f64, html: &mut String) {
    let heat = Heat::new(story, run, until);
    let (left, top, width, height, bottom) = (76.0, 6.0, 430.0, 240.0, 40.0);
    let _ = write!(
        html,
        "<figure class=\"plot\"><figcaption>{}</figcaption>\n<svg viewBox=\"0 0 520 {}\" role=\"img\" \
         aria-label=\"use of each node over time\">\n<rect class=\"empty\" x=\"{left}\" y=\"{top}\" width=\"{width}\" \
         height=\"{height}\"/><image x=\"{left}\" y=\"{top}\" width=\"{width}\" height=\"{height}\" \
         preserveAspectRatio=\"none\" class=\"pixels\" href=\"{}\"/>\n",
        escape(&run.policy),
        top + height + bottom,
        heat.data_uri(),
    );
    let mut labelled = f64::NEG_INFINITY;
    let mut number = 0;
    while number < story.nodes.len() {
        let group = &story.nodes[number].group;
        let count = story.nodes[number..].iter().take_while(|node| node.group == *group).count();
        let y = top + number as f64 / story.nodes.len() as f64 * height;
        let middle = y + count as f64 / story.nodes.len() as f64 * height / 2.0;
        let _ = write!(
            html,
            "<line class=\"axis\" x1=\"{:.1}\" y1=\"{y:.1}\" x2=\"{left}\" y2=\"{y:.1}\"/>",
            left - 6.0
        );
        // Small groups below each other: their names move down a little, as long as there is room.
        let middle = middle.max(labelled + 12.0);
        if middle <= top + height + 2.0 {
            let _ = write!(
                html,
                "<text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                left - 8.0,
                middle + 3.5,
                escape(&group.chars().take(11).collect::<String>()),
            );
            labelled = middle;
        }
        number += count;
    }
    for (value, text) in Axis::ticks_of_time(until) {
        let x = left + value / until * width;
        let _ = write!(
            html,
            "<line class=\"axis\" x1=\"{x:.1}\" y1=\"{0}\" x2=\"{x:.1}\" y2=\"{1}\"/><text class=\"tick\" x=\"{x:.1}\" \
             y=\"{2}\" text-anchor=\"middle\">{text}</text>",
            top + height,
            top + height + 4.0,
            top + height + 16.0,
        );
    }
    let _ = writeln!(
        html,
        "<text class=\"label\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">time since the start</text></svg>",
        left + width / 2.0,
        top + height + 33.0,
    );
    html.push_str("<ul class=\"legend ramp\"><li>idle<i class=\"key empty\"></i></li>");
    for tenth in [0.02, 0.2, 0.4, 0.6, 0.8, 1.0] {
        let _ = write!(
            html,
            "<li><i class=\"key\" style=\"background:{}\"></i>{} %</li>",
            colour(tenth),
            number_of(tenth * 100.0)
        );
    }
    let rows = if heat.nodes_per_row > 1 {
        format!("; a row is the mean of {} nodes", heat.nodes_per_row)
    } else {
        String::new()
    };
    let _ = writeln!(
        html,
        "<li>of its most used resource, nodes in groups from top to bottom{rows}</li></ul></figure>"
    );
}
