//! Too few nodes: nothing is acknowledged, what is there is served, and writes go
//! on with those that come back.

use std::time::{Duration, Instant};

use testkit::{
    Client,
    cluster::Cluster,
    eventually, run, within,
    workload::{Workload, number},
};

use crate::SOME;

/// How soon a write is refused that cannot be done.
const REFUSED: Duration = Duration::from_secs(10);
/// How soon a command says that there is no quorum.
const SAID: Duration = Duration::from_secs(20);

/// When a client has been told of its write, whatever became of it.
const TOLD_AFTER: Duration = Duration::from_secs(11);

/// Writes, and says whether that was refused rather than left open.
fn is_refused(cluster: &Cluster, node: usize) -> bool {
    let mut client = Client::try_connect(cluster.address(node), REFUSED).expect("it accepts");
    let answer = client.try_request("POST", "/changes", &[], number(1).as_bytes());
    let answer = answer.expect("an answer in time");
    assert!(matches!(answer.status, 503 | 504), "{answer:?}");
    if answer.status == 503 {
        answer.problem(503, answer.json()["code"].as_str().unwrap());
    }
    answer.status == 503
}

#[test]
fn one_of_three_refuses_writes_and_serves_reads() {
    for leads in [true, false] {
        let mut cluster = Cluster::start(3);
        let mut client = cluster.client(0);
        for n in 0..10 {
            client.append(number(n));
        }
        let before = cluster.agree();
        let leader = cluster.leader();
        let left = if leads { leader } else { cluster.followers()[0] };
        let down: Vec<_> = (0..3).filter(|&node| node != left).collect();
        down.iter().for_each(|&node| cluster.kill(node));

        within(REFUSED, "a write is refused", || is_refused(&cluster, left));
        assert_eq!(cluster.list(left, 10), before);
        let mut client = cluster.client(left);
        client.get("/changes?consistency=strong").problem(503, "no-leader");
        assert_eq!(client.get("/health").status, 200);
        within(REFUSED, "it is not ready", || client.get("/ready").status == 503);
        assert!(cluster.view(left).is_some());
        let url = format!("http://{}", cluster.address(left));
        let asked = Instant::now();
        let refused = run(&url, &["members", "remove", "2"]);
        refused.fails_saying(&["there is no quorum", "2 of the 3 voters"]);
        assert!(asked.elapsed() < SAID, "{:?}", asked.elapsed());

        cluster.restart(down[0]);
        let id = cluster.client(cluster.leader()).append(number(11));
        cluster.restart(down[1]);
        cluster.waits_for(3, 0);
        let list = cluster.agree();
        assert_eq!(list[..10], before[..]);
        // At most the writes that were left open are there besides.
        assert!(list.len() as u64 >= id);
    }
}

#[test]
fn a_cluster_without_a_quorum_loses_nothing() {
    let mut cluster = Cluster::start(3);
    let workload = Workload::start(&cluster);
    workload.goes_on(SOME);
    let leader = cluster.leader();
    let followers = cluster.followers();
    followers.iter().for_each(|&node| cluster.kill(node));
    within(REFUSED, "a write is refused", || is_refused(&cluster, leader));
    followers.iter().for_each(|&node| cluster.restart(node));
    workload.goes_on(SOME);
    workload.ends(&cluster);
}

#[test]
fn every_write_is_answered_in_time_and_what_was_refused_never_happens() {
    let mut cluster = Cluster::start(3);
    let leader = cluster.leader();
    let [node, other] = cluster.followers()[..] else { panic!("three nodes") };
    cluster.client(node).append(number(0));
    cluster.pause(leader);
    cluster.pause(other);
    // The first ones are with the leader, which says nothing; the others wait for them.
    let writes = (1..=12).map(|n| {
        let mut client = cluster.client(node);
        let writing = std::thread::spawn(move || {
            let start = Instant::now();
            let answer = client.json("POST", "/changes", number(n));
            (n, answer.status, answer.json()["code"].clone(), start.elapsed())
        });
        // Else they would go out together.
        std::thread::sleep(Duration::from_millis(20));
        writing
    });
    let writes: Vec<_> = writes.collect();
    let answers: Vec<_> = writes.into_iter().map(|write| write.join().unwrap()).collect();
    for (n, status, code, time) in &answers {
        assert!(*time < TOLD_AFTER, "{n} {status} {code} after {time:?}");
        assert!([503, 504].contains(status), "{n} {status} {code}");
    }
    let refused = answers.iter().filter(|(_, status, ..)| *status == 503).map(|(n, ..)| *n);
    let refused: Vec<u64> = refused.collect();
    assert!(!refused.is_empty(), "nothing had to wait: {answers:?}");
    cluster.resume(leader);
    cluster.resume(other);
    cluster.waits_for(3, 0);
    eventually("writes are taken", || {
        cluster.client(node).json("POST", "/changes", number(99)).status == 201
    });
    let list = cluster.agree();
    for n in refused {
        let data = serde_json::from_str::<serde_json::Value>(&number(n)).unwrap()["data"].clone();
        let data = format!("\"data\":{data}}}");
        assert!(!list.iter().any(|change| change.ends_with(&data)), "{n} was refused: {list:?}");
    }
}
