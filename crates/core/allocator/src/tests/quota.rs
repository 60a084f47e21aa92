//! Areas allocation and quota: guarantees, limits and what counts against them.

use super::*;

#[test]
fn rule_127_guarantees_come_first() {
    let mut c = Cluster::new();
    c.quota("b", "cpus:2;mem:128", "");
    c.framework("f1", &["a"]);
    c.framework("f2", &["b"]);
    for i in 0..4 {
        c.agent(&format!("a{i}"), "cpus:1;mem:64");
    }
    let takers = c.takers();
    assert_eq!(takers.iter().filter(|line| line.starts_with("f2 b")).count(), 2);
    assert_eq!(takers.len(), 4);
    assert_eq!(c.allocator.consumption("b"), amounts("cpus:2;mem:128"));
}

#[test]
fn rule_127_a_guarantee_takes_no_more_than_it_misses() {
    let mut c = Cluster::new();
    c.quota("b", "cpus:2", "");
    c.framework("f1", &["a"]);
    c.framework("f2", &["b"]);
    c.agent("a1", "cpus:8;mem:64;ports:[1-9]");
    // What is left over is shared as usual.
    assert_eq!(c.offers(), ["f1 a a1 cpus:6", "f2 b a1 ports:[1-9]; cpus:2; mem:64"]);
}

#[test]
fn rule_128_headroom_is_kept_for_unmet_guarantees() {
    let mut c = Cluster::new();
    c.quota("b", "cpus:3", "");
    c.framework("f1", &["a"]);
    c.agent("a1", "cpus:2;mem:64");
    c.agent("a2", "cpus:2;mem:64");
    let given: f64 = c.pass().offers.iter().map(|offer| offer.resources().scalar("cpus").as_f64()).sum();
    assert_eq!(given, 1.0, "nobody is in b yet, and its three cpus stay free");
    assert_eq!(c.allocator.consumption("a"), amounts("cpus:1;mem:128"));
    c.framework("f2", &["b"]);
    c.pass();
    assert_eq!(c.allocator.consumption("b").get("cpus"), Scalar::from_whole(3));
}

#[test]
fn rule_128_reserved_and_revocable_resources_are_no_headroom() {
    let mut c = Cluster::new();
    c.quota("b", "cpus:4", "");
    let revocable = parse("cpus:4").map(|resource| resource.with_revocable(true));
    let total = parse("cpus:4;mem:64;cpus(a):2") + revocable;
    c.agent_as("a1", AgentProfile { total, ..AgentProfile::default() });
    let capabilities = FrameworkCapabilities { revocable_resources: true, ..Default::default() };
    c.framework_as("f1", FrameworkProfile { capabilities, ..profile(&["a"]) });
    assert_eq!(c.offers(), ["f1 a a1 cpus(reservations: [(STATIC,a)]):2; cpus{REV}:4; mem:64"]);
}

#[test]
fn rule_130_limits_are_never_exceeded() {
    let mut c = Cluster::new();
    c.quota("a", "", "cpus:3");
    c.framework("f1", &["a/x"]);
    c.agent("a1", "cpus:2;mem:64");
    c.agent("a2", "cpus:2;mem:64");
    let cpus: f64 = c.pass().offers.iter().map(|offer| offer.resources().scalar("cpus").as_f64()).sum();
    assert_eq!(cpus, 3.0, "the limit of an ancestor counts");
    assert_eq!(c.allocator.consumption("a").get("cpus"), Scalar::from_whole(3));
    // What comes back on one agent allows as much on another: a full pass finds it.
    let holder =
        if c.allocator.held(&"f1".into(), &"a1".into()).scalar("cpus").as_f64() == 2.0 { "a1" } else { "a2" };
    c.allocator.deactivate_agent(&holder.into());
    c.finish("f1", "a/x", holder, "cpus:2");
    c.wait(1.0);
    let cpus: f64 = c.pass().offers.iter().map(|offer| offer.resources().scalar("cpus").as_f64()).sum();
    assert_eq!(cpus, 1.0);
}

#[test]
fn rules_130_and_146_reservations_count_as_consumed() {
    let mut c = Cluster::new();
    c.quota("a", "", "cpus:3;mem:32");
    c.agent("a1", "cpus:4;mem:64;cpus(a):2");
    assert_eq!(c.allocator.consumption("a"), amounts("cpus:2"));
    c.framework("f1", &["a"]);
    // Its own reservation, and one cpu more.
    assert_eq!(c.offers(), ["f1 a a1 cpus(reservations: [(STATIC,a)]):2; cpus:1; mem:32"]);
    assert_eq!(c.allocator.consumption("a"), amounts("cpus:3;mem:32"));
    c.decline("f1", "a1", 60.0);
    assert_eq!(c.allocator.consumption("a"), amounts("cpus:2"));
}

#[test]
fn rule_130_a_limit_of_zero_is_a_limit() {
    let mut c = Cluster::new();
    let limit = [(Name::from("cpus"), Scalar::ZERO)].into_iter().collect();
    c.allocator.set_quota(&"a".into(), Quota { guarantee: Quantities::default(), limit });
    c.agent("a1", "cpus:4;mem:16");
    c.framework("f1", &["a"]);
    assert_eq!(c.offers(), [""; 0]);
    assert_eq!(c.why("f1"), [Reason::Quota]);
    // rules 134 and 139: without quota nothing is limited
    c.quota("a", "", "");
    assert_eq!(c.offers(), ["f1 a a1 cpus:4; mem:16"]);
    assert_eq!(c.allocator.quotas().count(), 0);
}

#[test]
fn rule_131_offers_pause_after_a_failover_with_quota() {
    let mut c = Cluster::new();
    c.allocator.pause_for_recovery(c.now, 10);
    c.agent("a0", "cpus:1");
    c.framework("f1", &["a"]);
    assert_eq!(c.takers().len(), 1, "without quota there is no pause");

    let mut c = Cluster::new();
    c.quota("b", "cpus:1", "");
    c.allocator.pause_for_recovery(c.now, 10);
    c.framework("f1", &["a"]);
    for i in 0..7 {
        c.agent(&format!("a{i}"), "cpus:1");
        assert_eq!(c.takers(), [""; 0]);
    }
    assert_eq!(c.why("f1"), [Reason::Recovering]);
    assert_eq!(c.allocator.next_deadline(), Some(c.now + Duration::from_secs(600)));
    c.agent("a7", "cpus:1");
    assert!(c.allocator.next_deadline().is_some_and(|at| at <= c.now));
    assert_eq!(c.takers().len(), 7, "one is kept for b");

    let mut c = Cluster::new();
    c.quota("b", "cpus:1", "");
    c.allocator.pause_for_recovery(c.now, 10);
    c.framework("f1", &["b"]);
    c.agent("a0", "cpus:1");
    assert_eq!(c.takers(), [""; 0]);
    c.wait(600.0);
    assert_eq!(c.takers(), ["f1 b a0"]);
}

#[test]
fn rules_133_and_135_a_quota_is_replaced_as_a_whole() {
    let mut c = Cluster::new();
    c.quota("a", "cpus:1", "cpus:2");
    c.quota("a", "", "mem:64");
    let quotas: Vec<_> = c.allocator.quotas().map(|(_, quota)| quota.clone()).collect();
    assert_eq!(quotas.len(), 1);
    assert!(quotas[0].guarantee.is_empty());
    c.agent("a1", "cpus:4;mem:128");
    c.framework("f1", &["a"]);
    assert_eq!(c.offers(), ["f1 a a1 cpus:4; mem:64"], "cpus without limit are unlimited");
    let config = v1::quota::QuotaConfig {
        role: "a".into(),
        guarantees: [("cpus".into(), v1::value::Scalar { value: 1.5 })].into(),
        limits: [("cpus".into(), v1::value::Scalar { value: 0.0 })].into(),
    };
    let quota = Quota::from_proto(&config);
    assert_eq!(quota.guarantee, amounts("cpus:1.5"));
    assert_eq!(quota.limit.get("cpus"), Some(&Scalar::ZERO));
}

#[test]
fn rule_138_capacity_is_what_cannot_be_taken_back() {
    let mut c = Cluster::new();
    let revocable = parse("cpus:4").map(|resource| resource.with_revocable(true));
    let total = parse("cpus:4;cpus(a):2;ports:[1-2]") + revocable;
    c.agent_as("a1", AgentProfile { total, ..AgentProfile::default() });
    assert_eq!(c.allocator.cluster_capacity(), amounts("cpus:6"));
    let summary = c.allocator.roles().remove(0);
    assert_eq!((summary.role, summary.reserved), (Role::from("a"), amounts("cpus:2")));
}
