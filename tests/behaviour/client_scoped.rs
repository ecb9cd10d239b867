//! The program as a client: tenants, collections, keys, and writes that are
//! stored once, against a real node.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use testkit::{
    Client, Held, Node, Watched, eventually, file, program, run, run_with, temporary, without_times,
};

/// Creates a tenant or a collection and gives back its UUID.
fn create(client: &mut Client, target: &str, name: &str) -> String {
    let json = [("Content-Type", "application/json")];
    let body = format!("{{\"name\":\"{name}\"}}");
    let answer = client.request("POST", target, &json, body.as_bytes());
    assert_eq!(answer.status, 201, "{answer:?}");
    let kind = if target == "/tenants" { "tenant" } else { "collection" };
    answer.json()[kind].as_str().unwrap().to_owned()
}

/// A node with the tenant `foo` and its collection `bar`.
fn with_collection() -> (Node, String, String) {
    let node = Node::start();
    let mut client = node.client();
    let tenant = create(&mut client, "/tenants", "foo");
    let collection = create(&mut client, "/tenants/foo/collections", "bar");
    (node, tenant, collection)
}

/// What an export of a list prints.
fn export(node: &Node, arguments: &[&str]) -> String {
    run(&node.url(), &[&["export"], arguments].concat()).ok()
}

fn ids(text: &str) -> Vec<u64> {
    let id = |line: &str| serde_json::from_str::<Value>(line).unwrap()["_id"].as_u64().unwrap();
    text.lines().map(id).collect()
}

/// Lines to import: data of many kinds, numbered from 1.
fn lines(count: u64) -> String {
    let line = |n: u64| match n % 4 {
        0 => format!(r#"{{"data":{n}.10}}"#),
        1 => {
            format!(r#"{{"tags":["a","é /"],"data":{{"n":{n},"n":1e300,"s":"\u00e9\/é"}}}}"#)
        }
        2 => format!(r#"{{"data":[null,-0.0,"{n}",123456789012345678901234567890]}}"#),
        _ => r#"{"data":null}"#.to_owned(),
    };
    (1..=count).map(|n| line(n) + "\n").collect()
}

/// The change of each line of an export, without its id, its time and what it replaced.
fn bare(export: &str) -> String {
    let line = |line: &str| {
        let rest = line.splitn(3, ',').nth(2).unwrap();
        let rest = match rest.starts_with("\"prev\":") {
            true => rest.split_once(',').unwrap().1,
            false => rest,
        };
        format!("{{{rest}\n")
    };
    export.lines().map(line).collect()
}

/// Lines that the journal says are stored.
fn acknowledged(journal: &Path) -> u64 {
    let Ok(text) = std::fs::read(journal) else { return 0 };
    serde_json::from_slice::<Value>(&text).unwrap()["position"]["lines"].as_u64().unwrap()
}

fn import_file(name: &str, text: &str) -> (testkit::Temporary, PathBuf) {
    let directory = temporary();
    let path = file(directory.path(), name, text);
    (directory, path)
}

#[test]
fn a_change_is_posted_into_the_list_that_is_named() {
    let (node, tenant, collection) = with_collection();
    let url = node.url();
    for (place, id) in [
        (&[][..], 1),
        (&["--tenant", "foo"], 2),
        (&["--tenant", &tenant, "--tag", "a", "--tag", "b"], 3),
        (&["--collection", &collection], 4),
        (&["--tenant", "foo", "--collection", "bar"], 5),
        (&["--tenant", "foo", "--collection", &collection, "--key", "a/b é"], 6),
        (&["--tenant", "foo", "--collection", "bar", "--key", "a/b é"], 7),
        (&["--collection", &collection, "--key", "k", "--tag", "t"], 8),
    ] {
        let printed = run(&url, &[&["post", "--data", "1.0"], place].concat()).ok();
        assert_eq!(printed, format!("{{\"_id\":{id}}}\n"), "{place:?}");
    }
    let of_tenant = format!("\"tenant\":\"{tenant}\"");
    let of_both = format!("{of_tenant},\"collection\":\"{collection}\"");
    let want = [
        r#"{"data":1.0}"#.to_owned(),
        format!("{{{of_tenant},\"data\":1.0}}"),
        format!("{{{of_tenant},\"tags\":[\"a\",\"b\"],\"data\":1.0}}"),
        format!("{{{of_both},\"data\":1.0}}"),
        format!("{{{of_both},\"data\":1.0}}"),
        format!("{{{of_both},\"key\":\"a/b é\",\"data\":1.0}}"),
        format!("{{{of_both},\"key\":\"a/b é\",\"data\":1.0}}"),
        format!("{{{of_both},\"key\":\"k\",\"tags\":[\"t\"],\"data\":1.0}}"),
    ];
    assert_eq!(bare(&export(&node, &[])).lines().collect::<Vec<_>>(), want);
    assert_eq!(ids(&export(&node, &["--tenant", "foo"])), [2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(ids(&export(&node, &["--collection", &collection])), [4, 5, 6, 7, 8]);
    let by_name = ["--tenant", "foo", "--collection", "bar", "--tag", "t"];
    assert_eq!(ids(&export(&node, &by_name)), [8]);
    run(&url, &["post", "--data", "1", "--tenant", "nobody"]).fails_saying(&["404 not-found"]);
    let unknown = ["post", "--data", "1", "--tenant", "foo", "--collection", "nothing"];
    run(&url, &unknown).fails_saying(&["404 not-found"]);
}

#[test]
fn a_post_with_the_key_of_an_earlier_one_is_that_one() {
    let node = Node::start();
    let url = node.url();
    let arguments = ["post", "--data", "1", "--idempotency-key", "mine"];
    for _ in 0..3 {
        assert_eq!(run(&url, &arguments).ok(), "{\"_id\":1}\n");
    }
    let other = ["post", "--data", "2", "--idempotency-key", "mine"];
    run(&url, &other).fails_saying(&["422 idempotency-mismatch"]);
    assert_eq!(run(&url, &["post", "--data", "1"]).ok(), "{\"_id\":2}\n");
    node.holds(2);
}

#[test]
fn each_line_of_the_input_is_posted_as_it_stands() {
    let (node, _, collection) = with_collection();
    let input: String = (1..=2500).map(|n| format!("{{\"n\": {n}.0}}\n")).collect();
    let arguments = ["post", "--ndjson", "--collection", &collection, "--tag", "t"];
    let printed = run_with(&node.url(), &arguments, &input).ok();
    let last: Value = serde_json::from_str(printed.lines().last().unwrap()).unwrap();
    assert_eq!(last["last"], 2500);
    let list = export(&node, &["--collection", &collection, "--tag", "t"]);
    assert_eq!(ids(&list), (1..=2500).collect::<Vec<_>>());
    for (n, line) in (1..).zip(list.lines()) {
        let change: Value = serde_json::from_str(line).unwrap();
        assert_eq!(change["data"]["n"].to_string(), format!("{n}.0"));
    }
    let bad = run_with(&node.url(), &["post", "--ndjson"], "1\n2\n\n{\"half\":\n");
    bad.fails_saying(&["line 4", "not JSON"]);
}

#[test]
fn what_is_exported_and_imported_is_exported_again_byte_for_byte() {
    let (one, other) = (Node::start(), Node::start());
    let (directory, path) = import_file("in", &lines(2500));
    let said = "imported 2500 lines: 2500 changes stored; ids 1 to 2500; every line acknowledged";
    run(&one.url(), &[Path::new("import"), &path]).ok_saying(&[said]);
    let first = export(&one, &[]);
    assert_eq!(bare(&first), lines(2500));
    let out = directory.path().join("out");
    run(&one.url(), &[Path::new("export"), Path::new("--out"), &out]).ok();
    assert_eq!(std::fs::read_to_string(&out).unwrap(), first);
    run(&other.url(), &[Path::new("import"), &out]).ok_saying(&[said]);
    assert_eq!(without_times(&export(&other, &[])), without_times(&first));
    // Once more, now that all is done: nothing is stored.
    run(&other.url(), &[Path::new("import"), &out]).ok_saying(&[said]);
    other.holds(2500);
}

#[test]
fn tenants_collections_keys_and_deletions_are_imported_into_those_that_take_their_place() {
    let (one, tenant, collection) = with_collection();
    let gone = create(&mut one.client(), "/tenants/foo/collections", "gone");
    let url = one.url();
    let key = ["--collection", &collection, "--key"];
    for arguments in [
        &["post", "--data", "1.0"][..],
        &[&["post", "--data", "{\"a\": 2}"], &key[..], &["a/b"]].concat(),
        &[&["post", "--data", "3"], &key[..], &["k"]].concat(),
        &[&["post", "--data", "4"], &key[..], &["a/b"]].concat(),
        &["post", "--data", "5", "--collection", &gone, "--key", "x"],
    ] {
        run(&url, arguments).ok();
    }
    let mut client = one.client();
    for target in [format!("/collections/{collection}/keys/a%2Fb"), format!("/collections/{gone}")]
    {
        assert_eq!(client.request("DELETE", &target, &[], b"").status, 200);
    }
    run(&url, &["post", "--data", "6", "--tenant", "foo", "--tag", "t"]).ok();
    let exported = export(&one, &[]);
    assert_eq!(exported.lines().count(), 8);

    let (other, new_tenant, new_collection) = with_collection();
    let new_gone = create(&mut other.client(), "/tenants/foo/collections", "gone");
    let mapped = [(&tenant, &new_tenant), (&collection, &new_collection), (&gone, &new_gone)];
    let maps = mapped.map(|(old, new)| format!("{old}={new}"));
    let (_directory, path) = import_file("in", &exported);
    let name = path.to_str().unwrap();
    let arguments = ["import", name, "--map", &maps[0], "--map", &maps[1], "--map", &maps[2]];
    let said =
        "imported 8 lines: 6 changes stored, 2 deletions; ids 1 to 8; every line acknowledged";
    run(&other.url(), &arguments).ok_saying(&[said]);
    let want = mapped.iter().fold(exported, |text, (old, new)| text.replace(*old, new));
    assert_eq!(without_times(&export(&other, &[])), without_times(&want));
    let mut client = other.client();
    let keys = format!("/collections/{new_collection}/keys");
    assert_eq!(client.get(&format!("{keys}/k")).json()["data"], 3);
    client.get(&format!("{keys}/a%2Fb")).problem(404, "not-found");
    client.get(&format!("/collections/{new_gone}")).problem(404, "not-found");
}

#[test]
fn a_collection_that_does_not_exist_is_named_with_its_line() {
    let (node, _, collection) = with_collection();
    let unknown = uuid::Uuid::new_v4().to_string();
    let text = format!(
        "{}{{\"data\":1}}\n{{\"collection\":\"{unknown}\",\"key\":\"k\",\"data\":2}}\n{{\"data\":3}}\n",
        lines(10)
    );
    let (_directory, path) = import_file("in", &text);
    let name = path.to_str().unwrap();
    let ended = run(&node.url(), &["import", name, "--batch", "5"]);
    ended.fails_saying(&["line 12: ", &format!("collection {unknown}"), "404 not-found", "--map"]);
    node.holds(10);
    // Named, it goes on from there.
    let map = format!("{unknown}={collection}");
    run(&node.url(), &["import", name, "--batch", "5", "--map", &map]).ok();
    node.holds(13);
    assert_eq!(ids(&export(&node, &["--collection", &collection])), [12]);
    let deletion = format!("{{\"collection\":\"{unknown}\",\"deleted\":true}}\n");
    let ended = run_with(&node.url(), &["import", "-"], &deletion);
    ended.fails_saying(&["line 1: ", &unknown, "404 not-found"]);
}

#[test]
fn everything_may_be_put_into_one_tenant() {
    let (one, tenant, collection) = with_collection();
    run(&one.url(), &["post", "--data", "1", "--collection", &collection, "--key", "k"]).ok();
    let target = format!("/collections/{collection}/keys/k");
    assert_eq!(one.client().request("DELETE", &target, &[], b"").status, 200);
    run(&one.url(), &["post", "--data", "2.0", "--tenant", &tenant, "--tag", "t"]).ok();
    let exported = export(&one, &[]);
    let (other, tenant, _) = with_collection();
    let refused = run_with(&other.url(), &["import", "-", "--tenant", "foo"], &exported);
    refused.fails_saying(&["line 2: ", "a deletion", "--skip-deletions"]);
    other.holds(0);
    let arguments = ["import", "-", "--tenant", "foo", "--skip-deletions"];
    let said = "imported 3 lines: 2 changes stored, 1 skipped; ids 1 to 2";
    run_with(&other.url(), &arguments, &exported).ok_saying(&[said]);
    let want = [
        format!(r#"{{"tenant":"{tenant}","data":1}}"#),
        format!(r#"{{"tenant":"{tenant}","tags":["t"],"data":2.0}}"#),
    ];
    assert_eq!(bare(&export(&other, &[])).lines().collect::<Vec<_>>(), want);
}

#[test]
fn an_import_killed_again_and_again_stores_each_line_once() {
    let node = Node::start();
    let text = lines(6000);
    let (directory, path) = import_file("in", &text);
    let journal = directory.path().join("in.import");
    let arguments = ["import", path.to_str().unwrap(), "--batch", "25"];
    let mut midway = 0;
    for goal in [1, 500, 510, 1500, 2600, 3700, 4800] {
        let import = Held::start(&node.url(), &arguments);
        eventually("the journal shows progress", || acknowledged(&journal) >= goal);
        import.kill();
        midway += u64::from(acknowledged(&journal) < 6000);
    }
    assert!(midway > 0, "it was not killed in the middle");
    run(&node.url(), &arguments).ok_saying(&["imported 6000 lines: 6000 changes stored"]);
    let exported = export(&node, &[]);
    assert_eq!(ids(&exported), (1..=6000).collect::<Vec<_>>());
    assert!(bare(&exported) == text, "each line is stored once, in its order");
}

#[test]
fn an_import_outlives_the_node() {
    let mut node = Node::start();
    let address = node.address().to_string();
    let text = lines(6000);
    let (directory, path) = import_file("in", &text);
    let journal = directory.path().join("in.import");
    let arguments = ["import", path.to_str().unwrap(), "--batch", "25", "--retries", "100"];
    let import = Held::start(&node.url(), &arguments);
    for goal in [500, 2000, 3500] {
        eventually("the journal shows progress", || acknowledged(&journal) >= goal);
        node = node.kill().flags(&["--listen", &address]).start();
    }
    let ended = import.ends();
    ended.ok_saying(&["imported 6000 lines: 6000 changes stored; ids 1 to 6000"]);
    assert!(bare(&export(&node, &[])) == text, "each line is stored once, in its order");
}

#[test]
fn a_collection_is_followed_across_a_restart() {
    let (node, _, collection) = with_collection();
    let address = node.address().to_string();
    let post = |node: &Node, place: &[&str]| {
        run(&node.url(), &[&["post", "--data", "1"], place].concat()).ok();
    };
    let place = ["--tenant", "foo", "--collection", "bar"];
    post(&node, &place);
    let tail = Watched::start(&node.url(), &[&["tail", "-f"], &place[..]].concat());
    assert_eq!(ids(&tail.line()), [1]);
    post(&node, &[]);
    post(&node, &["--collection", &collection, "--key", "k"]);
    assert_eq!(ids(&tail.line()), [3]);
    let node = node.kill().flags(&["--listen", &address]).start();
    post(&node, &["--tenant", "foo"]);
    post(&node, &place);
    assert_eq!(ids(&tail.line()), [5]);
    assert_eq!(tail.kill(), Vec::<String>::new());
    assert_eq!(ids(&run(&node.url(), &[&["tail", "-n", "2"], &place[..]].concat()).ok()), [3, 5]);
    assert_eq!(ids(&run(&node.url(), &["tail", "-n", "3", "--tenant", "foo"]).ok()), [3, 4, 5]);
}

#[test]
fn status_shows_the_members() {
    let node = Node::start();
    let json: Value = serde_json::from_str(&run(&node.url(), &["status", "--json"]).ok()).unwrap();
    assert_eq!(json["state"], "leader");
    assert_eq!(json["members"].as_array().unwrap().len(), 1);
    let text = run(&node.url(), &["status"]).ok();
    let member = text.lines().last().unwrap();
    for word in ["voter", "leader", " 0"] {
        assert!(member.contains(word), "{word:?} is not in {text}");
    }
}

/// The words of each line, those with a digit in them spelled the same.
fn without_numbers(text: &str) -> Vec<Vec<&str>> {
    let has_digit = |word: &str| word.bytes().any(|byte| byte.is_ascii_digit());
    let spelled = |word| if has_digit(word) { "N" } else { word };
    text.lines().map(|line| line.split_whitespace().map(spelled).collect()).collect()
}

/// Runs the commands of the first console block behind a heading of a document,
/// on a node of their own, and compares what they print.
fn run_examples(document: &str, heading: &str, at_least: usize) {
    let node = Node::start();
    let directory = temporary();
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(document));
    let text = text.unwrap();
    let section = text.split(heading).nth(1).unwrap();
    let block = section.split("```console\n").nth(1).unwrap().split("```").next().unwrap();
    let mut commands = 0;
    for example in block.split("$ ").skip(1) {
        let (command, want) = example.split_once('\n').unwrap();
        let shell = program(&node.url(), &[""; 0]);
        let bin = Path::new(shell.get_program()).parent().unwrap();
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
        let output = Command::new("sh")
            .args(["-c", &format!("{{ {command}\n}} 2>&1")])
            .current_dir(directory.path())
            .env("PATH", path)
            .env("CHANGEAGENT_URL", node.url())
            .output()
            .unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        let same = if command.starts_with("changeagent status") {
            without_numbers(printed.trim()) == without_numbers(want.trim())
        } else {
            without_uuids(&without_times(printed.trim()))
                == without_uuids(&without_times(want.trim()))
        };
        assert!(same, "{command}\nis said to print\n{want}\nbut prints\n{printed}");
        commands += 1;
    }
    assert!(commands >= at_least, "each command has its example");
}

/// The words of a text, UUIDs spelled alike.
fn without_uuids(text: &str) -> String {
    let spelled = |word: &str| {
        let bare = word.trim_end_matches([',', '.']);
        if uuid::Uuid::try_parse(bare).is_ok() { word.replace(bare, "U") } else { word.to_owned() }
    };
    text.split(' ').map(spelled).collect::<Vec<_>>().join(" ")
}

#[test]
fn the_commands_of_the_readme_print_what_it_says() {
    run_examples("README.md", "## From the command line", 6);
}

#[test]
fn the_commands_of_the_command_lines_document_print_what_it_says() {
    run_examples("docs/cli.md", "## Examples", 9);
}
