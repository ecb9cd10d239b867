//! What a node keeps in memory of what others send to it.

use testkit::{Client, cluster::Cluster};

const WRITES: usize = 20_000;
/// Few, so that hardly any two writes share an entry of the log.
const WRITERS: usize = 4;
/// Requests that are sent before their answers are read.
const BURST: usize = 50;
/// By how much followers may exceed the leader.
const EXCESS_BYTES: usize = 32 << 20;

fn write(mut client: Client) {
    let body = br#"{"data":1}"#;
    let headers = [("Content-Type", "application/json")];
    for _ in 0..WRITES / WRITERS / BURST {
        (0..BURST).for_each(|_| client.send_request("POST", "/changes", &headers, body));
        for _ in 0..BURST {
            assert_eq!(client.answer().status, 201);
        }
    }
}

#[test]
fn a_follower_holds_no_more_than_the_leader_after_many_small_writes() {
    let cluster = Cluster::start(2);
    let leader = cluster.leader();
    std::thread::scope(|scope| {
        for _ in 0..WRITERS {
            let client = cluster.client(leader);
            scope.spawn(move || write(client));
        }
    });
    let [follower] = cluster.followers()[..] else { panic!("one follower") };
    cluster.catches_up(follower);
    let [leader, follower] = [leader, follower].map(|number| cluster.node(number).memory());
    println!("{} MiB beside {} MiB", follower >> 20, leader >> 20);
    assert!(follower < leader + EXCESS_BYTES, "what it was sent stays in memory");
}
