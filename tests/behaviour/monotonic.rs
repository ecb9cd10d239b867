//! What one client sees never goes back in time, on whichever of a node's cores
//! its connections are.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use testkit::{Answer, Client, Node, ids};

/// Changes that the writer makes.
const CHANGES: u64 = 1500;

#[test]
fn keys_and_lists_are_never_older_than_what_was_read_before_them() {
    let node = Node::with(&["--cores", "4"]);
    let mut client = node.client();
    client.tenant("foo");
    let collection = client.collection("foo", "bar");
    let (list, key) =
        (format!("/collections/{collection}/changes"), format!("/collections/{collection}/keys/k"));
    client.put(&key, "{\"data\":0}");
    let (done, address) = (AtomicBool::new(false), node.address());
    let version = |answer: &Answer| -> u64 {
        answer.header("etag").unwrap().trim_matches('"').parse().unwrap()
    };
    thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                // Two connections, which are mostly served by different cores.
                let (mut one, mut two) = (Client::connect(address), Client::connect(address));
                let (mut seen, mut rounds) = (0, 0);
                while !done.load(Ordering::Relaxed) || rounds == 0 {
                    rounds += 1;
                    let answer = one.get(&key);
                    let shown = version(&answer);
                    assert!(shown >= seen, "the key went back from {seen} to {shown}");
                    assert!(answer.last() >= shown, "an answer is older than what it shows");
                    // What this core shows, this core has in its lists.
                    let page = one.page(&format!("{list}?since={}", shown - 1));
                    assert_eq!(ids(&page).first(), Some(&shown), "the list is older");
                    // What any list shows, the key is at, on any core.
                    let waited = two.page(&format!("{list}?since={shown}&block=0.05"));
                    let listed = *ids(&waited).last().unwrap_or(&shown);
                    seen = version(&one.get(&key));
                    assert!(seen >= listed, "the key is older: {seen}, not {listed}");
                    // Another core's list may come later, unless it is waited for.
                    let caught = two.page(&format!("/changes?since=now&min_id={seen}"));
                    assert!(caught["last"].as_u64().unwrap() >= seen);
                }
            });
        }
        for n in 1..=CHANGES {
            let (path, body) = match n % 3 {
                0 => ("/changes".to_owned(), "{\"data\":0}".to_owned()),
                _ => (key.clone(), format!("{{\"data\":{n}}}")),
            };
            let method = if n % 3 == 0 { "POST" } else { "PUT" };
            let id = client.json(method, &path, body).id();
            assert_eq!(client.get(&key).status, 200);
            assert_eq!(client.list("?since=now")["last"], id, "one's own write is there");
        }
        done.store(true, Ordering::Relaxed);
    });
    node.holds(CHANGES + 1);
}
