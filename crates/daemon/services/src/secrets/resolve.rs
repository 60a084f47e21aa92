//! The values of secrets in a call to the master: tasks name them until the call leaves.

use mezzo_mesos::{
    secrets::each_in_task,
    v1::{self, scheduler::Call, secret::Type},
};
use mezzo_services::Snapshot;
use mezzo_services_model::SecretName;

use super::Key;

impl Key {
    /// The call with the value of each secret in place of its name. The error is the name of a secret that is gone.
    pub(crate) fn resolved(&self, call: &Call, snapshot: &Snapshot) -> Result<Call, String> {
        let mut call = call.clone();
        let operations = call.accept.iter_mut().flat_map(|accept| &mut accept.operations);
        let mut filled = Ok(());
        for operation in operations {
            let single = operation.launch.iter_mut().flat_map(|launch| &mut launch.task_infos);
            let group = operation.launch_group.iter_mut().flat_map(|launch| &mut launch.task_group.tasks);
            for task in single.chain(group) {
                each_in_task(task, &mut |secret| {
                    if filled.is_ok() {
                        filled = self.fill(secret, snapshot);
                    }
                });
            }
        }
        filled.map(|()| call)
    }

    fn fill(&self, secret: &mut v1::Secret, snapshot: &Snapshot) -> Result<(), String> {
        let Some(reference) = secret.reference.take() else { return Ok(()) };
        let kept = SecretName::parse(&reference.name).ok().and_then(|name| snapshot.secrets.get(&name));
        let data = kept.and_then(|kept| self.open(kept).ok()).ok_or(reference.name)?;
        secret.r#type = Some(Type::Value.into());
        secret.value = Some(v1::secret::Value { data });
        Ok(())
    }
}
