//! Wrong tokens: how many are looked at, and who is held up by them.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

use serde_json::json;
use socket2::{Domain, Socket, Type};
use testkit::{Client, NodeBuilder, PATIENCE, eventually};

use crate::{
    credentials::{ROOT, asked, bearer, with_token},
    tokens::{Site, made},
};

/// Wrong tokens that are looked at at once.
const BURST: usize = 100;

/// A client at another address of this machine.
pub(crate) fn client_from(last: u8, node: SocketAddr) -> Client {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((Ipv4Addr::new(127, 0, 1, last), 0)).into()).unwrap();
    socket.connect(&node.into()).unwrap();
    Client::over(socket.into(), PATIENCE, true)
}

/// Sends wrong tokens until one is refused without a look; how many were looked at.
fn looked_at(client: &mut Client, token: &str) -> usize {
    for count in 0..10 * BURST {
        let answer = asked(client, "GET", "/tenants/acme/changes", &bearer(token), "");
        if answer.status == 429 {
            answer.problem(429, "too-many-requests");
            assert_eq!(answer.header("retry-after"), Some("1"));
            return count;
        }
        answer.problem(401, "unauthenticated");
    }
    panic!("all are looked at");
}

fn metrics(site: &Site) -> String {
    asked(&mut site.node.client(), "GET", "/metrics", &bearer(ROOT), "").text().to_owned()
}

#[test]
fn who_guesses_is_refused_whatever_the_guess_and_good_tokens_pass() {
    let site = Site::start();
    let token = site.token("read", &json!({"tenant": "acme"})).token;
    let mut client = site.node.client();
    // And one more each second that this takes.
    let count = looked_at(&mut client, "wrong-0123456789-0123456789-0123456789");
    assert!(count >= BURST, "{count}");
    // From the same address: on this connection, and on others.
    for client in [&mut client, &mut site.node.client()] {
        for good in [&token, ROOT] {
            let answer = asked(client, "GET", "/tenants/acme/changes", &bearer(good), "");
            assert_eq!(answer.status, 200, "{answer:?}");
        }
        assert_eq!(asked(client, "GET", "/health", &bearer("x"), "").status, 200);
        client.get("/changes").problem(401, "unauthenticated");
    }
    let metrics = metrics(&site);
    let refused = "changeagent_limit_refusals_total{limit=\"wrong-tokens\"} ";
    assert!(!metrics.contains(&format!("{refused}0")), "{metrics}");
    let told = site.node.stderr();
    assert_eq!(told.matches("too many wrong tokens").count(), 1, "{told}");
    assert!(told.contains("source=127.0.0.1") && !told.contains("wrong-0123"), "{told}");
}

#[test]
fn the_root_token_is_not_told_from_a_guess_where_it_was_not_shown_before() {
    let node = with_token(NodeBuilder::new(), ROOT).start();
    let mut other = client_from(1, node.address());
    assert_eq!(asked(&mut other, "GET", "/changes", &bearer(ROOT), "").status, 200);
    // One of two guesses may be the one that is looked at each second: then it is tried from elsewhere.
    let refused = (2..10).find_map(|last| {
        let mut client = client_from(last, node.address());
        looked_at(&mut client, "wrong-0123456789-0123456789-0123456789");
        let right = asked(&mut client, "GET", "/changes", &bearer(ROOT), "");
        let wrong = asked(&mut client, "GET", "/changes", &bearer(&ROOT.replace('0', "1")), "");
        let are_refused = right.status == 429 && wrong.status == 429;
        are_refused.then_some((client, right, wrong))
    });
    let (mut client, right, wrong) = refused.expect("both are refused");
    assert_eq!(right.text(), wrong.text());
    eventually("it is looked at again", || {
        asked(&mut client, "GET", "/changes", &bearer(ROOT), "").status == 200
    });
}

#[test]
fn guesses_at_full_speed_hold_up_nobody() {
    let site = Site::start();
    let address = site.node.address();
    let (is_over, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let guess = || {
        let (is_over, count) = (Arc::clone(&is_over), Arc::clone(&count));
        thread::spawn(move || {
            let mut client = Client::connect(address);
            let mut refused = 0;
            while !is_over.load(Ordering::Relaxed) {
                let answer = asked(&mut client, "POST", "/changes", &bearer("wrong"), "{}");
                assert!([401, 429].contains(&answer.status), "{answer:?}");
                refused += usize::from(answer.status == 429);
                count.fetch_add(1, Ordering::Relaxed);
            }
            refused
        })
    };
    let guessing: Vec<_> = (0..8).map(|_| guess()).collect();
    let more = |than: usize| count.load(Ordering::Relaxed) > than + 500;
    eventually("they are under way", || more(0));
    // Others come in meanwhile, anew each time, and are served all the same.
    for _ in 0..10 {
        let written =
            asked(&mut site.node.client(), "POST", "/changes", &bearer(ROOT), "{\"data\":1}");
        assert_eq!(written.status, 201, "{written:?}");
    }
    let body = json!({"name": "t", "role": "read", "scope": {}});
    let token = made(&mut site.node.client(), ROOT, &body).token;
    for _ in 0..10 {
        let read = asked(&mut site.node.client(), "GET", "/changes", &bearer(&token), "");
        assert_eq!(read.json()["changes"].as_array().unwrap().len(), 10);
    }
    let then = count.load(Ordering::Relaxed);
    eventually("they are under way still", || more(then));
    is_over.store(true, Ordering::Relaxed);
    let refused: usize = guessing.into_iter().map(|thread| thread.join().unwrap()).sum();
    let looked_at = count.load(Ordering::Relaxed) - refused;
    assert!(looked_at >= BURST && refused >= 500, "{looked_at} looked at, {refused} refused");
    let line = format!("changeagent_limit_refusals_total{{limit=\"wrong-tokens\"}} {refused}\n");
    let metrics = metrics(&site);
    assert!(metrics.contains(&line), "{metrics}");
}
