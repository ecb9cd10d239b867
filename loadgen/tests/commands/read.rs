//! `loadgen read`.

use testkit::{Every, Fake};

use super::{loadgen, preload, server};

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
            let (requests, changes) = (run.of("read", "/requests"), run.of("read", "/changes"));
            assert_eq!(run.operation("read")["errors"], serde_json::json!({}));
            assert!(requests > 3, "{}", run.results());
            // Three pages hold 100, 100 and 50 changes; at random none is empty.
            assert!(changes > requests && changes <= requests * 100, "{}", run.results());
        }
    }
}

#[test]
fn pages_are_held_against_what_the_list_promises() {
    let fake = server(Every::default());
    preload(&fake, 5);
    let ingest = |fake: &Fake| {
        let line = format!("ingest --url {} --duration 50ms --warmup 0s", fake.url());
        drop(loadgen("read-ingest", &line).passes());
    };
    ingest(&fake);
    let read = |fake: &Fake, name| {
        let url = fake.url();
        let line = format!("read --url {url} --limit 100 --duration 200ms --warmup 0s --verify");
        loadgen(name, &line)
    };
    let run = read(&fake, "read-verify").passes();
    let verified = |name: &str| run.number(&format!("/verification/{name}"));
    assert!(verified("found") > 0 && verified("foreign") >= 5, "{}", run.results());
    assert_eq!(verified("found") + verified("foreign"), verified("changes_read"));
    let wrong = r#"{"run":"00000000000000ab","worker":"0001","seq":"00000001","pad":"wrong"}"#;
    fake.preload([format!(r#"{{"data":{wrong}}}"#)]);
    let run = read(&fake, "read-altered");
    assert_eq!(run.output.status.code(), Some(1), "{}", run.stdout());
    assert!(run.number("/verification/violations/altered") > 0, "{}", run.results());
}

#[test]
fn the_highest_rate_of_pages_is_searched_for() {
    let fake = server(Every::default());
    preload(&fake, 50);
    let line = format!(
        "read --url {} --connections 1 --limit 10 --rate 300 --find-rate --p99 60s \
         --duration 60ms --warmup 0s --verify --quiet",
        fake.url()
    );
    let run = loadgen("read-find-rate", &line).passes();
    // How high depends on the machine.
    assert!(run.results()["counts"]["rate_max"].as_f64() >= Some(1.0), "{}", run.results());
    assert!(run.results()["steps"].as_array().is_some_and(|steps| steps.len() > 1));
    assert!(run.number("/verification/changes_read") > 10, "{}", run.results());
}
