//! How much a tenant may use: all nodes know it, and count the changes that others took.

use serde_json::json;

use testkit::{Client, cluster::Cluster, eventually};

const QUOTA: &str = "/tenants/foo/quota";

fn append(client: &mut Client, count: usize) -> u16 {
    client.post_lines("/tenants/foo/changes", &"{\"data\":1}\n".repeat(count)).status
}

#[test]
fn all_nodes_know_a_quota_and_a_client_does_not_get_it_from_each() {
    let mut cluster = Cluster::start(3);
    let leader = cluster.leader();
    let mut client = cluster.client((leader + 1) % 3);
    client.tenant("foo");
    let quota = json!({"writes_per_second": 10, "waits": 4});
    assert_eq!(client.put(QUOTA, quota.to_string()).status, 200);
    let knows = |client: &mut Client| client.get(QUOTA).json()["writes_per_second"] == 10;
    for number in 0..3 {
        let mut client = cluster.client(number);
        eventually("it knows the quota", || knows(&mut client));
    }
    // Ten seconds' worth and more, taken by one: the others are in debt, too.
    assert_eq!(append(&mut client, 1_000), 201);
    for number in [leader, (leader + 2) % 3] {
        let mut other = cluster.client(number);
        eventually("it has applied them", || append(&mut other, 1) == 429);
        let answer = other.json("POST", "/tenants/foo/changes", r#"{"data":1}"#);
        answer.problem(429, "too-many-requests");
        let seconds: u64 = answer.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=99).contains(&seconds), "{seconds}");
        // Reads, and other tenants, are another thing.
        assert_eq!(other.get("/tenants/foo/changes").status, 200);
        assert_eq!(other.post(r#"{"data":1}"#).status, 201);
    }
    cluster.kill(leader);
    cluster.leader();
    cluster.restart(leader);
    cluster.catches_up(leader);
    let mut client = cluster.client(leader);
    eventually("it knows the quota", || knows(&mut client));
}
