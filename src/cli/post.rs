//! `changeagent post`: stores one change, or one for each line of standard
//! input, each exactly once however often it has to be sent.

use std::{
    io::{self, Read, Write as _},
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
    time::Duration,
};

use clap::Args;
use serde_json::value::RawValue;
use ureq::http::Method;
use uuid::Uuid;

use super::{
    failure::{Failure, WriteFailure},
    input,
    list::PlaceArguments,
    node::{ANSWER_BYTES_MAX, Node, NodeArguments, RetryArguments, Write},
    values::Values,
};

/// Bytes of one batch, unless one line alone is longer.
const BATCH_BYTES: usize = 4 << 20;
/// Bytes that are read from standard input at once.
const BLOCK_BYTES: usize = 64 << 10;
/// Blocks that are read ahead.
const BLOCKS: usize = 64;
/// For so long a further line is waited for before those that came are sent: whoever
/// writes line by line needs a moment for the next one.
const LINGER: Duration = Duration::from_millis(5);

/// What to store, and where.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    node: NodeArguments,
    #[command(flatten)]
    place: PlaceArguments,
    #[command(flatten)]
    retry: RetryArguments,
    /// The key in the collection whose value this becomes
    #[arg(long, value_name = "K", requires = "collection", conflicts_with = "ndjson")]
    key: Option<String>,
    /// A tag of the change; may be repeated
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// The data, any JSON; read from standard input when absent or -
    #[arg(long, value_name = "JSON", conflicts_with = "ndjson")]
    data: Option<String>,
    /// Each JSON value of standard input, one a line or spread over more, is the data of one change
    #[arg(long)]
    ndjson: bool,
    /// Most lines sent at once
    #[arg(long, value_name = "N", default_value_t = 1000, requires = "ndjson")]
    #[arg(value_parser = clap::value_parser!(u16).range(1..))]
    batch: u16,
    /// Makes a repetition of this command harmless [default: a new one]
    #[arg(long, value_name = "KEY", conflicts_with = "ndjson")]
    idempotency_key: Option<String>,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let node = Node::new(&arguments.node, arguments.retry)?;
    let poster = Poster::new(&node, arguments).map_err(Failure::undone)?;
    if arguments.ndjson {
        return poster.lines(usize::from(arguments.batch));
    }
    let data = match arguments.data.as_deref() {
        Some(data) if data != "-" => data.to_owned(),
        _ => {
            let mut text = String::new();
            let read = input::open(io::stdin())
                .and_then(|input| input.reader.take(ANSWER_BYTES_MAX).read_to_string(&mut text));
            read.map_err(Failure::file("standard input".as_ref()))?;
            text
        }
    };
    let mut body = Vec::new();
    poster.change(data.as_bytes(), &mut body).map_err(|failure| failure.at("the data"))?;
    let key = arguments.idempotency_key.clone().unwrap_or_else(|| Uuid::new_v4().to_string());
    poster.send(&body, &key).map_err(|failed| {
        let advice =
            format!("it may have happened: --idempotency-key {key} with the same data settles it");
        if failed.doubtful { failed.failure.and(&advice) } else { failed.told() }
    })
}

/// Where changes go, and what they all have in common.
struct Poster<'a> {
    node: &'a Node,
    target: String,
    /// The members in front of the data.
    start: String,
}

impl<'a> Poster<'a> {
    fn new(node: &'a Node, arguments: &Arguments) -> Result<Self, Failure> {
        let place = &arguments.place;
        let path = place.path()?;
        let mut start = String::from("{");
        let target = match (&place.collection, &arguments.key) {
            (Some(_), Some(key)) => {
                start += &format!("\"key\":{},", json(key)?);
                format!("{path}/keys")
            }
            (Some(collection), None) => {
                start += &format!("\"collection\":{},", json(&uuid_of(node, collection, &path)?)?);
                let tenant = PlaceArguments { collection: None, ..place.clone() };
                format!("{}/changes", tenant.path()?)
            }
            (None, _) => format!("{path}/changes"),
        };
        if !arguments.tags.is_empty() {
            start += &format!("\"tags\":{},", json(&arguments.tags)?);
        }
        Ok(Self { node, target, start })
    }

    /// Adds a change with that data to a body.
    fn change(&self, data: &[u8], body: &mut Vec<u8>) -> Result<(), Failure> {
        let data: &RawValue = serde_json::from_slice(data)
            .map_err(|error| Failure::Other(format!("not JSON: {error}")))?;
        body.extend_from_slice(self.start.as_bytes());
        body.extend_from_slice(b"\"data\":");
        body.extend_from_slice(data.get().as_bytes());
        body.push(b'}');
        Ok(())
    }

    /// Sends a body and prints the answer.
    fn send(&self, body: &[u8], key: &str) -> Result<(), WriteFailure> {
        let write = Write { method: Method::POST, target: &self.target, key, body: Some(body) };
        let answer = self.node.write(&write)?;
        let mut out = io::stdout().lock();
        let printed = out.write_all(&answer).and_then(|()| out.write_all(b"\n"));
        printed.and_then(|()| out.flush()).map_err(|error| WriteFailure {
            failure: Failure::file("standard output".as_ref())(error),
            doubtful: false,
        })
    }

    /// Posts each line of standard input. What has arrived is sent within
    /// [`LINGER`], as one batch; while it is on its way, the next one gathers.
    fn lines(&self, batch_max: usize) -> Result<(), Failure> {
        let (sender, blocks) = sync_channel(BLOCKS);
        let input = thread::spawn(move || {
            let mut input = input::open(io::stdin())?;
            read_blocks(&mut input.reader, &sender)
        });
        let mut batch =
            Batch { poster: self, batch_max, body: Vec::new(), count: 0, line: 0, sent: 0 };
        let mut lines = Lines { values: Values::of_lines(), value: Vec::new(), breaks: 0 };
        while let Some(block) = next_block(&blocks, &mut batch)? {
            lines.take(&block, &mut batch)?;
            // Only the last block need not have ended with one.
            lines.take(b"\n", &mut batch)?;
        }
        lines.finish(&mut batch)?;
        let read = input.join().map_err(|_| Failure::Other("standard input: no reader".into()))?;
        read.map_err(Failure::file("standard input".as_ref()))
    }
}

/// The next lines; what has gathered is sent before there is a longer wait for them.
fn next_block(
    blocks: &Receiver<Vec<u8>>,
    batch: &mut Batch<'_>,
) -> Result<Option<Vec<u8>>, Failure> {
    let linger = if batch.count > 0 { LINGER } else { Duration::ZERO };
    if let Ok(block) = blocks.recv_timeout(linger) {
        return Ok(Some(block));
    }
    batch.send()?;
    Ok(blocks.recv().ok())
}

/// Hands on complete lines as they arrive, without the break of the last one.
fn read_blocks(input: &mut impl Read, blocks: &SyncSender<Vec<u8>>) -> io::Result<()> {
    let mut pending = Vec::new();
    let mut block = vec![0; BLOCK_BYTES];
    loop {
        let count = input.read(&mut block)?;
        let Some(new) = block.get(..count).filter(|new| !new.is_empty()) else { break };
        let Some(end) = new.iter().rposition(|&byte| byte == b'\n') else {
            pending.extend_from_slice(new);
            if pending.len() as u64 > ANSWER_BYTES_MAX {
                let text = format!("a line is longer than {ANSWER_BYTES_MAX} bytes");
                return Err(io::Error::new(io::ErrorKind::InvalidData, text));
            }
            continue;
        };
        let (lines, rest) = new.split_at(end);
        pending.extend_from_slice(lines);
        if blocks.send(std::mem::take(&mut pending)).is_err() {
            return Ok(());
        }
        pending.extend_from_slice(rest.get(1..).unwrap_or_default());
    }
    if !pending.is_empty() {
        // Nobody is left to take it only after a failure, which is told already.
        let _ = blocks.send(pending);
    }
    Ok(())
}

/// What has arrived of the next value.
struct Lines {
    values: Values,
    value: Vec<u8>,
    /// Line breaks in what has arrived.
    breaks: u64,
}

impl Lines {
    fn take(&mut self, mut bytes: &[u8], batch: &mut Batch<'_>) -> Result<(), Failure> {
        while !bytes.is_empty() {
            let (used, complete) = self.values.take(bytes, &mut self.value);
            let (taken, rest) = bytes.split_at(used);
            self.breaks += taken.iter().filter(|&&byte| byte == b'\n').count() as u64;
            bytes = rest;
            if complete {
                batch.add(&self.value, std::mem::take(&mut self.breaks))?;
                self.value.clear();
            } else if self.value.len() as u64 > ANSWER_BYTES_MAX {
                let text = format!("a value is longer than {ANSWER_BYTES_MAX} bytes");
                return Err(Failure::Other(text));
            }
        }
        Ok(())
    }

    /// What is left at the end is no whole value, which is said by its line.
    fn finish(self, batch: &mut Batch<'_>) -> Result<(), Failure> {
        batch.add(&self.value, self.breaks)?;
        batch.send()
    }
}

/// Values that are sent together.
struct Batch<'a> {
    poster: &'a Poster<'a>,
    batch_max: usize,
    /// A JSON array without its last bracket.
    body: Vec<u8>,
    count: usize,
    /// Lines that were read.
    line: u64,
    /// Lines that were read before those of this batch.
    sent: u64,
}

impl Batch<'_> {
    /// Adds a value, which ends so many lines further on.
    fn add(&mut self, line: &[u8], breaks: u64) -> Result<(), Failure> {
        let line = line.trim_ascii();
        if self.count == self.batch_max
            || (self.count > 0 && self.body.len() + line.len() > BATCH_BYTES)
        {
            self.send()?;
        }
        let number = self.line + 1;
        self.line += breaks;
        if line.is_empty() {
            return Ok(());
        }
        self.body.push(if self.count == 0 { b'[' } else { b',' });
        let sent = self.sent;
        self.poster.change(line, &mut self.body).map_err(|failure| {
            failure.at(format!("line {number} (lines up to {sent} are stored)"))
        })?;
        self.count += 1;
        Ok(())
    }

    fn send(&mut self) -> Result<(), Failure> {
        if self.count > 0 {
            self.body.push(b']');
            let key = Uuid::new_v4().to_string();
            self.poster.send(&self.body, &key).map_err(|WriteFailure { failure, doubtful }| {
                let (first, last) = (self.sent + 1, self.line);
                let may = if doubtful { "may have been" } else { "were not" };
                failure.at(format!("lines {first} to {last} {may} stored, all before were"))
            })?;
            self.body.clear();
            self.count = 0;
        }
        self.sent = self.line;
        Ok(())
    }
}

/// The UUID of a collection that is named by it or by its name.
fn uuid_of(node: &Node, collection: &str, path: &str) -> Result<String, Failure> {
    #[derive(serde::Deserialize)]
    struct Collection {
        collection: String,
    }
    if Uuid::try_parse(collection).is_ok() {
        return Ok(collection.to_owned());
    }
    let bytes = node.get_json(path)?;
    serde_json::from_slice(&bytes)
        .map(|Collection { collection }| collection)
        .map_err(|error| Failure::Other(format!("{path}: not a collection: {error}")))
}

fn json(value: &impl serde::Serialize) -> Result<String, Failure> {
    serde_json::to_string(value).map_err(|error| Failure::Other(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(mut input: impl Read) -> Vec<String> {
        let (sender, blocks) = sync_channel(100);
        read_blocks(&mut input, &sender).unwrap();
        drop(sender);
        blocks.iter().map(|block| String::from_utf8(block).unwrap()).collect()
    }

    #[test]
    fn only_complete_lines_are_handed_on() {
        let input = b"1\n2\n3".chain(&b"4\n5\n"[..]).chain(&b"6"[..]);
        assert_eq!(blocks(input), ["1\n2", "34\n5", "6"]);
        assert!(blocks(&b""[..]).is_empty());
        assert_eq!(blocks(&b"\n"[..]), [""]);
    }
}
