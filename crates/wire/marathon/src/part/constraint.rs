//! Constraints of apps and volumes.

use mezzo_services_model::{Constraint, Operator};

use crate::json::At;

/// What an unknown operator is answered with (rule 121).
const OPERATORS: &str =
    "operator must be one of the following UNIQUE, CLUSTER, GROUP_BY, LIKE, MAX_PER, UNLIKE or IS";

/// A constraint as a list of texts.
pub(crate) fn read_texts(at: At<'_>) -> Option<Vec<String>> {
    let texts = at.list(|at| at.string())?;
    match texts.len() {
        0 | 1 => at.wrong("error.minLength"),
        2 | 3 => Some(texts),
        _ => at.wrong("error.maxLength"),
    }
}

pub(crate) fn operator(text: &str) -> Option<Operator> {
    // Rule 120: case does not matter.
    Operator::ALL.into_iter().find(|operator| operator.name().eq_ignore_ascii_case(text))
}

/// A constraint of an app from its texts.
pub(crate) fn of_texts(texts: &[String]) -> Result<Constraint, &'static str> {
    let (field, name, value) = match texts {
        [field, name] => (field, name, None),
        [field, name, value] => (field, name, Some(value)),
        _ => return Err("Each constraint must have either 2 or 3 fields"),
    };
    if field.is_empty() {
        return Err("illegal constraint specification");
    }
    let operator = operator(name).ok_or(OPERATORS)?;
    let constraint = Constraint { field: field.clone(), operator, value: value.cloned() };
    match error(&constraint) {
        Some(error) => Err(error),
        None => Ok(constraint),
    }
}

/// What is wrong with a constraint of an app or pod (rules 110 to 118).
pub(crate) fn error(constraint: &Constraint) -> Option<&'static str> {
    let value = constraint.value.as_deref();
    let whole = |text: &str| text.parse::<i32>().is_ok();
    if constraint.field.is_empty() {
        return Some("missing field for constraint declaration");
    }
    match constraint.operator {
        Operator::Unique if value.is_some() => Some("UNIQUE does not accept a value"),
        Operator::GroupBy if !value.is_none_or(whole) => {
            Some("GROUP BY must define an integer value or else no value at all")
        }
        Operator::MaxPer if !value.is_some_and(whole) => Some("MAX_PER requires an integer value"),
        Operator::Like | Operator::Unlike => match value {
            None => Some("LIKE and UNLIKE require a non-empty, regular expression value"),
            Some(value) if !is_pattern(value) => Some("is not a valid regular expression"),
            Some(_) => None,
        },
        Operator::Is if !value.unwrap_or("").bytes().all(is_literal) => Some(
            "IS only supports Mesos text and float values (see http://mesos.apache.org/documentation/latest/attributes-resources/)",
        ),
        _ => None,
    }
}

fn is_literal(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_/.-".contains(&byte)
}

/// Whether a text is a regular expression that is not so big that it would be dear to match.
pub(crate) fn is_pattern(text: &str) -> bool {
    // What one expression may take in memory once it is compiled.
    const COMPILED_MAX: usize = 1 << 20;
    regex::RegexBuilder::new(text).size_limit(COMPILED_MAX).build().is_ok()
}

/// A constraint of a persistent volume from its texts: only the path of the disk may be matched.
pub(crate) fn of_volume_texts(texts: &[String]) -> Result<Constraint, String> {
    let [field, name, value] = texts else {
        return Err(format!("Unsupported constraint {}", texts.join(",")));
    };
    if field != "path" {
        return Err(format!("Unsupported constraint {}", texts.join(",")));
    }
    match Operator::ALL.into_iter().find(|operator| operator.name() == name) {
        Some(operator @ (Operator::Like | Operator::Unlike)) if is_pattern(value) => {
            Ok(Constraint { field: field.clone(), operator, value: Some(value.clone()) })
        }
        Some(Operator::Like | Operator::Unlike) => Err("Invalid regular expression".into()),
        Some(_) => Err("Operator must be one of LIKE, UNLIKE".into()),
        None => Err(format!("unknown constraint operator {name}")),
    }
}
