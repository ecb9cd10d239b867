//! The program against a small server in this process: every command, and runs that must fail.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

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

    fn count(&self, pointer: &str) -> u64 {
        self.results().pointer(pointer).and_then(Value::as_u64).unwrap_or_default()
    }

    fn passes(self) -> Self {
        let errors = String::from_utf8_lossy(&self.output.stderr);
        assert!(self.output.status.success(), "{}\n{errors}", self.stdout());
        self
    }
}

/// Runs the program with a report file of its own.
fn loadgen(name: &str, line: &str) -> Run {
    let json = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.json"));
    let _ = std::fs::remove_file(&json);
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
fn a_clean_ingest_is_verified() {
    let fake = server(Every::default());
    preload(&fake, 3);
    let line = format!(
        "ingest --url {} --connections 8 --threads 2 --duration 300ms --warmup 50ms --size 100 \
         --verify",
        fake.url()
    );
    let run = loadgen("clean", &line).passes();
    assert!(run.stdout().contains("verify: passed"), "{}", run.stdout());
    assert!(run.count("/requests") > 0);
    assert_eq!(run.results()["errors"], serde_json::json!({}));
    assert_eq!(run.count("/verification/found"), run.count("/verification/acknowledged"));
    assert_eq!(run.count("/verification/acknowledged"), newest(&fake) - 3);
    assert!(run.count("/latency/count") > 0);
    assert_eq!(run.report["tool"], "loadgen");
    assert_eq!(run.report["settings"]["connections"], 8);
    assert_eq!(run.report["settings"]["duration_s"], 0.3);
}

#[test]
fn errors_are_counted_and_leave_changes_of_unknown_outcome() {
    let every = Every { busy: 7, doubt: 11, hang_up: 13, lose: 0 };
    let fake = Fake::for_load(every, true);
    let line = format!(
        "ingest --url {} --connections 4 --batch 5 --duration 400ms --warmup 0s --verify --tag a",
        fake.url()
    );
    let run = loadgen("errors", &line).passes();
    for code in ["503 overloaded", "504 unknown-outcome", "connection closed by the server"] {
        assert!(run.results()["errors"][code].as_u64() > Some(0), "{code}: {}", run.results());
    }
    let unknown_found = run.count("/verification/unknown_found");
    assert!(unknown_found > 0 && unknown_found < run.count("/verification/unknown"));
    assert_eq!(run.count("/verification/found") + unknown_found, newest(&fake));
}

#[test]
fn a_server_that_refuses_is_not_hammered() {
    let fake = server(Every { busy: 1, ..Every::default() });
    let line = format!("ingest --url {} --connections 2 --duration 500ms --warmup 0s", fake.url());
    let run = loadgen("refuses", &line).passes();
    assert_eq!(run.count("/requests"), 0);
    // Pauses double from 10 ms on, so half a second has room for six tries of a connection.
    let refusals = run.results()["errors"]["503 overloaded"].as_u64().unwrap_or_default();
    assert!((2..=14).contains(&refusals), "{refusals}");
}

#[test]
fn a_server_that_loses_changes_is_found_out() {
    let fake = server(Every { lose: 20, ..Every::default() });
    let line = format!(
        "ingest --url {} --connections 4 --duration 300ms --warmup 0s --verify",
        fake.url()
    );
    let run = loadgen("loses", &line);
    assert_eq!(run.output.status.code(), Some(1));
    assert!(run.stdout().contains("verify: FAILED: Altered"), "{}", run.stdout());
    assert_eq!(run.results()["verification"]["passed"], false);
    assert!(run.count("/verification/violations/altered") > 0);
}

#[test]
fn an_open_loop_sends_what_is_due() {
    let fake = server(Every::default());
    let line = format!(
        "ingest --url {} --connections 16 --rate 200 --duration 500ms --warmup 100ms",
        fake.url()
    );
    let run = loadgen("rate", &line).passes();
    // Every request that was due in the half second has a latency, early or late.
    assert_eq!(run.count("/latency/count") + run.count("/never_sent"), 100);
}

#[test]
fn a_status_can_be_demanded() {
    let fake = server(Every::default());
    let line = format!(
        "ingest --url {} --connections 2 --duration 100ms --warmup 0s --expect-status 204",
        fake.url()
    );
    let run = loadgen("status", &line).passes();
    assert_eq!(run.count("/requests"), 0);
    assert!(run.results()["errors"]["status 201"].as_u64() > Some(0));
}

#[test]
fn lists_are_read_in_pages_and_at_random() {
    for chunked in [false, true] {
        let fake = Fake::for_load(Every::default(), chunked);
        preload(&fake, 250);
        for mode in ["", "--since-random"] {
            let line = format!(
                "read --url {} --connections 3 --limit 100 --duration 200ms --warmup 0s {mode}",
                fake.url()
            );
            let run = loadgen(&format!("read-{chunked}{mode}"), &line).passes();
            let (requests, changes) = (run.count("/requests"), run.count("/changes"));
            assert_eq!(run.results()["errors"], serde_json::json!({}));
            assert!(requests > 3, "{}", run.results());
            // Three pages hold 100, 100 and 50 changes; at random none is empty.
            assert!(changes > requests && changes <= requests * 100, "{}", run.results());
        }
    }
}

#[test]
fn parked_polls_are_all_answered_by_one_append() {
    let fake = server(Every::default());
    preload(&fake, 1);
    let line =
        format!("wait --url {} --connections 40 --threads 2 --rounds 3 --settle 100ms", fake.url());
    let run = loadgen("wait", &line).passes();
    assert_eq!(run.count("/rounds"), 3);
    assert_eq!(run.count("/parked_min"), 40);
    assert_eq!(run.count("/answers_missing"), 0);
    assert_eq!(run.count("/append_to_answer/count"), 120);
    assert_eq!(run.count("/append_to_last_answer/count"), 3);
    assert_eq!(newest(&fake), 4);
}

#[test]
fn two_servers_are_compared_in_turns() {
    let (a, b) = (server(Every::default()), server(Every::default()));
    let line = format!(
        "compare --url {} --url-b {} --path-b /other --connections 4 --slices 3 --slice 50ms \
         --warmup 10ms",
        a.url(),
        b.url()
    );
    let run = loadgen("compare", &line).passes();
    assert_eq!(run.results()["a"]["rates"].as_array().map(Vec::len), Some(3));
    assert!(run.results()["ratio"].as_f64() > Some(0.0));
    assert!(newest(&a) > 0 && newest(&b) > 0);
    let run = loadgen("compare-fails", &format!("{line} --ratio-min 1000"));
    assert_eq!(run.output.status.code(), Some(1));
}

#[test]
fn an_interrupted_run_ends_early_with_its_report() {
    let fake = server(Every::default());
    let child = Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .args(["ingest", "--url", fake.url(), "--duration", "1h", "--warmup", "0s", "--verify"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program runs");
    while newest(&fake) < 100 {
        std::thread::yield_now();
    }
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(killed.expect("kill runs").success());
    let output = child.wait_with_output().expect("the program ends");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("verify: passed"), "{text}");
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
fn a_fill_creates_everything_once_or_says_that_it_did_not() {
    let line = "--connections 4 --threads 2 --tenants 7 --collections 2 --keys 25 --batch 10";
    let fake = server(Every::default());
    let run = loadgen("fill", &format!("fill --url {} {line}", fake.url())).passes();
    assert_eq!(fake.created(), [7, 2, 25]);
    for (n, count) in [7, 2, 25].into_iter().enumerate() {
        assert_eq!(run.count(&format!("/stages/{n}/1/created")), count);
    }
    let fake = server(Every { busy: 8, ..Every::default() });
    let run = loadgen("fill-refused", &format!("fill --url {} {line}", fake.url()));
    assert!(!run.output.status.success(), "{}", run.stdout());
    assert_eq!(fake.created(), [7, 1, 0], "keys have nothing to be in");
}
