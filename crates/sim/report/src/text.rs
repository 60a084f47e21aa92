//! Numbers for people.

/// `0.35 s`, `41 s`, `3.4 min`, `2.1 h`, `1.5 d`.
pub fn seconds(value: f64) -> String {
    let (number, unit) = match value {
        ..120.0 => (value, "s"),
        ..7_200.0 => (value / 60.0, "min"),
        ..172_800.0 => (value / 3_600.0, "h"),
        _ => (value / 86_400.0, "d"),
    };
    format!("{} {unit}", number_of(number))
}

/// Three digits that mean something.
pub fn number_of(value: f64) -> String {
    let digits = match value.abs() {
        100.0.. => 0,
        10.0.. => 1,
        _ => 2,
    };
    let text = format!("{value:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// `71 %`
pub fn percent(share: f64) -> String {
    format!("{} %", number_of((share * 1000.0).round() / 10.0))
}

/// 12345 as `12,345`.
pub fn thousands(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Safe inside HTML and SVG.
pub(crate) fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            c if c.is_control() => safe.push(' '),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        assert_eq!(seconds(0.351), "0.35 s");
        assert_eq!(seconds(41.26), "41.3 s");
        assert_eq!(seconds(204.0), "3.4 min");
        assert_eq!(seconds(86_400.0), "24 h");
        assert_eq!(percent(0.7149), "71.5 %");
        assert_eq!([thousands(7), thousands(1234), thousands(1_234_567)], ["7", "1,234", "1,234,567"]);
        assert_eq!(escape("<a href=\"x\">&\n"), "&lt;a href=&quot;x&quot;&gt;&amp; ");
    }
}
