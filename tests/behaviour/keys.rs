//! `/collections/C/keys`: inserted, replaced, read, deleted, alone and in
//! batches.

use serde_json::json;

use testkit::{Bar, ids};

#[test]
fn the_examples_of_keys_work_as_written() {
    let mut bar = Bar::start();
    let id = bar.client.append(r#"{ "data": { "This": "is" } }"#);
    let body = r#"{ "key": "baz", "data": { "some": "JSON" } }"#;
    let answer = bar.client.json("POST", &bar.keys, body);
    assert_eq!((answer.status, answer.text()), (201, format!("{{\"_id\":{}}}", id + 1).as_str()));
    let target = bar.key("baz");
    let change = bar.client.get(&target);
    let ts = &change.json()["_ts"];
    assert_eq!(
        change.text(),
        format!(
            "{{\"_id\":2,\"_ts\":{ts},\"tenant\":\"{}\",\"collection\":\"{}\",\"key\":\"baz\",\
             \"data\":{{\"some\":\"JSON\"}}}}",
            bar.tenant, bar.collection
        )
    );
    let list = bar.client.get(&bar.keys);
    assert_eq!(list.text(), format!("{{\"keys\":[{}],\"atEnd\":true}}", change.text()));
}

#[test]
fn a_write_inserts_with_201_and_replaces_with_200() {
    let mut bar = Bar::start();
    let (keys, key) = (bar.keys.clone(), bar.key("baz"));
    let mut wanted = 0;
    for (method, target, body, status) in [
        ("POST", &keys, r#"{"key":"baz","data":1}"#, 201),
        ("POST", &keys, r#"{"key":"baz","data":2}"#, 200),
        ("PUT", &key, r#"{"data":3}"#, 200),
        ("DELETE", &key, "", 200),
        ("PUT", &key, r#"{"data":4}"#, 201),
        ("PUT", &key, r#"{"data":4}"#, 200),
        ("DELETE", &key, "", 200),
        ("POST", &keys, r#"{"data":5,"key":"baz"}"#, 201),
    ] {
        wanted += 1;
        let answer = bar.client.json(method, target, body);
        assert_eq!(answer.status, status, "{method} {body} {answer:?}");
        assert_eq!(answer.text(), format!("{{\"_id\":{wanted}}}"));
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.last(), wanted);
        if method != "DELETE" {
            let location = format!("/changes/{wanted}");
            assert_eq!(answer.header("location"), Some(location.as_str()));
            assert_eq!(answer.header("etag"), Some(format!("\"{wanted}\"").as_str()));
        }
    }
    bar.node.holds(wanted);
}

#[test]
fn a_key_reads_as_its_newest_change_with_its_etag() {
    let mut bar = Bar::start();
    let key = bar.key("baz");
    for n in 0..5 {
        bar.put("another", n);
        let id = bar.put("baz", format!("[{n}]"));
        bar.put("ba", n);
        let answer = bar.client.get(&key);
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.header("etag"), Some(format!("\"{id}\"").as_str()));
        assert_eq!(answer.json()["data"], json!([n]));
        assert_eq!(answer.body, bar.client.get(&format!("/changes/{id}")).body);
        let past = bar.client.page("/changes/2");
        assert_eq!(past["data"], json!([0]), "what was replaced stays in the list");
    }
}

#[test]
fn a_deletion_is_a_change_without_data() {
    let mut bar = Bar::start();
    bar.client.put(&bar.key("baz"), r#"{"data":1,"tags":["t"]}"#).id();
    let (key, keys) = (bar.key("baz"), bar.keys.clone());
    assert_eq!(bar.client.delete(&key).text(), r#"{"_id":2}"#);
    let change = bar.client.page("/changes/2");
    assert_eq!(
        change,
        json!({
            "_id": 2,
            "_ts": change["_ts"],
            "tenant": bar.tenant,
            "collection": bar.collection,
            "key": "baz",
            "prev": 1,
            "deleted": true,
        })
    );
    bar.client.get(&key).problem(404, "not-found");
    assert_eq!(bar.client.page(&keys), json!({"keys": [], "atEnd": true}));
    let page = bar.client.page(&format!("/collections/{}/changes", bar.collection));
    assert_eq!((ids(&page), &page["changes"][1]), (vec![1, 2], &change));
}

#[test]
fn a_key_that_is_absent_or_deleted_is_not_found_and_takes_no_id() {
    let mut bar = Bar::start();
    bar.put("deleted", 1);
    bar.client.delete(&bar.key("deleted")).id();
    for key in ["deleted", "absent", "Deleted", "delete", "deleted "] {
        let path = bar.key(key);
        let problem = bar.client.get(&path).problem(404, "not-found");
        assert!(problem["detail"].as_str().unwrap().contains(key), "{problem}");
        bar.client.delete(&path).problem(404, "not-found");
    }
    bar.node.holds(2);
}

#[test]
fn tags_of_a_key_belong_to_its_change() {
    let mut bar = Bar::start();
    let path = bar.key("baz");
    let changes = format!("/collections/{}/changes", bar.collection);
    let body = r#"{"tags":["\u0061","b"],"data":1}"#;
    bar.client.put(&path, body).id();
    assert_eq!(bar.client.page(&path)["tags"], json!(["a", "b"]));
    let body = r#"{"key":"baz","data":2,"tags":["c"]}"#;
    bar.client.json("POST", &bar.keys, body).id();
    assert_eq!(bar.client.page(&path)["tags"], json!(["c"]));
    bar.put("baz", 3);
    assert_eq!(bar.client.page(&path).get("tags"), None, "tags are not carried over");
    for (query, wanted) in [("?tag=a", &[1][..]), ("?tag=c&tag=b", &[1, 2]), ("?tag=z", &[])] {
        assert_eq!(ids(&bar.client.page(&format!("{changes}{query}"))), wanted, "{query}");
        assert_eq!(ids(&bar.client.list(query)), wanted, "{query}");
    }
    for tags in [r#"["a","a"]"#, r#"[""]"#] {
        let body = format!("{{\"tags\":{tags},\"data\":1}}");
        bar.client.put(&path, body).problem(400, "invalid-name");
    }
    bar.node.holds(3);
}

#[test]
fn data_of_a_key_comes_back_byte_for_byte() {
    let mut bar = Bar::start();
    let path = bar.key("baz");
    for data in [r#"{"a":1.50,"a":-0,"\u0041":"\ud800\/"}"#, "1E400", "null", "\"\u{2028}\""] {
        bar.put("baz", format!(" {data}\t"));
        let text = bar.client.get(&path).text().to_owned();
        assert!(text.ends_with(&format!(",\"key\":\"baz\",\"data\":{data}}}")), "{text}");
    }
}

#[test]
fn an_array_of_keys_is_stored_whole_with_consecutive_ids() {
    let mut bar = Bar::start();
    bar.put("b", 0);
    let body = r#"[{"key":"a","data":1},{"key":"b","data":2,"tags":["t"]},{"key":"c","data":3}]"#;
    let answer = bar.client.json("POST", &bar.keys, body);
    assert_eq!((answer.status, answer.text()), (201, r#"{"first":2,"last":4,"count":3}"#));
    assert_eq!(bar.live(), [("a".into(), 2), ("b".into(), 3), ("c".into(), 4)]);
    let lines = "{\"key\":\"a\",\"data\":4}\n\n{\"key\":\"d\",\"data\":5}";
    let answer = bar.client.post_lines(&bar.keys, lines);
    assert_eq!((answer.status, answer.text()), (201, r#"{"first":5,"last":6,"count":2}"#));
    let live = [("a".into(), 5), ("b".into(), 3), ("c".into(), 4), ("d".into(), 6)];
    assert_eq!(bar.live(), live);
}

#[test]
fn one_bad_key_refuses_its_whole_batch() {
    let mut bar = Bar::start();
    bar.put("a", 0);
    let long = "k".repeat(1025);
    for (last, code, member) in [
        (r#"{"data":2}"#, "missing-member", "key"),
        (r#"{"key":"c"}"#, "missing-member", "data"),
        (r#"{"key":"","data":2}"#, "invalid-name", "key"),
        (&format!("{{\"key\":\"{long}\",\"data\":2}}"), "invalid-name", "key"),
        (r#"{"key":"c","data":2,"tenant":"foo"}"#, "unknown-member", "tenant"),
        (r#"{"key":"c","data":2,"deleted":true}"#, "unknown-member", "deleted"),
        (r#"{"key":"c","key":"c","data":2}"#, "invalid-json", "key"),
        (r#"{"key":["c"],"data":2}"#, "invalid-json", "key"),
    ] {
        let body = format!("[{{\"key\":\"a\",\"data\":1}},{{\"key\":\"b\",\"data\":1}},{last}]");
        let problem = bar.client.json("POST", &bar.keys, body).problem(400, code);
        let wanted = (&json!(2), &json!(member));
        assert_eq!((&problem["index"], &problem["member"]), wanted, "{problem}");
        let lines = format!("{{\"key\":\"a\",\"data\":1}}\n{last}\n");
        let problem = bar.client.post_lines(&bar.keys, &lines).problem(400, code);
        assert_eq!(problem["index"], 1, "{problem}");
    }
    bar.client.json("POST", &bar.keys, "[]").problem(400, "invalid-json");
    assert_eq!(bar.live(), [("a".into(), 1)]);
    bar.node.holds(1);
}

#[test]
fn of_the_same_key_twice_in_a_batch_the_last_wins() {
    let mut bar = Bar::start();
    let body = r#"[{"key":"a","data":1},{"key":"b","data":2},{"key":"a","data":3}]"#;
    let answer = bar.client.json("POST", &bar.keys, body);
    assert_eq!(answer.text(), r#"{"first":1,"last":3,"count":3}"#);
    assert_eq!(bar.live(), [("a".into(), 3), ("b".into(), 2)]);
    let page = bar.client.list("");
    let data: Vec<_> = page["changes"].as_array().unwrap().iter().map(|c| &c["data"]).collect();
    assert_eq!(data, [1, 2, 3], "both are changes");
}

#[test]
fn a_change_that_names_a_key_upserts_it_and_is_always_created() {
    let mut bar = Bar::start();
    let collection = &bar.collection;
    let targets = ["/changes", "/tenants/foo/changes", "/changes"];
    for (id, target) in (1..).zip(targets) {
        let body = format!("{{\"collection\":\"{collection}\",\"key\":\"k\",\"data\":{id}}}");
        let answer = bar.client.json("POST", target, body);
        assert_eq!((answer.status, answer.id()), (201, id), "an append is created every time");
        let answer = bar.client.get(&format!("{}/k", bar.keys));
        assert_eq!(answer.header("etag"), Some(format!("\"{id}\"").as_str()));
        assert_eq!(answer.json()["data"], id);
    }
    assert_eq!(bar.client.put(&bar.key("k"), r#"{"data":4}"#).status, 200);
    let body = format!(
        "[{{\"collection\":\"{0}\",\"key\":\"k\",\"data\":5}},{{\"data\":6}},\
         {{\"collection\":\"{0}\",\"data\":7}},{{\"collection\":\"{0}\",\"key\":\"l\",\"data\":8}}]",
        bar.collection
    );
    assert_eq!(bar.client.post(body).text(), r#"{"first":5,"last":8,"count":4}"#);
    assert_eq!(bar.live(), [("k".into(), 5), ("l".into(), 8)]);
    let page = bar.client.page(&format!("/collections/{}/changes", bar.collection));
    assert_eq!(ids(&page), [1, 2, 3, 4, 5, 7, 8]);
}

#[test]
fn a_batch_may_span_tenants_and_collections() {
    let mut bar = Bar::start();
    bar.client.tenant("other");
    let second = bar.client.collection("other", "bar");
    let body = format!(
        "[{{\"collection\":\"{}\",\"key\":\"k\",\"data\":1}},\
         {{\"collection\":\"{second}\",\"key\":\"k\",\"data\":2}},{{\"tenant\":\"other\",\"data\":3}}]",
        bar.collection
    );
    assert_eq!(bar.client.post(body).text(), r#"{"first":1,"last":3,"count":3}"#);
    assert_eq!(bar.live(), [("k".into(), 1)]);
    assert_eq!(bar.client.page(&format!("/collections/{second}/keys/k"))["_id"], 2);
    assert_eq!(ids(&bar.client.page("/tenants/other/changes")), [2, 3]);
    let changes = bar.client.json("POST", "/tenants/foo/changes", {
        format!("[{{\"data\":4}},{{\"collection\":\"{second}\",\"key\":\"k\",\"data\":5}}]")
    });
    changes.problem(400, "tenant-mismatch");
    bar.node.holds(3);
}

#[test]
fn a_body_of_a_key_has_its_members_and_no_others() {
    let mut bar = Bar::start();
    let path = bar.key("k");
    for (body, code, member) in [
        ("{}", "missing-member", "data"),
        (r#"{"tags":["a"]}"#, "missing-member", "data"),
        (r#"{"data":1,"key":"k"}"#, "unknown-member", "key"),
        (r#"{"data":1,"tenant":"foo"}"#, "unknown-member", "tenant"),
        (r#"{"data":1,"collection":"x"}"#, "unknown-member", "collection"),
        (r#"{"data":1,"_id":1}"#, "unknown-member", "_id"),
        (r#"{"data":1,"data":2}"#, "invalid-json", "data"),
    ] {
        let problem = bar.client.put(&path, body).problem(400, code);
        assert_eq!(problem["member"], member, "{body}: {problem}");
    }
    for body in ["1", "null", "", r#"[{"data":1}]"#] {
        bar.client.put(&path, body).problem(400, "invalid-json");
    }
    bar.node.holds(0);
}
