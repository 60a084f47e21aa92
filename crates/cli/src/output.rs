//! Texts that several commands print.

use mezzo_mesos::v1;

/// Sum of a scalar over resources.
pub(crate) fn scalar(resources: &[v1::Resource], name: &str) -> f64 {
    let named = resources.iter().filter(|resource| resource.name == name);
    let milli: i64 =
        named.filter_map(|resource| Some((resource.scalar.as_ref()?.value * 1000.0).round() as i64)).sum();
    milli as f64 / 1000.0
}

/// A number without needless digits: `0.5`, `2`.
pub(crate) fn number(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Megabytes for people: `512 MiB`, `1.5 GiB`.
pub(crate) fn megabytes(value: f64) -> String {
    if value >= 1024.0 {
        format!("{} GiB", number((value / 102.4).round() / 10.0))
    } else {
        format!("{} MiB", number(value))
    }
}

/// Bytes for people, as registries count them: `512 B`, `6.8 MB`, `68 MB`.
pub(crate) fn bytes(count: u64) -> String {
    let (divisor, unit) = unit(count);
    format!("{} {unit}", short(count, divisor))
}

/// Part of a number of bytes: `12 of 68 MB`.
pub(crate) fn bytes_of(count: u64, total: u64) -> String {
    let (divisor, unit) = unit(total);
    format!("{} of {} {unit}", short(count, divisor), short(total, divisor))
}

fn unit(count: u64) -> (u64, &'static str) {
    match count {
        0..1_000 => (1, "B"),
        1_000..1_000_000 => (1_000, "kB"),
        1_000_000..1_000_000_000 => (1_000_000, "MB"),
        _ => (1_000_000_000, "GB"),
    }
}

/// One digit behind the point where there is one before it.
fn short(count: u64, divisor: u64) -> String {
    let value = count as f64 / divisor as f64;
    number(if value < 10.0 { (value * 10.0).round() / 10.0 } else { value.round() })
}

/// Seconds for people: `12s`, `3m`, `5h`, `2d`.
pub(crate) fn age(seconds: f64) -> String {
    let seconds = seconds.max(0.0) as u64;
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// `TASK_RUNNING` as people say it.
pub(crate) fn state(state: v1::TaskState) -> String {
    state.as_str_name().trim_start_matches("TASK_").to_ascii_lowercase().replace('_', " ")
}

/// Seconds since the epoch.
pub(crate) fn now() -> f64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map(|since| since.as_secs_f64()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        assert_eq!([number(2.0), number(0.1), number(10.0)], ["2", "0.1", "10"]);
        assert_eq!([megabytes(64.0), megabytes(1536.0)], ["64 MiB", "1.5 GiB"]);
        assert_eq!([bytes(0), bytes(6_840_000), bytes(68_400_000)], ["0 B", "6.8 MB", "68 MB"]);
        assert_eq!([bytes_of(12_300_000, 68_000_000), bytes_of(0, 900)], ["12 of 68 MB", "0 of 900 B"]);
        assert_eq!([age(5.2), age(180.0), age(90_000.0), age(200_000.0)], ["5s", "3m", "25h", "2d"]);
        assert_eq!(state(v1::TaskState::TaskGoneByOperator), "gone by operator");
    }
}
