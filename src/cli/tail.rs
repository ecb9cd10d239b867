//! `changeagent tail`: the newest changes of a list, and those to come.

use std::{
    collections::VecDeque,
    io::{self, BufReader, BufWriter, StdoutLock, Write},
    thread,
    time::{Duration, Instant},
};

use clap::Args;

use super::{
    failure::Failure,
    line::{is_complete, read_line},
    list::{List, ListArguments},
    node::{Answer, JSON, NDJSON, Node, NodeArguments, RetryArguments},
    order::Order,
    page::{Line, Page, line as line_of},
    reader::ACCEPT,
    retry::Backoff,
};

/// How long the node is asked to wait for news; meanwhile it says how far the
/// list is.
const BLOCK_S: u32 = 300;
/// Ids that are looked through first for the newest of a list that holds only
/// some of them.
const SPAN: u64 = 1024;
/// A node that does not wait as it was asked to is asked again after this.
const UNASKED_ANSWER: Duration = Duration::from_millis(200);

/// What to print.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    node: NodeArguments,
    #[command(flatten)]
    list: ListArguments,
    #[command(flatten)]
    retry: RetryArguments,
    /// Start with the newest N changes
    #[arg(short = 'n', long = "lines", value_name = "N", default_value_t = 10)]
    #[arg(value_parser = clap::value_parser!(u64).range(..=10_000))]
    lines: u64,
    /// Start with what follows this id instead
    #[arg(long, value_name = "ID", conflicts_with = "lines")]
    since: Option<u64>,
    /// Go on for ever with the changes to come
    #[arg(short, long)]
    follow: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let node = Node::new(&arguments.node, arguments.retry)?;
    let list = List::new(&arguments.list)?;
    let mut backoff = if arguments.follow { Backoff::endless() } else { node.backoff() };
    let mut out = BufWriter::new(io::stdout().lock());
    let since = match arguments.since {
        Some(since) => since,
        None => loop {
            match newest(&node, &list, arguments.lines) {
                Ok((lines, last)) => {
                    for line in &lines {
                        print(&mut out, line)?;
                    }
                    out.flush().map_err(Failure::output)?;
                    break last;
                }
                Err(failure) => backoff.wait(failure)?,
            }
        },
    };
    if arguments.follow || arguments.since.is_some() {
        let mut tail = Tail { node: &node, list: &list, since, out };
        tail.go_on(arguments.follow, backoff)?;
    }
    Ok(())
}

fn print(out: &mut impl Write, line: &[u8]) -> Result<(), Failure> {
    out.write_all(line).and_then(|()| out.write_all(b"\n")).map_err(Failure::output)
}

/// The newest `count` changes of a list, and the id that they go up to.
///
/// A list is read forward only: what is near its end is read first, and more and
/// more in front of that as long as too few changes were found.
fn newest(node: &Node, list: &List, count: u64) -> Result<(VecDeque<Vec<u8>>, u64), Failure> {
    let bytes = node.get(&list.target("now", "&limit=1"), JSON)?.bytes()?;
    let last = Page::parse(&bytes)?.last;
    let mut span = if list.is_everything() { count } else { count.max(SPAN) };
    if count == 0 {
        return Ok((VecDeque::new(), last));
    }
    loop {
        let start = last.saturating_sub(span);
        match window(node, list, count, start, last) {
            Ok(lines) if start > 0 && (lines.len() as u64) < count => {
                span = span.saturating_mul(16);
            }
            // What is left of the list starts after this: then all of it is read.
            Err(failure) if start > 0 && failure.is("purged") => span = last,
            lines => return Ok((lines?, last)),
        }
    }
}

/// The last `count` changes of those after `start` and up to `last`.
fn window(
    node: &Node,
    list: &List,
    count: u64,
    start: u64,
    last: u64,
) -> Result<VecDeque<Vec<u8>>, Failure> {
    let mut order = Order::new(start, list.is_everything());
    let mut lines = VecDeque::new();
    let mut since = start;
    while since < last {
        let bytes = node.get(&list.target(since, "&limit=1000"), JSON)?.bytes()?;
        let page = Page::parse(&bytes)?;
        for change in page.changes() {
            let (id, line) = change?;
            if id > last {
                return Ok(lines);
            }
            order.take(id)?;
            if lines.len() as u64 == count {
                lines.pop_front();
            }
            lines.push_back(line.into_owned());
        }
        if page.at_end {
            break;
        }
        since = advanced(since, page.last)?;
    }
    Ok(lines)
}

/// Where the next page starts.
fn advanced(since: u64, last: u64) -> Result<u64, Failure> {
    if last > since {
        Ok(last)
    } else {
        Err(Failure::Other(format!("the list stands still at {last}")))
    }
}

struct Tail<'a> {
    node: &'a Node,
    list: &'a List,
    /// Invariant: everything up to this id has been printed or is not of the list,
    /// and nothing after it has been printed.
    since: u64,
    out: BufWriter<StdoutLock<'static>>,
}

impl Tail<'_> {
    /// Prints what follows, up to the end of the list or for ever.
    fn go_on(&mut self, follow: bool, mut backoff: Backoff) -> Result<(), Failure> {
        loop {
            let (asked, before) = (Instant::now(), self.since);
            let outcome = if follow { self.follow().map(|()| false) } else { self.rest() };
            // What was printed before it failed is a success as well.
            if outcome.is_ok() || self.since > before {
                backoff.reset();
            }
            match outcome {
                Ok(true) => return Ok(()),
                Ok(false) if self.since == before && asked.elapsed() < UNASKED_ANSWER => {
                    thread::sleep(UNASKED_ANSWER);
                }
                Ok(false) => {}
                Err(failure) if follow && failure.is("purged") => {
                    let text = format!("changes after {} may have been missed", self.since);
                    return Err(failure.at(text));
                }
                Err(failure) => backoff.wait(failure)?,
            }
        }
    }

    /// Prints what comes until the node ends the stream.
    fn follow(&mut self) -> Result<(), Failure> {
        let target = self.list.target(self.since, &format!("&block={BLOCK_S}&cursors=true"));
        let answer = self.node.get(&target, ACCEPT)?;
        if answer.is(NDJSON) { self.stream(answer) } else { self.page(&answer.bytes()?).map(drop) }
    }

    fn stream(&mut self, answer: Answer) -> Result<(), Failure> {
        let (reader, failure) = answer.reader();
        let mut reader = BufReader::new(reader);
        let mut order = Order::new(self.since, self.list.is_everything());
        let mut line = Vec::new();
        let mut is_whole = false;
        loop {
            if reader.buffer().is_empty() {
                self.out.flush().map_err(Failure::output)?;
            }
            if !read_line(&mut reader, &mut line).map_err(&failure)? {
                break;
            }
            if !is_complete(&line) {
                return Err(failure(io::Error::other("the stream ended within a line")));
            }
            let text = line.trim_ascii();
            if text.is_empty() {
                continue;
            }
            is_whole = false;
            match line_of(text)? {
                Line::Change(id) => {
                    order.take(id)?;
                    print(&mut self.out, text)?;
                    self.since = id;
                }
                Line::Cursor(last) => {
                    not_before(last, order)?;
                    is_whole = true;
                    self.since = last;
                }
            }
        }
        if is_whole { Ok(()) } else { Err(failure(io::Error::other("the stream ended early"))) }
    }

    /// Prints the next page: whether the list ends there.
    fn rest(&mut self) -> Result<bool, Failure> {
        let target = self.list.target(self.since, "&limit=1000");
        let bytes = self.node.get(&target, JSON)?.bytes()?;
        let before = self.since;
        let at_end = self.page(&bytes)?;
        if !at_end {
            advanced(before, self.since)?;
        }
        Ok(at_end)
    }

    fn page(&mut self, bytes: &[u8]) -> Result<bool, Failure> {
        let page = Page::parse(bytes)?;
        let mut order = Order::new(self.since, self.list.is_everything());
        for change in page.changes() {
            let (id, line) = change?;
            order.take(id)?;
            print(&mut self.out, &line)?;
        }
        self.out.flush().map_err(Failure::output)?;
        not_before(page.last, order)?;
        self.since = page.last;
        Ok(page.at_end)
    }
}

/// Checks that a list is said to have come at least as far as it was sent.
fn not_before(last: u64, order: Order) -> Result<(), Failure> {
    if last < order.last {
        return Err(Failure::Other(format!(
            "the node sent change {}, but says that it has come to {last}",
            order.last
        )));
    }
    Ok(())
}
