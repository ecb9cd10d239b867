use std::rc::Rc;

use futures_util::future::join;

use super::*;
use crate::io::{cores, net::Listener, simulated::executor::run};

const TAKEN: &str = "HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n";
const REFUSED: &str = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n";

/// An origin that gives this answer to each request a second later; counts them.
fn serve(address: &str, answer: &'static str) -> Rc<Cell<usize>> {
    let (listener, asked) = (Listener::simulated(address).unwrap(), Rc::new(Cell::new(0)));
    let count = Rc::clone(&asked);
    cores::spawn(async move {
        loop {
            let (stream, count) = (listener.accept().await, Rc::clone(&count));
            cores::spawn(async move {
                loop {
                    let mut request = Vec::new();
                    while !request.ends_with(b"\r\n\r\n") {
                        if stream.read_onto(&mut request, 4096).await.unwrap_or(0) == 0 {
                            return;
                        }
                    }
                    count.set(count.get() + 1);
                    cores::sleep(Duration::from_secs(1)).await;
                    let mut rest = answer.as_bytes();
                    while !rest.is_empty() {
                        let Ok(count) = stream.write(&[io::IoSlice::new(rest)]).await else {
                            return;
                        };
                        rest = &rest[count..];
                    }
                }
            });
        }
    });
    asked
}

fn at(addresses: [&str; 2]) -> Origins {
    let origins = addresses.map(str::to_owned).into();
    let (tenants, stale_max, token) = (Vec::new(), Duration::ZERO, None);
    Origins::new(&CopyOf { origins, caller: None, tenants, stale_max, token })
}

fn write() -> Question {
    Question { method: "POST".to_owned(), ..Question::get("/a".to_owned(), 0, COPY_ANSWER) }
}

fn is_refusal(answer: &Answer) -> bool {
    answer.status == 503
}

#[test]
fn a_write_that_one_origin_refuses_goes_to_the_next_whoever_else_writes() {
    run(1, async {
        let (refusing, taking) = (serve("a:1", REFUSED), serve("b:1", TAKEN));
        let origins = at(["a:1", "b:1"]);
        let question = write();
        let one = || origins.hand_on(&question, &|_| Ok(()), is_refusal);
        let (first, second) = join(one(), one()).await;
        assert_eq!((first.unwrap().status, second.unwrap().status), (201, 201));
        assert_eq!((refusing.get(), taking.get()), (2, 2));
        assert_eq!(origins.address(), "b:1");
        assert_eq!(one().await.unwrap().status, 201);
        assert_eq!((refusing.get(), taking.get()), (2, 3), "it stays with what did");
    });
}

#[test]
fn a_refusal_is_told_where_no_other_origin_did_better() {
    run(2, async {
        let asked = serve("a:1", REFUSED);
        // Nobody is at the second.
        let origins = at(["a:1", "b:1"]);
        let answer = origins.hand_on(&write(), &|_| Ok(()), is_refusal).await.unwrap();
        assert_eq!((answer.status, asked.get()), (503, 1));
        let nobody = at(["b:1", "c:1"]);
        let error = nobody.hand_on(&write(), &|_| Ok(()), is_refusal).await;
        assert!(matches!(error, Err(AskError::NotSent(_))), "{error:?}");
    });
}

#[test]
fn an_answer_that_has_no_room_is_asked_of_no_other_origin() {
    let body = "x".repeat(200_000);
    let long = format!("HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n{body}").leak();
    run(4, async {
        let (first, second) = (serve("a:1", long), serve("b:1", long));
        let origins = at(["a:1", "b:1"]);
        let question = Question::get("/a".to_owned(), 300_000, COPY_ANSWER);
        let full = |_| Err(io::Error::other("no room"));
        let refused = origins.hand_on_read(&question, &full, |_| Ok(())).await.unwrap_err();
        assert!(refused.contains("no room"), "{refused}");
        assert_eq!((first.get(), second.get()), (1, 0));
        // Of a write nobody knows then what came of it.
        let question = Question { method: "POST".to_owned(), ..question };
        let lost = origins.hand_on(&question, &full, is_refusal).await;
        assert_eq!(lost, Err(AskError::Lost("no room".to_owned())));
        assert_eq!((first.get(), second.get()), (2, 0));
        assert_eq!(origins.address(), "a:1", "it is none the worse for that");
    });
}
