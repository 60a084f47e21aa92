//! Crawls the pages of a folder with one task per page, and draws who links to whom.
//!
//! `cargo run -p mezzo-sdk --example rendler -- MASTER FOLDER START OUT` reads `FOLDER/START`, follows
//! the links between the pages of the folder, and writes `OUT.dot` and `OUT.svg`. Each task looks at one
//! page and leaves its links in a file beside it, which stands for the store that a real crawler would
//! use. The folder must be there under the same path on every agent, and its user be able to write.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt::Write as _,
    path::PathBuf,
};

use mezzo_mesos::v1::{self, TaskState};
use mezzo_sdk::{Config, Driver, Scheduler};

/// Cpus and megabytes of one page.
const NEEDS: [(&str, f64); 2] = [("cpus", 0.1), ("mem", 16.0)];
/// Pages looked at; a folder with more is drawn in part.
const PAGES_MAX: usize = 500;

struct Rendler {
    folder: PathBuf,
    waiting: VecDeque<String>,
    running: BTreeMap<String, String>,
    seen: BTreeSet<String>,
    links: BTreeSet<(String, String)>,
    failed: Vec<String>,
    next: usize,
}

impl Scheduler for Rendler {
    async fn offers(&mut self, driver: &Driver, offers: Vec<v1::Offer>) {
        for offer in offers {
            let mut tasks = Vec::new();
            let mut room = NEEDS.map(|(name, _)| amount(&offer, name));
            while room.iter().zip(NEEDS).all(|(room, (_, need))| *room >= need) {
                let Some(page) = self.waiting.pop_front() else { break };
                for (room, (_, need)) in room.iter_mut().zip(NEEDS) {
                    *room -= need;
                }
                tasks.push(self.task(page));
            }
            let done = if tasks.is_empty() {
                driver.decline([offer.id], Some(1.0)).await
            } else {
                driver.launch(&offer, tasks).await
            };
            if let Err(error) = done {
                // Tasks that were lost on the way are reported by reconciliation.
                eprintln!("offer: {error}");
            }
        }
    }

    async fn update(&mut self, driver: &Driver, status: v1::TaskStatus) {
        match status.state() {
            TaskState::TaskStaging
            | TaskState::TaskStarting
            | TaskState::TaskRunning
            | TaskState::TaskKilling => {
                return;
            }
            TaskState::TaskFinished => {
                if let Some(page) = self.running.remove(&status.task_id.value) {
                    self.read(&page);
                }
            }
            _ => {
                if let Some(page) = self.running.remove(&status.task_id.value) {
                    eprintln!("{page}: {}", status.message.unwrap_or_default());
                    self.failed.push(page);
                }
            }
        }
        println!("{} pages seen, {} on their way", self.seen.len(), self.waiting.len() + self.running.len());
        if self.waiting.is_empty() && self.running.is_empty() {
            driver.teardown();
        }
    }
}

impl Rendler {
    fn task(&mut self, page: String) -> v1::TaskInfo {
        let id = format!("page-{}", self.next);
        self.next += 1;
        let source = self.folder.join(&page);
        // The links of a page, one per line, beside it: what a real crawler would put into a store.
        let script = format!(
            "grep -o 'href=\"[^\"]*\"' {0} | cut -d'\"' -f2 > {0}.links || true",
            quote(&source.to_string_lossy())
        );
        self.running.insert(id.clone(), page.clone());
        v1::TaskInfo {
            name: page,
            task_id: v1::TaskId { value: id },
            resources: NEEDS
                .map(|(name, value)| v1::Resource {
                    name: name.into(),
                    r#type: v1::value::Type::Scalar as i32,
                    scalar: Some(v1::value::Scalar { value }),
                    allocation_info: Some(v1::resource::AllocationInfo { role: Some("*".into()) }),
                    ..Default::default()
                })
                .into(),
            command: Some(v1::CommandInfo { value: Some(script), ..Default::default() }),
            ..Default::default()
        }
    }

    /// Takes the links that a task found.
    fn read(&mut self, page: &str) {
        let path = self.folder.join(format!("{page}.links"));
        let found = std::fs::read_to_string(&path).unwrap_or_default();
        // The file has done its work.
        let _ = std::fs::remove_file(path);
        for link in found.lines().filter(|link| is_local(link)) {
            if !self.folder.join(link).is_file() {
                continue;
            }
            self.links.insert((page.to_owned(), link.to_owned()));
            if self.seen.len() < PAGES_MAX && self.seen.insert(link.to_owned()) {
                self.waiting.push_back(link.to_owned());
            }
        }
    }

    /// The graph in the language of Graphviz.
    fn dot(&self) -> String {
        let mut text = String::from("digraph pages {\n");
        for page in &self.seen {
            let _ = writeln!(text, "  {page:?};");
        }
        for (from, to) in &self.links {
            let _ = writeln!(text, "  {from:?} -> {to:?};");
        }
        text + "}\n"
    }

    /// The graph as a picture: pages on a circle, links as lines between them.
    fn svg(&self) -> String {
        const SIZE: f64 = 800.0;
        let step = std::f64::consts::TAU / self.seen.len().max(1) as f64;
        let at: BTreeMap<&str, (f64, f64)> = self
            .seen
            .iter()
            .enumerate()
            .map(|(index, page)| {
                let (sin, cos) = (step * index as f64).sin_cos();
                (page.as_str(), (SIZE / 2.0 + cos * SIZE * 0.38, SIZE / 2.0 + sin * SIZE * 0.38))
            })
            .collect();
        let mut text = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {SIZE} {SIZE}\" font-family=\"sans-serif\" font-size=\"12\">\n"
        );
        for (from, to) in &self.links {
            if let (Some((x1, y1)), Some((x2, y2))) = (at.get(from.as_str()), at.get(to.as_str())) {
                let _ = writeln!(
                    text,
                    "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"#888\"/>"
                );
            }
        }
        for (page, (x, y)) in &at {
            let name = page.replace('&', "&amp;").replace('<', "&lt;");
            let _ = writeln!(
                text,
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"6\" fill=\"#37c\"/><text x=\"{x:.1}\" y=\"{:.1}\">{name}</text>",
                y - 10.0
            );
        }
        text + "</svg>\n"
    }
}

/// A page of the same folder: nothing with a scheme, and nothing that leads out.
fn is_local(link: &str) -> bool {
    !link.is_empty() && !link.starts_with(['/', '#']) && !link.contains("..") && !link.contains(':')
}

fn amount(offer: &v1::Offer, name: &str) -> f64 {
    let named = offer.resources.iter().filter(|resource| resource.name == name);
    named.filter_map(|resource| Some(resource.scalar.as_ref()?.value)).sum()
}

/// One word for the shell.
fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [master, folder, start, out] = arguments.as_slice() else {
        return Err("usage: rendler MASTER FOLDER START OUT".into());
    };
    let mut rendler = Rendler {
        folder: std::fs::canonicalize(folder)?,
        waiting: VecDeque::from([start.clone()]),
        running: BTreeMap::new(),
        seen: BTreeSet::from([start.clone()]),
        links: BTreeSet::new(),
        failed: Vec::new(),
        next: 0,
    };
    let user = std::env::var("USER").unwrap_or_else(|_| "root".into());
    let config = Config::new([master.clone()], "rendler", &user);
    mezzo_sdk::run(config, &mut rendler, |_| {}).await?;
    std::fs::write(format!("{out}.dot"), rendler.dot())?;
    std::fs::write(format!("{out}.svg"), rendler.svg())?;
    println!(
        "{} pages, {} links, {} failed; wrote {out}.dot and {out}.svg",
        rendler.seen.len(),
        rendler.links.len(),
        rendler.failed.len()
    );
    Ok(())
}
