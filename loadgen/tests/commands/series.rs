//! Commands that measure again and again: while a server grows, beside other work, and beside other servers.

use testkit::Node;

use super::{file, loadgen, path};

#[test]
fn a_server_is_measured_while_it_grows() {
    let node = Node::start();
    let line = format!(
        "growth --url {} --sizes 0,2000 --tenants 1,30 --connections 4 --slice 50ms --warmup 10ms --verify --quiet",
        node.url()
    );
    let run = loadgen("growth", &line).passes();
    for point in ["0 changes", "2000 changes", "1 tenants", "30 tenants"] {
        for kind in ["append", "read 100", "tenant read"] {
            let operation = run.operation(&format!("{kind} at {point}"));
            assert!(operation["requests"].as_u64() > Some(0), "{kind} at {point}");
            assert_eq!(operation["errors"], serde_json::json!({}), "{kind} at {point}");
        }
    }
    let flat = run.results()["counts"]["append, lowest to highest rate"].as_f64();
    assert!(flat > Some(0.0) && flat <= Some(1.0), "{flat:?}");
    assert!(run.number("/verification/found") > 0, "{}", run.results());
    assert!(node.client().list("?since=now")["last"].as_u64() > Some(2_000));
}

#[test]
fn appends_are_measured_alone_and_beside_other_work() {
    let node = Node::start();
    let data = node.data();
    let common = format!(
        "beside --url {} --connections 4 --fill 1000 --duration 200ms --warmup 20ms --verify --quiet",
        node.url()
    );
    let with = "--with mixed --rate 200 --readers 2 --read-rate 50 --tenants 10 --tenants-rate 100";
    let run = loadgen("beside-mixed", &format!("{common} {with}")).passes();
    for part in ["append alone", "append beside", "read beside", "tenant arrival beside"] {
        assert!(run.of(part, "/requests") > 0, "{part}: {}", run.results());
    }
    assert_eq!(run.number("/verification/found"), run.number("/verification/acknowledged"));
    let with = format!("--with catch-up --readers 2 --cold {}", data.display());
    let run = loadgen("beside-catch-up", &format!("{common} {with}")).passes();
    // Without a rate it is half of what a closed loop reaches.
    assert!(run.results()["counts"]["rate"].as_f64() > Some(0.0), "{}", run.results());
    assert!(run.of("read beside", "/changes") >= 1_000, "{}", run.results());
    // No p99 is a millionth of another.
    let with = "--with catch-up --rate 100 --ratio-max 0.000001";
    let run = loadgen("beside-fails", &format!("{common} {with}"));
    assert_eq!(run.output.status.code(), Some(1), "{}", run.stdout());
}

#[test]
fn servers_that_are_installed_are_set_side_by_side() {
    let docs = file("peers.md");
    let directory = path("peers");
    std::fs::create_dir_all(&directory).expect("a directory");
    let mark = |what| format!("<!-- loadgen peers: {what} -->");
    let text = format!("before\n{}\nold\n{}\nbehind\n", mark("begin"), mark("end"));
    std::fs::write(&docs, text).expect("written");
    let program = testkit::executable();
    let line = format!(
        "peers --program {} --directory {} --docs {} --works append,batch,read,wait --connections 1,4 \
         --records 1000 --waiters 20 --slices 1 --slice 50ms --warmup 10ms --quiet",
        program.display(),
        directory.display(),
        docs.display()
    );
    let run = loadgen("peers", &line).passes();
    let named = |list: &str| run.results()["counts"][list].as_array().map_or(0, Vec::len);
    // Who is not installed is named.
    assert_eq!(named("peers") + named("skipped"), 4, "{}", run.results());
    let works =
        ["append, c=1", "append, c=4", "append many, c=4", "read 100, c=64", "last of 20 who wait"];
    let requests =
        works.map(|work| run.operation(&format!("{work}: ChangeAgent"))["requests"].as_u64());
    // On a busy machine a request may take longer than one of these short turns, but not than all.
    assert!(requests.iter().all(Option::is_some), "{requests:?}");
    assert!(requests.iter().flatten().sum::<u64>() > 0, "{requests:?}");
    for operation in run.results()["operations"].as_array().expect("operations") {
        assert_eq!(operation["errors"], serde_json::json!({}), "{operation}");
    }
    assert_eq!(run.number("/verification/found"), run.number("/verification/acknowledged"));
    assert_eq!(run.count("missing"), 0, "{}", run.results());
    let written = std::fs::read_to_string(&docs).expect("a page");
    assert!(written.starts_with("before\n") && written.ends_with("\nbehind\n"), "{written}");
    assert!(written.contains("| append, c=1 | ChangeAgent |") && !written.contains("old"));
    let plot = std::fs::read_to_string(docs.with_file_name("peers.svg")).expect("a plot");
    assert!(plot.contains("<svg") && plot.contains("class=\"own\""), "{plot}");
    // Nothing stays behind.
    assert_eq!(std::fs::read_dir(directory).expect("a directory").count(), 0);
}

#[test]
fn three_nodes_lead_and_follow() {
    let line = format!(
        "peers --peers changeagent --program {} --works cluster --connections 4 --slices 1 --slice 50ms \
         --warmup 10ms --quiet",
        testkit::executable().display()
    );
    let run = loadgen("peers-cluster", &line).passes();
    let row = "append at three nodes, c=4: ChangeAgent, 3 nodes";
    assert!(run.of(row, "/requests") > 0, "{}", run.results());
    assert_eq!(run.number("/verification/found"), run.number("/verification/acknowledged"));
}

#[test]
fn a_comparison_without_anybody_says_who_is_missing() {
    let line = "peers --peers changeagent --program /nowhere/changeagent --quiet";
    let run = loadgen("peers-nobody", line);
    assert_eq!(run.output.status.code(), Some(1));
    let errors = String::from_utf8_lossy(&run.output.stderr).into_owned();
    assert!(errors.contains("nobody takes part: ChangeAgent is not installed"), "{errors}");
    let docs = file("unmarked.md");
    std::fs::write(&docs, "no marks").expect("written");
    let run = loadgen("peers-unmarked", &format!("peers --docs {} --quiet", docs.display()));
    assert_eq!(run.output.status.code(), Some(1));
    let errors = String::from_utf8_lossy(&run.output.stderr).into_owned();
    assert!(errors.contains("has no lines <!-- loadgen peers: begin -->"), "{errors}");
}
