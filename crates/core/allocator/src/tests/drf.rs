//! Worked examples of dominant-resource fairness, written as the literature tells them.
//!
//! A script has lines `cluster RESOURCES`, `user NAME ROLE DEMAND` and `weight ROLE NUMBER`. Users take
//! one task of their demand out of each offer that has room for it, and give the rest back, until nobody
//! finds room. After `---` stands who got how many tasks, with their dominant shares.

use super::*;

/// A user of a script: framework, role, demand of one task.
struct User {
    id: FrameworkId,
    role: Role,
    demand: Resources,
    tasks: usize,
}

/// Runs the commands of a script and returns its result, a line per user.
fn run(commands: &str) -> String {
    let mut weights = BTreeMap::new();
    let mut total = Resources::empty();
    let mut users = Vec::new();
    for line in commands.lines().map(str::trim).filter(|line| !line.is_empty()) {
        match line.split_whitespace().collect::<Vec<_>>().as_slice() {
            ["cluster", resources] => total = parse(resources),
            ["weight", role, weight] => {
                weights.insert(Role::from(*role), weight.parse().expect("a number"));
            }
            ["user", id, role, demand] => {
                users.push(User { id: (*id).into(), role: (*role).into(), demand: parse(demand), tasks: 0 });
            }
            other => panic!("no such command: {other:?}"),
        }
    }
    let mut c = Cluster::with(Config { weights, min_allocatable: Vec::new(), ..Config::default() });
    for user in &users {
        c.framework(&user.id, &[user.role.as_str()]);
    }
    c.agent_as("cluster", AgentProfile { total, ..AgentProfile::default() });
    // Whoever finds no room leaves the line, so there is an end.
    loop {
        let offers = c.pass().offers;
        if offers.is_empty() {
            break;
        }
        for offer in offers {
            let mut rest = offer.resources();
            let Allocation { framework, role, agent, .. } = offer;
            let user = users.iter_mut().find(|user| user.id == framework).expect("a user of the script");
            let task = user.demand.allocated(&role);
            if rest.checked_sub(&task) {
                user.tasks += 1;
            } else {
                c.allocator.suppress(&framework, &BTreeSet::new());
            }
            c.allocator.recover(c.now, &framework, &agent, &rest, None);
        }
        c.wait(0.01);
    }
    let line = |user: &User| {
        let share = c.allocator.dominant_share(&user.role);
        format!("{} {} tasks, {} holds {:.1} %", user.id, user.tasks, user.role, share * 100.0)
    };
    users.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn check(script: &str) {
    let (commands, expected) = script.split_once("---").expect("a line of dashes");
    let expected: Vec<&str> = expected.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    assert_eq!(run(commands), expected.join("\n"));
}

#[test]
fn two_users_of_different_demands_get_equal_dominant_shares() {
    // Ghodsi et al., NSDI 2011, section 4.1: 9 cpus and 18 GB.
    check(
        "cluster cpus:9;mem:18
         user A a cpus:1;mem:4
         user B b cpus:3;mem:1
         ---
         A 3 tasks, a holds 66.7 %
         B 2 tasks, b holds 66.7 %",
    );
}

#[test]
fn weights_scale_dominant_shares() {
    // A counts twice: its dominant share of memory may be twice B's of cpus.
    check(
        "cluster cpus:12;mem:12
         weight a 2
         user A a cpus:1;mem:2
         user B b cpus:2;mem:1
         ---
         A 4 tasks, a holds 66.7 %
         B 4 tasks, b holds 66.7 %",
    );
}

#[test]
fn one_resource_is_shared_max_min_fairly() {
    // The lone small demand is met in full, the others share what is left.
    check(
        "cluster cpus:10
         user A a cpus:1
         user B b cpus:1
         ---
         A 5 tasks, a holds 50.0 %
         B 5 tasks, b holds 50.0 %",
    );
}

#[test]
fn siblings_share_what_their_parent_is_due() {
    // Half for each department; the users of one department share its half.
    check(
        "cluster cpus:24
         user A eng/web cpus:1
         user B eng/batch cpus:1
         user C ops cpus:1
         ---
         A 6 tasks, eng/web holds 25.0 %
         B 6 tasks, eng/batch holds 25.0 %
         C 12 tasks, ops holds 50.0 %",
    );
}

#[test]
fn siblings_with_complementary_demands_share_by_dominance() {
    // In the department, cpus dominate for one and memory for the other.
    check(
        "cluster cpus:16;mem:16
         user A eng/web cpus:2;mem:1
         user B eng/data cpus:1;mem:2
         ---
         A 5 tasks, eng/web holds 62.5 %
         B 5 tasks, eng/data holds 62.5 %",
    );
}
