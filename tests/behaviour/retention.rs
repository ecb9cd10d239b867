//! Retention: history that is old enough is purged and says so, and everything
//! that is current stays, byte for byte, over stops and kills.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use testkit::{Bar, Client, NodeBuilder, PATIENCE, Stream, eventually, ids, percent, strings};

/// How often a stream says how far it is whatever happens.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Keeps a thousand changes, and whole segments of 2 MiB.
fn builder() -> NodeBuilder {
    NodeBuilder::new().flags(&["--retain-min-changes", "1000"])
}

/// Fills some segments with changes that nobody needs.
fn fill(client: &mut Client, segments: usize) {
    let batch = format!("{{\"data\":\"{}\"}}\n", "x".repeat(1800)).repeat(500);
    for _ in 0..2 * segments {
        assert_eq!(client.post_lines("/changes", &batch).status, 201);
    }
}

fn first(client: &mut Client) -> u64 {
    ids(&client.list("?limit=1"))[0]
}

/// Waits until history up to the change `id` is purged.
fn purged_beyond(client: &mut Client, id: u64) -> u64 {
    eventually("history is purged", || first(client) > id);
    first(client)
}

/// The files of a data directory that end so.
fn ending(data: &Path, end: &str) -> Vec<PathBuf> {
    let names = std::fs::read_dir(data).unwrap().map(|entry| entry.unwrap().path());
    names.filter(|path| path.to_string_lossy().ends_with(end)).collect()
}

#[test]
fn purged_history_is_410_and_what_is_held_is_whole() {
    let node = builder().start();
    let mut client = node.client();
    fill(&mut client, 8);
    let last = client.list("?since=now")["last"].as_u64().unwrap();
    let first = purged_beyond(&mut client, last - 4000);
    assert!(first + 1000 <= last + 1, "as many as were asked for are kept");
    for target in ["/changes?since=1".to_owned(), format!("/changes?since={}", first - 2)] {
        assert_eq!(client.get(&target).problem(410, "purged")["first"], first, "{target}");
    }
    for target in ["/changes/1".to_owned(), format!("/changes/{}", first - 1)] {
        assert_eq!(client.get(&target).problem(410, "purged")["first"], first, "{target}");
    }
    // A browser would give up for good at any status but 200.
    let headers = [("Accept", "text/event-stream"), ("Last-Event-ID", "1")];
    for (target, headers) in [("/changes", &headers[..]), ("/changes?since=1", &headers[..1])] {
        let mut stream = Stream::open_with(node.client(), target, headers);
        let reset = stream.message().expect("an event");
        assert_eq!((&*reset.name, reset.id), ("reset", None), "{reset:?}");
        assert_eq!(
            (&reset.json()["code"], &reset.json()["first"]),
            (&"purged".into(), &first.into())
        );
        assert_eq!(stream.message(), None);
    }
    let lines = [("Accept", "application/x-ndjson")];
    client.request("GET", "/changes?since=1", &lines, b"").problem(410, "purged");
    assert_eq!(client.get(&format!("/changes/{first}")).status, 200);
    let page = client.list(&format!("?since={}&limit=10000", first - 1));
    assert!(ids(&page).into_iter().eq(first..=last));
    assert_eq!((&page["atStart"], &page["atEnd"]), (&true.into(), &true.into()));
    let all = client.list("?limit=10000");
    assert_eq!((&all["changes"], &all["atStart"]), (&page["changes"], &true.into()));
    eventually("segments are removed", || ending(&node.data(), ".seg").len() <= 5);
    // Ids go on where they were.
    assert_eq!(client.append("{\"data\":1}"), last + 1);
}

#[test]
fn waits_that_stand_while_history_is_purged_have_missed_nothing() {
    const EVENTS: &str = "text/event-stream";
    const LINES: &str = "application/x-ndjson";
    let node = builder().start();
    let mut client = node.client();
    client.tenant("quiet");
    let c = client.collection("quiet", "c");
    let mine = format!("{{\"collection\":\"{c}\",\"tags\":[\"rare\"],\"data\":1}}");
    assert_eq!(client.append(&mine), 1);
    let lists = [
        "/tenants/quiet/changes?since=1".to_owned(),
        format!("/collections/{c}/changes?since=1"),
        format!("/collections/{c}/changes?tag=rare&since=1"),
        "/changes?tag=rare&since=1".to_owned(),
    ];
    let mut polls: Vec<Client> = Vec::new();
    for list in &lists {
        for _ in 0..2 {
            let mut poll = node.client();
            poll.send_request("GET", &format!("{list}&block=300"), &[], b"");
            polls.push(poll);
        }
    }
    let open = |accept, query: &str| -> Vec<Stream> {
        let target = |list| format!("{list}{query}");
        lists.iter().map(|list| Stream::open(node.client(), &target(list), accept)).collect()
    };
    let (mut events, mut lines) = (open(EVENTS, ""), open(LINES, "&block=300"));
    let all = polls.len() + events.len() + lines.len();
    client.sees_parked(all);

    fill(&mut client, 8);
    let last = client.list("?since=now")["last"].as_u64().unwrap();
    purged_beyond(&mut client, last - 4000);
    for list in &lists {
        client.get(list).problem(410, "purged");
    }
    assert_eq!(client.parked(), all as u64, "they waited all the time");
    let id = client.append(&mine);
    for poll in polls.iter_mut().step_by(2) {
        let answer = poll.answer();
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!((ids(&answer.json()), &answer.json()["last"]), (vec![id], &id.into()));
        // Whoever waited for the same is answered, too; these wait on.
    }
    for (n, stream) in events.iter_mut().enumerate() {
        assert_eq!(stream.event().map(|event| event.id), Some(id), "{}", lists[n]);
        assert_eq!(stream.cursor(), id);
    }
    for stream in &mut lines {
        assert!(stream.change().is_some_and(|line| line.starts_with(&format!("{{\"_id\":{id},"))));
    }
}

#[test]
fn a_poll_that_ends_after_a_purge_says_how_far_it_looked() {
    let node = builder().start();
    let mut client = node.client();
    client.tenant("quiet");
    client.append(r#"{"tenant":"quiet","data":1}"#);
    let mut poll = node.client();
    poll.send_request("GET", "/tenants/quiet/changes?since=1&block=300", &[], b"");
    client.sees_parked(1);
    fill(&mut client, 8);
    let last = client.list("?since=now")["last"].as_u64().unwrap();
    purged_beyond(&mut client, last - 4000);
    // A stop answers all that waits.
    node.signal(libc::SIGTERM);
    let answer = poll.answer();
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!((ids(&answer.json()), &answer.json()["last"]), (vec![], &last.into()));
}

/// A broken connection must not cost a quiet reader its place, at any moment.
#[test]
fn a_stream_that_waits_says_how_far_it_is_when_history_is_purged() {
    let node = builder().start();
    let mut client = node.client();
    client.tenant("quiet");
    client.append(r#"{"tenant":"quiet","tags":["rare"],"data":1}"#);
    let lists = ["/tenants/quiet/changes?", "/changes?tag=rare&"];
    // Before the first of them would say so without a purge.
    let heartbeat = Instant::now() + HEARTBEAT;
    let events = lists.map(|list| {
        let mut stream = Stream::open(node.client(), list, "text/event-stream");
        assert_eq!((stream.cursor(), stream.event().unwrap().id, stream.cursor()), (0, 1, 1));
        stream
    });
    let lines = lists.map(|list| {
        let target = format!("{list}since=1&block=300&cursors=true");
        Stream::open(node.client(), &target, "application/x-ndjson")
    });
    client.sees_parked(4);
    fill(&mut client, 5);
    let first = purged_beyond(&mut client, 1);
    let last_of = |mut stream: Stream, read: fn(&mut Stream) -> u64| {
        std::iter::from_fn(|| Some(read(&mut stream))).find(|last| last + 1 >= first).unwrap()
    };
    let of_line = |lines: &mut Stream| {
        let line = lines.line().expect("the stream goes on");
        serde_json::from_str::<serde_json::Value>(&line).unwrap()["last"].as_u64().unwrap()
    };
    for (n, stream) in events.into_iter().enumerate() {
        let last = last_of(stream, Stream::cursor);
        assert_eq!(client.get(&format!("{}since={last}", lists[n])).status, 200);
    }
    for stream in lines {
        last_of(stream, of_line);
    }
    assert!(Instant::now() < heartbeat, "a purge is told of as it happens");
}

/// Both hold less of the list than retention leaves behind.
#[test]
fn a_slow_reader_that_retention_overtakes_is_told() {
    let node = builder().start();
    let mut client = node.client();
    client.append(r#"{"data":1}"#);
    let mut events = Stream::open(node.client(), "/changes", "text/event-stream");
    assert_eq!(events.event().map(|event| event.id), Some(1));
    let target = "/changes?block=300";
    let mut lines = Stream::open(node.client(), target, "application/x-ndjson");
    assert!(lines.change().is_some());
    fill(&mut client, 12);
    let last = client.list("?since=now")["last"].as_u64().unwrap();
    let first = purged_beyond(&mut client, last - 4000);
    let mut at = 1;
    let reset = loop {
        let message = events.message().expect("it says why it ends");
        match &*message.name {
            "" => {
                at += 1;
                assert_eq!(message.id, Some(at), "no gap");
            }
            "cursor" => assert_eq!(message.id, Some(at)),
            _ => break message,
        }
    };
    assert!(at < first, "retention overtook it");
    assert_eq!((&*reset.name, &reset.json()["code"]), ("reset", &"purged".into()));
    assert_eq!(events.message(), None, "the end");
    let mut at = 1;
    let end = loop {
        match lines.try_line() {
            Ok(Some(line)) if line.is_empty() => {}
            Ok(Some(line)) => {
                at += 1;
                assert!(line.starts_with(&format!("{{\"_id\":{at},")), "no gap: {line}");
            }
            end => break end,
        }
    };
    assert!(end.is_err() && at < first, "lines break off");
}

/// Everything that stays visible when history goes.
fn current(bar: &mut Bar, keys: &[&str]) -> Vec<String> {
    let mut seen = Vec::new();
    let lists = [bar.keys.clone(), format!("{}?prefix=a&limit=2", bar.keys)];
    let named = keys.iter().map(|key| format!("{}/{}", bar.keys, percent(key)));
    let rest = ["/tenants", "/tenants/foo/collections", "/tenants/foo/collections/bar"];
    for target in lists.into_iter().chain(named).chain(rest.map(String::from)) {
        let answer = bar.client.get(&target);
        seen.push(format!(
            "{target} {} {:?} {}",
            answer.status,
            answer.header("etag"),
            answer.text()
        ));
    }
    seen
}

#[test]
fn keys_names_and_idempotency_keys_outlive_the_history_they_come_from() {
    let keys = ["a", "a/b", "é\n\"\\", "z", "gone"];
    let mut bar = Bar::on(builder().start());
    for key in keys {
        let target = format!("{}/{}", bar.keys, percent(key));
        let answer = bar.client.put(&target, r#"{"data":{"n":1.10,"n":"\u00e9"},"tags":["t"]}"#);
        assert_eq!(answer.status, 201, "{}", answer.text());
    }
    bar.client.delete(&format!("{}/gone", bar.keys)).id();
    let once = [("Idempotency-Key", "k")];
    let write = r#"{"data":"once"}"#;
    let answer = bar.client.json_with("POST", "/changes", &once, write);
    let (id, before) = (answer.id(), current(&mut bar, &keys));
    fill(&mut bar.client, 6);
    let first = purged_beyond(&mut bar.client, id);
    assert_eq!(current(&mut bar, &keys), before);
    let repeat = bar.client.json_with("POST", "/changes", &once, write);
    assert_eq!((repeat.id(), repeat.header("idempotency-replayed")), (id, Some("true")));
    let list = format!("/collections/{}/changes", bar.collection);
    let page = bar.client.page(&list);
    assert_eq!((ids(&page).len(), &page["atStart"]), (0, &true.into()));
    // A condition on a version whose change is purged still holds.
    let target = format!("{}/a", bar.keys);
    let version = bar.client.get(&target).header("etag").unwrap().to_owned();
    let headers = [("If-Match", version.as_str())];
    let newer = bar.client.json_with("PUT", &target, &headers, "{\"data\":2}");
    assert_eq!(newer.status, 200);
    let before = current(&mut bar, &keys);
    for kill in [false, true] {
        bar = bar.again(|node| if kill { node.kill() } else { node.stop() });
        assert_eq!(current(&mut bar, &keys), before);
        assert!(self::first(&mut bar.client) >= first, "what is purged stays so");
        let repeat = bar.client.json_with("POST", "/changes", &once, write);
        assert_eq!((repeat.id(), repeat.header("idempotency-replayed")), (id, Some("true")));
        // What was carried is carried on by the next checkpoint.
        let last = bar.client.list("?since=now")["last"].as_u64().unwrap();
        fill(&mut bar.client, 6);
        purged_beyond(&mut bar.client, last);
        assert_eq!(current(&mut bar, &keys), before);
    }
}

/// What shows how far a purge has come.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    /// Its checkpoint is being written.
    Writes,
    /// The checkpoint has its name, and the segments are still there.
    Named,
    /// The first of the segments is gone.
    Removes,
}

/// The steps of the next purge, as the files of a data directory show them.
struct Purge {
    data: PathBuf,
    newest_checkpoint: Option<PathBuf>,
    oldest_segment: PathBuf,
}

impl Purge {
    fn next(data: &Path) -> Self {
        let newest_checkpoint = ending(data, ".checkpoint").into_iter().max();
        let oldest_segment = ending(data, ".seg").into_iter().min().expect("a segment");
        Self { data: data.to_owned(), newest_checkpoint, oldest_segment }
    }

    fn is_at(&self, step: Step) -> bool {
        let is_whole = self.oldest_segment.exists();
        match step {
            Step::Writes => self.data.join("checkpoint.tmp").exists(),
            Step::Named => {
                is_whole
                    && ending(&self.data, ".checkpoint").into_iter().max() > self.newest_checkpoint
            }
            Step::Removes => !is_whole,
        }
    }

    /// Fills segments until a purge is at that step, and looks without a pause:
    /// steps are short.
    fn comes_to(client: &mut Client, data: &Path, step: Step) -> Self {
        let end = Instant::now() + PATIENCE;
        loop {
            fill(client, 4);
            let purge = Self::next(data);
            let look = Instant::now();
            while look.elapsed() < Duration::from_secs(3) {
                if purge.is_at(step) {
                    return purge;
                }
            }
            assert!(Instant::now() < end, "no purge comes to {step:?}");
        }
    }
}

#[test]
fn kills_while_history_is_purged_lose_nothing_that_is_current() {
    const STEPS: [Step; 3] = [Step::Writes, Step::Named, Step::Removes];
    let mut bar = Bar::on(builder().start());
    let data = bar.node.data();
    let mut versions = std::collections::BTreeMap::new();
    let mut halfway = 0;
    for round in 0..6 {
        for n in 0..50 {
            let target = format!("{}/k{}", bar.keys, (n * 7 + round) % 90);
            let answer = bar.client.put(&target, format!("{{\"data\":[{round},{n}]}}"));
            versions.insert(target, answer.id());
        }
        // Entries without changes are a part of history, too.
        bar.client.tenant(&format!("of-round-{round}"));
        let step = STEPS[round % STEPS.len()];
        let purge = Purge::comes_to(&mut bar.client, &data, step);
        bar = bar.again(|node| {
            let killed = node.kill();
            halfway += u64::from(step != Step::Removes && purge.is_at(step));
            killed
        });
        for (target, version) in &versions {
            let answer = bar.client.get(target);
            assert_eq!(answer.header("etag"), Some(&*format!("\"{version}\"")), "{target}");
            assert_eq!(answer.json()["_id"], *version);
        }
        let tenants = bar.client.page("/tenants?limit=100");
        let names = strings(&tenants["tenants"], "name");
        let rounds = (0..=round).map(|round| format!("of-round-{round}"));
        assert!(names.into_iter().eq(["foo".to_owned()].into_iter().chain(rounds)));
        let last = bar.client.list("?since=now")["last"].as_u64().unwrap();
        let (mut since, mut count) = (first(&mut bar.client) - 1, 0);
        let oldest = since;
        while since < last {
            let page = bar.client.list(&format!("?since={since}&limit=10000"));
            count += ids(&page).len() as u64;
            since = page["last"].as_u64().unwrap();
        }
        assert_eq!(count, last - oldest, "the list is dense");
    }
    assert!(halfway > 0, "no kill came while a purge was under way");
}

#[test]
fn young_changes_are_kept_whatever_their_number() {
    let flags = ["--retain-min-changes", "1", "--retain-min-age", "7d"];
    let node = NodeBuilder::new().flags(&flags).start();
    let mut client = node.client();
    fill(&mut client, 4);
    // Two rounds of looking for what may go.
    assert!(!client.hears_within(Duration::from_millis(2500)));
    assert_eq!(first(&mut client), 1);
}

/// A checkpoint that says to be of the entry 1.
fn reindexed(text: &str) -> String {
    let start = text.find("\"index\":").unwrap() + "\"index\":".len();
    let digits = text[start..].find(',').unwrap();
    format!("{}1{}", &text[..start], &text[start + digits..])
}

/// The same lines with their checksum.
fn resigned(text: &str) -> String {
    let end = text.trim_end().rfind('\n').unwrap() + 1;
    let sum = crc32c::crc32c(&text.as_bytes()[..end]);
    format!("{}{{\"crc32c\":{sum}}}\n", &text[..end])
}

#[test]
fn a_checkpoint_of_another_cluster_is_refused_before_anything_is_read_onto_it() {
    let [one, other] = [0, 1].map(|_| {
        let node = builder().start();
        let mut client = node.client();
        fill(&mut client, 6);
        purged_beyond(&mut client, 1);
        eventually("one checkpoint is left", || ending(&node.data(), ".checkpoint").len() == 1);
        let data = node.data();
        (node.stop(), ending(&data, ".checkpoint").remove(0))
    });
    let (stopped, path) = one;
    let sound = std::fs::read(&path).unwrap();
    std::fs::copy(&other.1, &path).unwrap();
    let name = path.file_name().unwrap().to_str().unwrap();
    stopped.fails().says(&[name, "cluster", ".seg"]);
    // Nor does a checkpoint without a log begin one.
    let data = path.parent().unwrap();
    let aside = data.with_extension("aside");
    std::fs::create_dir(&aside).unwrap();
    for segment in ending(data, ".seg") {
        std::fs::rename(&segment, aside.join(segment.file_name().unwrap())).unwrap();
    }
    stopped.fails().says(&[name, "log", "missing"]);
    assert_eq!(ending(data, ".seg").len(), 0);
    for segment in ending(&aside, ".seg") {
        std::fs::rename(&segment, data.join(segment.file_name().unwrap())).unwrap();
    }
    std::fs::write(&path, sound).unwrap();
    assert!(first(&mut stopped.start().client()) > 1);
}

#[test]
fn a_start_without_its_checkpoint_or_with_a_damaged_one_is_refused() {
    let node = builder().start();
    let mut client = node.client();
    fill(&mut client, 6);
    purged_beyond(&mut client, 1);
    let data = node.data();
    eventually("one checkpoint is left", || ending(&data, ".checkpoint").len() == 1);
    let stopped = node.stop();
    let path = ending(&data, ".checkpoint").remove(0);
    let sound = std::fs::read(&path).unwrap();
    let mut bad = sound.clone();
    let middle = bad.len() / 2;
    bad[middle] ^= 1;
    std::fs::write(&path, bad).unwrap();
    let name = path.file_name().unwrap().to_str().unwrap();
    let words = [name, "cannot be used", "nothing was changed", "--join", "from a backup"];
    stopped.fails().says(&words);
    std::fs::remove_file(&path).unwrap();
    stopped.fails().says(&[name, "missing"]);
    // An older one does not stand for all that was purged.
    let older = path.with_file_name("00000000000000000001.checkpoint");
    let text = String::from_utf8(sound.clone()).unwrap();
    std::fs::write(&older, resigned(&reindexed(&text))).unwrap();
    stopped.fails().says(&[name, "missing", "00000000000000000001.checkpoint"]);
    std::fs::remove_file(&older).unwrap();
    std::fs::write(&path, sound).unwrap();
    let node = stopped.start();
    assert!(first(&mut node.client()) > 1);
}
