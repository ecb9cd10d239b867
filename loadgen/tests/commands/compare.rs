//! `loadgen compare`.

use testkit::Every;

use super::{loadgen, newest, server};

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
    let run = loadgen("compare-fails", &format!("{line} --ratio-min 1000"));
    assert_eq!(run.output.status.code(), Some(1));
}
