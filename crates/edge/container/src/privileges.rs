//! What a program may do: its user, its capabilities, and the system calls it has.

use rustix::{
    fs::{Gid, Uid},
    io::Errno,
    thread::{CapabilitiesSecureBits, CapabilitySet, CapabilitySets},
};

use crate::{
    confinement::{Capabilities, Confined},
    kernel,
    request::Credentials,
};

/// The kernel keeps capabilities in words of this many bits, and has fewer.
const CAPABILITIES_MAX: u32 = 64;

/// Gives up everything that the program shall not have. Asks for no memory.
pub(crate) fn restrict(
    confined: &Confined<'_>,
    credentials: Option<&Credentials>,
    groups: &[Gid],
) -> rustix::io::Result<()> {
    // Without this promise only those who may do everything can filter system calls.
    if !confined.no_new_privileges {
        filter(confined)?;
    }
    if let Some(capabilities) = confined.capabilities {
        limit_bounding(capabilities.bounding)?;
        // What the agent itself was started with must not be inherited.
        rustix::thread::clear_ambient_capability_set()?;
        rustix::thread::set_keep_capabilities(true)?;
    }
    if let Some(credentials) = credentials {
        become_user(credentials, groups)?;
    }
    if let Some(capabilities) = confined.capabilities {
        let is_root = rustix::process::geteuid().is_root();
        become_capable(capabilities, is_root)?;
    }
    if confined.no_new_privileges {
        rustix::thread::set_no_new_privs(true)?;
        filter(confined)?;
    }
    Ok(())
}

/// Changes to a user, with exactly these groups.
pub(crate) fn become_user(credentials: &Credentials, groups: &[Gid]) -> rustix::io::Result<()> {
    // The thread forms are the bare system calls, and this process has one thread.
    rustix::thread::set_thread_groups(groups)?;
    let gid = Gid::from_raw(credentials.gid);
    rustix::thread::set_thread_res_gid(gid, gid, gid)?;
    let uid = Uid::from_raw(credentials.uid);
    rustix::thread::set_thread_res_uid(uid, uid, uid)
}

fn filter(confined: &Confined<'_>) -> rustix::io::Result<()> {
    for program in &confined.programs {
        kernel::filter_system_calls(program)?;
    }
    Ok(())
}

fn each(set: u64) -> impl Iterator<Item = CapabilitySet> {
    (0..CAPABILITIES_MAX)
        .map(|n| 1 << n)
        .filter(move |bit| set & bit != 0)
        .map(CapabilitySet::from_bits_retain)
}

fn limit_bounding(bounding: u64) -> rustix::io::Result<()> {
    for capability in each(!bounding) {
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            Ok(()) => {}
            // This kernel has no more.
            Err(Errno::INVAL) => break,
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// A program of root's gets all of the bounding set, and one of anybody else's gets what is handed on
/// explicitly. So root gets its capabilities that way as well where it shall not have the whole bounding set.
fn become_capable(wanted: Capabilities, is_root: bool) -> rustix::io::Result<()> {
    let effective = known(wanted.effective & wanted.bounding);
    let hand_on = !is_root || effective != known(wanted.bounding);
    if is_root && hand_on {
        let bits = CapabilitiesSecureBits::NO_ROOT | CapabilitiesSecureBits::NO_ROOT_LOCKED;
        rustix::thread::set_capabilities_secure_bits(bits)?;
    } else {
        rustix::thread::set_keep_capabilities(false)?;
    }
    let set = CapabilitySet::from_bits_retain(effective);
    let inheritable = if hand_on { set } else { CapabilitySet::empty() };
    let sets = CapabilitySets { effective: set, permitted: set, inheritable };
    rustix::thread::set_capabilities(None, sets)?;
    if hand_on {
        for capability in each(effective) {
            rustix::thread::configure_capability_in_ambient_set(capability, true)?;
        }
    }
    Ok(())
}

/// Those of a set that this kernel has.
fn known(set: u64) -> u64 {
    each(set)
        .filter(|capability| rustix::thread::capability_is_in_bounding_set(*capability).is_ok())
        .fold(0, |known, capability| known | capability.bits())
}
