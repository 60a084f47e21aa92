//! What is wrong with a file: where, what was expected, an example, what to do.

use std::{fmt, ops::Range};

/// A line longer than this is shown only around the mistake.
const EXCERPT_MAX: usize = 100;

/// A place in a file. Lines and columns count from 1; columns count characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// As it was named to us.
    pub file: String,
    /// Of the mistake.
    pub line: usize,
    /// Of the mistake.
    pub column: usize,
    /// The line itself.
    pub text: String,
    /// How many characters the mistake is long.
    pub length: usize,
}

/// Why a scenario, trace or policy is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong, with the offending value.
    pub what: String,
    /// Where; `None` for what came from a command line.
    pub place: Option<Box<Place>>,
    /// What was expected, or which resource lacks how much.
    pub why: String,
    /// What to write instead: an example, a suggestion.
    pub help: Vec<String>,
}

impl Problem {
    /// A problem without a place.
    pub fn new(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self { what: what.into(), place: None, why: why.into(), help: Vec::new() }
    }

    /// Adds a place.
    pub fn at(mut self, place: Place) -> Self {
        self.place = Some(Box::new(place));
        self
    }

    /// Adds something to do.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help.push(help.into());
        self
    }

    /// The lines under the place: the source with the mistake marked.
    pub fn excerpt(&self) -> Option<String> {
        let place = self.place.as_ref()?;
        let number = place.line.to_string();
        let margin = " ".repeat(number.len());
        let from = if place.text.chars().count() > EXCERPT_MAX {
            place.column.saturating_sub(EXCERPT_MAX / 2)
        } else {
            0
        };
        let text: String = place.text.chars().skip(from).take(EXCERPT_MAX).collect();
        let before = " ".repeat((place.column - 1).saturating_sub(from));
        let room = EXCERPT_MAX.saturating_sub(before.len()).max(1);
        let mark = "^".repeat(place.length.clamp(1, room));
        Some(format!(" {margin} |\n {number} | {text}\n {margin} | {before}{mark}"))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.what)?;
        if let Some(place) = &self.place {
            write!(f, "\n  --> {}:{}:{}", place.file, place.line, place.column)?;
        }
        if let Some(excerpt) = self.excerpt() {
            write!(f, "\n{excerpt}")?;
        }
        write!(f, "\n   = {}", self.why)?;
        for help in &self.help {
            write!(f, "\n  help: {help}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problem {}

/// A text with a name, so that byte ranges can be told as lines and columns.
#[derive(Clone, Debug)]
pub struct Source<'a> {
    /// As messages call it: a file's name.
    pub name: &'a str,
    /// All of it.
    pub text: &'a str,
}

impl Source<'_> {
    /// Line and column of a range of bytes.
    pub fn place(&self, span: Range<usize>) -> Place {
        let start = floor_char(self.text, span.start);
        let end = floor_char(self.text, span.end.max(start));
        let line_start = self.text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = self.text[start..].find('\n').map_or(self.text.len(), |at| start + at);
        Place {
            file: self.name.to_owned(),
            line: self.text[..start].matches('\n').count() + 1,
            column: self.text[line_start..start].chars().count() + 1,
            text: self.text[line_start..line_end].trim_end_matches('\r').to_owned(),
            length: self.text[start..end.min(line_end)].chars().count().max(1),
        }
    }
}

fn floor_char(text: &str, mut at: usize) -> usize {
    at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// The known word that somebody probably meant.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let far = (word.chars().count() / 3).max(2);
    let near = known.into_iter().map(|candidate| (distance(word, candidate), candidate));
    near.filter(|(distance, _)| *distance <= far).min().map(|(_, candidate)| candidate)
}

/// How many letters to insert, delete, replace or swap. Long words are not worth the work.
fn distance(a: &str, b: &str) -> usize {
    const LETTERS_MAX: usize = 64;
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    if a.len() > LETTERS_MAX || b.len() > LETTERS_MAX {
        return usize::MAX;
    }
    let mut rows = vec![(0..=b.len()).collect::<Vec<usize>>()];
    for (i, letter) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, other) in b.iter().enumerate() {
            let replaced = rows[i][j] + usize::from(letter != other);
            let mut best = replaced.min(rows[i][j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a[i - 1] == *other && *letter == b[j - 1] {
                best = best.min(rows[i - 1][j - 1] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_counts_characters_not_bytes() {
        let source = Source { name: "a.toml", text: "x = 1\nnäme = \"ö\"\n" };
        let start = source.text.find("\"ö").expect("there");
        let place = source.place(start..start + 4);
        assert_eq!((place.line, place.column, place.length), (2, 8, 3));
    }

    #[test]
    fn words_suggest_what_was_meant() {
        let known = ["count", "cpus", "memory", "duration"];
        assert_eq!(nearest("cout", known), Some("count"));
        assert_eq!(nearest("memroy", known), Some("memory"));
        assert_eq!(nearest("flavour", known), None);
    }

    #[test]
    fn a_huge_line_is_shown_around_the_mistake() {
        let text = format!("{}!{}", "a".repeat(5000), "b".repeat(5000));
        let place = Source { name: "x", text: &text }.place(5000..5001);
        let problem = Problem::new("bad", "no").at(place);
        let shown = problem.excerpt().expect("excerpt");
        assert!(shown.len() < 400, "{shown}");
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines[1].find('!'), lines[2].find('^'));
    }
}
