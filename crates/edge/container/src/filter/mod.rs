//! Which system calls a container has: profiles in Docker's form, made into programs of the kernel's packet
//! filter before a container is launched.
//!
//! A program knows one answer beside letting pass, so a profile becomes one program per answer, all of which
//! a call has to pass; where several object, the kernel takes the strictest answer. A call by another
//! architecture's numbers ends the process (attack A029).

mod profile;

use std::collections::BTreeMap;

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, SeccompRule, TargetArch};

pub use profile::ProfileError;
use profile::{Profile, Rules};

/// The profile of containers with an image that ask for nothing else.
const DEFAULT: &str = include_str!("default.json");

/// Programs of the kernel's packet filter, each of which must let a system call pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    programs: Vec<Vec<u8>>,
    /// In the form of the OCI runtime specification (JSON).
    for_runtimes: Vec<u8>,
}

impl Filter {
    /// The filter of a profile in Docker's form (JSON) for a container with these capabilities: some system
    /// calls go with a capability.
    pub fn from_profile(text: &str, capabilities: u64) -> Result<Self, ProfileError> {
        let profile = Profile::parse(text)?;
        let architecture =
            TargetArch::try_from(std::env::consts::ARCH).map_err(|_| ProfileError::Architecture)?;
        let rules = profile.rules(capabilities)?;
        let otherwise = profile.otherwise()?;
        let mut programs = Vec::new();
        let mut add = |rules: Rules, mismatch: SeccompAction, matched: SeccompAction| {
            let program = program(rules, mismatch, matched, architecture)?;
            programs.push(program);
            Ok::<(), ProfileError>(())
        };
        let mut named = Rules::new();
        let mut answers: BTreeMap<String, (SeccompAction, Rules)> = BTreeMap::new();
        for (action, call, rule) in rules {
            if action == otherwise {
                continue;
            }
            join(&mut named, call, rule.clone());
            if action != SeccompAction::Allow {
                let answer = answers.entry(format!("{action:?}")).or_insert((action, Rules::new()));
                join(&mut answer.1, call, rule);
            }
        }
        // The one with the most to object comes last: it is not asked about installing the others.
        for (action, rules) in answers.into_values() {
            add(rules, SeccompAction::Allow, action)?;
        }
        if otherwise != SeccompAction::Allow {
            add(named, otherwise, SeccompAction::Allow)?;
        }
        let for_runtimes = serde_json::to_vec(&profile.for_runtimes(capabilities))?;
        Ok(Self { programs, for_runtimes })
    }

    /// The filter of the default profile.
    pub fn standard(capabilities: u64) -> Result<Self, ProfileError> {
        Self::from_profile(DEFAULT, capabilities)
    }

    /// Each as the kernel takes it: instructions of eight bytes.
    pub fn programs(&self) -> &[Vec<u8>] {
        &self.programs
    }

    /// The same for a runtime of somebody else's, which makes programs of it itself.
    pub(crate) fn for_runtimes(&self) -> &[u8] {
        &self.for_runtimes
    }
}

/// A call without conditions matches always, whatever other rules say about it.
fn join(rules: &mut Rules, call: i64, rule: Option<SeccompRule>) {
    match (rules.get_mut(&call), rule) {
        (None, rule) => drop(rules.insert(call, rule.into_iter().collect())),
        (Some(known), None) => known.clear(),
        (Some(known), Some(_)) if known.is_empty() => {}
        (Some(known), Some(rule)) => known.push(rule),
    }
}

fn program(
    rules: Rules,
    mismatch: SeccompAction,
    matched: SeccompAction,
    architecture: TargetArch,
) -> Result<Vec<u8>, ProfileError> {
    let filter = SeccompFilter::new(rules, mismatch, matched, architecture)
        .map_err(|error| ProfileError::Filter(error.to_string()))?;
    let program: BpfProgram = filter
        .try_into()
        .map_err(|error: seccompiler::BackendError| ProfileError::Filter(error.to_string()))?;
    let mut bytes = Vec::with_capacity(program.len() * 8);
    for instruction in program {
        bytes.extend_from_slice(&instruction.code.to_ne_bytes());
        bytes.extend_from_slice(&[instruction.jt, instruction.jf]);
        bytes.extend_from_slice(&instruction.k.to_ne_bytes());
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_profile_becomes_small_programs() {
        let filter = Filter::standard(0).expect("a filter");
        assert!(filter.programs().len() >= 3);
        let bytes: usize = filter.programs().iter().map(Vec::len).sum();
        // It travels with every launch.
        assert!(bytes < 64 * 1024, "{bytes}");
        assert!(Filter::standard(u64::MAX).expect("a filter") != filter, "capabilities bring calls along");
    }

    #[test]
    fn a_call_with_and_without_conditions_is_one_without() {
        let text = r#"{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
            {"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]},
            {"name": "read", "action": "SCMP_ACT_ALLOW"},
            {"names": ["no_such_call", "write"], "action": "SCMP_ACT_ALLOW"}]}"#;
        let plain = r#"{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
            {"names": ["write", "read"], "action": "SCMP_ACT_ALLOW"}]}"#;
        let programs = |text| Filter::from_profile(text, 0).expect("a filter").programs;
        assert_eq!(programs(text), programs(plain));
    }

    #[test]
    fn other_runtimes_get_only_what_applies() {
        let text = r#"{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
            {"names": ["mount", "no_such_call"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN"]}},
            {"names": ["read"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1},
            {"names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": [
                {"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}, {"index": 0, "value": 2, "op": "SCMP_CMP_EQ"}]}]}"#;
        let profile = |capabilities| -> serde_json::Value {
            let filter = Filter::from_profile(text, capabilities).expect("a filter");
            serde_json::from_slice(filter.for_runtimes()).expect("a profile")
        };
        let none = profile(0);
        assert_eq!(none["defaultErrnoRet"], 1);
        let calls = none["syscalls"].as_array().expect("a list");
        assert!(
            calls.len() == 2 && calls.iter().all(|call| call["args"].as_array().unwrap().len() == 1),
            "{calls:?}"
        );
        assert_eq!(profile(u64::MAX)["syscalls"][0]["names"], serde_json::json!(["mount"]));
    }

    #[test]
    fn profiles_that_make_no_sense_are_refused() {
        for text in [
            "",
            "[]",
            "{}",
            r#"{"defaultAction": "SCMP_ACT_NOTIFY"}"#,
            r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"], "action": "allow"}]}"#,
            r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_KILL",
                "args": [{"index": 6, "value": 0, "op": "SCMP_CMP_EQ"}]}]}"#,
        ] {
            assert!(Filter::from_profile(text, 0).is_err(), "{text}");
        }
    }
}
