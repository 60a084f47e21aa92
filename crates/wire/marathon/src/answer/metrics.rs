//! The names of the metrics and the two forms in which their values are answered.

use std::{borrow::Cow, fmt::Write as _};

use mezzo_json::Writer;

use super::fields::{key, number};

/// What a metric measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// How often something happens.
    Meter,
    /// How often and how long.
    Timer,
}

use MetricKind::{Counter, Gauge, Meter, Timer};

/// One metric of the table (rules 275 to 277).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetricName {
    /// The name; `<..>` stands for names that are filled in (rule 276).
    pub name: &'static str,
    /// What it measures.
    pub kind: MetricKind,
}

impl MetricName {
    /// Whether it says something here: there is no Java machine whose memory and threads could be told.
    pub fn is_given(&self) -> bool {
        !self.name.starts_with("marathon.jvm.")
    }
}

const fn name(name: &'static str, kind: MetricKind) -> MetricName {
    MetricName { name, kind }
}

/// All names in the order of the alphabet.
pub const METRICS: [MetricName; 75] = [
    name("marathon.apps.active.gauge", Gauge),
    name("marathon.deployments.active.gauge", Gauge),
    name("marathon.deployments.counter", Counter),
    name("marathon.deployments.dismissed.counter", Counter),
    name("marathon.groups.active.gauge", Gauge),
    name("marathon.http.event-streams.responses.size.counter.bytes", Counter),
    name("marathon.http.requests.active.gauge", Gauge),
    name("marathon.http.requests.delete.duration.timer.seconds", Timer),
    name("marathon.http.requests.duration.timer.seconds", Timer),
    name("marathon.http.requests.get.duration.timer.seconds", Timer),
    name("marathon.http.requests.post.duration.timer.seconds", Timer),
    name("marathon.http.requests.put.duration.timer.seconds", Timer),
    name("marathon.http.requests.size.counter.bytes", Counter),
    name("marathon.http.responses.1xx.rate.meter", Meter),
    name("marathon.http.responses.2xx.rate.meter", Meter),
    name("marathon.http.responses.3xx.rate.meter", Meter),
    name("marathon.http.responses.4xx.rate.meter", Meter),
    name("marathon.http.responses.5xx.rate.meter", Meter),
    name("marathon.http.responses.event-stream.size.counter.bytes", Counter),
    name("marathon.http.responses.size.counter.bytes", Counter),
    name("marathon.http.responses.size.gzipped.counter.bytes", Counter),
    name("marathon.instances.inflight-kill-attempts.gauge", Gauge),
    name("marathon.instances.inflight-kills.gauge", Gauge),
    name("marathon.instances.launch-overdue.gauge", Gauge),
    name("marathon.instances.running.gauge", Gauge),
    name("marathon.instances.staged.gauge", Gauge),
    name("marathon.jvm.buffers.direct.capacity.gauge.bytes", Gauge),
    name("marathon.jvm.buffers.direct.gauge", Gauge),
    name("marathon.jvm.buffers.direct.memory.used.gauge.bytes", Gauge),
    name("marathon.jvm.buffers.mapped.capacity.gauge.bytes", Gauge),
    name("marathon.jvm.buffers.mapped.gauge", Gauge),
    name("marathon.jvm.buffers.mapped.memory.used.gauge.bytes", Gauge),
    name("marathon.jvm.gc.<gc>.collections.duraration.gauge.seconds", Gauge),
    name("marathon.jvm.gc.<gc>.collections.gauge", Gauge),
    name("marathon.jvm.memory.heap.committed.gauge.bytes", Gauge),
    name("marathon.jvm.memory.heap.init.gauge.bytes", Gauge),
    name("marathon.jvm.memory.heap.max.gauge.bytes", Gauge),
    name("marathon.jvm.memory.heap.usage.gauge", Gauge),
    name("marathon.jvm.memory.heap.used.gauge.bytes", Gauge),
    name("marathon.jvm.memory.non-heap.committed.gauge.bytes", Gauge),
    name("marathon.jvm.memory.non-heap.init.gauge.bytes", Gauge),
    name("marathon.jvm.memory.non-heap.max.gauge.bytes", Gauge),
    name("marathon.jvm.memory.non-heap.usage.gauge", Gauge),
    name("marathon.jvm.memory.non-heap.used.gauge.bytes", Gauge),
    name("marathon.jvm.memory.total.committed.gauge.bytes", Gauge),
    name("marathon.jvm.memory.total.init.gauge.bytes", Gauge),
    name("marathon.jvm.memory.total.max.gauge.bytes", Gauge),
    name("marathon.jvm.memory.total.used.gauge.bytes", Gauge),
    name("marathon.jvm.threads.active.gauge", Gauge),
    name("marathon.jvm.threads.blocked.gauge", Gauge),
    name("marathon.jvm.threads.daemon.gauge", Gauge),
    name("marathon.jvm.threads.deadlocked.gauge", Gauge),
    name("marathon.jvm.threads.new.gauge", Gauge),
    name("marathon.jvm.threads.runnable.gauge", Gauge),
    name("marathon.jvm.threads.terminated.gauge", Gauge),
    name("marathon.jvm.threads.timed-waiting.gauge", Gauge),
    name("marathon.jvm.threads.waiting.gauge", Gauge),
    name("marathon.leadership.duration.gauge.seconds", Gauge),
    name("marathon.mesos.calls.revive.counter", Counter),
    name("marathon.mesos.calls.suppress.counter", Counter),
    name("marathon.mesos.offer-operations.launch-group.counter", Counter),
    name("marathon.mesos.offer-operations.launch.counter", Counter),
    name("marathon.mesos.offer-operations.reserve.counter", Counter),
    name("marathon.mesos.offers.declined.counter", Counter),
    name("marathon.mesos.offers.incoming.counter", Counter),
    name("marathon.mesos.offers.used.counter", Counter),
    name("marathon.mesos.task-updates.<task-state>.counter", Counter),
    name("marathon.mesos.task.oom.memory-limit-exceeded", Counter),
    name("marathon.mesos.task.oom.memory-limit-unfulfillable", Counter),
    name("marathon.persistence.gc.compaction.duration.timer.seconds", Timer),
    name("marathon.persistence.gc.runs.counter", Counter),
    name("marathon.persistence.gc.scan.duration.timer.seconds", Timer),
    name("marathon.pods.active.gauge", Gauge),
    name("marathon.tasks.launched.counter", Counter),
    name("marathon.uptime.gauge.seconds", Gauge),
];

/// How often something happened, and lately.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rates {
    /// How often at all.
    pub count: u64,
    /// Per second since the start.
    pub mean: f64,
    /// Per second, over the last minute.
    pub minute: f64,
    /// Over five minutes.
    pub five_minutes: f64,
    /// Over fifteen minutes.
    pub quarter_hour: f64,
}

/// How often something happened and how long it took, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Timing {
    /// How often.
    pub rates: Rates,
    /// The shortest.
    pub min: f64,
    /// The longest.
    pub max: f64,
    /// The mean.
    pub mean: f64,
    /// The standard deviation.
    pub stddev: f64,
    /// Half, three quarters, 95, 98, 99 and 99.9 of a hundred took no longer.
    pub quantiles: [f64; 6],
}

/// The names of the quantiles, and their shares.
const QUANTILES: [(&str, &str); 6] =
    [("p50", "0.5"), ("p75", "0.75"), ("p95", "0.95"), ("p98", "0.98"), ("p99", "0.99"), ("p999", "0.999")];

/// The values at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metrics {
    /// Counters by name.
    pub counters: Vec<(Cow<'static, str>, u64)>,
    /// Gauges by name.
    pub gauges: Vec<(Cow<'static, str>, f64)>,
    /// Meters by name.
    pub meters: Vec<(Cow<'static, str>, Rates)>,
    /// Timers by name.
    pub timers: Vec<(Cow<'static, str>, Timing)>,
}

/// The version of the form, not of the product.
const FORM_VERSION: &str = "5.0.0";

/// The answer of `/metrics`.
pub fn write_metrics(w: &mut Writer<'_>, metrics: &Metrics) {
    w.begin_object();
    key!(w, "version");
    w.string(FORM_VERSION);
    key!(w, "gauges");
    write_map(w, &metrics.gauges, |w, value| {
        key!(w, "value");
        number(w, *value);
    });
    key!(w, "counters");
    write_map(w, &metrics.counters, |w, count| {
        key!(w, "count");
        w.unsigned(*count);
    });
    key!(w, "histograms");
    w.begin_object();
    w.end_object();
    key!(w, "meters");
    write_map(w, &metrics.meters, |w, rates| {
        write_rates(w, rates);
        key!(w, "units");
        w.string("events/second");
    });
    key!(w, "timers");
    write_map(w, &metrics.timers, write_timing);
    w.end_object();
}

fn write_map<T>(w: &mut Writer<'_>, map: &[(Cow<'_, str>, T)], fields: impl Fn(&mut Writer<'_>, &T)) {
    w.begin_object();
    for (name, value) in map {
        w.key(name);
        w.begin_object();
        fields(w, value);
        w.end_object();
    }
    w.end_object();
}

fn write_rates(w: &mut Writer<'_>, rates: &Rates) {
    key!(w, "count");
    w.unsigned(rates.count);
    key!(w, "m15_rate");
    number(w, rates.quarter_hour);
    key!(w, "m1_rate");
    number(w, rates.minute);
    key!(w, "m5_rate");
    number(w, rates.five_minutes);
    key!(w, "mean_rate");
    number(w, rates.mean);
}

fn write_timing(w: &mut Writer<'_>, timing: &Timing) {
    write_rates(w, &timing.rates);
    key!(w, "min");
    number(w, timing.min);
    key!(w, "max");
    number(w, timing.max);
    key!(w, "mean");
    number(w, timing.mean);
    key!(w, "stddev");
    number(w, timing.stddev);
    for ((name, _), value) in QUANTILES.iter().zip(timing.quantiles) {
        w.key(name);
        number(w, value);
    }
    key!(w, "duration_units");
    w.string("seconds");
    key!(w, "rate_units");
    w.string("calls/second");
}

/// The answer of `/metrics/prometheus` (rule 278): dots and dashes become underscores.
pub fn write_prometheus(out: &mut String, metrics: &Metrics) {
    for (name, count) in &metrics.counters {
        line(out, name, "counter", |out, name| writeln!(out, "{name} {count}"));
    }
    for (name, value) in &metrics.gauges {
        line(out, name, "gauge", |out, name| writeln!(out, "{name} {value}"));
    }
    for (name, rates) in &metrics.meters {
        line(out, name, "counter", |out, name| writeln!(out, "{name} {}", rates.count));
    }
    for (name, timing) in &metrics.timers {
        line(out, name, "summary", |out, name| {
            for ((_, share), value) in QUANTILES.iter().zip(timing.quantiles) {
                writeln!(out, "{name}{{quantile=\"{share}\"}} {value}")?;
            }
            writeln!(out, "{name}_count {}", timing.rates.count)
        });
    }
}

fn line(
    out: &mut String,
    name: &str,
    kind: &str,
    values: impl FnOnce(&mut String, &str) -> std::fmt::Result,
) {
    let name: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    // A String takes every write.
    let _ = writeln!(out, "# TYPE {name} {kind}");
    let _ = values(out, &name);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The project's table of names, where it lies beside the repository.
    const TABLE: &str =
        concat!(env!("CARGO_MANIFEST_DIR"), "/../../../../shared/reference/marathon/metrics.tsv");

    #[test]
    fn marathon_rule_275_every_name_of_the_table_is_known_with_its_kind() {
        assert!(METRICS.is_sorted_by_key(|metric| metric.name));
        for metric in METRICS {
            let kind = match metric.kind {
                Counter => "counter",
                Gauge => "gauge",
                Meter => "meter",
                Timer => "timer",
            };
            let named = metric.name.split('.').any(|part| part == kind);
            // The two of tasks that ran out of memory carry no kind.
            assert!(named || metric.name.contains(".oom."), "{}", metric.name);
        }
        let Ok(table) = std::fs::read_to_string(TABLE) else { return };
        let names: Vec<&str> = table.lines().skip(1).filter_map(|line| line.split('\t').next()).collect();
        assert_eq!(METRICS.map(|metric| metric.name).to_vec(), names);
    }

    #[test]
    fn marathon_rule_277_and_278_both_forms() {
        let metrics = Metrics {
            counters: vec![("marathon.deployments.counter".into(), 3)],
            gauges: vec![("marathon.apps.active.gauge".into(), 2.0)],
            meters: vec![(
                "marathon.http.responses.2xx.rate.meter".into(),
                Rates { count: 7, ..Rates::default() },
            )],
            timers: vec![("marathon.http.requests.duration.timer.seconds".into(), Timing::default())],
        };
        let mut w = Writer::new();
        write_metrics(&mut w, &metrics);
        let json: serde_json::Value = serde_json::from_slice(&w.finish()).unwrap();
        assert_eq!(json["counters"]["marathon.deployments.counter"]["count"], 3);
        assert_eq!(json["gauges"]["marathon.apps.active.gauge"]["value"], 2);
        assert_eq!(json["meters"]["marathon.http.responses.2xx.rate.meter"]["units"], "events/second");
        let timer = &json["timers"]["marathon.http.requests.duration.timer.seconds"];
        assert_eq!((&timer["p999"], &timer["duration_units"]), (&0.into(), &"seconds".into()));
        let mut text = String::new();
        write_prometheus(&mut text, &metrics);
        assert!(
            text.contains("# TYPE marathon_apps_active_gauge gauge\nmarathon_apps_active_gauge 2\n"),
            "{text}"
        );
        assert!(
            text.contains("marathon_http_requests_duration_timer_seconds{quantile=\"0.5\"} 0\n"),
            "{text}"
        );
    }
}
