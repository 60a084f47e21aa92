//! Which apps a list shows: by command, id and labels.

use std::{fmt, iter::Peekable, str::Chars};

use mezzo_services_model::{App, AppCommand};

/// A selector of labels that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelectorError {
    selector: String,
    reason: String,
}

impl fmt::Display for SelectorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Can not parse label selector {}. Reason: {}", self.selector, self.reason)
    }
}

impl std::error::Error for SelectorError {}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Wanted {
    Any,
    OneOf(Vec<String>),
    NoneOf(Vec<String>),
}

/// Conditions on labels, all of which must hold: `a`, `a == b`, `a != b`, `a in (b, c)`, `a notin (b, c)`, with commas
/// between. An app without the label fulfils none of them. A backslash takes the meaning from what follows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelSelector(Vec<(String, Wanted)>);

impl LabelSelector {
    /// Reads one.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let mut parser = Parser { rest: text.chars().peekable() };
        let parsed = parser.selector();
        parsed.map(Self).map_err(|reason| SelectorError { selector: text.into(), reason })
    }

    /// Whether an app fulfils all conditions.
    pub fn matches(&self, app: &App) -> bool {
        self.0.iter().all(|(label, wanted)| {
            app.labels.get(label).is_some_and(|value| match wanted {
                Wanted::Any => true,
                Wanted::OneOf(values) => values.contains(value),
                Wanted::NoneOf(values) => !values.contains(value),
            })
        })
    }
}

struct Parser<'a> {
    rest: Peekable<Chars<'a>>,
}

impl Parser<'_> {
    fn selector(&mut self) -> Result<Vec<(String, Wanted)>, String> {
        let mut conditions = Vec::new();
        loop {
            conditions.push(self.condition()?);
            match self.next_visible() {
                None => return Ok(conditions),
                Some(',') => {}
                Some(other) => return Err(format!("'{other}' is not expected")),
            }
        }
    }

    fn condition(&mut self) -> Result<(String, Wanted), String> {
        let label = self.word()?;
        let wanted = match self.peek_visible() {
            None | Some(',') => Wanted::Any,
            Some('=') => {
                self.sign("==")?;
                Wanted::OneOf(vec![self.word()?])
            }
            Some('!') => {
                self.sign("!=")?;
                Wanted::NoneOf(vec![self.word()?])
            }
            Some(_) => match self.word()?.as_str() {
                "in" => Wanted::OneOf(self.set()?),
                "notin" => Wanted::NoneOf(self.set()?),
                other => return Err(format!("\"{other}\" is no operator")),
            },
        };
        Ok((label, wanted))
    }

    fn set(&mut self) -> Result<Vec<String>, String> {
        self.sign("(")?;
        let mut values = vec![self.word()?];
        loop {
            match self.next_visible() {
                Some(',') => values.push(self.word()?),
                Some(')') => return Ok(values),
                _ => return Err("')' is expected".into()),
            }
        }
    }

    fn sign(&mut self, sign: &str) -> Result<(), String> {
        self.peek_visible();
        for expected in sign.chars() {
            if self.rest.next() != Some(expected) {
                return Err(format!("'{sign}' is expected"));
            }
        }
        Ok(())
    }

    fn word(&mut self) -> Result<String, String> {
        self.peek_visible();
        let mut word = String::new();
        while let Some(next) = self.rest.peek().copied() {
            match next {
                '\\' => {
                    self.rest.next();
                    word.push(self.rest.next().ok_or("nothing follows the last backslash")?);
                }
                ',' | '=' | '!' | '(' | ')' => break,
                next if next.is_whitespace() => break,
                next => {
                    self.rest.next();
                    word.push(next);
                }
            }
        }
        if word.is_empty() { Err("a name or value is expected".into()) } else { Ok(word) }
    }

    fn peek_visible(&mut self) -> Option<char> {
        while self.rest.peek().is_some_and(|next| next.is_whitespace()) {
            self.rest.next();
        }
        self.rest.peek().copied()
    }

    fn next_visible(&mut self) -> Option<char> {
        self.peek_visible();
        self.rest.next()
    }
}

/// Which apps a list shows; what is not set lets all through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AppFilter {
    /// A part of the command, in any case.
    pub cmd: Option<String>,
    /// A part of the id, in any case.
    pub id: Option<String>,
    /// Conditions on labels.
    pub labels: Option<LabelSelector>,
}

impl AppFilter {
    /// Whether the list shows an app.
    pub fn matches(&self, app: &App) -> bool {
        let holds = |text: &str, part: &str| text.to_lowercase().contains(&part.to_lowercase());
        let cmd = match &app.command {
            Some(AppCommand::Shell(line)) => line.as_str(),
            _ => "",
        };
        self.cmd.as_ref().is_none_or(|part| holds(cmd, part))
            && self.id.as_ref().is_none_or(|part| holds(app.id.as_str(), part))
            && self.labels.as_ref().is_none_or(|labels| labels.matches(app))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::read_stored_app;

    #[test]
    fn apps_are_chosen_by_labels_command_and_id() {
        let app =
            json!({"id": "/shop/Web".to_lowercase(), "cmd": "Run me", "labels": {"a": "1", "b c": "x,y"}});
        let app = read_stored_app(&app).unwrap();
        for (selector, wanted) in [
            ("a", true),
            ("z", false),
            ("a==1", true),
            ("a == 2", false),
            ("a != 2", true),
            ("z != 2", false),
            ("a in (1, 2)", true),
            ("a notin (1,2)", false),
            ("a notin (3)", true),
            (r"b\ c == x\,y , a", true),
            ("a, z", false),
        ] {
            assert_eq!(LabelSelector::parse(selector).unwrap().matches(&app), wanted, "{selector}");
        }
        for bad in ["", "a,", "a=1", "a in 1", "a in (1", "a in ()", "a b c", "==", "a\\", "a) "] {
            assert!(LabelSelector::parse(bad).is_err(), "{bad}");
        }
        let filter = |cmd: Option<&str>, id: Option<&str>| {
            AppFilter { cmd: cmd.map(String::from), id: id.map(String::from), labels: None }.matches(&app)
        };
        assert!(
            filter(Some("RUN"), Some("SHOP")) && !filter(Some("walk"), None) && !filter(None, Some("bank"))
        );
    }
}
