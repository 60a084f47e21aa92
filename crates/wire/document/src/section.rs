//! Reads one table of a TOML file: every value says what it expected and where it was.

use std::{cell::RefCell, collections::BTreeMap, ops::Range, time::Duration};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use crate::{
    problem::{Problem, Source, nearest},
    units,
};

/// A value and where it was written.
#[derive(Clone, Debug)]
pub struct At<T> {
    /// What was written.
    pub value: T,
    /// Its bytes in the text.
    pub span: Range<usize>,
}

/// What a value is, for keys that may be written in several ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A table.
    Table,
    /// A list.
    List,
    /// A number.
    Number,
    /// A text, or anything else.
    Other,
}

/// A table whose keys are asked for one by one; [`Section::end`] refuses those that nobody asked for.
pub struct Section<'a> {
    /// The text it stands in.
    pub source: &'a Source<'a>,
    /// How messages call it: `[[nodes]]`.
    pub name: String,
    span: Range<usize>,
    table: &'a DeTable<'a>,
    asked: RefCell<BTreeMap<&'static str, ()>>,
}

impl<'a> Section<'a> {
    /// A table that messages call `name`.
    pub fn new(
        source: &'a Source<'a>,
        name: impl Into<String>,
        span: Range<usize>,
        table: &'a DeTable<'a>,
    ) -> Self {
        Self { source, name: name.into(), span, table, asked: RefCell::default() }
    }

    fn get(&self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.asked.borrow_mut().insert(key, ());
        self.table.iter().find(|(name, _)| name.get_ref() == key).map(|(_, value)| value)
    }

    /// Something is wrong with a value.
    pub fn wrong(&self, span: Range<usize>, what: impl Into<String>, why: impl Into<String>) -> Problem {
        Problem::new(what, why).at(self.source.place(span))
    }

    fn expected(&self, key: &str, value: &Spanned<DeValue<'_>>, wanted: &str, example: &str) -> Problem {
        let what = format!("{}: '{key}' is {}", self.name, describe(value.get_ref()));
        self.wrong(value.span(), what, format!("expected {wanted}"))
            .help(format!("for example  {key} = {example}"))
    }

    /// A key that has to be there.
    pub fn need<T>(&self, key: &str, found: Option<T>, wanted: &str, example: &str) -> Result<T, Problem> {
        found.ok_or_else(|| {
            let why = format!("expected {wanted}");
            let asked = self.asked.borrow();
            let strangers = self.table.keys().filter(|name| !asked.contains_key(name.get_ref().as_ref()));
            if let Some(name) = strangers.into_iter().find(|name| nearest(name.get_ref(), [key]).is_some()) {
                let what = format!("{} knows no key '{}'", self.name, name.get_ref());
                return self.wrong(name.span(), what, why).help(format!("did you mean '{key}'?"));
            }
            self.wrong(self.span.clone(), format!("{} has no '{key}'", self.name), why)
                .help(format!("for example  {key} = {example}"))
        })
    }

    /// A text in quotes.
    pub fn text(&self, key: &'static str, example: &str) -> Result<Option<At<&'a str>>, Problem> {
        let Some(value) = self.get(key) else { return Ok(None) };
        match value.get_ref() {
            DeValue::String(text) => Ok(Some(At { value: text, span: value.span() })),
            _ => Err(self.expected(key, value, "a text in quotes", example)),
        }
    }

    /// One of a few words.
    pub fn word(
        &self,
        key: &'static str,
        known: &[&'static str],
    ) -> Result<Option<At<&'static str>>, Problem> {
        let example = format!("{:?}", known.first().copied().unwrap_or_default());
        let Some(text) = self.text(key, &example)? else { return Ok(None) };
        self.known(key, &text, known).map(Some)
    }

    /// The one of a few words that `text` is.
    pub fn known(
        &self,
        key: &str,
        text: &At<&str>,
        known: &[&'static str],
    ) -> Result<At<&'static str>, Problem> {
        if let Some(word) = known.iter().find(|word| **word == text.value) {
            return Ok(At { value: word, span: text.span.clone() });
        }
        let what = format!("{}: '{key}' cannot be \"{}\"", self.name, text.value);
        let problem = self.wrong(text.span.clone(), what, format!("expected one of: {}", known.join(", ")));
        Err(match nearest(text.value, known.iter().copied()) {
            Some(word) => problem.help(format!("did you mean \"{word}\"?")),
            None => problem,
        })
    }

    /// True or false.
    pub fn flag(&self, key: &'static str) -> Result<Option<bool>, Problem> {
        let Some(value) = self.get(key) else { return Ok(None) };
        match value.get_ref() {
            DeValue::Boolean(flag) => Ok(Some(*flag)),
            _ => Err(self.expected(key, value, "true or false", "true")),
        }
    }

    /// A whole number within bounds.
    pub fn whole(
        &self,
        key: &'static str,
        bounds: std::ops::RangeInclusive<u64>,
        example: &str,
    ) -> Result<Option<At<u64>>, Problem> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let wanted = format!("a whole number from {} to {}", bounds.start(), bounds.end());
        let number = match value.get_ref() {
            DeValue::Integer(number) => u64::from_str_radix(number.as_str(), number.radix()).ok(),
            _ => None,
        };
        match number.filter(|number| bounds.contains(number)) {
            Some(number) => Ok(Some(At { value: number, span: value.span() })),
            None => Err(self.expected(key, value, &wanted, example)),
        }
    }

    /// A number that is not negative.
    pub fn number(&self, key: &'static str, most: f64, example: &str) -> Result<Option<At<f64>>, Problem> {
        let Some(value) = self.get(key) else { return Ok(None) };
        match number(value.get_ref()).filter(|number| (0.0..=most).contains(number)) {
            Some(number) => Ok(Some(At { value: number, span: value.span() })),
            None => Err(self.expected(key, value, &format!("a number from 0 to {most}"), example)),
        }
    }

    /// A text such as "90s" or "1h 30m".
    pub fn duration(&self, key: &'static str, example: &str) -> Result<Option<At<Duration>>, Problem> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let found = match value.get_ref() {
            DeValue::String(text) => units::duration(text),
            _ => None,
        };
        match found {
            Some(duration) => Ok(Some(At { value: duration, span: value.span() })),
            None => {
                let wanted = "a duration in quotes, of ms, s, m, h, d or w, at most a hundred years";
                Err(self.expected(key, value, wanted, example))
            }
        }
    }

    /// Megabytes: a text such as "32 GiB".
    pub fn size(&self, key: &'static str, most: f64, example: &str) -> Result<Option<At<f64>>, Problem> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let found = match value.get_ref() {
            DeValue::String(text) => units::megabytes(text),
            _ => None,
        };
        match found.filter(|megabytes| (0.0..=most).contains(megabytes)) {
            Some(megabytes) => Ok(Some(At { value: megabytes, span: value.span() })),
            None => Err(self.expected(key, value, "a size in quotes, of KiB, MiB, GiB or TiB", example)),
        }
    }

    /// One text, or a list of them.
    pub fn texts(&self, key: &'static str, example: &str) -> Result<Option<Vec<At<&'a str>>>, Problem> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let text = |value: &'a Spanned<DeValue<'a>>| match value.get_ref() {
            DeValue::String(text) => Ok(At { value: text.as_ref(), span: value.span() }),
            _ => Err(self.expected(key, value, "a text in quotes, or a list of them", example)),
        };
        match value.get_ref() {
            DeValue::Array(array) => array.iter().map(text).collect::<Result<_, _>>().map(Some),
            _ => Ok(Some(vec![text(value)?])),
        }
    }

    /// A table of free names, each with a text or a number.
    pub fn pairs(&self, key: &'static str, example: &str) -> Result<Vec<(String, String)>, Problem> {
        let Some(value) = self.get(key) else { return Ok(Vec::new()) };
        let DeValue::Table(table) = value.get_ref() else {
            return Err(self.expected(key, value, "a table", example));
        };
        let pair = |(name, value): (&Spanned<_>, &'a Spanned<DeValue<'a>>)| {
            let name: &std::borrow::Cow<'_, str> = name.get_ref();
            match value.get_ref() {
                DeValue::String(text) => Ok((name.to_string(), text.to_string())),
                DeValue::Integer(number) => Ok((name.to_string(), number.as_str().to_owned())),
                DeValue::Float(number) => Ok((name.to_string(), number.as_str().to_owned())),
                _ => Err(self.expected(name, value, "a text or a number", "\"r1\"")),
            }
        };
        table.iter().map(pair).collect()
    }

    /// A table below this one.
    pub fn table(&self, key: &'static str, example: &str) -> Result<Option<Section<'a>>, Problem> {
        let Some(value) = self.get(key) else { return Ok(None) };
        match value.get_ref() {
            DeValue::Table(table) => {
                let name = match self.name.strip_prefix('[') {
                    Some(_) => format!("{} {key}", self.name),
                    None => format!("[{key}]"),
                };
                Ok(Some(Section::new(self.source, name, value.span(), table)))
            }
            _ => Err(self.expected(key, value, "a table", example)),
        }
    }

    /// Tables of free names below `key`, in the order of the text: `[key.NAME]`.
    pub fn named(
        &self,
        key: &'static str,
        example: &str,
    ) -> Result<Vec<(At<&'a str>, Section<'a>)>, Problem> {
        let Some(value) = self.get(key) else { return Ok(Vec::new()) };
        let DeValue::Table(table) = value.get_ref() else {
            return Err(self.expected(key, value, &format!("tables headed [{key}.NAME]"), example));
        };
        let mut found = Vec::new();
        for (name, value) in table.iter() {
            let DeValue::Table(table) = value.get_ref() else {
                return Err(self.expected(
                    name.get_ref(),
                    value,
                    &format!("a table headed [{key}.{}]", name.get_ref()),
                    example,
                ));
            };
            let name = At { value: name.get_ref().as_ref(), span: name.span() };
            let section =
                Section::new(self.source, format!("[{key}.{}]", name.value), name.span.clone(), table);
            found.push((name, section));
        }
        found.sort_by_key(|(name, _)| name.span.start);
        Ok(found)
    }

    /// Whether a key is there as a table, a list or another kind of value.
    pub fn kind(&self, key: &str) -> Option<Kind> {
        let (_, value) = self.table.iter().find(|(name, _)| name.get_ref() == key)?;
        Some(match value.get_ref() {
            DeValue::Table(_) => Kind::Table,
            DeValue::Array(_) => Kind::List,
            DeValue::Integer(_) | DeValue::Float(_) => Kind::Number,
            _ => Kind::Other,
        })
    }

    /// `[[key]]`, as often as it is there.
    pub fn tables(&self, key: &'static str, example: &str) -> Result<Vec<Section<'a>>, Problem> {
        let Some(value) = self.get(key) else { return Ok(Vec::new()) };
        let name = match self.name.starts_with('[') {
            true => format!("[[{}.{key}]]", self.name.trim_matches(['[', ']'])),
            false => format!("[[{key}]]"),
        };
        let DeValue::Array(array) = value.get_ref() else {
            return Err(self.expected(key, value, &format!("tables headed {name}"), example));
        };
        let section = |value: &'a Spanned<DeValue<'a>>| match value.get_ref() {
            DeValue::Table(table) => Ok(Section::new(self.source, name.clone(), value.span(), table)),
            _ => Err(self.expected(key, value, "a table", example)),
        };
        array.iter().map(section).collect()
    }

    /// The bytes of the table in the text.
    pub fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// Refuses what nobody asked for.
    pub fn end(self) -> Result<(), Problem> {
        let asked = self.asked.borrow();
        let stranger = self.table.iter().filter(|(name, _)| !asked.contains_key(name.get_ref().as_ref()));
        let Some((name, _)) = stranger.min_by_key(|(name, _)| name.span().start) else { return Ok(()) };
        let known: Vec<&str> = asked.keys().copied().collect();
        let what = format!("{} knows no key '{}'", self.name, name.get_ref());
        let problem = self.wrong(name.span(), what, format!("expected one of: {}", known.join(", ")));
        Err(match nearest(name.get_ref(), known) {
            Some(word) => problem.help(format!("did you mean '{word}'?")),
            None => problem,
        })
    }
}

fn number(value: &DeValue<'_>) -> Option<f64> {
    let text = match value {
        DeValue::Integer(number) if number.radix() == 10 => number.as_str(),
        DeValue::Float(number) => number.as_str(),
        _ => return None,
    };
    text.parse::<f64>().ok().filter(|number| number.is_finite())
}

fn describe(value: &DeValue<'_>) -> String {
    const SHOWN_MAX: usize = 60;
    let shown = |text: &str| match text.char_indices().nth(SHOWN_MAX) {
        Some((at, _)) => format!("{}...", &text[..at]),
        None => text.to_owned(),
    };
    match value {
        DeValue::String(text) => format!("\"{}\"", shown(text)),
        DeValue::Integer(number) => shown(number.as_str()),
        DeValue::Float(number) => shown(number.as_str()),
        DeValue::Boolean(flag) => flag.to_string(),
        DeValue::Datetime(_) => "a date".into(),
        DeValue::Array(_) => "a list".into(),
        DeValue::Table(_) => "a table".into(),
    }
}
