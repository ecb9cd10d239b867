//! A cache of several origins, not all of which are there, take what comes, or have its history.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use testkit::{Client, Node, Relay, SHORT_SEGMENTS, eventually};

use super::{at, cache_of, shows};
use crate::caches::{number, started, tried};

/// What a fake origin says that has too much to do.
fn overloaded() -> String {
    let body = "{\"type\":\"/errors/overloaded\",\"title\":\"Overloaded\",\"status\":503,\
                \"detail\":\"told to\",\"code\":\"overloaded\"}";
    format!(
        "HTTP/1.1 503 Service Unavailable\r\nContent-Length: {}\r\nRetry-After: 1\r\n\
         Content-Type: application/problem+json\r\n\r\n{body}",
        body.len(),
    )
}

/// An origin that refuses everything but what it never answers: that does not happen there.
struct Fake {
    url: String,
    posts: Arc<AtomicU64>,
}

impl Fake {
    fn start(answers_posts: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let posts = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&posts);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let count = Arc::clone(&count);
                thread::spawn(move || serve(stream, &count, answers_posts));
            }
        });
        Self { url, posts }
    }

    fn posts(&self) -> u64 {
        self.posts.load(Ordering::SeqCst)
    }
}

fn serve(mut stream: TcpStream, posts: &AtomicU64, answers_posts: bool) {
    loop {
        let (mut request, mut part) = (Vec::new(), [0; 4096]);
        let is_whole = |request: &[u8]| match request.starts_with(b"POST") {
            true => request.ends_with(b"}"),
            false => request.ends_with(b"\r\n\r\n"),
        };
        while !is_whole(&request) {
            match stream.read(&mut part) {
                Ok(read @ 1..) => request.extend_from_slice(&part[..read]),
                _ => return,
            }
        }
        if request.starts_with(b"POST") {
            posts.fetch_add(1, Ordering::SeqCst);
            if !answers_posts {
                // Until whoever asked gives up.
                let _ = stream.read(&mut part);
                return;
            }
        }
        if stream.write_all(overloaded().as_bytes()).is_err() {
            return;
        }
    }
}

fn cluster(node: &Node) -> String {
    let answer = tried(node, "/health").unwrap();
    answer.header("changeagent-cluster").unwrap().to_owned()
}

/// A node of a history of its own, with a log that takes more than a piece.
fn another() -> Node {
    let node = Node::with(&SHORT_SEGMENTS);
    let mut client = node.client();
    for id in 1..=80 {
        client.append(format!("{{\"data\":\"{id}{}\"}}", "k".repeat(20_000)));
    }
    node
}

#[test]
fn a_cache_keeps_its_history_while_the_origin_that_has_it_is_away() {
    let (origin, other) = (Node::start(), Node::start());
    // As far as the cache is, and farther.
    for _ in 0..20 {
        other.client().append(r#"{"data":"other"}"#);
    }
    for id in 1..=3 {
        assert_eq!(origin.client().append(format!("{{\"data\":{id}}}")), id);
    }
    let relay = Relay::start(other.address());
    let cache = started(cache_of(&format!("{},{}", origin.url(), relay.url())));
    shows(&cache, 3);
    let (own, address) = (cluster(&cache), origin.address().to_string());
    let origin = origin.kill();
    // The other is asked again and again meanwhile.
    for _ in 0..6 {
        let before = relay.passed();
        eventually("the other is asked", || relay.passed() > before);
        assert_eq!(cache.client().list("?since=2")["changes"][0]["data"], 3);
    }
    let said = cache.stderr();
    assert!(said.contains("it has the history"), "{said}");
    cache.client().post(r#"{"data":4}"#).problem(503, "behind");
    let origin = at(origin, &address).start();
    assert_eq!(origin.client().append(r#"{"data":4}"#), 4);
    shows(&cache, 4);
    assert_eq!(cluster(&cache), own);
    let said = cache.stderr();
    assert!(!said.contains("is taken in") && !said.contains("begins anew"), "{said}");
    // A write goes to the one that has the history, whichever is asked first.
    assert_eq!(cache.client().append(r#"{"data":5}"#), 5);
    assert_eq!(other.client().list("")["last"], 20);
}

#[test]
fn a_cache_that_takes_in_another_history_goes_back_to_its_own_when_that_is_there_again() {
    let origin = Node::start();
    assert_eq!(origin.client().append(r#"{"data":"own"}"#), 1);
    let others = [another(), another()];
    let relays = [Relay::start(origin.address()), Relay::start(origin.address())];
    let urls = format!("{},{}", relays[0].url(), relays[1].url());
    let cache = started(cache_of(&urls).flags(&SHORT_SEGMENTS));
    shows(&cache, 1);
    let own = cluster(&cache);
    // All origins have other histories. It is looked what there is at one, two pieces of it, and then
    // all is taken in, which does not come to an end.
    for (relay, other) in relays.iter().zip(&others) {
        relay.go_on(other.address());
        relay.hold_after(2_300_000);
    }
    let origin = origin.kill();
    eventually("another history is taken in", || {
        cache.stderr().contains("the log of another history is taken in")
    });
    let said = cache.stderr();
    let line = said.lines().rfind(|line| line.contains("another history is taken in")).unwrap();
    let taken = relays.iter().position(|it| line.contains(&it.address().to_string())).unwrap();
    relays[taken].holds();
    let origin = origin.start();
    let [first, second] = others;
    let (kept, gone) = if taken == 0 { (first, second) } else { (second, first) };
    relays[1 - taken].go_on(origin.address());
    drop(gone.kill());
    relays[taken].go_on(kept.address());
    eventually("it goes back", || cache.stderr().contains("has the history of this copy"));
    assert_eq!(origin.client().append(r#"{"data":"own"}"#), 2);
    shows(&cache, 2);
    assert_eq!(cluster(&cache), own);
    assert!(!cache.stderr().contains("this copy begins anew"));
}

#[test]
fn a_write_that_one_origin_refuses_for_now_is_taken_by_another() {
    let (fake, origin) = (Fake::start(true), Node::start());
    let cache = started(cache_of(&format!("{},{}", fake.url, origin.url())));
    assert_eq!(cache.client().append(r#"{"data":1}"#), 1);
    assert_eq!(fake.posts(), 1, "it was asked first");
    drop(origin.kill());
    // What it says is told where no other did better.
    cache.client().post(r#"{"data":2}"#).problem(503, "overloaded");
    assert_eq!(fake.posts(), 2);
}

#[test]
fn a_cache_hands_on_so_many_writes_at_once_and_no_more() {
    let (fake, origin) = (Fake::start(false), Node::start());
    let of = format!("{},{}", fake.url, origin.url());
    let cache = started(cache_of(&of).flags(&["--cores", "1"]));
    let mut clients: Vec<Client> = (0..257).map(|_| cache.client()).collect();
    for client in &mut clients {
        // A change of the cluster, which has the longest time.
        client.send_request("POST", "/cluster/leader", &[], br#"{"id":1}"#);
    }
    eventually("they are handed on", || fake.posts() == 256);
    let mut refused = Vec::new();
    eventually("one is refused", || {
        let answered = clients.extract_if(.., |it| it.hears_within(Duration::from_millis(1)));
        refused.extend(answered);
        !refused.is_empty()
    });
    for mut client in refused {
        let problem = client.answer().problem(503, "overloaded");
        assert!(problem["detail"].as_str().unwrap().contains("256 requests"), "{problem}");
    }
    assert_eq!(fake.posts(), 256);
    assert_eq!(cache.client().get("/changes").status, 200, "reads go on");
}

#[test]
fn what_comes_through_a_cache_is_told_as_its_origin_tells_it_and_counted_as_it_comes() {
    let origin = Node::start();
    let mut writer = origin.client();
    writer.tenant("one");
    let tenant = writer.tenant("two");
    for _ in 0..4 {
        let data = "x".repeat(1_000_000);
        writer.append(format!("{{\"tenant\":\"{tenant}\",\"data\":\"{data}\"}}"));
    }
    let relay = Relay::start(origin.address());
    let cache = started(cache_of(&relay.url()).flags(&["--tenant", "one"]));
    let target = format!("/tenants/{tenant}/changes");
    let mut client = cache.client();
    let read = client.get(&target);
    assert!(read.header("vary").unwrap().contains("Accept"), "{:?}", read.header("vary"));
    client.send_request("HEAD", &target, &[], b"");
    let head = client.answer_to_head();
    assert_eq!(head.status, 200);
    assert_eq!(number(&head, "content-length"), read.text().len() as u64);
    // What has come of an answer is counted before the rest is there.
    let held = || {
        let metrics = cache.client().get("/metrics").text().to_owned();
        let line =
            metrics.lines().find(|line| line.starts_with("changeagent_held_bytes ")).unwrap();
        line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()
    };
    eventually("nothing else is held", || held() < 500_000.0);
    relay.hold_after(2_000_000);
    client.send_request("GET", &target, &[], b"");
    relay.holds();
    eventually("it is counted", || held() > 1_000_000.0);
    relay.go_on(origin.address());
    assert_eq!(client.answer().text(), read.text());
}
