//! Keys behave as if there were one copy of each, whatever happens to the nodes.

use testkit::{cluster::Cluster, eventually, network::Network, workload::Workload};

use crate::{ROUNDS, SOME};

const KEYS: usize = 3;

#[test]
fn a_name_that_was_given_anew_is_found_on_every_node() {
    let cluster = Cluster::start(3);
    let leader = cluster.leader();
    let (mut there, mut here) = (cluster.client(leader), cluster.client((leader + 1) % 3));
    let create = |client: &mut testkit::Client| {
        let answer = client.json("POST", "/tenants", r#"{"name":"foo"}"#);
        assert_eq!(answer.status, 201, "{answer:?}");
    };
    create(&mut there);
    for round in 0..300 {
        assert_eq!(there.request("DELETE", "/tenants/foo", &[], b"").status, 200);
        create(&mut there);
        // The follower may know the former holder of the name only.
        let key = format!("k{round}");
        let headers = [("Idempotency-Key", key.as_str())];
        let answer = here.json_with("POST", "/tenants/foo/changes", &headers, r#"{"data":1}"#);
        assert_eq!(answer.status, 201, "{round}: {answer:?}");
    }
}

#[test]
fn a_name_of_a_collection_that_was_given_anew_is_found_on_every_node() {
    let cluster = Cluster::start(3);
    let leader = cluster.leader();
    let (mut there, mut here) = (cluster.client(leader), cluster.client((leader + 1) % 3));
    let tenant = there.json("POST", "/tenants", r#"{"name":"foo"}"#).json();
    let collections = format!("/tenants/{}/collections", tenant["tenant"].as_str().unwrap());
    let bar = format!("{collections}/bar");
    for round in 0..300 {
        let created = there.json("POST", &collections, r#"{"name":"bar"}"#);
        assert_eq!(created.status, 201, "{round}: {created:?}");
        // The follower may know the former holder of the name only.
        let answer = here.json("PUT", &format!("{bar}/keys/k"), r#"{"data":1}"#);
        assert_eq!(answer.status, 201, "{round}: {answer:?}");
        assert_eq!(there.request("DELETE", &bar, &[], b"").status, 200);
    }
}

#[test]
fn every_node_says_alike_which_version_a_change_replaced() {
    let mut cluster = Cluster::start(3);
    let leader = cluster.leader();
    let mut client = cluster.client(leader);
    let tenant = client.tenant("foo");
    let collection = client.collection(&tenant, "bar");
    let put = |client: &mut testkit::Client, n: u64| {
        let target = format!("/collections/{collection}/keys/k{}", n % 4);
        let answer = client.json("PUT", &target, r#"{"data":1}"#);
        assert!(matches!(answer.status, 200 | 201), "{answer:?}");
    };
    (0..20).for_each(|n| put(&mut client, n));
    let follower = (leader + 1) % 3;
    cluster.kill(follower);
    (20..40).for_each(|n| put(&mut client, n));
    cluster.restart(follower);
    cluster.catches_up(follower);
    let list = client.get("/changes?limit=1000").text().to_owned();
    assert!(list.contains("\"_id\":40,"), "{list}");
    assert_eq!(list.matches(",\"prev\":").count(), 36);
    for node in 0..3 {
        let shown = cluster.client(node).get("/changes?limit=1000&min_id=40");
        assert_eq!(shown.text(), list, "node {node}");
    }
}

#[test]
fn keys_are_linearizable_where_leaders_die() {
    let mut cluster = Cluster::start(3);
    let workload = Workload::with_keys(&cluster, KEYS);
    for _ in 0..ROUNDS {
        workload.goes_on(SOME);
        let leader = cluster.leader();
        cluster.kill(leader);
        workload.goes_on(SOME);
        cluster.restart(leader);
        cluster.catches_up(leader);
    }
    workload.goes_on(SOME);
    workload.ends(&cluster);
}

#[test]
fn keys_are_linearizable_where_leaders_stand_still() {
    let mut cluster = Cluster::start(3);
    let workload = Workload::with_keys(&cluster, KEYS);
    for _ in 0..ROUNDS {
        workload.goes_on(SOME);
        let leader = cluster.leader();
        cluster.pause(leader);
        workload.goes_on(SOME);
        cluster.resume(leader);
        cluster.catches_up(leader);
    }
    workload.goes_on(SOME);
    workload.ends(&cluster);
}

#[test]
fn keys_are_linearizable_where_leaders_are_isolated() {
    Network::with(3, |network| {
        let cluster = Cluster::inside(network, 3);
        let workload = Workload::with_keys(&cluster, KEYS);
        for _ in 0..ROUNDS {
            workload.goes_on(SOME);
            let leader = cluster.leader();
            network.isolate(leader);
            eventually("another one leads", || cluster.leader() != leader);
            workload.goes_on(SOME);
            network.heal();
            cluster.catches_up(leader);
        }
        workload.goes_on(SOME);
        workload.ends(&cluster);
    });
}
