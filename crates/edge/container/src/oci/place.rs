//! What a supervisor is told about the runtime, on its way there.

use std::{ffi::CStr, path::PathBuf, time::Duration};

use crate::request::{Reader, Writer};

/// Which runtime, and what it is to do with control groups.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) program: PathBuf,
    pub(crate) patience: Duration,
    /// Where control groups are.
    pub(crate) hierarchy: PathBuf,
    /// The container's group by its path in each hierarchy, below the one that has its limits.
    pub(crate) cgroup: String,
    /// The devices that can be used, as the kernel writes them; `None` for those of every container, or all
    /// of them for a container without a root of its own.
    pub(crate) devices: Option<Vec<String>>,
    /// Those that the container was given beside them.
    pub(crate) given: Vec<String>,
    /// Which system calls there are, in the form of the specification; empty for all.
    pub(crate) profile: Vec<u8>,
}

/// [`Place`], borrowed from a request.
#[derive(Debug)]
pub(crate) struct Assignment<'a> {
    pub(crate) program: &'a CStr,
    pub(crate) patience: Duration,
    pub(crate) hierarchy: &'a CStr,
    pub(crate) cgroup: &'a CStr,
    pub(crate) devices: Option<Vec<&'a CStr>>,
    pub(crate) given: Vec<&'a CStr>,
    pub(crate) profile: &'a [u8],
}

impl Place {
    pub(crate) fn encode(&self, writer: &mut Writer<'_>) {
        writer.path("runtime", &self.program);
        writer.long(u64::try_from(self.patience.as_millis()).unwrap_or(u64::MAX));
        writer.path("control groups", &self.hierarchy);
        writer.text("control group", &self.cgroup);
        writer.flag(self.devices.is_some());
        for devices in self.devices.iter().chain([&self.given]) {
            writer.count(devices.len());
            for device in devices {
                writer.text("device", device);
            }
        }
        writer.blob(&self.profile);
    }
}

impl<'a> Assignment<'a> {
    /// Reads what [`Place::encode`] wrote.
    pub(crate) fn decode(reader: &mut Reader<'a>) -> Option<Self> {
        Some(Self {
            program: reader.text()?,
            patience: Duration::from_millis(reader.long()?),
            hierarchy: reader.text()?,
            cgroup: reader.text()?,
            devices: if reader.flag()? { Some(reader.texts()?) } else { None },
            given: reader.texts()?,
            profile: reader.blob()?,
        })
    }
}
