//! `GET /collections/C/keys`: in byte order, page by page, by prefix.

use serde_json::{Value, json};

use testkit::{Bar, Node, percent, strings};

/// Keys whose order by bytes is that of this list: not that of UTF-16 (where
/// U+FFFD stands behind U+10000), of letters regardless of case, or of length.
const SORTED: [&str; 16] = [
    "\u{1}",
    " ",
    "A",
    "B/",
    "B/1",
    "B/10",
    "B/2",
    "B0",
    "a",
    "aa",
    "b",
    "\u{7f}",
    "é",
    "\u{fffd}",
    "\u{10000}",
    "\u{10ffff}",
];

fn filled() -> Bar {
    let mut bar = Bar::start();
    for n in 0..SORTED.len() {
        bar.put(SORTED[n * 7 % SORTED.len()], n);
    }
    bar
}

fn keys(page: &Value) -> Vec<&str> {
    strings(&page["keys"], "key")
}

#[test]
fn keys_are_listed_in_the_order_of_their_bytes() {
    let mut bar = filled();
    let page = bar.client.page(&bar.keys);
    assert_eq!(keys(&page), SORTED);
    assert_eq!(page["atEnd"], true);
    for change in page["keys"].as_array().unwrap() {
        let path = bar.key(change["key"].as_str().unwrap());
        assert_eq!(bar.client.page(&path), *change, "the list holds the whole change");
    }
    let named = bar.client.get("/tenants/foo/collections/bar/keys");
    assert_eq!(named.body, bar.client.get(&bar.keys).body);
}

#[test]
fn pages_follow_each_other_by_after_and_by_last() {
    let mut bar = filled();
    for limit in 1..=SORTED.len() + 1 {
        for parameter in ["after", "last"] {
            let mut listed: Vec<String> = Vec::new();
            loop {
                let after = match listed.last() {
                    Some(key) => format!("&{parameter}={}", percent(key)),
                    None => String::new(),
                };
                let page = bar.client.page(&format!("{}?limit={limit}{after}", bar.keys));
                listed.extend(keys(&page).iter().map(ToString::to_string));
                if page["atEnd"] == true {
                    break;
                }
                assert_eq!(keys(&page).len(), limit);
            }
            assert_eq!(listed, SORTED, "{limit} by {parameter}");
        }
    }
    let both = format!("{}?after=a&last=a", bar.keys);
    bar.client.get(&both).problem(400, "invalid-parameter");
}

#[test]
fn after_and_prefix_choose_a_range() {
    let mut bar = filled();
    for (query, wanted) in [
        ("after=B%2F1", &SORTED[5..]),
        ("after=B%2F11", &SORTED[6..]),
        ("after=%F4%8F%BF%BF", &[]),
        ("after=%01&limit=2", &SORTED[1..3]),
        ("prefix=B", &SORTED[3..8]),
        ("prefix=B%2F", &SORTED[3..7]),
        ("prefix=B%2F1", &SORTED[4..6]),
        ("prefix=C", &[]),
        ("prefix=b%20", &[]),
        ("prefix=%C3%A9", &["é"]),
        ("prefix=%F4%8F%BF%BF", &["\u{10ffff}"]),
        ("prefix=%EF%BF%BD", &["\u{fffd}"]),
        ("prefix=B&after=B%2F1", &SORTED[5..8]),
        ("prefix=B&after=B0", &[]),
        ("prefix=B&after=A", &SORTED[3..8]),
        ("prefix=B&after=C", &[]),
        ("prefix=B&limit=2&after=B%2F", &SORTED[4..6]),
        ("prefix=B&last=B%2F10", &SORTED[6..8]),
        ("prefix=a&after=%01", &["a", "aa"]),
        ("prefix=&limit=3", &SORTED[..3]),
        ("prefix=a+", &[]),
        ("prefix=+", &[" "]),
    ] {
        let page = bar.client.page(&format!("{}?{query}", bar.keys));
        assert_eq!(keys(&page), wanted, "{query}");
        let cut = ["limit=2", "limit=3"].iter().any(|limit| query.contains(limit));
        assert_eq!(page["atEnd"], !cut, "{query}");
    }
}

#[test]
fn at_end_looks_at_what_the_prefix_lets_through() {
    let mut bar = Bar::start();
    for key in ["a1", "a2", "a3", "b1"] {
        bar.put(key, 1);
    }
    for (query, count, at_end) in [
        ("prefix=a&limit=2", 2, false),
        ("prefix=a&limit=3", 3, true),
        ("prefix=a&limit=4", 3, true),
        ("prefix=a&limit=1&after=a2", 1, true),
        ("prefix=b&limit=1", 1, true),
        ("limit=3", 3, false),
        ("limit=4", 4, true),
    ] {
        let page = bar.client.page(&format!("{}?{query}", bar.keys));
        assert_eq!((keys(&page).len(), &page["atEnd"]), (count, &json!(at_end)), "{query}");
    }
}

#[test]
fn a_prefix_ends_at_the_top_of_the_range_of_text() {
    let mut bar = Bar::start();
    let top = "\u{10ffff}";
    let inside = [top.to_owned(), format!("{top}a"), format!("{top}{top}"), top.repeat(256)];
    for key in inside.iter().map(String::as_str).chain(["\u{10fffe}", "a", "\u{10fffe}\u{10ffff}"])
    {
        bar.put(key, 1);
    }
    let page = bar.client.page(&format!("{}?prefix={}", bar.keys, percent(top)));
    assert_eq!(keys(&page), inside);
    let twice = percent(&top.repeat(2));
    let page = bar.client.page(&format!("{}?prefix={twice}", bar.keys));
    assert_eq!(keys(&page), inside[2..]);
    let query = format!("prefix={}&after={}", percent(top), percent(&inside[2]));
    let page = bar.client.page(&format!("{}?{query}", bar.keys));
    assert_eq!((keys(&page), &page["atEnd"]), (vec![inside[3].as_str()], &json!(true)));
}

#[test]
fn deleted_keys_are_not_listed() {
    let mut bar = filled();
    for key in &SORTED[..8] {
        bar.client.delete(&bar.key(key)).id();
    }
    let page = bar.client.page(&format!("{}?limit=8", bar.keys));
    assert_eq!((keys(&page), &page["atEnd"]), (SORTED[8..].to_vec(), &json!(true)));
    let page = bar.client.page(&format!("{}?prefix=B", bar.keys));
    assert_eq!(page, json!({"keys": [], "atEnd": true}));
    let page = bar.client.page(&format!("{}?after=A&limit=1", bar.keys));
    assert_eq!(keys(&page), ["a"], "a key that is gone is still a place in the order");
}

#[test]
fn a_list_of_keys_has_100_unless_given_and_at_most_10000() {
    const COUNT: usize = 10_050;
    let mut bar = Bar::on(Node::with(&["--max-batch", "20000", "--segment-size", "8MiB"]));
    let key = |n: usize| format!("k{n:05}");
    let lines: String =
        (0..COUNT).rev().map(|n| format!("{{\"key\":\"{}\",\"data\":{n}}}\n", key(n))).collect();
    assert_eq!(bar.client.post_lines(&bar.keys, &lines).status, 201);
    for (query, first, count) in [
        ("", 0, 100),
        ("?limit=10000", 0, 10_000),
        ("?limit=10001", 0, 10_000),
        ("?limit=99999999999999999999999", 0, 10_000),
        ("?limit=10000&after=k09999", 10_000, 50),
        ("?limit=500&prefix=k0123", 1230, 10),
    ] {
        let page = bar.client.page(&format!("{}{query}", bar.keys));
        let listed = keys(&page);
        assert!(listed.iter().copied().eq((first..first + count).map(key)), "{query}");
        assert_eq!(page["atEnd"], count < 100, "{query}");
    }
}

#[test]
fn a_list_of_keys_is_cut_at_8_mib() {
    let mut bar = Bar::on(Node::with(&["--max-body", "2MiB", "--segment-size", "4MiB"]));
    let data = format!("\"{}\"", "x".repeat(1_000_000));
    for n in 0..10 {
        bar.put(&n.to_string(), &data);
    }
    let answer = bar.client.get(&bar.keys);
    let page = answer.json();
    assert_eq!(keys(&page), ["0", "1", "2", "3", "4", "5", "6", "7"]);
    assert_eq!(page["atEnd"], false);
    assert!(answer.body.len() <= (8 << 20) + 100);
    let page = bar.client.page(&format!("{}?after=7", bar.keys));
    assert_eq!((keys(&page), &page["atEnd"]), (vec!["8", "9"], &json!(true)));
}

#[test]
fn lists_of_keys_keep_their_collections_apart() {
    let mut bar = Bar::start();
    let second = bar.client.collection("foo", "second");
    for n in 0..10 {
        bar.put(&format!("k{n}"), n);
        bar.client.put(&format!("/collections/{second}/keys/l{n}"), r#"{"data":1}"#).id();
    }
    assert_eq!(bar.live().len(), 10);
    let page = bar.client.page(&format!("/collections/{second}/keys?after=k5"));
    assert_eq!(keys(&page).len(), 10);
    assert!(keys(&page).iter().all(|key| key.starts_with('l')));
    bar.client.get(&format!("/collections/{second}/keys/k1")).problem(404, "not-found");
}

#[test]
fn min_id_and_consistency_hold_for_lists_of_keys() {
    let mut bar = Bar::start();
    let id = bar.put("a", 1);
    for query in ["min_id=1", "min_id=0", "consistency=strong", "consistency=local&min_id=1"] {
        assert_eq!(keys(&bar.client.page(&format!("{}?{query}", bar.keys))), ["a"], "{query}");
    }
    let mut waiting = bar.node.client();
    let target = format!("{}?min_id={}", bar.keys, id + 1);
    waiting.send_request("GET", &target, &[], b"");
    bar.put("b", 2);
    assert_eq!(keys(&waiting.answer().json()), ["a", "b"]);
}
