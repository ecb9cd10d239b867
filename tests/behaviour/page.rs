//! The live page at `/`, as a browser shows it.

mod browser;
mod docs;
mod login;

use browser::Browser;
use serde_json::json;

use testkit::{Client, Node, eventually};

/// Text that would be markup, script or an end of either if it were not escaped.
const HOSTILE: &str = r#"<script>document.title='owned'</script></script><img src=x onerror=document.title='owned'> " ' & &lt; \u202e <!--"#;

/// The texts of the rows of a list, newest or first one on top.
fn rows(browser: &mut Browser, list: &str) -> Vec<String> {
    let texts = browser.value(&format!(
        "Array.from(document.querySelectorAll('{list} li'), (row) => row.textContent)"
    ));
    texts.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

fn open(node: &Node) -> Option<Browser> {
    let mut browser = Browser::start()?;
    browser.open(&format!("http://{}/", node.address()));
    browser.until("document.getElementById('state').textContent === 'Ready'");
    Some(browser)
}

fn post(client: &mut Client, path: &str, body: &str) -> serde_json::Value {
    let headers = [("Content-Type", "application/json")];
    let answer = client.request("POST", path, &headers, body.as_bytes());
    assert!((200..300).contains(&answer.status), "{answer:?}");
    answer.json()
}

#[test]
fn a_browser_gets_the_page_and_a_program_the_index() {
    let node = Node::start();
    let mut client = node.client();
    for accept in [
        "text/html",
        "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
        "TEXT/HTML;q=1",
    ] {
        let answer = client.request("GET", "/", &[("Accept", accept)], b"");
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"), "{accept}");
        let policy = answer.header("content-security-policy").expect("a policy");
        assert!(policy.starts_with("default-src 'none';"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        assert!(answer.text().starts_with("<!doctype html>"));
    }
    for headers in [&[][..], &[("Accept", "*/*")][..], &[("Accept", "application/json")][..]] {
        let answer = client.request("GET", "/", headers, b"");
        assert_eq!(answer.header("content-type"), Some("application/json"));
    }
}

#[test]
fn changes_appear_as_they_come() {
    let node = Node::start();
    let mut client = node.client();
    client.append(r#"{"data":"before"}"#);
    let Some(mut browser) = open(&node) else { return };
    browser.until("document.querySelectorAll('#live li').length === 1");
    client.append(r#"{"data":123456789012345678901234567890.50,"tags":["a<b"]}"#);
    client.append(r#"{"data":{"twice":1,"twice":2}}"#);
    browser.until("document.querySelectorAll('#live li').length === 3");
    let rows = rows(&mut browser, "#live");
    assert!(rows[0].ends_with(r#"{"twice":1,"twice":2}"#), "{rows:?}");
    assert!(rows[1].ends_with("a<b123456789012345678901234567890.50"), "{rows:?}");
    assert!(rows[2].ends_with("\"before\""), "{rows:?}");
    browser.until("document.getElementById('newest').textContent === '3'");

    let many: Vec<_> = (0..500).map(|n| format!("{{\"data\":{n}}}")).collect();
    client.post(format!("[{}]", many.join(",")));
    browser.until("document.querySelector('#live li')?.textContent.endsWith('499')");
    assert_eq!(browser.value("document.querySelectorAll('#live li').length"), 200);
    assert_eq!(browser.complaints, [""; 0]);
}

#[test]
fn the_page_follows_a_node_that_starts_again() {
    let node = Node::start();
    let address = node.address().to_string();
    let mut client = node.client();
    client.append(r#"{"data":"first"}"#);
    let Some(mut browser) = open(&node) else { return };
    browser.until("document.querySelectorAll('#live li').length === 1");
    let stopped = node.stop();
    browser.until("document.getElementById('state').textContent === 'The node does not answer.'");
    let node = stopped.flags(&["--listen", &address]).start();
    node.client().append(r#"{"data":"second"}"#);
    browser.until("document.querySelectorAll('#live li').length === 2");
    let rows = rows(&mut browser, "#live");
    assert!(rows[0].ends_with("\"second\"") && rows[1].ends_with("\"first\""), "{rows:?}");
    browser.until("document.getElementById('state').textContent === 'Ready'");
}

/// Fewer changes are held than the page shows.
#[test]
fn the_page_begins_with_the_oldest_change_where_history_is_purged() {
    let flags = ["--retain-min-changes", "5"];
    let node = Node::with(&flags);
    let mut client = node.client();
    let large = format!("{{\"data\":\"{}\"}}", "x".repeat(300_000));
    for _ in 0..80 {
        client.append(&large);
    }
    eventually("history is purged", || client.get("/changes?since=30").status == 410);
    let Some(mut browser) = open(&node) else { return };
    browser.until("document.querySelectorAll('#live li').length > 0");
    browser.until("document.querySelector('#live .id').textContent === '80'");
    browser.until("document.getElementById('live-state').textContent === 'Connected'");
    let shown = browser.value("document.querySelectorAll('#live li').length");
    let first = client.get("/changes?since=1").problem(410, "purged")["first"].as_u64().unwrap();
    assert!(shown.as_u64().unwrap() >= 81 - first, "{shown} of those from {first} on");
    // It went on once, and stays.
    let seen = browser.value("live.seen");
    assert_eq!(seen, 80);
}

#[test]
fn hostile_data_is_shown_as_text() {
    let node = Node::start();
    let mut client = node.client();
    let text = json!(HOSTILE).to_string();
    client.append(format!("{{\"data\":{text},\"tags\":[{text}]}}"));
    let Some(mut browser) = open(&node) else { return };
    browser.click("#form .main");
    browser.until("document.querySelectorAll('#found li').length === 1");
    assert_eq!(browser.value("document.querySelector('#found pre').textContent"), text);
    assert_eq!(browser.value("document.querySelector('#found .chip bdi').textContent"), HOSTILE);
    assert_eq!(browser.value("document.querySelectorAll('img, #found script').length"), 0);
    assert_eq!(browser.value("document.title"), "ChangeAgent");
    // Clicked, it is searched for, and found.
    browser.value("document.querySelector('#found .chip').click()");
    browser.until("form.elements.tag.value !== ''");
    browser.until("document.getElementById('found-state').textContent.startsWith('1 change;')");
    assert_eq!(browser.value("document.title"), "ChangeAgent");
}

#[test]
fn search_pages_forward_and_back() {
    let node = Node::start();
    let mut client = node.client();
    let changes: Vec<_> = (1..=120)
        .map(|n| {
            format!("{{\"data\":{n},\"tags\":[\"{}\"]}}", if n % 2 == 0 { "even" } else { "odd" })
        })
        .collect();
    client.post(format!("[{}]", changes.join(",")));
    let Some(mut browser) = open(&node) else { return };
    let shown = |browser: &mut Browser, first: u64, count: usize| {
        browser.until(&format!(
            "document.querySelector('#found .id')?.textContent === '{first}' && \
             document.querySelectorAll('#found li').length === {count}"
        ));
    };
    browser.fill("tag", "even");
    browser.press_enter();
    shown(&mut browser, 2, 50);
    assert_eq!(browser.text("#found-state"), "50 changes; there may be more");
    assert_eq!(browser.value("document.getElementById('older').disabled"), true);
    browser.click("#newer");
    shown(&mut browser, 102, 10);
    assert_eq!(browser.text("#found-state"), "10 changes; this is the end");
    assert_eq!(browser.value("document.getElementById('newer').disabled"), true);
    browser.click("#older");
    shown(&mut browser, 2, 50);

    browser.fill("tag", "");
    browser.fill("since", "110");
    browser.press_enter();
    shown(&mut browser, 111, 10);
    browser.click("#older");
    shown(&mut browser, 61, 50);
}

#[test]
fn errors_are_told_in_words() {
    let node = Node::start();
    let Some(mut browser) = open(&node) else { return };
    browser.fill("tenant", "nobody");
    browser.press_enter();
    browser.until("document.getElementById('found-state').textContent.startsWith('Not found: ')");
    let told = browser.text("#found-state");
    assert!(told.contains("nobody") && told.ends_with("(404 not-found)"), "{told}");
    browser.fill("tenant", "");
    browser.fill("collection", "bar");
    browser.press_enter();
    browser
        .until("document.getElementById('found-state').textContent.includes('needs its tenant')");
}

#[test]
fn tenants_collections_and_keys_are_searched() {
    let node = Node::start();
    let mut client = node.client();
    post(&mut client, "/tenants", r#"{"name":"foo"}"#);
    let collection = post(&mut client, "/tenants/foo/collections", r#"{"name":"bar"}"#);
    let keys = format!("/collections/{}/keys", collection["collection"].as_str().unwrap());
    for n in 0..60 {
        post(&mut client, &keys, &format!("{{\"key\":\"k/{n:02}\",\"data\":{n}}}"));
    }
    client.append(r#"{"data":"of no tenant"}"#);
    let Some(mut browser) = open(&node) else { return };
    browser.fill("tenant", "foo");
    browser.press_enter();
    browser.until("document.querySelectorAll('#found li').length === 50");
    browser.until("document.querySelector('#found .chip').textContent === 'foo'");
    browser.click("#newer");
    browser.until("document.querySelectorAll('#found li').length === 10");

    browser.fill("collection", "bar");
    browser.click("[name=kind][value=keys]");
    browser.click("#form .main");
    browser.until("document.getElementById('found-state').textContent.startsWith('50 keys')");
    browser.click("#newer");
    browser.until("document.getElementById('found-state').textContent.startsWith('10 keys')");
    assert_eq!(browser.text("#found .key"), "k/50");
    browser.fill("prefix", "k/1");
    browser.press_enter();
    browser.until("document.getElementById('found-state').textContent.startsWith('10 keys; this')");
    assert_eq!(browser.text("#found .key"), "k/10");
}

#[test]
fn the_cluster_is_shown() {
    let node = Node::start();
    let Some(mut browser) = open(&node) else { return };
    browser.until("document.querySelectorAll('#members tbody tr').length === 1");
    assert!(browser.text("#cluster").starts_with("Node 1, a voter, leads in term"));
    let member = browser.text("#members tbody");
    assert!(member.contains(&node.address().to_string()), "{member}");
    assert!(member.contains("voter"), "{member}");
    let row = "document.querySelector('#members tbody tr')";
    assert_eq!(browser.value(&format!("{row}.className")), "here leads");
    browser.until(&format!("{row}.cells[4].textContent === '0'"));
    assert_eq!(browser.value(&format!("{row}.querySelectorAll('a').length")), 0);
}

/// Shows a cluster as if the node had told of it, and gives back the texts of the
/// cells, each member's class, and where the links lead.
fn shown_cluster(browser: &mut Browser, cluster: &serde_json::Value) -> serde_json::Value {
    browser.value(&format!(
        "(() => {{
           showCluster({cluster});
           const rows = Array.from(document.querySelectorAll('#members tbody tr'));
           return {{
             cells: rows.map((row) => Array.from(row.cells, (cell) => cell.textContent)),
             classes: rows.map((row) => row.className),
             links: Array.from(document.querySelectorAll('#members a'), (link) => link.href),
             says: document.getElementById('cluster').textContent,
           }};
         }})()"
    ))
}

fn cluster_of_three(node: u64, state: &str, matched: [u64; 3]) -> serde_json::Value {
    let member = |(id, matched): (u64, u64)| {
        let role = if id == 3 { "learner" } else { "voter" };
        let state = if id == 1 { "leader" } else { "unknown" };
        json!({"id": id, "address": format!("127.0.0.1:{}", 9000 + id), "cluster_address": "",
            "role": role, "state": state, "matched": matched})
    };
    let members: Vec<_> = (1..).zip(matched).map(member).collect();
    json!({"cluster": "c", "node": node, "leader": 1, "term": 7, "state": state, "last": 5,
        "committed": 1200, "applied": 1200, "members": members})
}

#[test]
fn the_leader_shows_how_far_each_member_is_and_where_its_page_is() {
    let node = Node::start();
    let Some(mut browser) = open(&node) else { return };
    let shown = shown_cluster(&mut browser, &cluster_of_three(1, "leader", [1201, 1200, 0]));
    let want = json!({
        "cells": [
            ["1 this node", "127.0.0.1:9001", "voter", "leader", "0", "1,201"],
            ["2", "127.0.0.1:9002", "voter", "unknown", "1", "1,200"],
            ["3", "127.0.0.1:9003", "learner", "unknown", "1,201", "0"],
        ],
        "classes": ["here leads", "", ""],
        "links": ["http://127.0.0.1:9002/", "http://127.0.0.1:9003/"],
        "says": "Node 1, a voter, leads in term 7",
    });
    assert_eq!(shown, want);
    assert_eq!(browser.complaints, [""; 0]);
}

#[test]
fn another_node_shows_who_leads_and_not_what_it_does_not_know() {
    let node = Node::start();
    let Some(mut browser) = open(&node) else { return };
    let shown = shown_cluster(&mut browser, &cluster_of_three(3, "learner", [0, 0, 1190]));
    let rows = json!([
        ["1", "127.0.0.1:9001", "voter", "leader", "–", "–"],
        ["2", "127.0.0.1:9002", "voter", "unknown", "–", "–"],
        ["3 this node", "127.0.0.1:9003", "learner", "unknown", "10", "1,190"],
    ]);
    assert_eq!(shown["cells"], rows);
    assert_eq!(shown["classes"], json!(["leads", "", "here"]));
    assert_eq!(shown["says"], "Node 3, a learner, learns in term 7");
}

#[test]
fn a_link_to_a_member_keeps_the_focus_while_its_numbers_change() {
    let node = Node::start();
    let Some(mut browser) = open(&node) else { return };
    let before = cluster_of_three(1, "leader", [1200, 1150, 0]);
    let focus = browser.value(&format!(
        "(() => {{
           showCluster({before});
           const link = document.querySelector('#members a');
           link.focus();
           showCluster({});
           return [document.activeElement === link, link.closest('tr').cells[5].textContent];
         }})()",
        cluster_of_three(1, "leader", [1200, 1160, 0])
    ));
    assert_eq!(focus, json!([true, "1,160"]));
    // The node has only itself to tell of.
    browser.until("document.querySelectorAll('#members tbody tr').length === 1");
    assert_eq!(browser.value("document.querySelectorAll('#members a').length"), 0);
}

#[test]
fn it_fits_a_phone_and_follows_the_colour_scheme() {
    let node = Node::start();
    let mut client = node.client();
    client.append(format!(
        "{{\"data\":\"{}\",\"tags\":[\"{}\"]}}",
        "x".repeat(9000),
        "y".repeat(128)
    ));
    let Some(mut browser) = open(&node) else { return };
    browser.resize(360, 740);
    browser.click("#form .main");
    browser.until("document.querySelectorAll('#found li').length === 1");
    assert_eq!(browser.value("innerWidth"), 360);
    assert_eq!(browser.value("document.documentElement.scrollWidth"), 360);
    let background = "getComputedStyle(document.body).backgroundColor";
    browser.colour_scheme("light");
    let light = browser.value(background);
    browser.colour_scheme("dark");
    let dark = browser.value(background);
    assert_ne!(light, dark);
}

#[test]
fn every_field_has_a_label_and_every_button_a_name() {
    let node = Node::start();
    let Some(mut browser) = open(&node) else { return };
    let unnamed = browser.value(
        "Array.from(document.querySelectorAll('input, button, [tabindex]'))
           .filter((one) => !(one.labels?.[0] ?? one).textContent.trim() && !one.ariaLabel)
           .map((one) => one.outerHTML)",
    );
    assert_eq!(unnamed, json!([]));
    assert_eq!(browser.value("document.documentElement.lang"), "en");
    assert_eq!(browser.value("document.querySelectorAll('[aria-live=polite]').length"), 4);
}
