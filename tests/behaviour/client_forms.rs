//! The forms in which a client may hand over changes: on lines, spread over lines,
//! in an array, packed; and what is none of these is named.

use std::io::Write;

use flate2::{Compression, write::GzEncoder};

use testkit::{Fake, program, run, run_with, temporary};

const CHANGES: [&str; 3] =
    [r#"{"data":1}"#, r#"{"tags":["a"],"data":[{"b":"],["}]}"#, r#"{"data":3.0}"#];

fn packed(text: &[u8]) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::default());
    packer.write_all(text).unwrap();
    packer.finish().unwrap()
}

fn pretty(change: &str) -> String {
    change.replace('{', "{\n  ").replace(":1", ":\n1")
}

/// An import of those bytes.
fn import(fake: &Fake, bytes: &[u8]) -> testkit::Ended {
    let directory = temporary();
    let path = directory.path().join("in");
    std::fs::write(&path, bytes).unwrap();
    run(fake.url(), &["import", path.to_str().unwrap(), "--batch", "2"])
}

#[test]
fn changes_are_imported_in_all_their_forms() {
    let lines = CHANGES.join("\n");
    let spread = CHANGES.map(pretty).join("\n\n");
    let array = format!("[{}]", CHANGES.join(","));
    let spread_array = format!("\n[\n{}\n]\n", CHANGES.map(pretty).join(",\n"));
    let packed_lines = packed(lines.as_bytes());
    let packed_array = [packed(&array.as_bytes()[..9]), packed(&array.as_bytes()[9..])].concat();
    for bytes in [
        lines.as_bytes(),
        spread.as_bytes(),
        array.as_bytes(),
        spread_array.as_bytes(),
        &packed_lines,
        &packed_array,
    ] {
        let fake = Fake::start(&[]);
        import(&fake, bytes).ok_saying(&["imported 3 lines: 3 changes stored"]);
        let stored: Vec<serde_json::Value> =
            fake.changes().iter().map(|change| serde_json::from_str(change).unwrap()).collect();
        let sent = CHANGES.map(|change| serde_json::from_str::<serde_json::Value>(change).unwrap());
        assert_eq!(stored, sent, "{:?}", String::from_utf8_lossy(bytes));
    }
}

#[test]
fn what_is_no_text_of_changes_is_named() {
    let utf16: Vec<u8> = CHANGES[0].encode_utf16().flat_map(u16::to_le_bytes).collect();
    let torn = packed(&vec![b' '; 1 << 20]);
    for (bytes, words) in [
        ("\u{feff}{\"data\":1}".as_bytes(), ["in: ", "byte order mark"]),
        (&utf16, ["in: ", "UTF-16"]),
        (&[0x28, 0xb5, 0x2f, 0xfd, 0], ["in: ", "zstd"]),
        (&torn[..torn.len() / 2], ["in: ", "deflate stream"]),
        (b"{\"data\":1}\n[{\"data\":2}]", ["line 2: ", "an array, not a change"]),
        (b"[{\"data\":1},{\"data\":2}", ["in: ", "an array that does not end"]),
        (b"[{\"data\":1},\n{\"data\":2},{\"dat\":3}]", ["element 3: ", "unknown field"]),
        (b"{\n\"data\":1}\n{\n\"data\":\nx}\n", ["line 3: ", "expected value at byte 11"]),
        (b"{\"data\":1\n{\"data\":2}\n", ["line 1: ", "EOF while parsing an object"]),
    ] {
        let fake = Fake::start(&[]);
        let ended = import(&fake, bytes);
        ended.fails_saying(&words);
        assert!(fake.changes().len() <= 2, "nothing of that batch");
    }
}

/// A post of what stands on standard input, whatever bytes these are.
fn post(fake: &Fake, arguments: &[&str], bytes: &[u8]) -> std::process::Output {
    let mut command = program(fake.url(), arguments);
    let mut child = command.stdin(std::process::Stdio::piped()).spawn().unwrap();
    // It may end before it has read all.
    let _ = child.stdin.take().unwrap().write_all(bytes);
    child.wait_with_output().unwrap()
}

#[test]
fn data_is_posted_spread_over_lines_and_packed() {
    let fake = Fake::start(&[]);
    let text = "{\n \"a\": 1\n}\n\n[\n2,\n3]\n\"x\"";
    run_with(fake.url(), &["post", "--ndjson"], text).ok();
    let want = ["{\"data\":{\n \"a\": 1\n}}", "{\"data\":[\n2,\n3]}", "{\"data\":\"x\"}"];
    assert_eq!(fake.changes(), want);
    assert!(post(&fake, &["post", "--ndjson"], &packed(text.as_bytes())).status.success());
    assert_eq!(fake.changes()[3..], want);
    assert!(post(&fake, &["post"], &packed(b"{\"a\":2}")).status.success());
    assert_eq!(fake.changes()[6..], ["{\"data\":{\"a\":2}}"]);
}

#[test]
fn a_torn_value_is_named_by_its_line() {
    let fake = Fake::start(&[]);
    let torn = run_with(fake.url(), &["post", "--ndjson"], "1\n{\n\"a\":1}\n{\"a\":\n");
    torn.fails_saying(&["line 4 ", "not JSON"]);
    let torn = run_with(fake.url(), &["post", "--ndjson"], "{\"a\":1\n{\"a\":2}\n");
    torn.fails_saying(&["line 1 ", "not JSON"]);
}

#[test]
fn what_is_no_text_is_not_posted() {
    let utf16: Vec<u8> = CHANGES[0].encode_utf16().flat_map(u16::to_le_bytes).collect();
    for (bytes, word) in [("\u{feff}1\n".as_bytes(), "byte order mark"), (&utf16, "UTF-16")] {
        for arguments in [&["post"][..], &["post", "--ndjson"]] {
            let fake = Fake::start(&[]);
            let output = post(&fake, arguments, bytes);
            let said = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(1), "{said}");
            assert!(said.contains("standard input: ") && said.contains(word), "{said}");
            assert_eq!(fake.changes(), [""; 0]);
        }
    }
}
