//! Every dependency has a licence that `deny.toml` allows, comes from crates.io, and is none that is named there.

use std::{collections::HashSet, process::Command};

use serde_json::Value;

/// The strings of the list after `name = [` in a text of TOML, with those of one key where the elements are tables.
fn list(text: &str, name: &str) -> Vec<String> {
    let begin = format!("\n{name} = [");
    let (_, rest) = text.split_once(&begin).unwrap_or_else(|| panic!("deny.toml has no {name}"));
    let lines = rest.lines().skip(1).take_while(|line| *line != "]");
    let strings = lines.filter(|line| !line.trim_start().starts_with('#'));
    strings.filter_map(|line| line.split('"').nth(1)).map(str::to_owned).collect()
}

/// Whether one of the ways in which a licence may be chosen needs nothing but what is allowed: an
/// expression of SPDX, in which `/` is an old word for `OR`.
fn is_allowed(expression: &str, allowed: &[String]) -> bool {
    let text = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let mut words = text.split_whitespace().peekable();
    let allows = either(&mut words, allowed);
    assert_eq!(words.next(), None, "{expression} goes on");
    allows
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn either(words: &mut Words<'_>, allowed: &[String]) -> bool {
    let mut allows = both(words, allowed);
    while words.next_if_eq(&"OR").is_some() {
        allows |= both(words, allowed);
    }
    allows
}

fn both(words: &mut Words<'_>, allowed: &[String]) -> bool {
    let mut allows = one(words, allowed);
    while words.next_if_eq(&"AND").is_some() {
        allows &= one(words, allowed);
    }
    allows
}

fn one(words: &mut Words<'_>, allowed: &[String]) -> bool {
    let word = words.next().expect("a licence has a name");
    if word == "(" {
        let allows = either(words, allowed);
        assert_eq!(words.next(), Some(")"));
        return allows;
    }
    let mut name = word.to_owned();
    if words.next_if_eq(&"WITH").is_some() {
        name = format!("{name} WITH {}", words.next().expect("an exception has a name"));
    }
    allowed.contains(&name)
}

/// What is built for this machine, as cargo tells it.
fn packages() -> Vec<Value> {
    let host = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let arguments =
        ["metadata", "--format-version=1", "--locked", "--offline", "--filter-platform", &host];
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let nodes = metadata["resolve"]["nodes"].as_array().unwrap();
    let used: HashSet<&str> = nodes.iter().map(|node| node["id"].as_str().unwrap()).collect();
    let all = metadata["packages"].as_array().unwrap().iter();
    all.filter(|package| used.contains(package["id"].as_str().unwrap())).cloned().collect()
}

#[test]
fn every_dependency_is_one_that_may_be() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/deny.toml");
    let text = std::fs::read_to_string(path).unwrap();
    let (allowed, denied) = (list(&text, "allow"), list(&text, "deny"));
    let exceptions = list(&text, "exceptions");
    assert!(allowed.contains(&"MIT".to_owned()) && denied.contains(&"openssl-sys".to_owned()));
    let (mut wrong, mut count) = (Vec::new(), 0);
    for package in packages() {
        let name = package["name"].as_str().unwrap();
        let licence = package["license"].as_str().unwrap_or("none");
        // A package of this workspace has no source.
        let source = package["source"].as_str().unwrap_or("own");
        let is_known = exceptions.iter().any(|known| known == name);
        count += usize::from(source != "own");
        if !is_known && source != "own" && !is_allowed(licence, &allowed) {
            wrong.push(format!("{name}: the licence {licence}"));
        }
        if !["own", "registry+https://github.com/rust-lang/crates.io-index"].contains(&source) {
            wrong.push(format!("{name}: comes from {source}"));
        }
        if denied.iter().any(|denied| denied == name) {
            wrong.push(format!("{name}: must not be among the dependencies"));
        }
    }
    assert!(count > 100, "only {count} dependencies are found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_licence_is_allowed_where_one_way_to_choose_it_is() {
    let allowed = ["MIT", "ISC", "Apache-2.0 WITH LLVM-exception"].map(str::to_owned);
    for (expression, want) in [
        ("MIT", true),
        ("GPL-3.0", false),
        ("GPL-3.0 OR MIT", true),
        ("GPL-3.0/MIT", true),
        ("MIT AND ISC", true),
        ("MIT AND GPL-3.0", false),
        ("(GPL-3.0 OR MIT) AND ISC", true),
        ("Apache-2.0", false),
        ("Apache-2.0 WITH LLVM-exception OR GPL-3.0", true),
    ] {
        assert_eq!(is_allowed(expression, &allowed), want, "{expression}");
    }
}
