//! Which networks there are, and the programs of their plugins.

use std::{
    ffi::OsString,
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use super::{NAME, NetworkError, Networks, answer, config::Network, error::system};
use crate::isolators::IsolationError;

/// Files of the configuration folder that are looked at.
const FILES_MAX: usize = 256;
/// The largest configuration. Those in use have a few kilobytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

impl Networks {
    /// The configuration of a network. It is looked for at each launch, so that the operator can change what
    /// networks there are.
    pub(super) fn find(&self, name: &str) -> Result<Network, NetworkError> {
        let Some(folder) = &self.settings.config_dir else {
            return Err(NetworkError::NoNetworks(name.escape_debug().to_string()));
        };
        let mut others = String::new();
        for (file, network) in configurations(folder).map_err(system("read --network_cni_config_dir"))? {
            match network {
                Ok(network) if network.name == name => return Ok(network),
                Ok(_) => {}
                Err(why) => others.push_str(&format!("; '{}' cannot be read: {why}", file.display())),
            }
        }
        let name = name.escape_debug().to_string();
        Err(NetworkError::Unknown { name, folder: folder.clone(), others: answer::words(&others) })
    }

    /// The file of a plugin.
    pub(super) fn program(&self, plugin: &str) -> Result<PathBuf, String> {
        let is_program = |path: &PathBuf| {
            fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
        };
        let found = self.settings.plugin_dirs.iter().map(|folder| folder.join(plugin)).find(is_program);
        found.ok_or_else(|| {
            let folders = self.folders();
            format!("there is no such program in --network_cni_plugins_dir={}", folders.to_string_lossy())
        })
    }

    pub(super) fn folders(&self) -> OsString {
        std::env::join_paths(&self.settings.plugin_dirs).unwrap_or_default()
    }

    /// Configurations that cannot be used do not stop an agent: others can, and they may be mended while it
    /// runs.
    pub(super) fn say_what_is_wrong(&self) {
        let Some(folder) = &self.settings.config_dir else { return };
        for (file, network) in configurations(folder).unwrap_or_default() {
            let file = file.display();
            let network = match network {
                Ok(network) => network,
                Err(why) => {
                    tracing::warn!(%file, why, "the configuration of a network cannot be used");
                    continue;
                }
            };
            for (_, plugin) in network.programs() {
                if let Err(why) = self.program(plugin) {
                    tracing::warn!(%file, network = network.name, plugin, why, "a network cannot be joined");
                }
            }
        }
    }
}

/// The networks of a folder's files, in the order of their names, each with its file or the reason why it
/// cannot be used.
pub(super) fn configurations(folder: &Path) -> io::Result<Vec<(PathBuf, Result<Network, String>)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let extension = path.extension().and_then(|extension| extension.to_str());
        if matches!(extension, Some("conflist" | "conf" | "json")) {
            files.push(path);
        }
        if files.len() > FILES_MAX {
            return Err(io::Error::other(format!("it has more than {FILES_MAX} files")));
        }
    }
    files.sort();
    let read = |path: PathBuf| {
        let network = read_limited(&path, FILE_BYTES_MAX)
            .map_err(|error| error.to_string())
            .and_then(|text| Network::parse(&text).map_err(|error| error.to_string()));
        (path, network)
    };
    Ok(files.into_iter().map(read).collect())
}

pub(super) fn read_limited(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(fs::File::open(path)?, bytes_max + 1), &mut text)?;
    if text.len() as u64 > bytes_max {
        return Err(io::Error::other(format!("it has more than {bytes_max} bytes")));
    }
    Ok(text)
}

/// Whether networks can be joined on this host at all.
pub(super) fn check_host(folder: &Path) -> Result<(), IsolationError> {
    let refused = |reason: String| Err(IsolationError::Host { name: NAME, reason });
    if !rustix::process::geteuid().is_root() {
        return refused("network namespaces need root".to_owned());
    }
    if !crate::mount_api::is_there() {
        return refused("this kernel cannot change mounts by descriptor, as those since 5.12 can".to_owned());
    }
    match configurations(folder) {
        Ok(_) => Ok(()),
        Err(error) => refused(format!("--network_cni_config_dir={}: {error}", folder.display())),
    }
}
