//! Patterns of offer constraints: RE2's syntax, matched against whole texts, with bounded cost.
//!
//! Our engine's programs are not RE2's, so their size is estimated from the pattern: a character,
//! class or assertion counts one, repetition with a count counts its operand that many times.

use regex::{Regex, RegexBuilder};

use crate::ConstraintLimits;

/// Memory that our own engine may use for one compiled pattern. A Unicode class takes some 10 KiB, so
/// this is far more than any pattern within [`ConstraintLimits`] needs.
const COMPILED_SIZE_MAX: usize = 4 << 20;

/// Compiles a pattern that has to match the whole text (rule 118).
pub(crate) fn compile(pattern: &str, limits: ConstraintLimits) -> Result<Regex, String> {
    if pattern.len() > limits.memory_max {
        return Err(format!("regex '{pattern:.64}' is larger than {} bytes", limits.memory_max));
    }
    // Alone first: a pattern such as `a)(b` must not become valid inside the group below.
    let bad = |error: regex::Error| format!("regex '{pattern:.64}' cannot be compiled: {error}");
    let size = program_size(pattern);
    if size > limits.program_size_max {
        return Err(format!(
            "regex '{pattern:.64}' has program size {size}, larger than {}",
            limits.program_size_max
        ));
    }
    let build = |text: &str| RegexBuilder::new(text).size_limit(COMPILED_SIZE_MAX).build();
    build(pattern).map_err(bad)?;
    build(&format!(r"\A(?:{pattern})\z")).map_err(bad)
}

/// An estimate of RE2's program size. Never panics on what is no pattern; the engine refuses that.
fn program_size(pattern: &str) -> usize {
    // One level per open group: what its finished part costs, and what its last item costs.
    let mut levels = vec![(0_usize, 0_usize)];
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        let top = levels.len() - 1;
        match c {
            '(' => {
                levels.push((0, 0));
                // Flags and names of groups cost nothing.
                if chars.next_if_eq(&'?').is_some() {
                    while chars.next_if(|c| !matches!(c, ':' | '>' | ')')).is_some() {}
                    chars.next_if(|c| *c != ')');
                }
            }
            ')' => {
                if top > 0
                    && let Some((done, last)) = levels.pop()
                {
                    push_item(&mut levels, done.saturating_add(last).saturating_add(2));
                }
            }
            '|' => {
                let (done, last) = levels[top];
                levels[top] = (done.saturating_add(last).saturating_add(1), 0);
            }
            '*' | '+' | '?' => levels[top].1 = levels[top].1.saturating_add(1),
            '{' => {
                let mut count = String::new();
                while let Some(c) = chars.next_if(|c| *c != '}') {
                    count.push(c);
                }
                chars.next();
                let times = count.split(',').filter_map(|n| n.trim().parse::<usize>().ok()).max();
                levels[top].1 = levels[top].1.saturating_mul(times.unwrap_or(1).max(1));
            }
            '[' => {
                let mut previous = None;
                for c in chars.by_ref() {
                    let is_end = c == ']' && !matches!(previous, None | Some('\\' | '^'));
                    previous = if previous == Some('\\') { Some(' ') } else { Some(c) };
                    if is_end {
                        break;
                    }
                }
                push_item(&mut levels, 1);
            }
            '\\' => {
                chars.next();
                push_item(&mut levels, 1);
            }
            _ => push_item(&mut levels, 1),
        }
    }
    levels.into_iter().fold(0, |sum: usize, (done, last)| sum.saturating_add(done).saturating_add(last))
}

/// Finishes the last item of the innermost level and starts another one.
fn push_item(levels: &mut [(usize, usize)], size: usize) {
    if let Some((done, last)) = levels.last_mut() {
        *done = done.saturating_add(*last);
        *last = size;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_118_whole_texts_match_and_size_is_bounded() {
        let limits = ConstraintLimits::default();
        let pattern = compile("r[0-9]+|x", limits).expect("valid");
        assert!(pattern.is_match("r17") && pattern.is_match("x"));
        assert!(!pattern.is_match("r17b") && !pattern.is_match("ax"));
        for bad in [
            "(",
            ")))(((a|*{2[^]]",
            "a)(b",
            "[",
            "(a{100}){100}",
            "a{101}",
            "((a{10}){10}){2}",
            "(?=a)",
            r"(a)\1",
        ] {
            assert!(compile(bad, limits).is_err(), "{bad}");
        }
        assert!(compile(&"a".repeat(101), limits).is_err());
        assert!(compile(&"(".repeat(5000), limits).is_err());
        assert!(compile("a{90}", limits).is_ok());
        assert!(compile("(?i:a{90})|(?P<name_that_is_long>b)", limits).is_ok());
    }
}
