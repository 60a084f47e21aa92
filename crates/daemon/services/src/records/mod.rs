//! Facts of the core as changes of the store, and back.
//!
//! Keys say what a record is: `framework`, `spec:<path>@<version>`, `group:<digest>`, `root`, `root:<version>`,
//! `deployment:<id>`, `instance:<id>`, `failure:<path>`, `canary:<path>@<version>`,
//! `principal:<path>@<version>`, `secret:<name>`. See services.proto for what each holds.

mod canary;
mod instance;
mod plan;
mod tree;

use std::{collections::BTreeMap, sync::Arc};

use mezzo_json::Writer;
use mezzo_marathon_api::{
    answer::write_app,
    pod::{read_stored_pod, write_pod},
    read_stored_app,
};
use mezzo_protocol::services as proto;
use mezzo_services::{Record, Recovered};
use mezzo_services_model::{
    App, PathId, Pod, RunSpec, SealedSecret, SecretName, TaskFailure, TaskId, VersionInfo,
};
use mezzo_store::Change;
use mezzo_time::Timestamp;
use prost::Message;
use serde_json::Value;

use self::tree::Trees;

/// Why the records cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecordError {
    /// Bytes that are no such record.
    #[error("read record '{key}'")]
    Decode {
        /// Of the record.
        key: String,
        /// The reason.
        source: prost::DecodeError,
    },
    /// A definition that cannot be read.
    #[error("read definition '{key}': {why}")]
    Definition {
        /// Of the record.
        key: String,
        /// The reason.
        why: String,
    },
    /// A text where a path, an id or a word belongs.
    #[error("read record '{key}': '{text}' is no {what}")]
    Text {
        /// Of the record.
        key: String,
        /// What stands there.
        text: String,
        /// What belongs there.
        what: &'static str,
    },
    /// A record that another one names.
    #[error("record '{key}' is missing, which '{by}' names")]
    Missing {
        /// Of the missing record.
        key: String,
        /// Of the one that names it.
        by: String,
    },
    /// Groups that stand in each other too deep, or in a circle.
    #[error("group record '{key}' lies too deep")]
    Depth {
        /// Of the record.
        key: String,
    },
}

/// What is known of the records on disk, to change no more than needed.
#[derive(Debug, Default)]
pub(crate) struct Books {
    trees: Trees,
}

impl Books {
    /// The changes that make these facts durable, in order.
    pub(crate) fn changes<'a>(&mut self, records: impl Iterator<Item = &'a Record>) -> Vec<Change> {
        let mut changes = Vec::new();
        for record in records {
            self.change(record, &mut changes);
        }
        changes
    }

    fn change(&mut self, record: &Record, changes: &mut Vec<Change>) {
        match record {
            Record::Framework(id) => {
                changes.push(("framework".into(), Some(proto::Framework { id: id.clone() }.encode_to_vec())));
            }
            Record::RunSpec(spec) => {
                changes.push((spec_key(spec.id(), spec.version()), Some(spec_record(spec).encode_to_vec())));
            }
            Record::RunSpecGone(id, version) => changes.push((spec_key(id, *version), None)),
            Record::Root(root) => self.trees.keep_root(root, changes),
            Record::RootGone(version) => self.trees.forget_root(*version, changes),
            Record::Deployment(plan) => self.trees.keep_plan(plan, changes),
            Record::DeploymentGone(id) => self.trees.forget_plan(id, changes),
            Record::Instance(one) => {
                changes.push((instance_key(one.id.as_str()), Some(instance::write(one).encode_to_vec())));
            }
            Record::InstanceGone(id) => changes.push((instance_key(id.as_str()), None)),
            Record::Failure(failure) => {
                changes.push((failure_key(&failure.run_spec), Some(write_failure(failure).encode_to_vec())));
            }
            Record::FailureGone(id) => changes.push((failure_key(id), None)),
            Record::Canary(report) => {
                let key = canary_key(&report.run_spec, report.version);
                changes.push((key, Some(canary::write(report).encode_to_vec())));
            }
            Record::CanaryGone(id, version) => changes.push((canary_key(id, *version), None)),
            Record::Principal(id, version, name) => {
                let record = proto::Principal {
                    run_spec: id.to_string(),
                    version: version.as_nanos(),
                    name: name.clone(),
                };
                changes.push((principal_key(id, *version), Some(record.encode_to_vec())));
            }
            Record::Secret(secret) => {
                let record = proto::Secret {
                    name: secret.name.to_string(),
                    sealed: secret.sealed.to_vec(),
                    changed_at: secret.changed_at.as_nanos(),
                };
                changes.push((secret_key(&secret.name), Some(record.encode_to_vec())));
            }
            Record::SecretGone(name) => changes.push((secret_key(name), None)),
            Record::PrincipalGone(id, version) => changes.push((principal_key(id, *version), None)),
        }
    }

    /// What the records on disk say.
    pub(crate) fn load(records: &BTreeMap<String, Vec<u8>>) -> Result<(Self, Recovered), RecordError> {
        let mut recovered = Recovered::default();
        let mut versions: BTreeMap<PathId, BTreeMap<Timestamp, RunSpec>> = BTreeMap::new();
        for (key, bytes) in records {
            let Some((kind, _)) = key.split_once(':') else {
                if key == "framework" {
                    recovered.framework = Some(decode::<proto::Framework>(key, bytes)?.id);
                }
                continue;
            };
            match kind {
                "spec" => {
                    let spec = read_spec(key, &decode(key, bytes)?)?;
                    versions.entry(spec.id().clone()).or_default().insert(spec.version(), spec);
                }
                "instance" => recovered.instances.push(instance::read(key, decode(key, bytes)?)?),
                "canary" => recovered.canaries.push(canary::read(key, decode(key, bytes)?)?),
                "principal" => {
                    let record: proto::Principal = decode(key, bytes)?;
                    let version = Timestamp::from_nanos(record.version);
                    recovered.principals.push((path(key, &record.run_spec)?, version, record.name));
                }
                "secret" => recovered.secrets.push(read_secret(key, decode(key, bytes)?)?),
                "failure" => recovered.failures.push(read_failure(key, decode(key, bytes)?)?),
                // Groups and what stands on them are read once all definitions are there; other kinds are of a later
                // version, which leaves them alone too.
                _ => {}
            }
        }
        let trees = Trees::load(records, &versions, &mut recovered)?;
        recovered.versions = versions;
        Ok((Self { trees }, recovered))
    }
}

fn spec_key(id: &PathId, version: Timestamp) -> String {
    format!("spec:{id}@{}", version.as_nanos())
}

fn instance_key(id: &str) -> String {
    format!("instance:{id}")
}

fn canary_key(id: &PathId, version: Timestamp) -> String {
    format!("canary:{id}@{}", version.as_nanos())
}

fn principal_key(id: &PathId, version: Timestamp) -> String {
    format!("principal:{id}@{}", version.as_nanos())
}

fn secret_key(name: &SecretName) -> String {
    format!("secret:{name}")
}

fn failure_key(id: &PathId) -> String {
    format!("failure:{id}")
}

fn decode<T: Message + Default>(key: &str, bytes: &[u8]) -> Result<T, RecordError> {
    T::decode(bytes).map_err(|source| RecordError::Decode { key: key.to_owned(), source })
}

/// A path as it was written.
fn path(key: &str, text: &str) -> Result<PathId, RecordError> {
    PathId::parse(text, &PathId::root()).map_err(|_| RecordError::Text {
        key: key.to_owned(),
        text: text.to_owned(),
        what: "path",
    })
}

fn task_id(key: &str, text: &str) -> Result<TaskId, RecordError> {
    TaskId::parse(text).map_err(|_| RecordError::Text {
        key: key.to_owned(),
        text: text.to_owned(),
        what: "task id",
    })
}

fn spec_record(spec: &RunSpec) -> proto::RunSpec {
    let mut w = Writer::new();
    match spec {
        RunSpec::App(app) => write_app(&mut w, app),
        RunSpec::Pod(pod) => write_pod(&mut w, pod),
    }
    let info = spec.version_info();
    proto::RunSpec {
        is_pod: matches!(spec, RunSpec::Pod(_)),
        json: w.finish(),
        version: spec.version().as_nanos(),
        last_scaling_at: info.last_scaling_at.as_nanos(),
        last_config_change_at: info.last_config_change_at.as_nanos(),
    }
}

fn read_spec(key: &str, record: &proto::RunSpec) -> Result<RunSpec, RecordError> {
    let wrong = |why: String| RecordError::Definition { key: key.to_owned(), why };
    let document: Value = serde_json::from_slice(&record.json).map_err(|error| wrong(error.to_string()))?;
    let version = Timestamp::from_nanos(record.version);
    let version_info = VersionInfo {
        last_scaling_at: Timestamp::from_nanos(record.last_scaling_at),
        last_config_change_at: Timestamp::from_nanos(record.last_config_change_at),
    };
    if record.is_pod {
        let pod = read_stored_pod(&document).map_err(|error| wrong(error.to_string()))?;
        return Ok(RunSpec::Pod(Arc::new(Pod { version, version_info, ..pod })));
    }
    let app = read_stored_app(&document).map_err(|error| wrong(error.to_string()))?;
    Ok(RunSpec::App(Arc::new(App { version, version_info, ..app })))
}

fn write_failure(failure: &TaskFailure) -> proto::Failure {
    proto::Failure {
        run_spec: failure.run_spec.to_string(),
        task: failure.task.to_string(),
        state: failure.state.clone(),
        message: failure.message.clone(),
        host: failure.host.clone(),
        agent_id: failure.agent_id.clone(),
        version: failure.version.as_nanos(),
        at: failure.at.as_nanos(),
    }
}

fn read_secret(key: &str, record: proto::Secret) -> Result<SealedSecret, RecordError> {
    let wrong =
        |_| RecordError::Text { key: key.to_owned(), text: record.name.clone(), what: "name of a secret" };
    Ok(SealedSecret {
        name: SecretName::parse(&record.name).map_err(wrong)?,
        sealed: record.sealed.into(),
        changed_at: Timestamp::from_nanos(record.changed_at),
    })
}

fn read_failure(key: &str, record: proto::Failure) -> Result<TaskFailure, RecordError> {
    Ok(TaskFailure {
        run_spec: path(key, &record.run_spec)?,
        task: task_id(key, &record.task)?,
        state: record.state,
        message: record.message,
        host: record.host,
        agent_id: record.agent_id,
        version: Timestamp::from_nanos(record.version),
        at: Timestamp::from_nanos(record.at),
    })
}

#[cfg(test)]
mod tests;
