//! `mezzo pull`: has agents bring an image before a task needs it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use serde::Serialize;
use tokio::{sync::Semaphore, task::JoinSet};

use crate::{
    args::{Global, Pull},
    client::Master,
    error::{CliError, Exit},
    images::{self, Coming, Pulled},
    output,
    progress::Ticker,
    table::{self, Row},
};

/// Agents that pull at the same time: enough to keep a registry busy, too few to bring it down.
const AGENTS_MAX: usize = 32;
/// Between two looks at how far all are.
const SHOWN_EVERY: Duration = Duration::from_millis(250);

#[derive(Debug, Serialize)]
struct PullRow {
    node: String,
    image: String,
    digest: String,
    bytes: u64,
    seconds: f64,
}

impl Row for PullRow {
    const TITLES: &'static [&'static str] = &["NODE", "IMAGE", "DIGEST", "SIZE", "TIME"];

    fn cells(&self) -> Vec<String> {
        let Self { node, image, digest, bytes, seconds } = self;
        vec![node.clone(), image.clone(), digest.clone(), output::bytes(*bytes), format!("{seconds:.1} s")]
    }
}

/// How far each agent is, by name.
type Under = Arc<Mutex<BTreeMap<String, Coming>>>;

/// Pulls an image on the agents that are meant.
pub(crate) async fn pull(global: &Global, arguments: &Pull) -> Result<(), CliError> {
    let image = images::reference(&arguments.image)?;
    let mut master = Master::new(&global.master);
    let state = master.state().await?;
    let agents = images::agents(&state, arguments.agent.as_deref())?;
    let under: Under = Arc::default();
    let turns = Arc::new(Semaphore::new(AGENTS_MAX));
    let mut work = JoinSet::new();
    for (node, address) in agents {
        let (client, image, under, turns) =
            (master.client().clone(), image.clone(), Arc::clone(&under), Arc::clone(&turns));
        work.spawn(async move {
            let _turn = turns.acquire().await;
            let began = Instant::now();
            let note = |coming| {
                under.lock().unwrap_or_else(PoisonError::into_inner).insert(node.clone(), coming);
            };
            note(Coming::default());
            let outcome = images::pull(&client, &address, &image, note).await;
            under.lock().unwrap_or_else(PoisonError::into_inner).remove(&node);
            (node, outcome, began.elapsed())
        });
    }
    let (mut rows, mut failures, mut without) = (Vec::new(), Vec::new(), 0);
    let mut ticker = Ticker::new(SHOWN_EVERY);
    loop {
        let (node, outcome, took) = tokio::select! {
            ended = work.join_next() => match ended {
                None => break,
                Some(Ok(ended)) => ended,
                Some(Err(error)) => return Err(CliError::new(Exit::Failed, error.to_string())),
            },
            () = ticker.tick() => {
                ticker.show(&shown(&image.to_string(), &under));
                continue;
            }
        };
        match outcome {
            Ok(Pulled { digest, bytes }) => {
                let seconds = took.as_secs_f64();
                rows.push(PullRow { node, image: image.to_string(), digest, bytes, seconds });
            }
            Err(error) if error.exit() == Exit::NotFound => without += 1,
            Err(error) => failures.push((node, error)),
        }
    }
    ticker.clear();
    rows.sort_by(|a, b| a.node.cmp(&b.node));
    if rows.is_empty() && failures.is_empty() {
        return Err(images::none_has_any());
    }
    if !rows.is_empty() {
        table::print(&rows, global.output)?;
    }
    if without > 0 {
        eprintln!("{without} agents have no images");
    }
    let all = rows.len() + failures.len();
    match failures.len() {
        0 => Ok(()),
        1 if all == 1 => Err(failures.remove(0).1),
        some => {
            let (node, first) = failures.remove(0);
            Err(CliError::new(Exit::Failed, format!("{some} of {all} agents have not pulled {image}"))
                .place(node)
                .why(first.what().to_owned()))
        }
    }
}

/// `pulling app:1   dev-1 12 of 68 MB   dev-2 asks the registry`
fn shown(image: &str, under: &Under) -> String {
    let under = under.lock().unwrap_or_else(PoisonError::into_inner);
    let each: Vec<String> =
        under.iter().map(|(node, coming)| format!("{node} {}", coming.progress())).collect();
    format!("pulling {image}   {}", each.join("   "))
}
