//! Why a document is refused, and the answer that says so.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// What is wrong, by the path of the field; the whole document is `/`.
pub type Details = BTreeMap<String, Vec<String>>;

/// Why a document is refused (rules 243 to 249).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// There is no document.
    #[error("there is no document")]
    Empty,
    /// The text is no JSON; the parser's words.
    #[error("the document is no JSON: {0}")]
    Text(String),
    /// Values of other types, out of their bounds, or missing.
    #[error("the document has fields of other types or bounds: {}", list(.0))]
    Json(Details),
    /// Values that contradict each other or what is asked of them.
    #[error("the document is not valid: {}", list(.0))]
    Object(Details),
    /// Forms that cannot be brought together, in one sentence.
    #[error("{0}")]
    Argument(String),
}

fn list(details: &Details) -> String {
    let lines = details.iter().flat_map(|(path, errors)| errors.iter().map(move |e| format!("{path}: {e}")));
    lines.collect::<Vec<_>>().join("; ")
}

impl Invalid {
    /// One thing that is wrong with one field.
    pub fn at(path: impl Into<String>, error: impl Into<String>) -> Self {
        Self::Object(BTreeMap::from([(path.into(), vec![error.into()])]))
    }

    /// The status of the answer.
    pub fn status(&self) -> u16 {
        match self {
            Self::Empty | Self::Text(_) => 400,
            Self::Json(_) | Self::Object(_) | Self::Argument(_) => 422,
        }
    }

    /// The body of the answer.
    pub fn body(&self) -> Value {
        let list = |details: &Details| -> Vec<Value> {
            details.iter().map(|(path, errors)| json!({"path": path, "errors": errors})).collect()
        };
        match self {
            Self::Empty => json!({
                "message": "Please specify data in JSON format",
                "details": "No content to map due to end-of-input",
            }),
            Self::Text(text) => json!({"message": "Invalid JSON", "details": text}),
            Self::Json(details) => json!({"message": "Invalid JSON", "details": list(details)}),
            Self::Object(details) => json!({"message": "Object is not valid", "details": list(details)}),
            Self::Argument(message) => json!({"message": message}),
        }
    }
}
