//! Reads a list up to the newest change of the moment, over as many connections
//! as it takes.

use std::io::BufReader;

use super::{
    failure::Failure,
    line::{is_complete, read_line},
    list::List,
    node::{Answer, JSON, NDJSON, Node},
    page::{Line, Page, line as line_of},
};

/// A stream if the node has them, else pages.
pub(super) const ACCEPT: &str = "application/x-ndjson, application/json;q=0.5";
/// Changes of one page.
const PAGE_CHANGES: &str = "&limit=1000";

/// What takes the changes: each with its id, as a line without its break.
pub(super) trait Sink {
    /// It will go up to that id.
    fn until(&mut self, newest: u64);
    /// Takes a change; at an error, reading ends.
    fn take(&mut self, id: u64, line: &[u8]) -> Result<(), Failure>;
}

/// Where reading has got to.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    node: &'a Node,
    list: &'a List,
    /// The last id that was taken or examined.
    since: u64,
    /// The newest id when reading began: where it ends, so that it does end while
    /// others write.
    newest: Option<u64>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(node: &'a Node, list: &'a List, since: u64) -> Self {
        Self { node, list, since, newest: None }
    }

    /// Reads to the end. A broken connection is taken up again where it broke;
    /// only tries without any change between them are counted.
    pub(super) fn run(&mut self, sink: &mut impl Sink) -> Result<(), Failure> {
        let mut backoff = self.node.backoff();
        loop {
            let before = self.since;
            let Err(failure) = self.pass(sink) else { return Ok(()) };
            if self.since > before {
                backoff.reset();
            }
            backoff.wait(failure)?;
        }
    }

    fn pass(&mut self, sink: &mut impl Sink) -> Result<(), Failure> {
        let answer = self.node.get(&self.list.target(self.since, "&cursors=true"), ACCEPT)?;
        if self.newest.is_none() {
            let newest = answer.last()?;
            self.newest = Some(newest);
            sink.until(newest);
        }
        if answer.is(NDJSON) { self.stream(answer, sink) } else { self.pages(answer, sink) }
    }

    /// Hands on a change unless it is beyond the end; whether it was not.
    fn take(&mut self, id: u64, line: &[u8], sink: &mut impl Sink) -> Result<bool, Failure> {
        if self.newest.is_some_and(|newest| id > newest) {
            return Ok(false);
        }
        sink.take(id, line)?;
        self.since = id;
        Ok(true)
    }

    fn stream(&mut self, answer: Answer, sink: &mut impl Sink) -> Result<(), Failure> {
        let (reader, failure) = answer.reader();
        let mut reader = BufReader::with_capacity(256 << 10, reader);
        let mut line = Vec::new();
        while read_line(&mut reader, &mut line).map_err(&failure)? {
            if !is_complete(&line) {
                return Err(failure(std::io::Error::other("the stream ended within a line")));
            }
            let text = line.trim_ascii();
            if text.is_empty() {
                continue;
            }
            match line_of(text)? {
                Line::Cursor(last) => self.since = self.since.max(last),
                Line::Change(id) if self.take(id, text, sink)? => {}
                Line::Change(_) => return Ok(()),
            }
        }
        // It ends with a cursor where it is complete.
        if self.newest.is_none_or(|newest| self.since >= newest) {
            return Ok(());
        }
        Err(failure(std::io::Error::other("the stream ended early")))
    }

    fn pages(&mut self, answer: Answer, sink: &mut impl Sink) -> Result<(), Failure> {
        let mut bytes = answer.bytes()?;
        loop {
            let page = Page::parse(&bytes)?;
            for change in page.changes() {
                let (id, line) = change?;
                if !self.take(id, &line, sink)? {
                    return Ok(());
                }
            }
            if page.at_end || self.newest.is_some_and(|newest| page.last >= newest) {
                return Ok(());
            }
            if page.last <= self.since && page.changes().next().is_none() {
                return Err(Failure::Other(format!("the list stands still at {}", page.last)));
            }
            self.since = self.since.max(page.last);
            let target = self.list.target(self.since, PAGE_CHANGES);
            bytes = self.node.get(&target, JSON)?.bytes()?;
        }
    }
}
