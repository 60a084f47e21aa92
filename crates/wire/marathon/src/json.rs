//! Checked reading of JSON: all that is wrong is noted by its path, and so are keys that nobody asked for.
//!
//! The texts of the errors are those of the JSON library that Marathon is built on, which clients know (rules 245, 248).

use std::{cell::RefCell, collections::BTreeMap, fmt};

use serde_json::{Map, Value};

use crate::{Details, Invalid};

/// A key that no reader asked for. The API ignores it (rule 297); whoever wrote the file by hand wants to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownKey {
    /// The object that has it; the whole document is `/`.
    pub path: String,
    /// The key.
    pub key: String,
    /// The known key that looks most like it.
    pub suggestion: Option<String>,
}

/// Reads a text.
pub fn parse(text: &[u8]) -> Result<Value, Invalid> {
    if text.iter().all(u8::is_ascii_whitespace) {
        return Err(Invalid::Empty);
    }
    serde_json::from_slice(text).map_err(|error| Invalid::Text(error.to_string()))
}

/// What is found while a document is read.
#[derive(Default)]
pub(crate) struct Reading {
    errors: RefCell<Details>,
    unknown: RefCell<Vec<UnknownKey>>,
}

impl Reading {
    /// Reads a document with `read`, which says nothing only where it has noted an error.
    pub(crate) fn document<T>(
        value: &Value,
        read: impl FnOnce(At<'_>) -> Option<T>,
    ) -> Result<(T, Vec<UnknownKey>), Invalid> {
        let reading = Self::default();
        let read = read(At { value, path: &Path::Root, reading: &reading });
        let errors = reading.errors.into_inner();
        match read {
            Some(read) if errors.is_empty() => Ok((read, reading.unknown.into_inner())),
            _ => Err(Invalid::Json(errors)),
        }
    }
}

/// The way to a value from the whole document.
#[derive(Clone, Copy)]
enum Path<'a> {
    Root,
    Key(&'a Path<'a>, &'a str),
    Index(&'a Path<'a>, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Key(parent, key) => write!(f, "{parent}/{key}"),
            Self::Index(parent, index) => write!(f, "{parent}({index})"),
        }
    }
}

impl Path<'_> {
    fn text(&self) -> String {
        match self {
            Self::Root => "/".into(),
            _ => self.to_string(),
        }
    }
}

/// A value at its place. Readers return nothing where they have noted an error.
#[derive(Clone, Copy)]
pub(crate) struct At<'a> {
    value: &'a Value,
    path: &'a Path<'a>,
    reading: &'a Reading,
}

impl<'a> At<'a> {
    pub(crate) fn value(self) -> &'a Value {
        self.value
    }

    /// Notes an error.
    pub(crate) fn wrong<T>(self, error: &str) -> Option<T> {
        self.reading.errors.borrow_mut().entry(self.path.text()).or_default().push(error.into());
        None
    }

    pub(crate) fn string(self) -> Option<String> {
        match self.value {
            Value::String(text) => Some(text.clone()),
            _ => self.wrong("error.expected.jsstring"),
        }
    }

    /// A text of so many characters.
    pub(crate) fn text(self, min: usize, max: usize) -> Option<String> {
        let text = self.string()?;
        let length = text.encode_utf16().count();
        if length < min {
            return self.wrong("error.minLength");
        }
        if length > max {
            return self.wrong("error.maxLength");
        }
        Some(text)
    }

    /// A text that is not empty.
    pub(crate) fn some_text(self) -> Option<String> {
        self.text(1, usize::MAX)
    }

    /// A text that `fits`.
    pub(crate) fn pattern(self, fits: impl FnOnce(&str) -> bool) -> Option<String> {
        let text = self.string()?;
        if fits(&text) { Some(text) } else { self.wrong("error.pattern") }
    }

    pub(crate) fn boolean(self) -> Option<bool> {
        match self.value {
            Value::Bool(value) => Some(*value),
            _ => self.wrong("error.expected.jsboolean"),
        }
    }

    /// A whole number of 32 bits.
    pub(crate) fn integer(self, min: i32, max: i32) -> Option<i32> {
        let number = self.whole("error.expected.int")?;
        let Ok(number) = i32::try_from(number) else { return self.wrong("error.expected.int") };
        self.bounded(number, min, max)
    }

    /// A whole number of 32 bits that is not negative.
    pub(crate) fn count(self) -> Option<u32> {
        self.integer(0, i32::MAX).map(i32::unsigned_abs)
    }

    /// A whole number of 64 bits that is not negative.
    pub(crate) fn long(self) -> Option<u64> {
        let number = self.whole("error.expected.long")?;
        self.bounded(number, 0, i64::MAX).map(i64::unsigned_abs)
    }

    /// A port, any one for 0.
    pub(crate) fn port(self) -> Option<u16> {
        u16::try_from(self.integer(0, u16::MAX.into())?).ok()
    }

    fn whole(self, error: &str) -> Option<i64> {
        let Value::Number(number) = self.value else { return self.wrong("error.expected.jsnumber") };
        if let Some(number) = number.as_i64() {
            return Some(number);
        }
        // 3.0 is whole; from 2^53 on floating numbers leave whole ones out.
        const EXACT: f64 = 9_007_199_254_740_992.0;
        match number.as_f64() {
            Some(number) if number.fract() == 0.0 && number.abs() < EXACT => Some(number as i64),
            _ => self.wrong(error),
        }
    }

    /// A number.
    pub(crate) fn number(self, min: f64, max: f64) -> Option<f64> {
        let Value::Number(number) = self.value else { return self.wrong("error.expected.jsnumber") };
        let number = number.as_f64().filter(|number| number.is_finite());
        let Some(number) = number else { return self.wrong("error.expected.jsnumber") };
        self.bounded(number, min, max)
    }

    fn bounded<T: PartialOrd>(self, number: T, min: T, max: T) -> Option<T> {
        if number < min {
            return self.wrong("error.min");
        }
        if number > max {
            return self.wrong("error.max");
        }
        Some(number)
    }

    /// One of some words, in any case.
    pub(crate) fn word<T: Copy>(self, words: &[(&str, T)]) -> Option<T> {
        let found = match self.value {
            Value::String(text) => words.iter().find(|(word, _)| word.eq_ignore_ascii_case(text)),
            _ => None,
        };
        match found {
            Some((_, value)) => Some(*value),
            None => self.wrong("error.unknown.enum.literal"),
        }
    }

    /// A list.
    pub(crate) fn list<T>(self, mut one: impl FnMut(At<'_>) -> Option<T>) -> Option<Vec<T>> {
        let Value::Array(values) = self.value else { return self.wrong("error.expected.jsarray") };
        let read = values.iter().enumerate().map(|(index, value)| {
            let path = Path::Index(self.path, index);
            one(At { value, path: &path, reading: self.reading })
        });
        // All are read, so that all errors are noted.
        let read: Vec<Option<T>> = read.collect();
        read.into_iter().collect()
    }

    /// A list that is not empty.
    pub(crate) fn some_list<T>(self, one: impl FnMut(At<'_>) -> Option<T>) -> Option<Vec<T>> {
        let list = self.list(one)?;
        if list.is_empty() { self.wrong("error.minLength") } else { Some(list) }
    }

    /// Values by name.
    pub(crate) fn map<T>(self, mut one: impl FnMut(At<'_>) -> Option<T>) -> Option<BTreeMap<String, T>> {
        let Value::Object(values) = self.value else { return self.wrong("error.expected.jsobject") };
        let read = values.iter().map(|(key, value)| {
            let path = Path::Key(self.path, key);
            Some((key.clone(), one(At { value, path: &path, reading: self.reading })?))
        });
        let read: Vec<Option<(String, T)>> = read.collect();
        read.into_iter().collect()
    }

    /// Texts by name.
    pub(crate) fn labels(self) -> Option<BTreeMap<String, String>> {
        self.map(|at| at.string())
    }

    /// An object with known keys.
    pub(crate) fn object<T>(self, read: impl FnOnce(&Fields<'_>) -> Option<T>) -> Option<T> {
        let Value::Object(map) = self.value else { return self.wrong("error.expected.jsobject") };
        let fields = Fields { map, at: self, asked: RefCell::new(Vec::new()) };
        let read = read(&fields);
        fields.note_unknown();
        read
    }
}

/// The fields of one object. A null is no value.
pub(crate) struct Fields<'a> {
    map: &'a Map<String, Value>,
    at: At<'a>,
    asked: RefCell<Vec<&'static str>>,
}

/// A field as it was found: missing, wrong, or a value.
type Found<T> = Option<Option<T>>;

impl Fields<'_> {
    /// The object itself, to note what is wrong with it as a whole.
    pub(crate) fn whole(&self) -> At<'_> {
        self.at
    }

    /// Whether there is a value.
    pub(crate) fn has(&self, key: &'static str) -> bool {
        self.asked.borrow_mut().push(key);
        self.map.get(key).is_some_and(|value| !value.is_null())
    }

    fn find<T>(&self, key: &'static str, read: impl FnOnce(At<'_>) -> Option<T>) -> Found<T> {
        if !self.has(key) {
            return None;
        }
        let path = Path::Key(self.at.path, key);
        let value = self.map.get(key)?;
        Some(read(At { value, path: &path, reading: self.at.reading }))
    }

    /// A field that may be missing; a wrong one counts as missing after it has been noted.
    pub(crate) fn read<T>(&self, key: &'static str, read: impl FnOnce(At<'_>) -> Option<T>) -> Option<T> {
        self.find(key, read).flatten()
    }

    /// A field that must be there.
    pub(crate) fn required<T>(&self, key: &'static str, read: impl FnOnce(At<'_>) -> Option<T>) -> Option<T> {
        match self.find(key, read) {
            Some(found) => found,
            None => {
                let path = Path::Key(self.at.path, key);
                At { value: &Value::Null, path: &path, reading: self.at.reading }.wrong("error.path.missing")
            }
        }
    }

    fn note_unknown(&self) {
        let asked = self.asked.borrow();
        for key in self.map.keys().filter(|key| !asked.contains(&key.as_str())) {
            let suggestion = suggestion(key, &asked);
            let unknown = UnknownKey { path: self.at.path.text(), key: key.clone(), suggestion };
            self.at.reading.unknown.borrow_mut().push(unknown);
        }
    }
}

/// The word that looks most like `key`: in another case, the beginning of it or the other way round, or with up to a third
/// of its letters other ones.
fn suggestion(key: &str, words: &[&'static str]) -> Option<String> {
    // Longer keys are no slips of the pen, and the comparison takes the square of the length.
    const KEY_MAX: usize = 64;
    if key.len() > KEY_MAX {
        return None;
    }
    let lower = key.to_ascii_lowercase();
    let distance = |word: &str| strsim::damerau_levenshtein(&lower, &word.to_ascii_lowercase());
    let best = words.iter().map(|word| (distance(word), *word)).min()?;
    if best.0 <= key.len().div_ceil(3).min(4) {
        return Some(best.1.into());
    }
    let begins = |word: &&&str| {
        word.len() > 2 && lower.len() > 2 && (lower.starts_with(**word) || word.starts_with(&lower))
    };
    words.iter().find(begins).map(|word| (*word).into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn errors(value: &Value, read: impl Fn(At<'_>) -> Option<()>) -> Vec<(String, String)> {
        match Reading::document(value, read) {
            Err(Invalid::Json(details)) => details
                .into_iter()
                .flat_map(|(path, errors)| errors.into_iter().map(move |error| (path.clone(), error)))
                .collect(),
            _ => Vec::new(),
        }
    }

    fn field(value: Value, read: impl Fn(At<'_>) -> Option<()>) -> String {
        let found = errors(&json!({"a": {"b": [value]}}), |at| {
            at.object(|o| o.read("a", |at| at.object(|o| o.read("b", |at| at.list(&read).map(|_| ())))))
        });
        found.into_iter().map(|(path, error)| format!("{path} {error}")).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn marathon_rules_245_and_248_errors_of_types_and_bounds() {
        let at = "/a/b(0)";
        let string = |at: At<'_>| at.string().map(|_| ());
        let integer = |at: At<'_>| at.integer(0, 9).map(|_| ());
        let number = |at: At<'_>| at.number(0.5, 1.0).map(|_| ());
        let word = |at: At<'_>| at.word(&[("RO", ()), ("RW", ())]);
        assert_eq!(field(json!(1), string), format!("{at} error.expected.jsstring"));
        assert_eq!(field(json!("1"), integer), format!("{at} error.expected.jsnumber"));
        assert_eq!(field(json!(1.5), integer), format!("{at} error.expected.int"));
        assert_eq!(field(json!(1e300), integer), format!("{at} error.expected.int"));
        assert_eq!(field(json!(5_000_000_000_i64), integer), format!("{at} error.expected.int"));
        assert_eq!(field(json!(-1), integer), format!("{at} error.min"));
        assert_eq!(field(json!(10), integer), format!("{at} error.max"));
        assert_eq!(field(json!(9.0), integer), "");
        assert_eq!(field(json!(0.1), number), format!("{at} error.min"));
        assert_eq!(field(json!(true), number), format!("{at} error.expected.jsnumber"));
        assert_eq!(field(json!("rw"), word), "");
        assert_eq!(field(json!("rx"), word), format!("{at} error.unknown.enum.literal"));
        assert_eq!(field(json!(1), word), format!("{at} error.unknown.enum.literal"));
        assert_eq!(field(json!(1), |at| at.boolean().map(|_| ())), format!("{at} error.expected.jsboolean"));
        assert_eq!(field(json!(1), |at| at.labels().map(|_| ())), format!("{at} error.expected.jsobject"));
        assert_eq!(
            field(json!({"k": 1}), |at| at.labels().map(|_| ())),
            format!("{at}/k error.expected.jsstring")
        );
        assert_eq!(
            field(json!({}), |at| at.list(|_| Some(())).map(|_| ())),
            format!("{at} error.expected.jsarray")
        );
        assert_eq!(
            field(json!({"x": null}), |at| at.object(|o| o.required("x", |at| at.string()).map(|_| ()))),
            format!("{at}/x error.path.missing")
        );
        assert_eq!(field(json!(""), |at| at.some_text().map(|_| ())), format!("{at} error.minLength"));
        assert_eq!(field(json!("abc"), |at| at.text(1, 2).map(|_| ())), format!("{at} error.maxLength"));
        assert_eq!(
            field(json!("abc"), |at| at.pattern(|_| false).map(|_| ())),
            format!("{at} error.pattern")
        );
        assert_eq!(errors(&json!([]), |at| at.object(|_| Some(())))[0].0, "/");
    }

    #[test]
    fn marathon_rule_297_unknown_keys_are_told_and_do_no_harm() {
        let document = json!({"instnces": 3, "CMD": "x", "cpus": 1, "zzzzzz": {"cpu": 1}});
        let (_, unknown) = Reading::document(&document, |at| {
            at.object(|o| {
                for key in ["instances", "cmd", "cpus", "constraints"] {
                    o.read(key, |at| Some(at.value()).map(|_| ()));
                }
                Some(())
            })
        })
        .unwrap();
        let told: Vec<_> = unknown.iter().map(|u| (u.key.as_str(), u.suggestion.as_deref())).collect();
        assert_eq!(told, [("CMD", Some("cmd")), ("instnces", Some("instances")), ("zzzzzz", None)]);
    }

    #[test]
    fn marathon_rules_246_and_247_texts_that_are_no_documents() {
        assert_eq!(parse(b" \n"), Err(Invalid::Empty));
        let broken = parse(b"{\"id\": ").unwrap_err();
        assert_eq!((broken.status(), broken.body()["message"].as_str()), (400, Some("Invalid JSON")));
        assert!(broken.body()["details"].is_string());
        assert_eq!(Invalid::Empty.body()["message"], "Please specify data in JSON format");
        let deep = "[".repeat(10_000);
        assert!(matches!(parse(deep.as_bytes()), Err(Invalid::Text(_))), "nesting is bounded");
    }
}
