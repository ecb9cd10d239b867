//! The page asks for a token where the node does, and keeps a session.

use serde_json::json;

use super::{browser::Browser, rows};
use crate::{
    credentials::{ROOT, asked, bearer},
    tokens::Site,
};

// The page may be on its way yet, where it is loaded anew.
const ASKS: &str = "document.getElementById('login')?.hidden === false \
                    && document.querySelector('.figures')?.hidden === true";
const IS_IN: &str = "document.querySelector('.figures')?.hidden === false \
                     && document.getElementById('login')?.hidden === true";

/// Where the links lead that one sees above and below everything.
const LINKS: &str = "Array.from(document.querySelectorAll('.skip, footer a')) \
                     .filter((it) => it.checkVisibility()).map((it) => it.getAttribute('href')).join(' ')";

fn open(site: &Site) -> Option<Browser> {
    let mut browser = Browser::start()?;
    browser.open(&format!("http://{}/", site.node.address()));
    browser.until("document.getElementById('state').textContent === 'Ready'");
    Some(browser)
}

fn log_in(browser: &mut Browser, token: &str) {
    browser.until(ASKS);
    browser.type_into("#login-form input", token);
    browser.press_enter();
}

fn append(site: &Site, body: &serde_json::Value) {
    let mut client = site.node.client();
    let answer = asked(&mut client, "POST", "/changes", &bearer(ROOT), &body.to_string());
    assert_eq!(answer.status, 201, "{answer:?}");
}

#[test]
fn one_logs_in_stays_so_and_logs_out() {
    let site = Site::start();
    append(&site, &json!({"data": "before"}));
    let Some(mut browser) = open(&site) else { return };
    browser.until(ASKS);
    assert_eq!(browser.value("document.activeElement.name"), "token");
    assert_eq!(browser.value("document.querySelectorAll('#live li').length"), 0);
    let told = "document.getElementById('login-state').textContent";
    for (wrong, words) in [("wrong", "not known here"), ("wröng", "neither spaces nor")] {
        log_in(&mut browser, wrong);
        browser.until(&format!("{told}.includes('{words}')"));
    }
    log_in(&mut browser, ROOT);
    browser.until(IS_IN);
    browser.until("document.querySelectorAll('#live li').length === 1");
    browser.until("document.getElementById('cluster').textContent.startsWith('Node 1')");
    assert!(browser.text("#who").starts_with("Root token: admin, everything, until "));
    // No script has the token or the session, and no address tells of it.
    assert_eq!(browser.value("document.cookie + location.search + location.hash"), "");
    assert_eq!(browser.value("document.querySelector('#login-form input').value"), "");
    append(&site, &json!({"data": "after"}));
    browser.until("document.querySelectorAll('#live li').length === 2");
    // The browser keeps it, over plain HTTP on this machine.
    browser.open(&format!("http://{}/", site.node.address()));
    browser.until(IS_IN);
    browser.until("document.querySelectorAll('#live li').length === 2");
    // It writes, too, which no page of another origin does with it.
    let write = "fetch('/changes', { method: 'POST', body: '{\"data\":1}', \
                 headers: { 'Content-Type': 'application/json' } }).then((it) => it.status)";
    assert_eq!(browser.value(write), 201);
    browser.click("#leave");
    browser.until(ASKS);
    assert_eq!(browser.value("document.querySelectorAll('#live li').length"), 0);
    assert_eq!(browser.value(write), 401);
    browser.open(&format!("http://{}/", site.node.address()));
    browser.until(ASKS);
}

#[test]
fn who_logs_in_next_sees_nothing_of_who_was_there_before() {
    let site = Site::start();
    append(&site, &json!({"data": "for nobody"}));
    append(&site, &json!({"data": "for acme", "tenant": "acme"}));
    let token = site.token("read", &json!({"tenant": "acme"})).token;
    let Some(mut browser) = open(&site) else { return };
    browser.until(ASKS);
    assert_eq!(browser.value(LINKS), "");
    log_in(&mut browser, ROOT);
    browser.until(IS_IN);
    // The list goes on where it was, which the next one has no part in.
    browser.open(&format!("http://{}/", site.node.address()));
    browser.until(IS_IN);
    browser.until("document.querySelectorAll('#live li').length === 2");
    browser.until("!document.getElementById('members').hidden");
    browser.click("#form .main");
    browser.until("document.querySelectorAll('#found li').length === 2");
    assert_eq!(browser.value(LINKS), "#search /docs /metrics /cluster");
    browser.click("#leave");
    browser.until(ASKS);
    assert_eq!(browser.text("#login-state"), "");
    log_in(&mut browser, &token);
    browser.until(IS_IN);
    browser.until("document.getElementById('live-state').textContent === 'Connected'");
    browser.until("document.querySelectorAll('#live li').length === 1");
    assert!(rows(&mut browser, "#live")[0].ends_with("\"for acme\""));
    browser.until("document.getElementById('cluster').textContent === 'Not shown to this token'");
    assert_eq!(browser.value("document.querySelectorAll('#members td, #found li').length"), 0);
    assert_eq!(browser.text("#stored").trim(), "");
    assert_eq!(browser.text("#found-state"), "");
    assert_eq!(browser.value(LINKS), "#search /docs");
}

#[test]
fn a_token_that_may_not_read_is_told_so() {
    let site = Site::start();
    append(&site, &json!({"data": "for acme", "tenant": "acme"}));
    let token = site.token("append", &json!({"tenant": "acme"})).token;
    let Some(mut browser) = open(&site) else { return };
    log_in(&mut browser, &token);
    browser.until(IS_IN);
    assert_eq!(browser.text("#live-state"), "This token may not read");
    assert_eq!(browser.value(LINKS), "/docs");
    for part in ["#search", "#pause"] {
        let seen = browser.value(&format!("document.querySelector('{part}').checkVisibility()"));
        assert_eq!(seen, false, "{part}");
    }
}

#[test]
fn the_page_shows_what_the_token_concerns_and_says_when_that_is_revoked() {
    let site = Site::start();
    append(&site, &json!({"data": "for nobody"}));
    append(&site, &json!({"data": "for acme", "tenant": "acme"}));
    let token = site.token("read", &json!({"tenant": "acme"}));
    let Some(mut browser) = open(&site) else { return };
    log_in(&mut browser, &token.token);
    browser.until(IS_IN);
    browser.until("document.querySelectorAll('#live li').length === 1");
    assert!(rows(&mut browser, "#live")[0].ends_with("\"for acme\""));
    let who = format!("Token t: read, tenant {}, until ", site.acme);
    assert!(browser.text("#who").starts_with(&who));
    browser.until("document.getElementById('cluster').textContent === 'Not shown to this token'");
    browser.click("#form .main");
    browser.until("document.getElementById('found-state').textContent.startsWith('1 change;')");
    append(&site, &json!({"data": "more", "tenant": "acme"}));
    browser.until("document.querySelectorAll('#live li').length === 2");
    let target = format!("/tokens/{}", token.id);
    asked(&mut site.node.client(), "DELETE", &target, &bearer(ROOT), "");
    browser.until(ASKS);
    let told = browser.text("#login-state");
    assert!(told.starts_with("Your session has ended: its token was revoked"), "{told}");
    assert_eq!(browser.value("document.querySelectorAll('.rows li').length"), 0);
    let expired = browser.value("whyEnded({ expires: '2026-01-31T00:00:00.000000Z' }, null)");
    assert_eq!(expired, "its time is over.");
    // It is told once.
    browser.open(&format!("http://{}/", site.node.address()));
    browser.until(ASKS);
    assert_eq!(browser.text("#login-state"), "");
}

#[test]
fn without_a_token_the_page_shows_what_may_be_read_so() {
    let site = Site::start();
    append(&site, &json!({"data": "for nobody"}));
    append(&site, &json!({"data": "for acme", "tenant": "acme"}));
    let said = json!({"role": "read", "scope": {"tenant": "acme"}}).to_string();
    asked(&mut site.node.client(), "PUT", "/tokens/anonymous", &bearer(ROOT), &said);
    let Some(mut browser) = open(&site) else { return };
    browser.until("document.querySelectorAll('#live li').length === 1");
    assert_eq!(browser.text("#who"), format!("Without a token: read, tenant {}", site.acme));
    browser.type_into("#login-form input", ROOT);
    browser.press_enter();
    browser.until(IS_IN);
    assert!(browser.text("#who").starts_with("Root token"));
    browser.until("document.querySelectorAll('#live li').length === 2");
    assert_eq!(browser.complaints, [""; 0]);
}
