//! Names of resources: a few are everywhere, so those cost nothing to copy.

use std::{borrow::Borrow, cmp::Ordering, fmt, ops::Deref, sync::Arc};

/// Names that nearly every resource has.
const FREQUENT: [&str; 5] = ["cpus", "mem", "disk", "ports", "gpus"];

/// The name of a resource. Ordered and compared as text.
#[derive(Clone)]
pub struct Name(Repr);

#[derive(Clone)]
enum Repr {
    Frequent(&'static str),
    Other(Arc<str>),
}

impl Name {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Repr::Frequent(text) => text,
            Repr::Other(text) => text,
        }
    }
}

impl From<&str> for Name {
    fn from(text: &str) -> Self {
        match FREQUENT.iter().find(|frequent| **frequent == text) {
            Some(frequent) => Self(Repr::Frequent(frequent)),
            None => Self(Repr::Other(Arc::from(text))),
        }
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
        self.as_str() == other.as_str()
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
