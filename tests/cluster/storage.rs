//! A leader whose disk fails it: another leads, and the cluster goes on.

use std::time::Duration;

use serde_json::json;

use testkit::{NodeBuilder, SmallDisk, cluster::Cluster, eventually, within, workload::number};

/// How long the cluster may refuse writes.
const SOON: Duration = Duration::from_secs(20);

/// Three nodes, of which the first is on `disk` and leads.
fn led_from(disk: &SmallDisk) -> Cluster {
    let cluster = Cluster::of(vec![disk.node(), NodeBuilder::new(), NodeBuilder::new()]);
    lead(&cluster, 0);
    cluster
}

fn lead(cluster: &Cluster, node: usize) {
    let id = cluster.id(node);
    eventually("the node leads", || {
        cluster.orders("POST", "/cluster/leader", &json!({"id": id}));
        cluster.leader() == node
    });
}

/// The node says that it stores nothing, refuses writes and leadership, and is read.
fn is_ailing(cluster: &Cluster, node: usize, reason: &str, reads: u64) {
    let mut client = cluster.client(node);
    let ready = client.get("/ready").problem(503, "storage");
    assert!(ready["detail"].as_str().unwrap().contains(reason), "{ready}");
    client.json("POST", "/changes", number(0)).problem(503, "storage");
    let order = json!({"id": cluster.id(node)}).to_string();
    let refused = client.json("POST", "/cluster/leader", order);
    assert_eq!(refused.status, 412, "{}", refused.text());
    assert_eq!(client.list("?since=0&limit=1")["changes"].as_array().unwrap().len(), 1);
    assert!(client.list("?since=0&limit=1000")["last"].as_u64().unwrap() >= reads);
}

#[test]
fn a_leader_whose_disk_hangs_is_replaced() {
    let Some(disk) = SmallDisk::new(160) else { return };
    let cluster = led_from(&disk);
    cluster.client(0).append(number(0));
    let Some(frozen) = disk.freeze() else { return };
    // What hangs was never acknowledged: nobody knows.
    cluster.client(0).json("POST", "/changes", number(1)).problem(504, "unknown-outcome");
    within(SOON, "another takes writes", || {
        let answer = cluster.client(1).json("POST", "/changes", number(2));
        answer.status == 201
    });
    assert_ne!(cluster.leader(), 0);
    is_ailing(&cluster, 0, "disk does not answer", 1);
    drop(frozen);
    cluster.catches_up(0);
    cluster.client(0).append(number(3));
    assert!(cluster.agree().len() >= 3);
    lead(&cluster, 0);
}

#[test]
fn a_leader_whose_disk_is_full_is_replaced() {
    let Some(disk) = SmallDisk::new(160) else { return };
    let cluster = led_from(&disk);
    disk.fill();
    let large = format!("{{\"data\":\"{}\"}}", "x".repeat(50_000));
    // The segments that it has are filled first.
    let mut acknowledged = 0;
    eventually("another leads", || {
        acknowledged += u64::from(cluster.client(1).json("POST", "/changes", &large).status == 201);
        cluster.leader() != 0
    });
    for _ in 0..100 {
        let answer = cluster.client(1).json("POST", "/changes", &large);
        assert_eq!(answer.status, 201, "{}", answer.text());
        acknowledged += 1;
    }
    eventually("it has no room left", || cluster.client(0).get("/ready").status == 503);
    is_ailing(&cluster, 0, "full", 1);
    let said = cluster.node(0).stderr();
    assert_eq!(said.matches("no spare log segment").count(), 1, "{said}");
    disk.free();
    cluster.catches_up(0);
    cluster.client(0).append(number(3));
    assert!(cluster.agree().len() as u64 > acknowledged);
    lead(&cluster, 0);
}

#[test]
fn when_all_disks_are_full_the_cluster_is_read_and_goes_on_with_room() {
    let disks: Vec<_> = (0..2).map_while(|_| SmallDisk::new(160)).collect();
    if disks.len() < 2 {
        return;
    }
    let mut cluster = Cluster::of(disks.iter().map(SmallDisk::node).collect());
    let large = format!("{{\"data\":\"{}\"}}", "x".repeat(50_000));
    disks.iter().for_each(SmallDisk::fill);
    let mut acknowledged = 0;
    eventually("writes are refused", || {
        let answer = cluster.client(0).json("POST", "/changes", &large);
        acknowledged += u64::from(answer.status == 201);
        answer.status == 503
    });
    for node in [0, 1] {
        cluster.kill(node);
    }
    for node in [0, 1] {
        cluster.restart(node);
    }
    for node in [0, 1] {
        eventually("the node is read", || {
            let answer = cluster.client(node).get("/changes?since=0&limit=1000");
            answer.status == 200 && answer.json()["last"].as_u64().unwrap() >= acknowledged
        });
    }
    cluster.leader();
    disks.iter().for_each(SmallDisk::free);
    eventually("writes are taken", || {
        cluster.client(0).json("POST", "/changes", number(1)).status == 201
    });
    assert!(cluster.agree().len() as u64 > acknowledged);
}

#[test]
fn a_write_that_too_few_have_room_for_is_refused_and_holds_up_nothing() {
    let Some(disk) = SmallDisk::new(160) else { return };
    let builders = vec![NodeBuilder::new(), disk.node(), NodeBuilder::new()];
    let mut cluster = Cluster::of(builders);
    lead(&cluster, 0);
    cluster.kill(2);
    eventually("the leader does not count on it", || {
        let view = cluster.view(0).unwrap();
        let mut members = view["members"].as_array().unwrap().iter();
        members.any(|member| member["id"] == cluster.id(2) && member["state"] == "unreachable")
    });
    disk.fill();
    let large = format!("{{\"data\":\"{}\"}}", "x".repeat(50_000));
    let mut client = cluster.client(0);
    let mut acknowledged = 0;
    let refused = loop {
        let answer = client.json("POST", "/changes", &large);
        if answer.status != 201 {
            break answer;
        }
        acknowledged += 1;
        assert!(acknowledged < 1_000, "there is room without end");
    };
    let problem = refused.problem(503, "storage");
    assert!(problem["detail"].as_str().unwrap().contains("quorum"), "{problem}");
    // What is smaller goes on, and so do changes of the members.
    client.append(number(1));
    acknowledged += 1;
    let gone = cluster.id(2);
    cluster.orders("DELETE", &format!("/cluster/members/{gone}"), &json!(null));
    eventually("it is gone", || cluster.view(0).unwrap()["members"].as_array().unwrap().len() == 2);
    assert_eq!(cluster.leader(), 0);
    disk.free();
    eventually("large writes are taken", || client.json("POST", "/changes", &large).status == 201);
    assert!(cluster.agree().len() as u64 > acknowledged);
}
