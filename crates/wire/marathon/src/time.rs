//! Points in time as the API writes and reads them: milliseconds, UTC, with a Z (rule 240).

use jiff::fmt::temporal::DateTimePrinter;
use mezzo_time::Timestamp;

const NANOS_PER_MILLI: i64 = 1_000_000;

const PRINTER: DateTimePrinter = DateTimePrinter::new().precision(Some(3));

/// The text of a point in time, cut to milliseconds: `2026-11-22T10:00:00.000Z`.
pub fn time_text(at: Timestamp) -> String {
    let mut text = String::with_capacity(24);
    push_time(&mut text, at);
    text
}

/// Appends the text of a point in time.
pub(crate) fn push_time(out: &mut String, at: Timestamp) {
    // All of an i64 of nanoseconds lies within what jiff can tell, and a String takes every write.
    let Ok(at) = jiff::Timestamp::from_nanosecond(i128::from(millis(at).as_nanos())) else { return };
    let _ = PRINTER.print_timestamp(&at, out);
}

/// The point in time that a text names: a date and a time with `Z` or an offset. Cut to milliseconds, as versions are.
pub fn parse_time(text: &str) -> Option<Timestamp> {
    let at: jiff::Timestamp = text.parse().ok()?;
    Some(millis(Timestamp::from_nanos(i64::try_from(at.as_nanosecond()).ok()?)))
}

/// The same point without what is below a millisecond, so that its text names it again.
pub fn millis(at: Timestamp) -> Timestamp {
    Timestamp::from_nanos(at.as_nanos() - at.as_nanos().rem_euclid(NANOS_PER_MILLI))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marathon_rule_240_times_have_milliseconds_and_a_z() {
        for (nanos, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_429_184_464_917_000_000, "2015-04-16T11:41:04.917Z"),
            (1_429_184_464_917_999_999, "2015-04-16T11:41:04.917Z"),
            (1_429_184_464_000_000_001, "2015-04-16T11:41:04.000Z"),
        ] {
            assert_eq!(time_text(Timestamp::from_nanos(nanos)), text);
            assert_eq!(parse_time(text), Some(millis(Timestamp::from_nanos(nanos))));
        }
        assert_eq!(parse_time("2015-04-16T13:41:04.917+02:00"), parse_time("2015-04-16T11:41:04.917Z"));
        for bad in ["", "yesterday", "2015-04-16", "2015-13-16T11:41:04Z"] {
            assert_eq!(parse_time(bad), None, "{bad}");
        }
    }
}
