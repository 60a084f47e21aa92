//! Each thing that can be wrong, planted.

use std::collections::BTreeMap;

use mezzo_ids::{AgentId, Role};
use mezzo_resources::{Quantities, Resources, parse_resources};
use mezzo_time::Timestamp;

use crate::*;

const NOW: Timestamp = Timestamp::from_nanos(1_000);

fn parse(text: &str) -> Resources {
    parse_resources(text, "*").expect("a valid text")
}

fn amounts(text: &str) -> Quantities {
    Quantities::parse(text).expect("a valid text")
}

/// Two agents, `f1` in role a and `f2` in role b.
fn cluster() -> Cluster {
    let mut cluster = Cluster::default();
    cluster.settings.is_fair = true;
    cluster.settings.filter_gpus = true;
    cluster.settings.minimums = vec![amounts("cpus:0.01"), amounts("mem:32")];
    for id in ["a1", "a2"] {
        let total = parse("cpus:4;mem:64;cpus(a):1");
        cluster.agents.insert(id.into(), Agent { total, is_offered: true, ..Agent::default() });
    }
    for (id, role) in [("f1", "a"), ("f2", "b")] {
        let framework = Framework { hungry: [Role::from(role)].into(), ..Framework::default() };
        cluster.frameworks.insert(id.into(), framework);
    }
    cluster
}

fn offer(framework: &str, role: &str, agent: &str, resources: &str) -> Offer {
    Offer { framework: framework.into(), role: role.into(), agent: agent.into(), resources: parse(resources) }
}

fn limit(text: &str) -> Quota {
    let limit = amounts(text).iter().map(|(name, amount)| (name.clone(), amount)).collect();
    Quota { guarantee: Quantities::default(), limit }
}

#[test]
fn good_offers_pass() {
    let mut cluster = cluster();
    let offers = [offer("f1", "a", "a1", "cpus:4;mem:64;cpus(a):1"), offer("f2", "b", "a2", "cpus:4;mem:64")];
    assert_eq!(cluster.judge(NOW, &offers), []);
    assert_eq!(cluster.overlooked(NOW).len(), 4, "nobody was given anything yet");
    cluster.take(&offers);
    assert_eq!(cluster.overlooked(NOW).len(), 1, "f1 may have its reservation on a2");
    cluster.take(&[offer("f1", "a", "a2", "cpus(a):1")]);
    assert_eq!(cluster.overlooked(NOW), []);
    cluster.give_back(&"a1".into(), &"f1".into(), &"a".into(), &parse("cpus:1"));
    assert_eq!(cluster.overlooked(NOW).len(), 2);
}

#[test]
fn a_double_offer_is_seen() {
    let offers = [offer("f1", "a", "a1", "cpus:3"), offer("f2", "b", "a1", "cpus:2")];
    let wrong = cluster().judge(NOW, &offers);
    assert!(matches!(wrong.as_slice(), [Violation::Exceeded { .. }]), "{wrong:?}");
}

#[test]
fn wrong_receivers_are_seen() {
    let mut cluster = cluster();
    let wrong = cluster.judge(NOW, &[offer("f1", "b", "a1", "cpus:1")]);
    assert!(matches!(wrong.as_slice(), [Violation::Unwanted { .. }]), "{wrong:?}");
    let rules = |cluster: &Cluster, offer: Offer| -> Vec<u16> {
        let rule = |violation| match violation {
            Violation::NotFor { rule, .. } => Some(rule),
            _ => None,
        };
        cluster.judge(NOW, &[offer]).into_iter().filter_map(rule).collect()
    };
    assert_eq!(rules(&cluster, offer("f2", "b", "a1", "cpus(a):1")), [129]);
    assert_eq!(rules(&cluster, offer("f2", "b", "a1", "mem:31")), [105]);
    if let Some(agent) = cluster.agents.get_mut(&AgentId::from("a2")) {
        agent.total = parse("cpus:4;gpus:1");
        agent.is_offered = false;
    }
    assert_eq!(rules(&cluster, offer("f2", "b", "a2", "cpus:1")), [109]);
    if let Some(agent) = cluster.agents.get_mut(&AgentId::from("a2")) {
        agent.is_offered = true;
    }
    assert_eq!(rules(&cluster, offer("f2", "b", "a2", "cpus:1")), [106]);
}

#[test]
fn a_forgotten_refusal_is_seen() {
    let mut cluster = cluster();
    cluster.refusals.push(Refusal {
        framework: "f2".into(),
        role: "b".into(),
        agent: "a1".into(),
        resources: parse("cpus:2"),
        until: Timestamp::from_nanos(2_000),
    });
    let judged = |now, resources: &str| cluster.judge(now, &[offer("f2", "b", "a1", resources)]).len();
    assert_eq!(judged(NOW, "cpus:2"), 1);
    assert_eq!(judged(NOW, "cpus:3"), 0, "more than was refused");
    assert_eq!(judged(Timestamp::from_nanos(2_000), "cpus:2"), 0, "it is over");
}

#[test]
fn broken_quota_is_seen() {
    let mut cluster = cluster();
    cluster.quotas = BTreeMap::from([(Role::from("b"), limit("cpus:3"))]);
    let wrong = cluster.judge(NOW, &[offer("f2", "b", "a1", "cpus:4")]);
    assert!(matches!(wrong.as_slice(), [Violation::Limit { .. }]), "{wrong:?}");
    // Reservations count: two for role a.
    cluster.quotas = BTreeMap::from([(Role::from("a"), limit("cpus:3"))]);
    let wrong = cluster.judge(NOW, &[offer("f1", "a", "a1", "cpus:2;cpus(a):1")]);
    assert!(matches!(wrong.as_slice(), [Violation::Limit { .. }]), "{wrong:?}");
    let owed = Quota { guarantee: amounts("cpus:6"), limit: BTreeMap::new() };
    cluster.quotas = BTreeMap::from([(Role::from("b"), owed)]);
    assert_eq!(cluster.judge(NOW, &[offer("f1", "a", "a1", "cpus:2")]), []);
    let wrong = cluster.judge(NOW, &[offer("f1", "a", "a1", "cpus:3")]);
    assert!(matches!(wrong.as_slice(), [Violation::Headroom { .. }]), "{wrong:?}");
    assert_eq!(cluster.judge(NOW, &[offer("f2", "b", "a1", "cpus:4")]), []);
}

#[test]
fn a_wrong_share_is_seen() {
    let cluster = cluster();
    let both = [offer("f1", "a", "a1", "cpus:4;mem:64"), offer("f1", "a", "a2", "cpus:4;mem:64")];
    let wrong = cluster.judge(NOW, &both);
    assert!(wrong.iter().all(|violation| matches!(violation, Violation::Unfair { .. })) && !wrong.is_empty());
    // Not when the other could not have had it.
    let mut other = cluster.clone();
    if let Some(framework) = other.frameworks.get_mut("f2") {
        framework.minimums = BTreeMap::from([(Role::from("b"), vec![amounts("cpus:5")])]);
    }
    assert_eq!(other.judge(NOW, &both), []);
    // Nor when weights make it right.
    let mut other = cluster;
    other.settings.weights = BTreeMap::from([(Role::from("a"), 8.0)]);
    let wrong = other.judge(NOW, &[both[0].clone(), both[1].clone()]);
    assert!(!wrong.is_empty(), "f2 has nothing at all");
    let mut agents = other.agents.clone();
    for (id, agent) in &mut agents {
        agent.total = parse("cpus:4;mem:64");
        other.agents.insert(AgentId::from(format!("b-{id}")), agent.clone());
    }
    let served = [both[0].clone(), both[1].clone(), offer("f2", "b", "b-a1", "cpus:4;mem:64")];
    assert_eq!(other.judge(NOW, &served), []);
}

#[test]
fn a_wrong_share_is_seen_beside_quota() {
    let both = [offer("f1", "a", "a1", "cpus:4;mem:64"), offer("f1", "a", "a2", "cpus:4;mem:64")];
    let judged = |role: &str, quota: Quota| {
        let mut cluster = cluster();
        cluster.quotas = BTreeMap::from([(Role::from(role), quota)]);
        cluster.judge(NOW, &both)
    };
    // Neither a limit of whoever was served, nor one of somebody else, explains that f2 was passed over.
    for role in ["a", "c"] {
        let wrong = judged(role, limit("cpus:20"));
        assert!(matches!(wrong.as_slice(), [Violation::Unfair { .. }]), "{wrong:?}");
    }
    // His own limit may; so may a guarantee, because whoever is owed something comes first.
    assert_eq!(judged("b", limit("cpus:20")), []);
    let owed = Quota { guarantee: amounts("cpus:8"), limit: BTreeMap::new() };
    assert_eq!(judged("a", owed), []);
}

#[test]
fn a_judgement_can_be_cut_short() {
    let both = [offer("f1", "a", "a1", "cpus:4;mem:64"), offer("f1", "a", "a2", "cpus:4;mem:64")];
    let judged = |steps| cluster().judge_within(NOW, &both, steps);
    let (whole, cut) = (judged(100), judged(2));
    assert_eq!((whole.wrong.len(), whole.is_complete), (1, true));
    assert_eq!((cut.wrong.len(), cut.is_complete), (0, false));
}
