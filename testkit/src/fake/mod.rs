//! A small server that keeps a list of changes like a node, in memory, and
//! misbehaves where it is told to: what a client makes of that must still be each
//! change once.

mod membership;

use std::{
    collections::HashMap,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard},
};

use serde_json::value::RawValue;

use super::eventually;
use membership::{Member, Membership};

/// What happens to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is not done, and refused with 503.
    Busy,
    /// It is done, but answered with 504.
    Doubt,
    /// The connection closes before it is done.
    Cut,
    /// It is done, but the connection closes before the answer.
    HangUp,
    /// It is not done, and never answered.
    Stall,
    /// It is done, but never answered.
    StallDone,
    /// It is refused with 400 and the offset of the second change.
    Refuse,
    /// A stream ends in the middle of its second half, without its last chunk.
    Tear,
}

/// A running server. Its threads end with the process.
#[derive(Clone)]
pub struct Fake {
    url: String,
    /// Its number among the members of the cluster.
    node: u64,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// The change with id n stands at n - 1, without its id and time.
    changes: Vec<String>,
    /// What happens to the n-th write or stream, counted from 1.
    faults: HashMap<u64, Fault>,
    requests: u64,
    /// The body and the answer of each key.
    answers: HashMap<String, (Vec<u8>, String)>,
    /// Writes that were answered out of memory.
    replayed: u64,
    cluster: String,
    membership: Membership,
}

struct Asked {
    method: String,
    target: String,
    key: Option<String>,
    accepts_streams: bool,
    body: Vec<u8>,
}

impl Fake {
    /// A server to whose n-th write or stream this happens.
    pub fn start(faults: &[(u64, Fault)]) -> Self {
        let state = State {
            faults: faults.iter().copied().collect(),
            cluster: uuid::Uuid::new_v4().to_string(),
            ..State::default()
        };
        Self::listen(1, Arc::new(Mutex::new(state)))
    }

    /// Another node of the same cluster, which becomes its next member.
    pub fn beside(&self) -> Self {
        let node = 1 + self.membership(|cluster| cluster.members.len()) as u64;
        let other = Self::listen(node, Arc::clone(&self.state));
        let address = other.url.strip_prefix("http://").unwrap().to_owned();
        self.membership(|cluster| {
            cluster.members.push(Member { id: node, voter: true, address, matched: 9 });
        });
        other
    }

    fn listen(node: u64, state: Arc<Mutex<State>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let fake = Self { url, node, state };
        let server = fake.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let server = server.clone();
                std::thread::spawn(move || server.serve(stream));
            }
        });
        fake
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// The cluster that it pretends to be part of, to look at and to change.
    pub fn membership<T>(&self, with: impl FnOnce(&mut Membership) -> T) -> T {
        with(&mut self.state().membership)
    }

    /// Puts changes in place as if they had been written before.
    pub fn preload(&self, changes: impl IntoIterator<Item = String>) {
        self.state().changes.extend(changes);
    }

    /// Every change, without id and time.
    pub fn changes(&self) -> Vec<String> {
        self.state().changes.clone()
    }

    /// Forgets the keys of all writes, as a node does after a day.
    pub fn forget_keys(&self) {
        self.state().answers.clear();
    }

    /// How many writes were repeated.
    pub fn replayed(&self) -> u64 {
        self.state().replayed
    }

    /// Waits until so many writes or streams were asked for.
    pub fn waits_for_requests(&self, count: u64) {
        eventually("the request arrives", || self.state().requests >= count);
    }

    fn serve(&self, mut stream: TcpStream) {
        let mut received = Vec::new();
        while let Some(asked) = read_request(&mut stream, &mut received) {
            let counts = asked.method != "GET" || asked.accepts_streams;
            let fault = {
                let mut state = self.state();
                state.requests += u64::from(counts);
                let number = state.requests;
                if counts { state.faults.remove(&number) } else { None }
            };
            match fault {
                Some(Fault::Cut) => return,
                Some(Fault::Stall) => loop {
                    std::thread::park();
                },
                _ => {}
            }
            let (status, kind, body) = match fault {
                Some(Fault::Busy) => problem(503, "overloaded", ""),
                Some(Fault::Refuse) => {
                    let second = second_object(&asked.body);
                    problem(400, "unknown-member", &format!(",\"offset\":{second}"))
                }
                _ => self.state().answer(&asked, self.node),
            };
            match fault {
                Some(Fault::HangUp) => return,
                Some(Fault::StallDone) => loop {
                    std::thread::park();
                },
                _ => {}
            }
            let (status, kind, body) = match fault {
                Some(Fault::Doubt) => problem(504, "unknown-outcome", ""),
                _ => (status, kind, body),
            };
            let (cluster, last) = {
                let state = self.state();
                (state.cluster.clone(), state.changes.len())
            };
            let mut answer = format!(
                "HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nRetry-After: 0\r\n\
                 ChangeAgent-Cluster: {cluster}\r\nChangeAgent-Last: {last}\r\n"
            );
            if kind == "application/x-ndjson" {
                answer += "Transfer-Encoding: chunked\r\n\r\n";
                let (one, two) = body.split_at(body.len() / 2);
                if fault == Some(Fault::Tear) {
                    // The second chunk is longer than what comes of it.
                    let some = &two[..two.len() / 2];
                    answer += &format!("{:x}\r\n{one}\r\n{:x}\r\n{some}", one.len(), two.len());
                    let _ = stream.write_all(answer.as_bytes());
                    return;
                }
                for part in [one, two].into_iter().filter(|part| !part.is_empty()) {
                    answer += &format!("{:x}\r\n{part}\r\n", part.len());
                }
                answer += "0\r\n\r\n";
            } else {
                answer += &format!("Content-Length: {}\r\n\r\n{body}", body.len());
            }
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    }
}

type Answer = (u16, &'static str, String);

fn problem(status: u16, code: &str, members: &str) -> Answer {
    let body =
        format!("{{\"status\":{status},\"code\":\"{code}\",\"detail\":\"told to\"{members}}}");
    (status, "application/problem+json", body)
}

impl State {
    fn answer(&mut self, asked: &Asked, node: u64) -> Answer {
        if asked.method == "GET" {
            return match asked.target.as_str() {
                "/cluster" => self.membership.look(node),
                target if target.contains("/changes?") => self.list(asked),
                target if target.starts_with("/tenants/") => {
                    let uuid = uuid::Uuid::from_u128(u128::from(crc32c::crc32c(target.as_bytes())));
                    (200, "application/json", format!("{{\"tenant\":\"{uuid}\"}}"))
                }
                _ => (200, "application/json", "{}".into()),
            };
        }
        let Some(key) = &asked.key else { panic!("a write without its key: {}", asked.target) };
        if asked.target.starts_with("/cluster/") {
            return self.membership.change(&asked.method, &asked.target, &asked.body);
        }
        let known = [asked.target.as_bytes(), &asked.body].concat();
        if let Some((body, answer)) = self.answers.get(key) {
            self.replayed += 1;
            return if *body == known {
                (201, "application/json", answer.clone())
            } else {
                problem(422, "idempotency-mismatch", "")
            };
        }
        let first = self.changes.len() + 1;
        let answer = if asked.method == "DELETE" {
            self.changes.push(format!("DELETE {}", asked.target));
            format!("{{\"_id\":{first}}}")
        } else if asked.body.starts_with(b"[") {
            let objects: Vec<&RawValue> = serde_json::from_slice(&asked.body).unwrap();
            self.changes.extend(objects.iter().map(|object| object.get().to_owned()));
            let (last, count) = (self.changes.len(), objects.len());
            format!("{{\"first\":{first},\"last\":{last},\"count\":{count}}}")
        } else {
            self.changes.push(String::from_utf8(asked.body.clone()).unwrap());
            format!("{{\"_id\":{first}}}")
        };
        self.answers.insert(key.clone(), (known, answer.clone()));
        (201, "application/json", answer)
    }

    fn list(&self, asked: &Asked) -> Answer {
        let number = |name: &str| -> Option<usize> {
            let query = asked.target.split_once('?')?.1;
            query.split('&').find_map(|pair| pair.strip_prefix(name))?.parse().ok()
        };
        let since = number("since=").unwrap_or(0);
        let changes = self.changes.iter().enumerate().skip(since).map(|(at, change)| {
            let members = &change[1..];
            format!("{{\"_id\":{},\"_ts\":{},{members}", at + 1, 1000 + at)
        });
        if asked.accepts_streams {
            let lines: String = changes.map(|change| change + "\n").collect();
            let end = match asked.target.contains("cursors=true") {
                true => format!("{{\"last\":{}}}\n", self.changes.len()),
                false => String::new(),
            };
            return (200, "application/x-ndjson", format!("\n{lines}{end}"));
        }
        let page: Vec<String> = changes.take(number("limit=").unwrap_or(100)).collect();
        let last = since + page.len();
        let at_end = last >= self.changes.len();
        let body = format!(
            "{{\"changes\":[{}],\"atStart\":{},\"atEnd\":{at_end},\"last\":{last}}}",
            page.join(","),
            since == 0
        );
        (200, "application/json", body)
    }
}

/// Where the second change of an array starts.
fn second_object(body: &[u8]) -> usize {
    let objects: Vec<&RawValue> = serde_json::from_slice(body).unwrap();
    objects[1].get().as_ptr() as usize - body.as_ptr() as usize
}

fn read_request(stream: &mut TcpStream, received: &mut Vec<u8>) -> Option<Asked> {
    loop {
        let mut headers = [httparse::EMPTY_HEADER; 32];
        let mut request = httparse::Request::new(&mut headers);
        if let httparse::Status::Complete(head) = request.parse(received).unwrap() {
            let header = |name: &str| {
                let found = request.headers.iter().find(|one| one.name.eq_ignore_ascii_case(name));
                found.map(|header| std::str::from_utf8(header.value).unwrap().to_owned())
            };
            let length: usize = header("content-length").map_or(0, |text| text.parse().unwrap());
            if received.len() >= head + length {
                let asked = Asked {
                    method: request.method.unwrap().to_owned(),
                    target: request.path.unwrap().to_owned(),
                    key: header("idempotency-key"),
                    accepts_streams: header("accept").is_some_and(|text| text.contains("ndjson")),
                    body: received[head..head + length].to_vec(),
                };
                received.drain(..head + length);
                return Some(asked);
            }
        }
        let mut bytes = [0; 64 << 10];
        match stream.read(&mut bytes) {
            Ok(count) if count > 0 => received.extend_from_slice(&bytes[..count]),
            _ => return None,
        }
    }
}
