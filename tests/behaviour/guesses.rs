//! Wrong tokens: how many are looked at, and who is held up by them.

use std::{
    net::{Ipv4Addr, SocketAddr},
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
    // One more is looked at each second.
    let count = looked_at(&mut client, "wrong-0123456789-0123456789-0123456789");
    assert!((BURST..BURST + 20).contains(&count), "{count}");
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
    let mut client = node.client();
    looked_at(&mut client, "wrong-0123456789-0123456789-0123456789");
    let mut other = client_from(1, node.address());
    assert_eq!(asked(&mut other, "GET", "/changes", &bearer(ROOT), "").status, 200);
    let guess = asked(&mut client, "GET", "/changes", &bearer(ROOT), "");
    let wrong = asked(&mut client, "GET", "/changes", &bearer(&ROOT.replace('0', "1")), "");
    // One of them may be the one that is looked at each second.
    if guess.status == 429 && wrong.status == 429 {
        assert_eq!(guess.text(), wrong.text());
    }
    eventually("it is looked at again", || {
        asked(&mut client, "GET", "/changes", &bearer(ROOT), "").status == 200
    });
}

#[test]
fn guesses_at_full_speed_hold_up_nobody() {
    let site = Site::start();
    let address = site.node.address();
    let guessing: Vec<_> = (0..8)
        .map(|_| {
            thread::spawn(move || {
                let mut client = Client::connect(address);
                let mut counts = [0; 2];
                for _ in 0..2_000 {
                    let answer = asked(&mut client, "POST", "/changes", &bearer("wrong"), "{}");
                    counts[usize::from(answer.status == 429)] += 1;
                    assert!([401, 429].contains(&answer.status), "{answer:?}");
                }
                counts
            })
        })
        .collect();
    // Others come in meanwhile, anew each time, and are served all the same.
    let mut served = 0;
    while guessing.iter().any(|thread| !thread.is_finished()) || served == 0 {
        let mut client = site.node.client();
        let written = asked(&mut client, "POST", "/changes", &bearer(ROOT), "{\"data\":1}");
        assert_eq!(written.status, 201, "{written:?}");
        let body = json!({"name": "t", "role": "read", "scope": {}});
        if served % 10 == 0 {
            let token = made(&mut client, ROOT, &body).token;
            let read = asked(&mut site.node.client(), "GET", "/changes", &bearer(&token), "");
            assert_eq!(read.status, 200);
        }
        served += 1;
    }
    let counts: Vec<_> = guessing.into_iter().map(|thread| thread.join().unwrap()).collect();
    let [looked, refused] = [0, 1].map(|at| counts.iter().map(|counts| counts[at]).sum::<usize>());
    assert_eq!(looked + refused, 16_000);
    assert!(served >= 10, "{served}");
    assert!(looked >= BURST && refused > 10_000, "{looked} looked at, {refused} refused");
    let line = format!("changeagent_limit_refusals_total{{limit=\"wrong-tokens\"}} {refused}\n");
    let metrics = metrics(&site);
    assert!(metrics.contains(&line), "{metrics}");
}
