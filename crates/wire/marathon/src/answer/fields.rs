//! How single values are written.

use std::{collections::BTreeMap, time::Duration};

use mezzo_json::Writer;
use mezzo_time::Timestamp;

use crate::time::push_time;

/// A key whose name is known here.
macro_rules! key {
    ($w:expr, $name:literal) => {
        $w.raw_key(concat!("\"", $name, "\":").as_bytes())
    };
}
pub(crate) use key;

/// A number, without a fraction when it has none, as Marathon writes them.
pub(crate) fn number(w: &mut Writer<'_>, value: f64) {
    // Whole numbers up to here are exact.
    const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;
    if value.fract() == 0.0 && value.abs() < WHOLE_MAX {
        w.integer(value as i64);
    } else if value.is_finite() {
        w.double(value);
    } else {
        // Not reached from definitions, whose numbers were read from JSON.
        w.integer(0);
    }
}

/// Whole seconds.
pub(crate) fn seconds(w: &mut Writer<'_>, duration: Duration) {
    w.unsigned(duration.as_secs());
}

/// Seconds with their fraction.
pub(crate) fn fractional_seconds(w: &mut Writer<'_>, duration: Duration) {
    number(w, duration.as_secs_f64());
}

/// A point in time.
pub(crate) fn time(w: &mut Writer<'_>, at: Timestamp) {
    let mut text = String::with_capacity(24);
    push_time(&mut text, at);
    w.string(&text);
}

/// A point in time that may be missing, as null.
pub(crate) fn time_or_null(w: &mut Writer<'_>, at: Option<Timestamp>) {
    match at {
        Some(at) => time(w, at),
        None => w.null(),
    }
}

/// A list of texts.
pub(crate) fn texts<'t>(w: &mut Writer<'_>, texts: impl IntoIterator<Item = &'t str>) {
    w.begin_array();
    for text in texts {
        w.string(text);
    }
    w.end_array();
}

/// A map of texts.
pub(crate) fn map(w: &mut Writer<'_>, map: &BTreeMap<String, String>) {
    w.begin_object();
    for (name, value) in map {
        w.key(name);
        w.string(value);
    }
    w.end_object();
}

/// A list whose elements `one` writes.
pub(crate) fn list<'w, T>(
    w: &mut Writer<'w>,
    items: impl IntoIterator<Item = T>,
    mut one: impl FnMut(&mut Writer<'w>, T),
) {
    w.begin_array();
    for item in items {
        one(w, item);
    }
    w.end_array();
}
