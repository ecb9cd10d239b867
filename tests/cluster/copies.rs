//! A cache of a cluster: it follows whoever leads.

use serde_json::Value;

use testkit::{
    Client, Node, NodeBuilder,
    cluster::Cluster,
    eventually, files,
    network::Network,
    workload::{Workload, number},
};

use crate::SOME;

#[test]
fn a_cache_follows_a_cluster_through_the_deaths_of_its_leaders_and_its_own() {
    let mut cluster = Cluster::start(3);
    let origins: Vec<String> =
        cluster.addresses().iter().map(|address| format!("http://{address}")).collect();
    let flags = ["--of", &origins.join(",")];
    let mut cache = NodeBuilder::new().command("cache").flags(&flags).start();
    eventually("it has caught up", || cache.client().get("/ready").status == 200);
    let workload = Workload::start(&cluster);
    let mut shown = 0;
    for _ in 0..4 {
        workload.goes_on(SOME);
        let leader = cluster.leader();
        cluster.kill(leader);
        workload.goes_on(SOME);
        eventually("the cache shows more", || cache.client().get("/health").last() > shown);
        shown = cache.client().get("/changes?limit=1").last();
        cache = cache.kill().start();
        assert!(cache.client().list("?limit=1")["last"].as_u64() > Some(0), "it serves at once");
        assert!(cache.client().get("/changes?limit=1").last() >= shown);
        cluster.restart(leader);
        cluster.catches_up(leader);
    }
    workload.ends(&cluster);
    let mut members = cluster.client(cluster.leader());
    let mut last = 0;
    loop {
        let target = format!("/changes?since={last}&limit=10000&consistency=strong");
        let (own, other) = (cache.client().get(&target), members.get(&target));
        assert_eq!((own.status, own.text()), (200, other.text()));
        last = own.json()["last"].as_u64().unwrap();
        if own.json()["atEnd"] == true {
            break;
        }
    }
    assert!(last > shown);
    // A write through it is one of the cluster's.
    let id = cache.client().append(r#"{"data":"through"}"#);
    assert_eq!(id, last + 1);
    assert_eq!(members.get(&format!("/changes/{id}?min_id={id}")).json()["data"], "through");
}

/// A cache of these members, once it has caught up; the first of them is asked.
fn cache_of(cluster: &Cluster, members: &[usize]) -> Node {
    let origins: Vec<String> =
        members.iter().map(|&member| format!("http://{}", cluster.address(member))).collect();
    let cache = NodeBuilder::new().command("cache").flags(&["--of", &origins.join(",")]).start();
    eventually("it has caught up", || cache.client().get("/ready").status == 200);
    cache
}

#[test]
fn a_cache_does_not_take_a_member_that_is_cut_off_for_the_cluster() {
    Network::with(3, |network| {
        let cluster = Cluster::inside(network, 3);
        cluster.client(0).append(number(0));
        (0..3).for_each(|node| cluster.catches_up(node));
        let (alone, leader) = (cluster.followers()[0], cluster.leader());
        let (of_one, of_two) = (cache_of(&cluster, &[alone]), cache_of(&cluster, &[alone, leader]));
        network.isolate(alone);
        let id = cluster.client(leader).append(number(1));
        eventually("the other member is followed", || {
            of_two.client().get("/changes?limit=1").last() >= id
        });
        let age = || {
            let answer = of_one.client().get("/changes?limit=1");
            answer.header("changeagent-age").expect("an age").parse::<u64>().expect("a number")
        };
        // It asks every two seconds: more is the age of what nobody vouches for.
        eventually("it says that it grows old", || age() > 6);
        assert!(of_one.client().get("/changes?limit=1").last() < id);
        network.heal();
        eventually("it is whole again", || {
            of_one.client().get("/changes?limit=1").last() >= id && age() < 5
        });
    });
}

/// What is in every change of the tenant that is not copied.
const SECRET: &str = "of-nobody-else";

/// Has any member take the `n`-th change of a tenant, once, however often it is asked.
fn write(cluster: &Cluster, tenant: &str, n: u64, data: &str) -> u64 {
    let (target, key) = (format!("/tenants/{tenant}/changes"), format!("{tenant}-{n}"));
    let headers = [("Content-Type", "application/json"), ("Idempotency-Key", &key)];
    let body = format!("{{\"data\":\"{data} {n}\"}}");
    let mut id = None;
    eventually("it is written", || {
        let clients = cluster.running().into_iter().filter_map(|node| cluster.try_client(node));
        id = clients.into_iter().find_map(|mut client| {
            let answer = client.try_request("POST", &target, &headers, body.as_bytes())?;
            (answer.status == 201).then(|| answer.id())
        });
        id.is_some()
    });
    id.expect("an id")
}

/// All changes of a tenant up to `last`, as a node shows them.
fn list_of(node: &mut Client, tenant: &str, last: u64) -> Vec<(u64, String)> {
    let answer = node.get(&format!("/tenants/{tenant}/changes?limit=10000&min_id={last}&block=30"));
    assert_eq!(answer.status, 200, "{answer:?}");
    let page = answer.json();
    assert_eq!(page["atEnd"], true, "there is no more of it");
    let change = |change: &Value| {
        (change["_id"].as_u64().unwrap(), change["data"].as_str().unwrap().to_owned())
    };
    page["changes"].as_array().unwrap().iter().map(change).collect()
}

#[test]
fn a_cache_of_a_tenant_follows_through_the_death_of_the_leader_that_it_follows() {
    let mut cluster = Cluster::start(3);
    for name in ["own", "other"] {
        cluster.client(0).tenant(name);
    }
    (0..3).for_each(|node| cluster.catches_up(node));
    // The leader is asked as long as it answers.
    let (leader, followers) = (cluster.leader(), cluster.followers());
    let members = [&[leader][..], &followers].concat();
    let origins: Vec<String> =
        members.iter().map(|&member| format!("http://{}", cluster.address(member))).collect();
    let flags = ["--of", &origins.join(","), "--tenant", "own"];
    let mut cache = NodeBuilder::new().command("cache").flags(&flags).start();
    eventually("it has caught up", || cache.client().get("/ready").status == 200);
    let mut expected = Vec::new();
    let mut n = 0;
    for round in 0..3 {
        let leader = cluster.leader();
        let mut last = 0;
        for is_killed in [false, true] {
            if is_killed {
                cluster.kill(leader);
            }
            for _ in 0..20 {
                expected.push((write(&cluster, "own", n, "own"), format!("own {n}")));
                last = write(&cluster, "other", n, SECRET);
                n += 1;
            }
            // Ids of others count: it has come as far as they have.
            assert_eq!(list_of(&mut cache.client(), "own", last), expected, "round {round}");
        }
        cluster.restart(leader);
        cluster.catches_up(leader);
        let mut member = cluster.client(leader);
        assert_eq!(list_of(&mut member, "own", last), expected, "the cluster has the same");
        cache = cache.kill().start();
        assert_eq!(list_of(&mut cache.client(), "own", last), expected, "after a restart");
    }
    // At rest, so that no file goes away while all are read.
    let data = cache.data();
    let _stopped = cache.stop();
    for (name, bytes) in files(&data) {
        let found = bytes.windows(SECRET.len()).any(|part| part == SECRET.as_bytes());
        assert!(!found, "{} has something of another tenant", name.display());
    }
}
