//! The edges of RFC 8259, as `data` of a single change, of an array, of lines
//! and of a key: what is JSON comes back byte for byte, what is not is refused
//! at its first wrong byte.

use testkit::{Answer, Bar};

/// JSON without the white space outside its strings.
fn stripped(json: &str) -> String {
    let (mut inside, mut escaped) = (false, false);
    let mut out = String::new();
    for char in json.chars() {
        if inside || !matches!(char, ' ' | '\t' | '\n' | '\r') {
            out.push(char);
        }
        if inside && !escaped && char == '\\' {
            escaped = true;
            continue;
        }
        inside ^= char == '"' && !escaped;
        escaped = false;
    }
    out
}

/// The forms that a body may have: what stands before a value, and after it. An
/// array and lines have another change before the one in question.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Form {
    One,
    Tagged,
    Array,
    Lines,
    Key,
}
use Form::{Array, Key, Lines, One, Tagged};

const FORMS: [(Form, &str, &str); 5] = [
    (One, "{\"data\":", "}"),
    (Tagged, " {\"tags\":[\"t\"], \"data\":", "}\n"),
    (Array, "[{\"data\":1},\r\n{\"data\":", "},{\"data\":2}]"),
    (Lines, "{\"data\":1}\n{\"data\":", "}"),
    (Key, "{\"data\":", "}"),
];

/// The forms that can hold a value: a line of several is none.
fn forms(value: &[u8]) -> impl Iterator<Item = (Form, &'static str, &'static str)> {
    let several = value.contains(&b'\n');
    FORMS.into_iter().filter(move |(form, ..)| !several || *form != Lines)
}

fn write(bar: &mut Bar, body: (Form, &str, &str), value: &[u8]) -> Answer {
    let (form, before, after) = body;
    let body = [before.as_bytes(), value, after.as_bytes()].concat();
    let headers = match form {
        Lines => [("Content-Type", "application/x-ndjson")],
        _ => [("Content-Type", "application/json")],
    };
    match form {
        Key => bar.client.request("PUT", &bar.key("k"), &headers, &body),
        _ => bar.client.request("POST", "/changes", &headers, &body),
    }
}

/// The text of `data` of a change.
fn stored(bar: &mut Bar, target: &str) -> String {
    let answer = bar.client.get(target);
    let (_, data) = answer.text().split_once(",\"data\":").expect("data");
    data.strip_suffix('}').expect("data stands last").to_owned()
}

/// Checks that each comes back, in every form, after it was stored and after a
/// restart.
fn accepts<S: AsRef<str>>(values: &[S]) {
    let mut bar = Bar::start();
    let mut wanted = Vec::new();
    for value in values.iter().map(AsRef::as_ref) {
        for form in forms(value.as_bytes()) {
            let answer = write(&mut bar, form, value.as_bytes());
            let told = String::from_utf8_lossy(&answer.body);
            assert!(matches!(answer.status, 200 | 201), "{value} in {form:?}: {told}");
            let answer = answer.json();
            // In a batch it is the second change.
            let first = answer["first"].as_u64();
            let id = first.map_or_else(|| answer["_id"].as_u64().unwrap(), |first| first + 1);
            let target = format!("/changes/{id}");
            assert_eq!(stored(&mut bar, &target), stripped(value), "in {form:?}");
            if form.0 == Key {
                let key = bar.key("k");
                assert_eq!(stored(&mut bar, &key), stripped(value));
            }
            wanted.push((target, stripped(value)));
        }
    }
    bar.node = bar.node.kill().start();
    bar.client = bar.node.client();
    for (target, wanted) in wanted {
        assert_eq!(stored(&mut bar, &target), wanted, "after a restart");
    }
}

/// The offset, in a value, of its first wrong byte.
#[derive(Clone, Copy)]
enum Wrong {
    At(usize),
    /// A string in it is not closed.
    End,
}
use Wrong::{At, End};

/// Checks that each is refused, in every form, at its first wrong byte.
fn refuses(values: &[(&[u8], Wrong)]) {
    let mut bar = Bar::start();
    for (value, wrong) in values {
        for form in forms(value) {
            let problem = write(&mut bar, form, value).problem(400, "invalid-json");
            let (before, after) = (form.1.len(), form.2.len());
            let offset = match (wrong, form.0) {
                (At(offset), _) => before + offset,
                // A string that is not closed goes on to the line's end, which
                // is a control character, or to the quote of the next name.
                (End, Tagged) => before + value.len() + 1,
                (End, Array) => before + value.len() + 4,
                (End, _) => before + value.len() + after,
            };
            let shown = value.escape_ascii();
            assert_eq!(problem["offset"], offset, "{shown} in {form:?}: {problem}");
            let detail = problem["detail"].as_str().unwrap();
            assert!(detail.contains(&format!("byte {offset}")), "{shown}: {detail}");
        }
    }
    bar.node.holds(0);
}

#[test]
fn the_stripper_of_this_test_strips() {
    for (json, wanted) in [
        (" [ 1 ,\t2\r\n] ", "[1,2]"),
        (r#"{ "a b" : " \" c \\" , "d" : 1 }"#, r#"{"a b":" \" c \\","d":1}"#),
        (r#""\\" "#, r#""\\""#),
    ] {
        assert_eq!(stripped(json), wanted);
    }
}

#[test]
fn numbers_of_any_size_and_spelling_are_json() {
    let long = "1234567890".repeat(10_000);
    accepts(&[
        "0",
        "-0",
        "-0.0",
        "0e0",
        "0E-0",
        "-0e+00",
        "1E400",
        "-1e-400",
        "1.7976931348623157e308",
        "4.9e-324",
        "9007199254740993",
        "123456789012345678901234567890",
        "0.1000000000000000000000000000000000001",
        "1e00000000000000000000000001",
        &long,
        &format!("-0.{long}E-{}", "9".repeat(400)),
    ]);
}

#[test]
fn strings_of_any_text_are_json() {
    let all: String = (' '..='\u{2ff}').filter(|char| !"\"\\".contains(*char)).collect();
    accepts(&[
        r#""""#,
        r#""\"\\\/\b\f\n\r\t""#,
        r#""\u0000\u001f\u007F\u0080\uFFFF\uabCD""#,
        r#""\\u0041\\\\""#,
        "\"\u{7f}\u{80}\u{85}\u{a0}\u{ad}\"",
        "\"\u{2028}\u{2029}\u{feff}\u{200b}\u{202e}\"",
        "\"\u{fdd0}\u{fffe}\u{ffff}\u{1fffe}\u{10ffff}\"",
        "\"\u{d7ff}\u{e000}\u{800}\u{7ff}\u{10000}\"",
        "\"e\u{301} \u{1f468}\u{200d}\u{1f469}\"",
        "\"[1, 2] {\\\"a\\\": 3} // # /* */ \"",
        &format!("\"{all}\""),
        &format!("\"{}\"", "\\u0020 ".repeat(20_000)),
    ]);
}

#[test]
fn lone_surrogate_escapes_are_json() {
    accepts(&[
        r#""\ud800""#,
        r#""\uDBFF\uDBFF""#,
        r#""\udc00""#,
        r#""\uDFFF\uD800""#,
        r#""\ud83d\ude00""#,
        r#""\ud83dx\ude00""#,
        r#""\ud83d\u0041""#,
        r#"{"\ud800":1,"\ud800":2}"#,
    ]);
}

#[test]
fn objects_and_arrays_of_any_shape_are_json() {
    let wide: Vec<_> = (0..5000).map(|n| format!("\"{n}\":{n}")).collect();
    accepts(&[
        "{}",
        "[]",
        "[[],{},[[],[{}]],{\"a\":{}}]",
        r#"{"":0}"#,
        r#"{"":{"":{"":""}}}"#,
        r#"{"a":1,"a":2,"\u0061":3}"#,
        r#"{"b":1,"a":2,"10":3,"9":4}"#,
        r#"{"__proto__":1,"constructor":{},"_id":7,"deleted":true,"data":1}"#,
        r#"[null,true,false,0,"",[],{}]"#,
        &format!("{{{}}}", wide.join(",")),
        &format!("[{}1]", "0,".repeat(100_000)),
    ]);
}

#[test]
fn white_space_is_allowed_everywhere_outside_of_tokens() {
    accepts(&[
        " 1 ",
        "\t\r\ttrue\t",
        "\n\r\n null \n",
        "[ ]",
        "{\t}",
        "\r[\n1\t,\r2 ]\n",
        " { \"a\" : [ 1 , { \"b c\" : \" d  \\t \" } ] , \"e\" : -1.5e+3 } ",
        "[\t\"\\\"\" ,\t\"\\\\\" ]",
        &format!("{}1{}", " ".repeat(50_000), "\t".repeat(50_000)),
    ]);
}

#[test]
fn nesting_to_the_limit_is_json_and_beyond_it_is_not() {
    let deep = |open: &str, inner: &str, close: &str, n| open.repeat(n) + inner + &close.repeat(n);
    let mixed = "[{\"a\":".repeat(64) + "1" + &"}]".repeat(64);
    accepts(&[
        deep("[", "", "]", 128),
        deep("{\"a\":", "1", "}", 128),
        deep(" [ ", "\"[[[[{{{{\"", " ] ", 128),
        mixed,
        format!("[{}]", vec![deep("[", "", "]", 127); 50].join(",")),
    ]);
    refuses(&[
        (deep("[", "", "]", 129).as_bytes(), At(128)),
        (deep("{\"a\":", "1", "}", 129).as_bytes(), At(128 * 5)),
        (("[{\"a\":".repeat(64) + "[").as_bytes(), At(64 * 6)),
        (deep("[", "", "]", 100_000).as_bytes(), At(128)),
        ("[".repeat(129).as_bytes(), At(128)),
        (format!("[1,{}", deep("[", "", "]", 128)).as_bytes(), At(3 + 127)),
    ]);
}

#[test]
fn numbers_that_are_none_are_refused() {
    refuses(&[
        (b"01", At(1)),
        (b"-01", At(2)),
        (b"00", At(1)),
        (b"+1", At(0)),
        (b".5", At(0)),
        (b"-.5", At(1)),
        (b"1.", At(2)),
        (b"1.e5", At(2)),
        (b"1e", At(2)),
        (b"1e+", At(3)),
        (b"1E-x", At(3)),
        (b"-", At(1)),
        (b"--1", At(1)),
        (b"1.2.3", At(3)),
        (b"1e5.0", At(3)),
        (b"0x10", At(1)),
        (b"1_000", At(1)),
        (b"1,5", At(2)),
        (b"NaN", At(0)),
        (b"nan", At(1)),
        (b"Infinity", At(0)),
        (b"-Infinity", At(1)),
        (b"\xef\xbc\x91", At(0)),
    ]);
}

#[test]
fn texts_that_are_almost_json_are_refused() {
    refuses(&[
        (b"", At(0)),
        (b"[1,]", At(3)),
        (b"[,1]", At(1)),
        (b"[1,,2]", At(3)),
        (b"[1 2]", At(3)),
        (b"{\"a\":1,}", At(7)),
        (b"{,}", At(1)),
        (b"{\"a\"}", At(4)),
        (b"{\"a\" 1}", At(5)),
        (b"{\"a\":}", At(5)),
        (b"{\"a\"::1}", At(5)),
        (b"{a:1}", At(1)),
        (b"{1:1}", At(1)),
        (b"{'a':1}", At(1)),
        (b"'a'", At(0)),
        (b"`a`", At(0)),
        (b"True", At(0)),
        (b"nul", At(3)),
        (b"nulL", At(3)),
        (b"{\"a\":1 \"b\":2}", At(7)),
        (b"[\x0b1]", At(1)),
        (b"\xe2\x80\xa81", At(0)),
        (b"trueish", At(4)),
        (b"undefined", At(0)),
        (b"1 // one", At(2)),
        (b"/* one */ 1", At(0)),
        (b"[1 # one\n]", At(3)),
        (b"1 2", At(2)),
        (b"[1]]", At(3)),
        (b"[1}", At(2)),
        (b"{\"a\":1]", At(6)),
        (b"[1", At(2)),
        (b"\x0b1", At(0)),
        (b"\x0c1", At(0)),
        (b"\xc2\xa01", At(0)),
        (b"\xe2\x80\x83", At(0)),
        (b"\xef\xbb\xbf1", At(0)),
        (b"\x001", At(0)),
        (b"1\x00", At(1)),
    ]);
}

#[test]
fn strings_that_are_none_are_refused() {
    refuses(&[
        (b"\"a\nb\"", At(2)),
        (b"\"\t\"", At(1)),
        (b"\"\x00\"", At(1)),
        (b"\"\x1f\"", At(1)),
        (b"\"ab\rc\"", At(3)),
        (b"\"\\x41\"", At(2)),
        (b"\"\\'\"", At(2)),
        (b"\"\\0\"", At(2)),
        (b"\"\\U0041\"", At(2)),
        (b"\"\\u{41}\"", At(3)),
        (b"\"\\u00G0\"", At(5)),
        (b"\"\\u12\"", At(5)),
        (b"\"\\u\"", At(3)),
        (b"\"\\\t\"", At(2)),
        (b"[\"a\" \"b\"]", At(5)),
        (b"{\"a\\\":1}", End),
        (b"\"abc", End),
        (b"\"abc\\\"", End),
    ]);
}

#[test]
fn bytes_that_are_no_utf_8_are_refused_where_they_begin() {
    refuses(&[
        (b"\"\x80\"", At(1)),
        (b"\"ab\xbfc\"", At(3)),
        (b"\"\xc0\xaf\"", At(1)),
        (b"\"\xc1\xbf\"", At(1)),
        (b"\"\xe0\x80\xaf\"", At(1)),
        (b"\"\xe0\x9f\xbf\"", At(1)),
        (b"\"\xf0\x80\x80\xaf\"", At(1)),
        (b"\"\xf0\x8f\xbf\xbf\"", At(1)),
        (b"\"\xed\xa0\x80\"", At(1)),
        (b"\"\xed\xbf\xbf\"", At(1)),
        (b"\"\xed\xa0\xbd\xed\xb8\x80\"", At(1)),
        (b"\"\xf4\x90\x80\x80\"", At(1)),
        (b"\"\xf5\x80\x80\x80\"", At(1)),
        (b"\"\xf8\x88\x80\x80\x80\"", At(1)),
        (b"\"\xfe\"", At(1)),
        (b"\"\xff\"", At(1)),
        (b"\"\xc3\"", At(1)),
        (b"\"abc\xe2\x82\"", At(4)),
        (b"\"\xf0\x9f\x8e\"", At(1)),
        (b"\"\xf0\x9f\x8e\x89\xf0\x9f\"", At(5)),
        (b"{\"\xff\":1}", At(2)),
        (b"[1,\xff]", At(3)),
        (b"[\xff", At(1)),
        (b"[1,,\"\xff\"]", At(3)),
    ]);
}

#[test]
fn what_stands_around_a_body_is_judged_too() {
    let mut bar = Bar::start();
    for (body, offset) in [
        (&b"\xef\xbb\xbf{\"data\":1}"[..], 0),
        (b"\xff\xfe{\0}\0", 0),
        (b"{\"data\":1}\0", 10),
        (b"{\"data\":1},", 10),
        (b"{\"data\":1}]", 10),
        (b"{\"data\":1}\xff", 10),
        (b"{\"data\":\"a", 10),
        (b"{\"data\":\"\\", 10),
        (b"{\"data\":[1", 10),
        (b"{\"data\":", 8),
        (b"{\"data\"", 7),
        (b"[{\"data\":1}", 11),
        (b"[{\"data\":1},", 12),
        (b"[{\"data\":1}]]", 12),
        (b"[{\"data\":1}}", 11),
        (b"[{\"data\":1}{\"data\":1}]", 11),
        (b"[{\"data\":1}]\n{\"data\":1}", 13),
        (b"{\"data\":1}\n{\"data\":1}", 11),
    ] {
        let problem = bar.client.post(body).problem(400, "invalid-json");
        assert_eq!(problem["offset"], offset, "{}: {problem}", body.escape_ascii());
    }
    let good = "{\"data\":1}\n";
    for (lines, offset) in [
        ("\u{feff}{\"data\":1}\n".to_owned(), 0),
        (format!("{good}\u{feff}{good}"), good.len()),
        (format!("{good}{good}{{\"data\":"), 2 * good.len() + 8),
        (format!("{good}[{{\"data\":1}}]\n"), good.len()),
        (format!("{good}{{\"data\":\n1}}\n"), good.len() + 8),
        (format!("{good}{{\"data\":1}},\n{good}"), good.len() + 10),
        (format!("{good}\u{b}\n"), good.len()),
    ] {
        let problem = bar.client.post_lines("/changes", &lines).problem(400, "invalid-json");
        assert_eq!(problem["offset"], offset, "{lines:?}: {problem}");
    }
    bar.node.holds(0);
}
