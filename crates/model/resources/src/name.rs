//! Names of resources: a few are everywhere, so those cost nothing to copy.

use std::{borrow::Borrow, cmp::Ordering, fmt, mem::discriminant, ops::Deref, sync::Arc};

/// The name of a resource. Ordered and compared as text.
#[derive(Clone)]
pub struct Name(Repr);

/// A name has one representation only: `Other` is none of the frequent ones.
#[derive(Clone)]
enum Repr {
    Cpus,
    Mem,
    Disk,
    Ports,
    Gpus,
    Other(Arc<str>),
}

pub(crate) const FREQUENT_COUNT: usize = 4;

/// Those that amounts are mostly of, sorted.
pub(crate) static FREQUENT: [Name; FREQUENT_COUNT] =
    [Name(Repr::Cpus), Name(Repr::Disk), Name(Repr::Gpus), Name(Repr::Mem)];

impl Name {
    /// Where a name is among [`FREQUENT`].
    #[inline]
    pub(crate) fn frequent(name: &str) -> Option<usize> {
        match name {
            "cpus" => Some(0),
            "disk" => Some(1),
            "gpus" => Some(2),
            "mem" => Some(3),
            _ => None,
        }
    }

    /// The name as text.
    #[inline]
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Repr::Cpus => "cpus",
            Repr::Mem => "mem",
            Repr::Disk => "disk",
            Repr::Ports => "ports",
            Repr::Gpus => "gpus",
            Repr::Other(text) => text,
        }
    }
}

impl From<&str> for Name {
    fn from(text: &str) -> Self {
        Self(match text {
            "cpus" => Repr::Cpus,
            "mem" => Repr::Mem,
            "disk" => Repr::Disk,
            "ports" => Repr::Ports,
            "gpus" => Repr::Gpus,
            _ => Repr::Other(Arc::from(text)),
        })
    }
}

impl Deref for Name {
    type Target = str;
    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Repr::Other(mine), Repr::Other(other)) => mine == other,
            (mine, other) => discriminant(mine) == discriminant(other),
        }
    }
}

impl Eq for Name {}

impl PartialEq<str> for Name {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Name {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Name {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}
