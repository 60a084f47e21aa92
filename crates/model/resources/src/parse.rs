//! The text of --resources.

use mezzo_ids::Role;
use mezzo_mesos::v1;

use crate::{InvalidResource, Ranges, Reservation, ReservationKind, Resource, Resources, Scalar, Set, Value};

/// A text that is not what its flag wants.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{text}': {why}")]
pub struct ParseError {
    text: String,
    why: &'static str,
}

impl ParseError {
    pub(crate) fn new(text: &str, why: &'static str) -> Self {
        Self { text: text.into(), why }
    }
}

/// What a value text can be. Only attributes may be words.
pub(crate) enum Parsed {
    Value(Value),
    Text(String),
}

/// Reads `name(role):value;name:value`. A resource without role is reserved to `default_role` unless
/// that is `*` (rule 446). Zeros, `[]` and `{}` are accepted and dropped (rule 437).
pub fn parse_resources(text: &str, default_role: &str) -> Result<Resources, ParseError> {
    let mut all = Resources::empty();
    for part in text.split(';').filter(|part| !part.trim().is_empty()) {
        let (head, value) = part
            .split_once(':')
            .ok_or_else(|| ParseError::new(part, "expected a name, a colon and a value"))?;
        if value.contains(':') {
            return Err(ParseError::new(part, "expected one colon, between name and value"));
        }
        let head = head.trim();
        let (name, role) = match head.split_once('(') {
            Some((name, rest)) => {
                let role = rest
                    .strip_suffix(')')
                    .filter(|role| !role.contains(['(', ')']))
                    .ok_or_else(|| ParseError::new(part, "the parentheses around the role do not match"))?;
                (name.trim(), role.trim())
            }
            None if head.contains(')') => {
                return Err(ParseError::new(part, "the parentheses around the role do not match"));
            }
            None => (head, default_role),
        };
        if name.is_empty() {
            return Err(ParseError::new(part, "the name is empty"));
        }
        if role.is_empty() {
            return Err(ParseError::new(part, "the role is empty"));
        }
        let Parsed::Value(value) = parse_value(value)? else {
            return Err(ParseError::new(part, "a resource is a number, ranges or a set"));
        };
        if all.iter().any(|other: &Resource| other.name == *name && !other.value.same_type(&value)) {
            return Err(ParseError::new(part, "the name has two types of values"));
        }
        let mut resource = Resource::new(name, value);
        if role != "*" {
            resource = resource.push_reservation(Reservation {
                kind: ReservationKind::Static,
                role: Role::from(role),
                principal: None,
                labels: None,
            });
        }
        // The message form knows every rule about names and roles.
        crate::validate_resource(&resource.to_proto(crate::Form::PostRefinement))
            .map_err(|_| ParseError::new(part, "the name or role is not valid"))?;
        all.add_one(&resource);
    }
    Ok(all)
}

/// Checks what the JSON form of --resources holds. A resource without role or reservations is reserved
/// to `default_role` unless that is `*` (rule 446). An agent can be told of its own hardware and of
/// static reservations; volumes, dynamic reservations and revocable resources come about later.
#[expect(deprecated, reason = "the flag may use the older forms")]
pub fn agent_resources(messages: &[v1::Resource], default_role: &str) -> Result<Resources, InvalidResource> {
    let mut all = Resources::empty();
    for message in messages {
        let mut message = message.clone();
        if message.role.is_none() && message.reservations.is_empty() {
            message.role = Some(default_role.into());
        }
        let resource = Resources::from_proto(std::slice::from_ref(&message))?;
        let refused = |what| InvalidResource::of(&message, what);
        if resource.iter().any(Resource::is_persistent_volume) {
            return Err(refused("persistent volumes cannot be given to an agent"));
        }
        if resource.iter().any(Resource::is_revocable) {
            return Err(refused("revocable resources cannot be given to an agent"));
        }
        if resource.iter().flat_map(Resource::reservations).any(|r| r.kind == ReservationKind::Dynamic) {
            return Err(refused("dynamic reservations cannot be given to an agent"));
        }
        for resource in resource {
            let same_name = |other: &&Resource| other.name == resource.name;
            if all.iter().filter(same_name).any(|other| !other.value.same_type(&resource.value)) {
                return Err(refused("the name has two types of values"));
            }
            all.add_one(&resource);
        }
    }
    Ok(all)
}

/// Reads a number, `[1-3, 7-9]`, `{a, b}`, or anything else as words. All blanks are removed first.
pub(crate) fn parse_value(text: &str) -> Result<Parsed, ParseError> {
    let bad = |why| ParseError::new(text, why);
    let squeezed: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    if squeezed.is_empty() {
        return Err(bad("the value is empty"));
    }
    if !balanced(&squeezed) {
        return Err(bad("the brackets do not match"));
    }
    if let Some(inner) = squeezed.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        let mut ranges = Vec::new();
        for range in inner.split(',').filter(|range| !range.is_empty()) {
            let bounds =
                range.split_once('-').and_then(|(begin, end)| Some((begin.parse().ok()?, end.parse().ok()?)));
            let (begin, end): (u64, u64) =
                bounds.ok_or_else(|| bad("a range is two whole numbers and a dash"))?;
            if begin > end {
                return Err(bad("a range begins after its end"));
            }
            ranges.push((begin, end));
        }
        return Ok(Parsed::Value(Value::Ranges(Ranges::merged(ranges))));
    }
    if let Some(inner) = squeezed.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
        let items: Vec<&str> = inner.split(',').filter(|item| !item.is_empty()).collect();
        let set: Set = items.iter().copied().collect();
        if set.iter().count() < items.len() {
            return Err(bad("a set repeats an item"));
        }
        return Ok(Parsed::Value(Value::Set(set)));
    }
    if squeezed.contains(['[', '{']) {
        return Err(bad("a bracket is only expected at the start"));
    }
    match squeezed.parse::<f64>() {
        Ok(number) if number.is_finite() && number >= 0.0 && !number.is_subnormal() => {
            Ok(Parsed::Value(Value::Scalar(Scalar::from_f64(number))))
        }
        _ => Ok(Parsed::Text(squeezed)),
    }
}

/// Whether brackets of each kind open before they close, and close.
fn balanced(text: &str) -> bool {
    [('[', ']'), ('{', '}'), ('(', ')')].into_iter().all(|(open, close)| {
        let mut depth = 0_usize;
        for c in text.chars() {
            if c == open {
                depth += 1;
            } else if c == close {
                let Some(outer) = depth.checked_sub(1) else { return false };
                depth = outer;
            }
        }
        depth == 0
    })
}
