//! The program as a client of a server that fails: each change is stored once,
//! and read once.

use std::path::Path;

use testkit::{Fake, Fault, Held, Watched, eventually, file, run, run_with, temporary};

/// Lines to import: so many changes, numbered from 1.
fn changes(count: u64) -> Vec<String> {
    (1..=count).map(|n| format!(r#"{{"data":{{"n":{n}.0,"t":"\u00e9"}}}}"#)).collect()
}

fn text(changes: &[String]) -> String {
    changes.iter().map(|change| format!("{change}\n")).collect()
}

const FAULTS: [(u64, Fault); 5] =
    [(2, Fault::Busy), (4, Fault::Doubt), (6, Fault::Cut), (8, Fault::HangUp), (9, Fault::HangUp)];

#[test]
fn an_import_stores_each_line_once_whatever_fails() {
    let fake = Fake::start(&FAULTS);
    let directory = temporary();
    let lines = changes(100);
    let path = file(directory.path(), "in", &text(&lines));
    let arguments = ["import", path.to_str().unwrap(), "--batch", "10"];
    let said = "imported 100 lines: 100 changes stored; ids 1 to 100; every line acknowledged";
    run(fake.url(), &arguments).ok_saying(&[said]);
    assert_eq!(fake.changes(), lines);
    assert_eq!(fake.replayed(), 3, "the outcome of two was unknown, of one of them twice");
}

#[test]
fn a_killed_import_goes_on_and_stores_each_line_once() {
    let directory = temporary();
    let lines = changes(100);
    for fault in [Fault::Stall, Fault::StallDone] {
        for request in [1, 2, 7, 10] {
            let fake = Fake::start(&[(request, fault)]);
            let path = file(directory.path(), &format!("{fault:?}{request}"), &text(&lines));
            let arguments = ["import", path.to_str().unwrap(), "--batch", "10"];
            let import = Held::start(fake.url(), &arguments);
            fake.waits_for_requests(request);
            // The journal of all before is written before this request is sent.
            let done = usize::from(fault == Fault::StallDone);
            let stored = (request as usize - 1 + done) * 10;
            eventually("the request is done", || fake.changes().len() == stored);
            import.kill();
            run(fake.url(), &arguments).ok_saying(&["imported 100 lines: 100 changes stored"]);
            assert_eq!(fake.changes(), lines, "{fault:?} {request}");
            assert_eq!(fake.replayed(), done as u64);
            // Once more: there is nothing left to do.
            run(fake.url(), &arguments).ok_saying(&["imported 100 lines"]);
            assert_eq!(fake.changes(), lines);
        }
    }
}

#[test]
fn a_journal_that_is_behind_the_node_does_no_harm() {
    let fake = Fake::start(&[(1, Fault::StallDone), (4, Fault::Stall)]);
    let directory = temporary();
    let lines = changes(60);
    let path = file(directory.path(), "in", &text(&lines));
    let journal = directory.path().join("in.import");
    let arguments = ["import", path.to_str().unwrap(), "--batch", "10"];
    let import = Held::start(fake.url(), &arguments);
    eventually("the first batch is stored", || fake.changes().len() == 10);
    import.kill();
    let early = std::fs::read(&journal).unwrap();
    let import = Held::start(fake.url(), &arguments);
    fake.waits_for_requests(4);
    import.kill();
    assert_eq!(fake.changes().len(), 20);
    // As if the machine had lost all journals but the first.
    std::fs::write(&journal, early).unwrap();
    run(fake.url(), &arguments).ok_saying(&["imported 60 lines: 60 changes stored"]);
    assert_eq!(fake.changes(), lines);
    assert_eq!(fake.replayed(), 3, "the first batch twice, the second once");
}

/// Begins an import of batches of ten and kills it while the second one is under
/// way.
fn killed_in_doubt(fake: &Fake, name: &str) {
    let import = Held::start(fake.url(), &["import", name, "--batch", "10"]);
    fake.waits_for_requests(2);
    eventually("the first batch is stored", || fake.changes().len() >= 10);
    import.kill();
}

/// Makes the journal say that its request was sent a day ago.
fn age(journal: &Path) {
    let text = std::fs::read(journal).unwrap();
    let mut record: serde_json::Value = serde_json::from_slice(&text).unwrap();
    let sent = &mut record["doubtful"]["sent_ms"];
    *sent = (sent.as_u64().unwrap() - 24 * 3600 * 1000).into();
    std::fs::write(journal, record.to_string()).unwrap();
}

#[test]
fn a_batch_in_doubt_is_sent_again_exactly_whatever_the_batches_are_now() {
    for (fault, replayed) in [(Fault::StallDone, 1), (Fault::Stall, 0)] {
        let fake = Fake::start(&[(2, fault)]);
        let directory = temporary();
        let mut lines = changes(60);
        let path = file(directory.path(), "in", &text(&lines));
        let name = path.to_str().unwrap();
        killed_in_doubt(&fake, name);
        // The file has grown meanwhile, and the arguments are others.
        lines.push(r#"{"data":"more"}"#.into());
        file(directory.path(), "in", &text(&lines));
        run(fake.url(), &["import", name, "--batch", "25"]).ok_saying(&["imported 61 lines"]);
        assert_eq!(fake.changes(), lines, "{fault:?}");
        assert_eq!(fake.replayed(), replayed);
    }
}

#[test]
fn a_last_batch_in_doubt_does_not_keep_a_file_from_growing() {
    let fake = Fake::start(&[(2, Fault::StallDone)]);
    let directory = temporary();
    let mut lines = changes(15);
    let whole = text(&lines);
    // Its last line has no line break yet.
    let path = file(directory.path(), "in", whole.trim_end());
    let name = path.to_str().unwrap();
    killed_in_doubt(&fake, name);
    eventually("the second batch is stored", || fake.changes().len() == 15);
    lines.extend(changes(3));
    file(directory.path(), "in", &text(&lines));
    run(fake.url(), &["import", name]).ok_saying(&["imported 18 lines: 18 changes stored"]);
    assert_eq!(fake.changes(), lines);
}

#[test]
fn what_was_in_doubt_is_not_sent_otherwise() {
    let uuid = |n: u8| format!("6f1c8a52-0000-4000-8000-0000000000{n:02x}");
    let fake = Fake::start(&[(2, Fault::StallDone)]);
    let directory = temporary();
    let line = format!(r#"{{"tenant":"{}","data":1}}"#, uuid(1));
    let lines = vec![line; 20];
    let path = file(directory.path(), "in", &text(&lines));
    let name = path.to_str().unwrap();
    killed_in_doubt(&fake, name);
    eventually("the second batch is stored", || fake.changes().len() == 20);
    let map = format!("{}={}", uuid(1), uuid(2));
    let other = run(fake.url(), &["import", name, "--batch", "10", "--map", &map]);
    other.fails_saying(&["lines 11 to 20", "the same arguments"]);
    assert_eq!(fake.changes(), lines);
    run(fake.url(), &["import", name]).ok();
    assert_eq!(fake.changes(), lines);
}

#[test]
fn once_keys_are_forgotten_a_batch_in_doubt_is_looked_for_before_it_is_sent() {
    for (fault, said) in [
        (Fault::StallDone, "lines 11 to 20: an earlier run stored them, as ids 11 to 20"),
        (Fault::Stall, "imported 40 lines: 40 changes stored; ids 1 to 41"),
    ] {
        let fake = Fake::start(&[(2, fault)]);
        let directory = temporary();
        let lines = changes(40);
        let path = file(directory.path(), "in", &text(&lines));
        let name = path.to_str().unwrap();
        killed_in_doubt(&fake, name);
        let stored = if fault == Fault::StallDone { 20 } else { 10 };
        eventually("as many are stored", || fake.changes().len() == stored);
        // Another client writes, too.
        fake.preload([r#"{"data":"of another"}"#.to_owned()]);
        age(&directory.path().join("in.import"));
        fake.forget_keys();
        run(fake.url(), &["import", name, "--batch", "10"]).ok_saying(&[said]);
        let mut want = lines;
        want.insert(stored, r#"{"data":"of another"}"#.into());
        assert_eq!(fake.changes(), want, "{fault:?}");
    }
}

#[test]
fn an_import_goes_on_into_the_list_where_it_was_begun() {
    let fake = Fake::start(&[]);
    let directory = temporary();
    let path = file(directory.path(), "in", &text(&changes(5)));
    let name = path.to_str().unwrap();
    run(fake.url(), &["import", name, "--tenant", "a"]).ok();
    for arguments in [&["import", name, "--tenant", "b"][..], &["import", name]] {
        run(fake.url(), arguments).fails_saying(&["was begun into /tenants/", "another --journal"]);
    }
    assert_eq!(fake.changes().len(), 5);
    run(fake.url(), &["import", name, "--tenant", "a"]).ok_saying(&["imported 5 lines"]);
    assert_eq!(fake.changes().len(), 5);
}

#[test]
fn what_is_refused_is_named_by_its_line_and_may_be_put_right() {
    let fake = Fake::start(&[(2, Fault::Refuse)]);
    let directory = temporary();
    let mut lines = changes(30);
    let path = file(directory.path(), "in", &format!("\n{}", text(&lines)));
    let name = path.to_str().unwrap();
    let refused = run(fake.url(), &["import", name, "--batch", "10"]);
    refused.fails_saying(&["line 13: ", "400 unknown-member: told to"]);
    assert_eq!(fake.changes(), lines[..10], "nothing of that batch");
    // The line is changed, and so are the batches.
    lines[11] = r#"{"data":"right"}"#.into();
    file(directory.path(), "in", &format!("\n{}", text(&lines)));
    run(fake.url(), &["import", name, "--batch", "7"]).ok_saying(&["imported 30 lines"]);
    assert_eq!(fake.changes(), lines);
}

#[test]
fn a_line_that_is_no_change_is_named_and_nothing_of_its_batch_is_stored() {
    let fake = Fake::start(&[]);
    let directory = temporary();
    let lines = changes(25);
    let path = file(directory.path(), "in", &format!("{}{{\"data\":1,\"tga\":2}}\n", text(&lines)));
    let arguments = ["import", path.to_str().unwrap(), "--batch", "10"];
    run(fake.url(), &arguments).fails_saying(&["line 26: ", "unknown field `tga`"]);
    assert_eq!(fake.changes(), lines[..20]);
}

#[test]
fn a_file_that_is_not_the_one_begun_is_refused_and_one_that_grew_goes_on() {
    let fake = Fake::start(&[]);
    let directory = temporary();
    let mut lines = changes(20);
    let path = file(directory.path(), "in", &text(&lines));
    let arguments = ["import", path.to_str().unwrap()];
    run(fake.url(), &arguments).ok();
    file(directory.path(), "in", &text(&changes(10)));
    run(fake.url(), &arguments).fails_saying(&["are not those that were imported before"]);
    lines.push(r#"{"data":"more"}"#.into());
    file(directory.path(), "in", &text(&lines));
    run(fake.url(), &arguments).ok_saying(&["imported 21 lines"]);
    assert_eq!(fake.changes(), lines);
    run(Fake::start(&[]).url(), &arguments).fails_saying(&["was begun in cluster"]);
}

#[test]
fn deletions_keep_their_place_in_the_order() {
    let uuid = |n: u8| format!("6f1c8a52-0000-4000-8000-0000000000{n:02x}");
    let (t, c, d) = (uuid(1), uuid(2), uuid(3));
    let fake = Fake::start(&FAULTS);
    let input = format!(
        r#"{{"_id":1,"_ts":5,"tenant":"{t}","collection":"{c}","key":"a/b","tags":["x"],"data":1.0}}
{{"_id":2,"_ts":5,"tenant":"{t}","collection":"{c}","key":"a/b","deleted":true}}
{{"_id":3,"_ts":5,"tenant":"{t}","data":null}}
{{"_id":4,"_ts":5,"tenant":"{t}","collection":"{c}","deleted":true}}
{{"_id":5,"_ts":5,"tenant":"{t}","deleted":true}}
{{"_id":6,"_ts":5,"data":"last"}}"#
    );
    let map = format!("{c}={d}");
    let ended = run_with(fake.url(), &["import", "-", "--map", &map], &input);
    ended.ok_saying(&["imported 6 lines: 3 changes stored, 3 deletions; ids 1 to 6"]);
    let want = [
        format!(r#"{{"tenant":"{t}","collection":"{d}","key":"a/b","tags":["x"],"data":1.0}}"#),
        format!("DELETE /collections/{d}/keys/a%2Fb"),
        format!(r#"{{"tenant":"{t}","data":null}}"#),
        format!("DELETE /collections/{d}"),
        format!("DELETE /tenants/{t}"),
        r#"{"data":"last"}"#.to_owned(),
    ];
    assert_eq!(fake.changes(), want);
    let fake = Fake::start(&[]);
    let ended = run_with(fake.url(), &["import", "-", "--skip-deletions", "--tenant", "t"], &input);
    ended.ok_saying(&["imported 6 lines: 3 changes stored, 3 skipped; ids 1 to 3"]);
    let want = [r#"{"tags":["x"],"data":1.0}"#, r#"{"data":null}"#, r#"{"data":"last"}"#];
    assert_eq!(fake.changes(), want);
}

#[test]
fn posted_lines_are_stored_once_whatever_fails() {
    let fake = Fake::start(&FAULTS);
    let input: String = (1..=100).map(|n| format!("{n}.0\n")).collect();
    let arguments = ["post", "--ndjson", "--tag", "a", "--batch", "10"];
    let printed = run_with(fake.url(), &arguments, &input).ok();
    let want: Vec<_> = (1..=100).map(|n| format!(r#"{{"tags":["a"],"data":{n}.0}}"#)).collect();
    assert_eq!(fake.changes(), want);
    let counts = printed.lines().map(|line| {
        serde_json::from_str::<serde_json::Value>(line).unwrap()["count"].as_u64().unwrap()
    });
    assert_eq!(counts.sum::<u64>(), 100);
}

#[test]
fn a_change_is_posted_once_whatever_fails() {
    for fault in [Fault::Busy, Fault::Doubt, Fault::Cut, Fault::HangUp] {
        let fake = Fake::start(&[(1, fault), (2, fault)]);
        let printed = run_with(fake.url(), &["post", "--data", "-"], " {\"a\": 1.0 } \n").ok();
        assert_eq!(printed, "{\"_id\":1}\n");
        assert_eq!(fake.changes(), [r#"{"data":{"a": 1.0 }}"#]);
    }
}

#[test]
fn a_post_that_may_have_happened_names_the_key_that_settles_it() {
    let fake = Fake::start(&[(1, Fault::HangUp)]);
    let ended = run(fake.url(), &["post", "--data", "1", "--retries", "0"]);
    ended.fails_saying(&["it may have happened", "--idempotency-key "]);
    let key = ended.stderr.split("--idempotency-key ").nth(1).unwrap().split(' ').next().unwrap();
    let again = run(fake.url(), &["post", "--data", "1", "--idempotency-key", key]);
    assert_eq!(again.ok(), "{\"_id\":1}\n");
    assert_eq!(fake.changes().len(), 1);
}

#[test]
fn a_stream_that_breaks_is_taken_up_where_it_broke() {
    let fake =
        Fake::start(&[(1, Fault::Tear), (2, Fault::Tear), (3, Fault::Busy), (4, Fault::Cut)]);
    fake.preload(changes(500));
    let printed = run(fake.url(), &["export"]).ok_saying(&["exported 500 changes, ids 1 to 500"]);
    let data: Vec<_> =
        printed.lines().map(|line| line.split_once(",\"data\"").unwrap().1).collect();
    let want: Vec<_> = changes(500);
    let want: Vec<_> = want.iter().map(|line| line.split_once("\"data\"").unwrap().1).collect();
    assert_eq!(data, want);
}

#[test]
fn a_list_that_is_followed_over_streams_that_break_is_printed_once() {
    let fake =
        Fake::start(&[(1, Fault::Tear), (2, Fault::Cut), (3, Fault::Busy), (5, Fault::Tear)]);
    fake.preload(changes(300));
    let tail = Watched::start(fake.url(), &["tail", "-f", "--since", "0"]);
    let mut printed: Vec<String> = (0..300).map(|_| tail.line()).collect();
    fake.preload(changes(200));
    printed.extend((0..200).map(|_| tail.line()));
    fake.waits_for_requests(8);
    printed.extend(tail.kill());
    let id = |line: &String| line.split([':', ',']).nth(1).unwrap().parse::<u64>().unwrap();
    assert!(printed.iter().map(id).eq(1..=500), "{printed:?}");
}
