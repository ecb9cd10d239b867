//! A small server that answers `/changes` like a ChangeAgent, from memory, and misbehaves on
//! demand: a thread a connection, so that the load generator has something real to talk to.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use serde_json::value::RawValue;

/// What goes wrong, every so many appends; 0 is never.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Faults {
    /// Answers 503 and stores nothing.
    pub(crate) refuse_every: u64,
    /// Stores, but answers 504.
    pub(crate) doubt_every: u64,
    /// Stores, but closes the connection instead of an answer.
    pub(crate) hang_up_every: u64,
    /// Acknowledges, but stores something else.
    pub(crate) lose_every: u64,
    /// Sends lists in chunks.
    pub(crate) chunked: bool,
}

/// A running server. Its threads end with the process.
#[derive(Debug, Clone)]
pub(crate) struct Fake {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    faults: Faults,
    list: Mutex<List>,
    news: Condvar,
}

#[derive(Debug, Default)]
struct List {
    /// The change with id n stands at n - 1.
    changes: Vec<String>,
    appends: u64,
    /// Tenants, collections and keys.
    created: [u64; 3],
}

impl Fake {
    /// Listens on a free port.
    pub(crate) fn start(faults: Faults) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared { faults, list: Mutex::default(), news: Condvar::new() });
        let fake = Self { address, shared: Arc::clone(&shared) };
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || shared.serve(stream));
            }
        });
        fake
    }

    /// Stores changes that no client sent.
    pub(crate) fn preload(&self, count: u64) {
        let mut list = self.shared.list();
        for number in 0..count {
            list.changes.push(format!("{{\"preloaded\":{number}}}"));
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many tenants, collections and keys were created.
    pub(crate) fn created(&self) -> [u64; 3] {
        self.shared.list().created
    }

    pub(crate) fn newest(&self) -> u64 {
        self.shared.list().changes.len() as u64
    }
}

/// How a request is answered: nothing closes the connection.
type Answer = Option<(u16, String)>;

impl Shared {
    fn list(&self) -> MutexGuard<'_, List> {
        self.list.lock().expect("no thread panics with the list")
    }

    fn serve(&self, mut stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut buffer = Vec::new();
        loop {
            let Some((method, path, body)) = read_request(&mut stream, &mut buffer)? else {
                return Ok(());
            };
            let answer = match method.as_str() {
                "POST" if path.starts_with("/tenants") => self.create(&path, &body),
                "POST" => self.append(&body),
                _ => Some((200, self.page(&path))),
            };
            let Some((status, body)) = answer else { return Ok(()) };
            let head = format!("HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n");
            let text = if self.faults.chunked && method == "GET" {
                let middle = body.len() / 2;
                let (one, two) = body.split_at(middle);
                format!(
                    "{head}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{one}\r\n{:x}\r\n{two}\r\n\
                     0\r\n\r\n",
                    one.len(),
                    two.len()
                )
            } else {
                format!("{head}Content-Length: {}\r\n\r\n{body}", body.len())
            };
            stream.write_all(text.as_bytes())?;
        }
    }

    fn create(&self, path: &str, body: &[u8]) -> Answer {
        let mut list = self.list();
        list.appends += 1;
        if self.faults.refuse_every > 0 && list.appends.is_multiple_of(self.faults.refuse_every) {
            return Some((503, r#"{"status":503,"code":"overloaded"}"#.to_owned()));
        }
        let (kind, count) = match path.rsplit_once('/').expect("a path").1 {
            "tenants" => (0, 1),
            "collections" => (1, 1),
            _ => (2, body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count()),
        };
        list.created[kind] += count as u64;
        Some((201, "{}".to_owned()))
    }

    fn append(&self, body: &[u8]) -> Answer {
        let text = std::str::from_utf8(body).expect("UTF-8");
        let is_batch = text.starts_with('[');
        let objects = raw_data(text, is_batch);
        let mut list = self.list();
        list.appends += 1;
        let hits = |every: u64, appends: u64| every > 0 && appends.is_multiple_of(every);
        let appends = list.appends;
        if hits(self.faults.refuse_every, appends) {
            return Some((503, r#"{"status":503,"code":"overloaded"}"#.to_owned()));
        }
        let first = list.changes.len() as u64 + 1;
        let count = objects.len() as u64;
        if hits(self.faults.lose_every, appends) {
            list.changes.extend(objects.iter().map(|_| "null".to_owned()));
        } else {
            list.changes.extend(objects);
        }
        drop(list);
        self.news.notify_all();
        if hits(self.faults.hang_up_every, appends) {
            return None;
        }
        if hits(self.faults.doubt_every, appends) {
            return Some((504, r#"{"status":504,"code":"unknown-outcome"}"#.to_owned()));
        }
        Some(if is_batch {
            let last = first + count - 1;
            (201, format!(r#"{{"first":{first},"last":{last},"count":{count}}}"#))
        } else {
            (201, format!(r#"{{"_id":{first}}}"#))
        })
    }

    fn page(&self, path: &str) -> String {
        let parameter = |name: &str| {
            let query = path.split_once('?').map_or("", |(_, query)| query);
            query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
        };
        let mut list = self.list();
        let since = match parameter("since") {
            Some("now") => list.changes.len(),
            Some(number) => number.parse().expect("a number"),
            None => 0,
        };
        let limit: usize = parameter("limit").map_or(100, |limit| limit.parse().expect("a number"));
        let block = parameter("block").map_or(0, |block| block.parse().expect("a number"));
        let deadline = Instant::now() + Duration::from_secs(block);
        while list.changes.len() <= since && Instant::now() < deadline {
            let left = deadline.saturating_duration_since(Instant::now());
            list = self.news.wait_timeout(list, left).expect("no panic").0;
        }
        let changes: Vec<String> = (since + 1..)
            .zip(list.changes.iter().skip(since).take(limit))
            .map(|(id, data)| format!(r#"{{"_id":{id},"_ts":{},"data":{data}}}"#, 1_000 + id))
            .collect();
        let last = since + changes.len();
        format!(
            r#"{{"changes":[{}],"atStart":{},"atEnd":{},"last":{last}}}"#,
            changes.join(","),
            since == 0,
            last >= list.changes.len()
        )
    }
}

/// The bytes of each `data`, as they were sent.
fn raw_data(text: &str, is_batch: bool) -> Vec<String> {
    #[derive(serde::Deserialize)]
    struct Object<'a> {
        #[serde(borrow)]
        data: &'a RawValue,
    }
    let objects: Vec<Object<'_>> = if is_batch {
        serde_json::from_str(text).expect("an array")
    } else {
        vec![serde_json::from_str(text).expect("an object")]
    };
    objects.into_iter().map(|object| object.data.get().to_owned()).collect()
}

/// Method, path and body of the next request; `None` when the client is gone.
fn read_request(
    stream: &mut TcpStream,
    buffer: &mut Vec<u8>,
) -> io::Result<Option<(String, String, Vec<u8>)>> {
    loop {
        let mut headers = [httparse::EMPTY_HEADER; 16];
        let mut request = httparse::Request::new(&mut headers);
        if let httparse::Status::Complete(head) = request.parse(buffer).expect("a sound head") {
            let length = request
                .headers
                .iter()
                .find(|header| header.name.eq_ignore_ascii_case("content-length"))
                .map_or(0, |header| {
                    let digits = std::str::from_utf8(header.value).expect("digits");
                    digits.parse().expect("a length")
                });
            if buffer.len() >= head + length {
                let method = request.method.expect("a method").to_owned();
                let path = request.path.expect("a path").to_owned();
                let body = buffer[head..head + length].to_vec();
                buffer.drain(..head + length);
                return Ok(Some((method, path, body)));
            }
        }
        let mut bytes = [0; 16 * 1024];
        match stream.read(&mut bytes)? {
            0 => return Ok(None),
            read => buffer.extend_from_slice(&bytes[..read]),
        }
    }
}
