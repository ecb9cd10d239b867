//! A small server that keeps a list of changes like a node, in memory, and
//! misbehaves where it is told to: what a client makes of that must still be each
//! change once.

mod fault;
mod http;
mod membership;

use std::{
    collections::HashMap,
    io::Write,
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::value::RawValue;

use super::eventually;
use fault::Faults;
pub use fault::{Every, Fault};
use http::{Answer, Asked, chunks, problem, read_request, torn};
use membership::{Member, Membership};

/// A running server. Its threads end with the process.
#[derive(Clone)]
pub struct Fake {
    url: String,
    /// Its number among the members of the cluster.
    node: u64,
    /// How many requests came here.
    served: Arc<AtomicU64>,
    shelf: Arc<Shelf>,
}

/// What all nodes of a fake cluster serve.
struct Shelf {
    state: Mutex<State>,
    /// Told of every change.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// The change with id n stands at n - 1, without its id and time.
    changes: Vec<String>,
    /// What happens to writes and streams.
    faults: Faults,
    requests: u64,
    /// A write may come without an idempotency key.
    takes_any: bool,
    /// Lists come in chunks.
    is_chunked: bool,
    /// Tenants, collections, and changes of keys that were created in one request.
    created: [u64; 3],
    /// The body and the answer of each key.
    answers: HashMap<String, (Vec<u8>, String)>,
    /// Writes that were answered out of memory.
    replayed: u64,
    cluster: String,
    membership: Membership,
}

impl Fake {
    /// A server to whose n-th write or stream this happens.
    pub fn start(faults: &[(u64, Fault)]) -> Self {
        let single = faults.iter().copied().collect();
        Self::with(State { faults: Faults { single, ..Faults::default() }, ..State::default() })
    }

    /// A server for clients that repeat nothing, to whose writes this happens. `is_chunked`
    /// has its lists come in chunks.
    pub fn for_load(every: Every, is_chunked: bool) -> Self {
        let faults = Faults { every, ..Faults::default() };
        Self::with(State { faults, takes_any: true, is_chunked, ..State::default() })
    }

    fn with(mut state: State) -> Self {
        state.cluster = uuid::Uuid::new_v4().to_string();
        Self::listen(1, Arc::new(Shelf { state: Mutex::new(state), changed: Condvar::new() }))
    }

    /// Another node of the same cluster, which becomes its next member.
    pub fn beside(&self) -> Self {
        let node = 1 + self.membership(|cluster| cluster.members.len()) as u64;
        let other = Self::listen(node, Arc::clone(&self.shelf));
        let address = other.url.strip_prefix("http://").unwrap().to_owned();
        self.membership(|cluster| {
            cluster.members.push(Member { id: node, voter: true, address, matched: 9 });
        });
        other
    }

    fn listen(node: u64, shelf: Arc<Shelf>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let fake = Self { url, node, served: Arc::default(), shelf };
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
        self.shelf.state.lock().unwrap()
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

    /// How many tenants, collections, and changes of keys were created, each kind by requests
    /// of its own.
    pub fn created(&self) -> [u64; 3] {
        self.state().created
    }

    /// How many requests came to this node.
    pub fn served(&self) -> u64 {
        self.served.load(Ordering::Relaxed)
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
        let _ = stream.set_nodelay(true);
        let mut received = Vec::new();
        while let Some(asked) = read_request(&mut stream, &mut received) {
            self.served.fetch_add(1, Ordering::Relaxed);
            let counts = asked.method != "GET" || asked.accepts_streams;
            let fault = {
                let mut state = self.state();
                state.requests += u64::from(counts);
                let number = state.requests;
                if counts { state.faults.of(number) } else { None }
            };
            match fault {
                Some(Fault::Cut) => return,
                Some(Fault::Stall) => stall(),
                _ => {}
            }
            let (status, kind, body) = match fault {
                Some(Fault::Busy) => problem(503, "overloaded", ""),
                Some(Fault::Refuse) => {
                    let second = second_object(&asked.body);
                    problem(400, "unknown-member", &format!(",\"offset\":{second}"))
                }
                _ => self.answer(&asked, fault),
            };
            let (status, kind, body) = match fault {
                Some(Fault::HangUp) => return,
                Some(Fault::StallDone) => stall(),
                Some(Fault::Doubt) => problem(504, "unknown-outcome", ""),
                _ => (status, kind, body),
            };
            let (cluster, last, is_chunked) = {
                let state = self.state();
                let is_chunked = state.is_chunked && asked.method == "GET";
                (state.cluster.clone(), state.changes.len(), is_chunked)
            };
            let mut answer = format!(
                "HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nRetry-After: 0\r\n\
                 ChangeAgent-Cluster: {cluster}\r\nChangeAgent-Last: {last}\r\n"
            );
            if is_chunked || kind == "application/x-ndjson" {
                answer += "Transfer-Encoding: chunked\r\n\r\n";
                answer += &if fault == Some(Fault::Tear) { torn(&body) } else { chunks(&body) };
            } else {
                answer += &format!("Content-Length: {}\r\n\r\n{body}", body.len());
            }
            if stream.write_all(answer.as_bytes()).is_err() || fault == Some(Fault::Tear) {
                return;
            }
        }
    }

    /// Does what is asked, and waits first where there is nothing yet.
    fn answer(&self, asked: &Asked, fault: Option<Fault>) -> Answer {
        let mut state = self.state();
        let seconds = asked.parameter("block").and_then(|text| text.parse().ok());
        let since = state.since(asked);
        let until = Instant::now() + Duration::from_secs(seconds.unwrap_or(0));
        while state.takes_any && state.changes.len() <= since && Instant::now() < until {
            let left = until.saturating_duration_since(Instant::now());
            state = self.shelf.changed.wait_timeout(state, left).unwrap().0;
        }
        let held = state.changes.len();
        let answer = state.answer(asked, since, self.node);
        if fault == Some(Fault::Lose) {
            state.changes[held..].fill(r#"{"data":null}"#.to_owned());
        }
        drop(state);
        self.shelf.changed.notify_all();
        answer
    }
}

/// Goes on for ever.
fn stall() -> ! {
    loop {
        std::thread::park();
    }
}

impl State {
    /// After which change a list is asked for.
    fn since(&self, asked: &Asked) -> usize {
        match asked.parameter("since") {
            Some("now") => self.changes.len(),
            Some(number) => number.parse().unwrap_or(0),
            None => 0,
        }
    }

    fn answer(&mut self, asked: &Asked, since: usize, node: u64) -> Answer {
        if asked.method == "GET" {
            return match asked.target.as_str() {
                "/cluster" => self.membership.look(node),
                target if target.contains("/changes?") => self.list(asked, since),
                target if target.starts_with("/tenants/") => {
                    let uuid = uuid::Uuid::from_u128(u128::from(crc32c::crc32c(target.as_bytes())));
                    (200, "application/json", format!("{{\"tenant\":\"{uuid}\"}}"))
                }
                _ => (200, "application/json", "{}".into()),
            };
        }
        if self.takes_any {
            return (201, "application/json", self.write(asked));
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
        let answer = self.write(asked);
        self.answers.insert(key.clone(), (known, answer.clone()));
        (201, "application/json", answer)
    }

    /// Stores what is sent, and says as what.
    fn write(&mut self, asked: &Asked) -> String {
        let first = self.changes.len() + 1;
        let text = || String::from_utf8(asked.body.clone()).unwrap();
        if asked.method == "DELETE" {
            self.changes.push(format!("DELETE {}", asked.target));
        } else if asked.target.ends_with("/tenants") {
            self.created[0] += 1;
            return "{}".to_owned();
        } else if asked.target.ends_with("/collections") {
            self.created[1] += 1;
            return "{}".to_owned();
        } else if asked.is_ndjson || asked.body.starts_with(b"[") {
            if asked.is_ndjson {
                self.changes.extend(text().lines().map(str::to_owned));
            } else {
                let objects: Vec<&RawValue> = serde_json::from_slice(&asked.body).unwrap();
                self.changes.extend(objects.iter().map(|object| object.get().to_owned()));
            }
            let (last, count) = (self.changes.len(), self.changes.len() + 1 - first);
            if asked.target.ends_with("/keys") {
                self.created[2] += count as u64;
            }
            return format!("{{\"first\":{first},\"last\":{last},\"count\":{count}}}");
        } else {
            self.changes.push(text());
        }
        format!("{{\"_id\":{first}}}")
    }

    fn list(&self, asked: &Asked, since: usize) -> Answer {
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
        let limit = asked.parameter("limit").map_or(100, |text| text.parse().unwrap());
        let page: Vec<String> = changes.take(limit).collect();
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
