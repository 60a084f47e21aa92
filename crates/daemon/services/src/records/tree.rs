//! Trees as records: each group once, under the digest of its content, however many versions of the tree hold it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use aws_lc_rs::digest::{SHA256, digest};
use mezzo_protocol::services as proto;
use mezzo_services::Recovered;
use mezzo_services_model::{DeploymentId, Group, PathId, Plan, RunSpec};
use mezzo_store::Change;
use mezzo_time::Timestamp;
use prost::Message;

use super::{
    RecordError, decode, path,
    plan::{read_steps, write_steps},
    spec_key,
};

/// How deep groups may stand in each other: far beyond what the API takes.
const DEPTH_MAX: usize = 512;

type Digest = Vec<u8>;
type Versions = BTreeMap<PathId, BTreeMap<Timestamp, RunSpec>>;

/// Which group records there are, and who names them.
#[derive(Debug, Default)]
pub(super) struct Trees {
    /// How many records name a group: groups around it, roots and deployments.
    counts: BTreeMap<Digest, Named>,
    roots: BTreeMap<Timestamp, Digest>,
    plans: BTreeMap<DeploymentId, [Digest; 2]>,
    /// The newest tree and the digests of its groups, so that unchanged parts of the next are not encoded again.
    newest: BTreeMap<PathId, (Arc<Group>, Digest)>,
}

#[derive(Debug)]
struct Named {
    times: u64,
    children: Vec<Digest>,
}

impl Trees {
    pub(super) fn keep_root(&mut self, root: &Arc<Group>, changes: &mut Vec<Change>) {
        let digest = self.keep(root, changes);
        let record = proto::Root { version: root.version.as_nanos(), digest: digest.clone() };
        changes.push((root_key(root.version), Some(record.encode_to_vec())));
        changes.push(("root".into(), Some(record.encode_to_vec())));
        if let Some(before) = self.roots.insert(root.version, digest) {
            self.drop(&before, changes);
        }
        let groups: BTreeSet<&PathId> = root.all_groups().map(|group| &group.id).collect();
        self.newest.retain(|id, _| groups.contains(id));
    }

    pub(super) fn forget_root(&mut self, version: Timestamp, changes: &mut Vec<Change>) {
        changes.push((root_key(version), None));
        if let Some(digest) = self.roots.remove(&version) {
            self.drop(&digest, changes);
        }
    }

    pub(super) fn keep_plan(&mut self, plan: &Plan, changes: &mut Vec<Change>) {
        let digests = [self.keep(&plan.original, changes), self.keep(&plan.target, changes)];
        let record = proto::Deployment {
            id: plan.id.to_string(),
            original: digests[0].clone(),
            target: digests[1].clone(),
            steps: write_steps(&plan.steps),
            version: plan.version.as_nanos(),
        };
        changes.push((plan_key(&plan.id), Some(record.encode_to_vec())));
        if let Some(before) = self.plans.insert(plan.id.clone(), digests) {
            before.iter().for_each(|digest| self.drop(digest, changes));
        }
    }

    pub(super) fn forget_plan(&mut self, id: &DeploymentId, changes: &mut Vec<Change>) {
        changes.push((plan_key(id), None));
        if let Some(digests) = self.plans.remove(id) {
            digests.iter().for_each(|digest| self.drop(digest, changes));
        }
    }

    /// Names a group once more, and writes it and those in it that are not written yet.
    fn keep(&mut self, group: &Arc<Group>, changes: &mut Vec<Change>) -> Digest {
        let known = self.newest.get(&group.id).filter(|(known, _)| Arc::ptr_eq(known, group));
        if let Some(digest) = known.map(|(_, digest)| digest.clone())
            && let Some(named) = self.counts.get_mut(&digest)
        {
            named.times += 1;
            return digest;
        }
        let children: Vec<(String, Digest)> = group
            .groups
            .values()
            .map(|child| (child.id.name().to_owned(), self.keep(child, changes)))
            .collect();
        let bytes = write(group, &children).encode_to_vec();
        let digest = digest(&SHA256, &bytes).as_ref().to_vec();
        let children: Vec<Digest> = children.into_iter().map(|(_, digest)| digest).collect();
        match self.counts.get_mut(&digest) {
            Some(named) => {
                named.times += 1;
                // They are named by the record that is there, once.
                children.iter().for_each(|child| self.drop(child, changes));
            }
            None => {
                self.counts.insert(digest.clone(), Named { times: 1, children });
                changes.push((group_key(&digest), Some(bytes)));
            }
        }
        self.newest.insert(group.id.clone(), (group.clone(), digest.clone()));
        digest
    }

    /// Names a group once less, and removes it with the last.
    fn drop(&mut self, digest: &Digest, changes: &mut Vec<Change>) {
        let mut left = vec![digest.clone()];
        while let Some(digest) = left.pop() {
            let Some(named) = self.counts.get_mut(&digest) else { continue };
            named.times = named.times.saturating_sub(1);
            if named.times == 0
                && let Some(named) = self.counts.remove(&digest)
            {
                changes.push((group_key(&digest), None));
                left.extend(named.children);
            }
        }
    }

    /// Reads all trees and deployments.
    pub(super) fn load(
        records: &BTreeMap<String, Vec<u8>>,
        versions: &Versions,
        recovered: &mut Recovered,
    ) -> Result<Self, RecordError> {
        let mut loader = Loader { records, versions, groups: BTreeMap::new(), trees: Self::default() };
        for (key, bytes) in of_kind(records, "root:") {
            let record: proto::Root = decode(key, bytes)?;
            let group = loader.group(key, &record.digest, 0)?;
            let version = Timestamp::from_nanos(record.version);
            loader.trees.name(&record.digest);
            loader.trees.roots.insert(version, record.digest);
            recovered.roots.insert(version, group);
        }
        if let Some(bytes) = records.get("root") {
            let record: proto::Root = decode("root", bytes)?;
            recovered.root = Some(loader.group("root", &record.digest, 0)?);
        }
        for (key, bytes) in of_kind(records, "deployment:") {
            let record: proto::Deployment = decode(key, bytes)?;
            let plan = Plan {
                id: DeploymentId(record.id.as_str().into()),
                original: loader.group(key, &record.original, 0)?,
                target: loader.group(key, &record.target, 0)?,
                steps: read_steps(key, &record.steps)?,
                version: Timestamp::from_nanos(record.version),
            };
            loader.trees.name(&record.original);
            loader.trees.name(&record.target);
            loader.trees.plans.insert(plan.id.clone(), [record.original, record.target]);
            recovered.deployments.push(Arc::new(plan));
        }
        Ok(loader.trees)
    }

    /// How often each group is named.
    #[cfg(test)]
    pub(super) fn counts(&self) -> BTreeMap<&Digest, u64> {
        self.counts.iter().map(|(digest, named)| (digest, named.times)).collect()
    }

    fn name(&mut self, digest: &Digest) {
        if let Some(named) = self.counts.get_mut(digest) {
            named.times += 1;
        }
    }
}

/// Reads groups, each once.
struct Loader<'a> {
    records: &'a BTreeMap<String, Vec<u8>>,
    versions: &'a Versions,
    groups: BTreeMap<Digest, Arc<Group>>,
    trees: Trees,
}

impl Loader<'_> {
    fn group(&mut self, by: &str, digest: &Digest, depth: usize) -> Result<Arc<Group>, RecordError> {
        if let Some(group) = self.groups.get(digest) {
            return Ok(group.clone());
        }
        let key = group_key(digest);
        if depth > DEPTH_MAX {
            return Err(RecordError::Depth { key });
        }
        let bytes = self.records.get(&key);
        let bytes = bytes.ok_or_else(|| RecordError::Missing { key: key.clone(), by: by.to_owned() })?;
        let record: proto::Group = decode(&key, bytes)?;
        let id = path(&key, &record.id)?;
        let mut group = Group::empty(id, Timestamp::from_nanos(record.version));
        group.enforce_role = record.enforce_role;
        for text in &record.dependencies {
            group.dependencies.insert(path(&key, text)?);
        }
        for spec in record.apps.iter().chain(&record.pods) {
            let id = group.id.child(&spec.name);
            match self.spec(&key, &id, Timestamp::from_nanos(spec.version))? {
                RunSpec::App(app) => {
                    group.apps.insert(id, app);
                }
                RunSpec::Pod(pod) => {
                    group.pods.insert(id, pod);
                }
            }
        }
        let mut children = Vec::new();
        for child in record.groups {
            let read = self.group(&key, &child.digest, depth + 1)?;
            group.groups.insert(read.id.clone(), read);
            self.trees.name(&child.digest);
            children.push(child.digest);
        }
        let group = Arc::new(group);
        self.trees.counts.insert(digest.clone(), Named { times: 0, children });
        self.groups.insert(digest.clone(), group.clone());
        Ok(group)
    }

    fn spec(&self, by: &str, id: &PathId, version: Timestamp) -> Result<RunSpec, RecordError> {
        let found = self.versions.get(id).and_then(|versions| versions.get(&version)).cloned();
        found.ok_or_else(|| RecordError::Missing { key: spec_key(id, version), by: by.to_owned() })
    }
}

fn write(group: &Group, children: &[(String, Digest)]) -> proto::Group {
    let reference = |id: &PathId, version: Timestamp| proto::SpecRef {
        name: id.name().to_owned(),
        version: version.as_nanos(),
    };
    proto::Group {
        id: group.id.to_string(),
        apps: group.apps.values().map(|app| reference(&app.id, app.version)).collect(),
        pods: group.pods.values().map(|pod| reference(&pod.id, pod.version)).collect(),
        groups: children
            .iter()
            .map(|(name, digest)| proto::GroupRef { name: name.clone(), digest: digest.clone() })
            .collect(),
        dependencies: group.dependencies.iter().map(ToString::to_string).collect(),
        version: group.version.as_nanos(),
        enforce_role: group.enforce_role,
    }
}

fn of_kind<'a>(
    records: &'a BTreeMap<String, Vec<u8>>,
    prefix: &'a str,
) -> impl Iterator<Item = (&'a str, &'a [u8])> {
    records
        .range(prefix.to_owned()..)
        .take_while(move |(key, _)| key.starts_with(prefix))
        .map(|(key, bytes)| (key.as_str(), bytes.as_slice()))
}

fn root_key(version: Timestamp) -> String {
    format!("root:{}", version.as_nanos())
}

fn plan_key(id: &DeploymentId) -> String {
    format!("deployment:{id}")
}

fn group_key(digest: &[u8]) -> String {
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("group:{hex}")
}
