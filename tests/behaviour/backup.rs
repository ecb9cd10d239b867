//! `changeagent backup` and `restore`: what a node holds, copied while it is written to, and what is
//! made of the copy.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Stdio,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant},
};

use testkit::{
    Client, Ended, Held, Node, NodeBuilder, Relay, SHORT_SEGMENTS, Stream, Temporary, eventually,
    files, program, run, temporary,
};

/// No node is asked.
const NOBODY: &str = "http://127.0.0.1:1";

fn backup(url: &str, out: &Path) -> Ended {
    run(url, &["backup", "--out", out.to_str().unwrap()])
}

fn restore(from: &Path, data: &Path, flags: &[&str]) -> Ended {
    let both = ["--from", from.to_str().unwrap(), "--data", data.to_str().unwrap()];
    run(NOBODY, &[&["restore"], &both[..], flags].concat())
}

fn check(data: &Path) -> Ended {
    run(NOBODY, &["check", "--data", data.to_str().unwrap()])
}

/// A node on what a backup was restored to.
fn restored(directory: &Temporary, from: &Path, name: &str, flags: &[&str]) -> Node {
    let data = directory.path().join(name);
    restore(from, &data, flags).ok();
    NodeBuilder::bare(directory, &data).start()
}

/// All changes of a node, a line each.
fn lines(node: &Node) -> Vec<String> {
    Stream::open(node.client(), "/changes", "application/x-ndjson").changes()
}

fn identity(node: &Node) -> String {
    node.client().get("/cluster").header("changeagent-cluster").unwrap().to_owned()
}

/// The files of a backup but for its manifest and its lock, by their names.
fn parts(backup: &Path) -> BTreeMap<String, Vec<u8>> {
    let name = |path: PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
    let all = files(backup).into_iter().map(|(path, bytes)| (name(path), bytes));
    all.filter(|(name, _)| !["backup.json", "LOCK"].contains(&&**name)).collect()
}

fn manifest(backup: &Path) -> serde_json::Value {
    serde_json::from_slice(&fs::read(backup.join("backup.json")).unwrap()).unwrap()
}

/// Appends changes of 20 kB.
fn fill(client: &mut Client, changes: usize) {
    for _ in 0..changes {
        client.append(format!("{{\"data\":\"{}\"}}", "x".repeat(20_000)));
    }
}

/// Tenants, keys and batches of everything; returns what reads keys.
fn variety(client: &mut Client) -> String {
    let tenant = client.tenant("acme");
    let keys = format!("/collections/{}/keys", client.collection(&tenant, "users"));
    for n in 0..30 {
        let answer = client.put(&format!("{keys}/k{}", n % 7), format!("{{\"data\":{n}}}"));
        assert!(answer.status < 300, "{answer:?}");
        client.append(format!("{{\"data\":{n},\"tags\":[\"t{}\"]}}", n % 3));
        let batch = format!("[{{\"data\":{n}}},{{\"data\":\"b\"}},{{\"data\":\"c\"}}]");
        assert_eq!(client.json("POST", "/changes", batch).status, 201);
        client.put(&format!("{keys}/k0"), r#"{"data":0}"#);
        let absent = [("If-None-Match", "*")];
        let answer = client.json_with("PUT", &format!("{keys}/k1"), &absent, r#"{"data":0}"#);
        assert_eq!(answer.status == 412, n > 0, "{answer:?}");
    }
    assert_eq!(client.delete(&format!("{keys}/k3")).status, 200);
    keys
}

#[test]
fn a_backup_under_load_restores_to_a_prefix() {
    let directory = temporary();
    let node = NodeBuilder::new().flags(&SHORT_SEGMENTS).start();
    let keys = variety(&mut node.client());
    let out = directory.path().join("backup");
    let (stop, written) = (AtomicBool::new(false), AtomicU64::new(0));
    let during = std::thread::scope(|scope| {
        for writer in 0..3 {
            let (mut client, stop, written, keys) = (node.client(), &stop, &written, &keys);
            scope.spawn(move || {
                for n in 0.. {
                    let body = format!("{{\"data\":[{writer},{n},\"{}\"]}}", "y".repeat(3000));
                    assert!(client.put(&format!("{keys}/w{writer}"), body).status < 300);
                    written.fetch_add(1, Ordering::Relaxed);
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                }
            });
        }
        eventually("there is a load", || written.load(Ordering::Relaxed) > 300);
        let before = written.load(Ordering::Relaxed);
        backup(&node.url(), &out).ok_saying(&["backed up changes 1 to "]);
        let during = written.load(Ordering::Relaxed) - before;
        stop.store(true, Ordering::Relaxed);
        during
    });
    assert!(during > 0, "it was written to meanwhile");
    assert!(check(&out).ok().contains("a backup of cluster"));
    let all = lines(&node);
    let last = manifest(&out)["last"].as_u64().unwrap();
    assert!(last > 300 && last < all.len() as u64, "{last} of {}", all.len());

    let other = restored(&directory, &out, "other", &[]);
    assert_eq!(lines(&other), all[..last as usize]);
    assert_ne!(identity(&other), identity(&node), "its clients learn of it");
    let mut client = other.client();
    let list = client.get(&format!("{keys}?limit=100")).json();
    let current: BTreeMap<String, String> = list["keys"]
        .as_array()
        .unwrap()
        .iter()
        .map(|change| (change["key"].as_str().unwrap().into(), change.to_string()))
        .collect();
    let mut wanted = BTreeMap::new();
    for line in &all[..last as usize] {
        let change: serde_json::Value = serde_json::from_str(line).unwrap();
        match (change["key"].as_str(), change["deleted"] == true) {
            (Some(key), false) => wanted.insert(key.to_owned(), change.to_string()),
            (Some(key), true) => wanted.remove(key),
            (None, _) => None,
        };
    }
    assert_eq!(current, wanted);
    assert_eq!(client.append(r#"{"data":"on"}"#), last + 1);
    let same = restored(&directory, &out, "same", &["--same-cluster"]);
    assert_eq!(identity(&same), identity(&node));
    assert_eq!(lines(&same), all[..last as usize]);
}

#[test]
fn only_what_is_new_travels() {
    let directory = temporary();
    let node = NodeBuilder::new().flags(&SHORT_SEGMENTS).start();
    let relay = Relay::start(node.address());
    let mut client = node.client();
    fill(&mut client, 100);
    let out = directory.path().join("backup");
    backup(&relay.url(), &out).ok();
    let first = relay.passed();
    assert!(first > 2_000_000, "{first}");
    let old = parts(&out);
    for _ in 0..3 {
        let before = relay.passed();
        fill(&mut client, 3);
        backup(&relay.url(), &out).ok();
        // What it ends with comes once more, to be compared.
        let new = relay.passed() - before;
        assert!((60_000..85_000).contains(&new), "{new}");
    }
    let now = parts(&out);
    assert_eq!(now.len(), old.len() + 3);
    assert!(old.iter().all(|(name, bytes)| now.get(name) == Some(bytes)), "none is changed");
    let before = relay.passed();
    backup(&relay.url(), &out).ok();
    assert!(relay.passed() - before < 25_000);
    for path in files(&out).into_keys().filter(|path| path.file_name().unwrap() != "LOCK") {
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o007, 0, "{path:?} is not for everyone");
    }
    assert_eq!(lines(&restored(&directory, &out, "data", &[])), lines(&node));
}

/// A backup in small files, of which some are there when the relay holds it up.
fn held_up(relay: &Relay, out: &Path) -> Held {
    relay.hold_after(1_500_000);
    let flags = ["backup", "--segment-size", "256KiB", "--out", out.to_str().unwrap()];
    let running = Held::start(&relay.url(), &flags);
    relay.holds();
    eventually("some of it is durable", || out.join("00000000000000000003.seg").exists());
    running
}

#[test]
fn no_more_is_taken_in_a_second_than_is_allowed() {
    let directory = temporary();
    let node = NodeBuilder::new().flags(&SHORT_SEGMENTS).start();
    fill(&mut node.client(), 100);
    let out = directory.path().join("backup");
    let begun = Instant::now();
    run(&node.url(), &["backup", "--rate", "2MB", "--out", out.to_str().unwrap()]).ok();
    assert!(begun.elapsed() > Duration::from_secs(1), "2 MB in {:?}", begun.elapsed());
    assert_eq!(manifest(&out)["last"], 100);
}

#[test]
fn a_backup_that_is_killed_goes_on() {
    let directory = temporary();
    let node = NodeBuilder::new().flags(&SHORT_SEGMENTS).start();
    let relay = Relay::start(node.address());
    fill(&mut node.client(), 150);
    let out = directory.path().join("backup");
    held_up(&relay, &out).kill();
    let held = parts(&out);
    assert!(held.len() >= 3, "{:?}", held.keys());
    restore(&out, &directory.path().join("data"), &[]).fails_saying(&["never completed"]);
    NodeBuilder::bare(&directory, &out).fails().says(&["is a backup"]);
    // What was being written.
    fs::write(out.join("backup.tmp"), "half").unwrap();
    relay.go_on(node.address());
    let before = relay.passed();
    backup(&relay.url(), &out).ok();
    let again = relay.passed() - before;
    assert!(again < 2_600_000, "what was there did not travel again: {again}");
    let now = parts(&out);
    assert!(held.iter().all(|(name, bytes)| now.get(name) == Some(bytes)), "none is changed");
    assert!(!now.contains_key("backup.tmp"));
    check(&out).ok();

    // The same of one that goes on: what was complete before can be restored meanwhile.
    let first = lines(&node);
    fill(&mut node.client(), 150);
    held_up(&relay, &out).kill();
    assert!(parts(&out).len() > now.len());
    let old = restored(&directory, &out, "old", &[]);
    assert_eq!(lines(&old), first);
    relay.go_on(node.address());
    backup(&relay.url(), &out).ok();
    assert_eq!(lines(&restored(&directory, &out, "new", &[])), lines(&node));
}

#[test]
fn a_backup_whose_node_is_killed_goes_on_when_it_is_there_again() {
    let directory = temporary();
    let node = NodeBuilder::new().flags(&SHORT_SEGMENTS).start();
    let relay = Relay::start(node.address());
    fill(&mut node.client(), 150);
    let all = lines(&node);
    let out = directory.path().join("backup");
    let running = held_up(&relay, &out);
    let node = node.kill().start();
    relay.go_on(node.address());
    let ended = running.ends();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(all.len() == 150 && manifest(&out)["last"] == 150);
    assert_eq!(lines(&restored(&directory, &out, "data", &[])), all);
}

/// Runs `test` while a file is another.
fn with(path: &Path, bytes: &[u8], test: impl FnOnce(&str)) {
    let before = fs::read(path).unwrap();
    fs::write(path, bytes).unwrap();
    test(path.file_name().unwrap().to_str().unwrap());
    fs::write(path, &before).unwrap();
}

#[test]
fn damage_is_found_wherever_it_is() {
    let directory = temporary();
    let node = NodeBuilder::new().flags(&SHORT_SEGMENTS).start();
    let out = directory.path().join("backup");
    for _ in 0..2 {
        fill(&mut node.client(), 12);
        backup(&node.url(), &out).ok();
    }
    let data = directory.path().join("data");
    let refused = |name: &str| {
        restore(&out, &data, &[]).fails_saying(&[name]);
        check(&out).fails_saying(&[name]);
        assert!(!data.exists());
    };
    let manifest = ("backup.json".to_owned(), fs::read(out.join("backup.json")).unwrap());
    for (name, bytes) in parts(&out).into_iter().chain([manifest]) {
        for place in 0..8 {
            let mut other = bytes.clone();
            let at = bytes.len() * place / 8;
            other[at] ^= 1;
            with(&out.join(&name), &other, refused);
        }
        with(&out.join(&name), &bytes[..bytes.len() - 1], refused);
    }
    let second = out.join("00000000000000000002.seg");
    let bytes = fs::read(&second).unwrap();
    fs::remove_file(&second).unwrap();
    restore(&out, &data, &[]).fails_saying(&["00000000000000000002.seg", "missing"]);
    check(&out).fails_saying(&["00000000000000000002.seg"]);
    backup(&node.url(), &out).fails_saying(&["00000000000000000002.seg", "begin a new backup"]);
    fs::write(&second, bytes).unwrap();
    check(&out).ok();
    backup(&node.url(), &out).ok();
    restore(&out, &data, &[]).ok();
}

#[test]
fn another_history_is_refused_and_nothing_is_changed() {
    let directory = temporary();
    let node = NodeBuilder::new().flags(&SHORT_SEGMENTS).start();
    fill(&mut node.client(), 10);
    let out = directory.path().join("backup");
    backup(&node.url(), &out).ok();
    let held = files(&out);
    let stranger = Node::start();
    backup(&stranger.url(), &out).fails_saying(&["is a backup of cluster", &identity(&stranger)]);

    // The same cluster, but another history of it.
    let flags = ["--same-cluster", "--until", "6"];
    let fork = restored(&directory, &out, "fork", &flags);
    fill(&mut fork.client(), 10);
    backup(&fork.url(), &out).fails_saying(&["another history"]);
    assert_eq!(files(&out), held);

    let foreign = directory.path().join("foreign");
    fs::create_dir(&foreign).unwrap();
    fs::write(foreign.join("notes"), "mine").unwrap();
    backup(&node.url(), &foreign).fails_saying(&["no backup", "notes"]);
    assert_eq!(files(&foreign).len(), 1);
    backup(&node.url(), &node.data()).fails_saying(&["no backup"]);
    restore(&out, &foreign, &[]).fails_saying(&["not empty"]);
    restore(&foreign, &directory.path().join("data"), &[]).fails_saying(&["backup.json"]);
    run(NOBODY, &["recover", "--yes", "--data", out.to_str().unwrap()])
        .fails_saying(&["is a backup"]);
    assert_eq!(files(&out), held);
    backup(&node.url(), &out).ok();
}

#[test]
fn a_node_that_lies_behind_is_asked_again_and_then_told_of() {
    let directory = temporary();
    let node = Node::start();
    for n in 0..10 {
        node.client().append(format!("{{\"data\":{n}}}"));
    }
    let out = directory.path().join("backup");
    backup(&node.url(), &out).ok();
    let held = files(&out);
    // As a follower that has not heard of it all would.
    let old = restored(&directory, &out, "old", &["--same-cluster", "--until", "4"]);
    let flags = ["backup", "--retries", "2", "--out", out.to_str().unwrap()];
    run(&old.url(), &flags).fails_saying(&["behind"]);
    assert_eq!(files(&out), held);
}

/// The checkpoints of a directory.
fn checkpoints(directory: &Path) -> Vec<PathBuf> {
    let all = files(directory).into_keys();
    all.filter(|name| name.extension().is_some_and(|end| end == "checkpoint")).collect()
}

#[test]
fn purged_history_is_backed_up_with_what_stands_for_it() {
    let directory = temporary();
    let flags = [&SHORT_SEGMENTS[..], &["--retain-min-changes", "20"]].concat();
    let node = NodeBuilder::new().flags(&flags).start();
    let mut client = node.client();
    let keys = variety(&mut client);
    let first =
        |client: &mut Client| client.list("?limit=1")["changes"][0]["_id"].as_u64().unwrap();
    eventually("history is purged", || {
        fill(&mut client, 20);
        first(&mut client) > 200
    });
    let out = directory.path().join("backup");
    // More may be purged while it is read.
    eventually("it is backed up", || backup(&node.url(), &out).code == Some(0));
    assert_eq!(checkpoints(&out).len(), 1);
    assert!(check(&out).ok().contains("checkpoint"));
    let (begin, last) = (manifest(&out)["first"].as_u64().unwrap(), lines(&node));
    let other = restored(&directory, &out, "data", &[]);
    let found = lines(&other);
    assert_eq!(found[0], last[last.len() - found.len()], "it begins where the node's did");
    assert!(found[0].contains(&format!("\"_id\":{begin},")) && last.ends_with(&found));
    let until = (begin + 7).to_string();
    let part = restored(&directory, &out, "part", &["--until", &until]);
    assert_eq!(lines(&part), found[..8]);
    let one = |node: &Node| node.client().get(&format!("{keys}/k2")).text().to_owned();
    assert_eq!([one(&other), one(&part)], [one(&node), one(&node)]);
    restore(&out, &directory.path().join("early"), &["--until", "3"])
        .fails_saying(&[&format!("begins with change {begin}")]);
    restore(&out, &directory.path().join("early"), &["--until", "2026-01-01T00:00:00Z"])
        .fails_saying(&["begins with change"]);

    // What was restored is backed up in its turn.
    let again = directory.path().join("again");
    backup(&other.url(), &again).ok();
    assert_eq!(manifest(&again)["first"], begin);
    assert_eq!(lines(&restored(&directory, &again, "third", &[])), found);

    // What follows on it is purged.
    let (held, end) = (files(&out), manifest(&out)["last"].as_u64().unwrap());
    eventually("more is purged", || {
        fill(&mut client, 20);
        first(&mut client) > end + 40
    });
    backup(&node.url(), &out).fails_saying(&["purged", "new backup elsewhere"]);
    assert_eq!(files(&out), held);
}

#[test]
fn a_history_is_restored_to_any_change_and_to_any_time() {
    let directory = temporary();
    let node = Node::start();
    let mut client = node.client();
    variety(&mut client);
    let keyed = [("Idempotency-Key", "once")];
    let batch = r#"[{"data":"x"},{"data":"y"},{"data":"z"}]"#;
    let first =
        client.json_with("POST", "/changes", &keyed, batch).json()["first"].as_u64().unwrap();
    client.append(r#"{"data":"end"}"#);
    let all = lines(&node);
    let out = directory.path().join("backup");
    backup(&node.url(), &out).ok();
    let to =
        |until: &str| restored(&directory, &out, &format!("until-{until}"), &["--until", until]);
    for id in [0, 1, 2, 40, 41, 42, 43, first, first + 1, all.len() as u64, 9999] {
        let node = to(&id.to_string());
        let last = (id as usize).min(all.len());
        assert_eq!(lines(&node), all[..last], "{id}");
        let mut client = node.client();
        if id == first + 1 {
            // The request is known, and so is what is left of it.
            let again = client.json_with("POST", "/changes", &keyed, batch);
            assert_eq!((again.status, &again.json()["count"]), (201, &2.into()));
        }
        assert_eq!(client.append(r#"{"data":"on"}"#), last as u64 + 1);
    }
    let stamp = |line: &str| {
        let change: serde_json::Value = serde_json::from_str(line).unwrap();
        change["_ts"].as_u64().unwrap()
    };
    for id in [first as usize - 1, first as usize, 60] {
        let at = stamp(&all[id - 1]);
        let since = std::time::UNIX_EPOCH + Duration::from_micros(at);
        let time = humantime::format_rfc3339_micros(since).to_string();
        let wanted: Vec<_> = all.iter().filter(|line| stamp(line) <= at).cloned().collect();
        assert_eq!(lines(&to(&time)), wanted, "{time}");
    }
}

#[test]
fn an_archive_holds_the_same() {
    let directory = temporary();
    let node = NodeBuilder::new().flags(&SHORT_SEGMENTS).start();
    variety(&mut node.client());
    fill(&mut node.client(), 30);
    let all = lines(&node);
    let archive = directory.path().join("backup.tar");
    let out = fs::File::create(&archive).unwrap();
    let arguments = ["backup", "--out", "-", "--segment-size", "128KiB"];
    let status = program(&node.url(), &arguments).stdout(out).status().unwrap();
    assert!(status.success());
    let bytes = fs::read(&archive).unwrap();
    assert_eq!(lines(&restored(&directory, &archive, "from-file", &[])), all);
    let data = directory.path().join("from-stream");
    let arguments = ["restore", "--from", "-", "--data", data.to_str().unwrap()];
    let input = fs::File::open(&archive).unwrap();
    let mut command = program(NOBODY, &arguments);
    assert!(command.stdin(Stdio::from(input)).status().unwrap().success());
    assert_eq!(lines(&NodeBuilder::bare(&directory, &data).start()), all);

    // One that was broken off, and one with a byte that is another.
    let broken = directory.path().join("broken.tar");
    let data = directory.path().join("from-broken");
    for end in [0, 100, bytes.len() / 2, bytes.len() - 3000] {
        fs::write(&broken, &bytes[..end]).unwrap();
        assert_eq!(restore(&broken, &data, &[]).code, Some(1), "{end} bytes");
    }
    let mut other = bytes.clone();
    other[200_000] ^= 1;
    fs::write(&broken, other).unwrap();
    restore(&broken, &data, &[]).fails_saying(&[".seg", "checksum"]);
    assert!(!data.exists(), "nothing is left");
    // A directory that is there, as the root of a file system is, stays.
    fs::create_dir_all(data.join("lost+found")).unwrap();
    restore(&broken, &data, &[]).fails_saying(&[".seg", "checksum"]);
    assert_eq!(fs::read_dir(&data).unwrap().count(), 1, "nothing is left but what was there");
    assert_eq!(lines(&restored(&directory, &archive, "from-broken", &[])), all);

    // What tar itself makes of a directory.
    let plain = directory.path().join("backup");
    backup(&node.url(), &plain).ok();
    let archive = directory.path().join("plain.tar");
    let status = std::process::Command::new("tar")
        .args(["cf", archive.to_str().unwrap(), "-C", plain.to_str().unwrap(), "."])
        .status();
    assert!(status.unwrap().success());
    assert_eq!(lines(&restored(&directory, &archive, "from-tar", &[])), all);
}

/// A backup that an earlier build made stays one that can be restored.
#[test]
fn a_backup_of_format_1_is_restored() {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/backup-v1");
    let wanted = fs::read_to_string(fixture.join("list.ndjson")).unwrap();
    let wanted: Vec<&str> = wanted.lines().collect();
    let directory = temporary();
    let node = restored(&directory, &fixture, "data", &["--same-cluster"]);
    assert_eq!(lines(&node), wanted);
    assert_eq!(identity(&node), "4f6cd721-ba27-4120-a830-b8ae6d7f3966");
    let list = node.client().get("/tenants/foo/collections/bar/keys").json();
    let keys: Vec<_> = list["keys"].as_array().unwrap().iter().map(|key| &key["_id"]).collect();
    assert_eq!(keys, [8, 3]);
    let part = restored(&directory, &fixture, "part", &["--until", "2026-11-29T13:43:09.317295Z"]);
    assert_eq!(lines(&part), wanted[..6]);
    assert_ne!(identity(&part), identity(&node));
}

#[test]
fn what_is_damaged_on_the_node_is_told_and_does_not_come_into_a_backup() {
    let directory = temporary();
    let node = NodeBuilder::new().flags(&SHORT_SEGMENTS).start();
    fill(&mut node.client(), 60);
    // So that its log is not in memory any more.
    let node = node.stop().start();
    let name = node.data().join("00000000000000000002.seg");
    let bytes = fs::read(&name).unwrap();
    let mut other = bytes.clone();
    other[100_000] ^= 1;
    fs::write(&name, &other).unwrap();
    let out = directory.path().join("backup");
    let ended = backup(&node.url(), &out);
    ended.fails_saying(&["the log is damaged", "00000000000000000002.seg", "byte"]);
    restore(&out, &directory.path().join("data"), &[]).fails_saying(&["never completed"]);
    fs::write(&name, &bytes).unwrap();
    backup(&node.url(), &out).ok();
    assert_eq!(manifest(&out)["last"], 60);
}
