//! How much of its history a tenant keeps: all nodes agree on where its lists begin, whoever leads.

use testkit::{Client, cluster::Cluster, eventually, ids};

const KEPT: usize = 20;

fn list(client: &mut Client) -> Vec<u64> {
    ids(&client.page("/tenants/foo/changes?limit=10000"))
}

fn append(client: &mut Client, count: usize) {
    let lines = "{\"tenant\":\"foo\",\"data\":1}\n{\"data\":2}\n".repeat(count);
    assert_eq!(client.post_lines("/changes", &lines).status, 201);
}

#[test]
fn all_nodes_agree_on_where_lists_begin_where_leaders_die() {
    let mut cluster = Cluster::start(3);
    let leader = cluster.leader();
    let mut client = cluster.client((leader + 1) % 3);
    client.tenant("foo");
    append(&mut client, 100);
    let all = list(&mut client);
    let body = format!("{{\"changes\":{KEPT}}}");
    assert_eq!(client.put("/tenants/foo/retention", body).status, 200);
    cluster.kill(leader);
    let mut wanted = all[all.len() - KEPT..].to_vec();
    for round in 0..3 {
        let running = cluster.running();
        for number in &running {
            let mut client = cluster.client(*number);
            eventually("its list begins later", || list(&mut client) == wanted);
            let first = client.page("/tenants/foo")["first"].as_u64().unwrap();
            let page = client.page(&format!("/tenants/foo/changes?since={}&limit=1", first - 1));
            assert_eq!(ids(&page), wanted[..1]);
            client.get(&format!("/tenants/foo/changes?since={}", first - 2)).problem(410, "purged");
        }
        if round == 2 {
            break;
        }
        let next = cluster.leader();
        if round == 0 {
            cluster.restart(leader);
            cluster.catches_up(leader);
            cluster.kill(next);
        } else {
            running.iter().chain([&leader]).for_each(|number| {
                // All of them, so that everything is read from the disk.
                cluster.kill(*number);
                cluster.restart(*number);
            });
        }
        let mut client = cluster.client(cluster.leader());
        append(&mut client, 7);
        let page = client.page("/tenants/foo/changes?limit=10000");
        wanted = ids(&page)[ids(&page).len() - KEPT..].to_vec();
        if round == 0 {
            cluster.restart(next);
            cluster.catches_up(next);
        }
    }
    cluster.agree();
}
