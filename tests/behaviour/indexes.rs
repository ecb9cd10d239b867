//! Index files of segments: a start goes by them, and makes anew what is missing or damaged.

use std::{
    fs,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use testkit::{Client, Node, NodeBuilder, SHORT_SEGMENTS, eventually, run, temporary};

/// The files of a data directory whose names end so, sorted.
fn files(data: &Path, ends: &[&str]) -> Vec<PathBuf> {
    let all = fs::read_dir(data).unwrap().map(|entry| entry.unwrap().path());
    let is_one = |path: &PathBuf| {
        path.extension().is_some_and(|end| ends.iter().any(|wanted| end == *wanted))
    };
    let mut all: Vec<_> = all.filter(is_one).collect();
    all.sort();
    all
}

fn post(client: &mut Client, path: &str, body: &Value) {
    let headers = [("Content-Type", "application/json")];
    let answer = client.request("POST", path, &headers, body.to_string().as_bytes());
    assert!(matches!(answer.status, 200 | 201), "{answer:?}");
}

/// How long some keys are to live: longer than any test is of use.
const TTL_SECONDS: u64 = 3_153_600_000;

/// A node with all kinds of changes in some complete segments, each of which has an index.
fn filled() -> Node {
    filled_with(&SHORT_SEGMENTS, 120)
}

/// The same, with those segments and so many changes of each kind.
fn filled_with(segments: &[&str], count: usize) -> Node {
    let node = NodeBuilder::new().flags(segments).start();
    let mut client = node.client();
    for n in 0..3 {
        post(&mut client, "/tenants", &json!({"name": format!("t{n}")}));
        post(&mut client, &format!("/tenants/t{n}/collections"), &json!({"name": "c"}));
    }
    for n in 0..count {
        let filler = "x".repeat(9_000);
        let tenant = n % 3;
        client.append(json!({"data": n, "tags": [format!("tag{}", n % 7)]}).to_string());
        let path = format!("/tenants/t{tenant}/changes");
        post(&mut client, &path, &json!({"data": filler, "tags": ["odd"]}));
        let path = format!("/tenants/t{tenant}/collections/c/keys");
        let mut item = json!({"key": format!("k{}", n % 40), "data": n});
        if n % 5 == 1 {
            item["ttl"] = TTL_SECONDS.into();
        }
        post(&mut client, &path, &item);
        if n % 9 == 0 {
            let key = format!("{path}/k{}", n % 40);
            assert_eq!(client.request("DELETE", &key, &[], b"").status, 200);
        }
    }
    let (data, active) = (node.data(), files(&node.data(), &["seg"]).len());
    assert!(active > 6, "{active} segments");
    eventually("complete segments have an index", || {
        // The last one is written to, and there may be another prepared.
        files(&data, &["index"]).len() + 2 >= files(&data, &["seg"]).len()
    });
    node
}

/// All that is served, of every list.
fn all(client: &mut Client) -> Vec<String> {
    let mut paths = vec!["/changes?limit=10000".to_owned(), "/tenants".to_owned()];
    paths.extend((0..7).map(|n| format!("/changes?limit=10000&tag=tag{n}")));
    for n in 0..3 {
        paths.push(format!("/tenants/t{n}/changes?limit=10000&tag=odd"));
        for list in
            ["changes?limit=10000", "collections/c/changes?limit=10000", "collections/c/keys"]
        {
            paths.push(format!("/tenants/t{n}/{list}"));
        }
    }
    let answers = paths.iter().map(|path| client.get(path));
    answers.map(|answer| format!("{} {}", answer.status, answer.text())).collect()
}

#[test]
fn a_start_reads_no_segment_that_has_an_index() {
    let node = filled();
    let before = all(&mut node.client());
    let node = node.kill().start();
    assert_eq!(all(&mut node.client()), before);
    let said = node.stderr();
    assert!(!said.contains("has no index"), "{said}");
}

#[test]
fn what_is_missing_is_made_anew() {
    let node = filled_with(&SHORTEST, 100);
    let (before, data) = (all(&mut node.client()), node.data());
    eventually("the state is written", || !files(&data, &["state"]).is_empty());
    let builder = node.kill();
    let indexes = files(&data, &["index"]);
    fs::remove_file(&indexes[indexes.len() / 2]).unwrap();
    let node = builder.start();
    assert_eq!(all(&mut node.client()), before);
    let expiring = node.client().metric("expiring_keys");
    assert!(expiring > 5, "{expiring} keys expire");
    assert_eq!(node.stderr().matches("has got an index").count(), 1, "{}", node.stderr());
    let builder = node.kill();
    files(&data, &["index", "state"]).iter().for_each(|path| fs::remove_file(path).unwrap());
    let node = builder.start();
    assert_eq!(all(&mut node.client()), before);
    assert!(files(&data, &["index"]).len() >= indexes.len());
    assert_eq!(node.client().metric("expiring_keys"), expiring, "made anew");
    let node = node.kill().start();
    assert_eq!(all(&mut node.client()), before);
    assert_eq!(node.client().metric("expiring_keys"), expiring, "by the indexes");
}

fn flip(path: &Path, at: usize) {
    let file = fs::File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at as u64).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at as u64).unwrap();
}

#[test]
fn one_that_rots_is_made_anew_while_the_node_runs() {
    let node = filled();
    let (before, data) = (all(&mut node.client()), node.data());
    let node = node.stop().flags(&["--scrub-period", "100ms"]).start();
    let indexes = files(&data, &["index"]);
    let whole: Vec<_> = indexes.iter().map(|path| fs::read(path).unwrap()).collect();
    let mut client = node.client();
    // Those that are made of it are made after it.
    for (path, bytes) in indexes.iter().zip(&whole).take(3) {
        flip(path, bytes.len() / 2);
    }
    eventually("all are as they were", || {
        let now = indexes.iter().map(|path| fs::read(path).unwrap());
        now.eq(whole.iter().cloned())
    });
    eventually("nothing is damaged", || client.get("/health").json() == json!({"status": "ok"}));
    assert!(client.get("/metrics").text().contains("\nchangeagent_healed_files 3\n"));
    let said = node.stderr();
    for path in &indexes[..3] {
        let name = path.file_name().unwrap().to_str().unwrap();
        let lines = said.lines().filter(|line| line.contains(name));
        let told = |what: &str| lines.clone().filter(|line| line.contains(what)).count();
        assert_eq!(told("a part of the log is damaged on the disk"), 1, "{said}");
        assert_eq!(told("what was damaged is made anew"), 1, "{said}");
    }
    assert_eq!(all(&mut client), before);
    // What is read from now on is what is made anew.
    indexes.iter().take(3).for_each(|path| fs::remove_file(path).unwrap());
    assert_eq!(all(&mut client), before);
}

#[test]
fn one_that_is_damaged_is_found_by_check_and_made_anew_by_a_start() {
    let node = filled();
    let (before, data) = (all(&mut node.client()), node.data());
    let builder = node.stop();
    let index = files(&data, &["index"])[1].clone();
    let name = index.file_name().unwrap().to_str().unwrap();
    let bytes = fs::read(&index).unwrap();
    flip(&index, bytes.len() / 2);
    let checked = run("http://127.0.0.1:1", &["check", "--data", data.to_str().unwrap()]);
    assert_eq!(checked.code, Some(1));
    let said = checked.stderr;
    assert!(said.contains(name) && said.contains("nothing is lost"), "{said}");
    fs::remove_file(&index).unwrap();
    let node = builder.start();
    assert_eq!(all(&mut node.client()), before);
    assert_eq!(fs::read(&index).unwrap(), bytes, "it is made as it was");
}

/// What `changeagent check` says is wrong.
fn checked(data: &Path) -> String {
    let checked = run("http://127.0.0.1:1", &["check", "--data", data.to_str().unwrap()]);
    assert_eq!(checked.code, Some(i32::from(!checked.stderr.is_empty())));
    checked.stderr
}

#[test]
fn one_that_is_of_another_segment_or_of_none_is_found_by_check() {
    let node = filled_with(&SHORTEST, 100);
    let (before, data) = (all(&mut node.client()), node.data());
    eventually("the state is written", || !files(&data, &["state"]).is_empty());
    let builder = node.stop();
    let (indexes, state) = (files(&data, &["index"]), files(&data, &["state"]).pop().unwrap());
    assert_eq!(checked(&data), "");
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    let says = |path: &Path, what: &str| {
        let said = checked(&data);
        assert!(said.contains(&name(path)) && said.contains(what), "{said}");
        assert!(said.contains("nothing is lost"), "{said}");
    };
    let (third, fourth) = (fs::read(&indexes[2]).unwrap(), fs::read(&indexes[3]).unwrap());
    fs::write(&indexes[2], &fourth).unwrap();
    fs::write(&indexes[3], &third).unwrap();
    says(&indexes[2], "it is of another segment");
    fs::write(&indexes[2], &third).unwrap();
    fs::write(&indexes[3], &fourth).unwrap();
    for (file, ends) in [(&indexes[2], "index"), (&state, "state")] {
        let stray = data.join(format!("{:020}.{ends}", 7_777));
        fs::copy(file, &stray).unwrap();
        says(&stray, "it is of a segment that is not there");
        fs::remove_file(&stray).unwrap();
    }
    let earlier = data.join(name(&indexes[0]).replace("index", "state"));
    fs::copy(&state, &earlier).unwrap();
    says(&earlier, "it is of another segment");
    let node = builder.start();
    assert_eq!(all(&mut node.client()), before);
}

/// Still shorter ones.
const SHORTEST: [&str; 8] =
    ["--segment-size", "104KiB", "--max-body", "16KiB", "--max-data", "16KiB", "--max-batch", "20"];

/// A data directory that an earlier build left when it was killed, and what it had served.
fn fixture(version: u32) -> PathBuf {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    directory.join(format!("indexed-v{version}"))
}

/// The SHA-256 of each answer, a line each.
fn digests(answers: &[String]) -> String {
    let hex = |byte: &u8| format!("{byte:02x}");
    let digest = |answer: &String| Sha256::digest(answer).iter().map(hex).collect::<String>();
    answers.iter().map(|answer| digest(answer) + "\n").collect()
}

/// Makes the fixture anew, as is to be done once for each version of the format.
fn make_fixture(version: u32) {
    let node = filled_with(&SHORTEST, 50);
    let (served, data) = (all(&mut node.client()), node.data());
    eventually("the state is written", || !files(&data, &["state"]).is_empty());
    let _builder = node.kill();
    let fixture = fixture(version);
    fs::create_dir_all(&fixture).unwrap();
    for path in files(&data, &["seg", "index", "state"]) {
        fs::copy(&path, fixture.join(path.file_name().unwrap())).unwrap();
    }
    fs::write(fixture.join("served.sha256"), digests(&served)).unwrap();
}

/// `MAKE_FIXTURE=N` makes what is read here of the version that is written now, N.
#[test]
fn what_an_earlier_build_indexed_is_taken_up() {
    if let Ok(version) = std::env::var("MAKE_FIXTURE") {
        make_fixture(version.parse().unwrap());
    }
    // The first version knew no time to live.
    takes_up(1, 0);
    takes_up(2, 9);
}

/// Starts on what a build of that version left, in which so many keys expire.
fn takes_up(version: u32, expiring: u64) {
    let (directory, fixture) = (temporary(), fixture(version));
    let data = directory.path().join("data");
    fs::create_dir(&data).unwrap();
    for path in files(&fixture, &["seg", "index", "state"]) {
        fs::copy(&path, data.join(path.file_name().unwrap())).unwrap();
    }
    let served = fs::read_to_string(fixture.join("served.sha256")).unwrap();
    let node = NodeBuilder::bare(&directory, &data).flags(&SHORTEST).start();
    assert_eq!(digests(&all(&mut node.client())), served);
    assert_eq!(node.client().metric("expiring_keys"), expiring);
    let said = node.stderr();
    assert!(!said.contains("has no index") && !said.contains("made anew"), "{said}");
}
