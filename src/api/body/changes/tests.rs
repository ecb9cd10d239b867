use super::*;
use crate::api::error::{ApiError, Code, Member};
use crate::api::json::Reason;
use crate::api::json::tests::document;
use crate::base::batch::{Batch, Command, encode};
use crate::base::ids::Timestamp;
use crate::base::json_string::write_json_string;
use proptest::prelude::*;
use serde_json::Value;

/// Reads a body of `/changes` where there is no tenant or collection.
fn read(body: &[u8], form: Form, limits: &Limits) -> Result<ChangeBody, BodyError> {
    parse(body, form, limits, &Scope::default(), (&crate::state::index::Catalog::default()).into())
}

fn json(body: &str) -> Result<ChangeBody, BodyError> {
    read(body.as_bytes(), Form::Json, &Limits::default())
}

fn lines(body: &str) -> Result<ChangeBody, BodyError> {
    read(body.as_bytes(), Form::Ndjson, &Limits::default())
}

/// The suffixes and tags of an accepted body, as the log would give them back.
fn stored(body: &ChangeBody) -> Vec<(String, String)> {
    let batch = Batch::parse(encode(&[Command::from(body.append.clone())], Timestamp(1))).unwrap();
    (0..batch.changes())
        .map(|n| {
            let change = batch.change(n);
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            (text(change.suffix), text(change.tags))
        })
        .collect()
}

fn suffixes(body: &ChangeBody) -> Vec<String> {
    stored(body).into_iter().map(|(suffix, _)| suffix).collect()
}

#[test]
fn one_object_is_one_change() {
    let body = json(r#"{ "data": { "This": "is", "some": "JSON" } }"#).unwrap();
    assert_eq!(body.shape, Shape::One);
    assert_eq!(suffixes(&body), [r#","data":{"This":"is","some":"JSON"}}"#]);
    for scalar in ["null", "0", "1e400", "\"\\ud800 x\"", "false", "[]", "{\"a\":1,\"a\":2}"] {
        let body = json(&format!("\r\n{{\"data\":{scalar}}}\n")).unwrap();
        assert_eq!(suffixes(&body), [format!(",\"data\":{scalar}}}")]);
    }
}

#[test]
fn tags_come_first_in_their_one_spelling() {
    for body in [
        r#"{"data":1,"tags":["a","\u00e9\/\u0022\u000a"]}"#,
        r#"{"t\u0061gs" : [ "\u0061" , "é/\"\n" ], "d\u0061ta":1}"#,
    ] {
        let body = json(body).unwrap();
        let expected =
            (r#","tags":["a","é/\"\n"],"data":1}"#.to_owned(), r#""a","é/\"\n""#.to_owned());
        assert_eq!(stored(&body), [expected]);
    }
    let body = json(r#"{"tags":[ ],"data":1}"#).unwrap();
    assert_eq!(stored(&body), [(r#","data":1}"#.to_owned(), String::new())]);
}

#[test]
fn the_longest_tags_fit_their_span() {
    let tags: Vec<String> =
        (1..=32u8).map(|n| "\\u0001".repeat(127) + &format!("\\u{n:04x}")).collect();
    let text = tags.iter().map(|tag| format!("\"{tag}\"")).collect::<Vec<_>>().join(",");
    let body = json(&format!("{{\"tags\":[{text}],\"data\":0}}")).unwrap();
    let (suffix, stored) = stored(&body).remove(0);
    assert_eq!(suffix, format!(",\"tags\":[{stored}],\"data\":0}}"));
    let read: Vec<String> = serde_json::from_str(&format!("[{stored}]")).unwrap();
    let sent: Vec<String> = serde_json::from_str(&format!("[{text}]")).unwrap();
    assert_eq!(read, sent);
}

#[test]
fn batches_keep_their_order() {
    let expected = [r#","data":1}"#, r#","tags":["x"],"data":[2]}"#, r#","data":3}"#];
    let array =
        json(" [ {\"data\":1},\n{\"tags\":[\"x\"],\"data\":[ 2 ]} , {\"data\":3} ] ").unwrap();
    assert_eq!((array.shape, suffixes(&array)), (Shape::Many, expected.map(String::from).to_vec()));
    for text in [
        "{\"data\":1}\n{\"tags\":[\"x\"],\"data\":[ 2 ]}\n{\"data\":3}",
        "\r\n{\"data\":1}\r\n \t\n{\"data\":[2],\"tags\":[\"x\"]} \r\n\r\n{\"data\":3}\r\n\n",
    ] {
        let read = lines(text).unwrap();
        assert_eq!((read.shape, &read.append), (Shape::Many, &array.append), "{text}");
    }
    assert_eq!(json("[{\"data\":1}]").unwrap().shape, Shape::Many);
    assert_eq!(lines("{\"data\":1}").unwrap().shape, Shape::Many);
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    use Fault::*;
    let name = "x".repeat(129);
    let uuid = "0198c0de-0000-4000-8000-000000000001";
    let long_name = format!("{{\"tenant\":\"{name}\",\"data\":1}}");
    let long_key =
        format!("{{\"key\":\"{}\",\"collection\":\"{uuid}\",\"data\":1}}", "k".repeat(1025));
    let long_tag = format!("{{\"tags\":[\"{name}\"]}}");
    let tags = (0..33).map(|n| format!("\"{n:02}\"")).collect::<Vec<_>>().join(",");
    let many_tags = format!("{{\"tags\":[{tags}]}}");
    let list = "an array of strings";
    for (text, offset, index, fault) in [
        ("", 0, None, Json(Reason::End)),
        ("\u{feff}{}", 0, None, Json(Reason::ByteOrderMark)),
        ("x", 0, None, Json(Reason::Value)),
        ("1", 0, None, NoChanges),
        ("\"data\"", 0, None, NoChanges),
        ("null", 0, None, NoChanges),
        (" []", 1, None, Empty),
        ("[1]", 1, Some(0), NoObject),
        ("[[]]", 1, Some(0), NoObject),
        ("[{\"data\":1},null]", 12, Some(1), NoObject),
        ("[{\"data\":1},]", 12, Some(1), Json(Reason::Value)),
        ("[{\"data\":1}", 11, None, Json(Reason::End)),
        ("[{\"data\":1} {\"data\":1}]", 12, None, Json(Reason::InArray)),
        ("{\"data\":1}{\"data\":2}", 10, None, Json(Reason::Trailing)),
        ("{\"data\":1}\n{\"data\":2}", 11, None, Json(Reason::Trailing)),
        ("{}", 0, None, MissingMember("data")),
        (" {\"tags\":[]}", 1, None, MissingMember("data")),
        ("[{\"data\":0},{}]", 12, Some(1), MissingMember("data")),
        ("{\"key\":\"k\",\"data\":1}", 0, None, MissingMember("collection")),
        ("{\"data\":1,\"Data\":2}", 10, None, UnknownMember("Data".into())),
        ("{\"_id\":1,\"data\":2}", 1, None, UnknownMember("_id".into())),
        ("[{\"data\":1},{\"\":2}]", 13, Some(1), UnknownMember(String::new())),
        ("{\"data\":1,\"data\":2}", 10, None, Duplicate("data")),
        ("{\"tags\":[],\"data\":2,\"t\\u0061gs\":[]}", 20, None, Duplicate("tags")),
        ("{\"tags\":null,\"data\":1}", 8, None, Type { member: "tags", expected: list }),
        ("{\"tags\":{},\"data\":1}", 8, None, Type { member: "tags", expected: list }),
        ("{\"tags\":[\"a\",1],\"data\":1}", 13, None, Type { member: "tags", expected: list }),
        ("{\"key\":1}", 7, None, Type { member: "key", expected: "a string" }),
        ("{\"tenant\":null}", 10, None, Type { member: "tenant", expected: "a string" }),
        ("{\"collection\":[]}", 14, None, Type { member: "collection", expected: "a string" }),
        ("{\"tags\":[\"a\",]}", 13, None, Json(Reason::Value)),
        ("{\"tags\":[\"a\" \"b\"]}", 13, None, Json(Reason::InArray)),
        ("{\"tags\":[\"\"]}", 9, None, Tag),
        (&long_tag, 9, None, Tag),
        (&many_tags, 9 + 32 * 5, None, Tags),
        ("{\"tags\":[\"a\",\"b\",\"\\u0061\"]}", 17, None, DuplicateTag("a".into())),
        ("{\"tags\":[\"x\\ud800\"]}", 11, None, Json(Reason::LoneSurrogate)),
        ("{\"da\\udc00ta\":1}", 4, None, Json(Reason::LoneSurrogate)),
        ("{\"key\":\"\"}", 7, None, Key),
        (&long_key, 7, None, Key),
        ("{\"tenant\":\"\"}", 10, None, Name),
        ("{\"tenant\":\"a b\"}", 10, None, Name),
        ("{\"collection\":\"é\"}", 14, None, Uuid),
        ("{\"collection\":\"bar\"}", 14, None, Uuid),
        (&long_name, 10, None, Name),
        ("{\"data\":1", 9, None, Json(Reason::End)),
        ("{\"data\":1,}", 10, None, Json(Reason::Name)),
        ("{\"data\" 1}", 8, None, Json(Reason::Colon)),
        ("{\"data\":{\"a\":01}}", 14, None, Json(Reason::InObject)),
        ("{,}", 1, None, Json(Reason::Name)),
    ] {
        assert_eq!(json(text), Err(BodyError { offset, index, fault }), "{text}");
    }
}

#[test]
fn lines_are_judged_one_by_one() {
    use Fault::*;
    for (text, offset, index, fault) in [
        ("", 0, None, Empty),
        (" \r\n\n", 4, None, Empty),
        ("[{\"data\":1}]", 0, Some(0), NoObject),
        ("{\"data\":1}\n2", 11, Some(1), NoObject),
        ("{\"data\":1} {\"data\":2}\n", 11, Some(0), Json(Reason::Trailing)),
        ("{\"data\":1},\n{\"data\":2}", 10, Some(0), Json(Reason::Trailing)),
        ("{\"data\":\n1}", 8, Some(0), Json(Reason::End)),
        ("{\"data\":1}\n{\"data\":\"a\nb\"}", 21, Some(1), Json(Reason::End)),
        ("{\"data\":1}\n\n{\"dato\":1}\n", 13, Some(1), UnknownMember("dato".into())),
    ] {
        assert_eq!(lines(text), Err(BodyError { offset, index, fault }), "{text}");
    }
}

#[test]
fn bytes_that_are_not_utf8_are_named_unless_something_before_them_is_wrong() {
    let limits = Limits::default();
    for (text, form, offset, fault) in [
        (&b"{\"data\":\"\xff\"}"[..], Form::Json, 9, Fault::Json(Reason::Utf8)),
        (b"{\"data\":1}\xff", Form::Json, 10, Fault::Json(Reason::Utf8)),
        (b"{\"data\":]\xff", Form::Json, 8, Fault::Json(Reason::Value)),
        (b"{\"x\":\xff", Form::Json, 1, Fault::UnknownMember("x".into())),
        (b"\n\xff", Form::Ndjson, 1, Fault::Json(Reason::Utf8)),
        (b"{\"data\":1}\n{\xe2\x82", Form::Ndjson, 12, Fault::Json(Reason::Utf8)),
        (b"{\"data\":1,\"tenant\":\"t\"}\xff", Form::Json, 23, Fault::Json(Reason::Utf8)),
    ] {
        let error = read(text, form, &limits).unwrap_err();
        assert_eq!((error.offset, error.fault), (offset, fault), "{}", text.escape_ascii());
    }
}

#[test]
fn names_that_do_not_exist_are_not_found_once_all_else_is_right() {
    let not_found = |member, value: &str| Fault::NotFound { member, value: value.into() };
    let uuid = "0198C0DE-0000-4000-8000-000000000001";
    let body = format!("{{\"data\":1,\"tenant\":\"{uuid}\"}}");
    let error = json(&body).unwrap_err();
    assert_eq!((error.offset, &error.fault), (19, &not_found("tenant", uuid)));
    let text = format!(r#"[{{"data":1}},{{"data":1,"collection":"{uuid}","key":"k"}}]"#);
    let error = json(&text).unwrap_err();
    assert_eq!(error.index, Some(1));
    assert_eq!(error.fault, not_found("collection", &uuid.to_lowercase()));
    let error = json(r#"[{"data":1,"tenant":"t"},{"date":1}]"#).unwrap_err();
    assert_eq!(error.fault, Fault::UnknownMember("date".into()));
}

#[test]
fn limits_hold_exactly() {
    let limits = Limits { data_bytes: 5, batch_changes: 2, json_depth: 3, ..Limits::default() };
    let fault = |text: &str, form| read(text.as_bytes(), form, &limits).map_err(|e| e.fault);
    assert!(fault(r#"{"data": [ 1 , 2 ] }"#, Form::Json).is_ok());
    let large = Fault::DataTooLarge { bytes: 6, bytes_max: 5 };
    assert_eq!(fault(r#"{"data":[1,23]}"#, Form::Json), Err(large));
    assert!(fault(r#"{"data":[[]]}"#, Form::Json).is_ok());
    assert!(fault(r#"{"data":[[0]]}"#, Form::Json).is_ok());
    let deep = Limits { data_bytes: 100, ..limits.clone() };
    assert!(read(br#"[{"data":[[{}]]}]"#, Form::Json, &deep).is_ok());
    let error = read(br#"[{"data":[[[{}]]]}]"#, Form::Json, &deep).unwrap_err();
    assert_eq!((error.offset, error.fault), (12, Fault::Json(Reason::Depth(3))));
    for (form, open, comma, close) in [(Form::Json, "[", ",", "]"), (Form::Ndjson, "", "\n", "")] {
        let batch = |n| format!("{open}{}{close}", vec!["{\"data\":1}"; n].join(comma));
        assert!(fault(&batch(2), form).is_ok());
        assert_eq!(fault(&batch(3), form), Err(Fault::TooManyChanges(2)));
    }
}

#[test]
fn every_fault_has_its_code_and_tells_programs_the_place() {
    for (text, code, member) in [
        ("{", Code::InvalidJson, None),
        ("[]", Code::InvalidJson, None),
        (r#"{"tags":1}"#, Code::InvalidJson, Some("tags")),
        (r#"{"data":1,"data":1}"#, Code::InvalidJson, Some("data")),
        (r#"{"dat":1}"#, Code::UnknownMember, Some("dat")),
        ("{}", Code::MissingMember, Some("data")),
        (r#"{"data":1,"key":"k"}"#, Code::MissingMember, Some("collection")),
        (r#"{"tenant":"?","data":1}"#, Code::InvalidName, Some("tenant")),
        (r#"{"tags":["a","a"]}"#, Code::InvalidName, Some("tags")),
        (r#"{"tenant":"foo","data":1}"#, Code::NotFound, Some("tenant")),
    ] {
        let error = ApiError::from(json(text).unwrap_err());
        assert_eq!(error.code, code, "{text}");
        let named = error.members.iter().find(|(name, _)| *name == "member");
        let expected = member.map(|member| Member::Text(member.to_owned()));
        assert_eq!(named.map(|(_, value)| value), expected.as_ref(), "{text}");
        assert!(error.detail.contains(" at byte "), "{}", error.detail);
    }
    let error = ApiError::from(json(r#"[{"data":1},{"no":1}]"#).unwrap_err());
    assert_eq!(
        error.detail,
        r#"unknown member "no" at byte 13, in change 1 of the batch (the first is 0)"#
    );
    assert_eq!(error.members[..2], [("offset", Member::Number(13)), ("index", Member::Number(1))]);
    let limits = Limits { data_bytes: 1, ..Limits::default() };
    let error = read(br#"{"data":10}"#, Form::Json, &limits).unwrap_err();
    assert_eq!(ApiError::from(error).code, Code::TooLarge);
    let error = json(&format!("{{\"{}\":1}}", "n".repeat(100_000))).unwrap_err();
    assert!(ApiError::from(error).detail.len() < 400);
}

/// What must hold for any bytes at all.
fn fuzz_change_body(bytes: &[u8]) {
    let limits = Limits { batch_changes: 50, json_depth: 20, ..Limits::default() };
    for form in [Form::Json, Form::Ndjson] {
        match read(bytes, form, &limits) {
            Ok(body) => {
                assert!(body.append.suffixes.len() <= bytes.len());
                assert!((1..=limits.batch_changes).contains(&body.append.spans.len()));
                for (suffix, tags) in stored(&body) {
                    assert!(!suffix.contains('\n'));
                    let change = format!("{{\"_id\":1{suffix}");
                    serde_json::from_str::<&serde_json::value::RawValue>(&change).unwrap();
                    assert_eq!(tags.is_empty(), !suffix.starts_with(",\"tags\":["));
                    serde_json::from_str::<Vec<String>>(&format!("[{tags}]")).unwrap();
                }
            }
            Err(error) => {
                assert!(error.offset <= bytes.len());
                assert!(ApiError::from(error).detail.len() < 1000);
            }
        }
    }
}

fn tags() -> impl Strategy<Value = Vec<String>> {
    let tag = proptest::string::string_regex("[a-c\",\\\\\n\u{1}é😀]{1,6}").unwrap();
    proptest::collection::btree_set(tag, 0..5).prop_map(|tags| tags.into_iter().collect())
}

/// A change as text: its tags, its data as sent, and the object.
fn change() -> impl Strategy<Value = (Vec<String>, String, String)> {
    (tags(), document(), "[ \t\r]{0,2}", any::<bool>(), any::<bool>()).prop_map(
        |(tags, data, space, first, escape)| {
            let data = data.replace('\n', " ");
            let spell = |tag: &String| {
                if escape {
                    let units: Vec<String> =
                        tag.encode_utf16().map(|unit| format!("\\u{unit:04X}")).collect();
                    return format!("\"{}\"", units.concat());
                }
                serde_json::to_string(tag).unwrap()
            };
            let list = tags.iter().map(spell).collect::<Vec<_>>().join(",");
            let tags_member = format!("\"tags\":{space}[{list}{space}]");
            let data_member = format!("\"data\"{space}:{data}{space}");
            let members = match (tags.is_empty(), first) {
                (true, _) => data_member,
                (false, true) => format!("{tags_member},{data_member}"),
                (false, false) => format!("{data_member}, {tags_member}"),
            };
            (tags, data, format!("{{{space}{members}}}"))
        },
    )
}

fn canonical(tags: &[String]) -> String {
    let mut out = Vec::new();
    for (n, tag) in tags.iter().enumerate() {
        if n > 0 {
            out.push(b',');
        }
        write_json_string(&mut out, tag);
    }
    String::from_utf8(out).unwrap()
}

proptest! {
    #[test]
    fn changes_are_stored_as_they_were_sent(
        changes in proptest::collection::vec(change(), 1..5),
    ) {
        let texts: Vec<&str> = changes.iter().map(|(_, _, text)| text.as_str()).collect();
        let many = json(&format!("[{}]", texts.join(" , "))).unwrap();
        prop_assert_eq!(&many.append, &lines(&texts.join("\r\n")).unwrap().append);
        let one = json(texts[0]).unwrap();
        prop_assert_eq!(&stored(&one)[0], &stored(&many)[0]);
        prop_assert_eq!(one.append.spans.len(), 1);

        for ((tags, data, _), (suffix, stored)) in changes.iter().zip(stored(&many)) {
            prop_assert_eq!(&stored, &canonical(tags));
            let before = if tags.is_empty() { String::new() } else { format!(",\"tags\":[{stored}]") };
            let kept = suffix
                .strip_prefix(&before)
                .and_then(|rest| rest.strip_prefix(",\"data\":"))
                .and_then(|rest| rest.strip_suffix('}'))
                .unwrap();
            let visible = |text: &str| -> String { text.split([' ', '\t', '\r', '\n']).collect() };
            prop_assert_eq!(visible(kept), visible(data));
            if let Ok(sent) = serde_json::from_str::<Value>(data) {
                prop_assert_eq!(sent, serde_json::from_str::<Value>(kept).unwrap());
            }
        }
    }

    #[test]
    fn damaged_bodies_never_break_an_invariant(
        changes in proptest::collection::vec(change(), 1..3),
        array: bool,
        edits in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..3),
    ) {
        let texts: Vec<&str> = changes.iter().map(|(_, _, text)| text.as_str()).collect();
        let text = if array { format!("[{}]", texts.join(",")) } else { texts.join("\n") };
        let mut bytes = text.into_bytes();
        for (at, byte) in edits {
            let at = at.index(bytes.len());
            bytes[at] = if byte < 128 { b"{}[]\",:\\ \n01eut"[usize::from(byte) % 15] } else { byte };
        }
        fuzz_change_body(&bytes);
    }

    #[test]
    fn any_bytes_never_break_an_invariant(bytes in any::<Vec<u8>>()) {
        fuzz_change_body(&bytes);
    }
}

/// The path of a key of a collection that is there.
fn of_key(members: Members, body: &str) -> Result<ChangeBody, BodyError> {
    let [tenant, collection] = [1, 2].map(uuid::Uuid::from_u128);
    let key = (members == Members::Value).then(|| "k".into());
    let collection = (members != Members::Change).then_some(collection);
    let scope = Scope { members, tenant: Some(tenant), collection, key };
    let catalog = crate::state::fuzzing::catalog(tenant, uuid::Uuid::from_u128(2));
    parse(body.as_bytes(), Form::Json, &Limits::default(), &scope, (&catalog).into())
}

#[test]
fn a_time_to_live_is_of_a_key_and_stands_after_it() {
    let collection = uuid::Uuid::from_u128(2);
    let change = format!(r#"{{"ttl":60,"data":1,"key":"k","collection":"{collection}"}}"#);
    for (members, body) in [
        (Members::Change, &*change),
        (Members::Item, r#"{"data":1,"key":"k","ttl":60}"#),
        (Members::Value, r#"{"ttl": 60 ,"data":1}"#),
    ] {
        let body = of_key(members, body).unwrap();
        let [suffix] = &suffixes(&body)[..] else { panic!("{body:?}") };
        assert!(suffix.ends_with(r#","key":"k","ttl":60,"data":1}"#), "{suffix}");
    }
    let without = format!(r#"{{"ttl":60,"data":1,"collection":"{collection}"}}"#);
    for (members, body) in
        [(Members::Change, r#"{"ttl":60,"data":1}"#), (Members::Change, &without)]
    {
        let error = of_key(members, body).unwrap_err();
        assert_eq!((error.offset, error.fault), (0, Fault::MissingMember("key")));
    }
}

#[test]
fn a_time_to_live_is_a_whole_number_within_bounds() {
    let of = |ttl: &str| of_key(Members::Value, &format!(r#"{{"data":1,"ttl":{ttl}}}"#));
    for ttl in ["1", "3153600000"] {
        assert!(of(ttl).is_ok(), "{ttl}");
    }
    for ttl in ["0", "-1", "1.5", "6e1", "60.0", "3153600001", "18446744073709551617", "-0"] {
        let error = of(ttl).unwrap_err();
        assert_eq!((error.offset, error.fault.clone()), (16, Fault::Ttl), "{ttl}");
        assert_eq!(ApiError::from(error).code, Code::InvalidParameter);
    }
    for ttl in ["\"60\"", "null", "[60]", "true", "{}"] {
        let error = of(ttl).unwrap_err();
        assert!(matches!(error.fault, Fault::Type { member: "ttl", .. }), "{ttl}: {error:?}");
    }
    for ttl in ["+1", "1e", "-", "--1"] {
        assert!(matches!(of(ttl).unwrap_err().fault, Fault::Json(_)), "{ttl}");
    }
    assert_eq!(of("1,\"ttl\":1").unwrap_err().fault, Fault::Duplicate("ttl"));
}
