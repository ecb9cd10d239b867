//! What other nodes ask is told apart in one place.

use crate::{
    source::{is_of_tests, paths, read_sources, without_tests},
    tokens::{Token, tokens},
};

/// Where requests of other nodes are told apart.
const PLACE: &str = "node/peers.rs";

/// The lines on which a file has a variant of the peers' `Request` as a pattern.
fn patterns(text: &str) -> Vec<usize> {
    let tokens = without_tests(&tokens(text), &mut Vec::new());
    let is_of_peers = |path: &[String]| {
        let words: Vec<&str> = path.iter().map(String::as_str).collect();
        matches!(words[..], [.., "peer" | "message" | "super", "Request"])
    };
    if !paths(&tokens).iter().any(|named| is_of_peers(&named.path)) {
        return Vec::new();
    }
    let word = |at: usize, name: &str| matches!(tokens.get(at), Some((Token::Word(word), _)) if word == name);
    let mark =
        |at: usize, mark| matches!(tokens.get(at), Some((Token::Mark(found), _)) if *found == mark);
    let mut found = Vec::new();
    // Where the parentheses of a `matches!` end.
    let mut matches_end = 0;
    for at in 0..tokens.len() {
        if word(at, "matches") && mark(at + 1, b'!') {
            matches_end = matches_end.max(end_of_group(&tokens, at + 2));
        }
        let is_variant = word(at, "Request")
            && tokens.get(at + 1).is_some_and(|(token, _)| *token == Token::PathSeparator);
        if !is_variant {
            continue;
        }
        let mut next = end_of_group(&tokens, at + 3);
        while mark(next, b')') {
            next += 1;
        }
        let is_bound = mark(next, b'=') && !mark(next + 1, b'=');
        if at < matches_end || is_bound || mark(next, b'|') || word(next, "if") {
            found.push(tokens[at].1);
        }
    }
    found
}

/// Behind the group that begins at `at`; `at` itself when none does.
fn end_of_group(tokens: &[(Token, usize)], at: usize) -> usize {
    let mut depth = 0;
    for (n, (token, _)) in tokens.iter().enumerate().skip(at) {
        match token {
            Token::Mark(b'{' | b'(' | b'[') => depth += 1,
            Token::Mark(b'}' | b')' | b']') if depth > 0 => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            let is_group = matches!(token, Token::Mark(b'}' | b')' | b']')) && n > at;
            return if is_group { n + 1 } else { at };
        }
    }
    tokens.len()
}

#[test]
fn requests_of_other_nodes_are_told_apart_in_one_place() {
    let mut there = 0;
    for (file, text) in read_sources() {
        if file.split('/').any(is_of_tests) {
            continue;
        }
        let found = patterns(&text);
        if file == PLACE {
            there = found.len();
        } else {
            assert!(found.is_empty(), "src/{file}, lines {found:?}: {PLACE} tells them apart");
        }
    }
    assert!(there > 10, "the source was not understood: {there} patterns in {PLACE}");
}

#[test]
fn patterns_are_told_from_requests_that_are_made() {
    let import = "use crate::raft::peer::{Answer, Request};\n";
    for pattern in [
        "fn f() { match r { Request::Write => 1, _ => 2 } }",
        "fn f() { match r { Request::Admin(one) => 1, _ => 2 } }",
        "fn f() { match r { Request::Vote { vote, .. } | Request::Write => 1 } }",
        "fn f() { match r { Some(Request::Adopt(_)) if x => 1 } }",
        "fn f() { let Request::Append { vote } = r else { return }; }",
        "fn f() { if let Some(Request::Removed) = r {} }",
        "fn f() { matches!(r, Request::Append { .. }) }",
    ] {
        assert!(!patterns(&format!("{import}{pattern}")).is_empty(), "{pattern}");
    }
    for made in [
        "fn f() { channel.call(&Request::Write, body) }",
        "fn f() { let message = Request::Admin(request.clone()); }",
        "fn f() { ask(Request::Vote { vote, last }).await; }",
        "mod tests { }\n#[cfg(test)] fn f() { matches!(r, Request::Write) }",
    ] {
        assert!(patterns(&format!("{import}{made}")).is_empty(), "{made}");
    }
    let of_http = "use http::Request; fn f() { match r { Request::Write => 1 } }";
    assert!(patterns(of_http).is_empty());
}
