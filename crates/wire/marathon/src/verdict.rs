//! What is found wrong with what a document says.

use crate::{Details, Invalid};

/// Collects errors by path.
#[derive(Default)]
pub(crate) struct Verdict {
    details: Details,
}

impl Verdict {
    /// Notes that the field at `path` (without its leading slash; empty for the whole) is wrong.
    pub(crate) fn add(&mut self, path: impl AsRef<str>, error: impl Into<String>) {
        let errors = self.details.entry(format!("/{}", path.as_ref())).or_default();
        let error = error.into();
        // Two rules may say the same.
        if !errors.contains(&error) {
            errors.push(error);
        }
    }

    /// Notes several errors of one field.
    pub(crate) fn add_all<E: Into<String>>(&mut self, path: &str, errors: impl IntoIterator<Item = E>) {
        for error in errors {
            self.add(path, error);
        }
    }

    /// Notes an error unless a condition holds.
    pub(crate) fn require(&mut self, holds: bool, path: &str, error: impl Into<String>) {
        if !holds {
            self.add(path, error);
        }
    }

    /// Notes the errors of a part that stands at `path`.
    pub(crate) fn nest(&mut self, path: &str, invalid: &Invalid) {
        match invalid {
            Invalid::Json(details) | Invalid::Object(details) => {
                for (below, errors) in details {
                    let whole = if below == "/" { path.into() } else { format!("{path}{below}") };
                    self.add_all(&whole, errors.iter().map(String::as_str));
                }
            }
            other => self.add(path, other.to_string()),
        }
    }

    /// Nothing wrong, or all of it.
    pub(crate) fn finish(self) -> Result<(), Invalid> {
        if self.details.is_empty() { Ok(()) } else { Err(Invalid::Object(self.details)) }
    }
}
