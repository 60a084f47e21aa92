//! From user names to what the kernel knows.

use std::ffi::CString;

use nix::unistd::{User, getgrouplist};

use crate::request::Credentials;

/// A user that no task can run as.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// The name is not in the user database. Numbers are names like any other, never user ids.
    #[error("Failed to find user '{0}'")]
    Unknown(String),
    /// The user database could not be read.
    #[error("Failed to look up user '{name}'")]
    Lookup {
        /// Who was looked for.
        name: String,
        /// Why it failed.
        source: nix::errno::Errno,
    },
}

/// Looks a user up by name, with exactly the groups the database gives it.
pub fn resolve_user(name: &str) -> Result<Credentials, UserError> {
    let failed = |source| UserError::Lookup { name: name.to_owned(), source };
    let user = User::from_name(name).map_err(failed)?.ok_or_else(|| UserError::Unknown(name.to_owned()))?;
    let c_name = CString::new(name).map_err(|_| UserError::Unknown(name.to_owned()))?;
    let groups = getgrouplist(&c_name, user.gid).map_err(failed)?;
    Ok(Credentials {
        uid: user.uid.as_raw(),
        gid: user.gid.as_raw(),
        groups: groups.into_iter().map(|gid| gid.as_raw()).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_found_and_odd_names_never_fall_back_to_it() {
        let root = resolve_user("root").unwrap();
        assert_eq!((root.uid, root.gid), (0, 0));
        for name in ["", "0", "-1", "4294967296", "root:0:0", "root\0x", "no-such-user-here", "\u{661}"] {
            assert!(resolve_user(name).is_err(), "{name:?}");
        }
    }
}
