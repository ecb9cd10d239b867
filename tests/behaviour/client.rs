//! The program as a client: what status, tail and export print of a real node.

use std::io::BufRead;

use serde_json::Value;

use testkit::{
    Held, Node, NodeBuilder, Stream, Watched, eventually, file, run, run_with, temporary,
};

/// Where nobody listens: no test is given a port that is reserved.
const NOBODY: &str = "http://127.0.0.1:1";

/// A node with so many changes, of which every third is tagged.
fn filled(count: u64) -> Node {
    let node = Node::start();
    let mut client = node.client();
    for from in (1..=count).step_by(500) {
        let change = |n: u64| {
            let tags = if n.is_multiple_of(3) { r#""tags":["third"],"# } else { "" };
            format!(r#"{{{tags}"data":{{"n":{n}.0,"n":"\u00e9"}}}}"#)
        };
        let batch: Vec<_> = (from..=count.min(from + 499)).map(change).collect();
        assert_eq!(client.post(format!("[{}]", batch.join(","))).status, 201);
    }
    node
}

/// Every change as the node's own page has it, one a line.
fn lines(node: &Node, query: &str) -> String {
    let answer = node.client().get(&format!("/changes?limit=10000{query}"));
    let text = answer.text();
    let changes =
        text.strip_prefix("{\"changes\":[").unwrap().rsplit_once("],\"atStart\"").unwrap().0;
    if changes.is_empty() {
        String::new()
    } else {
        changes.replace("},{\"_id\"", "}\n{\"_id\"") + "\n"
    }
}

fn ids(text: &str) -> Vec<u64> {
    let id = |line: &str| serde_json::from_str::<Value>(line).unwrap()["_id"].as_u64().unwrap();
    text.lines().map(id).collect()
}

#[test]
fn status_shows_a_ready_node() {
    let node = filled(7);
    let cluster = node.client().get("/health").header("changeagent-cluster").unwrap().to_owned();
    let text = run(&node.url(), &["status"]).ok();
    for line in [format!("url        {}", node.url()), format!("cluster    {cluster}")] {
        assert!(text.lines().any(|other| other == line), "{line:?} is not in {text}");
    }
    assert!(text.contains("\nready      yes\n") && text.contains("\nlast       7\n"), "{text}");
    let json: Value = serde_json::from_str(&run(&node.url(), &["status", "--json"]).ok()).unwrap();
    assert_eq!(json["ready"], true);
    assert_eq!((&json["cluster"], &json["last"]), (&cluster.into(), &7.into()));
}

#[test]
fn status_of_a_node_that_is_gone_fails() {
    let ended = run(NOBODY, &["status", "--json"]);
    ended.fails_saying(&["not ready", NOBODY]);
    let json: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!((&json["ready"], &json["reason"]["code"]), (&false.into(), &"unreachable".into()));
}

#[test]
fn export_writes_every_change_as_the_node_has_it() {
    let node = filled(2345);
    let want = lines(&node, "");
    let said = "exported 2345 changes, ids 1 to 2345\n";
    assert_eq!(run(&node.url(), &["export"]).ok_saying(&[said]), want);
    let some = run(&node.url(), &["export", "--since", "2000", "--tag", "third"]);
    assert_eq!(some.ok_saying(&["exported 115 changes after 2000, ids"]), {
        lines(&node, "&since=2000&tag=third")
    });
    let none = run(&node.url(), &["export", "--tag", "fourth"]);
    assert_eq!(none.ok_saying(&["exported 0 changes\n"]), "");
    let empty = Node::start();
    assert_eq!(run(&empty.url(), &["export"]).ok_saying(&["exported 0 changes\n"]), "");
}

#[test]
fn an_export_is_taken_up_after_its_last_complete_line() {
    let node = filled(300);
    let directory = temporary();
    let want = lines(&node, "");
    let out = directory.path().join("out.ndjson");
    let name = out.to_str().unwrap();
    run(&node.url(), &["export", "--out", name]).ok_saying(&["ids 1 to 300"]);
    assert_eq!(std::fs::read_to_string(&out).unwrap(), want);
    run(&node.url(), &["export", "--out", name]).fails_saying(&["exists already", "--resume"]);
    // Cut in the middle of lines, at their ends, and before the first one's.
    for size in [0, 10, want.len() / 3, want.len() / 2, want.len() - 1, want.len()] {
        std::fs::write(&out, &want[..size]).unwrap();
        run(&node.url(), &["export", "--out", name, "--resume"]).ok();
        assert!(std::fs::read_to_string(&out).unwrap() == want, "after {size} bytes");
    }
    node.client().append(r#"{"data":"more"}"#);
    let said = "exported 1 change after 300, ids 301 to 301\n";
    run(&node.url(), &["export", "--out", name, "--resume"]).ok_saying(&[said]);
    assert_eq!(std::fs::read_to_string(&out).unwrap(), lines(&node, ""));
}

#[test]
fn an_export_is_not_taken_up_from_another_history() {
    let (one, other) = (filled(30), filled(40));
    let directory = temporary();
    let out = file(directory.path(), "out", &lines(&one, ""));
    let arguments = ["export", "--resume", "--out", out.to_str().unwrap()];
    run(&other.url(), &arguments).fails_saying(&["another database"]);
    assert_eq!(std::fs::read_to_string(&out).unwrap(), lines(&one, ""), "it is let be");
    let out = file(directory.path(), "notes", "no change\n");
    let arguments = ["export", "--resume", "--out", out.to_str().unwrap()];
    run(&one.url(), &arguments).fails_saying(&["notes", "not a change"]);
}

#[test]
fn an_export_is_not_taken_up_as_that_of_another_list() {
    let node = filled(30);
    node.client().tenant("a");
    let directory = temporary();
    let out = directory.path().join("out");
    let name = out.to_str().unwrap();
    let all = ["export", "--resume", "--out", name];
    run(&node.url(), &all).ok_saying(&["ids 1 to 30"]);
    let before = std::fs::read(&out).unwrap();
    for other in [["--tag", "third"], ["--tenant", "a"]] {
        let ended = run(&node.url(), &[&all[..], &other].concat());
        ended.fails_saying(&["out: ", "it is an export of /changes of cluster "]);
        assert_eq!(std::fs::read(&out).unwrap(), before, "it is let be");
    }
    run(&node.url(), &all).ok_saying(&["exported 0 changes after 30"]);
    // A list that holds nothing yet is that of this history, too.
    let empty = directory.path().join("empty");
    let of_a = ["export", "--resume", "--tenant", "a", "--out", empty.to_str().unwrap()];
    run(&node.url(), &of_a).ok();
    let other = Node::start();
    other.client().tenant("a");
    run(&other.url(), &of_a).fails_saying(&["empty: ", "it is an export of /tenants/"]);
}

/// A segment of changes that nobody needs, so that history before it is purged.
fn purge_before_now(node: &Node) {
    let mut client = node.client();
    let batch = format!("{{\"data\":\"{}\"}}\n", "x".repeat(1800)).repeat(500);
    let last = client.list("?since=now")["last"].as_u64().unwrap();
    eventually("history is purged", || {
        assert_eq!(client.post_lines("/changes", &batch).status, 201);
        client.list("?limit=1")["changes"][0]["_id"].as_u64().unwrap() > last
    });
}

/// Its reader was told how far the quiet list is, and goes on from there.
#[test]
fn tail_of_a_quiet_list_goes_on_past_purged_history() {
    let node = NodeBuilder::new().flags(&["--retain-min-changes", "500"]).start();
    let mut client = node.client();
    client.tenant("quiet");
    let change = r#"{"tenant":"quiet","data":"first"}"#;
    let first = client.append(change);
    let tail = Watched::start(&node.url(), &["tail", "-f", "--tenant", "quiet"]);
    assert_eq!(ids(&tail.line()), [first]);
    purge_before_now(&node);
    // Who waits for longer is told earlier.
    let target = "/tenants/quiet/changes?since=now&block=300&cursors=true";
    let mut told = Stream::open(node.client(), target, "application/x-ndjson");
    for _ in 0..2 {
        let line = told.change().expect("a cursor");
        assert!(line.starts_with("{\"last\":"), "{line}");
    }
    let address = node.address().to_string();
    let node = node.kill().flags(&["--listen", &address]).start();
    let since = format!("/tenants/quiet/changes?since={first}");
    assert_eq!(node.client().get(&since).problem(410, "purged")["status"], 410);
    let second = node.client().append(change);
    assert_eq!(ids(&tail.line()), [second]);
    assert_eq!(tail.kill(), Vec::<String>::new());
}

#[test]
fn tail_says_that_changes_were_missed_where_they_were() {
    let node = NodeBuilder::new().flags(&["--retain-min-changes", "500"]).start();
    node.client().append(r#"{"data":1}"#);
    node.client().append(r#"{"data":2}"#);
    purge_before_now(&node);
    let tail = run(&node.url(), &["tail", "-f", "--since", "1"]);
    tail.fails_saying(&[
        "changes after 1 may have been missed",
        "410 purged",
        "oldest change held",
    ]);
}

#[test]
fn tail_prints_the_newest_changes() {
    let node = filled(2345);
    let print = |arguments: &[&str]| ids(&run(&node.url(), &[&["tail"], arguments].concat()).ok());
    assert_eq!(print(&[]), (2336..=2345).collect::<Vec<_>>());
    assert_eq!(print(&["-n", "1200"]), (1146..=2345).collect::<Vec<_>>());
    assert_eq!(print(&["-n", "9999"]), (1..=2345).collect::<Vec<_>>());
    assert!(print(&["-n", "0"]).is_empty());
    assert_eq!(print(&["-n", "2", "--tag", "third"]), [2340, 2343]);
    let thirds: Vec<u64> = (1..=2345).filter(|n| n % 3 == 0).collect();
    assert_eq!(print(&["-n", "600", "--tag", "third"]), thirds[thirds.len() - 600..]);
    assert_eq!(print(&["-n", "900", "--tag", "third"]), thirds);
    assert_eq!(print(&["--since", "1000"]), (1001..=2345).collect::<Vec<_>>());
    assert!(print(&["--since", "9999"]).is_empty());
    assert_eq!(run(&node.url(), &["tail", "-n", "2345"]).ok(), lines(&node, ""));
}

#[test]
fn tail_follows_across_restarts_and_prints_each_change_once() {
    let node = filled(5);
    let tail = Watched::start(&node.url(), &["tail", "-n", "3", "-f"]);
    let tagged = Watched::start(&node.url(), &["tail", "--since", "5", "-f", "--tag", "odd"]);
    let mut printed: Vec<String> = (0..3).map(|_| tail.line()).collect();
    let address = node.address().to_string();
    let (mut node, mut want) = (Some(node), 5);
    for round in 0..6 {
        let builder = match node.take().unwrap() {
            node if round % 2 == 0 => node.kill(),
            node => node.stop(),
        };
        let next = builder.flags(&["--listen", &address]).start();
        let mut client = next.client();
        for _ in 0..=round {
            want = client.append(r#"{"data":1}"#);
        }
        want = client.append(r#"{"tags":["odd"],"data":1}"#).max(want);
        while ids(printed.last().unwrap()) != [want] {
            printed.push(tail.line());
        }
        assert_eq!(ids(&tagged.line()), [want]);
        node = Some(next);
    }
    printed.extend(tail.kill());
    assert_eq!(ids(&printed.join("\n")), (3..=want).collect::<Vec<_>>());
    assert_eq!(tagged.kill(), Vec::<String>::new());
    drop(node);
}

#[test]
fn a_closed_output_ends_a_command_quietly() {
    let node = filled(3000);
    for arguments in [&["tail", "-f", "-n", "1"][..], &["export"]] {
        let mut held = Held::start(&node.url(), arguments);
        let mut line = String::new();
        let mut stdout = held.stdout.take().unwrap();
        stdout.read_line(&mut line).unwrap();
        assert_eq!(ids(&line).len(), 1);
        drop(stdout);
        // It finds that nobody reads when it has more to print.
        node.client().append(r#"{"data":1}"#);
        let ended = held.ends();
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{arguments:?}");
    }
}

#[test]
fn what_a_node_refuses_is_told_in_one_line() {
    let node = filled(1);
    let url = node.url();
    for (arguments, words) in [
        (&["export", "--tenant", "nobody"][..], ["/tenants/nobody/changes", "404 not-found: "]),
        (&["tail", "--tenant", "nobody"], ["/tenants/nobody/changes", "404 not-found: "]),
        (&["tail", "-f", "--tenant", "nobody"], ["/tenants/nobody/changes", "404 not-found: "]),
        (&["tail", "--tag", ""], ["400 invalid-parameter: ", "tag"]),
    ] {
        run(&url, arguments).fails_saying(&words);
    }
    for (arguments, word) in [
        (&["tail", "--collection", "name"][..], "--tenant"),
        (&["export", "--collection", "name"], "--tenant"),
        (&["post", "--collection", "name", "--data", "1"], "--tenant"),
    ] {
        let ended = run(&url, arguments);
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.stderr.contains(word), "{ended:?}");
    }
    run_with(&url, &["post"], "{\"half\":").fails_saying(&["the data", "not JSON"]);
    node.holds(1);
}

#[test]
fn a_node_that_is_gone_is_told_after_the_tries_that_were_asked_for() {
    for arguments in [&["export", "--retries", "0"][..], &["post", "--data", "1", "--retries", "1"]]
    {
        run(NOBODY, arguments).fails_saying(&[NOBODY, "refused"]);
    }
}
