//! Keys of every kind of text, in bodies and in paths.

use serde_json::json;

use testkit::{Bar, percent};

/// Text that has a meaning somewhere on the way of a key, or looks as if.
const TEXTS: [&str; 40] = [
    "k",
    "/",
    "a/b/c",
    "//",
    "a b",
    " ",
    "a+b",
    "+",
    "%",
    "%2F",
    "100%",
    "a%zz",
    ".",
    "..",
    "../..",
    "...",
    "?since=1",
    "a?b=c&d#e",
    "#",
    ";x=1",
    "\"quoted\"",
    "\\",
    "\\u0041",
    "'",
    "{\"a\":[1]}",
    "<b>&amp;</b>",
    "\u{1}",
    "a\tb\r\nc",
    "\u{1b}[0m\u{7f}",
    "\u{80}\u{9f}",
    "é",
    "e\u{301}",
    "日本語",
    "🎉👩\u{200d}🚀",
    "\u{2028}\u{2029}",
    "\u{feff}",
    "\u{fffd}\u{ffff}",
    "\u{10ffff}",
    "0d4f6c1e-6a7b-4c8d-9e0f-112233445566",
    "*",
];

#[test]
fn every_kind_of_key_round_trips_by_body_and_by_path() {
    let mut bar = Bar::start();
    for text in TEXTS {
        let path = bar.key(text);
        bar.client.get(&path).problem(404, "not-found");
        let body = json!({"key": text, "data": "body"}).to_string();
        let answer = bar.client.json("POST", &bar.keys, body);
        assert_eq!(answer.status, 201, "{text:?}");
        let change = bar.client.page(&path);
        assert_eq!((&change["key"], &change["data"]), (&json!(text), &json!("body")));
        assert_eq!(bar.client.put(&path, r#"{"data":"path"}"#).status, 200, "{text:?}");
        assert_eq!(bar.client.page(&path)["data"], "path");
        let named = format!("/tenants/foo/collections/bar/keys/{}", percent(text));
        assert_eq!(bar.client.page(&named)["key"], text);
    }
    let mut sorted: Vec<_> = TEXTS.into();
    sorted.sort_unstable();
    let live = bar.live();
    assert!(live.iter().map(|(key, _)| key).eq(&sorted), "{live:?}");
    for text in TEXTS {
        let path = bar.key(text);
        let id = bar.client.delete(&path).id();
        assert_eq!(bar.client.page(&format!("/changes/{id}"))["key"], text);
        bar.client.get(&path).problem(404, "not-found");
    }
    assert_eq!(bar.live(), []);
}

#[test]
fn a_key_is_the_same_however_it_is_escaped() {
    let mut bar = Bar::start();
    let body = r#"{"key":"\u0061\/\u00e9\ud83c\udf89","data":1}"#;
    bar.client.json("POST", &bar.keys, body).id();
    for path in ["a%2Fé🎉", "a%2fé🎉", "%61%2F%C3%A9%f0%9f%8e%89"] {
        // Bytes above ASCII travel escaped.
        let path: String = path
            .chars()
            .map(|c| if c.is_ascii() { c.to_string() } else { percent(&c.to_string()) })
            .collect();
        assert_eq!(bar.client.page(&format!("{}/{path}", bar.keys))["_id"], 1, "{path}");
    }
    let text = bar.client.get(&bar.keys).text().to_owned();
    assert!(text.contains("\"key\":\"a/é🎉\""), "keys are spelled in one way: {text}");
}

#[test]
fn characters_that_need_no_escape_in_a_path_stand_for_themselves() {
    let mut bar = Bar::start();
    for key in [".", "..", "a+b", "a=b&c", "a;b,c", "~a!$'()*", "a:b@c", "-_."] {
        let path = format!("{}/{key}", bar.keys);
        assert_eq!(bar.client.put(&path, r#"{"data":1}"#).status, 201, "{key}");
        assert_eq!(bar.client.page(&path)["key"], key);
        assert_eq!(bar.client.page(&bar.key(key))["key"], key, "escaped it is the same");
    }
    assert_eq!(bar.live().len(), 8);
}

#[test]
fn a_slash_parts_the_path_where_it_is_not_escaped() {
    let mut bar = Bar::start();
    bar.put("a/b", 1);
    bar.put("a", 2);
    for path in ["a/b", "a/", "/a", "a/b/"] {
        let path = format!("{}/{path}", bar.keys);
        bar.client.get(&path).problem(404, "not-found");
        bar.client.put(&path, r#"{"data":1}"#).problem(404, "not-found");
    }
    bar.node.holds(2);
}

#[test]
fn a_key_is_1_to_1024_bytes_of_utf_8() {
    let mut bar = Bar::start();
    let taken = [
        "x".into(),
        "x".repeat(1024),
        "é".repeat(512),
        "🎉".repeat(256),
        format!("xy{}", "é".repeat(511)),
        format!("{}🎉", "x".repeat(1020)),
        "\u{1}".repeat(1024),
        "\"".repeat(1024),
    ];
    for (n, key) in taken.iter().enumerate() {
        assert!(key.len() <= 1024);
        let path = bar.key(key);
        if n % 2 == 0 {
            assert_eq!(bar.client.put(&path, r#"{"data":1}"#).status, 201, "{key}");
        } else {
            let body = json!({"key": key, "data": 1}).to_string();
            assert_eq!(bar.client.json("POST", &bar.keys, body).status, 201, "{key}");
        }
        assert_eq!(bar.client.page(&path)["key"], *key);
    }
    let refused = [
        String::new(),
        "x".repeat(1025),
        format!("x{}", "é".repeat(512)),
        format!("{}🎉", "x".repeat(1021)),
        format!("{}é", "x".repeat(1023)),
        "x".repeat(4000),
    ];
    for key in &refused {
        let path = bar.key(key);
        for method in ["GET", "DELETE"] {
            bar.client.request(method, &path, &[], b"").problem(400, "invalid-name");
        }
        bar.client.put(&path, r#"{"data":1}"#).problem(400, "invalid-name");
        let body = json!({"key": key, "data": 1, "collection": bar.collection});
        let problem = bar.client.post(body.to_string()).problem(400, "invalid-name");
        assert_eq!(problem["member"], "key", "{problem}");
        let body = json!({"data": 1, "key": key}).to_string();
        let problem = bar.client.json("POST", &bar.keys, body).problem(400, "invalid-name");
        assert_eq!((&problem["member"], &problem["offset"]), (&json!("key"), &json!(16)));
    }
    assert_eq!(bar.live().len(), taken.len());
    bar.node.holds(taken.len() as u64);
}

#[test]
fn a_key_or_tag_with_nul_is_addressed_like_any_other() {
    let mut bar = Bar::start();
    for key in ["a", "a\0", "a\0b", "\0", "b"] {
        let body = json!({"key": key, "data": 1, "tags": ["t", format!("{key}\0")]}).to_string();
        assert_eq!(bar.client.json("POST", &bar.keys, body).status, 201, "{key:?}");
    }
    // A client that goes on after the last key of each page sees them all.
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let page = bar.client.page(&format!("{}?limit=1&after={}", bar.keys, percent(&after)));
        let key = page["keys"][0]["key"].as_str().expect("a key").to_owned();
        seen.push(key.clone());
        after = key;
        if page["atEnd"] == true {
            break;
        }
    }
    assert_eq!(seen, ["\0", "a", "a\0", "a\0b", "b"]);
    let page = bar.client.page(&format!("{}?prefix=a%00", bar.keys));
    assert_eq!(page["keys"].as_array().unwrap().len(), 2);
    let list = bar.client.list("?tag=a%00b%00");
    assert_eq!(
        (list["changes"].as_array().unwrap().len(), &list["changes"][0]["_id"]),
        (1, &json!(3))
    );
    let path = format!("{}/a%00b", bar.keys);
    let answer = bar.client.get(&path);
    assert_eq!((answer.status, &answer.json()["key"]), (200, &json!("a\0b")));
    assert_eq!(bar.client.put(&path, r#"{"data":2}"#).status, 200);
    let id = bar.client.delete(&path).id();
    bar.client.get(&path).problem(404, "not-found");
    assert_eq!(bar.client.get(&format!("{}/a", bar.keys)).status, 200, "another key");
    // What may not have it says so.
    bar.client.get("/tenants/a%00b").problem(404, "not-found");
    bar.client.get("/changes?since=1%00").problem(400, "invalid-parameter");
    bar.client.get("/changes?%00=1").problem(400, "invalid-parameter");
    bar.client.get("/changes%00").problem(404, "not-found");
    bar.node.holds(id);
}

#[test]
fn a_key_that_is_no_unicode_text_is_refused() {
    let mut bar = Bar::start();
    for (key, offset) in [("\\ud800", 8), ("a\\udc00", 9), ("\\ud800\\ud800x", 8)] {
        let body = format!("{{\"key\":\"{key}\",\"data\":1}}");
        let problem = bar.client.json("POST", &bar.keys, body).problem(400, "invalid-json");
        assert_eq!(problem["offset"], offset, "{problem}");
    }
    for path in ["%ff", "%C3", "%ED%A0%80", "%C0%AF", "%4", "%zz"] {
        let target = format!("{}/{path}", bar.keys);
        bar.node.client().get(&target).problem(400, "bad-request");
    }
    bar.node.holds(0);
}
