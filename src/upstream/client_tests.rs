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
