use std::{cell::RefCell, collections::VecDeque, io::IoSlice, rc::Rc};

use super::*;
use crate::io::{net::Listener, simulated::executor::run};

const SECOND: Duration = Duration::from_secs(1);
const PLACE: &str = "node-1:9000";

/// Lets clients in, each time to the next of these: the answers that it gives before it closes the
/// connection. Gives the requests as they come.
fn serve(connections: &[&[&'static str]]) -> Rc<RefCell<Vec<String>>> {
    let listener = Listener::simulated(PLACE).unwrap();
    let mut script: VecDeque<Vec<&str>> = connections.iter().map(|it| it.to_vec()).collect();
    let requests = Rc::new(RefCell::new(Vec::new()));
    let heard = Rc::clone(&requests);
    cores::spawn(async move {
        while let Some(answers) = script.pop_front() {
            let stream = listener.accept().await;
            let heard = Rc::clone(&heard);
            cores::spawn(async move {
                for answer in answers {
                    let mut request = Vec::new();
                    while !request.ends_with(b"\r\n\r\n") && !request.ends_with(b"}") {
                        if stream.read_onto(&mut request, READ_BYTES).await.unwrap_or(0) == 0 {
                            return;
                        }
                    }
                    heard.borrow_mut().push(String::from_utf8(request).unwrap());
                    let mut rest = answer.as_bytes();
                    while !rest.is_empty() {
                        let Ok(count) = stream.write(&[IoSlice::new(rest)]).await else { return };
                        rest = &rest[count..];
                    }
                }
            });
        }
    });
    requests
}

fn get(target: &str) -> Question {
    Question::get(target.to_owned(), 20, 10 * SECOND)
}

#[test]
fn what_is_asked_is_shown_without_its_secrets() {
    let headers = vec![("Authorization".to_owned(), b"Bearer secret".to_vec())];
    let question = Question { headers, body: "secret".into(), ..get("/changes?ticket=secret") };
    let shown = format!("{question:?}");
    assert!(shown.contains("/changes") && !shown.contains("secret"), "{shown}");
}

#[test]
fn answers_come_whole_and_their_connection_is_used_again() {
    run(1, async {
        let requests = serve(&[&[
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nsec\r\n3\r\nond\r\n0\r\n\r\n",
            "HTTP/1.1 201 Created\r\n\r\nto the end",
        ]]);
        let upstream = Upstream::new(PLACE.to_owned(), None);
        assert_eq!(&*upstream.ask(&get("/a")).await.unwrap().body, b"first");
        assert_eq!(&*upstream.ask(&get("/b")).await.unwrap().body, b"second");
        let headers = vec![("X-A".to_owned(), b"b".to_vec())];
        let post = Question { method: "POST".into(), headers, body: "{}".into(), ..get("/c") };
        let answer = upstream.ask(&post).await.unwrap();
        assert_eq!((answer.status, &*answer.body), (201, &b"to the end"[..]));
        let want = [
            "GET /a HTTP/1.1\r\nHost: node-1:9000\r\n\r\n",
            "GET /b HTTP/1.1\r\nHost: node-1:9000\r\n\r\n",
            "POST /c HTTP/1.1\r\nHost: node-1:9000\r\nContent-Length: 2\r\nX-A: b\r\n\r\n{}",
        ];
        assert_eq!(*requests.borrow(), want);
    });
}

#[test]
fn a_connection_that_was_closed_meanwhile_is_not_used() {
    run(2, async {
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1";
        let requests = serve(&[&[answer], &[answer]]);
        let upstream = Upstream::new(PLACE.to_owned(), None);
        upstream.ask(&get("/a")).await.unwrap();
        cores::sleep(SECOND).await;
        upstream.ask(&get("/b")).await.unwrap();
        assert_eq!(requests.borrow().len(), 2);
    });
}

#[test]
fn it_is_told_whether_a_request_may_have_come_to_something() {
    run(3, async {
        let upstream = Upstream::new(PLACE.to_owned(), None);
        let nobody = upstream.ask(&get("/a")).await;
        assert!(matches!(nobody, Err(AskError::NotSent(_))), "{nobody:?}");
        let long = "HTTP/1.1 200 OK\r\nContent-Length: 21\r\n\r\n";
        let chunks = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n15\r\n";
        let cut = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n1";
        let requests = serve(&[&["HTTP/1.1 2"], &[long], &[chunks], &[cut]]);
        for n in 1..=4 {
            let lost = upstream.ask(&get("/a")).await;
            assert!(matches!(lost, Err(AskError::Lost(_))), "{n}: {lost:?}");
            assert_eq!(requests.borrow().len(), n, "it is sent once");
        }
    });
}

#[test]
fn a_silent_node_is_given_up_in_time() {
    run(4, async {
        let listener = Listener::simulated(PLACE).unwrap();
        let (upstream, begun) = (Upstream::new(PLACE.to_owned(), None), cores::now());
        let kept = cores::spawn(async move {
            let stream = listener.accept().await;
            cores::sleep(100 * SECOND).await;
            drop(stream);
        });
        let lost = upstream.ask(&get("/a")).await;
        assert!(matches!(lost, Err(AskError::Lost(_))), "{lost:?}");
        let took = cores::elapsed(begun);
        assert!((10 * SECOND..11 * SECOND).contains(&took), "{took:?}");
        drop(kept);
    });
}

/// Answers one request with a head that tells of 600,000 bytes, and those so many at a time, with that
/// pause between them.
fn serve_slowly(part: usize, pause: Duration) {
    let listener = Listener::simulated(PLACE).unwrap();
    cores::spawn(async move {
        let stream = listener.accept().await;
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            if stream.read_onto(&mut request, READ_BYTES).await.unwrap_or(0) == 0 {
                return;
            }
        }
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 600000\r\n\r\n";
        if write_all(&stream, [head, b""]).await.is_err() {
            return;
        }
        for _ in 0..600_000 / part {
            cores::sleep(pause).await;
            if write_all(&stream, [&vec![7; part], b""]).await.is_err() {
                return;
            }
        }
        cores::sleep(1_000 * SECOND).await;
    });
}

#[test]
fn an_answer_has_time_as_long_as_it_comes() {
    // Longer than the time for its head, and than any pause may be.
    run(5, async {
        serve_slowly(200_000, 5 * SECOND);
        let begun = cores::now();
        let question = Question { limit: 2 * SECOND, answer_bytes_max: 600_000, ..get("/a") };
        let told = RefCell::new(Vec::new());
        let hold = |bytes| {
            told.borrow_mut().push(bytes);
            Ok(())
        };
        let answer =
            Upstream::new(PLACE.to_owned(), None).ask_holding(&question, &hold).await.unwrap();
        assert_eq!(answer.body.len(), 600_000);
        assert!(cores::elapsed(begun) >= 15 * SECOND);
        let told = told.into_inner();
        assert!(told.iter().is_sorted() && told.last() >= Some(&600_000), "{told:?}");
    });
}

#[test]
fn an_answer_that_hardly_comes_is_given_up() {
    let given_up = |part, pause, least: Duration, most: Duration| {
        run(6, async move {
            serve_slowly(part, pause);
            let begun = cores::now();
            let question = Question { answer_bytes_max: 600_000, ..get("/a") };
            let lost = Upstream::new(PLACE.to_owned(), None).ask(&question).await;
            assert!(matches!(lost, Err(AskError::Lost(_))), "{lost:?}");
            let took = cores::elapsed(begun);
            assert!((least..most).contains(&took), "{took:?}");
        });
    };
    // Nothing comes, or a little now and then, or too little all the time.
    given_up(600_000, 60 * SECOND, 10 * SECOND, 11 * SECOND);
    given_up(1, 6 * SECOND, 10 * SECOND, 11 * SECOND);
    given_up(10_000, SECOND, 13 * SECOND, 16 * SECOND);
}

#[test]
fn an_answer_for_which_there_is_no_room_is_given_up() {
    run(7, async {
        serve_slowly(200_000, SECOND);
        let question = Question { answer_bytes_max: 600_000, ..get("/a") };
        let hold = |bytes| match bytes < 300_000 {
            true => Ok(()),
            false => Err(io::Error::other("no room")),
        };
        let lost = Upstream::new(PLACE.to_owned(), None).ask_holding(&question, &hold).await;
        assert_eq!(lost, Err(AskError::Lost("no room".to_owned())));
    });
}

#[test]
fn what_may_have_no_end_is_taken_as_it_comes_and_no_faster_than_it_is_taken() {
    run(8, async {
        serve_slowly(200_000, SECOND);
        let upstream = Upstream::new(PLACE.to_owned(), None);
        let opened = upstream.open(&get("/a"), |answer| answer.status == 200).await;
        let Ok(Opened::Passing(mut passing)) = opened else { panic!("{opened:?}") };
        let mut taken = 0;
        while let Ok(passed) = passing.take() {
            match passed {
                Passed::Part(part) => taken += part.len(),
                Passed::Nothing => poll_fn(|cx| passing.poll_ready(cx)).await,
                Passed::End => break,
            }
        }
        assert_eq!(taken, 600_000);
    });
}

#[test]
fn what_breaks_off_is_told_and_a_refusal_is_read_as_a_whole() {
    run(9, async {
        let chunks =
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n3\r\ntwo\r\n";
        let refusal =
            "HTTP/1.1 410 Gone\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ngone\r\n0\r\n\r\n";
        let long = "HTTP/1.1 410 Gone\r\nContent-Length: 21\r\n\r\n123456789012345678901";
        serve(&[&[chunks], &[refusal], &[long]]);
        let upstream = Upstream::new(PLACE.to_owned(), None);
        let question = get("/a");
        let open = || upstream.open(&question, |answer| answer.status == 200);
        let Ok(Opened::Passing(mut passing)) = open().await else { panic!("it goes on") };
        let mut taken = Vec::new();
        let error = loop {
            match passing.take() {
                Ok(Passed::Part(part)) => taken.extend_from_slice(&part),
                Ok(Passed::Nothing) => poll_fn(|cx| passing.poll_ready(cx)).await,
                Ok(Passed::End) => panic!("it has no end"),
                Err(error) => break error,
            }
        };
        assert_eq!((&*taken, error.kind()), (&b"onetwo"[..], io::ErrorKind::UnexpectedEof));
        let Ok(Opened::Whole(answer)) = open().await else { panic!("it is short") };
        assert_eq!((answer.status, &*answer.body), (410, &b"gone"[..]));
        assert!(matches!(open().await, Err(AskError::Lost(_))), "it is too long");
    });
}
