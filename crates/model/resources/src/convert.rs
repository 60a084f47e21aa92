//! To and from the message, in its three forms.

use std::sync::Arc;

use mezzo_ids::{Principal, ResourceProviderId, Role};
use mezzo_mesos::v1::{
    self,
    resource::{ReservationInfo, disk_info::source::Type as SourceType, reservation_info},
    value,
};

use crate::{
    Overlap, Ranges, Reservation, ReservationKind, Resource, Resources, Scalar, Set, Value, display_proto,
};

/// How reservations are written into messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `role`, and `reservation` for dynamic ones. A refined reservation has no such form and is
    /// written as [`Form::PostRefinement`].
    PreRefinement,
    /// `reservations` only.
    PostRefinement,
    /// Both, as /slaves and the operator API show it; only `reservations` when refined (rule 440).
    Endpoint,
}

/// Resources in one list. Adding compares with every other, so this bounds what one request can cost;
/// agents and tasks have tens.
const MESSAGES_MAX: usize = 2048;
/// Ranges and items in one list, for the same reason: as many as there are when every second of all
/// ports is free.
const PIECES_MAX: usize = 32_768;

/// A message that is no resource. The text is Mesos'.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidResource(String);

impl InvalidResource {
    /// Names the resource.
    pub(crate) fn of(message: &v1::Resource, why: &str) -> Self {
        Self(format!("Resource '{}' is invalid: {why}", display_proto(message)))
    }

    fn new<T>(text: impl Into<String>) -> Result<T, Self> {
        Err(Self(text.into()))
    }
}

impl Resources {
    /// Checks and adds up a list of messages, in any form. Errors name the resource.
    pub fn from_proto(messages: &[v1::Resource]) -> Result<Self, InvalidResource> {
        if messages.len() > MESSAGES_MAX {
            return InvalidResource::new(format!("More than {MESSAGES_MAX} resources in one list"));
        }
        let mut all = Self::with_capacity(messages.len());
        let mut pieces = 0;
        for message in messages {
            pieces += message.ranges.as_ref().map_or(0, |ranges| ranges.range.len());
            pieces += message.set.as_ref().map_or(0, |set| set.item.len());
            if pieces > PIECES_MAX {
                return InvalidResource::new(format!("More than {PIECES_MAX} ranges and items in one list"));
            }
            let resource = Resource::from_proto(message)
                .map_err(|InvalidResource(why)| InvalidResource::of(message, &why))?;
            all.add_one(&resource);
        }
        Ok(all)
    }

    /// As messages; a shared resource is one message per copy.
    pub fn to_proto(&self, form: Form) -> Vec<v1::Resource> {
        let copies = |resource: &Resource| resource.copies.unwrap_or(1) as usize;
        self.iter().flat_map(|r| std::iter::repeat_n(r.to_proto(form), copies(r))).collect()
    }
}

/// Checks one message, in any form. The error does not name the resource.
pub fn validate_resource(message: &v1::Resource) -> Result<(), InvalidResource> {
    Resource::from_proto(message).map(drop)
}

impl Resource {
    /// Reads one message, in any form (rules 439, 441 to 443). The error does not name the resource.
    pub fn from_proto(message: &v1::Resource) -> Result<Self, InvalidResource> {
        if message.name.is_empty() {
            return InvalidResource::new("Empty resource name");
        }
        let value = value_from(message)?;
        check_disk(message)?;
        let reservations = reservations_from(message)?;
        let persistence = message.disk.as_ref().and_then(|disk| disk.persistence.as_ref());
        if message.shared.is_some() && persistence.is_none() {
            return InvalidResource::new("Only persistent volumes can be shared");
        }
        if message.revocable.is_some() && persistence.is_some() {
            return InvalidResource::new("Persistent volumes cannot be revocable");
        }
        Ok(Self { value, ..attributes_of(message) }.with_reservations(&reservations))
    }

    /// As a message, without looking at copies.
    pub fn to_proto(&self, form: Form) -> v1::Resource {
        let mut message = v1::Resource {
            provider_id: self
                .provider_id
                .as_ref()
                .map(|id| v1::ResourceProviderId { value: id.as_str().into() }),
            name: String::from(&*self.name),
            allocation_info: self
                .allocation_role
                .as_ref()
                .map(|role| v1::resource::AllocationInfo { role: Some(role.as_str().into()) }),
            disk: self.disk.as_deref().cloned().map(Box::new),
            revocable: self.revocable.then(v1::resource::RevocableInfo::default),
            shared: self.copies.map(|_| v1::resource::SharedInfo::default()),
            ..v1::Resource::default()
        };
        match &self.value {
            Value::Scalar(amount) => {
                message.set_type(value::Type::Scalar);
                message.scalar = Some(value::Scalar { value: amount.as_f64() });
            }
            Value::Ranges(ranges) => {
                message.set_type(value::Type::Ranges);
                let range = ranges.iter().map(|(begin, end)| value::Range { begin, end }).collect();
                message.ranges = Some(value::Ranges { range });
            }
            Value::Set(set) => {
                message.set_type(value::Type::Set);
                message.set = Some(value::Set { item: set.iter().map(String::from).collect() });
            }
        }
        self.write_reservations(form, &mut message);
        message
    }

    #[expect(deprecated, reason = "the older forms are made of the fields that the newer one replaces")]
    fn write_reservations(&self, form: Form, message: &mut v1::Resource) {
        let stack = self.reservations();
        if form != Form::PreRefinement || stack.len() > 1 {
            message.reservations = stack.iter().map(reservation_to).collect();
        }
        if form == Form::PostRefinement {
            return;
        }
        match stack {
            [] => message.role = Some("*".into()),
            [only] => {
                message.role = Some(only.role.as_str().into());
                if only.kind == ReservationKind::Dynamic {
                    message.reservation =
                        Some(Box::new(ReservationInfo { r#type: None, role: None, ..reservation_to(only) }));
                }
            }
            [..] => {}
        }
    }
}

/// Everything but the amount and the reservations.
fn attributes_of(message: &v1::Resource) -> Resource {
    let allocation_role = message.allocation_info.as_ref().and_then(|info| info.role.as_deref());
    Resource::new(message.name.as_str(), Value::Scalar(Scalar::ZERO))
        .with_allocation_role(allocation_role.map(Role::from))
        .with_disk(message.disk.as_deref().cloned())
        .with_provider_id(message.provider_id.as_ref().map(|id| ResourceProviderId::from(id.value.as_str())))
        .with_revocable(message.revocable.is_some())
        .with_copies(message.shared.map(|_| 1))
}

/// As much of a resource as can be made of a message that may be wrong.
pub(crate) fn lenient(message: &v1::Resource) -> Resource {
    attributes_of(message).with_reservations(&stack_from(message))
}

fn value_from(message: &v1::Resource) -> Result<Value, InvalidResource> {
    let (scalar, ranges, set) = (&message.scalar, &message.ranges, &message.set);
    match value::Type::try_from(message.r#type) {
        Ok(value::Type::Scalar) => match (scalar, ranges, set) {
            (Some(scalar), None, None) => scalar_from(scalar.value).map(Value::Scalar),
            _ => InvalidResource::new("Invalid scalar resource"),
        },
        Ok(value::Type::Ranges) => match (scalar, ranges, set) {
            (None, Some(ranges), None) => {
                match Ranges::strict(ranges.range.iter().map(|range| (range.begin, range.end))) {
                    Ok(ranges) => Ok(Value::Ranges(ranges)),
                    Err(Overlap::Inverted) => InvalidResource::new("Invalid ranges resource: begin > end"),
                    Err(Overlap::Overlapping) => {
                        InvalidResource::new("Invalid ranges resource: overlapping ranges")
                    }
                }
            }
            _ => InvalidResource::new("Invalid ranges resource"),
        },
        Ok(value::Type::Set) => match (scalar, ranges, set) {
            (None, None, Some(set)) => {
                let items: Set = set.item.iter().map(String::as_str).collect();
                if items.iter().count() < set.item.len() {
                    return InvalidResource::new("Invalid set resource: duplicated elements");
                }
                Ok(Value::Set(items))
            }
            _ => InvalidResource::new("Invalid set resource"),
        },
        // Rule 443.
        Ok(value::Type::Text) => InvalidResource::new("Unsupported resource type"),
        Err(_) => InvalidResource::new("Invalid resource type"),
    }
}

/// Rule 442. An exact zero is a valid way to say nothing; what only rounds to zero is not.
fn scalar_from(number: f64) -> Result<Scalar, InvalidResource> {
    let scalar = Scalar::from_f64(number);
    match number.classify() {
        std::num::FpCategory::Infinite => {
            InvalidResource::new("Invalid scalar resource: Infinite values not supported")
        }
        std::num::FpCategory::Nan => InvalidResource::new("Invalid scalar resource: NaN not supported"),
        std::num::FpCategory::Subnormal => {
            InvalidResource::new("Invalid scalar resource: Subnormal values not supported")
        }
        std::num::FpCategory::Zero => Ok(scalar),
        std::num::FpCategory::Normal if scalar.is_zero() => {
            InvalidResource::new("Invalid scalar resource: value <= 0")
        }
        std::num::FpCategory::Normal => Ok(scalar),
    }
}

/// Rule 441.
fn check_disk(message: &v1::Resource) -> Result<(), InvalidResource> {
    let Some(disk) = &message.disk else { return Ok(()) };
    if message.name != "disk" {
        return InvalidResource::new(format!("DiskInfo should not be set for {} resource", message.name));
    }
    match &disk.source {
        Some(source) if matches!(SourceType::try_from(source.r#type), Err(_) | Ok(SourceType::Unknown)) => {
            InvalidResource::new("Unsupported 'DiskInfo.Source.Type'")
        }
        _ => Ok(()),
    }
}

/// The stack that a message stands for, whichever form it has; nothing is checked.
#[expect(deprecated, reason = "the older forms are made of the fields that the newer one replaces")]
fn stack_from(message: &v1::Resource) -> Vec<Reservation> {
    if !message.reservations.is_empty() {
        return message.reservations.iter().map(reservation_from).collect();
    }
    let role = message.role.as_deref().unwrap_or("*");
    match &message.reservation {
        Some(reservation) => vec![Reservation {
            kind: ReservationKind::Dynamic,
            role: Role::from(role),
            ..reservation_from(reservation)
        }],
        None if role == "*" => Vec::new(),
        None => vec![Reservation {
            kind: ReservationKind::Static,
            role: Role::from(role),
            principal: None,
            labels: None,
        }],
    }
}

/// Rule 439, and the rules of the list.
#[expect(deprecated, reason = "the older forms are made of the fields that the newer one replaces")]
fn reservations_from(message: &v1::Resource) -> Result<Vec<Reservation>, InvalidResource> {
    let stack = stack_from(message);
    if message.reservations.is_empty() {
        if let Some(reservation) = &message.reservation {
            if message.role.as_deref().unwrap_or("*") == "*" {
                return InvalidResource::new(
                    "Invalid reservation: role \"*\" cannot be dynamically reserved",
                );
            }
            if reservation.role.is_some() {
                return InvalidResource::new(
                    "'Resource.ReservationInfo.role' field must not be set for 'Resource.reservation'",
                );
            }
        }
        if let Some(reservation) = stack.first() {
            check_role(&reservation.role)?;
        }
        return Ok(stack);
    }
    for (reservation, message) in stack.iter().zip(&message.reservations) {
        if !matches!(message.r#type(), reservation_info::Type::Static | reservation_info::Type::Dynamic) {
            return InvalidResource::new(
                "Invalid reservation: 'Resource.ReservationInfo.type' field must be set",
            );
        }
        if message.role.is_none() {
            return InvalidResource::new(
                "Invalid reservation: 'Resource.ReservationInfo.role' field must be set",
            );
        }
        check_role(&reservation.role)?;
        if reservation.role.as_str() == "*" {
            return InvalidResource::new("Invalid reservation: role \"*\" cannot be reserved");
        }
    }
    for pair in stack.windows(2) {
        let (outer, inner) = (&pair[0], &pair[1]);
        if inner.kind == ReservationKind::Static {
            return InvalidResource::new(
                "Invalid refined reservation: A refined reservation cannot be STATIC",
            );
        }
        let below = inner.role.strip_prefix(outer.role.as_str()).is_some_and(|rest| rest.starts_with('/'));
        if !below {
            return InvalidResource::new(format!(
                "Invalid refined reservation: role '{}' is not a refinement of '{}'",
                inner.role, outer.role
            ));
        }
    }
    // The endpoint form repeats one reservation in the older fields; anything else contradicts.
    let older = v1::Resource { reservations: Vec::new(), ..message.clone() };
    if message.reservation.is_some() || message.role.as_deref().is_some_and(|role| role != "*") {
        let same = stack_from(&older) == stack;
        if !same {
            return InvalidResource::new(
                "'Resource.role' and 'Resource.reservation' must not be set when 'Resource.reservations' is",
            );
        }
    }
    Ok(stack)
}

/// The rules of role names, for roles that a resource is reserved to.
fn check_role(role: &str) -> Result<(), InvalidResource> {
    if role == "*" {
        return Ok(());
    }
    let invalid = |why: &str| InvalidResource::new(format!("Invalid role '{role}': {why}"));
    if role.is_empty() {
        return invalid("Empty role name");
    }
    if role.starts_with('/') {
        return invalid(&format!("Role '{role}' cannot start with a slash"));
    }
    if role.ends_with('/') {
        return invalid(&format!("Role '{role}' cannot end with a slash"));
    }
    for part in role.split('/') {
        if part.is_empty() {
            return invalid(&format!("Role '{role}' cannot contain two adjacent slashes"));
        }
        if matches!(part, "." | ".." | "*") {
            return invalid(&format!("Role '{role}' cannot contain the component '{part}'"));
        }
        if part.starts_with('-') {
            return invalid(&format!("Role component '{part}' is invalid because it begins with a dash"));
        }
        if part.contains([' ', '\t', '\n', '\r', '\u{b}', '\u{c}', '\u{8}', '\u{7f}']) {
            return invalid(&format!("Role component '{part}' cannot contain blanks or control characters"));
        }
    }
    Ok(())
}

fn reservation_from(message: &ReservationInfo) -> Reservation {
    Reservation {
        kind: match message.r#type() {
            reservation_info::Type::Static => ReservationKind::Static,
            reservation_info::Type::Dynamic | reservation_info::Type::Unknown => ReservationKind::Dynamic,
        },
        role: Role::from(message.role.as_deref().unwrap_or_default()),
        principal: message.principal.as_deref().map(Principal::from),
        labels: message.labels.clone().map(Arc::new),
    }
}

fn reservation_to(reservation: &Reservation) -> ReservationInfo {
    let kind = match reservation.kind {
        ReservationKind::Static => reservation_info::Type::Static,
        ReservationKind::Dynamic => reservation_info::Type::Dynamic,
    };
    ReservationInfo {
        r#type: Some(kind.into()),
        role: Some(reservation.role.as_str().into()),
        principal: reservation.principal.as_ref().map(ToString::to_string),
        labels: reservation.labels.as_deref().cloned(),
    }
}
