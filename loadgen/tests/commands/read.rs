//! `loadgen read`.

use testkit::{Every, Fake};

use super::{loadgen, preload};

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
