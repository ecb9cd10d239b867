//! `loadgen compare`.

use std::process::Command;

use testkit::Every;

use super::{file, loadgen, newest, path, server};

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
    assert_eq!(run.results()["counts"]["a_rates_per_s"].as_array().map(Vec::len), Some(3));
    assert!(run.results()["counts"]["ratio"].as_f64() > Some(0.0));
    assert!(newest(&a) > 0 && newest(&b) > 0);
    let html = file("compare.html");
    let output = Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .arg("report")
        .args([path("compare.json"), path("compare.json")])
        .arg("--html")
        .arg(&html)
        .output()
        .expect("the program runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let page = std::fs::read_to_string(html).expect("a page");
    // Each side has its curve of latencies, a line for each run, and nothing comes from elsewhere.
    assert_eq!(page.matches("<figcaption>Latency by percentile").count(), 2);
    assert!(page.matches("<polyline").count() >= 4, "{page}");
    assert!(!page.contains("src=") && !page.contains("href=") && !page.contains("url("));
    let run = loadgen("compare-fails", &format!("{line} --ratio-min 1000"));
    assert_eq!(run.output.status.code(), Some(1));
}

#[test]
fn each_turn_is_read_back() {
    let (a, b) = (server(Every::default()), server(Every { lose: 20, ..Every::default() }));
    let line = |verify: &str| {
        format!(
            "compare --url {} --url-b {} --path-b /changes --connections 4 --slices 2 --slice 50ms \
             --warmup 10ms {verify}",
            a.url(),
            b.url()
        )
    };
    // The second loses changes, but only the first is asked.
    let run = loadgen("compare-verify", &line("--verify")).passes();
    assert_eq!(run.number("/verification/found"), newest(&a));
    let run = loadgen("compare-verify-b", &line("--verify --verify-b"));
    assert_eq!(run.output.status.code(), Some(1));
    assert!(run.number("/verification/violations/altered") > 0, "{}", run.results());
    // The turns of both runs and of both servers, each read back once.
    let twice = run.number("/verification/acknowledged") + newest(&a);
    assert!(twice > newest(&b), "{}", run.results());
}
