//! The launch queue: what waits, why, and which offers were looked at.

use std::collections::BTreeMap;

use mezzo_json::Writer;
use mezzo_mesos::v1;
use mezzo_services_model::{NoMatch, QueueItem, RunSpec, UnusedOffer};
use mezzo_time::Timestamp;

use super::{
    app::write_app,
    fields::{key, list, number, texts, time},
};
use crate::pod::write_pod;

/// The answer with all that waits; `with_offers` when `embed=lastUnusedOffers` is asked for (rule 93).
pub fn write_queue<'a>(
    w: &mut Writer<'_>,
    items: impl IntoIterator<Item = &'a QueueItem>,
    now: Timestamp,
    with_offers: bool,
) {
    w.begin_object();
    key!(w, "queue");
    list(w, items, |w, item| {
        w.pause();
        write_item(w, item, now, with_offers);
    });
    w.end_object();
}

fn write_item(w: &mut Writer<'_>, item: &QueueItem, now: Timestamp, with_offers: bool) {
    w.begin_object();
    key!(w, "count");
    w.unsigned(item.count.into());
    key!(w, "delay");
    write_delay(w, item.delayed_until, now);
    key!(w, "since");
    time(w, item.since);
    key!(w, "role");
    w.string(&item.role);
    if !item.missing_secrets.is_empty() {
        key!(w, "missingSecrets");
        texts(w, item.missing_secrets.iter().map(String::as_str));
    }
    key!(w, "processedOffersSummary");
    write_summary(w, item);
    if with_offers {
        key!(w, "lastUnusedOffers");
        list(w, &item.last_unused, write_unused_offer);
    }
    match &item.run_spec {
        RunSpec::App(app) => {
            key!(w, "app");
            write_app(w, app);
        }
        RunSpec::Pod(pod) => {
            key!(w, "pod");
            write_pod(w, pod);
        }
    }
    w.end_object();
}

/// Whole seconds are rounded up: while there is a delay, some of it is left (rules 87 and 90).
fn write_delay(w: &mut Writer<'_>, until: Option<Timestamp>, now: Timestamp) {
    let left = until.map_or(0, |until| until.since(now).as_nanos().div_ceil(1_000_000_000));
    w.begin_object();
    key!(w, "timeLeftSeconds");
    w.unsigned(u64::try_from(left).unwrap_or(u64::MAX));
    key!(w, "overdue");
    w.boolean(left == 0);
    w.end_object();
}

fn write_summary(w: &mut Writer<'_>, item: &QueueItem) {
    w.begin_object();
    key!(w, "processedOffersCount");
    w.unsigned(item.processed.into());
    key!(w, "unusedOffersCount");
    w.unsigned(item.unused.into());
    if let Some(at) = item.last_unused_at {
        key!(w, "lastUnusedOfferAt");
        time(w, at);
    }
    if let Some(at) = item.last_used_at {
        key!(w, "lastUsedOfferAt");
        time(w, at);
    }
    let mut last: BTreeMap<NoMatch, u32> = BTreeMap::new();
    for reason in item.last_unused.iter().filter_map(|offer| offer.reasons.iter().min()) {
        *last.entry(*reason).or_default() += 1;
    }
    key!(w, "rejectSummaryLastOffers");
    write_funnel(w, u32::try_from(item.last_unused.len()).unwrap_or(u32::MAX), &last);
    key!(w, "rejectSummaryLaunchAttempt");
    write_funnel(w, item.processed, &item.rejected);
    w.end_object();
}

/// Each stage is reached by what the stages before it let pass (rule 92).
fn write_funnel(w: &mut Writer<'_>, mut processed: u32, declined: &BTreeMap<NoMatch, u32>) {
    list(w, NoMatch::ALL, |w, reason| {
        let lost = declined.get(&reason).copied().unwrap_or(0);
        w.begin_object();
        key!(w, "reason");
        w.string(reason.name());
        key!(w, "declined");
        w.unsigned(lost.into());
        key!(w, "processed");
        w.unsigned(processed.into());
        w.end_object();
        processed = processed.saturating_sub(lost);
    });
}

/// An offer that was not used. `details` is ours: what was wanted and what was free, in words.
fn write_unused_offer(w: &mut Writer<'_>, unused: &UnusedOffer) {
    w.begin_object();
    key!(w, "offer");
    write_offer(w, &unused.offer);
    key!(w, "reason");
    texts(w, unused.reasons.iter().map(|reason| reason.name()));
    key!(w, "details");
    texts(w, unused.details.iter().map(String::as_str));
    key!(w, "timestamp");
    time(w, unused.at);
    w.end_object();
}

fn write_offer(w: &mut Writer<'_>, offer: &v1::Offer) {
    w.begin_object();
    key!(w, "id");
    w.string(&offer.id.value);
    key!(w, "hostname");
    w.string(&offer.hostname);
    key!(w, "agentId");
    w.string(&offer.agent_id.value);
    key!(w, "resources");
    list(w, &offer.resources, |w, resource| {
        w.begin_object();
        key!(w, "name");
        w.string(&resource.name);
        key!(w, "role");
        w.string(
            resource.reservations.last().and_then(|reservation| reservation.role.as_deref()).unwrap_or("*"),
        );
        write_value(w, resource.scalar.as_ref(), resource.ranges.as_ref(), resource.set.as_ref(), None);
        w.end_object();
    });
    key!(w, "attributes");
    list(w, &offer.attributes, write_attribute);
    w.end_object();
}

/// An attribute of an agent.
pub(crate) fn write_attribute(w: &mut Writer<'_>, attribute: &v1::Attribute) {
    w.begin_object();
    key!(w, "name");
    w.string(&attribute.name);
    let text = attribute.text.as_ref().map(|text| text.value.as_str());
    write_value(w, attribute.scalar.as_ref(), attribute.ranges.as_ref(), attribute.set.as_ref(), text);
    w.end_object();
}

fn write_value(
    w: &mut Writer<'_>,
    scalar: Option<&v1::value::Scalar>,
    ranges: Option<&v1::value::Ranges>,
    set: Option<&v1::value::Set>,
    text: Option<&str>,
) {
    if let Some(scalar) = scalar {
        key!(w, "scalar");
        number(w, scalar.value);
    }
    if let Some(ranges) = ranges {
        key!(w, "ranges");
        list(w, &ranges.range, |w, range| {
            w.begin_object();
            key!(w, "begin");
            w.unsigned(range.begin);
            key!(w, "end");
            w.unsigned(range.end);
            w.end_object();
        });
    }
    if let Some(set) = set {
        key!(w, "set");
        texts(w, set.item.iter().map(String::as_str));
    }
    if let Some(text) = text {
        key!(w, "text");
        w.string(text);
    }
}
