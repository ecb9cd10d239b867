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

#[test]
fn every_answer_says_whether_it_may_be_kept() {
    let mut bar = Bar::start();
    let id = bar.put("k", 1);
    let key = bar.key("k");
    let etag = format!("\"{id}\"");
    let (keys, list) = (bar.keys.clone(), format!("/collections/{}/changes", bar.collection));
    let client = &mut bar.client;
    for (target, headers, status, kept, vary) in [
        ("/changes", &[][..], 200, "no-store", "Accept"),
        ("/changes?since=9&block=0.1", &[], 200, "no-store", "Accept"),
        ("/tenants/foo/changes", &[], 200, "no-store", "Accept"),
        (&*list, &[], 200, "no-store", "Accept"),
        ("/changes", &[("Accept", "text/html")], 406, "no-store", "Accept"),
        ("/changes?min_id=9&block=0", &[], 503, "no-store", "Accept"),
        ("/changes?min_id=9&block=0.1", &[], 503, "no-store", "Accept"),
        ("/tenants/nobody/changes", &[], 404, "no-store", "Accept"),
        ("/changes/1", &[], 200, "no-store", ""),
        ("/changes/9", &[], 404, "no-store", ""),
        (&keys, &[], 200, "no-store", ""),
        (&key, &[], 200, "no-cache", ""),
        (&key, &[("If-None-Match", &etag)], 304, "no-cache", ""),
        (&key, &[("If-Match", "\"9\"")], 412, "no-store", ""),
        ("/tenants", &[], 200, "no-store", ""),
        ("/cluster", &[], 200, "no-store", ""),
        ("/health", &[], 200, "no-store", ""),
        ("/metrics", &[], 200, "no-store", ""),
        ("/", &[], 200, "no-store", "Accept"),
        ("/", &[("Accept", "text/html")], 200, "no-cache", "Accept"),
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
