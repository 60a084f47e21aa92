//! posix/rlimits: limits that the kernel keeps per process.

use mezzo_mesos::v1::{RLimitInfo, r_limit_info::r_limit::Type};
use nix::libc;

use crate::request::Rlimit;

/// Turns the limits of a ContainerInfo into numbers for the kernel. A limit without values is
/// unlimited; with only one of the two values it is refused, as is an unknown kind or a soft limit
/// above the hard one.
pub fn rlimits_of(info: &RLimitInfo) -> Result<Vec<Rlimit>, String> {
    info.rlimits
        .iter()
        .map(|limit| {
            let resource = match limit.r#type() {
                Type::RlmtAs => libc::RLIMIT_AS,
                Type::RlmtCore => libc::RLIMIT_CORE,
                Type::RlmtCpu => libc::RLIMIT_CPU,
                Type::RlmtData => libc::RLIMIT_DATA,
                Type::RlmtFsize => libc::RLIMIT_FSIZE,
                Type::RlmtLocks => libc::RLIMIT_LOCKS,
                Type::RlmtMemlock => libc::RLIMIT_MEMLOCK,
                Type::RlmtMsgqueue => libc::RLIMIT_MSGQUEUE,
                Type::RlmtNice => libc::RLIMIT_NICE,
                Type::RlmtNofile => libc::RLIMIT_NOFILE,
                Type::RlmtNproc => libc::RLIMIT_NPROC,
                Type::RlmtRss => libc::RLIMIT_RSS,
                Type::RlmtRtprio => libc::RLIMIT_RTPRIO,
                Type::RlmtRttime => libc::RLIMIT_RTTIME,
                Type::RlmtSigpending => libc::RLIMIT_SIGPENDING,
                Type::RlmtStack => libc::RLIMIT_STACK,
                Type::Unknown => return Err("Unknown resource limit".to_owned()),
            };
            let (soft, hard) = match (limit.soft, limit.hard) {
                (None, None) => (u64::MAX, u64::MAX),
                (Some(soft), Some(hard)) if soft <= hard => (soft, hard),
                (Some(_), Some(_)) => return Err("A soft resource limit is above its hard limit".to_owned()),
                _ => return Err("A resource limit has only one of its two values".to_owned()),
            };
            Ok(Rlimit { resource, soft, hard })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use mezzo_mesos::v1::r_limit_info::RLimit;

    use super::*;

    fn check(soft: Option<u64>, hard: Option<u64>) -> Result<Vec<Rlimit>, String> {
        let limit = RLimit { r#type: Some(Type::RlmtNofile.into()), soft, hard };
        rlimits_of(&RLimitInfo { rlimits: vec![limit] })
    }

    #[test]
    fn limits_need_both_values_or_none() {
        assert_eq!(check(Some(1), Some(2)).unwrap(), [Rlimit { resource: 7, soft: 1, hard: 2 }]);
        assert_eq!(check(None, None).unwrap()[0].hard, u64::MAX);
        assert!(check(Some(1), None).is_err());
        assert!(check(Some(3), Some(2)).is_err());
        let unknown = RLimitInfo { rlimits: vec![RLimit::default()] };
        assert!(rlimits_of(&unknown).is_err());
    }
}
