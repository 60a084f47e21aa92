//! Docker's form of a system call profile.

use std::{collections::BTreeMap, str::FromStr};

use seccompiler::{SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompRule};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::isolators::capability_number;

/// Rules per system call; a call without rules matches always.
pub(super) type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// A profile that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// No profile at all.
    #[error("read the seccomp profile: {0}")]
    Json(#[from] serde_json::Error),
    /// What is done to a system call is not known, or needs somebody who watches.
    #[error("the seccomp profile has the unsupported action '{0}'")]
    Action(String),
    /// How an argument is compared is not known.
    #[error("the seccomp profile has the unsupported comparison '{0}'")]
    Comparison(String),
    /// The rules cannot be made into a filter.
    #[error("make a filter of the seccomp profile: {0}")]
    Filter(String),
    /// There are no filters for this processor.
    #[error("system calls cannot be filtered on this processor")]
    Architecture,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Profile {
    default_action: String,
    default_errno_ret: Option<u32>,
    #[serde(default)]
    syscalls: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    #[serde(default)]
    names: Vec<String>,
    name: Option<String>,
    action: String,
    errno_ret: Option<u32>,
    #[serde(default)]
    args: Option<Vec<Argument>>,
    #[serde(default)]
    includes: Option<Circumstances>,
    #[serde(default)]
    excludes: Option<Circumstances>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Argument {
    index: u8,
    value: u64,
    #[serde(default)]
    value_two: u64,
    op: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Circumstances {
    #[serde(default)]
    caps: Vec<String>,
    #[serde(default)]
    arches: Vec<String>,
}

impl Profile {
    pub(super) fn parse(text: &str) -> Result<Self, ProfileError> {
        Ok(serde_json::from_str(text)?)
    }

    /// What is done to a call that no rule names.
    pub(super) fn otherwise(&self) -> Result<SeccompAction, ProfileError> {
        action(&self.default_action, self.default_errno_ret)
    }

    /// What applies to a container with these capabilities on this machine: what is done, to which call, and
    /// under which conditions. Names that this machine does not know are calls that nobody can make.
    pub(super) fn rules(
        &self,
        capabilities: u64,
    ) -> Result<Vec<(SeccompAction, i64, Option<SeccompRule>)>, ProfileError> {
        let mut rules = Vec::new();
        for entry in self.applicable(capabilities) {
            let action = action(&entry.action, entry.errno_ret)?;
            let conditions = conditions(entry.args.as_deref().unwrap_or_default())?;
            for name in entry.names.iter().chain(&entry.name) {
                let Ok(call) = syscalls::Sysno::from_str(name) else { continue };
                let number = i64::from(call.id());
                match &conditions {
                    None => rules.push((action.clone(), number, None)),
                    Some(alternatives) => {
                        for rule in alternatives {
                            rules.push((action.clone(), number, Some(rule.clone())));
                        }
                    }
                }
            }
        }
        Ok(rules)
    }

    /// The same in the form of the OCI runtime specification, where nothing depends on capabilities any more.
    pub(super) fn for_runtimes(&self, capabilities: u64) -> Value {
        let default_errno = self.default_errno_ret.or_else(|| errno_of(&self.default_action));
        let mut calls = Vec::new();
        for entry in self.applicable(capabilities) {
            let errno = entry.errno_ret.or_else(|| errno_of(&entry.action));
            // Runtimes refuse a rule that says what is the case without it.
            if entry.action == self.default_action && errno == default_errno {
                continue;
            }
            let known = entry.names.iter().chain(&entry.name);
            let names: Vec<&String> = known.filter(|name| syscalls::Sysno::from_str(name).is_ok()).collect();
            if names.is_empty() {
                continue;
            }
            for arguments in alternatives(entry.args.as_deref().unwrap_or_default()) {
                let mut call = json!({ "names": names, "action": entry.action });
                if let Some(errno) = errno {
                    call["errnoRet"] = errno.into();
                }
                if !arguments.is_empty() {
                    call["args"] = arguments.into();
                }
                calls.push(call);
            }
        }
        let mut profile = json!({ "defaultAction": self.default_action, "syscalls": calls });
        if let Some(errno) = default_errno {
            profile["defaultErrnoRet"] = errno.into();
        }
        if let Some(architecture) = own_architecture() {
            profile["architectures"] = json!([architecture]);
        }
        profile
    }

    fn applicable(&self, capabilities: u64) -> impl Iterator<Item = &Entry> {
        self.syscalls.iter().filter(move |entry| {
            let included = entry.includes.as_ref().is_none_or(|what| what.all_hold(capabilities));
            let excluded = entry.excludes.as_ref().is_some_and(|what| what.any_holds(capabilities));
            included && !excluded
        })
    }
}

/// "Operation not permitted", where an answer is a number and nothing else is said.
fn errno_of(action: &str) -> Option<u32> {
    (action == "SCMP_ACT_ERRNO").then_some(1)
}

fn own_architecture() -> Option<&'static str> {
    match std::env::consts::ARCH {
        "x86_64" => Some("SCMP_ARCH_X86_64"),
        "aarch64" => Some("SCMP_ARCH_AARCH64"),
        _ => None,
    }
}

/// Lists of conditions, all of which must hold; one list where each condition is on an argument of its own, and one
/// per condition otherwise (see [`conditions`]).
fn alternatives(arguments: &[Argument]) -> Vec<Vec<Value>> {
    let condition = |argument: &Argument| {
        json!({
            "index": argument.index,
            "value": argument.value,
            "valueTwo": argument.value_two,
            "op": argument.op,
        })
    };
    if is_repeated(arguments) {
        arguments.iter().map(|argument| vec![condition(argument)]).collect()
    } else {
        vec![arguments.iter().map(condition).collect()]
    }
}

/// Whether there are several conditions on one argument.
fn is_repeated(arguments: &[Argument]) -> bool {
    let mut seen = [false; 256];
    arguments.iter().any(|argument| std::mem::replace(&mut seen[usize::from(argument.index)], true))
}

impl Circumstances {
    fn all_hold(&self, capabilities: u64) -> bool {
        self.caps.iter().all(|name| has(capabilities, name))
            && (self.arches.is_empty() || self.arches.iter().any(|name| is_own(name)))
    }

    fn any_holds(&self, capabilities: u64) -> bool {
        self.caps.iter().any(|name| has(capabilities, name)) || self.arches.iter().any(|name| is_own(name))
    }
}

fn has(capabilities: u64, name: &str) -> bool {
    let number = name.strip_prefix("CAP_").and_then(capability_number);
    number.is_some_and(|number| capabilities & (1 << number) != 0)
}

/// Architectures by the names that Docker has for them.
fn is_own(name: &str) -> bool {
    match std::env::consts::ARCH {
        "x86_64" => matches!(name, "amd64" | "x86_64" | "SCMP_ARCH_X86_64"),
        "aarch64" => matches!(name, "arm64" | "aarch64" | "SCMP_ARCH_AARCH64"),
        own => name == own,
    }
}

fn action(name: &str, errno: Option<u32>) -> Result<SeccompAction, ProfileError> {
    Ok(match name {
        "SCMP_ACT_ALLOW" => SeccompAction::Allow,
        // "Operation not permitted", unless something else is said.
        "SCMP_ACT_ERRNO" => SeccompAction::Errno(errno.unwrap_or(1)),
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => SeccompAction::KillThread,
        "SCMP_ACT_KILL_PROCESS" => SeccompAction::KillProcess,
        "SCMP_ACT_TRAP" => SeccompAction::Trap,
        "SCMP_ACT_LOG" => SeccompAction::Log,
        other => return Err(ProfileError::Action(other.to_owned())),
    })
}

/// Conditions on different arguments must all hold; of several on the same argument, any. `None` when there
/// are none.
fn conditions(arguments: &[Argument]) -> Result<Option<Vec<SeccompRule>>, ProfileError> {
    if arguments.is_empty() {
        return Ok(None);
    }
    let refused = |error: seccompiler::BackendError| ProfileError::Filter(error.to_string());
    let mut conditions = Vec::with_capacity(arguments.len());
    for argument in arguments {
        // A mask comes first, and what it must leave second.
        let (operator, value) = match argument.op.as_str() {
            "SCMP_CMP_EQ" => (SeccompCmpOp::Eq, argument.value),
            "SCMP_CMP_NE" => (SeccompCmpOp::Ne, argument.value),
            "SCMP_CMP_GT" => (SeccompCmpOp::Gt, argument.value),
            "SCMP_CMP_GE" => (SeccompCmpOp::Ge, argument.value),
            "SCMP_CMP_LT" => (SeccompCmpOp::Lt, argument.value),
            "SCMP_CMP_LE" => (SeccompCmpOp::Le, argument.value),
            "SCMP_CMP_MASKED_EQ" => (SeccompCmpOp::MaskedEq(argument.value), argument.value_two),
            other => return Err(ProfileError::Comparison(other.to_owned())),
        };
        // The kernel itself looks at 32 bits of most numbers: bits above must not make them another one.
        let length = if argument.value.max(argument.value_two) > u64::from(u32::MAX) {
            SeccompCmpArgLen::Qword
        } else {
            SeccompCmpArgLen::Dword
        };
        conditions.push(SeccompCondition::new(argument.index, length, operator, value).map_err(refused)?);
    }
    let alternatives = if is_repeated(arguments) {
        conditions.into_iter().map(|condition| SeccompRule::new(vec![condition])).collect()
    } else {
        SeccompRule::new(conditions).map(|rule| vec![rule])
    };
    alternatives.map(Some).map_err(refused)
}
