//! `loadgen fill`.

use testkit::{Every, Node};

use super::{loadgen, server};

#[test]
fn a_fill_creates_everything_once_or_says_that_it_did_not() {
    let line = "--connections 4 --threads 2 --tenants 7 --collections 2 --keys 25 --batch 10";
    let fake = server(Every::default());
    let run = loadgen("fill", &format!("fill --url {} {line}", fake.url())).passes();
    assert_eq!(fake.created(), [7, 2, 25]);
    for (name, count) in [("tenants", 7), ("collections", 2), ("keys", 25)] {
        assert_eq!(run.of(name, "/changes"), count);
    }
    let fake = server(Every { busy: 8, ..Every::default() });
    let run = loadgen("fill-refused", &format!("fill --url {} {line}", fake.url()));
    assert!(!run.output.status.success(), "{}", run.stdout());
    assert_eq!(fake.created(), [7, 1, 0], "keys have nothing to be in");
}

#[test]
fn what_a_fill_has_created_is_read_back() {
    let node = Node::start();
    let line = format!(
        "fill --url {} --connections 4 --tenants 7 --collections 2 --keys 25 --batch 10 --verify",
        node.url()
    );
    let run = loadgen("fill-verified", &line).passes();
    for member in ["acknowledged", "found", "changes_read"] {
        assert_eq!(run.number(&format!("/verification/{member}")), 7 + 2 + 25, "{}", run.results());
    }
}
