//! The scrub: what rots on the disk is noticed while the node runs, and told.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::{Value, json};

use testkit::{Node, NodeBuilder, SHORT_SEGMENTS, eventually, within};

/// The oldest segments of a data directory, which are not written any more.
fn complete(data: &Path) -> Vec<PathBuf> {
    let all = fs::read_dir(data).unwrap().map(|entry| entry.unwrap().path());
    let mut all: Vec<_> =
        all.filter(|path| path.extension().is_some_and(|end| end == "seg")).collect();
    all.sort();
    all.truncate(3);
    all
}

/// A node that verifies again and again, with some complete segments.
fn scrubbing() -> Node {
    let flags = ["--scrub-period", "100ms"];
    let node = NodeBuilder::new().flags(&SHORT_SEGMENTS).flags(&flags).start();
    let mut client = node.client();
    for _ in 0..80 {
        client.append(format!("{{\"data\":\"{}\"}}", "x".repeat(20_000)));
    }
    node
}

fn metric(node: &Node, name: &str) -> u64 {
    let text = node.client().get("/metrics").text().to_owned();
    let line = text.lines().find(|line| line.starts_with(&format!("changeagent_{name} ")));
    line.expect(name).split_once(' ').unwrap().1.parse().unwrap()
}

/// All changes, one after the other.
fn whole(node: &Node) -> Vec<Value> {
    let (mut client, mut found, mut since) = (node.client(), Vec::new(), 0);
    loop {
        let page = client.list(&format!("?since={since}&limit=1000"));
        found.extend(page["changes"].as_array().unwrap().clone());
        since = page["last"].as_u64().unwrap();
        if page["atEnd"] == true {
            return found;
        }
    }
}

fn flip(path: &Path, at: u64) {
    let file = File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 0x40], at).unwrap();
}

#[test]
fn a_change_that_rots_is_noticed_and_told_with_its_place() {
    let node = scrubbing();
    let segments = complete(&node.data());
    let bytes = fs::metadata(&segments[0]).unwrap().len();
    let health = || node.client().get("/health").json();
    for (n, at) in [9000, bytes / 2, bytes / 3].into_iter().enumerate() {
        let segment = &segments[n % segments.len()];
        flip(segment, at);
        eventually("it is noticed", || health()["damaged"].is_array());
        let told = &health()["damaged"];
        let name = segment.file_name().unwrap().to_str().unwrap();
        assert_eq!((told.as_array().unwrap().len(), &told[0]["file"]), (1, &json!(name)));
        let offset = told[0]["offset"].as_u64().unwrap();
        assert!(offset <= at && at < offset + 64 * 1024, "byte {at}: {told}");
        assert_eq!(metric(&node, "damaged_segments"), 1);
        // What it is restored to is sound.
        flip(segment, at);
        eventually("all is sound", || health() == json!({"status": "ok"}));
        assert_eq!(metric(&node, "damaged_segments"), 0);
    }
    let said = node.stderr();
    assert_eq!(said.matches("a part of the log is damaged on the disk").count(), 3, "{said}");
}

#[test]
fn whatever_else_rots_in_a_segment_is_made_anew_of_its_entries() {
    let node = scrubbing();
    let segments = complete(&node.data());
    let bytes = fs::metadata(&segments[0]).unwrap().len();
    let health = || node.client().get("/health").json();
    let before = whole(&node);
    // The header, the head of a group, and the zeros behind the last one.
    for (n, (segment, at)) in segments.iter().zip([8, 4100, bytes - 5]).enumerate() {
        let healed = n as u64 + 1;
        flip(segment, at);
        eventually("it is made anew", || metric(&node, "healed_files") == healed);
        eventually("all is sound", || health() == json!({"status": "ok"}));
    }
    let said = node.stderr();
    assert_eq!(said.matches("a part of the log is damaged on the disk").count(), 3, "{said}");
    assert_eq!(said.matches("what was damaged is made anew").count(), 3, "{said}");
    assert!(whole(&node) == before);
    // A start reads them, without their indexes too.
    let builder = node.stop();
    let data = builder.directory().path().join("data");
    for segment in &segments {
        fs::remove_file(segment.with_extension("index")).unwrap();
    }
    testkit::run("http://127.0.0.1:1", &["check", "--data", data.to_str().unwrap()]).ok();
    assert!(whole(&builder.start()) == before);
}

#[test]
fn a_segment_that_has_vanished_is_told_and_comes_back_from_what_is_open_of_it() {
    let node = scrubbing();
    let second = complete(&node.data())[1].clone();
    let (bytes, before) = (fs::read(&second).unwrap(), whole(&node));
    fs::remove_file(&second).unwrap();
    assert!(whole(&node) == before, "it is served all the same");
    eventually("it is there again", || fs::read(&second).is_ok_and(|found| found == bytes));
    eventually("it is told no more", || {
        node.client().get("/health").json() == json!({"status": "ok"})
    });
    let said = node.stderr();
    assert_eq!(said.matches("a part of the log is missing on the disk").count(), 1, "{said}");
    assert!(whole(&node.stop().start()) == before);
}

#[test]
fn an_index_that_has_vanished_is_told_and_made_anew() {
    let node = scrubbing();
    let index = complete(&node.data())[1].with_extension("index");
    let bytes = fs::read(&index).unwrap();
    fs::remove_file(&index).unwrap();
    eventually("it is there again", || fs::read(&index).is_ok_and(|found| found == bytes));
    assert!(node.stderr().contains("a part of the log is missing on the disk"));
}

#[test]
fn something_else_in_the_place_of_a_segment_is_told() {
    let node = scrubbing();
    let segments = complete(&node.data());
    let (bytes, before) = (fs::read(&segments[1]).unwrap(), whole(&node));
    let health = || node.client().get("/health").json()["damaged"].clone();
    let place = |segment: &Path| json!({"file": segment.file_name().unwrap().to_str().unwrap(), "offset": 0});
    // Nothing takes the place of a directory.
    fs::remove_file(&segments[0]).unwrap();
    fs::create_dir(&segments[0]).unwrap();
    eventually("it is noticed", || health() == json!([place(&segments[0])]));
    // Whoever opens a pipe without care waits for its other end.
    fs::remove_file(&segments[1]).unwrap();
    let path = std::ffi::CString::new(segments[1].to_str().unwrap()).unwrap();
    // SAFETY: the path is a string that ends with a zero.
    assert_eq!(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }, 0);
    let is_back = || {
        let is_file = fs::metadata(&segments[1]).is_ok_and(|found| found.is_file());
        is_file && fs::read(&segments[1]).unwrap() == bytes
    };
    eventually("the segment is in its place again", is_back);
    eventually("only the other is told", || health() == json!([place(&segments[0])]));
    assert_eq!(metric(&node, "damaged_segments"), 1);
    assert!(whole(&node) == before);
    let checked = metric(&node, "scrubbed_bytes");
    eventually("it goes on", || metric(&node, "scrubbed_bytes") > checked);
}

#[test]
fn segments_that_are_purged_meanwhile_are_no_damage() {
    let flags = ["--scrub-period", "20ms", "--retain-min-changes", "50"];
    let node = NodeBuilder::new().flags(&SHORT_SEGMENTS).flags(&flags).start();
    let mut client = node.client();
    let first = |client: &mut testkit::Client| {
        client.list("?limit=1")["changes"][0]["_id"].as_u64().unwrap_or_default()
    };
    eventually("history is purged again and again", || {
        client.append(format!("{{\"data\":\"{}\"}}", "x".repeat(20_000)));
        first(&mut client) > 300
    });
    assert_eq!(client.get("/health").json(), json!({"status": "ok"}));
    assert!(!node.stderr().contains("a part of the log"), "{}", node.stderr());
}

#[test]
fn a_checkpoint_that_rots_is_noticed() {
    let flags = ["--scrub-period", "100ms", "--retain-min-changes", "50"];
    let node = NodeBuilder::new().flags(&SHORT_SEGMENTS).flags(&flags).start();
    let mut client = node.client();
    client.tenant("a-tenant-of-the-checkpoint");
    let checkpoint = || {
        let all = fs::read_dir(node.data()).unwrap().map(|entry| entry.unwrap().path());
        all.filter(|path| path.extension().is_some_and(|end| end == "checkpoint")).max()
    };
    eventually("there is a checkpoint", || {
        client.append(format!("{{\"data\":\"{}\"}}", "x".repeat(20_000)));
        checkpoint().is_some()
    });
    // Nothing is purged any more from here on.
    eventually("it is the newest", || {
        let before = metric(&node, "scrub_ended_timestamp_seconds");
        let found = checkpoint();
        eventually("a round", || metric(&node, "scrub_ended_timestamp_seconds") > before + 1);
        found.is_some() && found == checkpoint()
    });
    let path = checkpoint().unwrap();
    let at = fs::read(&path).unwrap().windows(8).position(|window| window == b"a-tenant").unwrap();
    flip(&path, at as u64);
    let name = path.file_name().unwrap().to_str().unwrap();
    let health = || node.client().get("/health").json();
    eventually("it is noticed", || health()["damaged"] == json!([{"file": name, "offset": 0}]));
    flip(&path, at as u64);
    eventually("all is sound", || health() == json!({"status": "ok"}));
    // One that is gone, or another file in its place, is made anew of what is in memory.
    let bytes = fs::read(&path).unwrap();
    let gone = || fs::remove_file(&path).unwrap();
    let another = || {
        fs::write(path.with_extension("other"), "another").unwrap();
        fs::rename(path.with_extension("other"), &path).unwrap();
    };
    for (n, damage) in [&gone as &dyn Fn(), &another].into_iter().enumerate() {
        let healed = metric(&node, "healed_files");
        damage();
        // It is tried again after a while.
        within(Duration::from_secs(60), "it is there again", || {
            metric(&node, "healed_files") > healed
        });
        assert!(fs::read(&path).unwrap() == bytes, "{n}");
        eventually("it is told no more", || health() == json!({"status": "ok"}));
    }
    assert!(node.stderr().contains("a part of the log is missing on the disk"));
    let node = node.stop().start();
    assert_eq!(node.client().get("/tenants/a-tenant-of-the-checkpoint").status, 200);
}

#[test]
fn how_far_it_is_can_be_watched() {
    let node = scrubbing();
    let bytes: u64 =
        complete(&node.data()).iter().map(|path| fs::metadata(path).unwrap().len()).sum();
    eventually("a round has ended", || metric(&node, "scrub_ended_timestamp_seconds") > 0);
    eventually("all was read", || metric(&node, "scrubbed_bytes") >= bytes - 3 * 4096);
}

#[test]
fn writes_that_are_larger_than_what_is_read_at_once_are_verified_too() {
    let large = ["--segment-size", "8MiB", "--max-body", "4MiB", "--max-data", "3MiB"];
    let builder = NodeBuilder::new().flags(&large).flags(&["--scrub-period", "100ms"]);
    let node = builder.start();
    let data = format!("{{\"data\":\"{}\"}}", "x".repeat(2_500_000));
    let mut client = node.client();
    for _ in 0..8 {
        client.append(data.as_str());
    }
    let before = metric(&node, "scrubbed_bytes");
    eventually("two segments were read", || metric(&node, "scrubbed_bytes") > before + (16 << 20));
    assert_eq!(node.client().get("/health").json(), json!({"status": "ok"}));
    let first = complete(&node.data()).remove(0);
    flip(&first, 2_000_000);
    eventually("it is noticed", || metric(&node, "damaged_segments") == 1);
}
