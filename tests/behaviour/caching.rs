//! What caches and proxies in front of a node are told.

use testkit::{Bar, Client};

fn told(client: &mut Client, target: &str, headers: &[(&str, &str)]) -> (u16, String, String) {
    let answer = client.request("GET", target, headers, b"");
    let all = |name: &str| -> String {
        let of_name = answer.headers.iter().filter(|(other, _)| other == name);
        of_name.map(|(_, value)| value.as_str()).collect::<Vec<_>>().join(" and ")
    };
    (answer.status, all("cache-control"), all("vary"))
}

const LISTS: &str = "Accept, Accept-Encoding";

#[test]
fn every_answer_says_whether_it_may_be_kept() {
    let mut bar = Bar::start();
    let id = bar.put("k", 1);
    let key = bar.key("k");
    let etag = format!("\"{id}\"");
    let (keys, list) = (bar.keys.clone(), format!("/collections/{}/changes", bar.collection));
    let client = &mut bar.client;
    for (target, headers, status, kept, vary) in [
        ("/changes", &[][..], 200, "no-store", LISTS),
        ("/changes?since=9&block=0.1", &[], 200, "no-store", LISTS),
        ("/tenants/foo/changes", &[], 200, "no-store", LISTS),
        (&*list, &[], 200, "no-store", LISTS),
        ("/changes", &[("Accept", "text/html")], 406, "no-store", LISTS),
        ("/changes?min_id=9&block=0", &[], 503, "no-store", LISTS),
        ("/changes?min_id=9&block=0.1", &[], 503, "no-store", LISTS),
        ("/tenants/nobody/changes", &[], 404, "no-store", LISTS),
        ("/changes/1", &[], 200, "no-store", ""),
        ("/changes/9", &[], 404, "no-store", ""),
        (&keys, &[], 200, "no-store", ""),
        (&key, &[], 200, "no-cache", ""),
        (&key, &[("If-None-Match", &etag)], 304, "no-cache", ""),
        (&key, &[("If-Match", "\"9\"")], 412, "no-store", ""),
        ("/tenants", &[], 200, "no-store", ""),
        ("/cluster", &[], 200, "no-store", ""),
        ("/health", &[], 200, "no-store", ""),
        ("/metrics", &[], 200, "no-store", "Accept-Encoding"),
        ("/", &[], 200, "no-store", "Accept"),
        ("/", &[("Accept", "text/html")], 200, "no-cache", LISTS),
        ("/nothing", &[], 404, "no-store", ""),
    ] {
        let want = (status, kept.to_owned(), vary.to_owned());
        assert_eq!(told(client, target, headers), want, "{target} {headers:?}");
    }
    let answer = client.post("{\"data\":1}");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    // Refusals by HTTP itself are no exception.
    client.send("GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.answer().header("cache-control"), Some("no-store"));
}

/// `Cache-Control` and `ETag` of a page.
fn kept(client: &mut Client, target: &str, headers: &[(&str, &str)]) -> (String, Option<String>) {
    let answer = client.request("GET", target, headers, b"");
    assert_eq!(answer.status, 200, "{target}: {answer:?}");
    let control = answer.header("cache-control").unwrap().to_owned();
    (control, answer.header("etag").map(str::to_owned))
}

const FIXED: &str = "public, max-age=31536000, immutable";
const BRIEF: &str = "public, max-age=1";

#[test]
fn who_names_the_history_is_told_how_long_a_page_may_be_kept() {
    let mut bar = Bar::start();
    for n in 0..9 {
        bar.client.append(format!("{{\"tenant\":\"foo\",\"data\":{n}}}"));
    }
    let cluster = bar.client.get("/changes").header("changeagent-cluster").unwrap().to_owned();
    let of_tenant = format!("/tenants/{}/changes", bar.tenant);
    let tenant = format!("tenant={}", bar.tenant);
    let client = &mut bar.client;
    for (list, query, control) in [
        ("/changes", "since=2&limit=3", FIXED),
        (&*of_tenant, "since=2&limit=3", FIXED),
        ("/changes", &format!("since=2&limit=3&{tenant}"), FIXED),
        ("/changes", "since=2&limit=3&consistency=strong", FIXED),
        ("/changes", "before=7&limit=3", FIXED),
        // The end of the list.
        ("/changes", "since=2", BRIEF),
        ("/changes", "since=2&block=5", BRIEF),
        ("/changes", "before=99&limit=3", BRIEF),
        // Where it starts is another place another day.
        ("/changes", "limit=3", BRIEF),
        ("/changes", "since_ts=1&limit=3", BRIEF),
        // The name may be another's then.
        ("/tenants/foo/changes", "since=2&limit=3", BRIEF),
        ("/changes", "since=2&limit=3&tenant=foo", BRIEF),
        // As new as can be was asked for.
        ("/changes", "since=2&consistency=strong", "no-store"),
        ("/changes", "before=now&limit=3", "no-store"),
        // Nothing is nothing to keep.
        ("/changes", "since=9", "no-store"),
        ("/changes", "since=9&block=0.1", "no-store"),
        ("/changes", "since=2&limit=3&tag=none", "no-store"),
    ] {
        let target = format!("{list}?{query}&cluster={cluster}");
        let (told, tag) = kept(client, &target, &[]);
        assert_eq!(told, control, "{target}");
        assert_eq!(tag.is_some(), control != "no-store", "{target}");
        for header in [("Authorization", "Bearer x"), ("Cookie", "a=b")] {
            let (private, _) = kept(client, &target, &[header]);
            assert_eq!(private, control.replace("public", "private"), "{target}");
        }
        // Without the history an id means nothing for long.
        let (anonymous, tag) = kept(client, &format!("{list}?{query}"), &[]);
        assert_eq!((&*anonymous, tag), ("no-store", None), "{target}");
    }
}

#[test]
fn a_page_that_a_cache_has_is_confirmed_until_it_is_another() {
    let mut bar = Bar::start();
    for n in 0..9 {
        bar.client.append(format!("{{\"data\":{n}}}"));
    }
    let client = &mut bar.client;
    let cluster = client.get("/changes").header("changeagent-cluster").unwrap().to_owned();
    for (query, moves) in [("since=2&limit=3", false), ("since=2&limit=100", true)] {
        let target = format!("/changes?{query}&cluster={cluster}");
        let (control, tag) = kept(client, &target, &[]);
        let tag = tag.unwrap();
        for known in [tag.clone(), format!("\"x\", {tag}"), "*".into()] {
            let answer = client.request("GET", &target, &[("If-None-Match", &known)], b"");
            assert_eq!((answer.status, answer.body.len()), (304, 0), "{known}");
            assert_eq!(answer.header("cache-control"), Some(control.as_str()));
            assert_eq!(answer.header("etag"), Some(tag.as_str()));
        }
        let other = client.request("GET", &target, &[("If-None-Match", "\"x\"")], b"");
        assert_eq!(other.status, 200);
        client.append(r#"{"data":"more"}"#);
        let answer = client.request("GET", &target, &[("If-None-Match", &tag)], b"");
        assert_eq!(answer.status, if moves { 200 } else { 304 }, "{query}");
    }
}
