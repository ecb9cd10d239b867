//! Keys with a time to live: each version expires once, however often leaders die or stand still
//! while it is due.

use std::collections::BTreeMap;

use serde_json::Value;

use testkit::{Client, cluster::Cluster, eventually};

const KEYS: usize = 12_000;

/// A cluster with a collection, and the path of its keys.
fn with_collection() -> (Cluster, String) {
    let cluster = Cluster::start(3);
    let mut client = cluster.client(cluster.leader());
    let tenant = client.tenant("foo");
    let keys = format!("/collections/{}/keys", client.collection(&tenant, "bar"));
    (cluster, keys)
}

fn put_all(client: &mut Client, keys: &str) {
    for from in (0..KEYS).step_by(1000) {
        let item = |n: usize| format!("{{\"key\":\"k{n}\",\"data\":{n},\"ttl\":1}}\n");
        let lines: String = (from..from + 1000).map(item).collect();
        assert_eq!(client.post_lines(keys, &lines).status, 201);
    }
}

/// Checks that each version that was not replaced expired once, none before its time, and that
/// no key is left; returns how many expired.
fn each_once(list: &[String]) -> usize {
    let (mut current, mut expired) = (BTreeMap::<String, Value>::new(), 0);
    for change in list {
        let change: Value = serde_json::from_str(change).unwrap();
        let Some(key) = change["key"].as_str().map(str::to_owned) else { continue };
        if change["expired"] == true {
            let before = current.remove(&key).expect("it was there");
            let ttl = before["ttl"].as_u64().expect("it had a time to live");
            let due = before["_ts"].as_u64().unwrap() + ttl * 1_000_000;
            assert!(change["_ts"].as_u64().unwrap() >= due, "{change} is early for {before}");
            expired += 1;
        } else {
            current.insert(key, change);
        }
    }
    assert!(
        current.is_empty(),
        "{} are left, {:?} first",
        current.len(),
        current.first_key_value()
    );
    expired
}

/// Has `fault` happen to the leader twice while keys expire; it gives how to undo it.
fn leaders_fail(fault: fn(&mut Cluster, usize), undo: fn(&mut Cluster, usize)) {
    let (mut cluster, keys) = with_collection();
    put_all(&mut cluster.client(cluster.leader()), &keys);
    let mut on_the_way = 0;
    for left in [KEYS * 4 / 5, KEYS * 2 / 5] {
        let leader = cluster.leader();
        let mut other = cluster.client((leader + 1) % 3);
        eventually("some expire", || other.metric("expiring_keys") as usize <= left);
        fault(&mut cluster, leader);
        on_the_way += usize::from(other.metric("expiring_keys") > 0);
        eventually("another one leads", || {
            let view = cluster.view((leader + 1) % 3);
            view.is_some_and(|view| {
                view["leader"].as_u64().is_some_and(|id| id != cluster.id(leader))
            })
        });
        // What is due at the same time is written anew now and then.
        let mut client = cluster.client((leader + 1) % 3);
        for n in (0..KEYS).step_by(KEYS / 20) {
            let answer = client.put(&format!("{keys}/k{n}"), r#"{"data":"again","ttl":1}"#);
            assert!(answer.status < 300, "{answer:?}");
        }
        undo(&mut cluster, leader);
        cluster.catches_up(leader);
    }
    assert_eq!(on_the_way, 2, "leaders failed while keys expired");
    for number in 0..3 {
        let mut client = cluster.client(number);
        eventually("all expire", || client.metric("expiring_keys") == 0);
    }
    let list = cluster.agree();
    let written = list.iter().filter(|change| change.contains("\"data\":")).count();
    assert_eq!(written, KEYS + 40);
    assert!(each_once(&list) >= KEYS);
}

#[test]
fn each_key_expires_once_where_leaders_die() {
    leaders_fail(Cluster::kill, Cluster::restart);
}

#[test]
fn each_key_expires_once_where_leaders_stand_still() {
    leaders_fail(Cluster::pause, Cluster::resume);
}
