//! Area allocation: who comes first.

use super::*;

/// Adds agents one by one and says who was given each.
fn winners(c: &mut Cluster, agents: usize, total: &str) -> String {
    let start = c.allocator.agents.len();
    let mut all = Vec::new();
    for i in start..start + agents {
        c.agent(&format!("a{i:02}"), total);
        let offer = c.pass().offers.remove(0);
        all.push(format!("{}/{}", offer.framework, offer.role));
    }
    all.join(" ")
}

#[test]
fn rule_121_lowest_dominant_share_comes_first() {
    let mut c = Cluster::new();
    c.framework("f1", &["a"]);
    c.framework("f2", &["b"]);
    c.agent("big", "cpus:10;mem:1000");
    assert_eq!(c.takers(), ["f1 a big"]);
    // f1 holds all; f2 is served until its share is higher.
    assert_eq!(winners(&mut c, 3, "cpus:1;mem:10"), "f2/b f2/b f2/b");
    // f1 gives back cpus only; its share of memory still is the larger.
    c.finish("f1", "a", "big", "cpus:10");
    assert_eq!(c.takers(), ["f2 b big"]);
    let shares = [c.allocator.dominant_share("a"), c.allocator.dominant_share("b")];
    assert!((shares[0] - 1000.0 / 1030.0).abs() < 1e-9 && (shares[1] - 1.0).abs() < 1e-9);
}

#[test]
fn rule_122_ties_go_to_fewer_allocations_then_path() {
    let mut c = Cluster::new();
    c.framework("f2", &["web"]);
    c.framework("f1", &["web"]);
    assert_eq!(winners(&mut c, 2, "cpus:1"), "f1/web f2/web");
    c.finish("f1", "web", "a00", "cpus:1");
    assert_eq!(c.takers(), ["f1 web a00"]);
    // Both hold the same, f1 was served more often.
    assert_eq!(winners(&mut c, 1, "cpus:1"), "f2/web");
}

#[test]
fn rule_123_excluded_names_do_not_count() {
    let excluded = ["gpus".to_string()].into();
    let mut c = Cluster::with(Config { fair_sharing_excluded_names: excluded, ..Config::default() });
    for (id, role) in [("f1", "a"), ("f2", "b")] {
        let capabilities = FrameworkCapabilities { gpu_resources: true, ..Default::default() };
        c.framework_as(id, FrameworkProfile { capabilities, ..profile(&[role]) });
    }
    c.agent("gpu", "cpus:1;gpus:8");
    assert_eq!(c.takers(), ["f1 a gpu"]);
    c.agent("big", "cpus:9");
    assert_eq!(c.takers(), ["f2 b big"]);
    // f1 has all gpus but little of what counts.
    assert_eq!(winners(&mut c, 2, "cpus:1"), "f1/a f1/a");
}

#[test]
fn rule_124_siblings_compete_on_their_level() {
    let mut c = Cluster::new();
    c.framework("f1", &["a"]);
    c.framework("f2", &["a/x"]);
    c.framework("f3", &["b"]);
    // b gets every second one; inside a, its own framework and its child share.
    assert_eq!(winners(&mut c, 8, "cpus:1"), "f1/a f3/b f2/a/x f3/b f1/a f3/b f2/a/x f3/b");
    let roles = c.allocator.roles();
    let of = |name: &str| roles.iter().find(|role| role.role.as_str() == name).expect("a role");
    assert_eq!(of("a").allocated, amounts("cpus:4"), "with descendants");
    assert_eq!(of("a/x").allocated, amounts("cpus:2"));
    assert_eq!(of("a").frameworks.len(), 1);
}

#[test]
fn rule_125_weights_multiply_the_share_of_roles() {
    let weights = [(Role::from("a"), 3.0)].into_iter().collect();
    let mut c = Cluster::with(Config { weights, ..Config::default() });
    c.framework("f1", &["a"]);
    c.framework("f2", &["b"]);
    let all = winners(&mut c, 8, "cpus:1");
    assert_eq!(all.matches("f1/a").count(), 6);
    c.allocator.set_weight(&"a".into(), 1.0);
    assert_eq!(winners(&mut c, 4, "cpus:1"), "f2/b f2/b f2/b f2/b");
}

#[test]
fn rule_126_random_sorter_follows_weights() {
    let weights = [(Role::from("a"), 9.0)].into_iter().collect();
    let sorters =
        Config { role_sorter: Sorter::Random, framework_sorter: Sorter::Random, ..Config::default() };
    let mut c = Cluster::with(Config { weights, ..sorters });
    c.framework("f1", &["a/x"]);
    c.framework("f2", &["a/y"]);
    c.framework("f3", &["b"]);
    let all = winners(&mut c, 200, "cpus:1");
    let count = |role: &str| all.matches(role).count();
    assert!((60..120).contains(&count("a/x")), "{}", count("a/x"));
    assert!((60..120).contains(&count("a/y")), "{}", count("a/y"));
    assert!((5..40).contains(&count("f3/b")), "{}", count("f3/b"));
}

#[test]
fn rule_129_reservations_are_for_the_role_and_below() {
    let offered = |role: &str| {
        let mut c = Cluster::new();
        c.agent("a1", "cpus(a/b):2;mem:64");
        c.framework("f1", &[role]);
        c.pass().offers.remove(0).resources().scalar("cpus").as_f64()
    };
    assert_eq!(offered("a/b"), 2.0);
    assert_eq!(offered("a/b/c"), 2.0);
    assert_eq!(offered("a"), 0.0);
    assert_eq!(offered("a/bc"), 0.0);
    assert_eq!(offered("*"), 0.0);
}

#[test]
fn rule_132_agents_that_know_less_get_less() {
    let mut c = Cluster::new();
    let old = AgentCapabilities { multi_role: false, hierarchical_role: false, ..Default::default() };
    c.agent_as("a1", AgentProfile { capabilities: old, total: parse("cpus:1"), ..AgentProfile::default() });
    let capabilities = FrameworkCapabilities { multi_role: true, ..Default::default() };
    c.framework_as("f1", FrameworkProfile { capabilities, ..profile(&["a", "b"]) });
    c.framework("f2", &["a/b"]);
    assert_eq!(c.takers(), [""; 0]);
    assert_eq!(c.why("f2"), [Reason::AgentCapabilities]);
    c.framework("f3", &["c"]);
    assert_eq!(c.takers(), ["f3 c a1"]);
}

#[test]
fn rule_121_a_reservation_does_not_bring_what_lies_beside_it() {
    // Nothing of the agent reaches the cluster's minimum but what is reserved for b.
    let mut c = Cluster::new();
    c.framework("f1", &["b"]);
    let none: BTreeMap<_, _> = [(Role::from("a"), vec![])].into_iter().collect();
    c.framework_as("f2", FrameworkProfile { min_allocatable: none, ..profile(&["a"]) });
    c.agent("a1", "licences:3;cpus(b):1");
    assert_eq!(c.offers(), ["f1 b a1 cpus(reservations: [(STATIC,b)]):1", "f2 a a1 licences:3"]);
}
