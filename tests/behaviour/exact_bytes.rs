//! `data` is given back as the very bytes that were sent.

use testkit::{Client, Node};

/// The text of `data` of the change with that id, cut out of the answer.
fn stored(client: &mut Client, id: u64) -> String {
    let answer = client.get(&format!("/changes/{id}"));
    assert_eq!(answer.status, 200, "{answer:?}");
    let text = answer.text();
    let (_, data) = text.split_once(",\"data\":").expect("data");
    data.strip_suffix('}').expect("data stands last").to_owned()
}

/// Posts `data` and checks that it comes back as `wanted`, alone and in a list.
fn comes_back(cases: &[(&str, &str)]) {
    let node = Node::start();
    let mut client = node.client();
    for (data, wanted) in cases {
        let id = client.append(format!("{{\"data\":{data}}}"));
        assert_eq!(stored(&mut client, id), *wanted);
        let list = client.get(&format!("/changes?since={}", id - 1));
        assert!(list.text().contains(&format!(",\"data\":{wanted}}}],\"atStart\"")), "{data}");
    }
    let builder = node.kill();
    let node = builder.start();
    let mut client = node.client();
    for (id, (_, wanted)) in (1..).zip(cases) {
        assert_eq!(stored(&mut client, id), *wanted, "after a restart");
    }
}

fn come_back(cases: &[&str]) {
    comes_back(&cases.iter().map(|case| (*case, *case)).collect::<Vec<_>>());
}

#[test]
fn numbers_keep_every_digit() {
    let long = "9".repeat(500);
    let fraction = format!("-0.{}e-{}", "1234567890".repeat(50), "9".repeat(20));
    come_back(&[
        "1e400",
        "-1E+400",
        "1e-400",
        "0.10",
        "-0",
        "-0.0",
        "1.0",
        "1E5",
        "1e05",
        "0e0",
        "18446744073709551616",
        "-9223372036854775809",
        &long,
        &fraction,
    ]);
}

#[test]
fn strings_keep_their_spelling() {
    come_back(&[
        r#""""#,
        r#""\u0041\/\"\\\b\f\n\r\t""#,
        r#""\u00e9 é \u00E9""#,
        r#""日本語 🎉 \ud83c\udf89""#,
        r#""\u0000""#,
        "\"\u{7f}\u{2028}\u{feff}\u{ffff}\u{10ffff}\"",
        r#""a , b : [ { ""#,
    ]);
}

#[test]
fn lone_surrogates_are_kept() {
    come_back(&[
        r#""\ud800""#,
        r#""\uDFFF x""#,
        r#""\udc00\ud800""#,
        r#"{"\ud800":"\ud800\u0041"}"#,
    ]);
}

#[test]
fn duplicate_members_and_their_order_are_kept() {
    come_back(&[r#"{"b":1,"a":2,"b":3,"":4,"":5}"#, r#"{"data":{"data":1},"tags":1,"_id":7}"#]);
}

#[test]
fn every_kind_of_value_is_data() {
    come_back(&["null", "true", "false", "0", "[]", "{}", "[[[]],{}]", "\"x\""]);
}

#[test]
fn white_space_outside_strings_is_dropped() {
    comes_back(&[
        (" { \"a\" : [ 1 , 2 ] ,\r\n\t\"b c\" : \" d  e \" } ", r#"{"a":[1,2],"b c":" d  e "}"#),
        ("\n[\n]\n", "[]"),
        (" null ", "null"),
    ]);
}

#[test]
fn members_around_data_do_not_matter() {
    let node = Node::start();
    let mut client = node.client();
    for body in [
        r#" { "tags" : [ "a" ] , "data" : 1.50 } "#,
        r#"{"data":1.50,"tags":["a"]}"#,
        r#"{"\u0064ata":1.50,"t\u0061gs":["\u0061"]}"#,
    ] {
        let id = client.append(body);
        assert_eq!(stored(&mut client, id), "1.50");
        assert_eq!(client.get(&format!("/changes/{id}")).json()["tags"][0], "a");
    }
}

#[test]
fn large_data_is_kept() {
    let node = Node::start();
    let mut client = node.client();
    let data = format!("[{}\"é\"]", "1e400,\"\\ud800\", ".repeat(50_000));
    let id = client.append(format!("{{\"data\":{data}}}"));
    assert_eq!(stored(&mut client, id), data.replace(", ", ","));
}

#[test]
fn every_change_of_a_batch_keeps_its_bytes() {
    let node = Node::start();
    let mut client = node.client();
    let data = ["1e400", r#""\ud800""#, r#"{"a":1,"a":2}"#, "[1.0]"];
    let array: Vec<_> = data.iter().map(|data| format!("{{ \"data\" : {data} }}")).collect();
    assert_eq!(client.post(format!("[{}]", array.join(" , "))).status, 201);
    let headers = [("Content-Type", "application/x-ndjson")];
    let answer = client.request("POST", "/changes", &headers, array.join("\n").as_bytes());
    assert_eq!(answer.status, 201);
    for (id, data) in (1..).zip(data.iter().chain(&data)) {
        assert_eq!(stored(&mut client, id), *data);
    }
}
