//! The edge cases of RFC 8259: what is JSON comes back byte for byte, white space
//! outside strings aside; what is not is refused with the place of the first
//! wrong byte.

use crate::common::{Bar, Client};

const NDJSON: &str = "application/x-ndjson";
const JSON: &str = "application/json";

/// Values that are JSON. `\` stands in them as it is sent.
fn accepted() -> Vec<String> {
    let mut values: Vec<String> = [
        "null",
        "true",
        "false",
        "0",
        "-0",
        "-0.0",
        "1E400",
        "1e-400",
        "-1.5e+10",
        "0e0",
        "1E1",
        "123456789012345678901234567890.123456789012345678901234567890e-5",
        "\"\"",
        "\" \"",
        "[]",
        "{}",
        "[[],{},[{}]]",
        "[ ]",
        "{ }",
        r#""\ud800""#,
        r#""\uDFFF\ud800""#,
        r#""\ud83d\ude00""#,
        r#""\u0000""#,
        r#""\uFFFF""#,
        r#""\"\\\/\b\f\n\r\t\u00e9""#,
        r#""/""#,
        r#""\\u0041""#,
        r#"{"a":1,"a":2,"a":{}}"#,
        r#"{"":0}"#,
        r#"{"\u0061":1,"a":2}"#,
        r#"{"data":{"_id":1,"_ts":2},"deleted":true}"#,
        "\"\u{2028}\u{2029}\u{7f}\u{fdd0}\u{ffff}\u{10ffff}\u{feff}é😀\"",
        "[1,[2,[3,[4]]],{\"x\":[null,true]}]",
        " \t[ 1 , \t2 ,{ \"a b\" :\t\" c  d \" } ] ",
    ]
    .map(String::from)
    .to_vec();
    values.push(format!("{}{}", "[".repeat(128), "]".repeat(128)));
    values.push("9".repeat(1000));
    values.push(format!("[{}0]", "0,".repeat(10_000)));
    values
}

/// What is stored of a value: everything but the white space outside strings.
fn stripped(value: &str) -> String {
    let (mut out, mut in_string, mut escaped) = (String::new(), false, false);
    for char in value.chars() {
        let is_space = matches!(char, ' ' | '\t' | '\n' | '\r');
        if in_string || !is_space {
            out.push(char);
        }
        in_string = match char {
            '"' if !escaped => !in_string,
            _ => in_string,
        };
        escaped = in_string && char == '\\' && !escaped;
    }
    out
}

fn data_of(change: &[u8]) -> &str {
    let text = std::str::from_utf8(change).unwrap();
    let at = text.find("\"data\":").expect("data") + "\"data\":".len();
    text[at..].strip_suffix('}').expect("the end of a change")
}

fn post(client: &mut Client, content_type: &str, body: &[u8]) -> u16 {
    client.request("POST", "/changes", &[("Content-Type", content_type)], body).status
}

#[test]
fn json_comes_back_byte_for_byte_alone_in_arrays_in_lines_and_under_keys() {
    let mut bar = Bar::start();
    let values = accepted();
    let objects: Vec<String> = values.iter().map(|value| format!("{{\"data\":{value}}}")).collect();
    for (value, object) in values.iter().zip(&objects) {
        assert_eq!(post(&mut bar.client, JSON, object.as_bytes()), 201, "{value:.80}");
    }
    assert_eq!(post(&mut bar.client, JSON, format!("[{}]", objects.join(",")).as_bytes()), 201);
    assert_eq!(post(&mut bar.client, NDJSON, objects.join("\n").as_bytes()), 201);
    for (n, value) in values.iter().cycle().take(3 * values.len()).enumerate() {
        let change = bar.client.get(&format!("/changes/{}", n + 1));
        assert_eq!(data_of(&change.body), stripped(value), "change {}", n + 1);
    }
    for (n, object) in objects.iter().enumerate() {
        let target = format!("{}/{n}", bar.keys);
        assert_eq!(bar.client.put(&target, object).status, 201);
        assert_eq!(data_of(&bar.client.get(&target).body), stripped(&values[n]));
    }
}

/// Bytes that are no JSON value, and where the first wrong one is.
fn refused() -> Vec<(Vec<u8>, usize)> {
    let mut values: Vec<(Vec<u8>, usize)> = [
        ("", 0),
        ("nul", 3),
        ("nulL", 3),
        ("True", 0),
        ("NaN", 0),
        ("Infinity", 0),
        ("-Infinity", 1),
        ("+1", 0),
        (".5", 0),
        ("1.", 2),
        ("1.e1", 2),
        ("1e", 2),
        ("1e+", 3),
        ("01", 1),
        ("-01", 2),
        ("-", 1),
        ("0x1", 1),
        ("1_000", 1),
        ("'a'", 0),
        ("\"\\x\"", 2),
        ("\"\\u12g4\"", 5),
        ("\"\\u123\"", 6),
        ("\"\\", 2),
        ("[1,]", 3),
        ("[,1]", 1),
        ("[1 2]", 3),
        ("[1", 2),
        ("]", 0),
        ("[1}", 2),
        ("{\"a\":1,}", 7),
        ("{\"a\"}", 4),
        ("{\"a\":}", 5),
        ("{a:1}", 1),
        ("{1:1}", 1),
        ("{\"a\" 1}", 5),
        ("{\"a\":1]", 6),
        ("{\"a\":1 \"b\":2}", 7),
        ("/* c */1", 0),
        ("1 // c", 2),
        ("1 2", 2),
        ("\"a\tb\"", 2),
        ("\"a\u{0}b\"", 2),
        ("\u{0}1", 0),
        ("1\u{0}", 1),
        ("\u{feff}1", 0),
        ("\"\u{1f}\"", 1),
        ("\u{a0}1", 0),
        ("[\u{b}1]", 1),
        ("#1", 0),
        ("\u{2028}1", 0),
    ]
    .map(|(text, at)| (text.as_bytes().to_vec(), at))
    .to_vec();
    for ill in [
        &b"\xff"[..],
        b"\x80",
        b"\xc0\xaf",
        b"\xe0\x80\xaf",
        b"\xed\xa0\x80",
        b"\xed\xbf\xbf",
        b"\xf4\x90\x80\x80",
        b"\xf8\x88\x80\x80\x80",
        b"\xe2\x82",
        b"\xc3",
    ] {
        // Its sequence begins after a quote and two letters.
        values.push(([b"\"ab", ill, b"\""].concat(), 3));
    }
    values.push(([b"[".repeat(129), b"]".repeat(129)].concat(), 128));
    values
}

#[test]
fn what_is_no_json_is_refused_at_its_first_wrong_byte() {
    let mut bar = Bar::start();
    let key = format!("{}/k", bar.keys);
    for (value, at) in refused() {
        let body = [b"{\"data\":", &value[..], b"}"].concat();
        let shown = value.escape_ascii().to_string();
        for (method, target, content_type, before, after) in [
            ("POST", "/changes", JSON, &b""[..], &b""[..]),
            ("POST", "/changes", JSON, b"[{\"data\":1}, ", b"]"),
            ("POST", "/changes", NDJSON, b"{\"data\":1}\n", b"\n"),
            ("PUT", &key, JSON, b" ", b""),
        ] {
            let all = [before, &body, after].concat();
            let headers = [("Content-Type", content_type)];
            let answer = bar.client.request(method, target, &headers, &all);
            let problem = answer.problem(400, "invalid-json");
            let wanted = before.len() + b"{\"data\":".len() + at;
            assert_eq!(problem["offset"], wanted, "{shown} {method} {content_type}: {problem}");
        }
    }
    bar.node.holds(0);
}

#[test]
fn a_byte_order_mark_or_anything_behind_a_body_is_refused() {
    let mut bar = Bar::start();
    for (body, at) in [
        (&b"\xef\xbb\xbf{\"data\":1}"[..], 0),
        (b"{\"data\":1}x", 10),
        (b"{\"data\":1}{\"data\":2}", 10),
        (b"{\"data\":1}\0", 10),
        (b"[{\"data\":1}] []", 13),
        (b"\xff", 0),
        (b"{\"data\":\"a", 10),
        (b"{\"data\":[1", 10),
        (b"{\"data\":1}\xc0", 10),
    ] {
        let answer = bar.client.post(body);
        let problem = answer.problem(400, "invalid-json");
        assert_eq!(problem["offset"], at, "{}: {problem}", body.escape_ascii());
    }
    bar.node.holds(0);
}
