//! Requests as they arrive at a fake server, and answers as they leave it.

use std::{io::Read, net::TcpStream};

/// A request.
pub(super) struct Asked {
    pub(super) method: String,
    pub(super) target: String,
    pub(super) key: Option<String>,
    pub(super) accepts_streams: bool,
    pub(super) body: Vec<u8>,
    pub(super) is_ndjson: bool,
}

impl Asked {
    /// A parameter of the query.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        let (_, query) = self.target.split_once('?')?;
        query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
    }
}

/// Status, media type and body.
pub(super) type Answer = (u16, &'static str, String);

/// A problem document, with further members.
pub(super) fn problem(status: u16, code: &str, members: &str) -> Answer {
    let body =
        format!("{{\"status\":{status},\"code\":\"{code}\",\"detail\":\"told to\"{members}}}");
    (status, "application/problem+json", body)
}

/// A body in two chunks, and the end.
pub(super) fn chunks(body: &str) -> String {
    let (one, two) = halves(body);
    let parts = [one, two].into_iter().filter(|part| !part.is_empty());
    let chunks: String = parts.map(|part| format!("{:x}\r\n{part}\r\n", part.len())).collect();
    chunks + "0\r\n\r\n"
}

/// The first chunk of a body, and a half of the second, which is longer.
pub(super) fn torn(body: &str) -> String {
    let (one, two) = halves(body);
    format!("{:x}\r\n{one}\r\n{:x}\r\n{}", one.len(), two.len(), &two[..two.len() / 2])
}

fn halves(body: &str) -> (&str, &str) {
    body.split_at(body.len() / 2)
}

/// The next request; none when the client is gone.
pub(super) fn read_request(stream: &mut TcpStream, received: &mut Vec<u8>) -> Option<Asked> {
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
                    is_ndjson: header("content-type").is_some_and(|text| text.contains("ndjson")),
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
