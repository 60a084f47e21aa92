//! Rules of area resources, and the laws of the algebra.

#![expect(deprecated, reason = "the older forms are made of the fields that the newer one replaces")]

use mezzo_ids::Role;
use mezzo_mesos::v1::{
    self,
    resource::{
        DiskInfo, ReservationInfo,
        disk_info::{Persistence, Source, source},
        reservation_info,
    },
    value,
};
use proptest::prelude::*;

use crate::*;

fn parse(text: &str) -> Resources {
    parse_resources(text, "*").expect("a valid text")
}

fn scalar(name: &str, value: f64) -> v1::Resource {
    v1::Resource {
        name: name.into(),
        r#type: value::Type::Scalar.into(),
        scalar: Some(value::Scalar { value }),
        ..v1::Resource::default()
    }
}

fn ranges(name: &str, ranges: &[(u64, u64)]) -> v1::Resource {
    let range = ranges.iter().map(|(begin, end)| value::Range { begin: *begin, end: *end }).collect();
    v1::Resource {
        name: name.into(),
        r#type: value::Type::Ranges.into(),
        ranges: Some(value::Ranges { range }),
        ..v1::Resource::default()
    }
}

fn set(name: &str, items: &[&str]) -> v1::Resource {
    v1::Resource {
        name: name.into(),
        r#type: value::Type::Set.into(),
        set: Some(value::Set { item: items.iter().map(ToString::to_string).collect() }),
        ..v1::Resource::default()
    }
}

fn reservation(kind: reservation_info::Type, role: &str) -> ReservationInfo {
    ReservationInfo { r#type: Some(kind.into()), role: Some(role.into()), ..ReservationInfo::default() }
}

fn source(kind: source::Type) -> DiskInfo {
    DiskInfo { source: Some(Source { r#type: kind.into(), ..Source::default() }), ..DiskInfo::default() }
}

fn volume(id: &str, size: f64, shared: bool) -> Resource {
    let persistence = Some(Persistence { id: id.into(), principal: None });
    let message = v1::Resource {
        disk: Some(Box::new(DiskInfo { persistence, ..DiskInfo::default() })),
        reservations: vec![reservation(reservation_info::Type::Dynamic, "web")],
        shared: shared.then(v1::resource::SharedInfo::default),
        ..scalar("disk", size)
    };
    Resource::from_proto(&message).expect("a valid volume")
}

fn error_of(message: &v1::Resource) -> String {
    Resources::from_proto(std::slice::from_ref(message)).expect_err("an invalid resource").to_string()
}

#[test]
fn rule_432_scalars_have_three_decimals() {
    let mut sum = Resources::empty();
    for _ in 0..10 {
        sum += &Resources::from_proto(&[scalar("cpus", 0.1)]).expect("valid");
    }
    assert_eq!(sum, parse("cpus:1"));
    assert_eq!(Scalar::from_f64(1.0004), Scalar::from_whole(1));
    assert_eq!(Scalar::from_f64(1.0006), Scalar::from_thousandths(1001));
    assert_eq!(Scalar::from_f64(0.001).to_string(), "0.001");
    assert_eq!(Scalar::from_f64(0.25).to_string(), "0.25");
    assert_eq!(Scalar::from_f64(1.5).to_string(), "1.5");
}

#[test]
fn rule_433_only_like_resources_add_up() {
    let base = scalar("disk", 1.0);
    let web = v1::Resource { role: Some("web".into()), ..base.clone() };
    let allocated = v1::Resource {
        allocation_info: Some(v1::resource::AllocationInfo { role: Some("web".into()) }),
        ..base.clone()
    };
    let path = v1::Resource { disk: Some(Box::new(source(source::Type::Path))), ..base.clone() };
    let provided =
        v1::Resource { provider_id: Some(v1::ResourceProviderId { value: "p".into() }), ..base.clone() };
    let revocable = v1::Resource { revocable: Some(v1::resource::RevocableInfo::default()), ..base.clone() };
    let renamed = v1::Resource { name: "space".into(), ..base.clone() };
    let all = [base, web, allocated, path, provided, revocable, renamed];
    let sum = Resources::from_proto(&[all.clone(), all].concat()).expect("valid");
    assert_eq!(sum.len(), 7);
    assert!(sum.iter().all(|resource| resource.as_scalar() == Some(Scalar::from_whole(2))));
}

#[test]
fn rule_434_exclusive_disks_are_never_merged_or_split() {
    let mut raw = source(source::Type::Raw);
    raw.source.as_mut().expect("a source").id = Some("disk-1".into());
    for disk in [source(source::Type::Mount), source(source::Type::Block), raw] {
        let whole =
            Resource::from_proto(&v1::Resource { disk: Some(Box::new(disk)), ..scalar("disk", 10.0) })
                .expect("valid");
        let part = whole.clone().with_value(Value::Scalar(Scalar::from_whole(4)));
        let two: Resources = [whole.clone(), whole.clone()].into_iter().collect();
        assert_eq!(two.len(), 2);
        assert!(!two.contains_one(&part));
        assert!(!Resources::from(whole.clone()).contains(&two), "one is not two");
        let mut one = two.clone();
        assert!(one.checked_sub(&whole.clone().into()));
        assert_eq!(one, whole.into());
        assert!(!one.checked_sub(&part.into()));
    }
    let path = Resource::from_proto(&v1::Resource {
        disk: Some(Box::new(source(source::Type::Path))),
        ..scalar("disk", 10.0)
    })
    .expect("valid");
    assert_eq!([path.clone(), path].into_iter().collect::<Resources>().len(), 1);
    let volumes: Resources = [volume("a", 5.0, false), volume("a", 5.0, false)].into_iter().collect();
    assert_eq!(volumes.len(), 2);
}

#[test]
fn rule_435_shared_resources_count_copies() {
    let shared = volume("a", 64.0, true);
    let two: Resources = [shared.clone(), shared.clone()].into_iter().collect();
    assert_eq!(two.len(), 1);
    assert_eq!(two.iter().next().and_then(Resource::copies), Some(2));
    assert_eq!(two.scalar("disk"), Scalar::from_whole(64));
    assert_eq!(two.to_proto(Form::PostRefinement).len(), 2);
    assert_eq!(Resources::from_proto(&two.to_proto(Form::PreRefinement)).as_ref(), Ok(&two));
    let mut one = two.clone();
    assert!(one.checked_sub(&shared.clone().into()));
    assert_eq!(one, shared.into());
    assert!(!one.contains(&two));
}

#[test]
fn rule_436_ranges_are_merged_and_sorted() {
    let ports = |pieces: &[(u64, u64)]| Resources::from_proto(&[ranges("ports", pieces)]).expect("valid");
    assert_eq!(ports(&[(4, 9), (1, 3)]), ports(&[(1, 9)]));
    assert_eq!(parse("ports:[5-9, 1-6]"), ports(&[(1, 9)]));
    let mut left = ports(&[(1, 9)]);
    assert!(left.checked_sub(&ports(&[(1, 1), (4, 5), (9, 9)])));
    assert_eq!(left.to_string(), "ports:[2-3, 6-8]");
    assert_eq!(left.ranges("ports").count(), 5);
    assert!(!left.checked_sub(&ports(&[(3, 4)])));
    let all = Ranges::merged([(0, u64::MAX)]);
    assert_eq!(all.minus(&Ranges::merged([(u64::MAX, u64::MAX)])).count(), u64::MAX);
    assert_eq!(all.minus(&all), Ranges::default());
    for (pieces, why) in [(&[(1, 5), (5, 9)][..], "overlapping ranges"), (&[(5, 1)], "begin > end")] {
        assert!(error_of(&ranges("ports", pieces)).contains(why));
    }
}

#[test]
fn rule_437_what_is_empty_vanishes() {
    let nothing = [scalar("cpus", 0.0), ranges("ports", &[]), set("licenses", &[])];
    assert_eq!(Resources::from_proto(&nothing).as_ref(), Ok(&Resources::empty()));
    assert!(parse("cpus:0;ports:[];licenses:{}").is_empty());
    let mut cpus = parse("cpus:2");
    assert!(cpus.checked_sub(&parse("cpus:2")));
    assert!(cpus.is_empty());
}

#[test]
fn rule_438_unreserved_has_no_reservations() {
    let of = |message: &v1::Resource| Resource::from_proto(message).expect("valid");
    assert!(of(&scalar("cpus", 1.0)).is_unreserved());
    assert!(of(&v1::Resource { role: Some("*".into()), ..scalar("cpus", 1.0) }).is_unreserved());
    let web = of(&v1::Resource { role: Some("web".into()), ..scalar("cpus", 1.0) });
    assert!(web.is_reserved_to("web") && !web.is_unreserved() && !web.is_dynamically_reserved());
    assert!(web.is_allocatable_to("web/shop") && !web.is_allocatable_to("webshop"));
}

#[test]
fn rule_439_old_and_new_form_agree_or_are_refused() {
    let old = v1::Resource {
        role: Some("web".into()),
        reservation: Some(Box::new(ReservationInfo {
            principal: Some("ops".into()),
            ..ReservationInfo::default()
        })),
        ..scalar("cpus", 2.0)
    };
    let resource = Resource::from_proto(&old).expect("the old form");
    assert_eq!(resource.to_string(), "cpus(reservations: [(DYNAMIC,web,ops)]):2");
    assert_eq!(resource.to_proto(Form::PreRefinement), old);
    let new = resource.to_proto(Form::PostRefinement);
    assert_eq!((new.role.as_ref(), new.reservation.as_ref(), new.reservations.len()), (None, None, 1));
    assert_eq!(Resource::from_proto(&new).as_ref(), Ok(&resource));
    assert_eq!(Resource::from_proto(&resource.to_proto(Form::Endpoint)).as_ref(), Ok(&resource));

    let mixed = v1::Resource { role: Some("other".into()), ..new };
    assert!(error_of(&mixed).contains("must not be set"));
    let star = v1::Resource { role: None, ..old };
    assert!(error_of(&star).ends_with("role \"*\" cannot be dynamically reserved"));
    use reservation_info::Type::{Dynamic, Static, Unknown};
    for stack in [
        vec![reservation(Static, "*")],
        vec![reservation(Unknown, "web")],
        vec![ReservationInfo { role: None, ..reservation(Static, "web") }],
        vec![reservation(Dynamic, "web"), reservation(Static, "web/shop")],
        vec![reservation(Dynamic, "web"), reservation(Dynamic, "web")],
        vec![reservation(Dynamic, "web"), reservation(Dynamic, "webshop")],
        vec![reservation(Dynamic, "a//b")],
        vec![reservation(Dynamic, "-a")],
        vec![reservation(Dynamic, "a b")],
    ] {
        error_of(&v1::Resource { reservations: stack, ..scalar("cpus", 1.0) });
    }
}

#[test]
fn rule_440_endpoint_form_shows_both_for_one_reservation() {
    use reservation_info::Type::{Dynamic, Static};
    let of = |stack: Vec<ReservationInfo>| {
        let message = v1::Resource { reservations: stack, ..scalar("cpus", 1.0) };
        Resource::from_proto(&message).expect("valid").to_proto(Form::Endpoint)
    };
    let none = of(vec![]);
    assert_eq!((none.role.as_deref(), none.reservations.len()), (Some("*"), 0));
    let fixed = of(vec![reservation(Static, "web")]);
    assert_eq!((fixed.role.as_deref(), fixed.reservation, fixed.reservations.len()), (Some("web"), None, 1));
    let made = of(vec![reservation(Dynamic, "web")]);
    assert_eq!(made.reservation.as_deref(), Some(&ReservationInfo::default()));
    let refined = of(vec![reservation(Static, "web"), reservation(Dynamic, "web/shop")]);
    assert_eq!((refined.role, refined.reservation, refined.reservations.len()), (None, None, 2));
}

#[test]
fn rule_441_disks_and_sharing() {
    let disk = || Some(Box::<DiskInfo>::default());
    let wrong = v1::Resource { disk: disk(), ..scalar("cpus", 1.0) };
    assert!(error_of(&wrong).ends_with("DiskInfo should not be set for cpus resource"));
    let shared = v1::Resource { shared: Some(v1::resource::SharedInfo::default()), ..scalar("disk", 1.0) };
    error_of(&shared);
    let revocable = v1::Resource {
        revocable: Some(v1::resource::RevocableInfo::default()),
        ..volume("a", 1.0, false).to_proto(Form::PostRefinement)
    };
    error_of(&revocable);
    error_of(&v1::Resource { disk: Some(Box::new(source(source::Type::Unknown))), ..scalar("disk", 1.0) });
}

#[test]
fn rule_442_numbers_that_are_none_are_refused() {
    assert_eq!(
        error_of(&scalar("cpus", -1.0)),
        "Resource 'cpus:-1' is invalid: Invalid scalar resource: value <= 0"
    );
    assert_eq!(
        error_of(&scalar("cpus", 0.0001)),
        "Resource 'cpus:0' is invalid: Invalid scalar resource: value <= 0"
    );
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MIN_POSITIVE / 2.0] {
        error_of(&scalar("cpus", bad));
    }
    error_of(&v1::Resource { scalar: None, ..scalar("cpus", 1.0) });
    error_of(&v1::Resource { name: String::new(), ..scalar("cpus", 1.0) });
    error_of(&v1::Resource { r#type: 99, ..scalar("cpus", 1.0) });
    error_of(&set("licenses", &["a", "a"]));
    // Sums of the largest numbers stay where they are instead of wrapping around.
    let huge = Resources::from_proto(&[scalar("cpus", 1e300), scalar("cpus", 1e300)]).expect("valid");
    assert_eq!(huge.scalar("cpus"), Scalar::from_thousandths(i64::MAX));
}

#[test]
fn rule_443_words_are_for_attributes() {
    error_of(&v1::Resource { r#type: value::Type::Text.into(), scalar: None, ..scalar("rack", 1.0) });
    assert!(parse_resources("rack:r17", "*").is_err());
    let attributes = parse_attributes("rack:r17;tier:gold tier;url:http://host:80").expect("valid");
    let texts: Vec<_> = attributes.iter().filter_map(|a| Some(a.text.as_ref()?.value.as_str())).collect();
    assert_eq!(texts, ["r17", "goldtier", "http://host:80"]);
}

#[test]
fn rule_444_attributes_may_repeat_but_are_no_sets() {
    let attributes = parse_attributes("a:1;a:[1-4]\na:x;b:-3").expect("valid");
    let kinds: Vec<_> = attributes.iter().map(v1::Attribute::r#type).collect();
    use value::Type::{Ranges, Scalar, Text};
    assert_eq!(kinds, [Scalar, Ranges, Text, Text]);
    for bad in ["a:{x}", "a", ":x", "a:", "a:[1-", "a:[x]"] {
        assert!(parse_attributes(bad).is_err(), "{bad}");
    }
}

#[test]
fn rule_446_default_role_replaces_a_missing_one() {
    let resources = parse_resources("cpus:1;cpus(web):2;cpus(*):3", "ops").expect("valid");
    assert_eq!(
        resources.to_string(),
        "cpus(reservations: [(STATIC,ops)]):1; cpus(reservations: [(STATIC,web)]):2; cpus:3"
    );
}

#[test]
fn rule_446_flags_as_messages() {
    let web = v1::Resource { role: Some("web".into()), ..scalar("cpus", 2.0) };
    let all = agent_resources(&[scalar("cpus", 1.0), web.clone(), scalar("mem", 0.0)], "ops");
    assert_eq!(all, parse_resources("cpus(ops):1;cpus(web):2", "*").map_err(|_| unreachable!()));
    let dynamic = v1::Resource { reservation: Some(Box::default()), ..web };
    let revocable =
        v1::Resource { revocable: Some(v1::resource::RevocableInfo::default()), ..scalar("cpus", 1.0) };
    let volume = volume("v", 1.0, false).to_proto(Form::PostRefinement);
    for bad in [dynamic, revocable, volume] {
        assert!(agent_resources(&[bad], "*").is_err());
    }
    assert!(agent_resources(&[scalar("a", 1.0), ranges("a", &[(1, 2)])], "*").is_err());
}

#[test]
fn texts_of_resources() {
    let all = parse("cpus:6;mem:12288; disk:204800;;ports:[20000-20999];cpus(web):2;licenses:{lic1,lic2}");
    assert_eq!(
        all.to_string(),
        "cpus:6; mem:12288; disk:204800; ports:[20000-20999]; cpus(reservations: [(STATIC,web)]):2; \
         licenses:{lic1, lic2}"
    );
    for bad in [
        "cpus",
        "cpus:",
        ":1",
        "cpus:a",
        "cpus:-1",
        "cpus:1;cpus:[1-2]",
        "cpus(web:1",
        "cpus(a/):1",
        "cpus():1",
        "ports:[1-2",
        "ports:[2-1]",
        "a:{x,x}",
        "a:1:2",
        "a:x[1]",
        "cpus:inf",
        "cpus:nan",
    ] {
        assert!(parse_resources(bad, "*").is_err(), "{bad}");
    }
    let labels = v1::Labels { labels: vec![v1::Label { key: "k".into(), value: Some("v".into()) }] };
    let reserved = Resource::from_proto(&v1::Resource {
        reservations: vec![ReservationInfo {
            labels: Some(labels),
            ..reservation(reservation_info::Type::Dynamic, "eng")
        }],
        disk: Some(Box::new(DiskInfo {
            persistence: Some(Persistence { id: "vol-1".into(), principal: None }),
            volume: Some(v1::Volume { container_path: "data".into(), ..v1::Volume::default() }),
            source: None,
        })),
        ..scalar("disk", 256.0)
    });
    assert_eq!(
        reserved.expect("valid").to_string(),
        "disk(reservations: [(DYNAMIC,eng,{k: v})])[vol-1:data]:256"
    );
    let held = Resources::from_proto(&[scalar("cpus", 3.9)]).expect("valid").allocated(&Role::from("*"));
    assert_eq!(held.to_string(), "cpus(allocated: *):3.9");
    let quantities = Quantities::parse("mem:256;cpus:1001").expect("valid");
    assert_eq!(quantities.to_string(), "cpus:1001; mem:256");
    assert!(Quantities::parse("cpus:x").is_err() && Quantities::parse("cpus").is_err());
}

#[test]
fn quantities_keep_their_order_and_no_zeros_whatever_their_names() {
    let all = Quantities::parse("mem:2;zinc:4;cpus:1;ants:3;net:5;disk:6;gpus:7").expect("valid");
    let names: Vec<_> = all.iter().map(|(name, _)| name.to_string()).collect();
    assert_eq!(names, ["ants", "cpus", "disk", "gpus", "mem", "net", "zinc"]);
    assert_eq!(all.iter().count(), 7);
    for (name, amount) in all.iter() {
        assert_eq!(all.get(name), amount);
        let mut left = all.clone();
        left.subtract_one(name, amount + amount);
        assert_eq!(left.iter().count(), 6);
        assert!(all.contains(&left) && !left.contains(&all));
        assert_eq!(all.checked_sub(&left).map(|one| one.to_string()), Some(format!("{name}:{amount}")));
        assert_eq!(left.checked_sub(&all), None);
        left.add_one(name, amount);
        assert_eq!(left, all);
    }
    let mut none = all.clone();
    none.subtract(&all);
    assert!(none.is_empty() && none == Quantities::EMPTY && none.iter().next().is_none());
    assert_eq!(format!("{:?}", none + &Quantities::parse("x:1").expect("valid")), r#"{"x": Scalar(1000)}"#);
}

#[test]
fn lists_that_cost_too_much_are_refused() {
    let many: Vec<_> = (0..5000).map(|i| scalar(&format!("r{i}"), 1.0)).collect();
    assert!(Resources::from_proto(&many).is_err());
    assert_eq!(Resources::from_proto(&many[..2048]).map(|all| all.len()), Ok(2048));
    let pieces: Vec<_> = (0..40_000).map(|i| (2 * i, 2 * i)).collect();
    assert!(Resources::from_proto(&[ranges("ports", &pieces)]).is_err());
    assert!(Resources::from_proto(&[ranges("ports", &pieces[..16_000])]).is_ok());
}

#[test]
fn find_prefers_own_reservations_then_unreserved() {
    let all = parse("cpus:2;cpus(web):1;cpus(ops):5;mem:64");
    let found = all.find(&parse("cpus(web):2;mem:32")).expect("enough");
    assert_eq!(found.to_string(), "cpus(reservations: [(STATIC,web)]):1; cpus:1; mem:32");
    assert_eq!(all.find(&parse("cpus:9")), None);
    assert_eq!(all.find(&parse("gpus:1")), None);
}

#[test]
fn conversions_need_what_they_consume() {
    let total = parse("cpus:4;mem:64");
    let conversion = Conversion { consumed: parse("cpus:1"), converted: parse("cpus(web):1") };
    let after = total.apply(&conversion).expect("contained");
    assert_eq!(after, parse("cpus:3;mem:64;cpus(web):1"));
    let back = Conversion { consumed: conversion.converted, converted: conversion.consumed };
    assert_eq!(after.apply(&back).as_ref(), Ok(&total));
    let much = Conversion { consumed: parse("cpus:1000"), converted: Resources::empty() };
    let error = total.apply(&much).expect_err("too much").to_string();
    assert_eq!(error, "cpus:4; mem:64 does not contain cpus:1000");
}

/// Resources of a few names, reservations and kinds, so that they often meet.
fn any_resource() -> impl Strategy<Value = Resource> {
    let amount = prop_oneof![
        (0_i64..5000).prop_map(|n| ("cpus", Value::Scalar(Scalar::from_thousandths(n)))),
        (0_i64..5000).prop_map(|n| ("disk", Value::Scalar(Scalar::from_thousandths(n)))),
        prop::collection::vec((0_u64..40, 0_u64..6), 0..4).prop_map(|pieces| {
            ("ports", Value::Ranges(Ranges::merged(pieces.into_iter().map(|(b, n)| (b, b + n)))))
        }),
        prop::collection::vec(prop::sample::select(vec!["a", "b", "c"]), 0..3)
            .prop_map(|items| ("licenses", Value::Set(items.into_iter().collect()))),
    ];
    let stack = prop::sample::select(vec![vec![], vec!["web"], vec!["web", "web/shop"], vec!["ops"]]);
    (amount, stack, any::<bool>(), prop::option::of(prop::sample::select(vec!["web", "ops"]))).prop_map(
        |((name, value), stack, revocable, holder)| {
            let stack: Vec<_> = stack
                .into_iter()
                .enumerate()
                .map(|(depth, role)| Reservation {
                    kind: if depth == 0 { ReservationKind::Static } else { ReservationKind::Dynamic },
                    role: Role::from(role),
                    principal: None,
                    labels: None,
                })
                .collect();
            Resource::new(name, value)
                .with_reservations(&stack)
                .with_revocable(revocable)
                .with_allocation_role(holder.map(Role::from))
        },
    )
}

/// Sums of them, and volumes, some of them shared.
fn any_resources() -> impl Strategy<Value = Resources> {
    let volume = (prop::sample::select(vec!["v", "w"]), any::<bool>())
        .prop_map(|(id, shared)| volume(id, 5.0, shared));
    prop::collection::vec(prop_oneof![8 => any_resource(), 1 => volume], 0..8)
        .prop_map(|all| all.into_iter().collect())
}

/// Without ranges and sets, whose sums are unions.
fn any_numbers() -> impl Strategy<Value = Resources> {
    any_resources().prop_map(|all| all.scalars())
}

proptest! {
    #[test]
    fn sums_do_not_depend_on_order(a in any_resources(), b in any_resources(), c in any_resources()) {
        prop_assert_eq!(a.clone() + &b, b.clone() + &a);
        prop_assert_eq!((a.clone() + &b) + &c, a.clone() + (b + &c));
        prop_assert_eq!(a.clone() + Resources::empty(), a);
    }

    #[test]
    fn sums_of_numbers_are_exact(a in any_numbers(), b in any_numbers()) {
        let sum = a.clone() + &b;
        let mut left = sum.clone();
        prop_assert!(left.checked_sub(&b));
        prop_assert_eq!(&left, &a);
        let cpus = |r: &Resources| r.scalar("cpus").thousandths();
        prop_assert_eq!(cpus(&sum), cpus(&a) + cpus(&b));
    }

    #[test]
    fn what_is_contained_can_be_taken_and_put_back(a in any_resources(), b in any_resources()) {
        let sum = a.clone() + &b;
        prop_assert!(sum.contains(&b));
        let mut left = sum.clone();
        prop_assert!(left.checked_sub(&b));
        prop_assert_eq!(left + &b, sum);
        if !a.contains(&b) {
            let mut same = a.clone();
            prop_assert!(!same.checked_sub(&b));
            prop_assert_eq!(same, a);
        }
    }

    #[test]
    fn containment_is_an_order(a in any_resources(), b in any_resources(), c in any_resources()) {
        prop_assert!(a.contains(&a));
        prop_assert!(a.contains(&Resources::empty()));
        if a.contains(&b) && b.contains(&a) {
            prop_assert_eq!(&a, &b);
        }
        if a.contains(&b) && b.contains(&c) {
            prop_assert!(a.contains(&c));
        }
    }

    #[test]
    fn lists_are_normalised(a in any_resources()) {
        let all: Vec<_> = a.iter().collect();
        for (i, left) in all.iter().enumerate() {
            prop_assert!(!left.is_empty());
            prop_assert!(all[i + 1..].iter().all(|right| !left.adds_to(right)));
        }
        let reversed: Resources = a.clone().into_iter().rev().collect();
        prop_assert_eq!(reversed, a);
    }

    #[test]
    fn every_form_round_trips(a in any_resources()) {
        for form in [Form::PreRefinement, Form::PostRefinement, Form::Endpoint] {
            let read = Resources::from_proto(&a.to_proto(form));
            prop_assert_eq!(read.as_ref(), Ok(&a));
        }
    }

    #[test]
    fn allocation_and_reservation_can_be_undone(a in any_resources()) {
        let plain = a.unallocated();
        let role = Role::from("web");
        prop_assert_eq!(&plain.allocated(&role).unallocated(), &plain);
        let reservation = Reservation {
            kind: ReservationKind::Dynamic, role, principal: None, labels: None,
        };
        prop_assert_eq!(&plain.push_reservation(&reservation).pop_reservation(), &plain);
        let mut parts = plain.unreserved();
        for reserved in plain.reservations().into_values() {
            parts += reserved;
        }
        prop_assert_eq!(parts, plain);
    }

    #[test]
    fn found_resources_are_there_and_are_enough(a in any_numbers(), b in any_numbers()) {
        let b = b.non_shared().filter(|resource| !resource.is_exclusive());
        if let Some(found) = a.find(&b) {
            prop_assert!(a.contains(&found));
            prop_assert_eq!(found.quantities(), b.quantities());
        }
    }

    #[test]
    fn ranges_behave_like_sets_of_numbers(
        a in prop::collection::vec((0_u64..60, 0_u64..8), 0..5),
        b in prop::collection::vec((0_u64..60, 0_u64..8), 0..5),
    ) {
        let of = |pieces: &[(u64, u64)]| Ranges::merged(pieces.iter().map(|(b, n)| (*b, b + n)));
        let (a, b) = (of(&a), of(&b));
        let has = |r: &Ranges, n: u64| r.iter().any(|(begin, end)| begin <= n && n <= end);
        for n in 0..70 {
            prop_assert_eq!(has(&a.union(&b), n), has(&a, n) || has(&b, n));
            prop_assert_eq!(has(&a.minus(&b), n), has(&a, n) && !has(&b, n));
            prop_assert_eq!(has(&a.intersection(&b), n), has(&a, n) && has(&b, n));
        }
        prop_assert_eq!(a.contains(&b), b.minus(&a).is_empty());
    }

    #[test]
    fn texts_never_panic(text in "[a-c:;(){}\\[\\]0-9,.*/ -]{0,24}") {
        let _ = parse_resources(&text, "*");
        let _ = parse_attributes(&text);
        let _ = Quantities::parse(&text);
    }
}
