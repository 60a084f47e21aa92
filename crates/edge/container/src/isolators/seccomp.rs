//! linux/seccomp: which system calls there are.

use std::{
    collections::BTreeMap,
    path::{Component, Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use mezzo_mesos::v1::LinuxInfo;

use super::IsolationError;
use crate::filter::Filter;

pub(super) const NAME: &str = "linux/seccomp";

/// The largest profile that is read; Docker's own has a tenth of it.
const PROFILE_BYTES_MAX: u64 = 1 << 20;
/// Filters that are kept; a site has a handful of profiles, and sets of capabilities.
const FILTERS_KEPT: usize = 64;

/// By profile (none for ours) and capabilities.
type Filters = BTreeMap<(Option<String>, u64), Arc<Filter>>;

/// Profiles, and the filters that were made of them.
#[derive(Debug, Default)]
pub(super) struct Seccomp {
    folder: Option<PathBuf>,
    /// What containers get that do not ask.
    profile: Option<String>,
    made: Mutex<Filters>,
}

impl Seccomp {
    /// Reads the profile that containers get, so that a bad one is told at once.
    pub(super) fn start(folder: Option<&Path>, profile: Option<&str>) -> Result<Self, IsolationError> {
        let seccomp = Self {
            folder: folder.map(Path::to_path_buf),
            profile: profile.map(str::to_owned),
            made: Mutex::default(),
        };
        let refused = |reason| IsolationError::Host { name: NAME, reason };
        if seccomp.profile.is_some() && seccomp.folder.is_none() {
            return Err(refused("--seccomp_profile_name needs --seccomp_config_dir".to_owned()));
        }
        seccomp.filter(seccomp.profile.clone(), 0).map_err(refused)?;
        Ok(seccomp)
    }

    /// The filter of a container that may have one; `None` when it asks for none, or does not ask and is to
    /// have one only if the operator says so.
    pub(super) fn of(
        &self,
        linux: Option<&LinuxInfo>,
        capabilities: u64,
        restricted: bool,
    ) -> Result<Option<Arc<Filter>>, String> {
        let asked = linux.and_then(|linux| linux.seccomp.as_ref());
        let unconfined = asked.and_then(|seccomp| seccomp.unconfined).unwrap_or(false);
        match asked.and_then(|seccomp| seccomp.profile_name.as_ref()) {
            Some(_) if unconfined => Err("'profile_name' given even though 'unconfined' is set".to_owned()),
            Some(name) => self.filter(Some(name.clone()), capabilities).map(Some),
            None if unconfined => Ok(None),
            None if self.profile.is_some() || restricted => {
                self.filter(self.profile.clone(), capabilities).map(Some)
            }
            None => Ok(None),
        }
    }

    fn filter(&self, profile: Option<String>, capabilities: u64) -> Result<Arc<Filter>, String> {
        let key = (profile, capabilities);
        // Every change is one operation on the map.
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(filter) = made.get(&key) {
            return Ok(filter.clone());
        }
        let filter = match &key.0 {
            None => Filter::standard(capabilities),
            Some(name) => Filter::from_profile(&self.read(name)?, capabilities),
        };
        let filter = Arc::new(filter.map_err(|error| match &key.0 {
            Some(name) => format!("Failed to use seccomp profile '{name}': {error}"),
            None => error.to_string(),
        })?);
        if made.len() >= FILTERS_KEPT {
            made.clear();
        }
        made.insert(key, filter.clone());
        Ok(filter)
    }

    fn read(&self, name: &str) -> Result<String, String> {
        let path = Path::new(name);
        let Some(folder) = &self.folder else {
            return Err("Seccomp profiles need --seccomp_config_dir".to_owned());
        };
        if name.is_empty() || !path.components().all(|part| matches!(part, Component::Normal(_))) {
            return Err(format!("Seccomp profile '{name}' is not a path below --seccomp_config_dir"));
        }
        let failed = |error: std::io::Error| format!("Failed to read seccomp profile '{name}': {error}");
        let file = std::fs::File::open(folder.join(path)).map_err(failed)?;
        let mut text = String::new();
        let mut bounded = std::io::Read::take(file, PROFILE_BYTES_MAX);
        std::io::Read::read_to_string(&mut bounded, &mut text).map_err(failed)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use mezzo_mesos::v1::SeccompInfo;

    use super::*;

    fn linux(profile: Option<&str>, unconfined: Option<bool>) -> LinuxInfo {
        let seccomp = SeccompInfo { profile_name: profile.map(str::to_owned), unconfined };
        LinuxInfo { seccomp: Some(seccomp), ..LinuxInfo::default() }
    }

    #[test]
    fn a_container_has_what_it_asks_for_or_what_the_operator_says() {
        let folder = tempfile::tempdir().expect("a folder");
        let text = r#"{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": []}"#;
        std::fs::write(folder.path().join("strict.json"), text).expect("a file");
        let own = Seccomp::start(None, None).expect("started");
        assert!(own.of(None, 0, false).unwrap().is_none());
        assert!(own.of(None, 0, true).unwrap().is_some());
        assert!(own.of(Some(&linux(None, Some(true))), 0, true).unwrap().is_none());
        assert!(own.of(Some(&linux(Some("strict.json"), None)), 0, true).is_err(), "no folder");
        let set = Seccomp::start(Some(folder.path()), Some("strict.json")).expect("started");
        let filter = set.of(None, 0, false).unwrap().expect("a filter");
        assert!(Arc::ptr_eq(
            &filter,
            &set.of(Some(&linux(Some("strict.json"), None)), 0, true).unwrap().unwrap()
        ));
        assert!(set.of(Some(&linux(Some("strict.json"), Some(true))), 0, true).is_err());
        for bad in ["../strict.json", "/etc/passwd", "", "missing.json"] {
            assert!(set.of(Some(&linux(Some(bad), None)), 0, true).is_err(), "{bad}");
        }
        assert!(Seccomp::start(None, Some("strict.json")).is_err());
        assert!(Seccomp::start(Some(folder.path()), Some("missing.json")).is_err());
    }
}
