//! The program as a client: the members of a cluster, listed and changed, each
//! change watched until it has come about.

use serde_json::{Value, json};

use testkit::{Fake, Fault, Node, run};

/// The leader of three members, of which the last is a learner.
fn three() -> Fake {
    let fake = Fake::start(&[]);
    fake.membership(|cluster| {
        cluster.put(2, true, 8);
        cluster.put(3, false, 0);
    });
    fake
}

/// What the server was asked to change.
fn asked(fake: &Fake) -> Vec<String> {
    fake.membership(|cluster| cluster.asked.clone())
}

/// Each member's number, and whether it votes.
fn voters(fake: &Fake) -> Vec<(u64, bool)> {
    fake.membership(|cluster| cluster.members.iter().map(|one| (one.id, one.voter)).collect())
}

#[test]
fn members_of_a_node_of_its_own_are_listed() {
    let node = Node::start();
    let text = run(&node.url(), &["members", "list"]).ok();
    let words: Vec<&str> = text.lines().last().unwrap().split_whitespace().collect();
    let address = node.address().to_string();
    assert_eq!((&words[..4], words[6]), (&["1", "voter", "leader", &*address][..], "0"), "{text}");
    assert!(text.ends_with("  leader, this node\n"), "{text}");
    let json: Value =
        serde_json::from_str(&run(&node.url(), &["members", "list", "--json"]).ok()).unwrap();
    assert_eq!((&json["node"], &json["leader"]), (&json!(1), &json!(1)));
    let member = &json["members"][0];
    assert_eq!((&member["address"], &member["lag"]), (&json!(address), &json!(0)));
}

#[test]
fn the_leader_tells_how_far_each_member_is() {
    let text = run(three().url(), &["members", "list"]).ok();
    let want = "\
id  role     state     address      cluster address  matched  lag  note
1   voter    leader    127.0.0.1:1  10.0.0.1:9001    9        0    leader, this node
2   voter    follower  127.0.0.1:2  10.0.0.2:9001    8        1
3   learner  learner   127.0.0.1:3  10.0.0.3:9001    0        9
";
    assert_eq!(text, want);
}

#[test]
fn a_follower_does_not_make_up_how_far_the_others_are() {
    let leader = Fake::start(&[]);
    let follower = leader.beside();
    leader.membership(|cluster| cluster.members[1].address = "h:2".into());
    let text = run(follower.url(), &["members", "list"]).ok();
    let want = "\
id  role   state     address      cluster address  matched  lag  note
1   voter  leader    127.0.0.1:1  10.0.0.1:9001    -        -    leader
2   voter  follower  h:2          10.0.0.2:9001    -        -    this node
";
    assert_eq!(text, want);
    let json = run(follower.url(), &["members", "list", "--json"]).ok();
    let json: Value = serde_json::from_str(&json).unwrap();
    let want = json!({
        "id": 2, "role": "voter", "state": "follower", "address": "h:2",
        "cluster_address": "10.0.0.2:9001", "matched": null, "lag": null,
        "reachable": null, "last_heard_ms": null,
    });
    assert_eq!((&json["node"], &json["members"][1]), (&json!(2), &want));
    let status = run(follower.url(), &["status"]).ok();
    assert!(status.ends_with("2   h:2          voter  follower  -        -\n"), "{status}");
}

#[test]
fn a_node_is_added_and_awaited_until_it_has_its_role() {
    let fake = three();
    // Listed first, and given its vote later.
    fake.membership(|cluster| cluster.looks = 2);
    let said = run(fake.url(), &["members", "add", "127.0.0.1:4"]).ok();
    assert_eq!(said, "member 4 is a voter: 127.0.0.1:4\n");
    assert_eq!(voters(&fake), [(1, true), (2, true), (3, false), (4, true)]);
    let said = run(fake.url(), &["members", "add", "[::1]:5", "--role", "learner"]).ok();
    assert_eq!(said, "member 5 is a learner: [::1]:5\n");
    let want = [
        r#"POST /cluster/members {"address":"127.0.0.1:4","role":"voter"}"#,
        r#"POST /cluster/members {"address":"[::1]:5","role":"learner"}"#,
    ];
    assert_eq!(asked(&fake), want);
}

#[test]
fn a_node_that_tells_others_another_address_is_known_by_its_number() {
    let fake = three();
    fake.membership(|cluster| {
        cluster.looks = 2;
        cluster.numbers = true;
        cluster.advertised = Some("db-4.example:9000".into());
    });
    let said = run(fake.url(), &["members", "add", "127.0.0.1:4"]).ok();
    assert_eq!(said, "member 4 is a voter: db-4.example:9000\n");
}

#[test]
fn a_member_is_removed_and_awaited_until_it_is_gone() {
    let fake = three();
    fake.membership(|cluster| cluster.looks = 3);
    let said = run(fake.url(), &["members", "remove", "3"]).ok();
    assert_eq!(said, "member 3 is out of the cluster\n");
    assert_eq!(voters(&fake), [(1, true), (2, true)]);
    assert_eq!(asked(&fake), ["DELETE /cluster/members/3"]);
}

#[test]
fn a_member_that_does_not_hear_of_its_removal_is_not_asked_about_it() {
    let one = Fake::start(&[]);
    let other = one.beside();
    one.membership(|cluster| cluster.looks = 3);
    let said = run(one.url(), &["members", "remove", "1"]).ok();
    assert_eq!(said, "member 1 is out of the cluster\n");
    assert_eq!(voters(&other), [(2, true)]);
    let still = run(one.url(), &["members", "list"]).ok();
    assert_eq!(still.lines().count(), 3, "its own list is the old one: {still}");
}

#[test]
fn a_member_is_promoted_and_demoted() {
    let fake = three();
    fake.membership(|cluster| cluster.looks = 2);
    let said = run(fake.url(), &["members", "promote", "3"]).ok();
    assert_eq!(said, "member 3 is a voter: 127.0.0.1:3\n");
    let said = run(fake.url(), &["members", "promote", "2", "--role", "learner"]).ok();
    assert_eq!(said, "member 2 is a learner: 127.0.0.1:2\n");
    assert_eq!(voters(&fake), [(1, true), (2, false), (3, true)]);
    let want = [
        r#"PATCH /cluster/members/3 {"role":"voter"}"#,
        r#"PATCH /cluster/members/2 {"role":"learner"}"#,
    ];
    assert_eq!(asked(&fake), want);
}

#[test]
fn leadership_is_handed_over() {
    let fake = three();
    fake.membership(|cluster| cluster.looks = 2);
    assert_eq!(run(fake.url(), &["members", "lead", "2"]).ok(), "member 2 leads\n");
    assert_eq!(fake.membership(|cluster| cluster.leader), Some(2));
    assert_eq!(asked(&fake), [r#"POST /cluster/leader {"id":2}"#]);
}

#[test]
fn what_the_node_refuses_is_told_in_one_line() {
    let fake = three();
    for (arguments, words) in [
        (&["remove", "7"][..], ["DELETE http://", "/cluster/members/7: 404 not-found: told to"]),
        (&["promote", "7"], ["PATCH http://", "/cluster/members/7: 404 not-found: told to"]),
        (&["lead", "3"], ["POST http://", "/cluster/leader: 400 invalid-parameter: told to"]),
        (&["lead", "7", "--no-wait"], ["POST http://", "/cluster/leader: 400 invalid-parameter"]),
    ] {
        let ended = run(fake.url(), &[&["members"], arguments].concat());
        ended.fails_saying(&words);
        assert_eq!(ended.stdout, "", "{arguments:?}");
    }
    let nobody = ["members", "remove", "3", "--retries", "0"];
    run("http://127.0.0.1:1", &nobody).fails_saying(&["GET http://127.0.0.1:1/cluster", "refused"]);
    run("http://127.0.0.1:1", &["members", "list", "--retries", "0"]).fails_saying(&["refused"]);
}

#[test]
fn what_does_not_come_about_in_time_is_told_with_what_is_missing() {
    let fake = three();
    fake.membership(|cluster| cluster.looks = u64::MAX);
    for (arguments, missing) in [
        (&["add", "127.0.0.1:4"][..], "127.0.0.1:4 is not listed"),
        (&["remove", "2"], "member 2 is still listed"),
        (&["promote", "3"], "member 3 is still a learner, 9 entries behind"),
        (&["lead", "2"], "member 1 still leads"),
    ] {
        let arguments = [&["members"], arguments, &["--timeout", "300ms"]].concat();
        let ended = run(fake.url(), &arguments);
        ended.fails_saying(&[" http://", ": accepted: not done after 300ms: ", missing]);
        assert_eq!(ended.stdout, "", "{arguments:?}");
    }
}

#[test]
fn without_waiting_a_command_ends_when_it_is_accepted() {
    let fake = three();
    fake.membership(|cluster| cluster.looks = u64::MAX);
    let said = run(fake.url(), &["members", "remove", "2", "--no-wait"]).ok();
    assert_eq!(said, "accepted\n");
    assert_eq!(voters(&fake).len(), 3);
}

#[test]
fn a_busy_node_is_asked_again() {
    let fake = Fake::start(&[(1, Fault::Busy), (2, Fault::Busy)]);
    run(fake.url(), &["members", "add", "127.0.0.1:2"]).ok();
    assert_eq!(asked(&fake).len(), 1);
    let fake = Fake::start(&[(1, Fault::Busy)]);
    let arguments = ["members", "add", "127.0.0.1:2", "--retries", "0"];
    run(fake.url(), &arguments).fails_saying(&["503 overloaded: told to"]);
    assert_eq!(asked(&fake), [""; 0]);
}

#[test]
fn a_change_whose_answer_was_lost_is_found_in_the_cluster() {
    for fault in [Fault::HangUp, Fault::Doubt] {
        let fake = Fake::start(&[(1, fault)]);
        fake.membership(|cluster| cluster.put(2, true, 9));
        // It is done already, so that it is refused when it is asked for again.
        let said = run(fake.url(), &["members", "remove", "2"]).ok();
        assert_eq!(said, "member 2 is out of the cluster\n");
        assert_eq!(asked(&fake).len(), 2);
    }
    let fake = Fake::start(&[(1, Fault::HangUp)]);
    fake.membership(|cluster| cluster.put(2, true, 9));
    let ended = run(fake.url(), &["members", "remove", "2", "--no-wait", "--retries", "0"]);
    ended.fails_saying(&["DELETE http://", "it may have happened"]);
}

#[test]
fn a_change_that_is_in_doubt_and_not_seen_is_told_as_it_failed() {
    let fake = Fake::start(&[(1, Fault::Cut)]);
    let arguments = ["members", "remove", "1", "--retries", "0", "--timeout", "300ms"];
    let ended = run(fake.url(), &arguments);
    ended.fails_saying(&["DELETE http://", "not done after 300ms: member 1 is still listed"]);
    assert!(!ended.stderr.contains("accepted"), "{ended:?}");
}

#[test]
fn without_a_quorum_a_change_says_so_soon() {
    let commands: [&[&str]; 3] = [
        &["members", "remove", "2"],
        &["members", "add", "127.0.0.1:9"],
        &["members", "lead", "2"],
    ];
    for command in commands {
        let fake = three();
        fake.membership(|cluster| cluster.leader = None);
        let begin = std::time::Instant::now();
        let words = ["there is no quorum", "2 of the 2 voters"];
        run(fake.url(), command).fails_saying(&words);
        let took = begin.elapsed();
        assert!(took < std::time::Duration::from_secs(20), "{command:?}: {took:?}");
        assert_eq!(asked(&fake), Vec::<String>::new());
    }
}

/// It is lost while the request is under way: whether it happened is unknown.
#[test]
fn a_quorum_that_is_lost_meanwhile_is_said_too() {
    let fake = three();
    fake.membership(|cluster| cluster.looks = u64::MAX);
    let held = testkit::Held::start(fake.url(), &["members", "remove", "2"]);
    testkit::eventually("it is asked for", || asked(&fake).len() == 1);
    fake.membership(|cluster| cluster.leader = None);
    held.ends().fails_saying(&["DELETE ", "accepted", "member 2 is still listed", "no quorum"]);
}
