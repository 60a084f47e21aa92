//! Durations, sizes and amounts as people write them.

use std::time::Duration;

const DURATION_UNITS: [(&str, f64); 6] =
    [("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3_600.0), ("d", 86_400.0), ("w", 604_800.0)];

/// Longer than anything simulated: a hundred years.
pub const DURATION_MAX: Duration = Duration::from_secs(100 * 365 * 86_400);

/// `90s`, `1.5h`, `1h 30m`.
pub fn duration(text: &str) -> Option<Duration> {
    let mut seconds = 0.0;
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(digits);
        let after = after.trim_start();
        let letters = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        let scale = DURATION_UNITS.iter().find(|(name, _)| *name == unit)?.1;
        seconds += number.parse::<f64>().ok()? * scale;
        rest = after.trim_start();
    }
    Duration::try_from_secs_f64(seconds).ok().filter(|duration| *duration <= DURATION_MAX)
}

/// A duration as [`duration`] reads it, in few words.
pub fn duration_text(duration: Duration) -> String {
    let millis = duration.as_millis();
    if millis == 0 {
        return "0s".into();
    }
    let units = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
    let mut rest = millis;
    let mut parts = Vec::new();
    for (name, size) in units {
        if rest >= size {
            parts.push(format!("{}{name}", rest / size));
            rest %= size;
        }
    }
    parts.join(" ")
}

/// `512 MiB`, `32GiB`, `1 TB`: in megabytes of 1024 * 1024 bytes, as Mesos counts.
pub fn megabytes(text: &str) -> Option<f64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = text.split_at(digits);
    let scale = match unit.trim() {
        "KiB" | "KB" => 1.0 / 1024.0,
        "MiB" | "MB" => 1.0,
        "GiB" | "GB" => 1024.0,
        "TiB" | "TB" => 1024.0 * 1024.0,
        _ => return None,
    };
    Some(number.parse::<f64>().ok()? * scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written() {
        for (text, seconds) in
            [("90s", 90.0), ("1.5h", 5400.0), ("1h 30m", 5400.0), ("250ms", 0.25), ("0s", 0.0)]
        {
            assert_eq!(duration(text), Some(Duration::from_secs_f64(seconds)), "{text}");
        }
        for bad in ["", "5", "s", "1x", "-1s", "1 month", "1..2s", "9999999w"] {
            assert_eq!(duration(bad), None, "{bad}");
        }
        assert_eq!(duration_text(Duration::from_millis(5_400_250)), "1h 30m 250ms");
        assert_eq!(duration(&duration_text(Duration::from_secs(90_061))), Some(Duration::from_secs(90_061)));
    }

    #[test]
    fn sizes_are_read() {
        assert_eq!(megabytes("512 MiB"), Some(512.0));
        assert_eq!(megabytes("1.5GiB"), Some(1536.0));
        assert_eq!(megabytes("12"), None);
        assert_eq!(megabytes("12 parsecs"), None);
    }
}
