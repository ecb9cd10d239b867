//! Caches that do not hear from their origin any more.

use testkit::{Client, Node, Stream, eventually};

use super::cache_of;
use crate::caches::{newest, started};

const EVENTS: &str = "text/event-stream";
const LINES: &str = "application/x-ndjson";

#[test]
fn reads_that_wait_and_streams_end_once_a_cache_is_too_old() {
    let origin = Node::start();
    let mut writer = origin.client();
    let tenant = writer.tenant("t");
    let keys = format!("/collections/{}/keys", writer.collection(&tenant, "c"));
    let id = writer.put(&format!("{keys}/k"), r#"{"data":1}"#).id();
    let cache = started(cache_of(&origin.url()).flags(&["--max-stale", "3s"]));
    eventually("it has all", || newest(&cache) == id);
    let asks = |target: String, accept: &str| {
        let mut client = cache.client();
        client.send_request("GET", &target, &[("Accept", accept)], b"");
        client
    };
    let pages = [
        format!("/changes?since={id}&block=60"),
        "/changes?min_id=9&block=60".to_owned(),
        "/changes/9?min_id=9".to_owned(),
        format!("{keys}?since={id}&block=60"),
        format!("{keys}/k?since={id}&block=60"),
        format!("{keys}/other?if_absent=wait&block=60"),
    ];
    let mut waits: Vec<Client> =
        pages.into_iter().map(|target| asks(target, "application/json")).collect();
    let mut opening = asks("/changes?min_id=9".to_owned(), EVENTS);
    let mut events = Stream::open(cache.client(), &format!("/changes?since={id}"), EVENTS);
    assert_eq!(events.cursor(), id);
    let mut lines = Stream::open(cache.client(), "/changes?block=60", LINES);
    assert!(lines.change().is_some());
    cache.client().sees_parked(waits.len() + 3);
    drop(origin.kill());
    for client in &mut waits {
        let problem = client.answer().problem(503, "behind");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("above --max-stale: it holds changes up to 1"), "{detail}");
    }
    let told = opening.answer();
    assert!(told.status == 200 && told.text().contains("event: unavailable"), "{}", told.text());
    let told = std::iter::from_fn(|| events.message()).find(|told| told.name != "cursor").unwrap();
    assert_eq!((&*told.name, told.retry), ("unavailable", Some(3_000)));
    assert_eq!(told.json()["code"], "behind");
    assert!(events.message().is_none(), "it has ended");
    let end = std::iter::from_fn(|| Some(lines.try_line())).find(|it| !matches!(it, Ok(Some(_))));
    assert!(end.unwrap().is_err(), "lines do not look complete");
    cache.client().get("/changes").problem(503, "behind");
}
