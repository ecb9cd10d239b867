//! A node that lacks most of what the others hold is sent the files of it: complete segments, their
//! indexes and the state. It has all of it or nothing, whoever is killed meanwhile.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
};

use serde_json::{Value, json};

use testkit::{Answer, Client, PATIENCE, SHORT_SEGMENTS, Wrong, cluster::Cluster, eventually};

/// One change of several to a tenant, with tags, for lists of all kinds.
fn body(tenant: &str, data: &str) -> String {
    let plain = json!({ "data": data });
    let of_tenant = json!({ "tenant": tenant, "tags": ["red"], "data": data });
    let changes: Vec<&Value> =
        (0..90).map(|n| if n % 9 == 0 { &of_tenant } else { &plain }).collect();
    json!(changes).to_string()
}

/// Writes changes until the log of a node has so many segments.
fn fill(cluster: &Cluster, node: usize, segments: u64) -> String {
    let mut client = cluster.client(node);
    let tenant = client.tenant(&format!("foo{segments}"));
    let collection = client.collection(&tenant, "bar");
    let keys = format!("/collections/{collection}/keys");
    for key in 0..20 {
        let put = client.put(&format!("{keys}/{key}"), json!({ "data": key }).to_string());
        assert_eq!(put.status, 201);
    }
    let body = body(&tenant, &"x".repeat(600));
    while newest_segment(cluster, node) < segments {
        assert_eq!(client.json("POST", "/changes", &body).status, 201);
    }
    tenant
}

fn names(cluster: &Cluster, node: usize) -> Vec<String> {
    let files = std::fs::read_dir(cluster.node(node).data()).unwrap();
    files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect()
}

fn newest_segment(cluster: &Cluster, node: usize) -> u64 {
    let names = names(cluster, node);
    let numbers = names.iter().filter_map(|name| name.strip_suffix(".seg"));
    numbers.map(|number| number.parse::<u64>().unwrap()).max().unwrap()
}

/// How often a node has said something.
fn said(cluster: &Cluster, node: usize, text: &str) -> usize {
    cluster.node(node).stderr().matches(text).count()
}

const TAKEN_IN: &str = "a snapshot is taken in";
const GOES_ON: &str = "this node goes on from a snapshot of another";

/// Each list that the tests write, as a node shows it from a change on; nothing when that is purged,
/// or the node starts anew.
fn lists(cluster: &Cluster, node: usize, tenant: &str, first: u64) -> Option<Vec<Vec<Value>>> {
    let mut client = cluster.try_client(node)?;
    let targets = [
        format!("/changes?since={first}"),
        format!("/tenants/{tenant}/changes?since={first}"),
        format!("/changes?tag=red&since={first}"),
    ];
    targets
        .iter()
        .map(|target| {
            let (mut found, mut since) = (Vec::new(), first);
            loop {
                let at = target.replace(&format!("since={first}"), &format!("since={since}"));
                let at = format!("{at}&limit=1000");
                let answer = client.try_request("GET", &at, &[], b"")?;
                if answer.status != 200 {
                    return None;
                }
                let page = answer.json();
                let changes = page["changes"].as_array().unwrap();
                found.extend(changes.iter().cloned());
                since = page["last"].as_u64().unwrap();
                if page["atEnd"] == true {
                    return Some(found);
                }
            }
        })
        .collect()
}

/// The change before the oldest that every node holds.
fn first(cluster: &Cluster) -> u64 {
    let oldest =
        |node: &usize| cluster.client(*node).page("/changes?limit=1")["changes"][0]["_id"].as_u64();
    cluster.running().iter().filter_map(oldest).max().unwrap() - 1
}

/// Waits until all nodes show the same lists. Nobody writes, but each purges when it comes to it.
fn assert_same(cluster: &Cluster, tenant: &str) {
    let mut shown = Vec::new();
    eventually("every node shows the same lists", || {
        let from = first(cluster);
        let nodes = cluster.running().into_iter();
        shown = nodes.filter_map(|node| lists(cluster, node, tenant, from)).collect();
        shown.len() == cluster.running().len() && shown.iter().all(|lists| *lists == shown[0])
    });
    assert!(shown[0].iter().all(|list| list.len() > 100));
}

#[test]
fn a_new_node_is_sent_the_history_as_files() {
    let mut cluster = Cluster::with(1, &SHORT_SEGMENTS);
    let tenant = fill(&cluster, 0, 12);
    for role in ["voter", "learner"] {
        let node = cluster.grow(role);
        cluster.catches_up(node);
        assert_eq!(said(&cluster, node, GOES_ON), 1);
        let staged =
            |name: &String| [".part", ".staged", ".install"].iter().any(|end| name.ends_with(end));
        eventually("nothing of the way is left", || !names(&cluster, node).iter().any(staged));
    }
    assert_same(&cluster, &tenant);
    // It goes on from there when it is started again.
    cluster.kill(1);
    cluster.restart(1);
    cluster.catches_up(1);
    assert_eq!(said(&cluster, 1, TAKEN_IN), 0);
    assert_same(&cluster, &tenant);
    // And leads, from the same log.
    cluster.kill(0);
    cluster.restart(0);
    cluster.waits_for(2, 1);
    fill(&cluster, cluster.leader(), 14);
    assert_same(&cluster, &tenant);
}

#[test]
fn a_network_that_breaks_every_connection_early_does_not_keep_a_node_from_it() {
    let longer = ["--segment-size", "2MiB", "--max-body", "64KiB", "--max-batch", "100"];
    let mut cluster = Cluster::with(1, &longer);
    let tenant = fill(&cluster, 0, 7);
    let indexes = |names: Vec<String>| names.iter().filter(|n| n.ends_with(".index")).count();
    eventually("complete segments have indexes", || indexes(names(&cluster, 0)) >= 5);
    // Entries get there by one connection, of which a mebibyte is sent at once; segments do not.
    let node = cluster.grow_behind_cuts("learner", 1_200_000);
    let is_staged = |name: &String| name.ends_with("3.seg.staged");
    eventually("half of it is there", || {
        names(&cluster, node).iter().any(is_staged) || said(&cluster, node, GOES_ON) > 0
    });
    cluster.catches_up(node);
    assert_eq!(said(&cluster, node, GOES_ON), 1);
    assert!(said(&cluster, node, TAKEN_IN) > 4);
    assert_same(&cluster, &tenant);
}

#[test]
fn a_node_answers_reads_of_what_its_snapshot_had_before_it_has_the_rest() {
    let mut cluster = Cluster::with(1, &SHORT_SEGMENTS);
    let (node, link) = cluster.grow_behind_link("learner", Wrong::Nothing);
    cluster.catches_up(node);
    cluster.kill(node);
    let newest = || cluster.client(0).page("/changes?since=now&limit=1")["last"].as_u64().unwrap();
    let had = newest();
    let tenant = fill(&cluster, 0, 12);
    let newest = newest();
    // A snapshot would grow with each that has an index, and be followed by another one.
    eventually("all segments that are complete have an index", || {
        let indexes = names(&cluster, 0).iter().filter(|name| name.ends_with(".index")).count();
        // All but the one that is written, and the spare.
        indexes as u64 + 2 >= newest_segment(&cluster, 0)
    });
    // It gets files and hears the leader, and gets no entries.
    link.set(Wrong::Hold);
    cluster.restart(node);
    let there = lists(&cluster, 0, &tenant, 0).unwrap();
    let mut held = None;
    eventually("what it holds is answered", || {
        held = held_after_a_snapshot(&cluster, node, &tenant);
        held.is_some()
    });
    let (last, here, answers) = held.unwrap();
    assert!(last > had && last < newest, "it had {had}, and holds {last} of {newest}");
    let upto = |lists: Vec<Vec<Value>>| -> Vec<Vec<Value>> {
        let is_held = |change: &Value| change["_id"].as_u64().unwrap() <= last;
        lists.into_iter().map(|list| list.into_iter().filter(is_held).collect()).collect()
    };
    assert_eq!(here, upto(there), "all of what it holds");
    let [of_last, beyond, strong] = answers;
    assert_eq!(of_last.status, 200);
    for answer in [beyond, strong] {
        assert_eq!((answer.status, &answer.json()["code"]), (503, &json!("behind")));
    }
    link.set(Wrong::Nothing);
    cluster.catches_up(node);
    let all = format!("/changes?min_id={newest}&limit=1");
    assert_eq!(cluster.client(node).get(&all).status, 200);
    assert_same(&cluster, &tenant);
}

/// Its last change, its lists, and its answers to who asks for that change, for the next, and for a
/// strong read. Nothing while it starts anew from a snapshot, of which the leader may make a second.
fn held_after_a_snapshot(
    cluster: &Cluster,
    node: usize,
    tenant: &str,
) -> Option<(u64, Vec<Vec<Value>>, [Answer; 3])> {
    let installed = said(cluster, node, GOES_ON);
    let ask = |target: &str| {
        let client = Client::try_connect(cluster.address(node), PATIENCE);
        client?.try_request("GET", target, &[], b"")
    };
    let newest = ask("/changes?since=now").filter(|answer| answer.status == 200)?;
    let last = newest.json()["last"].as_u64().unwrap();
    let lists = lists(cluster, node, tenant, 0)?;
    let answers = [
        ask(&format!("/changes/{last}"))?,
        ask(&format!("/changes?min_id={}&block=0.1", last + 1))?,
        ask("/changes?consistency=strong&limit=1")?,
    ];
    let is_one = installed > 0 && said(cluster, node, GOES_ON) == installed;
    is_one.then_some((last, lists, answers))
}

/// Writes to whoever takes it until it is told to stop.
fn writer(cluster: &Cluster, tenant: &str, stop: &Arc<AtomicBool>) -> JoinHandle<u64> {
    let addresses = cluster.addresses();
    let (body, stop) = (body(tenant, &"y".repeat(600)), Arc::clone(stop));
    std::thread::spawn(move || {
        let mut written = 0;
        for address in addresses.iter().cycle() {
            let client = Client::try_connect(*address, std::time::Duration::from_secs(2));
            let Some(mut client) = client else { continue };
            loop {
                if stop.load(Ordering::Acquire) {
                    return written;
                }
                let headers = [("Content-Type", "application/json")];
                let answer = client.try_request("POST", "/changes", &headers, body.as_bytes());
                match answer {
                    Some(answer) if answer.status == 201 => written += 90,
                    _ => break,
                }
            }
        }
        written
    })
}

#[test]
fn both_sides_are_killed_in_the_middle_while_history_is_purged() {
    let flags = [&SHORT_SEGMENTS[..], &["--retain-min-changes", "30000"]].concat();
    let mut cluster = Cluster::with(3, &flags);
    let tenant = fill(&cluster, cluster.leader(), 120);
    let stop = Arc::new(AtomicBool::new(false));
    let writing = writer(&cluster, &tenant, &stop);

    // A follower loses its disk, and is replaced.
    let lost = cluster.followers()[0];
    cluster.kill(lost);
    cluster.remove(lost);
    let replacement = cluster.grow("voter");
    let learner = cluster.grow("learner");
    for node in [replacement, learner] {
        eventually("files are on their way", || said(&cluster, node, TAKEN_IN) > 0);
        cluster.kill(node);
        cluster.restart(node);
    }
    let leader = cluster.leader();
    cluster.kill(leader);
    cluster.restart(leader);
    for node in cluster.running() {
        cluster.catches_up(node);
    }
    cluster.waits_for(3, 1);
    stop.store(true, Ordering::Release);
    assert!(writing.join().unwrap() > 0);
    for node in [replacement, learner] {
        assert!(said(&cluster, node, GOES_ON) > 0, "node {node}");
    }
    assert!(first(&cluster) > 0, "history was purged meanwhile");
    assert_same(&cluster, &tenant);
}
