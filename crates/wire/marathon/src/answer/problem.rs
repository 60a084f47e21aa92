//! Why a request is not answered as asked, with status and body: what the API says when the document itself is fine.

use std::collections::BTreeMap;

use mezzo_json::Writer;
use mezzo_services_model::{DeploymentId, PathId};
use mezzo_time::Timestamp;

use super::fields::{key, list, texts};
use crate::time::time_text;

/// What stands in the way of a request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// There is no such app, or not in that version.
    #[error("App '{0}' does not exist{version}", version = in_version(.1))]
    NoApp(PathId, Option<Timestamp>),
    /// There is no such group, or not in that version.
    #[error("Group '{0}' does not exist{version}", version = in_version(.1))]
    NoGroup(PathId, Option<Timestamp>),
    /// There is no such pod, or not in that version.
    #[error("Pod '{0}' does not exist{version}", version = in_version(.1))]
    NoPod(PathId, Option<Timestamp>),
    /// There is no such pod, where the API answers with JSON within JSON.
    #[error("{{\"message\": \"pod with {0} does not exist\"}}")]
    NoPodNested(PathId),
    /// There is no such task, or it is not one of the app.
    #[error("Task '{0}' does not exist")]
    NoTask(String),
    /// There is no such deployment (rule 45).
    #[error("DeploymentPlan {0} does not exist")]
    NoDeployment(String),
    /// Nothing of that service waits (rule 86).
    #[error("Application {0} not found in tasks queue.")]
    NotQueued(PathId),
    /// Nobody leads.
    #[error("There is no leader")]
    NoLeader,
    /// There is no such plug-in.
    #[error("No plugin with this pluginId: {0}")]
    NoPlugin(String),
    /// Something else that is asked for is not there, in a sentence.
    #[error("{0}")]
    Absent(String),
    /// An app of that id is there already.
    #[error("An app with id [{0}] already exists.")]
    AppExists(PathId),
    /// A pod of that id is there already.
    #[error("A pod with id [{0}] already exists.")]
    PodExists(PathId),
    /// A group of that path is there already (rule 299).
    #[error("Group {0} is already created. Use PUT to change this group.")]
    GroupExists(PathId),
    /// An app stands at the path of a group to be made.
    #[error("An app with the path {0} already exists.")]
    AppAtGroup(PathId),
    /// A secret that services need is not removed.
    #[error("The secret is needed by {}. Remove it all the same with force=true.", paths(.0))]
    SecretUsed(Vec<PathId>),
    /// Other deployments are at the same services (rule 20).
    #[error(
        "App is locked by one or more deployments. Override with the option '?force=true'. View details at \
         '/v2/deployments/<DEPLOYMENT_ID>'."
    )]
    Locked(Vec<DeploymentId>),
    /// Too many deployments run (rule 24).
    #[error(
        "Max number ({0}) of running deployments is reached. Wait for one to end, or cancel one with force=true."
    )]
    TooManyDeployments(usize),
    /// A group was to go back to a version that is not there (rule 48).
    #[error("Group {0} not available in version {version}", version = time_text(*.1))]
    NoGroupVersion(PathId, Timestamp),
    /// What was asked for makes no sense, in a sentence (rule 249).
    #[error("{0}")]
    Argument(String),
    /// Definitions contradict each other: texts by path (rule 243).
    #[error("Object is not valid")]
    Invalid(BTreeMap<String, Vec<String>>),
    /// The path of a pod and the id in its body differ (rule 285).
    #[error("'{path}' does not match definition's id '{body}'")]
    PodIdDiffers {
        /// In the path.
        path: PathId,
        /// In the body.
        body: PathId,
    },
    /// Kills that are to scale and to wipe (rule 191).
    #[error("You cannot use scale and wipe at the same time.")]
    ScaleAndWipe,
    /// An id of a task that cannot be one (rule 194).
    #[error("Invalid task id '{0}'. [{1}]")]
    BadTaskId(String, String),
    /// A request that is wrong in another way, in a sentence.
    #[error("{0}")]
    BadRequest(String),
    /// All service ports are given out (rule 213).
    #[error("All ports in the range [{start}-{end}) are already in use", start = .0.start, end = .0.end)]
    NoServicePort(std::ops::Range<u16>),
    /// No such path (rule 250).
    #[error("URI not found")]
    NoRoute,
    /// Too many requests at once (rule 259).
    #[error("Too many concurrent requests! Allowed: {0}.")]
    TooManyRequests(usize),
    /// It could not be done in time or in safety, in a sentence; trying again may help.
    #[error("{0}")]
    Unavailable(String),
    /// Nobody said who asks.
    #[error("Authentication is required")]
    Unauthorized,
    /// It went wrong inside, in a sentence.
    #[error("{0}")]
    Internal(String),
}

fn in_version(version: &Option<Timestamp>) -> String {
    version.map_or_else(String::new, |version| format!(" in version {}", time_text(version)))
}

fn paths(all: &[PathId]) -> String {
    all.iter().map(PathId::as_str).collect::<Vec<_>>().join(", ")
}

impl Problem {
    /// The status of the answer (rule 249).
    pub fn status(&self) -> u16 {
        match self {
            Self::NoApp(..)
            | Self::NoGroup(..)
            | Self::NoPod(..)
            | Self::NoPodNested(_)
            | Self::NoTask(_)
            | Self::NoDeployment(_)
            | Self::NotQueued(_)
            | Self::NoLeader
            | Self::NoPlugin(_)
            | Self::Absent(_) => 404,
            Self::AppExists(_)
            | Self::PodExists(_)
            | Self::GroupExists(_)
            | Self::AppAtGroup(_)
            | Self::SecretUsed(_)
            | Self::Locked(_) => 409,
            Self::TooManyDeployments(_) => 403,
            Self::NoGroupVersion(..) | Self::Argument(_) | Self::Invalid(_) => 422,
            Self::PodIdDiffers { .. } | Self::ScaleAndWipe | Self::BadTaskId(..) | Self::BadRequest(_) => 400,
            Self::NoServicePort(_) | Self::NoRoute | Self::Internal(_) => 500,
            Self::TooManyRequests(_) | Self::Unavailable(_) => 503,
            Self::Unauthorized => 401,
        }
    }

    /// The body of the answer.
    pub fn body(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.begin_object();
        key!(w, "message");
        w.string(&self.to_string());
        match self {
            Self::Locked(deployments) => {
                key!(w, "deployments");
                list(&mut w, deployments, |w, id| {
                    w.begin_object();
                    key!(w, "id");
                    w.string(&id.0);
                    w.end_object();
                });
            }
            Self::Invalid(details) => {
                key!(w, "details");
                list(&mut w, details, |w, (path, errors)| {
                    w.begin_object();
                    key!(w, "path");
                    w.string(path);
                    key!(w, "errors");
                    texts(w, errors.iter().map(String::as_str));
                    w.end_object();
                });
            }
            _ => {}
        }
        w.end_object();
        w.finish()
    }
}

/// The body of an answer that is one sentence.
pub fn message_body(message: &str) -> Vec<u8> {
    let mut w = Writer::new();
    w.begin_object();
    key!(w, "message");
    w.string(message);
    w.end_object();
    w.finish()
}
