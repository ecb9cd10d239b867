//! How much a tenant may use: what is above it is refused with when to come again, and nobody else feels it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use testkit::{Answer, Bar, Client, NodeBuilder, Stream, eventually, ids};

use crate::{
    caches::started,
    credentials::{ROOT, asked, bearer},
    tokens::Site,
};

const QUOTA: &str = "/tenants/foo/quota";

fn allow(client: &mut Client, quota: &Value) {
    let answer = client.put(QUOTA, quota.to_string());
    assert_eq!((answer.status, &answer.json()), (200, quota));
}

/// Checks that a request was refused for that quota; gives back in how many seconds to come again.
fn refused(answer: &Answer, quota: &str) -> u64 {
    let problem = answer.problem(429, "too-many-requests");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains(&format!("{quota} is ")), "{detail}");
    let seconds = answer.header("retry-after").expect("Retry-After").parse().unwrap();
    assert!(seconds >= 1);
    seconds
}

fn lines(count: usize) -> String {
    "{\"data\":1}\n".repeat(count)
}

/// How often something was refused for a quota.
fn counted(client: &mut Client, quota: &str) -> u64 {
    let name = format!("changeagent_limit_refusals_total{{limit=\"quota-{quota}\"}} ");
    let metrics = client.get("/metrics");
    let line = metrics.text().lines().find_map(|line| line.strip_prefix(&name).map(str::to_owned));
    line.unwrap().parse().unwrap()
}

fn used(client: &mut Client) -> Value {
    client.page(QUOTA)["use"].clone()
}

#[test]
fn changes_above_the_rate_are_refused_until_a_large_batch_is_paid_for() {
    let mut bar = Bar::start();
    let other = bar.client.tenant("other");
    let key = bar.key("k");
    assert!(bar.client.put(&key, r#"{"data":1}"#).status < 300);
    allow(&mut bar.client, &json!({"writes_per_second": 10}));
    // More than a second's worth is taken at once, and leaves a debt.
    assert_eq!(bar.client.post_lines("/tenants/foo/changes", &lines(1_000)).status, 201);
    let last = bar.client.get("/health").last();
    let client = &mut bar.client;
    let mut seconds = vec![refused(
        &client.json("POST", "/tenants/foo/changes", r#"{"data":1}"#),
        "writes_per_second",
    )];
    for target in ["/tenants/foo/changes", "/changes"] {
        let answer = client.post_lines(target, "{\"data\":1}\n{\"data\":2,\"tenant\":\"foo\"}\n");
        seconds.push(refused(&answer, "writes_per_second"));
    }
    // Also with other tenants in one batch: all of it, or nothing.
    let of_both = json!([{"data": 1, "tenant": other}, {"data": 2, "collection": bar.collection}]);
    seconds.push(refused(&client.post(of_both.to_string()), "writes_per_second"));
    seconds.push(refused(&client.put(&key, r#"{"data":2}"#), "writes_per_second"));
    seconds.push(refused(&client.delete(&key), "writes_per_second"));
    seconds.push(refused(
        &client.json("POST", &bar.keys, r#"{"key":"l","data":1}"#),
        "writes_per_second",
    ));
    seconds.push(refused(
        &client.json("POST", "/tenants/foo/collections", r#"{"name":"more"}"#),
        "writes_per_second",
    ));
    assert!(seconds.iter().all(|seconds| (30..=100).contains(seconds)), "{seconds:?}");
    assert_eq!(counted(client, "writes"), seconds.len() as u64);
    assert_eq!(client.get("/health").last(), last, "nothing was written");
    // Nobody else feels it, and reads are another thing.
    assert_eq!(client.post(r#"{"data":1}"#).status, 201);
    assert_eq!(client.json("POST", "/tenants/other/changes", r#"{"data":1}"#).status, 201);
    assert_eq!(client.get(&key).json()["data"], 1);
    let page = client.page(QUOTA);
    assert!((300..=1_000).contains(&page["now"]["writes_per_second"].as_u64().unwrap()), "{page}");
    assert_eq!((&page["use"]["refused"], &page["use"]["writes"]), (&json!(8), &json!(1_002)));
    assert_eq!((&page["use"]["changes"], &page["use"]["keys"]), (&json!(1_001), &json!(1)));
    // Another quota begins anew.
    allow(client, &json!({"writes_per_second": 1_000_000}));
    assert_eq!(client.put(&key, r#"{"data":2}"#).status, 200);
}

#[test]
fn a_refused_client_may_come_again_when_it_is_told_to() {
    let mut bar = Bar::start();
    allow(&mut bar.client, &json!({"writes_per_second": 2, "reads_per_second": 2}));
    let mut client = bar.node.client();
    let mut ask = |writes: bool| match writes {
        true => client.json("POST", "/tenants/foo/changes", r#"{"data":1}"#),
        false => client.get("/tenants/foo/changes"),
    };
    for (writes, quota) in [(true, "writes_per_second"), (false, "reads_per_second")] {
        // At two a second the third at once is too many, however slow the machine is.
        let answer = (0..1_000).map(|_| ask(writes)).find(|answer| answer.status == 429);
        let seconds = refused(&answer.expect("it is refused"), quota);
        assert_eq!(seconds, 1);
        let told = Instant::now();
        eventually("it may come again", || ask(writes).status < 300);
        assert!(told.elapsed() < Duration::from_secs(60));
    }
}

#[test]
fn reads_of_all_kinds_count() {
    let mut bar = Bar::start();
    let id = bar.put("k", 1);
    let other = bar.client.tenant("other");
    allow(&mut bar.client, &json!({"reads_per_second": 1}));
    let targets = [
        "/tenants/foo/changes".to_owned(),
        "/tenants/foo/changes?min_id=1".into(),
        "/tenants/foo/collections".into(),
        "/tenants/foo/state".into(),
        format!("/collections/{}", bar.collection),
        format!("/collections/{}/changes", bar.collection),
        format!("/collections/{}/state", bar.collection),
        bar.keys.clone(),
        format!("{}?min_id=1", bar.key("k")),
        bar.key("k"),
        format!("/changes/{id}"),
        "/changes?tenant=foo".into(),
        format!("/changes?tenant=foo&collection={}", bar.collection),
    ];
    for target in targets {
        let ask = |_| bar.node.client().get(&target);
        let is_refused = (0..1_000).map(ask).find(|answer| answer.status == 429);
        refused(&is_refused.unwrap_or_else(|| panic!("{target} counts")), "reads_per_second");
    }
    // What concerns several tenants, or the quota itself, counts for none.
    let client = &mut bar.client;
    for _ in 0..20 {
        for target in
            [format!("/changes?tenant=foo&tenant={other}"), "/changes".into(), QUOTA.into()]
        {
            assert_eq!(client.get(&target).status, 200, "{target}");
        }
        assert_eq!(client.json("POST", "/tenants/foo/changes", r#"{"data":1}"#).status, 201);
    }
    assert_eq!(counted(client, "writes"), 0);
    assert!(counted(client, "reads") >= 13);
}

#[test]
fn so_many_waits_and_streams_may_stand() {
    let mut bar = Bar::start();
    let id = bar.put("k", 1);
    allow(&mut bar.client, &json!({"waits": 2}));
    let target = format!("/tenants/foo/changes?since={id}&block=300");
    let mut waiting = bar.node.client();
    waiting.send_request("GET", &target, &[], b"");
    let mut stream = Stream::open(bar.node.client(), "/tenants/foo/changes", "text/event-stream");
    assert_eq!(stream.cursor(), 0);
    let waits = |client: &mut Client| used(client)["waits"].as_u64();
    eventually("both stand", || waits(&mut bar.client) == Some(2));
    assert_eq!(bar.client.page(QUOTA)["now"], json!({"waits": 2}));
    let key = format!("{}?since={id}&block=300", bar.key("k"));
    for target in [&target, &key, &format!("/changes?tenant=foo&since={id}&block=300")] {
        refused(&bar.client.get(target), "waits");
    }
    for target in ["/tenants/foo/changes", "/tenants/foo/state"] {
        for accept in ["text/event-stream", "application/x-ndjson"] {
            if target.ends_with("state") && accept == "text/event-stream" {
                continue;
            }
            let answer = bar.client.request("GET", target, &[("Accept", accept)], b"");
            refused(&answer, "waits");
        }
    }
    assert_eq!((counted(&mut bar.client, "waits"), waits(&mut bar.client)), (6, Some(2)));
    // Who need not wait may read, and who leaves makes room.
    assert_eq!(ids(&bar.client.page("/tenants/foo/changes?block=300")), [id]);
    drop(stream);
    eventually("the stream has ended", || waits(&mut bar.client) == Some(1));
    let mut next = bar.node.client();
    next.send_request("GET", &key, &[], b"");
    eventually("another one waits", || waits(&mut bar.client) == Some(2));
    // Both are woken.
    let written = bar.put("k", 2);
    assert_eq!(ids(&waiting.answer().json()), [written]);
    assert_eq!(next.answer().json()["_id"], written);
    eventually("nobody waits", || waits(&mut bar.client) == Some(0));
}

#[test]
fn bytes_of_bodies_and_answers_count_and_leave_a_debt() {
    let mut bar = Bar::start();
    let body = format!("{{\"data\":\"{}\"}}", "x".repeat(50_000));
    allow(&mut bar.client, &json!({"bytes_per_second": 1_000}));
    let client = &mut bar.client;
    assert_eq!(client.json("POST", "/tenants/foo/changes", &body).status, 201);
    for _ in 0..2 {
        let seconds = refused(&client.get("/tenants/foo/changes"), "bytes_per_second");
        assert!((20..=51).contains(&seconds), "{seconds}");
        refused(&client.json("POST", "/tenants/foo/changes", r#"{"data":1}"#), "bytes_per_second");
        let in_body = r#"{"data":1,"tenant":"foo"}"#;
        refused(&client.post(in_body), "bytes_per_second");
    }
    assert_eq!(counted(client, "bytes"), 6);
    allow(client, &json!({"bytes_per_second": 1_000}));
    // The answer is sent, whatever it costs.
    assert_eq!(client.get("/tenants/foo/changes").status, 200);
    assert!(refused(&client.get("/tenants/foo/changes"), "bytes_per_second") >= 20);
    // A client that asks first need not send its body.
    client.send(
        "POST /tenants/foo/changes HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\
         Content-Length: 1000000\r\nExpect: 100-continue\r\n\r\n",
    );
    refused(&client.answer(), "bytes_per_second");
    let bytes = used(&mut bar.node.client())["bytes"].as_u64().unwrap();
    assert!((100_000..101_000).contains(&bytes), "{bytes}");
}

#[test]
fn a_stream_keeps_to_its_rate() {
    let mut bar = Bar::start();
    let line = format!("{{\"data\":\"{}\"}}\n", "x".repeat(1_000));
    assert_eq!(bar.client.post_lines("/tenants/foo/changes", &line.repeat(600)).status, 201);
    allow(&mut bar.client, &json!({"bytes_per_second": 300_000}));
    let began = Instant::now();
    let changes = Stream::open(bar.node.client(), "/tenants/foo/changes", "application/x-ndjson");
    assert_eq!(changes.changes().len(), 600);
    assert!(began.elapsed() > Duration::from_millis(500), "{:?}", began.elapsed());
    // One that waits hears of another quota.
    allow(&mut bar.client, &json!({"bytes_per_second": 1}));
    let mut slow = Stream::open(bar.node.client(), "/tenants/foo/changes", "application/x-ndjson");
    assert!(slow.change().is_some());
    allow(&mut bar.client, &json!({}));
    assert_eq!(slow.changes().len(), 599);
}

#[test]
fn a_quota_outlives_restarts_and_goes_with_its_tenant() {
    let mut bar = Bar::start();
    let quota = json!({"writes_per_second": 7, "bytes_per_second": 1_000_000_000_000u64});
    assert_eq!(bar.client.page(QUOTA)["now"], json!({}));
    allow(&mut bar.client, &json!({"waits": 3}));
    allow(&mut bar.client, &quota);
    let shown = |client: &mut Client| {
        let mut page = client.page(QUOTA);
        for name in ["now", "use", "node"] {
            page.as_object_mut().unwrap().remove(name).unwrap();
        }
        page
    };
    assert_eq!(shown(&mut bar.client), quota);
    bar = bar.again(|node| node.kill());
    assert_eq!(shown(&mut bar.client), quota);
    bar = bar.again(|node| node.stop());
    assert_eq!(shown(&mut bar.client), quota);
    assert_eq!(bar.client.post_lines("/tenants/foo/changes", &lines(700)).status, 201);
    refused(&bar.client.json("POST", "/tenants/foo/changes", r#"{"data":1}"#), "writes_per_second");
    // It does not keep an administrator from removing it.
    assert_eq!(bar.client.delete("/tenants/foo").status, 200);
    bar.client.get(QUOTA).problem(404, "not-found");
    bar.client.tenant("foo");
    assert_eq!(shown(&mut bar.client), json!({}));
    assert_eq!(used(&mut bar.client)["writes"], 0);
}

#[test]
fn caches_know_quotas_and_count_what_they_answer() {
    let mut bar = Bar::start();
    let id = bar.put("k", 1);
    allow(&mut bar.client, &json!({"writes_per_second": 5, "reads_per_second": 1}));
    let origin = bar.node.url();
    let whole = NodeBuilder::new().command("cache").flags(&["--of", &origin]);
    let part = NodeBuilder::new().command("cache").flags(&["--of", &origin, "--tenant", "foo"]);
    let caches = [started(whole), started(part)];
    for cache in &caches {
        let mut client = cache.client();
        eventually("it knows the quota", || client.page(QUOTA)["reads_per_second"] == 1);
        let ask = |_| cache.client().get("/tenants/foo/changes");
        let answer = (0..1_000).map(ask).find(|answer| answer.status == 429);
        refused(&answer.expect("the cache keeps to it"), "reads_per_second");
    }
    // What they hand on counts where it is done.
    let mut client = caches[1].client();
    assert_eq!(client.post_lines("/tenants/foo/changes", &lines(500)).status, 201);
    let answer = client.json("POST", "/tenants/foo/changes", r#"{"data":1}"#);
    let seconds = refused(&answer, "writes_per_second");
    assert!((30..=100).contains(&seconds), "{seconds}");
    assert_eq!(bar.client.get("/health").last(), id + 500);
}

#[test]
fn what_is_no_quota_is_refused_and_told() {
    let mut bar = Bar::start();
    for (body, status, code) in [
        (r#"{"waits":0}"#, 400, "invalid-parameter"),
        (r#"{"writes_per_second":1000000001}"#, 400, "invalid-parameter"),
        (r#"{"bytes_per_second":-1}"#, 400, "invalid-json"),
        (r#"{"per_second":7}"#, 400, "unknown-member"),
        ("[]", 400, "invalid-json"),
    ] {
        bar.client.put(QUOTA, body).problem(status, code);
    }
    bar.client.put("/tenants/none/quota", "{}").problem(404, "not-found");
    bar.client.get("/tenants/none/quota").problem(404, "not-found");
    bar.client.delete(QUOTA).problem(405, "method-not-allowed");
    let headers = [("Idempotency-Key", "once")];
    let mut put = |body| bar.client.json_with("PUT", QUOTA, &headers, body);
    assert_eq!(put(r#"{"waits":7}"#).json(), json!({"waits": 7}));
    put(r#"{"waits":8}"#).problem(422, "idempotency-mismatch");
    assert_eq!(put(r#"{"waits":7}"#).header("idempotency-replayed"), Some("true"));
    bar.node.holds(0);
}

#[test]
fn who_administers_a_tenant_does_not_raise_its_quota() {
    let site = Site::start();
    let mut client = site.node.client();
    let target = "/tenants/acme/quota";
    let of_tenant = site.token("admin", &json!({"tenant": site.acme})).token;
    let of_all = site.token("admin", &json!({})).token;
    let body = r#"{"waits":5}"#;
    let mut ask = |method: &str, token: &str, body: &str| {
        asked(&mut client, method, target, &bearer(token), body)
    };
    ask("PUT", &of_tenant, body).problem(404, "not-found");
    assert_eq!(ask("PUT", &of_all, body).json(), json!({"waits": 5}));
    assert_eq!(ask("GET", &of_tenant, "").json()["waits"], 5);
    assert_eq!(ask("PUT", ROOT, "{}").status, 200);
}

#[test]
fn what_tenants_use_is_in_the_metrics_where_that_is_asked_for() {
    let mut bar = Bar::on(NodeBuilder::new().flags(&["--metrics-tenants", "1"]).start());
    bar.client.tenant("other");
    bar.put("k", 1);
    assert_eq!(bar.client.post_lines("/tenants/foo/changes", &lines(20)).status, 201);
    assert_eq!(bar.client.post_lines("/tenants/other/changes", &lines(3)).status, 201);
    bar.client.page("/tenants/foo/changes");
    let metrics = bar.client.get("/metrics").text().to_owned();
    let of_foo = format!("{{tenant=\"{}\",name=\"foo\"}}", bar.tenant);
    let all = "{tenant=\"all\",name=\"\"}";
    for line in [
        format!("changeagent_tenant_writes_total{of_foo} 22"),
        format!("changeagent_tenant_writes_total{all} 25"),
        format!("changeagent_tenant_changes_total{of_foo} 21"),
        format!("changeagent_tenant_reads_total{all} 1"),
        format!("changeagent_tenant_waits{all} 0"),
        format!("changeagent_tenant_keys{of_foo} 1"),
    ] {
        assert!(metrics.lines().any(|other| other == line), "{line} in {metrics}");
    }
    assert!(!metrics.contains("name=\"other\""));
    // What a tenant used that is gone stays in the sum.
    assert_eq!(bar.client.delete("/tenants/other").status, 200);
    let metrics = bar.client.get("/metrics").text().to_owned();
    assert!(metrics.contains(&format!("changeagent_tenant_writes_total{all} 25\n")), "{metrics}");
    let mut usual = Bar::start();
    assert!(!usual.client.get("/metrics").text().contains("changeagent_tenant_"));
}
