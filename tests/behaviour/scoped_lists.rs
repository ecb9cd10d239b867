//! The lists of one tenant and of one collection: every parameter of
//! `GET /changes`, on a part of it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use testkit::{Client, Node, eventually, ids};

/// Tenants `a` and `b`; `a` has the collection `c`.
struct Scopes {
    node: Node,
    client: Client,
    /// The list of the tenant `a`, and that of its collection.
    lists: [String; 2],
    collection: String,
}

impl Scopes {
    fn start() -> Self {
        Self::on(Node::start())
    }

    fn on(node: Node) -> Self {
        let mut client = node.client();
        client.tenant("a");
        client.tenant("b");
        let collection = client.collection("a", "c");
        let lists = ["/tenants/a/changes".into(), format!("/collections/{collection}/changes")];
        Self { node, client, lists, collection }
    }

    /// Appends a change that both lists hold.
    fn inside(&mut self, members: &str) -> u64 {
        let body = format!("{{\"collection\":\"{}\"{members},\"data\":\"in\"}}", self.collection);
        self.client.append(body)
    }

    /// Appends a change that neither holds.
    fn outside(&mut self, members: &str) -> u64 {
        self.client.append(format!("{{\"tenant\":\"b\"{members},\"data\":\"out\"}}"))
    }

    /// Changes inside at 2, 4, 6, 8 and 10, and outside at the other ids up to
    /// 11.
    fn alternating() -> Self {
        let mut scopes = Self::start();
        for n in 1..=11 {
            let id = if n % 2 == 0 { scopes.inside("") } else { scopes.outside("") };
            assert_eq!(id, n);
        }
        scopes
    }
}

/// Sends a request that waits, behind one whose answer shows that the node has
/// read both.
fn park(client: &mut Client, target: &str) {
    client.send(format!(
        "GET /health HTTP/1.1\r\nHost: a\r\n\r\nGET {target} HTTP/1.1\r\nHost: a\r\n\r\n"
    ));
    assert_eq!(client.answer().status, 200);
}

#[test]
fn a_list_without_changes_is_at_its_start_and_its_end() {
    let mut scopes = Scopes::start();
    for list in scopes.lists.clone() {
        let answer = scopes.client.get(&list);
        assert_eq!(answer.text(), r#"{"changes":[],"atStart":true,"atEnd":true,"last":0}"#);
    }
    scopes.outside("");
    for list in scopes.lists.clone() {
        let answer = scopes.client.get(&list);
        assert_eq!(answer.text(), r#"{"changes":[],"atStart":true,"atEnd":true,"last":1}"#);
    }
}

#[test]
fn start_end_and_last_are_told_at_every_position() {
    let mut scopes = Scopes::alternating();
    for list in scopes.lists.clone() {
        for since in 0..=13 {
            for limit in 1..=6 {
                let page = scopes.client.page(&format!("{list}?since={since}&limit={limit}"));
                let all: Vec<u64> = [2, 4, 6, 8, 10].into_iter().filter(|id| *id > since).collect();
                let cut = all.len() > limit;
                let wanted = &all[..limit.min(all.len())];
                assert_eq!(ids(&page), wanted, "{list} {since} {limit}");
                let last = if cut { wanted[limit - 1] } else { since.max(11) };
                if page["atEnd"] == true {
                    assert!(!cut, "{list} {since} {limit}: {page}");
                    assert_eq!(page["last"], last, "{list} {since} {limit}");
                } else {
                    // A full page may not know yet that nothing follows.
                    assert!(all.len() >= limit, "{list} {since} {limit}: {page}");
                    assert_eq!(page["last"], wanted[limit - 1], "{list} {since} {limit}");
                }
                assert_eq!(page["atStart"], since < 2, "{list} {since} {limit}");
            }
        }
    }
}

#[test]
fn since_now_is_the_newest_id_of_all() {
    let mut scopes = Scopes::alternating();
    for list in scopes.lists.clone() {
        let page = scopes.client.page(&format!("{list}?since=now"));
        assert_eq!(page, json!({"changes": [], "atStart": false, "atEnd": true, "last": 11}));
    }
}

#[test]
fn since_beyond_the_newest_id_is_kept() {
    let mut scopes = Scopes::alternating();
    for list in scopes.lists.clone() {
        for since in ["1000", "1000000", "9223372036854775807"] {
            let page = scopes.client.page(&format!("{list}?since={since}"));
            assert_eq!(ids(&page), [0; 0]);
            assert_eq!((&page["atEnd"], page["last"].to_string()), (&json!(true), since.into()));
        }
        let mut waiting = scopes.node.client();
        let newest = scopes.outside("");
        park(&mut waiting, &format!("{list}?since={}&block=60", newest + 2));
        for _ in 0..3 {
            scopes.inside("");
        }
        assert_eq!(ids(&waiting.answer().json()), [newest + 3], "{list}");
    }
}

#[test]
fn a_limit_is_100_unless_given_and_cut_to_10000() {
    const COUNT: usize = 10_050;
    let mut scopes = Scopes::on(Node::with(&[
        "--max-batch",
        "30000",
        "--max-body",
        "4MiB",
        "--segment-size",
        "16MiB",
    ]));
    let inside = format!("{{\"collection\":\"{}\",\"data\":1}}\n", scopes.collection);
    let lines = format!("{inside}{{\"data\":2}}\n").repeat(COUNT);
    assert_eq!(scopes.client.post_lines("/changes", &lines).status, 201);
    for list in scopes.lists.clone() {
        let page = scopes.client.page(&list);
        assert!(ids(&page).into_iter().eq((0..100).map(|n| n * 2 + 1)));
        assert_eq!((&page["atEnd"], &page["last"]), (&json!(false), &json!(199)));
        for limit in ["10000", "10001", "99999999999999999999999"] {
            let page = scopes.client.page(&format!("{list}?limit={limit}"));
            assert!(ids(&page).into_iter().eq((0..10_000).map(|n| n * 2 + 1)), "{limit}");
            assert_eq!((&page["atEnd"], &page["last"]), (&json!(false), &json!(19_999)));
        }
        let page = scopes.client.page(&format!("{list}?limit=10000&since=19999"));
        assert_eq!((ids(&page).len(), &page["last"]), (50, &json!(2 * COUNT)));
        assert_eq!(page["atEnd"], true);
    }
}

#[test]
fn a_scoped_answer_is_cut_at_8_mib_of_its_own_changes() {
    let flags = ["--max-body", "2MiB", "--segment-size", "4MiB"];
    let mut scopes = Scopes::on(Node::with(&flags));
    let data = "x".repeat(1_000_000);
    for n in 1..=10 {
        let body = format!("{{\"collection\":\"{}\",\"data\":\"{data}\"}}", scopes.collection);
        assert_eq!(scopes.client.append(body), 2 * n - 1);
        scopes.outside("");
    }
    for list in scopes.lists.clone() {
        let answer = scopes.client.get(&list);
        let page = answer.json();
        assert_eq!(ids(&page), [1, 3, 5, 7, 9, 11, 13, 15]);
        // The change after it belongs to others, and need not be looked at again.
        assert_eq!((&page["atEnd"], &page["last"]), (&json!(false), &json!(16)));
        assert!(answer.body.len() <= (8 << 20) + 100);
        let page = scopes.client.page(&format!("{list}?since=15"));
        assert_eq!((ids(&page), &page["atEnd"]), (vec![17, 19], &json!(true)));
        assert_eq!(page["last"], 20);
    }
}

#[test]
fn tags_filter_a_scoped_list() {
    let mut scopes = Scopes::start();
    for (n, tags) in ["x", "y", "x\",\"y", "z"].iter().enumerate() {
        let members = format!(",\"tags\":[\"{tags}\"]");
        assert_eq!(scopes.inside(&members), 2 * n as u64 + 1);
        scopes.outside(&members);
    }
    scopes.inside("");
    for list in scopes.lists.clone() {
        for (query, wanted) in [
            ("tag=x", &[1, 5][..]),
            ("tag=y", &[3, 5]),
            ("tag=x&tag=y", &[1, 3, 5]),
            ("tag=z&tag=none", &[7]),
            ("tag=none", &[]),
            ("tag=x&since=1", &[5]),
            ("tag=x&since=1&limit=1", &[5]),
            ("tag=x&limit=1", &[1]),
        ] {
            let page = scopes.client.page(&format!("{list}?{query}"));
            assert_eq!(ids(&page), wanted, "{list} {query}");
            if !query.contains("limit") {
                assert_eq!((&page["atEnd"], &page["last"]), (&json!(true), &json!(9)), "{query}");
            }
        }
        let page = scopes.client.page(&format!("{list}?tag=x&limit=1"));
        assert_eq!((&page["atEnd"], &page["last"]), (&json!(false), &json!(1)));
    }
}

#[test]
fn a_waiting_list_sleeps_through_the_changes_of_others() {
    let mut scopes = Scopes::start();
    let mut waiting: Vec<_> = scopes
        .lists
        .clone()
        .into_iter()
        .map(|list| {
            let mut client = scopes.node.client();
            park(&mut client, &format!("{list}?block=60"));
            client
        })
        .collect();
    for _ in 0..20 {
        scopes.outside("");
        scopes.client.append(r#"{"data":"of nobody"}"#);
    }
    for client in &mut waiting {
        assert!(!client.hears_within(Duration::from_millis(50)));
    }
    let id = scopes.inside("");
    for client in &mut waiting {
        let page = client.answer().json();
        assert_eq!((ids(&page), &page["changes"][0]["data"]), (vec![id], &json!("in")));
        assert_eq!((&page["last"], &page["atEnd"]), (&json!(id), &json!(true)));
    }
}

#[test]
fn a_change_of_the_tenant_outside_the_collection_wakes_the_tenant_only() {
    let mut scopes = Scopes::start();
    let mut tenant = scopes.node.client();
    let mut collection = scopes.node.client();
    park(&mut tenant, &format!("{}?block=60", scopes.lists[0]));
    park(&mut collection, &format!("{}?block=60", scopes.lists[1]));
    let id = scopes.client.append(r#"{"tenant":"a","data":1}"#);
    assert_eq!(ids(&tenant.answer().json()), [id]);
    assert!(!collection.hears_within(Duration::from_millis(50)));
    let id = scopes.inside("");
    assert_eq!(ids(&collection.answer().json()), [id]);
}

#[test]
fn a_waiting_list_with_tags_sleeps_through_other_tags_of_its_scope() {
    let mut scopes = Scopes::start();
    for list in scopes.lists.clone() {
        let mut waiting = scopes.node.client();
        park(&mut waiting, &format!("{list}?since=now&tag=t&block=60"));
        for _ in 0..10 {
            scopes.inside(",\"tags\":[\"u\"]");
            scopes.outside(",\"tags\":[\"t\"]");
        }
        assert!(!waiting.hears_within(Duration::from_millis(50)));
        let id = scopes.inside(",\"tags\":[\"u\",\"t\"]");
        assert_eq!(ids(&waiting.answer().json()), [id]);
    }
}

#[test]
fn a_waiting_list_times_out_with_what_it_has_examined() {
    let mut scopes = Scopes::start();
    let mut waiting = scopes.node.client();
    let start = Instant::now();
    park(&mut waiting, &format!("{}?block=0.5", scopes.lists[0]));
    let newest = scopes.outside("");
    let page = waiting.answer().json();
    assert!(start.elapsed() >= Duration::from_millis(500));
    assert_eq!(page, json!({"changes": [], "atStart": true, "atEnd": true, "last": newest}));
}

#[test]
fn a_deletion_ends_the_waiting_of_its_scope() {
    for (list, target) in [(0, "/tenants/a"), (1, "/tenants/a/collections/c"), (1, "/tenants/a")] {
        let mut scopes = Scopes::start();
        scopes.inside("");
        let mut waiting = scopes.node.client();
        park(&mut waiting, &format!("{}?since=1&block=300", scopes.lists[list]));
        scopes.client.delete(target).id();
        let answer = waiting.answer();
        // Either the deletion as a change, or that there is no such list.
        if answer.status == 200 {
            assert_eq!(answer.json()["changes"][0]["deleted"], true);
        } else {
            answer.problem(404, "not-found");
        }
    }
}

#[test]
fn min_id_is_waited_for() {
    let mut scopes = Scopes::alternating();
    for list in scopes.lists.clone() {
        assert_eq!(ids(&scopes.client.page(&format!("{list}?min_id=11"))), [2, 4, 6, 8, 10]);
        let target = format!("{list}?min_id=1000&block=0.1");
        scopes.client.get(&target).problem(503, "behind");
    }
    let mut waiting = scopes.node.client();
    park(&mut waiting, &format!("{}?since=10&min_id=13", scopes.lists[0]));
    scopes.inside("");
    scopes.outside("");
    assert_eq!(ids(&waiting.answer().json()), [12]);
}

#[test]
fn a_strong_read_holds_what_was_acknowledged() {
    let mut scopes = Scopes::on(Node::with(&["--cores", "3"]));
    let mut readers: Vec<_> = (0..4).map(|_| scopes.node.client()).collect();
    for round in 0..10 {
        let id = scopes.inside("");
        for list in scopes.lists.clone() {
            for reader in &mut readers {
                let page = reader.page(&format!("{list}?consistency=strong&since={}", id - 1));
                assert_eq!(ids(&page), [id], "round {round}");
            }
        }
    }
}

#[test]
fn the_parameters_of_a_scoped_list_are_those_of_the_whole() {
    let mut scopes = Scopes::alternating();
    for list in scopes.lists.clone() {
        for (query, parameter) in [
            ("since=-1", "since"),
            ("limit=0", "limit"),
            ("block=x", "block"),
            ("min_id=x", "min_id"),
            ("consistency=x", "consistency"),
            ("tag=", "tag"),
            ("since=1&since=1", "since"),
            ("after=1", "after"),
            ("tenant=a", "tenant"),
        ] {
            let problem = scopes.client.get(&format!("{list}?{query}"));
            let problem = problem.problem(400, "invalid-parameter");
            assert_eq!(problem["parameter"], parameter, "{query}: {problem}");
        }
    }
}

#[test]
fn many_waiting_lists_of_many_tenants_each_hear_their_own() {
    const TENANTS: usize = 40;
    let node = Node::with(&["--cores", "2"]);
    let mut client = node.client();
    let names: Vec<String> = (0..TENANTS).map(|n| format!("t{n}")).collect();
    for name in &names {
        client.tenant(name);
    }
    let mut waiting: Vec<Client> = names.iter().map(|_| node.client()).collect();
    for (name, waiting) in names.iter().zip(&mut waiting) {
        park(waiting, &format!("/tenants/{name}/changes?block=300"));
    }
    // In another order than they wait.
    for n in (0..TENANTS).map(|n| n * 7 % TENANTS) {
        let body = format!("{{\"tenant\":\"t{n}\",\"data\":{n}}}");
        let id = client.append(body);
        let page: Value = waiting[n].answer().json();
        assert_eq!((ids(&page), &page["changes"][0]["data"]), (vec![id], &json!(n)));
    }
    eventually("none is left waiting", || {
        waiting.iter_mut().all(|client| client.get("/health").status == 200)
    });
}
