//! `loadgen ingest`.

use std::process::{Command, Stdio};

use testkit::{Every, Fake};

use super::{file, loadgen, newest, preload, server};

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
    assert!(run.of("append", "/requests") > 0);
    assert_eq!(run.operation("append")["errors"], serde_json::json!({}));
    assert_eq!(run.number("/verification/found"), run.number("/verification/acknowledged"));
    assert_eq!(run.number("/verification/acknowledged"), newest(&fake) - 3);
    assert!(run.of("append", "/latency/count") > 0);
    assert!(run.results()["generator"]["cpu_s"].as_f64() > Some(0.0));
    let curve = run.operation("append")["curve"].as_array().map_or(0, Vec::len);
    assert!(curve > 5, "{}", run.results());
    assert_eq!(run.report["tool"], "loadgen");
    assert_eq!(run.report["settings"]["connections"], 8);
    assert_eq!(run.report["settings"]["duration_s"], 0.3);
}

#[test]
fn several_servers_share_one_load() {
    let fake = server(Every::default());
    let other = fake.beside();
    let urls = format!("--url {} --url {}", fake.url(), other.url());
    let line = format!("ingest {urls} --connections 3 --duration 200ms --warmup 0s --verify");
    let run = loadgen("several-ingest", &line).passes();
    assert!(run.number("/verification/found") > 3, "{}", run.results());
    drop(loadgen("several-read", &format!("read {urls} --duration 100ms --warmup 0s")).passes());
    let [one, two] = [&fake, &other].map(Fake::served);
    assert!(one > 3 && two > 3, "{one} and {two}");
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
        assert!(
            run.operation("append")["errors"][code].as_u64() > Some(0),
            "{code}: {}",
            run.results()
        );
    }
    let unknown_found = run.number("/verification/unknown_found");
    assert!(unknown_found > 0 && unknown_found < run.number("/verification/unknown"));
    assert_eq!(run.number("/verification/found") + unknown_found, newest(&fake));
}

#[test]
fn a_server_that_refuses_is_not_hammered() {
    let fake = server(Every { busy: 1, ..Every::default() });
    let line = format!("ingest --url {} --connections 2 --duration 500ms --warmup 0s", fake.url());
    let run = loadgen("refuses", &line).passes();
    assert_eq!(run.of("append", "/requests"), 0);
    // Pauses double from 10 ms on, so half a second has room for six tries of a connection.
    let refusals = run.operation("append")["errors"]["503 overloaded"].as_u64().unwrap_or_default();
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
    assert!(run.number("/verification/violations/altered") > 0);
}

#[test]
fn an_open_loop_sends_what_is_due() {
    let hdr = file("rate.hlog");
    let fake = server(Every::default());
    let line = format!(
        "ingest --url {} --connections 16 --rate 200 --duration 500ms --warmup 100ms --hdr {}",
        fake.url(),
        hdr.display()
    );
    let run = loadgen("rate", &line).passes();
    // Every request that was due in the half second has a latency, early or late.
    let latencies = run.of("append", "/latency/count");
    assert_eq!(latencies + run.of("append", "/never_sent"), 100);
    // Those for which a connection was free tell how late they were sent.
    let sent_late = run.number("/generator/lateness/count");
    assert!(sent_late > 0 && sent_late <= latencies, "{}", run.results());
    let log = std::fs::read_to_string(hdr).expect("a log");
    assert!(log.contains("Tag=append,0.000,0.500,"), "{log}");
}

#[test]
fn a_status_can_be_demanded() {
    let fake = server(Every::default());
    let line = format!(
        "ingest --url {} --connections 2 --duration 100ms --warmup 0s --expect-status 204",
        fake.url()
    );
    let run = loadgen("status", &line).passes();
    assert_eq!(run.of("append", "/requests"), 0);
    assert!(run.operation("append")["errors"]["status 201"].as_u64() > Some(0));
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
fn the_highest_rate_below_a_p99_is_searched_for() {
    let fake = server(Every::default());
    let line = format!(
        "ingest --url {} --connections 1 --rate 300 --find-rate --duration 100ms --warmup 0s \
         --verify --quiet",
        fake.url()
    );
    let run = loadgen("find-rate", &format!("{line} --p99 60s")).passes();
    let steps = run.results()["steps"].as_array().expect("steps");
    // One connection must fall behind at some rate, however fast the server is.
    assert_eq!(steps.last().map(|step| step["rate"].as_f64() > Some(300.0)), Some(true));
    assert!(steps.iter().any(|step| step["sustained"] == false), "{steps:?}");
    assert!(run.results()["counts"]["rate_max"].as_f64() >= Some(300.0), "{steps:?}");
    assert_eq!(run.number("/verification/found"), newest(&fake));
    // No answer comes within a nanosecond.
    let run = loadgen("find-rate-fails", &format!("{line} --p99 1ns"));
    assert_eq!(run.output.status.code(), Some(1), "{}", run.results());
    assert_eq!(run.results()["counts"]["rate_max"], serde_json::Value::Null);
}
