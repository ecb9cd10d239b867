//! The program against real nodes, and against a small server in this process that misbehaves where
//! it is told to: every command, and runs that must fail.

mod compare;
mod fanout;
mod fill;
mod ingest;
mod read;
mod scenarios;
mod series;

use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;
use testkit::{Every, Fake};

/// One run of the program and the report it wrote.
struct Run {
    output: Output,
    report: Value,
}

impl Run {
    fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.output.stdout).into_owned()
    }

    fn results(&self) -> &Value {
        &self.report["results"]
    }

    fn number(&self, pointer: &str) -> u64 {
        self.results().pointer(pointer).and_then(Value::as_u64).unwrap_or_default()
    }

    /// A number of the command alone.
    fn count(&self, name: &str) -> u64 {
        self.results()["counts"][name].as_u64().unwrap_or_default()
    }

    /// The figures of one kind of request.
    fn operation(&self, name: &str) -> &Value {
        let operations = self.results()["operations"].as_array().map_or(&[][..], Vec::as_slice);
        let found = operations.iter().find(|operation| operation["name"] == name);
        found.unwrap_or_else(|| panic!("{name} is not in {}", self.results()))
    }

    /// A number of one kind of request.
    fn of(&self, name: &str, pointer: &str) -> u64 {
        self.operation(name).pointer(pointer).and_then(Value::as_u64).unwrap_or_default()
    }

    fn passes(self) -> Self {
        let errors = String::from_utf8_lossy(&self.output.stderr);
        assert!(self.output.status.success(), "{}\n{errors}", self.stdout());
        self
    }
}

/// A file that is not there yet.
fn file(name: &str) -> PathBuf {
    let path = path(name);
    let _ = std::fs::remove_file(&path);
    path
}

/// Where a file of this name is written.
fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name)
}

/// Runs the program with a report file of its own.
fn loadgen(name: &str, line: &str) -> Run {
    let json = file(&format!("{name}.json"));
    let output = Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .args(line.split_whitespace())
        .arg("--json")
        .arg(&json)
        .output()
        .expect("the program runs");
    let report = std::fs::read(&json)
        .map_or(Value::Null, |bytes| serde_json::from_slice(&bytes).expect("a report"));
    Run { output, report }
}

/// A server to whose writes this happens.
fn server(every: Every) -> Fake {
    Fake::for_load(every, false)
}

/// Stores changes that no client sent.
fn preload(fake: &Fake, count: u64) {
    fake.preload((0..count).map(|number| format!(r#"{{"data":{{"preloaded":{number}}}}}"#)));
}

fn newest(fake: &Fake) -> u64 {
    fake.changes().len() as u64
}

#[test]
fn a_server_that_is_not_there_is_one_clear_line() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr();
    let url = format!("http://{}", port.expect("an address"));
    for line in [
        format!("ingest --url {url} --verify"),
        format!("read --url {url}"),
        format!("wait --url {url}"),
    ] {
        let run = loadgen("absent", &line);
        assert_eq!(run.output.status.code(), Some(1));
        let errors = String::from_utf8_lossy(&run.output.stderr).into_owned();
        assert!(errors.contains("cannot connect"), "{errors}");
        assert_eq!(errors.lines().count(), 1, "{errors}");
    }
}

#[test]
fn bad_options_are_refused_with_a_word() {
    for (line, word) in [
        ("ingest", "--url"),
        ("ingest --url http://h --rate 0", "above 0"),
        ("ingest --url http://h --batch 0", "1..=10000"),
        ("ingest --url http://h --find-rate", "--p99"),
        ("ingest --url http://h --duration 5", "time unit"),
        ("ingest --url http://h --verify --expect-status 204", "cannot be used"),
        ("read --url http://h --limit 10001", "1..=10000"),
        ("tenants --url http://h --closed --rate 5", "cannot be used"),
        ("keys --url http://h --mix post=1", "none of put, put-if, get, delete"),
        ("stream --url http://h --format xml", "event-stream, ndjson"),
        ("compare --url http://h", "--url-b"),
        ("report a.json", "--html"),
        ("soak", "--url"),
        ("growth --url http://h --sizes many", "invalid digit"),
        ("beside --url http://h", "--with"),
        ("beside --url http://h --with nothing", "mixed, catch-up"),
        ("peers --peers postgres", "changeagent, redis, etcd, nginx"),
        ("peers --connections 0", "1..=65535"),
        ("load", "unrecognized subcommand"),
    ] {
        let run = loadgen("refused", line);
        let errors = String::from_utf8_lossy(&run.output.stderr).into_owned();
        assert_eq!(run.output.status.code(), Some(2), "{line}: {errors}");
        assert!(errors.contains(word), "{line}: {errors}");
    }
    // What only shows when it is looked at.
    for (line, word) in [
        ("ingest --url ftp://h", "only http:// and https:// are spoken here"),
        ("ingest --url http://127.0.0.1:1 --size 1", "--size must be at least"),
        ("ingest --url http://127.0.0.1:1 --threads 0", "--threads must be at least 1"),
        ("ingest --url http://127.0.0.1:1 --duration 0s", "the duration must be above 0"),
        ("growth --url http://127.0.0.1:1 --sizes 5,1", "--sizes must grow"),
    ] {
        let run = loadgen("refused-later", line);
        let errors = String::from_utf8_lossy(&run.output.stderr).into_owned();
        assert_eq!(run.output.status.code(), Some(1), "{line}: {errors}");
        assert!(errors.contains(word), "{line}: {errors}");
    }
}

#[test]
fn a_run_tells_when_it_may_have_measured_itself() {
    let fake = server(Every::default());
    // Far more than one thread can send.
    let url = fake.url();
    let line = format!("ingest --url {url} --rate 5000000 --duration 200ms --warmup 0s");
    let run = loadgen("limit", &line).passes();
    assert!(run.results()["generator"]["busiest"].as_f64() > Some(0.0), "{}", run.results());
    let line = format!("ingest --url {url} --connections 1 --rate 5 --duration 200ms --warmup 0s");
    let run = loadgen("no-limit", &line).passes();
    assert!(run.results()["generator"]["busiest"].as_f64() < Some(0.9), "{}", run.results());
}
