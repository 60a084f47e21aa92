//! What isolates a container, and who may pull its image.

use mezzo_services_model::{IpcInfo, LinuxInfo, PullConfig, Seccomp};

use crate::{json::At, verdict::Verdict};

pub(crate) fn read_pull_config(at: At<'_>) -> Option<PullConfig> {
    at.object(|o| Some(PullConfig { secret: o.required("secret", |at| at.some_text())? }))
}

pub(crate) fn read_linux_info(at: At<'_>) -> Option<LinuxInfo> {
    at.object(|o| {
        let seccomp = o.read("seccomp", |at| {
            at.object(|o| {
                Some(Seccomp {
                    profile_name: o.read("profileName", |at| at.string()),
                    unconfined: o.read("unconfined", |at| at.boolean()).unwrap_or(false),
                })
            })
        });
        let ipc = o.read("ipcInfo", |at| {
            at.object(|o| {
                let share_parent =
                    o.required("mode", |at| at.word(&[("PRIVATE", false), ("SHARE_PARENT", true)]));
                let shm_size = o.read("shmSize", |at| at.count());
                Some(IpcInfo { share_parent: share_parent?, shm_size })
            })
        });
        Some(LinuxInfo { seccomp, ipc })
    })
}

/// Rule 292 for the settings of a container at `path`.
pub(crate) fn judge_linux_info(verdict: &mut Verdict, path: &str, info: &LinuxInfo) {
    let seccomp = info.seccomp.as_ref().and_then(|seccomp| {
        match (seccomp.profile_name.is_some(), seccomp.unconfined) {
            (true, true) => Some("Seccomp unconfined can NOT be true when Profile is defined"),
            (false, false) => Some("Seccomp unconfined must be true when Profile is NOT defined"),
            _ => None,
        }
    });
    if let Some(error) = seccomp {
        verdict.add(format!("{path}/seccomp"), error);
    }
    if info.ipc.as_ref().is_some_and(|ipc| ipc.share_parent && ipc.shm_size.is_some()) {
        verdict.add(format!("{path}/ipcInfo"), "ipcInfo shmSize can NOT be set when mode is SHARE_PARENT");
    }
}
