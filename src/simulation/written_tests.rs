//! What a node writes beside its log: indexes, whole states and checkpoints, never more than a stated
//! share of what is ingested.

use std::{cell::RefCell, fmt::Write as _, rc::Rc, time::Duration};

use tokio::sync::Notify;

use super::{
    node,
    places::{Setup, client_address, process_of},
    wire::{Heard, Link, Request},
};
use crate::{
    io::{
        cores,
        simulated::{
            disk::SimDisk,
            executor::{run, spawn_in},
        },
    },
    node::retention::Retention,
};

const NODE: u64 = 1;
/// Changes of a request.
const BATCH: u64 = 100;
const CHANGES: u64 = 20_000;
/// Bytes of the data of a change.
const DATA: usize = 256;
const TENANTS: u64 = 200;
const SEGMENT_BYTES: u64 = 256 << 10;
/// In so long all is written that is to be.
const SETTLES: Duration = Duration::from_secs(60);

/// Bytes that a node was sent, and wrote beside its log.
#[derive(Debug, Default)]
struct Written {
    ingested: u64,
    indexes: u64,
    states: u64,
    checkpoints: u64,
    /// The last of the checkpoints, where there is one.
    newest: u64,
    /// The segments of the log that are complete, purged or not.
    log: u64,
}

impl Written {
    /// At most so many hundredths of what was ingested are indexes and states.
    fn check_derived(&self, share: u64) {
        let derived = 100 * (self.indexes + self.states);
        assert!(derived <= share * self.ingested, "more than {share} %: {self:?}");
        assert!(self.indexes > 0 && self.states > 0, "some of each is written: {self:?}");
        assert!(self.states <= 2 * self.indexes, "{self:?}");
    }

    /// All checkpoints but the newest are no more than the segments that they stood for.
    fn check_checkpoints(&self) {
        assert!(self.checkpoints > self.newest, "several are written: {self:?}");
        assert!(self.checkpoints <= self.log + self.newest, "{self:?}");
    }
}

/// Asks until the node answers with success; the answer.
async fn ask(link: &mut Link, request: Request) -> String {
    loop {
        match link.ask(&request).await {
            Heard::Answer(answer) if matches!(answer.status, 200 | 201) => return answer.body,
            Heard::Answer(answer) if answer.status != 503 => panic!("{}", answer.body),
            _ => cores::sleep(Duration::from_millis(100)).await,
        }
    }
}

/// A node takes in changes, each with what `place` says of it in JSON.
fn ingest(retained: Option<u64>, place: impl Fn(u64) -> String) -> Written {
    run(1, async move {
        let retention =
            retained.map(|min_changes| Retention { min_changes, min_age: Duration::ZERO });
        let setup = Setup { cores: 1, segment_bytes: SEGMENT_BYTES, retention, votes: true };
        let (stop, inside) = (Rc::new(Notify::new()), Rc::new(RefCell::new(None)));
        let disk = SimDisk::new(1);
        let main = node::run(NODE, setup, disk.clone(), node::Role::FOUNDER, stop, inside, true);
        drop(spawn_in(process_of(NODE), main));
        let mut link = Link::new(client_address(NODE));
        let post = |target: &str, body: String| Request::with_body("POST", target.into(), body);
        for n in 0..TENANTS {
            ask(&mut link, post("/tenants", format!(r#"{{"name":"t{n}"}}"#))).await;
        }
        let made = ask(&mut link, post("/tenants/t0/collections", r#"{"name":"c"}"#.into())).await;
        let collection = made.split('"').nth(3).expect("its id").to_owned();
        let mut written = Written::default();
        for first in (0..CHANGES).step_by(BATCH as usize) {
            let mut body = String::from("[");
            for n in first..first + BATCH {
                let place = place(n).replace("COLLECTION", &collection);
                write!(
                    body,
                    "{}{{{place},\"data\":\"{n:0DATA$}\"}}",
                    if n == first { "" } else { "," }
                )
                .unwrap();
            }
            body.push(']');
            written.ingested += body.len() as u64;
            ask(&mut link, post("/changes", body)).await;
        }
        cores::sleep(SETTLES).await;
        for (name, bytes) in disk.written_off_core() {
            let kind = match name.as_str() {
                "index.tmp" => &mut written.indexes,
                "state.tmp" => &mut written.states,
                "checkpoint.tmp" => &mut written.checkpoints,
                _ => panic!("{bytes} bytes of {name} are written"),
            };
            *kind += bytes;
        }
        let (files, mut segments) = (disk.snapshot(), 0);
        for (name, bytes) in &files {
            match name.rsplit_once('.') {
                Some((_, "checkpoint")) => written.newest = bytes.len() as u64,
                Some((number, "seg")) => segments = number.parse().expect("a number"),
                _ => {}
            }
        }
        written.log = (segments - 1) * SEGMENT_BYTES;
        written
    })
}

#[test]
fn of_changes_of_many_tenants() {
    let written = ingest(None, |n| format!(r#""tenant":"t{}""#, n * 7919 % TENANTS));
    written.check_derived(6);
    assert_eq!(written.checkpoints, 0);
}

#[test]
fn of_keys_that_are_replaced() {
    let key = |n| format!(r#""collection":"COLLECTION","key":"key-{:016}""#, n * 7919 % 2_000);
    let written = ingest(Some(2_000), key);
    written.check_derived(20);
    written.check_checkpoints();
    assert!(written.checkpoints * 2 <= written.ingested, "{written:?}");
}

/// Of these each checkpoint holds all from the beginning on.
#[test]
fn of_keys_that_are_all_new() {
    let key = |n| format!(r#""collection":"COLLECTION","key":"key-{n:016}""#);
    let written = ingest(Some(1_000), key);
    written.check_derived(20);
    written.check_checkpoints();
}
