//! The page at `/docs`, which shows the API document.

use serde_json::json;

use super::browser::Browser;
use crate::credentials::{ROOT, with_token};
use testkit::{Node, NodeBuilder};

const CARDS: &str = "document.querySelectorAll('main article').length";
const SHOWN: &str = "Array.from(document.querySelectorAll('main article'))\
                     .filter((card) => card.checkVisibility()).map((card) => card.id)";

fn open(node: &Node, hash: &str) -> Option<Browser> {
    let mut browser = Browser::start()?;
    browser.open(&format!("http://{}/docs{hash}", node.address()));
    browser.until("document.getElementById('state').textContent === ''");
    Some(browser)
}

#[test]
fn it_shows_every_operation_and_schema_and_loads_nothing_else() {
    let node = Node::start();
    let document = node.client().get("/openapi.json").json();
    let Some(mut browser) = open(&node, "#listChanges") else { return };
    for item in document["paths"].as_object().unwrap().values() {
        for id in item.as_object().unwrap().values().filter_map(|one| one["operationId"].as_str()) {
            let card = browser.value(&format!("document.getElementById('{id}')?.tagName"));
            assert_eq!(card, "ARTICLE", "{id}");
        }
    }
    for name in document["components"]["schemas"].as_object().unwrap().keys() {
        let card = browser.value(&format!("document.getElementById('schema-{name}')?.tagName"));
        assert_eq!(card, "ARTICLE", "{name}");
    }
    // Each link within the page leads somewhere, and the address led where it says.
    let lost = "Array.from(document.querySelectorAll('a[href^=\"#\"]'), (link) => link.hash.slice(1))\
                .filter((id) => document.getElementById(id) === null)";
    assert_eq!(browser.value(lost), json!([]));
    let top = browser.value("document.getElementById('listChanges').getBoundingClientRect().top");
    assert!(top.as_f64().is_some_and(|top| (0.0..400.0).contains(&top)), "{top}");
    let loaded =
        "performance.getEntriesByType('resource').map((one) => new URL(one.name).pathname)";
    assert_eq!(browser.value(loaded), json!(["/openapi.json"]));
    assert_eq!(browser.complaints, [""; 0]);
}

#[test]
fn what_is_typed_leaves_what_has_it() {
    let node = Node::start();
    let Some(mut browser) = open(&node, "") else { return };
    let all = browser.value(CARDS);
    browser.type_into("#filter", "redact /changes/{id}");
    browser.until("document.getElementById('state').textContent !== ''");
    let shown = browser.value(SHOWN);
    let shown: Vec<_> = shown.as_array().unwrap().iter().collect();
    assert!(shown.iter().any(|id| **id == "redactChange"), "{shown:?}");
    assert!(!shown.iter().any(|id| **id == "health"), "{shown:?}");
    assert!((shown.len() as u64) < all.as_u64().unwrap());
    let listed = "Array.from(document.querySelectorAll('#contents li'))\
                  .filter((line) => line.checkVisibility()).length";
    assert_eq!(browser.value(listed), shown.len());
}

#[test]
fn it_has_room_on_a_phone_and_colours_of_day_and_night() {
    let node = Node::start();
    let Some(mut browser) = open(&node, "") else { return };
    browser.resize(360, 740);
    let wider = "document.documentElement.scrollWidth - document.documentElement.clientWidth";
    browser.until(&format!("{wider} === 0"));
    let paper = "getComputedStyle(document.body).backgroundColor";
    browser.colour_scheme("light");
    let day = browser.value(paper);
    browser.colour_scheme("dark");
    assert_ne!(browser.value(paper), day);
}

#[test]
fn it_needs_a_token_where_the_node_asks_for_one() {
    let node = with_token(NodeBuilder::new(), ROOT).start();
    let mut client = node.client();
    client.get("/docs").problem(401, "unauthenticated");
    let bearer = format!("Bearer {ROOT}");
    let answer = client.request("GET", "/docs", &[("Authorization", &bearer)], b"");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
    let policy = answer.header("content-security-policy").expect("a policy");
    assert!(policy.starts_with("default-src 'none';") && !policy.contains("unsafe"), "{policy}");
}
