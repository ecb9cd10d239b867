//! What rots at a cache comes from its origin; or the cache begins anew.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use serde_json::json;

use testkit::{Node, NodeBuilder, SHORT_SEGMENTS, eventually};

use super::{agree, cache_of, newest, shows, started, tried};

/// A node with several segments.
fn origin() -> Node {
    let origin = NodeBuilder::new().flags(&SHORT_SEGMENTS).start();
    let mut client = origin.client();
    for n in 0..60 {
        client.append(json!({ "data": format!("<{n}>{}", "x".repeat(20_000)) }).to_string());
    }
    origin
}

fn segment(cache: &Node, number: u64) -> PathBuf {
    cache.data().join(format!("{number:020}.seg"))
}

fn healthy(cache: &Node) -> bool {
    cache.client().get("/health").json() == json!({ "status": "ok" })
}

#[test]
fn entries_that_rot_at_a_cache_are_taken_from_its_origin() {
    let origin = origin();
    let flags = [&SHORT_SEGMENTS[..], &["--scrub-period", "200ms"]].concat();
    let cache = started(cache_of(&origin.url()).flags(&flags));
    shows(&cache, newest(&origin));
    let indexed = segment(&cache, 2).with_extension("index");
    eventually("the segments have an index", || indexed.exists());
    // All of a file; and some entries. The same file would be tried again after a while.
    let whole = fs::metadata(segment(&cache, 1)).unwrap().len();
    for (number, bytes, offset) in [(1, vec![0; whole as usize], 0), (2, vec![0xA5; 99_000], 5000)]
    {
        let file = File::options().write(true).open(segment(&cache, number)).unwrap();
        file.write_all_at(&bytes, offset).unwrap();
        let healed = cache.client().metric("healed_files");
        eventually("it is made anew", || cache.client().metric("healed_files") > healed);
        eventually("nothing is damaged", || healthy(&cache));
        agree(&origin, &cache);
    }
    let said = cache.stderr();
    assert!(!said.contains("begins anew"), "{said}");
}

/// The files of a directory whose names end so, in order.
fn ending(data: &Path, end: &str) -> Vec<PathBuf> {
    let all = fs::read_dir(data).unwrap().map(|entry| entry.unwrap().path());
    let mut all: Vec<_> =
        all.filter(|path| path.extension().is_some_and(|found| found == end)).collect();
    all.sort();
    all
}

/// A cache that purges.
fn purging(origin: &Node) -> Node {
    let flags = [&SHORT_SEGMENTS[..], &["--retain-min-changes", "20"]].concat();
    let flags = [&flags[..], &["--scrub-period", "200ms"]].concat();
    let cache = started(cache_of(&origin.url()).flags(&flags));
    shows(&cache, newest(origin));
    cache
}

#[test]
fn a_cache_whose_checkpoint_rots_under_it_begins_anew() {
    let origin = origin();
    let cache = purging(&origin);
    let data = cache.data();
    eventually("it has a checkpoint", || !ending(&data, "checkpoint").is_empty());
    let rots = || {
        // A purge may put another in its place.
        for path in ending(&data, "checkpoint") {
            if let Ok(file) = File::options().write(true).open(&path) {
                let bytes = file.metadata().unwrap().len();
                file.write_all_at(&vec![0; usize::try_from(bytes).unwrap()], 0).unwrap();
            }
        }
        cache.stderr().contains("this cache begins anew")
    };
    eventually("it gives that up", rots);
    eventually("it begins anew", || cache.stderr().contains("this copy begins anew"));
    shows(&cache, newest(&origin));
    eventually("nothing is damaged", || {
        tried(&cache, "/health").is_some_and(|it| it.json() == json!({ "status": "ok" }))
    });
    let whole = |node: &Node| {
        let since = newest(&origin) - 10;
        node.client().get(&format!("/changes?since={since}")).text().to_owned()
    };
    assert_eq!(whole(&cache), whole(&origin));
}

#[test]
fn a_cache_that_is_started_on_what_is_damaged_begins_anew() {
    let origin = origin();
    let mut cache = purging(&origin);
    let data = cache.data();
    let ending = |end: &str| ending(&data, end);
    for damaged in ["checkpoint", "seg"] {
        // A checkpoint that was made a moment ago is not needed.
        let is_purged = || !data.join("00000000000000000001.seg").exists();
        eventually("history is purged", || is_purged() && !ending("index").is_empty());
        let stopped = cache.stop();
        let path = match damaged {
            "checkpoint" => ending(damaged).pop().unwrap(),
            // With its index it would not be read.
            _ => {
                let mut all = ending(damaged).into_iter();
                all.find(|path| path.with_extension("index").exists()).unwrap()
            }
        };
        if damaged == "seg" {
            fs::remove_file(path.with_extension("index")).unwrap();
        }
        let mut bytes = fs::read(&path).unwrap();
        let at = bytes.len().min(10_000) / 2;
        bytes[at] ^= 1;
        fs::write(&path, bytes).unwrap();
        cache = started(stopped);
        shows(&cache, newest(&origin));
        let said = cache.stderr();
        assert!(said.contains("begins anew"), "{}: {said}", path.display());
        assert!(said.contains(path.file_name().unwrap().to_str().unwrap()), "{said}");
    }
    // The directory of a node is left alone.
    let node = origin.data();
    let stopped = origin.stop();
    let segment = node.join("00000000000000000001.seg");
    let mut bytes = fs::read(&segment).unwrap();
    bytes[5000] ^= 1;
    fs::write(&segment, &bytes).unwrap();
    fs::remove_file(segment.with_extension("index")).unwrap();
    let cache = stopped.command("cache").flags(&["--of", "http://127.0.0.1:9"]);
    let failed = cache.fails();
    assert!(failed.stderr.contains("byte 4096"), "{failed:?}");
    assert!(fs::read(&segment).unwrap() == bytes);
}
