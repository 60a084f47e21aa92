//! Constraints that the master is told of.

use serde_json::{Value, json};

use crate::{Cluster, sleeper, support::request};

#[test]
fn marathon_rule_123_the_master_offers_what_constraints_allow() {
    let flags = ["--mesos_offer_constraints", "--min_mesos_offer_constraints_update_interval=50"];
    let cluster = Cluster::start("services-constraints", &flags);
    let mut app = sleeper("/picky", 1);
    app["constraints"] = json!([["rack", "IS", "a"]]);
    assert_eq!(cluster.call("POST", "/v2/apps", &app).0, 201);
    let excluded = |cluster: &Cluster| {
        let path = "/allocator/offer_constraints_debug";
        let (_, body) = request(cluster.master.port, "GET", path, &[], b"").expect("an answer");
        serde_json::from_slice::<Value>(&body).unwrap_or_default().to_string().contains("-S0")
    };
    cluster.wait("the agent kept from the framework", excluded);
    // The master has none to offer, so there is none to decline.
    let (status, body) = cluster.call("PUT", "/v2/apps/picky?force=true", &json!({ "constraints": [] }));
    assert_eq!(status, 200, "{body}");
    cluster.wait("the instance", |cluster| cluster.running("/picky") == 1 && cluster.settled());
    assert!(!excluded(&cluster));
    cluster.close();
}
