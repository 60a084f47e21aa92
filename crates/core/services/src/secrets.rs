//! Secrets: which there are, who uses them, and who waits for one.
//!
//! The machine holds them sealed and never sees a value: tasks name them, and whoever sends a call to the master puts the
//! values in.

use std::{collections::BTreeMap, sync::Arc};

use mezzo_services_model::{PathId, RunSpec, SealedSecret, SecretName};

use crate::{Answer, Record, Refusal, RequestId, Snapshot, services::Services};

/// Secrets that are kept at most: snapshots hold all of them, and a record that lists them has to fit an answer.
const SECRETS_MAX: usize = 10_000;
/// Bytes of all of them together, sealed: they lie in memory.
const BYTES_MAX: usize = 64 << 20;

impl Snapshot {
    /// The secrets that tasks of a definition need and that do not exist, by the names that the definition gives them.
    pub fn missing_secrets(&self, spec: &RunSpec) -> Vec<String> {
        let is_missing = |source: &&str| match SecretName::parse(source) {
            Ok(name) => !self.secrets.contains_key(&name),
            Err(_) => true,
        };
        spec.secrets().into_iter().filter(is_missing).map(|source| source.trim_matches('/').into()).collect()
    }

    /// The services whose wanted definitions need secrets, by the names of these.
    pub fn secret_users(&self) -> BTreeMap<String, Vec<PathId>> {
        let mut users: BTreeMap<String, Vec<PathId>> = BTreeMap::new();
        for spec in self.root.all_run_specs() {
            for source in spec.secrets() {
                users.entry(source.trim_matches('/').into()).or_default().push(spec.id().clone());
            }
        }
        users
    }

    /// Services whose wanted definition needs a secret.
    fn users_of_secret(&self, name: &SecretName) -> Vec<PathId> {
        let uses = |spec: &RunSpec| {
            spec.secrets().into_iter().any(|source| source.trim_matches('/') == name.as_str())
        };
        self.root.all_run_specs().filter(uses).map(|spec| spec.id().clone()).collect()
    }
}

impl Services {
    pub(crate) fn on_set_secret(&mut self, request: RequestId, secret: SealedSecret) {
        let old = self.state.secrets.get(&secret.name).map_or(0, |old| old.sealed.len());
        let bytes: usize = self.state.secrets.values().map(|kept| kept.sealed.len()).sum();
        let full = if old == 0 && self.state.secrets.size() >= SECRETS_MAX {
            Some(format!(
                "There are {SECRETS_MAX} secrets, and no more are kept. Remove one that nobody uses."
            ))
        } else if bytes - old + secret.sealed.len() > BYTES_MAX {
            Some(format!("All secrets together may have {BYTES_MAX} bytes. Remove one that nobody uses."))
        } else {
            None
        };
        if let Some(why) = full {
            return self.answer(request, Answer::Refused(Refusal::TooManySecrets(why)));
        }
        let secret = Arc::new(secret);
        self.records.push(Record::Secret(secret.clone()));
        self.state.secrets.insert_mut(secret.name.clone(), secret);
        self.queue_secrets_changed();
        self.answer(request, Answer::Done);
    }

    /// Instances that run keep what they have; with `force` also of a secret that a service needs.
    pub(crate) fn on_remove_secret(&mut self, request: RequestId, name: &SecretName, force: bool) {
        if !self.state.secrets.contains_key(name) {
            let text = format!("Secret '{name}' does not exist");
            return self.answer(request, Answer::Refused(Refusal::Unknown(text)));
        }
        let users = self.state.users_of_secret(name);
        if !users.is_empty() && !force {
            return self.answer(request, Answer::Refused(Refusal::SecretUsed(users)));
        }
        self.state.secrets.remove_mut(name);
        self.records.push(Record::SecretGone(name.clone()));
        self.queue_secrets_changed();
        self.answer(request, Answer::Done);
    }
}
