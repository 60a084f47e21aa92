//! Resources as the v0 endpoints show them: one key per name, roles and reservations merged away.

use mezzo_json::Writer;
use mezzo_mesos::v1;
use mezzo_resources::{Quantities, Ranges, Resources, Scalar, Value};

/// What the resources of one name add up to.
enum Total<'a> {
    Scalar(i64),
    Ranges(Vec<(u64, u64)>),
    Set(Vec<&'a str>),
}

/// The four amounts that are always shown, and the rest in order of appearance.
#[derive(Default)]
struct Totals<'a> {
    disk: i64,
    mem: i64,
    gpus: i64,
    cpus: i64,
    others: Vec<(&'a str, bool, Total<'a>)>,
}

impl<'a> Totals<'a> {
    fn scalar(&mut self, name: &'a str, revocable: bool, thousandths: i64) {
        let total = match name {
            "disk" if !revocable => &mut self.disk,
            "mem" if !revocable => &mut self.mem,
            "gpus" if !revocable => &mut self.gpus,
            "cpus" if !revocable => &mut self.cpus,
            _ => match self.other(name, revocable, || Total::Scalar(0)) {
                Total::Scalar(total) => total,
                _ => return,
            },
        };
        *total = total.saturating_add(thousandths);
    }

    fn ranges(&mut self, name: &'a str, revocable: bool, ranges: impl Iterator<Item = (u64, u64)>) {
        if let Total::Ranges(total) = self.other(name, revocable, || Total::Ranges(Vec::new())) {
            total.extend(ranges);
        }
    }

    fn set(&mut self, name: &'a str, revocable: bool, items: impl Iterator<Item = &'a str>) {
        if let Total::Set(total) = self.other(name, revocable, || Total::Set(Vec::new())) {
            total.extend(items);
        }
    }

    fn other(&mut self, name: &'a str, revocable: bool, empty: impl Fn() -> Total<'a>) -> &mut Total<'a> {
        let found = self.others.iter().position(|(n, r, _)| *n == name && *r == revocable);
        let index = found.unwrap_or_else(|| {
            self.others.push((name, revocable, empty()));
            self.others.len() - 1
        });
        &mut self.others[index].2
    }

    fn write(self, w: &mut Writer<'_>) {
        w.begin_object();
        w.raw_key(b"\"disk\":");
        w.thousandths(self.disk);
        w.raw_key(b"\"mem\":");
        w.thousandths(self.mem);
        w.raw_key(b"\"gpus\":");
        w.thousandths(self.gpus);
        w.raw_key(b"\"cpus\":");
        w.thousandths(self.cpus);
        for (name, revocable, total) in self.others {
            if revocable {
                w.key(&format!("{name}_revocable"))
            } else {
                w.key(name)
            }
            match total {
                Total::Scalar(total) => w.thousandths(total),
                Total::Ranges(total) => write_ranges(w, total),
                Total::Set(mut total) => {
                    total.sort_unstable();
                    total.dedup();
                    write_set(w, total.into_iter());
                }
            }
        }
        w.end_object();
    }
}

fn write_ranges(w: &mut Writer<'_>, ranges: Vec<(u64, u64)>) {
    let single = ranges.len() == 1;
    let merged = if single { None } else { Some(Ranges::merged(ranges.iter().copied())) };
    w.text(|text| {
        text.push("[");
        let mut first = true;
        let mut one = |(begin, end): (u64, u64)| {
            if !std::mem::take(&mut first) {
                text.push(", ");
            }
            text.unsigned(begin);
            text.push("-");
            text.unsigned(end);
        };
        match &merged {
            None => ranges.iter().copied().for_each(&mut one),
            Some(merged) => merged.iter().for_each(&mut one),
        }
        text.push("]");
    });
}

fn write_set<'i>(w: &mut Writer<'_>, items: impl Iterator<Item = &'i str>) {
    w.text(|text| {
        text.push("{");
        for (index, item) in items.enumerate() {
            if index > 0 {
                text.push(", ");
            }
            text.push(item);
        }
        text.push("}");
    });
}

/// The totals of a resource list.
pub fn write_resources(w: &mut Writer<'_>, resources: &Resources) {
    let mut totals = Totals::default();
    for resource in resources.iter() {
        let (name, revocable) = (resource.name().as_str(), resource.is_revocable());
        match resource.value() {
            Value::Scalar(amount) => totals.scalar(name, revocable, thousandths(amount.as_f64())),
            Value::Ranges(ranges) => totals.ranges(name, revocable, ranges.iter()),
            Value::Set(set) => totals.set(name, revocable, set.iter()),
        }
    }
    totals.write(w);
}

/// The totals of resources that are still messages.
pub fn write_proto_resources(w: &mut Writer<'_>, resources: &[v1::Resource]) {
    let mut totals = Totals::default();
    for resource in resources {
        let (name, revocable) = (resource.name.as_str(), resource.revocable.is_some());
        if let Some(scalar) = &resource.scalar {
            totals.scalar(name, revocable, thousandths(scalar.value));
        } else if let Some(ranges) = &resource.ranges {
            totals.ranges(name, revocable, ranges.range.iter().map(|r| (r.begin, r.end)));
        } else if let Some(set) = &resource.set {
            totals.set(name, revocable, set.item.iter().map(String::as_str));
        }
    }
    totals.write(w);
}

fn thousandths(amount: f64) -> i64 {
    (amount * 1000.0).round() as i64
}

/// The role a task's or executor's resources are allocated to.
pub(crate) fn allocation_role(resources: &[v1::Resource]) -> Option<&str> {
    Some(resources.first()?.allocation_info.as_ref()?.role.as_deref().unwrap_or_default())
}

/// Amounts by name, only those that are there.
pub fn write_quantities(w: &mut Writer<'_>, quantities: &Quantities) {
    w.begin_object();
    for (name, amount) in quantities.iter() {
        w.key(name.as_str());
        write_scalar(w, amount);
    }
    w.end_object();
}

fn write_scalar(w: &mut Writer<'_>, amount: Scalar) {
    w.thousandths(thousandths(amount.as_f64()));
}

/// An agent's attributes.
pub fn write_attributes(w: &mut Writer<'_>, attributes: &[v1::Attribute]) {
    w.begin_object();
    for attribute in attributes {
        w.key(&attribute.name);
        if let Some(scalar) = &attribute.scalar {
            w.double(scalar.value);
        } else if let Some(ranges) = &attribute.ranges {
            write_ranges(w, ranges.range.iter().map(|r| (r.begin, r.end)).collect());
        } else if let Some(set) = &attribute.set {
            write_set(w, set.item.iter().map(String::as_str));
        } else {
            w.string(attribute.text.as_ref().map_or("", |text| &text.value));
        }
    }
    w.end_object();
}
