//! Damage on the disk under a node that runs: it is never served, it is told with its range, and
//! everything else is served on.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use testkit::{Bar, Client, NodeBuilder, SHORT_SEGMENTS, Stream, eventually, ids};

const EVENTS: (&str, &str) = ("Accept", "text/event-stream");
const LINES: &str = "application/x-ndjson";

/// A place in a data directory.
struct Spot {
    file: PathBuf,
    at: u64,
}

impl Spot {
    /// Where `text` stands, which is in one file only.
    fn of(data: &Path, text: &str) -> Self {
        let mut found = Vec::new();
        for entry in fs::read_dir(data).unwrap() {
            let file = entry.unwrap().path();
            let Ok(bytes) = fs::read(&file) else { continue };
            let at = bytes.windows(text.len()).position(|window| window == text.as_bytes());
            found.extend(at.map(|at| Self { file, at: at as u64 }));
        }
        assert_eq!(found.len(), 1, "{text} stands in one file");
        found.remove(0)
    }

    fn name(&self) -> &str {
        self.file.file_name().unwrap().to_str().unwrap()
    }

    fn flip(&self) {
        let file = File::options().read(true).write(true).open(&self.file).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, self.at).unwrap();
        file.write_all_at(&[byte[0] ^ 0x40], self.at).unwrap();
    }

    fn zero(&self, bytes: usize) {
        let file = File::options().write(true).open(&self.file).unwrap();
        file.write_all_at(&vec![0; bytes], self.at).unwrap();
    }
}

fn filler(n: usize) -> String {
    format!("filler-{n}-{}", "x".repeat(12_000))
}

fn builder() -> NodeBuilder {
    NodeBuilder::new().flags(&SHORT_SEGMENTS)
}

/// What is in the damaged node: the ids of what the tests look for.
struct Filled {
    bar: Bar,
    /// Ten changes of the tenant, written at once.
    ten: Vec<u64>,
    /// The change of the key `needle`.
    key: u64,
    last: u64,
}

/// A node with complete segments that hold a list, one with other tenants and keys between. All
/// of it is read from the disk: what was in memory went with an earlier process.
fn filled(builder: NodeBuilder) -> Filled {
    let mut bar = Bar::on(builder.start());
    let some = |client: &mut Client, from: usize| {
        for n in from..from + 40 {
            client.append(json!({"data": filler(n)}).to_string());
        }
    };
    some(&mut bar.client, 0);
    bar.put("before", 1);
    let lines: String = (0..10).map(|n| format!("{{\"data\":\"ten-{n}-of-foo\"}}\n")).collect();
    let ten = bar.client.post_lines("/tenants/foo/changes", &lines).json();
    some(&mut bar.client, 40);
    let key = bar.put("needle", "\"the value of needle\"");
    bar.put("behind", 2);
    some(&mut bar.client, 80);
    let bar = bar.again(testkit::Node::stop);
    let last = bar.node.client().list("?since=now")["last"].as_u64().unwrap();
    let ten = (ten["first"].as_u64().unwrap()..=ten["last"].as_u64().unwrap()).collect();
    Filled { bar, ten, key, last }
}

/// The whole list as pages give it, with the ranges that cannot be read.
fn list(client: &mut Client, path: &str) -> (Vec<u64>, Vec<(u64, u64)>) {
    let (mut since, mut found, mut damaged) = (0, Vec::new(), Vec::new());
    loop {
        let answer = client.get(&format!("{path}?since={since}&limit=1000"));
        if answer.status == 500 {
            let problem = answer.problem(500, "damaged");
            let (first, last) = range(&problem);
            assert!(since < last && first <= last, "it goes on: {problem}");
            damaged.push((first, last));
            since = last;
            continue;
        }
        let page = answer.json();
        found.extend(ids(&page));
        since = page["last"].as_u64().unwrap();
        if page["atEnd"] == true {
            return (found, damaged);
        }
        assert!(!ids(&page).is_empty());
    }
}

pub(crate) fn range(problem: &Value) -> (u64, u64) {
    (problem["first"].as_u64().unwrap(), problem["last"].as_u64().unwrap())
}

#[test]
fn what_is_damaged_is_told_with_its_range_and_the_rest_is_served() {
    let Filled { bar, ten, last, .. } = filled(builder());
    let mut client = bar.node.client();
    let spot = Spot::of(&bar.node.data(), "ten-7-of-foo");
    let whole = (list(&mut client, "/changes").0, list(&mut client, "/tenants/foo/changes").0);
    assert_eq!(whole.0, (1..=last).collect::<Vec<_>>());
    spot.flip();
    let damaged = (ten[0], ten[9]);
    let without =
        |ids: &[u64]| ids.iter().copied().filter(|id| !ten.contains(id)).collect::<Vec<_>>();
    for _ in 0..3 {
        // What comes before is answered first, as a page that does not end the list.
        let page = client.list(&format!("?since={}&limit=50", ten[0] - 4));
        assert_eq!(ids(&page), [ten[0] - 3, ten[0] - 2, ten[0] - 1]);
        assert_eq!((&page["atEnd"], &page["last"]), (&json!(false), &json!(ten[0] - 1)));
        assert_eq!(list(&mut client, "/changes"), (without(&whole.0), vec![damaged]));
        assert_eq!(list(&mut client, "/tenants/foo/changes"), (without(&whole.1), vec![damaged]));
        // No other list is concerned.
        let collection = format!("/collections/{}/changes", bar.collection);
        assert_eq!(list(&mut client, &collection).1, []);
        for id in &ten {
            let problem = client.get(&format!("/changes/{id}")).problem(500, "damaged");
            assert_eq!(range(&problem), damaged);
        }
        assert_eq!(client.get(&format!("/changes/{}", ten[9] + 1)).status, 200);
        // Within the range, and a wait that starts there.
        for query in ["", "&block=60", "&tag=none&block=0"] {
            let answer = client.get(&format!("/changes?since={}{query}", ten[3]));
            match query.contains("tag") {
                true => assert_eq!(answer.status, 200, "nothing there bears the tag"),
                false => assert_eq!(range(&answer.problem(500, "damaged")), damaged),
            }
        }
    }
    let told = client.get("/health").json();
    let place = &told["damaged"][0];
    assert_eq!((told["status"].as_str(), &place["file"]), (Some("ok"), &json!(spot.name())));
    assert!(place["offset"].as_u64().unwrap() < spot.at);
    assert_eq!(told["damaged"].as_array().unwrap().len(), 1);
    let metrics = client.get("/metrics").text().to_owned();
    assert!(metrics.contains("\nchangeagent_damaged_segments 1\n"), "{metrics}");
    let said = bar.node.stderr();
    assert_eq!(said.matches("a part of the log is damaged on the disk").count(), 1, "{said}");
    // Writes go on, and what is restored is served.
    let id = client.append(r#"{"data":"after"}"#);
    spot.flip();
    assert_eq!(list(&mut client, "/changes"), ((1..=id).collect(), vec![]));
}

#[test]
fn keys_whose_change_is_damaged_are_told_and_the_others_are_served() {
    let Filled { bar, key, .. } = filled(builder());
    let mut client = bar.node.client();
    Spot::of(&bar.node.data(), "the value of needle").flip();
    let problem = client.get(&bar.key("needle")).problem(500, "damaged");
    assert_eq!(range(&problem), (key, key));
    for (name, data) in [("before", 1), ("behind", 2)] {
        assert_eq!(client.get(&bar.key(name)).json()["data"], data);
    }
    // The list of keys goes on behind the key that it names.
    let page = client.page(&bar.keys);
    let keys = |page: &Value| testkit::strings(&page["keys"], "key").join(" ");
    assert_eq!((keys(&page).as_str(), &page["atEnd"]), ("before behind", &json!(false)));
    let problem = client.get(&format!("{}?after=behind", bar.keys)).problem(500, "damaged");
    assert_eq!((range(&problem), &problem["key"]), ((key, key), &json!("needle")));
    let page = client.page(&format!("{}?after=needle", bar.keys));
    assert_eq!((keys(&page).as_str(), &page["atEnd"]), ("", &json!(true)));
    // A new version takes its place.
    assert_eq!(client.put(&bar.key("needle"), r#"{"data":3}"#).status, 200);
    assert_eq!(client.get(&bar.key("needle")).json()["data"], 3);
    assert_eq!(keys(&client.page(&bar.keys)), "before behind needle");
}

#[test]
fn streams_come_to_the_damage_and_end_there() {
    let Filled { bar, ten, last, .. } = filled(builder());
    Spot::of(&bar.node.data(), "ten-2-of-foo").flip();
    let id = |line: &str| serde_json::from_str::<Value>(line).unwrap()["_id"].as_u64().unwrap();
    let mut lines = Stream::open(bar.node.client(), "/changes", LINES);
    for wanted in 1..ten[0] {
        assert_eq!(id(&lines.change().unwrap()), wanted);
    }
    assert!(lines.try_line().is_err(), "it is broken off");
    // One that begins there is refused.
    let mut client = bar.node.client();
    let path = format!("/changes?since={}", ten[5]);
    let answer = client.request("GET", &path, &[("Accept", LINES)], b"");
    assert_eq!(range(&answer.problem(500, "damaged")), (ten[0], ten[9]));
    let path = format!("/changes?since={}", ten[9]);
    let rest = Stream::open(client, &path, LINES).changes();
    assert_eq!(rest.iter().map(|line| id(line)).collect::<Vec<_>>(), {
        (ten[9] + 1..=last).collect::<Vec<_>>()
    });

    for from in [0, ten[5]] {
        let path = format!("/changes?since={from}");
        let mut events = Stream::open_with(bar.node.client(), &path, &[EVENTS]);
        assert_eq!(events.cursor(), from);
        for wanted in from + 1..ten[0] {
            assert_eq!(events.event().unwrap().id, wanted);
        }
        let reset = events.message().unwrap();
        assert_eq!((reset.name.as_str(), &reset.json()["code"]), ("reset", &json!("damaged")));
        assert_eq!(range(&reset.json()), (ten[0], ten[9]));
        assert_eq!(events.message(), None);
    }
}

#[test]
fn damage_in_a_row_is_one_range() {
    let Filled { bar, ten, last, .. } = filled(builder());
    let mut client = bar.node.client();
    let spot = Spot::of(&bar.node.data(), "filler-3-xxx");
    spot.zero(50_000);
    let (found, damaged) = list(&mut client, "/changes");
    assert_eq!(damaged.len(), 1, "{damaged:?}");
    let (from, to) = damaged[0];
    assert!(to - from >= 3 && to < ten[0], "{damaged:?}");
    assert_eq!(found, (1..from).chain(to + 1..=last).collect::<Vec<_>>());
}

#[test]
fn a_file_that_became_shorter_is_damage_and_ends_no_process() {
    let Filled { bar, ten, last, .. } = filled(builder());
    let mut client = bar.node.client();
    let spot = Spot::of(&bar.node.data(), "ten-0-of-foo");
    let file = File::options().write(true).open(&spot.file).unwrap();
    file.set_len(spot.at / 4096 * 4096).unwrap();
    let (found, damaged) = list(&mut client, "/changes");
    assert!(found.contains(&(ten[0] - 1)) && found.contains(&last), "{damaged:?}");
    assert!(ten.iter().all(|id| !found.contains(id)));
    let damaged: u64 = damaged.iter().map(|(first, last)| last - first + 1).sum();
    assert_eq!(found.len() as u64 + damaged, last);
}

#[test]
fn a_key_of_purged_history_that_rots_in_the_checkpoint_is_not_served() {
    let flags = ["--retain-min-changes", "20", "--scrub-period", "200ms"];
    let Filled { bar, key, .. } = filled(builder().flags(&flags));
    let mut client = bar.node.client();
    for n in 0..60 {
        client.append(json!({"data": filler(n)}).to_string());
    }
    eventually("the key's change is in the checkpoint alone", || {
        client.get("/changes/1").status == 410
            && client.get(&format!("/changes/{key}")).status == 410
    });
    let bar = bar.again(testkit::Node::stop);
    let mut client = bar.node.client();
    let spot = Spot::of(&bar.node.data(), "the value of needle");
    assert!(spot.name().ends_with(".checkpoint"), "{}", spot.name());
    assert_eq!(client.get(&bar.key("needle")).json()["data"], "the value of needle");
    spot.flip();
    let problem = client.get(&bar.key("needle")).problem(500, "damaged");
    assert_eq!(range(&problem), (key, key));
    assert_eq!(client.get(&bar.key("before")).json()["data"], 1);
    assert_eq!(client.get("/health").json()["damaged"][0]["file"], spot.name());
}

#[test]
fn an_export_of_a_damaged_node_ends_at_the_damage_and_says_so() {
    let Filled { bar, ten, .. } = filled(builder());
    Spot::of(&bar.node.data(), "ten-4-of-foo").flip();
    let ended = testkit::run(&bar.node.url(), &["export"]);
    assert_eq!(ended.stdout.lines().count() as u64, ten[0] - 1);
    let range = format!("the changes {} to {} is damaged", ten[0], ten[9]);
    ended.fails_saying(&[&range, "byte"]);
}

#[test]
fn history_that_is_damaged_is_not_purged_and_that_is_told() {
    let Filled { bar, .. } = filled(builder());
    let builder = bar.node.stop().flags(&["--retain-min-changes", "20"]);
    let node = builder.start();
    // A checkpoint is to hold it.
    let spot = Spot::of(&node.data(), "the value of needle");
    spot.flip();
    let mut client = node.client();
    eventually("it is noticed", || {
        // What is not purged yet may be, as soon as there is more.
        client.append(json!({"data": filler(0)}).to_string());
        client.get("/health").json()["damaged"][0]["file"] == spot.name()
    });
    assert_eq!(client.get("/changes/1").status, 200);
    spot.flip();
    // It would be tried again after a while.
    let node = node.stop().start();
    let mut client = node.client();
    eventually("it is purged once it is sound", || client.get("/changes/1").status == 410);
}
