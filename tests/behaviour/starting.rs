//! Starts that cannot be: one line says what and where, the exit code is 1, and
//! nothing on disk has changed.

use std::{fs, net::TcpListener, path::PathBuf};

use testkit::{Failed, Node, NodeBuilder, SHORT_SEGMENTS, files, temporary};

const BLOCK: usize = 4096;

/// Starts a node that must fail and leave its directory as it was.
fn fails_unchanged(builder: &NodeBuilder, data: &std::path::Path) -> Failed {
    let before = files(data);
    let failed = builder.fails();
    let after = files(data);
    let changed: Vec<_> = before
        .keys()
        .chain(after.keys())
        // The lock file names its last holder, for whoever finds it locked.
        .filter(|path| !path.ends_with("LOCK") && before.get(*path) != after.get(*path))
        .collect();
    assert!(changed.is_empty(), "changed: {changed:?}");
    failed
}

/// The segments of a data directory, oldest first.
fn segments(data: &std::path::Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = files(data)
        .into_iter()
        .filter(|(_, bytes)| bytes.starts_with(b"CAGTLOG\n"))
        .map(|(path, _)| path)
        .collect();
    paths.sort();
    paths
}

fn find(bytes: &[u8], text: &str) -> usize {
    bytes.windows(text.len()).position(|window| window == text.as_bytes()).expect("it is there")
}

/// A stopped node that holds `"change 1"` to `"change 20"`, each in a group of
/// its own.
fn written() -> NodeBuilder {
    let node = Node::start();
    let mut client = node.client();
    for n in 1..=20 {
        client.append(format!("{{\"data\":\"change {n}.\"}}"));
    }
    node.stop()
}

#[test]
fn a_data_directory_in_use_is_refused() {
    let node = Node::start();
    node.client().append(r#"{"data":1}"#);
    let directory = temporary();
    let failed = NodeBuilder::bare(&directory, &node.data()).fails();
    failed.says(&["in use", node.data().to_str().unwrap()]);
    node.holds(1);
    assert_eq!(node.client().append(r#"{"data":2}"#), 2);
}

#[test]
fn what_is_logged_to_a_file_has_no_colours() {
    let node = Node::start();
    let said = node.stderr();
    assert!(said.contains("INFO") && !said.contains('\u{1b}'), "{said:?}");
}

#[test]
fn a_port_that_is_taken_is_refused() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let node = Node::start();
    let data = node.data();
    let builder = node.stop().flags(&["--listen", &address]);
    fails_unchanged(&builder, &data).says(&[&address, "in use"]);
}

#[test]
fn the_port_of_another_node_is_refused() {
    let first = Node::start();
    let address = first.address().to_string();
    let node = Node::start();
    let data = node.data();
    let builder = node.stop().flags(&["--listen", &address]);
    fails_unchanged(&builder, &data).says(&[&address]);
    first.holds(0);
}

#[test]
fn an_unreadable_configuration_is_refused() {
    let directory = temporary();
    let data = directory.path().join("data");
    let missing = directory.path().join("none.toml");
    let missing = missing.to_str().unwrap();
    let failed = NodeBuilder::bare(&directory, &data).flags(&["--config", missing]).fails();
    failed.says(&[missing]);
    assert!(!data.exists());
}

#[test]
fn a_wrong_configuration_is_refused_with_its_line() {
    let directory = temporary();
    let data = directory.path().join("data");
    let path = directory.path().join("node.toml");
    for (text, words) in [
        ("max-data = \"1KiB\"\nlisen = \"127.0.0.1:0\"\n", ["lisen", "line 2"]),
        ("cores = \"many\"\n", ["invalid type", "line 1"]),
        ("\n\nidle-timeout = \"soon\"\n", ["node.toml", "line 3"]),
        ("max-data = 1KiB\n", ["node.toml", "line 1"]),
        ("config = \"other.toml\"\n", ["config", "line 1"]),
    ] {
        fs::write(&path, text).unwrap();
        let builder =
            NodeBuilder::bare(&directory, &data).flags(&["--config", path.to_str().unwrap()]);
        let failed = builder.fails();
        failed.says(&words);
        failed.says(&[path.to_str().unwrap()]);
        assert!(!data.exists(), "{text:?}");
    }
}

#[test]
fn settings_that_do_not_fit_each_other_are_refused() {
    let builder = NodeBuilder::new().flags(&["--segment-size", "256KiB"]);
    let data = builder.directory().path().join("data");
    builder.fails().says(&["segment-size"]);
    assert!(!data.exists());
}

#[test]
fn a_file_system_without_direct_io_is_used_through_the_page_cache_and_that_is_said() {
    let directory = temporary();
    let mount = directory.path().join("mount");
    fs::create_dir(&mount).unwrap();
    // A file system in memory, which only the program sees.
    let script = "mount -t ramfs none \"$0\" && exec \"$@\"";
    let place = mount.to_str().unwrap();
    let launcher = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, place];
    let allowed = std::process::Command::new(launcher[0]).args(&launcher[1..]).arg("true").status();
    if !allowed.is_ok_and(|status| status.success()) {
        println!("skipped: mounting is not allowed");
        return;
    }
    let data = mount.join("data");
    for executor in ["auto", "portable"] {
        // Its files go with the process.
        let builder = NodeBuilder::bare(&directory, &data).launcher(&launcher);
        let node = builder.flags(&["--executor", executor]).start();
        assert_eq!(node.client().append(r#"{"data":1}"#), 1);
        node.holds(1);
        let said = node.stderr();
        let lines = said.lines().filter(|line| line.contains("O_DIRECT"));
        let [line] = lines.collect::<Vec<_>>()[..] else { panic!("{said}") };
        assert!(line.contains(data.to_str().unwrap()) && line.contains("O_DSYNC"), "{line}");
        node.stop();
    }
}

#[test]
fn a_start_without_the_memory_for_its_log_ends_with_a_line() {
    let node = Node::with(&["--segment-size", "128MiB"]);
    let data = node.data();
    node.client().append(r#"{"data":1}"#);
    // The first one is short.
    let second = data.join("00000000000000000002.seg");
    testkit::eventually("there is a long one", || second.exists());
    let builder = node.stop();
    let limited = NodeBuilder::bare(builder.directory(), &data)
        .flags(&["--cores", "1"])
        .launcher(&["prlimit", "--as=200000000"]);
    fails_unchanged(&limited, &data).says(&["memory", ".seg"]);
    builder.start().holds(1);
}

#[test]
fn a_data_directory_that_is_a_file_is_refused() {
    let directory = temporary();
    let data = directory.path().join("data");
    fs::write(&data, "x").unwrap();
    NodeBuilder::bare(&directory, &data).fails().says(&[data.to_str().unwrap()]);
    assert_eq!(fs::read(&data).unwrap(), b"x");
}

#[test]
fn what_other_machines_reach_needs_tls_and_a_token_or_the_word() {
    let directory = temporary();
    let place = |name: &str| directory.path().join(name).display().to_string();
    let made = place("tls");
    testkit::run("", &["tls", "self-signed", "--out", &made, "--name", "127.0.0.1"]).ok();
    fs::write(place("token"), "0123456789abcdef0123456789abcdef\n").unwrap();
    let [certificate, key, ca] =
        ["cert", "key", "ca"].map(|name| place(&format!("tls/{name}.pem")));
    let token = ["--root-token-file", &*place("token")].map(ToOwned::to_owned);
    let clients = ["--tls-cert", &certificate, "--tls-key", &key].map(ToOwned::to_owned);
    let nodes = [
        ["--cluster-tls-cert", &*certificate, "--cluster-tls-key", &*key].map(ToOwned::to_owned),
        ["--cluster-tls-ca", &*ca, "--cluster-advertise", "127.0.0.1:1"].map(ToOwned::to_owned),
    ]
    .concat();
    let builder = |flags: &[&[String]]| {
        let flags = flags.concat();
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        NodeBuilder::new().flags(&["--listen", "0.0.0.0:0"]).flags(&flags)
    };
    builder(&[]).fails().says(&["listen 0.0.0.0:0", "--root-token-file", "tls self-signed"]);
    builder(&[]).fails().says(&["--name NAME-THAT-CLIENTS-USE", "(umask 077; head -c 32"]);
    builder(&[&clients]).fails().says(&["listen 0.0.0.0:0", "--root-token-file", "--insecure"]);
    builder(&[&token]).fails().says(&["--tls-cert tls/cert.pem --tls-key tls/key.pem"]);
    builder(&[&token, &clients]).start().stop();
    builder(&[]).environment("CHANGEAGENT_INSECURE", "true").start().stop();

    let member = |flags: &[&[String]]| {
        let ports = ["--listen", "127.0.0.1:0", "--cluster-listen", "0.0.0.0:0"];
        builder(flags).flags(&ports).flags(&["--cluster-advertise", "127.0.0.1:1"])
    };
    member(&[&token]).fails().says(&["cluster-listen 0.0.0.0:0", "--cluster-tls-ca tls/ca.pem"]);
    member(&[&token]).fails().says(&["one pair for all nodes: ", "HOST3, copied to each"]);
    member(&[&nodes]).fails().says(&["cluster-listen 0.0.0.0:0", "--root-token-file"]);
    member(&[&token, &nodes]).environment("CHANGEAGENT_CLUSTER_TLS_OPTIONAL", "true").fails().says(
        &[
            "cluster-listen 0.0.0.0:0",
            "--cluster-tls-optional lets nodes speak plainly: leave it out",
        ],
    );
    member(&[&token, &nodes]).start().stop();
}

#[test]
fn wrong_usage_ends_with_code_2() {
    for flags in [
        &["--no-such-flag", "1"][..],
        &["--max-body", "lots"],
        &["--head-timeout", "0s"],
        &["--listen", "nowhere"],
        &["--cores", "-1"],
        &["dance", "--data"],
    ] {
        let builder = NodeBuilder::new().without("--max-body").without("--listen").flags(flags);
        let data = builder.directory().path().join("data");
        let failed = builder.fails();
        assert_eq!(failed.status.code(), Some(2), "{flags:?}: {failed:?}");
        assert!(!failed.stderr.is_empty());
        assert!(!data.exists());
    }
}

#[test]
fn damage_before_the_tail_is_refused_with_file_and_offset() {
    let builder = written();
    let data = builder.directory().path().join("data");
    let segment = segments(&data).remove(0);
    let whole = fs::read(&segment).unwrap();
    for (what, at) in [
        ("a change", find(&whole, "change 3.")),
        ("the head of a group", find(&whole, "change 3.") / BLOCK * BLOCK + 5),
    ] {
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        fs::write(&segment, &damaged).unwrap();
        let failed = fails_unchanged(&builder, &data);
        let offset = at / BLOCK * BLOCK;
        let name = segment.file_name().unwrap().to_str().unwrap();
        assert_eq!(failed.status.code(), Some(1), "{what}");
        failed.says(&["damaged", name, &offset.to_string()]);
    }
    fs::write(&segment, &whole).unwrap();
    builder.start().holds(20);
}

#[test]
fn a_damaged_header_is_refused_with_its_file() {
    let builder = written();
    let data = builder.directory().path().join("data");
    let segment = segments(&data).remove(0);
    let mut bytes = fs::read(&segment).unwrap();
    bytes[40] ^= 1;
    fs::write(&segment, &bytes).unwrap();
    let name = segment.file_name().unwrap().to_str().unwrap().to_owned();
    fails_unchanged(&builder, &data).says(&["damaged", &name]);
}

#[test]
fn a_missing_segment_is_refused() {
    let node = NodeBuilder::new().flags(&SHORT_SEGMENTS).start();
    let mut client = node.client();
    for _ in 0..60 {
        client.append(format!("{{\"data\":\"{}\"}}", "x".repeat(20_000)));
    }
    let data = node.data();
    let builder = node.stop();
    let all = segments(&data);
    assert!(all.len() >= 4, "{all:?}");
    fs::remove_file(&all[1]).unwrap();
    let name = all[1].file_name().unwrap().to_str().unwrap().to_owned();
    fails_unchanged(&builder, &data).says(&["damaged", &name, "missing"]);
}

#[test]
fn another_version_of_the_format_is_refused() {
    let builder = written();
    let data = builder.directory().path().join("data");
    let segment = segments(&data).remove(0);
    let mut bytes = fs::read(&segment).unwrap();
    bytes[8..12].copy_from_slice(&9_u32.to_le_bytes());
    let checksum = crc32c::crc32c(&bytes[..12]);
    bytes[12..16].copy_from_slice(&checksum.to_le_bytes());
    fs::write(&segment, &bytes).unwrap();
    let name = segment.file_name().unwrap().to_str().unwrap().to_owned();
    fails_unchanged(&builder, &data).says(&[&name, "format 9", "formats up to 2"]);
}

/// Offset of the first block behind everything written to the last segment in
/// use.
fn tail(segment: &std::path::Path) -> usize {
    let bytes = fs::read(segment).unwrap();
    let last = bytes.iter().rposition(|&byte| byte != 0).unwrap();
    (last / BLOCK + 1) * BLOCK
}

#[test]
fn garbage_where_a_write_was_torn_is_cut() {
    let mut builder = written();
    let data = builder.directory().path().join("data");
    for (round, garbage) in
        [vec![0x5a; BLOCK], vec![0xff; 3 * BLOCK], b"CAg\x01 and no more".to_vec()]
            .iter()
            .enumerate()
    {
        let segment = segments(&data).pop().unwrap();
        let tail = tail(&segment);
        let mut bytes = fs::read(&segment).unwrap();
        bytes[tail..tail + garbage.len()].copy_from_slice(garbage);
        fs::write(&segment, &bytes).unwrap();
        let node = builder.start();
        let held = 20 + round as u64;
        node.holds(held);
        assert_eq!(node.client().append(r#"{"data":"after"}"#), held + 1);
        builder = node.kill();
    }
    builder.start().holds(23);
}

#[test]
fn a_write_that_reached_the_disk_in_part_is_cut() {
    let node = written().start();
    let data = node.data();
    node.client().append(format!("{{\"data\":\"torn {}\"}}", "x".repeat(10 * BLOCK)));
    let builder = node.kill();
    let segment = segments(&data).pop().unwrap();
    let mut bytes = fs::read(&segment).unwrap();
    let start = find(&bytes, "torn xxx") / BLOCK * BLOCK;
    // Two blocks of the write made it, one did not, one more did.
    bytes[start + 2 * BLOCK..start + 3 * BLOCK].fill(0);
    bytes[start + 4 * BLOCK..].fill(0);
    fs::write(&segment, &bytes).unwrap();
    let node = builder.start();
    node.holds(20);
    assert_eq!(node.client().append(r#"{"data":"after"}"#), 21);
    node.kill().start().holds(21);
}

#[test]
fn other_files_in_the_data_directory_are_left_alone() {
    let builder = written();
    let data = builder.directory().path().join("data");
    fs::write(data.join("notes.txt"), "mine").unwrap();
    let node = builder.start();
    node.holds(20);
    assert_eq!(fs::read(data.join("notes.txt")).unwrap(), b"mine");
}

#[test]
fn a_data_directory_is_made_with_its_parents() {
    let directory = temporary();
    let data = directory.path().join("some/where/data");
    NodeBuilder::bare(&directory, &data).start().holds(0);
    assert!(data.is_dir());
}
