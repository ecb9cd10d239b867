//! Dozens of damaged data directories on a real disk, and what a real node makes of them: it
//! refuses them and says where, or serves what was written, but for what it says cannot be read.
//! `src/simulation/damage` does the same thousands of times, and byte by byte.

use std::{
    fs::{self, File},
    os::unix::{
        fs::{FileExt, symlink},
        net::UnixListener,
    },
    path::{Path, PathBuf},
    thread::sleep,
    time::Duration,
};

use serde_json::Value;

use testkit::{Bar, Client, Node, NodeBuilder, SHORT_SEGMENTS, eventually, files, within};

use crate::damage::range;

/// What is asked for: lists of changes, and lists of keys.
struct Targets {
    lists: Vec<String>,
    keys: Vec<String>,
}

/// What was read of one target: each change with its id, and what was said not to be readable.
type Listing = (Vec<(u64, Value)>, Vec<(u64, u64)>);

/// Everything that was read of a node.
type Seen = Vec<Listing>;

/// A node that was stopped, of whose history a part is purged.
fn stopped() -> (NodeBuilder, Targets) {
    let retaining = ["--retain-min-changes", "60", "--scrub-period", "1h"];
    let mut bar = Bar::on(NodeBuilder::new().flags(&SHORT_SEGMENTS).flags(&retaining).start());
    let mut n = 0;
    let mut some = |bar: &mut Bar| {
        for _ in 0..10 {
            n += 1;
            let data = format!("\"<{n}>{}\"", "x".repeat(n * 997 % 20_000));
            let tag = n % 3;
            bar.client.append(format!("{{\"data\":{data},\"tags\":[\"t{tag}\"]}}"));
            bar.put(&format!("k{}", n % 17), data);
        }
    };
    eventually("history is purged", || {
        some(&mut bar);
        bar.client.get("/changes/1").status == 410
    });
    for _ in 0..3 {
        some(&mut bar);
    }
    let mut lists = vec!["/changes?".to_owned(), "/tenants/foo/changes?".to_owned()];
    lists.extend((0..3).map(|tag| format!("/changes?tag=t{tag}&")));
    let targets = Targets { lists, keys: vec![bar.keys.clone()] };
    let builder = bar.node.stop();
    (builder.without("--retain-min-changes"), targets)
}

fn read(client: &mut Client, targets: &Targets) -> Seen {
    let lists = targets.lists.iter().map(|target| read_list(client, target));
    let mut seen: Seen = lists.collect();
    seen.extend(targets.keys.iter().map(|target| read_keys(client, target)));
    seen
}

fn read_list(client: &mut Client, target: &str) -> Listing {
    let (mut since, mut found, mut damaged) = (0, Vec::new(), Vec::new());
    loop {
        let answer = client.get(&format!("{target}since={since}&limit=40"));
        if answer.status != 200 {
            damaged.push(range(&answer.problem(500, "damaged")));
            assert!(damaged.last().unwrap().1 > since, "it goes on");
            since = damaged.last().unwrap().1;
            continue;
        }
        let page = answer.json();
        found.extend(changes(&page["changes"]));
        since = page["last"].as_u64().unwrap();
        if page["atEnd"] == true {
            return (found, damaged);
        }
    }
}

fn read_keys(client: &mut Client, target: &str) -> Listing {
    let (mut query, mut found, mut damaged) = (String::new(), Vec::new(), Vec::new());
    loop {
        let answer = client.get(&format!("{target}{query}"));
        if answer.status != 200 {
            let problem = answer.problem(500, "damaged");
            damaged.push(range(&problem));
            query = format!("?after={}", problem["key"].as_str().unwrap());
            continue;
        }
        let page = answer.json();
        found.extend(changes(&page["keys"]));
        if page["atEnd"] == true {
            return (found, damaged);
        }
        query = format!("?after={}", found.last().unwrap().1["key"].as_str().unwrap());
    }
}

fn changes(page: &Value) -> Vec<(u64, Value)> {
    let changes = page.as_array().expect("an array").iter();
    changes.map(|change| (change["_id"].as_u64().unwrap(), change.clone())).collect()
}

/// Whether something is damaged; nothing else may be missing, or be something else.
fn judge(all: &Seen, seen: &Seen) -> bool {
    for ((was, _), (is, damaged)) in all.iter().zip(seen) {
        let told = |id: u64| damaged.iter().any(|(first, last)| (*first..=*last).contains(&id));
        let kept: Vec<_> = was.iter().filter(|(id, _)| !told(*id)).collect();
        assert_eq!(is.iter().filter(|(id, _)| !told(*id)).collect::<Vec<_>>(), kept);
        assert!(is.iter().all(|change| was.contains(change)));
    }
    seen.iter().any(|(_, damaged)| !damaged.is_empty())
}

/// Something else in the place of a file.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Flipped,
    Shorter,
    Longer,
    Missing,
    Directory,
    Pipe,
    Socket,
    Nowhere,
    Zeros,
}

const KINDS: [Kind; 9] = [
    Kind::Flipped,
    Kind::Shorter,
    Kind::Longer,
    Kind::Missing,
    Kind::Directory,
    Kind::Pipe,
    Kind::Socket,
    Kind::Nowhere,
    Kind::Zeros,
];

impl Kind {
    fn take_place(self, path: &Path) {
        let bytes = fs::read(path).unwrap();
        let middle = (bytes.len() / 3..bytes.len()).find(|at| bytes[*at] != 0).unwrap_or(0);
        let remove = || fs::remove_file(path).unwrap();
        match self {
            Self::Flipped => flip(path, middle as u64),
            Self::Shorter => fs::write(path, &bytes[..bytes.len() / 2]).unwrap(),
            Self::Longer => fs::write(path, [&bytes[..], b"more"].concat()).unwrap(),
            Self::Zeros => fs::write(path, vec![0; bytes.len()]).unwrap(),
            Self::Missing => remove(),
            Self::Directory => {
                remove();
                fs::create_dir(path).unwrap();
            }
            Self::Pipe => {
                remove();
                let name = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
                // SAFETY: the name is a string that ends with a zero.
                assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
            }
            Self::Socket => {
                remove();
                // Names of sockets are short.
                let short = std::env::temp_dir().join(format!("s{}", std::process::id()));
                drop(UnixListener::bind(&short).unwrap());
                if fs::rename(&short, path).is_err() {
                    fs::remove_file(&short).unwrap();
                }
            }
            Self::Nowhere => {
                remove();
                symlink("nowhere", path).unwrap();
            }
        }
    }
}

fn flip(path: &Path, at: u64) {
    let file = File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], at).unwrap();
}

/// Makes a directory hold what it held.
fn restore(data: &Path, whole: &[(PathBuf, Vec<u8>)]) {
    fs::remove_dir_all(data).unwrap();
    fs::create_dir(data).unwrap();
    for (path, bytes) in whole {
        fs::write(path, bytes).unwrap();
    }
}

/// The files of the log and its checkpoint.
fn of_log(data: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    files(data).into_iter().filter(|(path, _)| path.extension().is_some()).collect()
}

#[test]
fn each_file_of_a_directory_may_be_something_else_when_a_node_starts() {
    let (builder, targets) = stopped();
    let node = builder.start();
    let (all, data) = (read(&mut node.client(), &targets), node.data());
    let mut builder = node.stop();
    let whole = of_log(&data);
    let (mut refused, mut served) = (0, 0);
    for (n, (path, _)) in whole.iter().enumerate() {
        // Each kind for the newest and the checkpoint, some for the others.
        let is_special = n + 3 >= whole.len() || path.ends_with(".checkpoint");
        let kinds = KINDS.iter().enumerate().filter(|(k, _)| is_special || (k + n) % 4 == 0);
        for (_, kind) in kinds {
            restore(&data, &whole);
            kind.take_place(path);
            println!("{}: {kind:?}", path.display());
            let name = path.file_name().unwrap().to_str().unwrap();
            builder = match builder.try_start() {
                Err(ended) => {
                    let (failed, builder) = *ended;
                    assert_eq!(failed.status.code(), Some(1), "{failed:?}");
                    // The stop may have come before the newest segment had its index.
                    let said: Vec<&str> =
                        failed.stderr.lines().filter(|line| !line.contains(" INFO ")).collect();
                    let [said] = said[..] else { panic!("one line is said: {failed:?}") };
                    assert!(said.contains(name) || said.contains("missing"), "{failed:?}");
                    refused += 1;
                    builder
                }
                Ok(node) => {
                    let seen = read(&mut node.client(), &targets);
                    assert_eq!(seen.len(), all.len());
                    judge(&all, &seen);
                    served += 1;
                    node.kill()
                }
            };
        }
    }
    println!("{refused} refused, {served} served");
    assert!(refused > 20 && served > 2);
    restore(&data, &whole);
    assert_eq!(read(&mut builder.start().client(), &targets), all);
}

#[test]
fn each_file_may_rot_under_a_node_that_runs() {
    let (builder, targets) = stopped();
    let node: Node = builder.start();
    let mut client = node.client();
    let all = read(&mut client, &targets);
    let whole = of_log(&node.data());
    // The newest two are written, or will be.
    let at_rest: Vec<_> =
        whole.iter().filter(|(path, _)| !newest(&whole).contains(&path)).collect();
    for round in 0..4_u64 {
        let places: Vec<_> = (0..15).map(|n| place(&at_rest, round * 15 + n)).collect();
        places.iter().for_each(|(path, at)| flip(path, *at));
        println!("{places:?}");
        // What was found sound is trusted for a second, and would not have changed in memory.
        sleep(Duration::from_millis(1_100));
        assert!(judge(&all, &read(&mut client, &targets)), "some of it is noticed");
        // What is made anew is made of the rest.
        let (derived, rest): (Vec<_>, Vec<_>) =
            places.into_iter().partition(|(path, _)| is_derived(path));
        for (path, at) in &rest {
            // A segment may have been made anew already.
            let (_, was) = whole.iter().find(|(of, _)| of == path).unwrap();
            if fs::read(path).unwrap()[*at as usize] != was[*at as usize] {
                flip(path, *at);
            }
        }
        let damaged = |client: &mut Client| client.get("/health").json()["damaged"].clone();
        // What could not be made anew is tried again after a while.
        let patience = Duration::from_secs(120);
        within(patience, "what is made of the log is made anew, where it is noticed", || {
            let damaged = damaged(&mut client);
            let mut names = damaged.as_array().into_iter().flatten();
            names.all(|place| !is_derived(Path::new(place["file"].as_str().unwrap())))
        });
        for (path, _) in &derived {
            let (_, was) = whole.iter().find(|(of, _)| of == path).unwrap();
            if fs::read(path).unwrap() != *was {
                let flipped = derived.iter().filter(|(of, _)| of == path);
                flipped.for_each(|(path, at)| flip(path, *at));
            }
        }
        assert_eq!(read(&mut client, &targets), all, "what is restored is served");
    }
    let said = node.stderr();
    let told = |what: &str| said.matches(what).count();
    assert!(told("a part of the log is damaged on the disk") > 5, "{said}");
    assert!(told("what was damaged is made anew") > 0, "{said}");
}

/// Whether a file is made of the log.
fn is_derived(path: &Path) -> bool {
    path.extension().is_some_and(|end| end == "index" || end == "state")
}

/// A byte of a file, which is not zero where there is one.
fn place<'f>(files: &[&'f (PathBuf, Vec<u8>)], n: u64) -> (&'f Path, u64) {
    let (path, bytes) = files[n as usize % files.len()];
    let from = (n * 7_919 * 4_093) as usize % bytes.len();
    let written = (from..bytes.len()).find(|at| bytes[*at] != 0);
    (path, written.unwrap_or(0) as u64)
}

fn newest(whole: &[(PathBuf, Vec<u8>)]) -> Vec<&PathBuf> {
    let segments = whole
        .iter()
        .map(|(path, _)| path)
        .filter(|path| path.extension().is_some_and(|end| end == "seg"));
    let segments: Vec<_> = segments.collect();
    segments[segments.len() - 2..].to_vec()
}
