//! linux/capabilities: what root may do, in parts.

use mezzo_mesos::v1::{CapabilityInfo, LinuxInfo};

use super::IsolationError;
use crate::confinement::Capabilities;

pub(super) const NAME: &str = "linux/capabilities";

/// Names by the kernel's numbers.
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// Mesos numbers capabilities as the kernel does, from here.
const MESOS_FIRST: i32 = 1000;

/// What root has in a container with an image that asks for nothing: enough to install and to serve, nothing
/// that reaches the host's devices, network or kernel.
pub(super) const RESTRICTED: [&str; 9] =
    ["CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "NET_BIND_SERVICE", "SETGID", "SETPCAP", "SETUID"];

/// The kernel's number of a capability, by its name without `CAP_`.
pub(crate) fn number(name: &str) -> Option<u32> {
    NAMES.iter().position(|known| *known == name).and_then(|number| u32::try_from(number).ok())
}

/// The set of what is always there for a container with an image.
pub(super) fn restricted() -> Capabilities {
    let set = RESTRICTED.iter().filter_map(|name| number(name)).fold(0, |set, number| set | 1 << number);
    Capabilities { effective: set, bounding: set }
}

/// What the operator has set.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Settings {
    effective: Option<u64>,
    bounding: Option<u64>,
}

impl Settings {
    pub(super) fn new(
        effective: Option<&CapabilityInfo>,
        bounding: Option<&CapabilityInfo>,
    ) -> Result<Self, IsolationError> {
        let refused = |reason| IsolationError::Host { name: NAME, reason };
        if !rustix::process::geteuid().is_root() {
            return Err(refused("capabilities can be given by root alone".to_owned()));
        }
        let settings = Self {
            effective: effective.map(set_of).transpose().map_err(refused)?,
            bounding: bounding.map(set_of).transpose().map_err(refused)?,
        };
        if let (Some(effective), Some(bounding)) = (settings.effective, settings.bounding)
            && effective & !bounding != 0
        {
            return Err(refused("--effective_capabilities has more than --bounding_capabilities".to_owned()));
        }
        Ok(settings)
    }

    /// The capabilities of a container; `None` where neither it nor the operator says anything. What it has
    /// is also what it can gain unless more is asked for, and the operator's bounds hold for both.
    pub(super) fn of(&self, linux: Option<&LinuxInfo>) -> Result<Option<Capabilities>, String> {
        let asked = asked(linux)?;
        let effective = asked.effective.or(self.effective);
        let bounding = asked.bounding.or(self.bounding).or(effective);
        let (Some(bounding), limit) = (bounding, self.bounding.unwrap_or(u64::MAX)) else { return Ok(None) };
        let effective = effective.unwrap_or(bounding);
        for wanted in [effective, bounding] {
            if wanted & !limit != 0 {
                return Err(format!(
                    "Requested capabilities '{}', but only '{}' are allowed",
                    names(wanted),
                    names(limit)
                ));
            }
        }
        if effective & !bounding != 0 {
            return Err(format!(
                "Requested capabilities '{}', but only '{}' are allowed",
                names(effective),
                names(bounding)
            ));
        }
        Ok(Some(Capabilities { effective, bounding }))
    }
}

/// Whether a container says anything about its capabilities.
pub(super) fn is_asked_for(linux: Option<&LinuxInfo>) -> bool {
    asked(linux).map_or(true, |asked| asked.effective.is_some() || asked.bounding.is_some())
}

fn asked(linux: Option<&LinuxInfo>) -> Result<Settings, String> {
    let Some(linux) = linux else { return Ok(Settings::default()) };
    // The older name of the field has the same meaning.
    #[expect(deprecated, reason = "the older name of the field")]
    let effective = linux.effective_capabilities.as_ref().or(linux.capability_info.as_ref());
    Ok(Settings {
        effective: effective.map(set_of).transpose()?,
        bounding: linux.bounding_capabilities.as_ref().map(set_of).transpose()?,
    })
}

fn set_of(info: &CapabilityInfo) -> Result<u64, String> {
    info.capabilities.iter().try_fold(0, |set, number| {
        let bit = number.checked_sub(MESOS_FIRST).and_then(|bit| u32::try_from(bit).ok());
        match bit.filter(|bit| NAMES.get(*bit as usize).is_some()) {
            Some(bit) => Ok(set | 1 << bit),
            None => Err(format!("Unknown capability {number}")),
        }
    })
}

fn names(set: u64) -> String {
    each_name(set).collect::<Vec<_>>().join(", ")
}

/// The names of a set, without `CAP_`.
pub(crate) fn each_name(set: u64) -> impl Iterator<Item = &'static str> {
    NAMES.iter().enumerate().filter(move |(number, _)| set & (1 << number) != 0).map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(names: &[&str]) -> CapabilityInfo {
        let number = |name: &&str| i32::try_from(number(name).expect("a name")).expect("small") + MESOS_FIRST;
        CapabilityInfo { capabilities: names.iter().map(number).collect() }
    }

    fn linux(effective: &[&str]) -> LinuxInfo {
        LinuxInfo { effective_capabilities: Some(info(effective)), ..LinuxInfo::default() }
    }

    fn bits(names: &[&str]) -> u64 {
        set_of(&info(names)).expect("a set")
    }

    #[test]
    fn what_is_effective_is_also_the_bound_unless_more_is_said() {
        let none = Settings::default();
        assert_eq!(none.of(None).unwrap(), None);
        let set = bits(&["KILL", "NET_RAW"]);
        let given = none.of(Some(&linux(&["KILL", "NET_RAW"]))).unwrap().unwrap();
        assert_eq!((given.effective, given.bounding), (set, set));
        let operator = Settings { effective: Some(bits(&["KILL"])), bounding: Some(set) };
        let given = operator.of(None).unwrap().unwrap();
        assert_eq!((given.effective, given.bounding), (bits(&["KILL"]), set));
        assert_eq!(none.of(Some(&linux(&[]))).unwrap(), Some(Capabilities::default()));
    }

    #[test]
    fn more_than_the_operator_allows_is_refused_by_name() {
        let operator = Settings { effective: None, bounding: Some(bits(&["KILL"])) };
        let why = operator.of(Some(&linux(&["KILL", "SYS_ADMIN"]))).unwrap_err();
        assert_eq!(why, "Requested capabilities 'KILL, SYS_ADMIN', but only 'KILL' are allowed");
        let unknown = CapabilityInfo { capabilities: vec![999] };
        assert!(set_of(&unknown).is_err());
        assert_eq!((number("CHOWN"), number("BPF"), number("X")), (Some(0), Some(39), None));
    }
}
