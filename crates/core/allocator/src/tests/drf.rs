//! Worked examples of dominant-resource fairness, as the literature tells them, as traces.
//!
//! Each file in `scripts` is one example: commands from the left margin, and below each, indented, what the
//! allocator did. `MEZZO_WRITE_SCRIPTS=1` writes down what it does; look at every difference.
//!
//! | command | what it does |
//! |---|---|
//! | `agent NAME RESOURCES` | an agent comes |
//! | `weight ROLE NUMBER` | a role weighs this much |
//! | `framework NAME role ROLE` | a framework comes |
//! | `launch NAME RESOURCES` | the framework uses this of its offer and gives the rest back |
//! | `decline NAME` | it gives its offer back and wants no more |
//! | `revive NAME` | it wants offers again |
//! | `finish NAME RESOURCES` | a task of it ends |
//! | `demand NAME RESOURCES [at most N]` | what one task of it takes, for `play`, and how many it has |
//! | `play` | frameworks launch a task of their demand in each offer, until nobody finds room |
//! | `shares` | tasks per framework, and the dominant share of each role |
//!
//! Whatever is free is offered at once, to one framework at a time.

use std::{fs, path::Path};

use super::*;

struct Demand {
    task: Resources,
    at_most: usize,
}

struct Script {
    c: Cluster,
    agent: String,
    roles: BTreeMap<String, String>,
    demands: BTreeMap<String, Demand>,
    tasks: BTreeMap<String, usize>,
    /// The outstanding offer.
    offer: Option<Allocation>,
}

impl Script {
    fn new() -> Self {
        Self {
            c: Cluster::with(Config {
                min_allocatable: Vec::new(),
                filter_gpu_resources: false,
                ..Config::default()
            }),
            agent: String::new(),
            roles: BTreeMap::new(),
            demands: BTreeMap::new(),
            tasks: BTreeMap::new(),
            offer: None,
        }
    }

    fn task(&self, framework: &str, text: &str) -> Resources {
        parse(text).allocated(&Role::from(self.roles[framework].as_str()))
    }

    /// Runs one command; says what came of it.
    fn run(&mut self, line: &str) -> Vec<String> {
        match line.split_whitespace().collect::<Vec<_>>().as_slice() {
            ["agent", id, resources] => {
                self.agent = (*id).into();
                self.c.agent(id, resources);
            }
            ["weight", role, weight] => {
                self.c.allocator.set_weight(&Role::from(*role), weight.parse().expect("a number"));
            }
            ["framework", id, "role", role] => {
                self.roles.insert((*id).into(), (*role).into());
                self.tasks.insert((*id).into(), 0);
                self.c.framework(id, &[role]);
            }
            ["demand", id, resources, rest @ ..] => {
                let at_most = match rest {
                    ["at", "most", count] => count.parse().expect("a number"),
                    _ => usize::MAX,
                };
                let demand = Demand { task: self.task(id, resources), at_most };
                self.demands.insert((*id).into(), demand);
            }
            ["launch", id, resources] => {
                let task = self.task(id, resources);
                assert!(self.answer(id, Some(&task)), "{id} has no room for {resources}");
            }
            ["decline", id] => {
                self.answer(id, None);
                self.c.allocator.suppress(&(*id).into(), &BTreeSet::new());
            }
            ["revive", id] => self.c.allocator.revive(&(*id).into(), &BTreeSet::new()),
            ["finish", id, resources] => {
                let (role, agent) = (self.roles[*id].clone(), self.agent.clone());
                self.c.finish(id, &role, &agent, resources);
                *self.tasks.get_mut(*id).expect("it runs") -= 1;
            }
            ["play"] => return self.play(),
            ["shares"] => return self.shares(),
            other => panic!("no such command: {other:?}"),
        }
        self.offers()
    }

    /// The framework answers its offer: uses a task of it, if there is one and room for it, and gives the
    /// rest back.
    fn answer(&mut self, id: &str, task: Option<&Resources>) -> bool {
        let offer = self.offer.take().filter(|offer| offer.framework.as_str() == id);
        let offer = offer.unwrap_or_else(|| panic!("{id} has no offer"));
        let mut rest = offer.resources();
        let is_launched = task.is_some_and(|task| rest.checked_sub(task));
        if is_launched {
            *self.tasks.entry(id.into()).or_default() += 1;
        }
        self.c.allocator.recover(self.c.now, &offer.framework, &offer.agent, &rest, None);
        is_launched
    }

    fn offers(&mut self) -> Vec<String> {
        self.c.wait(0.01);
        let mut offers = self.c.pass().offers;
        assert!(offers.len() <= 1 && (offers.is_empty() || self.offer.is_none()), "one offer at a time");
        let Some(offer) = offers.pop() else { return Vec::new() };
        let line =
            format!("offer {} -> {} {}", offer.agent, offer.framework, offer.resources().unallocated());
        self.offer = Some(offer);
        vec![line]
    }

    fn play(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        while let Some(id) = self.offer.as_ref().map(|offer| offer.framework.to_string()) {
            let Demand { task, at_most } = self.demands.get(&id).expect("a demand");
            let (task, has_enough) = (task.clone(), self.tasks[&id] >= *at_most);
            if !has_enough && self.answer(&id, Some(&task)) {
                let role = Role::from(self.roles[&id].as_str());
                let share = self.c.allocator.dominant_share(&role) * 100.0;
                lines.push(format!("{id} launches task {}: {role} has {share:.1} %", self.tasks[&id]));
            } else {
                if has_enough {
                    self.answer(&id, None);
                }
                self.c.allocator.suppress(&id.as_str().into(), &BTreeSet::new());
                lines.push(format!("{id} has {}", if has_enough { "enough" } else { "no room" }));
            }
            self.offers();
        }
        lines
    }

    fn shares(&self) -> Vec<String> {
        let tasks = self.tasks.iter().map(|(id, tasks)| format!("{id} runs {tasks}"));
        // Offers count for shares, so they are shown when none is out.
        assert_eq!(self.offer, None, "an offer is out");
        let shares = self.c.allocator.roles().into_iter().map(|role| {
            let share = self.c.allocator.dominant_share(&role.role) * 100.0;
            format!("{} has {share:.1} %", role.role)
        });
        tasks.chain(shares).collect()
    }
}

/// The script with what comes of its commands.
fn play(text: &str) -> String {
    let mut script = Script::new();
    let mut played = String::new();
    for line in text.lines().filter(|line| !line.starts_with(' ')) {
        played.push_str(line);
        played.push('\n');
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        for said in script.run(line) {
            played.push_str(&format!("  {said}\n"));
        }
    }
    played
}

#[test]
fn examples_come_out_as_the_literature_computes_them() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/tests/scripts");
    let mut files: Vec<_> =
        fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    assert!(files.len() >= 10, "{files:?}");
    for file in files {
        let text = fs::read_to_string(&file).expect("a text");
        let played = play(&text);
        if std::env::var_os("MEZZO_WRITE_SCRIPTS").is_some() {
            fs::write(&file, played).expect("room on the disk");
        } else {
            assert_eq!(played, text, "{}", file.display());
        }
    }
}
