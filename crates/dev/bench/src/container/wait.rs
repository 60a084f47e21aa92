//! Waiting that has an end.

use std::{
    os::fd::{AsFd, BorrowedFd},
    process::{Child, Command, Output},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use rustix::{
    event::{PollFd, PollFlags, Timespec},
    process::{Pid, PidfdFlags},
};

/// No single thing here takes longer, even on a busy machine.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// Whether a descriptor has become readable in time.
pub(super) fn is_readable(descriptor: BorrowedFd<'_>) -> Result<bool> {
    let patience = Timespec::try_from(PATIENCE)?;
    let ready = rustix::io::retry_on_intr(|| {
        rustix::event::poll(&mut [PollFd::from_borrowed_fd(descriptor, PollFlags::IN)], Some(&patience))
    })?;
    Ok(ready > 0)
}

/// Whether a process has ended in time; it can be waited for then.
pub(super) fn has_ended(child: &Child) -> Result<bool> {
    let process = rustix::process::pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
    is_readable(process.as_fd())
}

/// Runs a command that says little, or kills it when its time is up.
pub(super) fn output(command: &mut Command) -> Result<Output> {
    let mut child = command.spawn().with_context(|| format!("run {command:?}"))?;
    if !has_ended(&child)? {
        child.kill()?;
        child.wait()?;
        bail!("{command:?} did not end within {} s", PATIENCE.as_secs());
    }
    Ok(child.wait_with_output()?)
}
