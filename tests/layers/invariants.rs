//! What is said to be invariant is asserted.
//!
//! The sentence "Invariant: …" stands on a field or a type. In the same file, outside of
//! tests, an assertion names that field, or one of the three lines before it does; a type
//! has an assertion in the file.

use crate::{
    source::{is_of_tests, read_sources, without_tests},
    tokens::{Token, tokens},
};

const SENTENCE: &str = "Invariant:";

/// Sentences that no assertion can check there, and why: file, field or type, reason.
const UNCHECKED: [(&str, &str, &str); 5] = [
    ("base/held.rs", "all", "cores tell their sums at different times"),
    ("cli/import/tally.rs", "Tally", "what does not add up is told as an error"),
    ("cli/node.rs", "cluster", "another history is told as an error"),
    ("cli/tail.rs", "since", "what was printed is not kept"),
    ("log/format/group.rs", "purged", "`is_sound` says it, which is asserted and read back"),
];

/// What a line declares: a field or a type.
fn declared(line: &str) -> Option<(&str, bool)> {
    let line = line.trim_start();
    if line.is_empty() || line.starts_with("//") || line.starts_with('#') {
        return None;
    }
    let mut is_type = false;
    let words = line.split(|char: char| !char.is_alphanumeric() && char != '_');
    for word in words.filter(|word| !word.is_empty()) {
        match word {
            "pub" | "crate" | "super" | "in" | "const" | "async" => {}
            "struct" | "enum" => is_type = true,
            name => return Some((name, is_type)),
        }
    }
    None
}

/// The words within the assertions of a file.
fn asserted(text: &str) -> Vec<String> {
    let tokens = without_tests(&tokens(text), &mut Vec::new());
    let mut words = Vec::new();
    for at in 0..tokens.len() {
        let is_assertion = matches!(&tokens[at].0, Token::Word(word) if word.starts_with("assert") || word.starts_with("debug_assert"))
            && matches!(tokens.get(at + 1), Some((Token::Mark(b'!'), _)));
        if !is_assertion {
            continue;
        }
        words.push(String::new());
        let line = tokens[at].1;
        let before = tokens[..at].iter().rev().take_while(|(_, other)| other + 3 >= line);
        words.extend(before.filter_map(|(token, _)| match token {
            Token::Word(word) => Some(word.clone()),
            _ => None,
        }));
        let mut depth = 0;
        for (token, _) in &tokens[at + 2..] {
            match token {
                Token::Mark(b'(' | b'[' | b'{') => depth += 1,
                Token::Mark(b')' | b']' | b'}') => depth -= 1,
                Token::Word(word) => words.push(word.clone()),
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
    }
    words
}

/// The sentences of a file that no assertion there checks: line, and what they are of.
fn unchecked(text: &str) -> Vec<(usize, String)> {
    let asserted = asserted(text);
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let is_said = line.trim_start().starts_with("//") && line.contains(SENTENCE);
        if !is_said {
            continue;
        }
        let name = lines[at..].iter().find_map(|line| declared(line));
        let (name, is_type) = name.unwrap_or_default();
        let is_checked =
            if is_type { !asserted.is_empty() } else { asserted.iter().any(|word| word == name) };
        if !is_checked {
            found.push((at + 1, name.to_owned()));
        }
    }
    found
}

#[test]
fn every_invariant_is_asserted_where_it_is_said() {
    let (mut said, mut found) = (0, Vec::new());
    let mut excuses = UNCHECKED.to_vec();
    for (file, text) in read_sources() {
        if file.split('/').any(is_of_tests) {
            continue;
        }
        said += text.matches(SENTENCE).count();
        for (line, name) in unchecked(&text) {
            let is_meant = |(place, of, _): &(&str, &str, &str)| *place == file && *of == name;
            if UNCHECKED.iter().any(is_meant) {
                excuses.retain(|excuse| !is_meant(excuse));
            } else {
                found.push(format!("src/{file}:{line}: no assertion names {name}"));
            }
        }
    }
    assert!(excuses.is_empty(), "to be taken out of UNCHECKED: {excuses:?}");
    assert!(said > 20, "the source was not understood: {said} invariants");
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn a_sentence_without_an_assertion_is_found() {
    let field =
        "struct A {\n    /// Of all. Invariant: at most 3.\n    pub(super) count: usize,\n}\n";
    assert_eq!(unchecked(field), [(2, "count".to_owned())]);
    let other = format!("{field}\n\n\nfn f() {{ assert!(self.bytes < 3); }}");
    assert_eq!(unchecked(&other).len(), 1);
    let in_tests =
        format!("{field}#[cfg(test)]\nmod tests {{ fn f() {{ assert!(a.count < 3); }} }}");
    assert_eq!(unchecked(&in_tests).len(), 1);
    let checked = format!("{field}fn f() {{ debug_assert!(self.count <= 3, \"few\"); }}");
    assert_eq!(unchecked(&checked), []);
    let of_type = "/// Some. Invariant: sorted.\n#[derive(Debug)]\npub struct Some(Vec<u8>);\n";
    assert_eq!(unchecked(of_type).len(), 1);
    let checked = format!("{of_type}fn f() {{ assert!(self.0.is_sorted()); }}");
    assert_eq!(unchecked(&checked), []);
}
