//! `changeagent check`: every byte of a data directory is verified, and none of it changed.

use std::{
    fs,
    path::{Path, PathBuf},
};

use testkit::{Ended, Node, NodeBuilder, SHORT_SEGMENTS, eventually, files, run, temporary};

const WRITES: u64 = 60;

fn check(data: &Path) -> Ended {
    // No node is asked.
    run("http://127.0.0.1:1", &["check", "--data", data.to_str().unwrap()])
}

/// A node that has stopped, with changes in several segments.
fn written() -> NodeBuilder {
    let node = NodeBuilder::new().flags(&SHORT_SEGMENTS).start();
    let mut client = node.client();
    for _ in 0..WRITES {
        client.append(format!("{{\"data\":\"{}\"}}", "x".repeat(20_000)));
    }
    node.stop()
}

fn data(builder: &NodeBuilder) -> PathBuf {
    builder.directory().path().join("data")
}

/// The segments with something in them, oldest first.
fn segments(data: &Path) -> Vec<PathBuf> {
    let all = files(data).into_iter();
    all.filter(|(path, bytes)| path.extension().is_some_and(|end| end == "seg") && bytes[0] != 0)
        .map(|(path, _)| data.join(path))
        .collect()
}

/// A checkpoint of a data directory.
fn checkpoint(data: &Path) -> Option<PathBuf> {
    let mut all = fs::read_dir(data).unwrap().map(|entry| entry.unwrap().path());
    all.find(|path| path.extension().is_some_and(|end| end == "checkpoint"))
}

/// Runs `test` while the byte at that place of a file is another.
fn flipped(path: &Path, at: usize, test: impl FnOnce(&str)) {
    let before = fs::read(path).unwrap();
    let mut bytes = before.clone();
    bytes[at] ^= 0x10;
    fs::write(path, &bytes).unwrap();
    test(path.file_name().unwrap().to_str().unwrap());
    fs::write(path, &before).unwrap();
}

#[test]
fn a_sound_directory_is_said_to_be_and_is_not_changed() {
    let builder = written();
    let data = data(&builder);
    let before = files(&data);
    let said = check(&data).ok();
    for words in ["is sound: node 1 of cluster ", &format!("changes 1 to {WRITES}\n")] {
        assert!(said.contains(words), "{words:?} is not in {said:?}");
    }
    assert_eq!(files(&data), before);
    assert!(said.contains("last entry "), "{said}");
    fs::write(data.join("HALTED"), "why\n").unwrap();
    check(&data).fails_saying(&["no node starts on it: why"]);
    fs::remove_file(data.join("HALTED")).unwrap();
    builder.start().holds(WRITES);
}

#[test]
fn any_other_byte_of_a_complete_segment_is_found() {
    let builder = written();
    let data = data(&builder);
    let all = segments(&data);
    let (_, complete) = all.split_last().unwrap();
    assert!(complete.len() >= 3, "{all:?}");
    let bytes = fs::metadata(&complete[0]).unwrap().len() as usize;
    // From the header to the zeros behind the last write.
    let places = [8, 40, 4096, 4200].into_iter().chain((5000..bytes).step_by(bytes / 8));
    for (n, at) in places.enumerate() {
        flipped(&complete[n % complete.len()], at, |name| {
            let ended = check(&data);
            ended.fails_saying(&[name, "damaged", "byte"]);
            assert!(ended.stdout.contains("to mend it"), "{ended:?}");
        });
    }
    assert!(check(&data).ok().contains("is sound"));
}

#[test]
fn what_is_lost_by_cutting_is_counted() {
    let builder = written();
    let data = data(&builder);
    let second = segments(&data)[1].clone();
    // Its first group.
    flipped(&second, 4096 + 100, |name| {
        let ended = check(&data);
        ended.fails_saying(&[name, "byte 4096"]);
        let number = |before: &str, after: &str| {
            let (_, rest) = ended.stdout.split_once(before).expect(before);
            rest.split_once(after).expect(after).0.parse::<u64>().expect(before)
        };
        let sound = number("changes up to ", "\n");
        let lost = number("entries with ", " changes at most");
        // That group cannot be read.
        assert!((1..WRITES).contains(&sound), "{ended:?}");
        assert!(lost < WRITES - sound && lost + 15 > WRITES - sound, "{ended:?}");
    });
}

#[test]
fn a_write_that_was_cut_short_is_no_damage() {
    let builder = written();
    let data = data(&builder);
    let active = segments(&data).pop().unwrap();
    let end = fs::read(&active).unwrap().iter().rposition(|&byte| byte != 0).unwrap();
    flipped(&active, end + 4096, |name| {
        let said = check(&data).ok();
        assert!(said.contains(name) && said.contains("cut short"), "{said}");
    });
}

#[test]
fn a_damaged_checkpoint_and_a_missing_segment_are_found() {
    let node = NodeBuilder::new().flags(&SHORT_SEGMENTS).flags(&["--retain-min-changes", "5"]);
    let node = node.start();
    let mut client = node.client();
    eventually("history is purged", || {
        client.append(format!("{{\"data\":\"{}\"}}", "x".repeat(20_000)));
        checkpoint(&node.data()).is_some()
    });
    let builder = node.stop();
    let data = data(&builder);
    let said = check(&data).ok();
    assert!(said.contains("\ncheckpoint 0"), "{said}");
    let checkpoint = checkpoint(&data).unwrap();
    let bytes = fs::metadata(&checkpoint).unwrap().len() as usize;
    for at in (0..bytes).step_by((bytes / 10).max(1)) {
        flipped(&checkpoint, at, |name| check(&data).fails_saying(&[name]));
    }
    // The stop may have come before purged segments were removed: those are not missed.
    let mut segments = segments(&data).into_iter();
    let missed = loop {
        fs::remove_file(segments.next().expect("one that is not purged")).unwrap();
        let checked = check(&data);
        if checked.code == Some(1) {
            break checked;
        }
    };
    missed.fails_saying(&["missing"]);
}

#[test]
fn a_directory_that_is_in_use_or_has_no_log_is_refused() {
    let node = Node::start();
    check(&node.data()).fails_saying(&["in use", &node.process().to_string()]);
    let empty = temporary();
    check(empty.path()).fails_saying(&["no log is in it"]);
    assert!(files(empty.path()).is_empty(), "nothing is left there");
    check(&empty.path().join("no-such")).fails_saying(&["cannot open the data directory"]);
}

/// What a start says that is refused.
fn refused(builder: NodeBuilder) -> (String, NodeBuilder) {
    match builder.try_start() {
        Err(ended) => {
            let (failed, builder) = *ended;
            assert_eq!(failed.status.code(), Some(1), "{failed:?}");
            (failed.stderr, builder)
        }
        Ok(node) => panic!("it starts: {}", node.stderr()),
    }
}

#[test]
fn what_no_node_starts_on_is_not_said_to_be_sound() {
    let mut builder = written();
    let data = data(&builder);
    let whole = files(&data);
    let strays = [
        ("backup.tmp", "half of a file", "is a backup, or what a restore left"),
        ("snapshot.install", "no mark of a snapshot", "snapshot.install is damaged"),
    ];
    for (name, text, words) in strays {
        fs::write(data.join(name), text).unwrap();
        check(&data).fails_saying(&[words]);
        let said;
        (said, builder) = refused(builder);
        assert!(said.contains(words), "{name}: {said}");
        fs::remove_file(data.join(name)).unwrap();
        assert!(check(&data).ok().contains("is sound"));
        assert_eq!(files(&data), whole, "nothing is changed");
    }
    builder.start().holds(WRITES);
}

#[test]
fn a_state_that_fits_no_segment_is_told_and_a_start_removes_it() {
    let node = NodeBuilder::new().flags(&SHORT_SEGMENTS).start();
    let mut client = node.client();
    let states = |data: &Path| {
        let all = fs::read_dir(data).unwrap().map(|entry| entry.unwrap().path());
        all.filter(|path| path.extension().is_some_and(|end| end == "state")).collect::<Vec<_>>()
    };
    let mut tenants = 0;
    eventually("there is a state", || {
        for _ in 0..50 {
            client.tenant(&format!("a-tenant-{tenants}-{}", "n".repeat(100)));
            tenants += 1;
        }
        for _ in 0..15 {
            client.append(format!("{{\"data\":\"{}\"}}", "x".repeat(20_000)));
        }
        !states(&node.data()).is_empty()
    });
    let mut builder = node.stop();
    let data = data(&builder);
    assert!(check(&data).ok().contains("is sound"));
    let [state] = &states(&data)[..] else { panic!("one counts") };
    let bytes = fs::read(state).unwrap();
    let own: u64 = state.file_stem().unwrap().to_str().unwrap().parse().unwrap();
    for number in [own + 1, 7777] {
        let stray = data.join(format!("{number:020}.state"));
        assert!(!stray.exists());
        fs::write(&stray, &bytes).unwrap();
        let name = stray.file_name().unwrap().to_str().unwrap();
        check(&data).fails_saying(&[name, "nothing is lost"]);
        let node = builder.start();
        assert_eq!(
            node.client().get(&format!("/tenants/a-tenant-7-{}", "n".repeat(100))).status,
            200
        );
        assert!(!stray.exists(), "it is removed");
        builder = node.stop();
        assert!(check(&data).ok().contains("is sound"));
    }
}
