//! Settings: flags win over the environment, the environment over the file, the
//! file over the defaults.

use std::fs;

use testkit::{Node, NodeBuilder, SHORT_SEGMENTS, temporary};

/// The limit of `data` that a node keeps to, found by trying.
fn data_limit(node: &Node) -> usize {
    let mut client = node.client();
    let problem =
        client.post(format!("{{\"data\":\"{}\"}}", "x".repeat(10_000))).problem(413, "too-large");
    let detail = problem["detail"].as_str().unwrap().to_owned();
    detail.rsplit("limit of ").next().unwrap().split(' ').next().unwrap().parse().unwrap()
}

#[test]
fn a_flag_wins_over_the_environment_and_that_over_the_file() {
    let directory = temporary();
    let file = directory.path().join("node.toml");
    let text =
        "max-data = \"1KiB\"\nsegment-size = \"2MiB\"\nmax-body = \"1MiB\"\nmax-batch = 1000\n";
    fs::write(&file, text).unwrap();
    let file = file.to_str().unwrap();
    let data = directory.path().join("data");
    let builder = || NodeBuilder::bare(&directory, &data).flags(&["--config", file]);
    assert_eq!(data_limit(&builder().start()), 1024);
    let builder = || builder().environment("CHANGEAGENT_MAX_DATA", "2KiB");
    assert_eq!(data_limit(&builder().start()), 2048);
    let builder = || builder().flags(&["--max-data", "4KiB"]);
    assert_eq!(data_limit(&builder().start()), 4096);
}

#[test]
fn everything_may_come_from_the_environment() {
    let directory = temporary();
    let data = directory.path().join("from-environment");
    let file = directory.path().join("node.toml");
    fs::write(&file, "segment-size = \"2MiB\"\nmax-body = \"1MiB\"\nmax-batch = 1000\n").unwrap();
    let node = NodeBuilder::bare(&directory, &data)
        .without("--listen")
        .environment("CHANGEAGENT_DATA", data.to_str().unwrap())
        .environment("CHANGEAGENT_LISTEN", "127.0.0.1:0")
        .environment("CHANGEAGENT_CONFIG", file.to_str().unwrap())
        .environment("CHANGEAGENT_MAX_DATA", "3KiB")
        .start();
    assert_eq!(data_limit(&node), 3072);
    assert!(data.is_dir());
}

#[test]
fn everything_may_come_from_the_file() {
    let directory = temporary();
    let data = directory.path().join("data");
    let file = directory.path().join("node.toml");
    let text = "listen = \"127.0.0.1:0\"\ncores = 2\nsegment-size = \"2MiB\"\nmax-head = \"1KiB\"\n\
                max-body = \"8KiB\"\nmax-data = \"4KiB\"\nmax-batch = 2\nmax-depth = 3\n\
                max-connections = 5\nhead-timeout = \"10s\"\nbody-timeout = \"10s\"\n\
                idle-timeout = \"1m 30s\"\nwrite-timeout = \"10s\"\n";
    fs::write(&file, text).unwrap();
    let node = NodeBuilder::bare(&directory, &data)
        .without("--listen")
        .flags(&["--config", file.to_str().unwrap()])
        .start();
    let mut client = node.client();
    client.post(r#"{"data":[[[[]]]]}"#).problem(400, "invalid-json");
    client.post(r#"[{"data":1},{"data":2},{"data":3}]"#).problem(413, "too-large");
    client.post(format!("{{\"data\":\"{}\"}}", "x".repeat(5000))).problem(413, "too-large");
    assert_eq!(client.append(r#"{"data":[[[]]]}"#), 1);
    client.post(" ".repeat(9000)).problem(413, "too-large");
    let headers = [("X", "x".repeat(2000))];
    let headers = [(headers[0].0, headers[0].1.as_str())];
    node.client().request("GET", "/", &headers, b"").problem(431, "headers-too-large");
    node.holds(1);
}

#[test]
fn serve_is_what_happens_without_a_command() {
    let directory = temporary();
    let data = directory.path().join("data");
    let node = NodeBuilder::bare(&directory, &data).command("serve").start();
    node.holds(0);
}

#[test]
fn any_number_of_cores_serves_the_same_list() {
    for cores in ["1", "2", "3"] {
        let node = Node::with(&["--cores", cores]);
        // The kernel spreads connections over the cores.
        let mut clients: Vec<_> = (0..12).map(|_| node.client()).collect();
        for (id, client) in (1..).zip(&mut clients) {
            assert_eq!(client.append(format!("{{\"data\":{id}}}")), id, "cores {cores}");
        }
        for client in &mut clients {
            assert_eq!(client.list("")["last"], 12, "cores {cores}");
            client.send_request("GET", "/changes?since=12&block=60", &[], b"");
        }
        node.client().append(r#"{"data":"all"}"#);
        for client in &mut clients {
            assert_eq!(client.answer().json()["last"], 13, "cores {cores}");
        }
        node.stop().start().holds(13);
    }
}

#[test]
fn help_and_version_are_told() {
    for (flag, word) in [("--help", "--segment-size"), ("--version", env!("CARGO_PKG_VERSION"))] {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_changeagent"))
            .arg(flag)
            .output()
            .unwrap();
        assert!(output.status.success());
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains(word), "{text}");
    }
}

#[test]
fn a_cache_shows_no_setting_of_a_cluster_and_takes_none() {
    let program = || std::process::Command::new(env!("CARGO_BIN_EXE_changeagent"));
    let shown = |command: &str| {
        let output = program().args([command, "--help"]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let (of_node, of_cache) = (shown("serve"), shown("cache"));
    for (flag, value) in [
        ("cluster-listen", "127.0.0.1:0"),
        ("cluster-advertise", "a:1"),
        ("join", "a:1"),
        ("role", "voter"),
        ("heartbeat", "1s"),
        ("election-timeout", "9s"),
        ("cluster-tls-cert", "a"),
        ("cluster-tls-key", "a"),
        ("cluster-tls-ca", "a"),
        ("cluster-tls-name", "a"),
        ("cluster-tls-optional", "true"),
    ] {
        let flag = format!("--{flag}");
        assert!(of_node.contains(&flag) && !of_cache.contains(&flag), "{flag}");
        let given = format!("{flag}={value}");
        let output = program().args(["cache", "--of", "http://127.0.0.1:1", &given]).output();
        let output = output.unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        let want = format!("a cache belongs to no cluster: no {}", &flag[2..]);
        assert!(output.status.code() == Some(2) && said.contains(&want), "{said}");
    }
    assert!(of_cache.contains("--max-stale") && of_cache.contains("--segment-size"));
}

#[test]
fn larger_limits_after_a_restart_are_kept_at_once() {
    let node = NodeBuilder::new().flags(&SHORT_SEGMENTS).start();
    node.client().append(r#"{"data":"before"}"#);
    let large = ["--segment-size", "2MiB", "--max-body", "1MiB", "--max-data", "1MiB"];
    let node = node.stop().flags(&large).start();
    // More than a segment of the first size holds.
    let data = "x".repeat(900_000);
    assert_eq!(node.client().append(format!("{{\"data\":\"{data}\"}}")), 2);
    node.holds(2);
}

/// The lines that a node logged, which must each be an object.
fn objects(node: &Node) -> Vec<serde_json::Value> {
    let text = node.stderr();
    let lines =
        text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}")));
    lines.collect()
}

#[test]
fn the_log_is_written_as_json_where_that_is_asked_for() {
    let directory = temporary();
    let file = directory.path().join("node.toml");
    fs::write(&file, "log-format = \"json\"\n").unwrap();
    let builder = |name: &str| NodeBuilder::bare(&directory, &directory.path().join(name));
    for node in [
        builder("a").flags(&["--log-format", "json"]).start(),
        builder("b").environment("CHANGEAGENT_LOG_FORMAT", "json").start(),
        builder("c").flags(&["--config", file.to_str().unwrap()]).start(),
    ] {
        let logged = objects(&node);
        let said = |text: &str| {
            let line = logged.iter().find(|line| line["message"] == text);
            line.unwrap_or_else(|| panic!("{text} is not in {logged:?}"))
        };
        assert_eq!(said("log recovered")["last"], 0);
        let started = said("node started");
        assert!(started["cores"].as_u64().is_some_and(|cores| cores >= 1), "{started}");
        assert_eq!(started["address"], node.address().to_string());
        assert_eq!(started["level"], "INFO");
        assert!(started["timestamp"].as_str().unwrap().ends_with('Z'), "{started}");
    }
    let text = builder("d").flags(&["--log-format", "text"]).start();
    assert!(text.stderr().contains(" INFO "), "{}", text.stderr());
}
