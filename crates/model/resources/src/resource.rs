//! One resource: an amount of something, and everything that tells it from other amounts of it.

use std::sync::Arc;

use mezzo_ids::{Principal, ResourceProviderId, Role};
use mezzo_mesos::v1::{
    self,
    resource::disk_info::{Source, source::Type as SourceType},
};

use crate::{Name, Scalar, Value};

/// Who made a reservation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ReservationKind {
    /// The agent's flags.
    Static,
    /// An operator or a framework, and it can be undone.
    Dynamic,
}

/// One entry of a reservation stack.
#[derive(Clone, Debug, PartialEq)]
pub struct Reservation {
    /// Who made it.
    pub kind: ReservationKind,
    /// For whom; never `*`.
    pub role: Role,
    /// Who asked for it.
    pub principal: Option<Principal>,
    /// Whatever they noted on it.
    pub labels: Option<Arc<v1::Labels>>,
}

/// One resource. Equal when name, amount and everything else agree; what a volume is mounted as and
/// who created it do not count (the same volume mounted elsewhere is the same volume).
#[derive(Clone, Debug)]
pub struct Resource {
    pub(crate) name: Name,
    pub(crate) value: Value,
    /// Outer to inner; `None` is an empty stack.
    pub(crate) reservations: Option<Arc<[Reservation]>>,
    pub(crate) allocation_role: Option<Role>,
    pub(crate) disk: Option<Arc<v1::resource::DiskInfo>>,
    pub(crate) provider_id: Option<ResourceProviderId>,
    pub(crate) revocable: bool,
    /// Shared resources count copies instead of sizes (rule 435); `None` when not shared.
    pub(crate) copies: Option<u32>,
}

impl Resource {
    /// An unreserved resource.
    pub fn new(name: impl Into<Name>, value: Value) -> Self {
        Self {
            name: name.into(),
            value,
            reservations: None,
            allocation_role: None,
            disk: None,
            provider_id: None,
            revocable: false,
            copies: None,
        }
    }

    /// An unreserved number of something.
    pub fn scalar(name: impl Into<Name>, amount: Scalar) -> Self {
        Self::new(name, Value::Scalar(amount))
    }

    /// What it is called.
    #[inline]
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// How much there is. A shared resource shows the size of one copy.
    #[inline]
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// How much there is, when it is a number.
    #[inline]
    pub fn as_scalar(&self) -> Option<Scalar> {
        match self.value {
            Value::Scalar(amount) => Some(amount),
            Value::Ranges(_) | Value::Set(_) => None,
        }
    }

    /// The stack of reservations, outer to inner.
    #[inline]
    pub fn reservations(&self) -> &[Reservation] {
        self.reservations.as_deref().unwrap_or_default()
    }

    /// The role it is allocated to, when somebody holds it.
    #[inline]
    pub fn allocation_role(&self) -> Option<&Role> {
        self.allocation_role.as_ref()
    }

    /// Source, persistence and volume, of disks that have any.
    pub fn disk(&self) -> Option<&Arc<v1::resource::DiskInfo>> {
        self.disk.as_ref()
    }

    /// The provider that manages it; `None` for the agent itself.
    pub fn provider_id(&self) -> Option<&ResourceProviderId> {
        self.provider_id.as_ref()
    }

    /// How many copies of a shared resource; `None` when not shared.
    pub fn copies(&self) -> Option<u32> {
        self.copies
    }

    /// The innermost reservation's role (rule 438: none when unreserved).
    #[inline]
    pub fn top_role(&self) -> Option<&Role> {
        self.reservations().last().map(|reservation| &reservation.role)
    }

    /// Rule 438.
    #[inline]
    pub fn is_unreserved(&self) -> bool {
        self.reservations.is_none()
    }

    /// Whether the innermost reservation is for exactly `role`.
    pub fn is_reserved_to(&self, role: &str) -> bool {
        self.top_role().is_some_and(|reserved| reserved.as_str() == role)
    }

    /// Whether `role` may hold it: unreserved, reserved to it, or to one of its ancestors (rule 129).
    pub fn is_allocatable_to(&self, role: &str) -> bool {
        self.top_role().is_none_or(|reserved| is_same_or_below(role, reserved))
    }

    /// Whether the innermost reservation was made while running.
    pub fn is_dynamically_reserved(&self) -> bool {
        self.reservations().last().is_some_and(|reservation| reservation.kind == ReservationKind::Dynamic)
    }

    /// Whether it has more than one reservation.
    pub fn has_refined_reservation(&self) -> bool {
        self.reservations().len() > 1
    }

    /// Whether it outlives tasks.
    pub fn is_persistent_volume(&self) -> bool {
        self.persistence().is_some()
    }

    /// Whether several tasks may hold it at once.
    #[inline]
    pub fn is_shared(&self) -> bool {
        self.copies.is_some()
    }

    /// Whether it may be taken back at any time.
    #[inline]
    pub fn is_revocable(&self) -> bool {
        self.revocable
    }

    /// Where its bytes are, when an operator or provider said so.
    pub fn disk_source(&self) -> Option<&Source> {
        self.disk.as_ref()?.source.as_ref()
    }

    /// The volume's identity.
    pub fn persistence(&self) -> Option<&v1::resource::disk_info::Persistence> {
        self.disk.as_ref()?.persistence.as_ref()
    }

    /// Whether it is one thing that cannot be cut in pieces or merged (rule 434).
    pub fn is_exclusive(&self) -> bool {
        self.is_persistent_volume()
            || self.disk_source().is_some_and(|source| match source.r#type() {
                SourceType::Mount | SourceType::Block => true,
                SourceType::Raw => source.id.is_some(),
                SourceType::Path | SourceType::Unknown => false,
            })
    }

    /// The same with another amount.
    pub fn with_value(mut self, value: Value) -> Self {
        self.value = value;
        self
    }

    /// The same held for `role`, or by nobody.
    pub fn with_allocation_role(mut self, role: Option<Role>) -> Self {
        self.allocation_role = role;
        self
    }

    /// The same with another stack. The caller keeps the rules of stacks: roles narrow inward and
    /// only the first entry may be static.
    pub fn with_reservations(mut self, stack: &[Reservation]) -> Self {
        self.reservations = (!stack.is_empty()).then(|| Arc::from(stack));
        self
    }

    /// The same with one more reservation inside the others.
    pub fn push_reservation(self, reservation: Reservation) -> Self {
        let mut stack = self.reservations().to_vec();
        stack.push(reservation);
        self.with_reservations(&stack)
    }

    /// The same without its innermost reservation.
    pub fn pop_reservation(self) -> Self {
        let stack = self.reservations();
        let outer = stack[..stack.len().saturating_sub(1)].to_vec();
        self.with_reservations(&outer)
    }

    /// The same with other disk information.
    pub fn with_disk(mut self, disk: Option<v1::resource::DiskInfo>) -> Self {
        self.disk = disk.map(Arc::new);
        self
    }

    /// The same managed by a provider.
    pub fn with_provider_id(mut self, provider_id: Option<ResourceProviderId>) -> Self {
        self.provider_id = provider_id;
        self
    }

    /// The same, revocable or not.
    pub fn with_revocable(mut self, revocable: bool) -> Self {
        self.revocable = revocable;
        self
    }

    /// The same with a number of shared copies, or not shared.
    pub fn with_copies(mut self, copies: Option<u32>) -> Self {
        self.copies = copies;
        self
    }

    /// Nothing: a zero amount, or no copies.
    pub fn is_empty(&self) -> bool {
        self.copies == Some(0) || self.value.is_empty()
    }

    /// Whether two resources differ in amount or copies at most.
    pub(crate) fn is_same_kind(&self, other: &Self) -> bool {
        self.name == other.name
            && self.value.same_type(&other.value)
            && self.revocable == other.revocable
            && self.copies.is_some() == other.copies.is_some()
            && self.allocation_role == other.allocation_role
            && self.provider_id == other.provider_id
            && self.reservations == other.reservations
            && is_same_disk(self.disk.as_deref(), other.disk.as_deref())
    }

    /// Whether the sum of both is one resource (rules 433 to 435).
    pub(crate) fn adds_to(&self, other: &Self) -> bool {
        self.is_same_kind(other)
            && if self.is_shared() { self.value == other.value } else { !self.is_exclusive() }
    }

    /// Whether all of `other` is part of this.
    pub(crate) fn contains(&self, other: &Self) -> bool {
        self.is_same_kind(other)
            && if self.is_shared() {
                self.value == other.value && self.copies >= other.copies
            } else if self.is_exclusive() {
                self.value == other.value
            } else {
                self.value.contains(&other.value)
            }
    }

    /// Whether subtracting `other` takes anything from this.
    pub(crate) fn yields_to(&self, other: &Self) -> bool {
        self.is_same_kind(other) && (!(self.is_shared() || self.is_exclusive()) || self.value == other.value)
    }

    /// For resources that [`Resource::adds_to`] holds for.
    pub(crate) fn add(&mut self, other: &Self) {
        match (&mut self.copies, other.copies) {
            (Some(mine), Some(other)) => *mine = mine.saturating_add(other),
            _ => self.value.add(&other.value),
        }
    }

    /// For resources that [`Resource::yields_to`] holds for.
    pub(crate) fn subtract(&mut self, other: &Self) {
        match (&mut self.copies, other.copies) {
            (Some(mine), Some(other)) => *mine = mine.saturating_sub(other),
            _ => self.value.subtract(&other.value),
        }
    }
}

impl PartialEq for Resource {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value && self.copies == other.copies && self.is_same_kind(other)
    }
}

/// Whether `role` is `ancestor` or lies below it in the tree of roles.
fn is_same_or_below(role: &str, ancestor: &str) -> bool {
    role.strip_prefix(ancestor).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn is_same_disk(left: Option<&v1::resource::DiskInfo>, right: Option<&v1::resource::DiskInfo>) -> bool {
    match (left, right) {
        (None, None) => true,
        (Some(left), Some(right)) => {
            left.source == right.source
                && left.persistence.as_ref().map(|p| &p.id) == right.persistence.as_ref().map(|p| &p.id)
        }
        _ => false,
    }
}
