//! Each `unsafe` of the program is listed in docs/security.md, with its reason.

use std::{collections::BTreeMap, fs, path::Path};

use crate::{
    source::{is_of_tests, read_sources, without_tests},
    tokens::{Token, tokens},
};

/// Where the list begins.
const HEADING: &str = "## Unsafe code";

/// How often the word stands in each file.
fn counted() -> BTreeMap<String, usize> {
    let is_one = |(token, _): &&(Token, usize)| *token == Token::Word("unsafe".to_owned());
    let count =
        |text: &str| without_tests(&tokens(text), &mut Vec::new()).iter().filter(is_one).count();
    let sources = read_sources().into_iter().filter(|(file, _)| !file.split('/').any(is_of_tests));
    sources
        .map(|(file, text)| (format!("src/{file}"), count(&text)))
        .filter(|it| it.1 > 0)
        .collect()
}

/// What a document lists: rows of a table with a file, a number, and a reason.
fn listed(document: &str) -> BTreeMap<String, usize> {
    let (_, list) = document.split_once(HEADING).expect("there is a list");
    let list = list.split("\n## ").next().unwrap_or_default();
    let row = |line: &str| {
        let mut cells = line.split('|').map(str::trim).skip(1);
        let file = cells.next()?.strip_prefix('`')?.strip_suffix('`')?.to_owned();
        let count = cells.next()?.parse().ok()?;
        let reason = cells.next()?;
        assert!(reason.len() > 20, "{file} has no reason");
        Some((file, count))
    };
    list.lines().filter_map(row).collect()
}

#[test]
fn every_unsafe_block_is_listed_with_its_reason() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/security.md");
    let listed = listed(&fs::read_to_string(path).unwrap());
    assert_eq!(listed, counted(), "docs/security.md lists the left, the source has the right");
    assert!(!listed.is_empty(), "the source was not understood");
}

#[test]
fn rows_of_the_list_are_read_and_others_are_not() {
    let text = "## Unsafe code\n| file | blocks | why |\n| --- | --- | --- |\n| `src/a.rs` | 2 | it is needed for some reason |\n\n## Next\n| `src/b.rs` | 1 | it is needed for some reason |\n";
    assert_eq!(listed(text), [("src/a.rs".to_owned(), 2)].into());
}
