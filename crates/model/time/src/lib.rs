//! Points in time and the texts that Mesos writes durations and sizes in.
//!
//! There is deliberately no way to ask what time it is: a driver stamps inputs, a simulation invents
//! them.

use std::{
    fmt,
    ops::{Add, Sub},
    time::Duration,
};

/// Nanoseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The epoch itself.
    pub const ZERO: Self = Self(0);
    /// Later than anything that happens.
    pub const MAX: Self = Self(i64::MAX);

    /// From nanoseconds since the epoch.
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// From seconds since the epoch, as Mesos writes times into JSON. Saturates; NaN is the epoch.
    pub fn from_secs_f64(seconds: f64) -> Self {
        Self((seconds * 1e9) as i64)
    }

    /// Nanoseconds since the epoch.
    pub const fn as_nanos(self) -> i64 {
        self.0
    }

    /// Seconds since the epoch with their fraction, as Mesos writes times into JSON.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e9
    }

    /// Time since `earlier`, zero when that lies ahead.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;
    /// Saturates at [`Timestamp::MAX`].
    fn add(self, duration: Duration) -> Self {
        let nanos = i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(nanos))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Self;
    fn sub(self, duration: Duration) -> Self {
        let nanos = i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
        Self(self.0.saturating_sub(nanos))
    }
}

/// The time of a clock that is steered towards the wall clock: it showed `before`, since when `elapsed` has
/// passed on a monotonic clock, and the wall clock shows `wall` now.
///
/// It is the wall clock where that is at most a tenth of `elapsed` away, and otherwise comes closer by
/// that tenth. So it never goes back, a wall clock that is set to another hour ends no timeout, and dates
/// are right again in time.
pub fn steered(before: Timestamp, elapsed: Duration, wall: Timestamp) -> Timestamp {
    let steady = before + elapsed;
    let most = elapsed / 10;
    wall.clamp(steady - most, steady + most)
}

/// Units of a duration text, longest first where one is a suffix of another (rule 536).
const DURATION_UNITS: [(&str, f64); 8] = [
    ("weeks", 604_800e9),
    ("days", 86_400e9),
    ("hrs", 3_600e9),
    ("mins", 60e9),
    ("secs", 1e9),
    ("ms", 1e6),
    ("us", 1e3),
    ("ns", 1.0),
];

/// Reads a Mesos duration such as `10secs` or `1.5mins` (rule 536). Singular units are refused, as
/// Mesos refuses them; so is a negative or not finite number.
pub fn parse_duration(text: &str) -> Result<Duration, ParseError> {
    let bad = || ParseError {
        text: text.into(),
        wanted: "a number with ns, us, ms, secs, mins, hrs, days or weeks",
    };
    let digits =
        text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit() || ".-+e".contains(c)).len();
    let (number, unit) = text.split_at(digits);
    let scale = DURATION_UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(bad)?.1;
    let number: f64 = number.parse().map_err(|_| bad())?;
    let nanos = number * scale;
    if !(0.0..=i64::MAX as f64).contains(&nanos) {
        return Err(bad());
    }
    Ok(Duration::from_nanos(nanos as u64))
}

/// Writes a duration the way Mesos prints its flags: the largest unit that leaves a whole number.
pub fn format_duration(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    for (name, scale) in DURATION_UNITS {
        let scale = scale as u128;
        if nanos >= scale && nanos.is_multiple_of(scale) {
            return format!("{}{name}", nanos / scale);
        }
    }
    format!("{nanos}ns")
}

/// Reads a Mesos size such as `10MB`, powers of 1024, whole numbers only (rule 536).
pub fn parse_bytes(text: &str) -> Result<u64, ParseError> {
    let bad = || ParseError { text: text.into(), wanted: "a whole number with B, KB, MB, GB or TB" };
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let shift = match unit {
        "B" => 0,
        "KB" => 10,
        "MB" => 20,
        "GB" => 30,
        "TB" => 40,
        _ => return Err(bad()),
    };
    let number: u64 = number.parse().map_err(|_| bad())?;
    number.checked_mul(1 << shift).ok_or_else(bad)
}

/// A text that is not what its flag or parameter wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    text: String,
    wanted: &'static str,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}' is not {}", self.text, self.wanted)
    }
}

impl std::error::Error for ParseError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f180_a_wall_clock_that_is_set_moves_time_by_a_tenth() {
        let (second, hour) = (Duration::from_secs(1), Duration::from_secs(3600));
        let start = Timestamp::ZERO + hour * 24;
        assert_eq!(steered(start, second, start + second), start + second);
        let near = start + Duration::from_millis(1050);
        assert_eq!(steered(start, second, near), near, "small steps are followed at once");
        assert_eq!(steered(start, second, start + hour), start + Duration::from_millis(1100));
        for wall in [Timestamp::ZERO, start - hour] {
            assert_eq!(steered(start, second, wall), start + Duration::from_millis(900));
        }
        let mut time = start;
        let wall = |passed: u32| start + hour + second * passed;
        for passed in 1..=36_000 {
            assert_ne!(time, wall(passed - 1));
            time = steered(time, second, wall(passed));
        }
        assert_eq!(time, wall(36_000), "ten hours later it is right again");
    }

    #[test]
    fn rule_536_durations_and_sizes() {
        assert_eq!(parse_duration("10secs"), Ok(Duration::from_secs(10)));
        assert_eq!(parse_duration("1.5mins"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        for bad in ["", "5", "5sec", "secs", "-1secs", "1e400secs", "5 secs"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
        assert_eq!(format_duration(Duration::from_secs(600)), "10mins");
        assert_eq!(format_duration(Duration::ZERO), "0ns");
        assert_eq!(parse_bytes("10MB"), Ok(10 << 20));
        for bad in ["10", "1.5MB", "10mb", "MB", "99999999999TB"] {
            assert!(parse_bytes(bad).is_err(), "{bad}");
        }
    }
}
