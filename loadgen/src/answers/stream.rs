//! Lists as streams that do not end: which lines of one are changes, and which tell that it has
//! caught up.

use clap::ValueEnum;
use memchr::memchr;
use serde::{Deserialize, Serialize};

use crate::answers::json;

/// Longest line that is kept until its end arrives, in bytes: above the server's largest change.
const LINE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// How a list is streamed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum StreamFormat {
    /// Server-Sent Events.
    EventStream,
    /// A change in each line.
    Ndjson,
}

/// What the bytes of a stream brought.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Arrived {
    /// How many changes.
    pub(crate) changes: u64,
    /// The stream told its position: all before it has been sent.
    pub(crate) caught_up: bool,
    /// The highest id seen, of a change or a position; 0 if there was none.
    pub(crate) last: u64,
    /// The server told why it ends the stream.
    pub(crate) ends: bool,
}

/// Reads one stream line by line, in whatever pieces it comes.
#[derive(Debug, Clone)]
pub(crate) struct StreamReader {
    format: StreamFormat,
    /// The line whose end has not come yet.
    partial: Vec<u8>,
    /// Event streams: the `event:` of the event that is being read is not that of a change.
    is_other_event: bool,
}

impl StreamReader {
    /// A stream of which nothing has come yet.
    pub(crate) fn new(format: StreamFormat) -> Self {
        Self { format, partial: Vec::new(), is_other_event: false }
    }

    /// Takes in the next bytes; `None` when they are no such stream.
    pub(crate) fn take(&mut self, mut bytes: &[u8]) -> Option<Arrived> {
        let mut arrived = Arrived::default();
        while let Some(end) = memchr(b'\n', bytes) {
            let (line, rest) = bytes.split_at(end);
            bytes = rest.get(1..).unwrap_or_default();
            if self.partial.is_empty() {
                self.line(line, &mut arrived)?;
            } else {
                let mut whole = std::mem::take(&mut self.partial);
                whole.extend_from_slice(line);
                self.line(&whole, &mut arrived)?;
                whole.clear();
                self.partial = whole;
            }
        }
        if self.partial.len() + bytes.len() > LINE_BYTES_MAX {
            return None;
        }
        self.partial.extend_from_slice(bytes);
        Some(arrived)
    }

    fn line(&mut self, line: &[u8], arrived: &mut Arrived) -> Option<()> {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        match self.format {
            StreamFormat::EventStream => self.event_line(line, arrived),
            StreamFormat::Ndjson if line.is_empty() => Some(()),
            StreamFormat::Ndjson => ndjson_line(line, arrived),
        }
    }

    fn event_line(&mut self, line: &[u8], arrived: &mut Arrived) -> Option<()> {
        if line.is_empty() {
            self.is_other_event = false;
        } else if let Some(event) = line.strip_prefix(b"event: ") {
            self.is_other_event = true;
            match event {
                b"cursor" => arrived.caught_up = true,
                b"reset" | b"unavailable" => arrived.ends = true,
                _ => return None,
            }
        } else if let Some(id) = line.strip_prefix(b"id: ") {
            arrived.last = arrived.last.max(number(id)?);
        } else if line.starts_with(b"data:") && !self.is_other_event {
            arrived.changes += 1;
        } else if !line.contains(&b':') {
            return None;
        }
        Some(())
    }
}

fn ndjson_line(line: &[u8], arrived: &mut Arrived) -> Option<()> {
    #[derive(Deserialize)]
    struct Line {
        #[serde(rename = "_id")]
        id: Option<u64>,
        last: Option<u64>,
    }
    match json::read(line)? {
        Line { id: Some(id), .. } => {
            arrived.changes += 1;
            arrived.last = arrived.last.max(id);
        }
        Line { last: Some(last), .. } => {
            arrived.caught_up = true;
            arrived.last = arrived.last.max(last);
        }
        Line { id: None, last: None } => return None,
    }
    Some(())
}

fn number(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENTS: &str = "retry: 1000\n\nevent: cursor\nid: 7\ndata: {\"last\":7}\n\n\
        id: 8\ndata: {\"_id\":8,\"data\":1}\n\n: beat\n\nid: 9\ndata: {\"_id\":9,\"data\":2}\n\n";
    const LINES: &str = "\n{\"last\":7}\n{\"_id\":8,\"_ts\":1,\"data\":{\"last\":3}}\n\
        {\"_id\":9,\"_ts\":1,\"data\":2}\n{\"last\":9}\n";

    #[test]
    fn changes_and_positions_are_told_apart_however_the_stream_is_cut() {
        for (format, text) in [(StreamFormat::EventStream, EVENTS), (StreamFormat::Ndjson, LINES)] {
            for size in 1..text.len() {
                let mut reader = StreamReader::new(format);
                let mut sum = Arrived::default();
                for piece in text.as_bytes().chunks(size) {
                    let arrived = reader.take(piece).expect("a stream");
                    sum.changes += arrived.changes;
                    sum.caught_up |= arrived.caught_up;
                    sum.last = sum.last.max(arrived.last);
                    sum.ends |= arrived.ends;
                }
                let expected = Arrived { changes: 2, caught_up: true, last: 9, ends: false };
                assert_eq!(sum, expected, "{format:?} in pieces of {size}");
            }
        }
    }

    #[test]
    fn a_stream_that_ends_says_so_and_other_text_is_refused() {
        let mut reader = StreamReader::new(StreamFormat::EventStream);
        let arrived = reader.take(b"event: reset\ndata: {\"code\":\"purged\"}\n\n");
        assert_eq!(arrived, Some(Arrived { ends: true, ..Arrived::default() }));
        assert_eq!(reader.take(b"{}\n"), None);
        assert_eq!(StreamReader::new(StreamFormat::Ndjson).take(b"id: 8\n"), None);
        assert_eq!(StreamReader::new(StreamFormat::Ndjson).take(b"{}\n"), None);
    }
}
