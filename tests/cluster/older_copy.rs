//! Members that are started on an older copy of their own data directory: they
//! have lost what they acknowledged, and are noticed.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use testkit::{NodeBuilder, Stream, cluster::Cluster, eventually, files, workload::number};

type Copy = BTreeMap<PathBuf, Vec<u8>>;

/// Has a directory hold these files and no others.
fn restore(directory: &Path, copy: &Copy) {
    empty(directory);
    for (path, bytes) in copy {
        fs::write(path, bytes).unwrap();
    }
}

fn empty(directory: &Path) {
    for entry in fs::read_dir(directory).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
}

fn append(cluster: &Cluster, node: usize, numbers: std::ops::Range<u64>) {
    let mut client = cluster.client(node);
    for n in numbers {
        client.append(number(n));
    }
}

/// Stops a node, copies its directory, and starts it again; the copy.
fn copied(cluster: &mut Cluster, node: usize, data: &Path) -> Copy {
    cluster.stop(node);
    let copy = files(data);
    assert!(!copy.is_empty());
    cluster.restart(node);
    cluster.catches_up(node);
    copy
}

/// What a node answers when it is asked whether it is ready.
fn ready(cluster: &Cluster, node: usize) -> u16 {
    cluster.client(node).get("/ready").status
}

/// Three nodes with three changes, and a copy of what one follower had then.
struct Copied {
    cluster: Cluster,
    leader: usize,
    /// The one whose directory was copied.
    older: usize,
    third: usize,
    data: PathBuf,
    copy: Copy,
}

impl Copied {
    fn start() -> Self {
        let mut cluster = Cluster::start(3);
        let leader = cluster.leader();
        let [older, third] = cluster.followers()[..] else { panic!("two followers") };
        let data = cluster.node(older).data();
        append(&cluster, leader, 0..3);
        cluster.agree();
        let copy = copied(&mut cluster, older, &data);
        assert_eq!(cluster.leader(), leader);
        Self { cluster, leader, older, third, data, copy }
    }
}

/// Waits until a node says that it must not go on.
fn says_what_is_wrong(cluster: &Cluster, node: usize) {
    eventually("it says what is wrong", || {
        cluster.node(node).stderr().contains("this node must not go on and serves nothing more")
    });
}

/// A node that must not go on is not started again on its directory; how it would be.
fn is_refused_its_directory(cluster: &mut Cluster, node: usize) -> NodeBuilder {
    cluster.stop(node);
    let builder = cluster.leave(node);
    builder.fails().says(&["must not be used", "--join"]);
    builder
}

/// What the leader says of a member: its state, and how far it is.
fn listed(cluster: &Cluster, member: usize) -> Option<(String, u64)> {
    let view = cluster.view(cluster.leader())?;
    let id = cluster.id(member);
    let members = view["members"].as_array()?;
    let member = members.iter().find(|member| member["id"] == id)?;
    Some((member["state"].as_str()?.to_owned(), member["matched"].as_u64()?))
}

#[test]
fn a_member_on_an_older_copy_is_noticed_and_counts_for_nothing() {
    let Copied { mut cluster, leader, older, third, data, copy } = Copied::start();
    append(&cluster, leader, 3..6);
    cluster.agree();
    assert_eq!(cluster.leader(), leader);

    cluster.stop(older);
    restore(&data, &copy);
    cluster.restart(older);
    says_what_is_wrong(&cluster, older);
    eventually("it is not ready", || ready(&cluster, older) == 503);
    let answer = cluster.client(older).get("/ready");
    answer.problem(503, "storage");
    let text = answer.text();
    assert!(text.contains("does not hold it") && text.contains("--join"), "{text}");
    cluster.client(older).get("/changes").problem(503, "storage");
    let write = cluster.client(older).json("POST", "/changes", "{\"data\":1}");
    write.problem(503, "storage");
    let lost = "a member lost entries that it had acknowledged";
    eventually("its leader says so too", || cluster.node(leader).stderr().contains(lost));
    let reverted = Some(("reverted".to_owned(), 0));
    eventually("it is listed as that, and counted on for nothing", || {
        listed(&cluster, older) == reverted
    });

    // The other two go on.
    append(&cluster, leader, 6..7);
    // Without the third one there is no quorum, whatever the older one acknowledges.
    cluster.stop(third);
    let id = cluster.client(leader).json("POST", "/changes", "{\"data\":\"no\"}");
    assert!(matches!(id.status, 503 | 504), "{id:?}");
    eventually("the leader is not ready", || ready(&cluster, leader) == 503);
    cluster.restart(third);
    append(&cluster, cluster.leader(), 7..8);

    // It is not started again on that directory, but on an empty one.
    let builder = is_refused_its_directory(&mut cluster, older);
    empty(&data);
    let leader = cluster.leader();
    let door = cluster.address(leader).to_string();
    let back = cluster.comes(builder.flags(&["--join", &door]));
    cluster.waits_for(3, 0);
    cluster.catches_up(back);
    assert_ne!(cluster.id(back), cluster.id(older));
    let list = cluster.agree();
    assert!(list.len() >= 8, "{list:?}");
}

#[test]
fn a_member_whose_committed_entries_are_contradicted_serves_nothing_more() {
    let Copied { mut cluster, leader, older, third, data, copy } = Copied::start();
    cluster.catches_up(third);

    // Three more are acknowledged by the leader and the one that will lose them.
    cluster.kill(third);
    append(&cluster, leader, 3..6);
    cluster.catches_up(older);
    cluster.stop(older);
    let mut waits = cluster.client(leader);
    waits.send_request("GET", "/changes?since=6&block=300", &[], b"");
    let mut follows = Stream::open(cluster.client(leader), "/changes", "text/event-stream");
    cluster.client(leader).sees_parked(2);
    cluster.pause(leader);
    restore(&data, &copy);
    cluster.restart(older);
    cluster.restart(third);
    let next = cluster.leader();
    append(&cluster, next, 10..12);
    let others = cluster.agree();
    assert_eq!(others.len(), 5, "ids are given anew");

    cluster.resume(leader);
    says_what_is_wrong(&cluster, leader);
    let answer = cluster.client(leader).get("/ready");
    answer.problem(503, "storage");
    assert!(answer.text().contains("is committed here"), "{}", answer.text());
    cluster.client(leader).get("/changes").problem(503, "storage");
    // Who waited there is told.
    waits.answer().problem(503, "storage");
    let end = std::iter::from_fn(|| follows.try_line().transpose()).find_map(Result::err);
    assert!(end.is_some(), "the stream breaks off");

    // A quorum goes on.
    append(&cluster, cluster.leader(), 12..13);
    assert_eq!(cluster.list(next, 5), others);
    is_refused_its_directory(&mut cluster, leader);
}
