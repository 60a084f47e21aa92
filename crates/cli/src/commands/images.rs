//! `mezzo images`

use std::sync::Arc;

use serde::Serialize;
use tokio::{sync::Semaphore, task::JoinSet};

use crate::{
    args::{Global, Images},
    client::Master,
    error::CliError,
    images::{self, Coming, Here},
    output::{age, bytes, now},
    table::{self, Format, Row},
};

/// Agents that are asked at the same time: a large cluster answers in a moment, and few descriptors are used.
const AGENTS_MAX: usize = 32;

#[derive(Debug, Serialize)]
struct ImageRow {
    image: String,
    node: String,
    digest: Option<String>,
    bytes: Option<u64>,
    age_seconds: Option<f64>,
    in_use: bool,
    pulling: Option<String>,
}

impl Row for ImageRow {
    const TITLES: &'static [&'static str] = &["IMAGE", "NODE", "DIGEST", "SIZE", "AGE", "STATE"];

    fn cells(&self) -> Vec<String> {
        let short = |digest: &String| digest.chars().take("sha256:".len() + 12).collect::<String>();
        let state = match &self.pulling {
            Some(progress) => format!("pulling {progress}"),
            None if self.in_use => "in use".to_owned(),
            None => "-".to_owned(),
        };
        let dash = || "-".to_owned();
        vec![
            self.image.clone(),
            self.node.clone(),
            self.digest.as_ref().map_or_else(dash, short),
            self.bytes.map_or_else(dash, bytes),
            self.age_seconds.map_or_else(dash, age),
            state,
        ]
    }
}

/// Lists images by name and agent.
pub(crate) async fn list(global: &Global, arguments: &Images) -> Result<(), CliError> {
    let mut master = Master::new(&global.master);
    let state = master.state().await?;
    let mut rows = Vec::new();
    let mut some = false;
    let turns = Arc::new(Semaphore::new(AGENTS_MAX));
    let mut answers = JoinSet::new();
    for (node, address) in images::agents(&state, arguments.agent.as_deref())? {
        let (client, turns) = (master.client().clone(), Arc::clone(&turns));
        answers.spawn(async move {
            let _turn = turns.acquire().await;
            (node, images::of_agent(&client, &address).await)
        });
    }
    for (node, answer) in answers.join_all().await {
        match answer {
            Ok(None) => {}
            Ok(Some(images)) => {
                some = true;
                rows.extend(images.images.iter().map(|image| here(image, &node)));
                rows.extend(images.pulls.iter().map(|pull| coming(pull, &node)));
            }
            // The others are worth being shown.
            Err(error) if arguments.agent.is_none() => eprintln!("{node}: {error}"),
            Err(error) => return Err(error),
        }
    }
    if !some {
        return Err(images::none_has_any());
    }
    rows.sort_by(|a, b| (&a.image, &a.node).cmp(&(&b.image, &b.node)));
    if global.output == Format::Table && rows.is_empty() {
        eprintln!("no image is here yet   mezzo pull IMAGE");
    }
    table::print(&rows, global.output)
}

fn here(image: &Here, node: &str) -> ImageRow {
    ImageRow {
        image: image.name.clone(),
        node: node.to_owned(),
        digest: Some(image.digest.clone()),
        bytes: Some(image.bytes),
        age_seconds: Some((now() - image.pulled).max(0.0)),
        in_use: image.in_use,
        pulling: None,
    }
}

fn coming(pull: &Coming, node: &str) -> ImageRow {
    ImageRow {
        image: pull.image.clone(),
        node: node.to_owned(),
        digest: None,
        bytes: None,
        age_seconds: None,
        in_use: false,
        pulling: Some(pull.progress()),
    }
}
