//! The planning of a change among thousands of apps, alone on one core: no process, no disk, no network.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use mezzo_marathon_api::{Context, Settings, read_app_update, read_group_update, with_app};
use mezzo_services::{Answer, Change, Config, Effect, Input, Recovered, Request, RequestId, Services};
use mezzo_services_model::{Group, PathId};
use mezzo_time::Timestamp;
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use serde_json::{Value, json};

use super::placement::cpu;

/// Between two changes; versions are whole milliseconds.
const TICK: Duration = Duration::from_millis(10);

/// The machine with a tree of apps.
struct Planner {
    services: Services,
    rng: ChaCha8Rng,
    now: Timestamp,
    settings: Settings,
}

/// Milliseconds of processor time from the document of each change of one app to its plan. Each change is made for good
/// afterwards, so that the next is planned on a tree with one version more.
pub(super) fn planning(tree: &Value, paths: impl Iterator<Item = String>) -> Result<Vec<f64>> {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let now = Timestamp::ZERO + TICK;
    let (services, _) = Services::recover(Config::default(), Recovered::default(), now, &mut rng);
    let mut planner = Planner { services, rng, now, settings: Settings::default() };
    let update = read_group_update(tree)?;
    let root = planner.services.snapshot().root;
    let target = update.apply(&PathId::root(), &planner.context(&root))?;
    planner.ask(target, &root, false)?;
    let mut samples = Vec::new();
    for path in paths {
        planner.now = planner.now + TICK;
        let path = PathId::parse(&path, &PathId::root()).context("path")?;
        let before = cpu();
        let root = planner.services.snapshot().root;
        let target = planner.changed(&root, &path)?;
        planner.ask(target, &root, true)?;
        samples.push((cpu() - before) * 1e3);
        let target = planner.changed(&root, &path)?;
        planner.ask(target, &root, false)?;
        let made = planner.services.snapshot().root;
        let cpus = made.app(&path).map(|app| app.resources.cpus.to_string());
        ensure!(cpus.as_deref() == Some("0.2"), "the change of {path} was not made: {cpus:?}");
    }
    Ok(samples)
}

impl Planner {
    fn context<'a>(&'a self, root: &'a Group) -> Context<'a> {
        Context { settings: &self.settings, root, now: self.now, force: false }
    }

    /// The tree with the change made, as the API makes it.
    fn changed(&self, root: &Group, path: &PathId) -> Result<Group> {
        let context = self.context(root);
        let update = read_app_update(&json!({"cpus": 0.2}))?;
        let app = update.apply(root.app(path), path, true, &context)?;
        Ok(with_app(&context, app)?)
    }

    /// Has the tree planned, and taken over unless it is a trial.
    fn ask(&mut self, target: Group, base: &Arc<Group>, dry_run: bool) -> Result<()> {
        let change = Change {
            base: base.version,
            target: Arc::new(target),
            group: PathId::root(),
            restart: BTreeSet::new(),
            kill: BTreeSet::new(),
            force: false,
            dry_run,
            principal: None,
        };
        let input = Input::Request(RequestId(1), Request::Change(Box::new(change)));
        for effect in self.services.step(self.now, &mut self.rng, input) {
            match effect {
                Effect::Answer(_, Answer::Planned(_)) => return Ok(()),
                Effect::Answer(_, other) => bail!("the change was answered {other:?}"),
                _ => {}
            }
        }
        bail!("the change was not answered")
    }
}
