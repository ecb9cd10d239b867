//! How many instructions the main paths take, counted by callgrind: the same from run to run, so that a change of
//! a few percent shows on a busy machine too. Without valgrind it says so and ends.
//!
//! `cargo bench --profile quick --bench instructions` prints the counts beside those of `benches/instructions.txt`;
//! `-- --write` writes that file anew (what stands there is of that profile), `-- --max 1.05` fails when a path takes more than 1.05 times what stands there.

mod workload;

use std::{
    collections::BTreeMap,
    fs,
    future::Future,
    hint::black_box,
    path::{Path, PathBuf},
    pin::pin,
    process::{Command as Process, ExitCode, Stdio},
    rc::Rc,
    task::{Context as TaskContext, Poll, Waker},
    time::Instant,
};

use changeagent::{
    api::{
        body::{Scope, parse},
        read::answer::{Frame, ListAnswer},
        request::content_type::Form,
    },
    base::{
        batch::{NumberedBatch, Previous, Skips},
        ids::{ChangeId, Timestamp},
        limits::Limits,
    },
    feed::Waiters,
    http::{Connection, Context, DateText, Event, Response},
    state::{ListId, State, index::Catalog},
};
use workload::{Place, append, batch, id};

/// A path: its name, and what does it so many times.
type Case = (&'static str, fn(u32));

const CASES: [Case; 5] = [
    ("append of 256 B: request taken apart and validated, answer written", validate),
    ("append: batch of one small change encoded, checked and applied", apply),
    ("page of 100 changes", page),
    ("wake-up of one who waits at a tenant's list", wake_one),
    ("wake-up of each of 1,000 who wait at the whole list", wake_thousand),
];
/// The counts of two runs are subtracted, so that what happens once does not count.
const FEW: u32 = 100;
const MANY: u32 = 1_100;
/// Clients that wait for the same change.
const WAITERS: u32 = 1_000;

fn main() -> ExitCode {
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["run", case, times] => {
            let times = times.parse().expect("a number");
            let number: usize = case.parse().expect("a number");
            CASES[number].1(times);
            ExitCode::SUCCESS
        }
        ["--write"] => compare(None, true),
        ["--max", ratio] => compare(Some(ratio.parse().expect("a number")), false),
        // As a test of the benches asks.
        ["--test"] => {
            CASES.iter().for_each(|(_, run)| run(2));
            ExitCode::SUCCESS
        }
        _ => compare(None, false),
    }
}

/// Counts every path and sets it beside what is written down.
fn compare(max: Option<f64>, write: bool) -> ExitCode {
    let is_there = Process::new("valgrind").arg("--version").stdout(Stdio::null()).status();
    if !is_there.is_ok_and(|status| status.success()) {
        println!("skipped: valgrind is not installed");
        return ExitCode::SUCCESS;
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/instructions.txt");
    let before = read(&file);
    let (mut lines, mut is_within) = (String::new(), true);
    for (number, (name, _)) in CASES.iter().enumerate() {
        let count = (counted(number, MANY) - counted(number, FEW)) / u64::from(MANY - FEW);
        let ratio = before.get(*name).map(|before| count as f64 / *before as f64);
        let beside = ratio.map_or("new".to_owned(), |ratio| format!("{ratio:.3} of before"));
        println!("{count:>10}  {name}  ({beside})");
        lines += &format!("{count} {name}\n");
        is_within &= max.is_none_or(|max| ratio.is_none_or(|ratio| ratio <= max));
    }
    if write {
        fs::write(&file, lines).expect("the file can be written");
    }
    if is_within { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The counts by name.
fn read(file: &Path) -> BTreeMap<String, u64> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let lines = text.lines().filter_map(|line| {
        let (count, name) = line.split_once(' ')?;
        Some((name.to_owned(), count.parse().ok()?))
    });
    lines.collect()
}

/// The instructions of this program when it does a path so many times.
fn counted(case: usize, times: u32) -> u64 {
    let out = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("callgrind.{case}.{times}"));
    let status = Process::new("valgrind")
        .args(["--tool=callgrind", "--quiet"])
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(std::env::current_exe().expect("a program"))
        .args(["run", &case.to_string(), &times.to_string()])
        .stdout(Stdio::null())
        .status()
        .expect("valgrind runs");
    assert!(status.success(), "valgrind ended with {status}");
    let text = fs::read_to_string(&out).expect("callgrind wrote its file");
    let total = text.lines().find_map(|line| line.strip_prefix("totals: "));
    total.and_then(|total| total.trim().parse().ok()).expect("callgrind tells the total")
}

/// A write as a client library sends it, with a body of 256 bytes.
fn post() -> Vec<u8> {
    let text = "x".repeat(256 - r#"{"data":{"text":""}}"#.len());
    let body = format!(r#"{{"data":{{"text":"{text}"}}}}"#);
    let head = "POST /changes HTTP/1.1\r\nHost: 127.0.0.1:9000\r\nUser-Agent: bench/1.0\r\nAccept: */*\r\nContent-Type: application/json\r\nContent-Length: 256\r\n\r\n";
    [head, &body].concat().into_bytes()
}

fn write(connection: &mut Connection, now: Instant) {
    while let Some(slices) = connection.poll_transmit() {
        let count = slices.iter().map(|slice| black_box(*slice).len()).sum();
        connection.transmitted(count, now);
    }
}

fn validate(times: u32) {
    let now = Instant::now();
    let context = Rc::new(Context::new(Limits::default(), DateText::from_unix_seconds(0)));
    let mut connection = Connection::new(context, now);
    let (limits, scope, catalog) = (Limits::default(), Scope::default(), Catalog::default());
    let raw = post();
    for _ in 0..times {
        connection.receive(black_box(&raw));
        let Some(Event::Request(request)) = connection.poll_event(now) else {
            unreachable!("the request is whole")
        };
        let body = request.into_body();
        let parsed = parse(&body, Form::Json, &limits, &scope, (&catalog).into());
        let Ok(parsed) = parsed else { unreachable!("the body is sound") };
        black_box(parsed);
        connection.respond(Response::json(201, &b"{\"_id\":1}"[..]), now);
        write(&mut connection, now);
    }
}

fn apply(times: u32) {
    let commands = [append([Place::default()])];
    let mut state = State::default();
    for _ in 0..times {
        black_box(state.apply(batch(black_box(&commands))));
    }
}

fn page(times: u32) {
    let suffix = format!(",\"data\":{{\"text\":\"{}\"}}}}", "x".repeat(240));
    for _ in 0..times {
        let mut list = ListAnswer::new(Frame::Changes, 100);
        for id in 1_000_000..1_000_100 {
            let at = Timestamp(1_784_873_643_123_456);
            assert!(list.push(ChangeId(id), at, black_box(suffix.as_bytes())), "there is room");
        }
        black_box(list.finish(false, true, ChangeId(1_000_100)));
    }
}

/// So many wait at a list, a change comes, each is woken and sees it.
fn wake(times: u32, list: ListId, waiting: u32, place: impl Fn() -> Place) {
    let waiters = Waiters::default();
    let mut context = TaskContext::from_waker(Waker::noop());
    let change = batch(&[append([place()])]);
    for round in 0..u64::from(times) {
        let since = ChangeId(round);
        let mut waits: Vec<_> =
            (0..waiting).map(|_| Box::pin(waiters.wait_after(list, since))).collect();
        for wait in &mut waits {
            assert!(pin!(wait).poll(&mut context).is_pending(), "nothing came yet");
        }
        let batch = NumberedBatch {
            first: ChangeId(round + 1),
            batch: change.clone(),
            skips: Skips::default(),
            previous: Previous::default(),
        };
        waiters.advance(&[batch], ChangeId(round + 1));
        for wait in &mut waits {
            assert!(matches!(pin!(wait).poll(&mut context), Poll::Ready(_)), "it came");
        }
    }
}

fn wake_one(times: u32) {
    wake(times, ListId::Tenant(id(0)), 1, || Place::of(0));
}

/// The count is that of one of them.
fn wake_thousand(times: u32) {
    // In rounds of all: as many wake-ups as are asked for, or one round more.
    wake(times.div_ceil(WAITERS), ListId::All, WAITERS, Place::default);
}
