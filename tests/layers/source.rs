//! What a source file names, and where the files are.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::tokens::Token;

/// One path of a source file, such as `crate::io::Disk`, and its line.
pub struct Named {
    pub path: Vec<String>,
    pub line: usize,
    /// The modules written out in the file that it stands in.
    pub within: Vec<String>,
    /// The name that a `use` gives to what it leads to.
    pub name: Option<String>,
}
/// Every path in a source text, those of `use` trees written out in full.
pub fn paths(tokens: &[(Token, usize)]) -> Vec<Named> {
    let mut found = Vec::new();
    // Of each open brace, the module that it is of.
    let mut braces: Vec<Option<String>> = Vec::new();
    let mut at = 0;
    while let Some((token, line)) = tokens.get(at) {
        let mut add = |path, name| {
            let within = braces.iter().flatten().cloned().collect();
            found.push(Named { path, line: *line, within, name });
        };
        match token {
            // `use<…>` names what a type captures.
            Token::Word(word)
                if word == "use" && !matches!(tokens.get(at + 1), Some((Token::Mark(b'<'), _))) =>
            {
                at += 1;
                // What an opaque type captures is no import.
                if tokens.get(at).is_some_and(|(token, _)| *token == Token::Mark(b'<')) {
                    continue;
                }
                if tokens.get(at).is_some_and(|(token, _)| *token == Token::PathSeparator) {
                    at += 1;
                }
                use_tree(tokens, &mut at, &[], &mut add);
                continue;
            }
            // `pub(in …)` says who may see something, and needs nothing.
            Token::Word(word)
                if word == "in" && at > 0 && tokens[at - 1].0 == Token::Mark(b'(') =>
            {
                at += tokens[at..]
                    .iter()
                    .take_while(|(token, _)| *token != Token::Mark(b')'))
                    .count();
                continue;
            }
            Token::Word(_) => {
                let mut path = Vec::new();
                while let Some((Token::Word(word), _)) = tokens.get(at) {
                    path.push(word.clone());
                    at += 1;
                    match (tokens.get(at), tokens.get(at + 1)) {
                        (Some((Token::PathSeparator, _)), Some((Token::Word(_), _))) => at += 1,
                        _ => break,
                    }
                }
                if path.len() > 1 {
                    add(path, None);
                }
                continue;
            }
            Token::Mark(b'{') => braces.push(opened_module(&tokens[..at])),
            Token::Mark(b'}') => {
                braces.pop();
            }
            _ => {}
        }
        at += 1;
    }
    found
}

/// The name in `mod name {`, when the brace after `before` is that one's.
fn opened_module(before: &[(Token, usize)]) -> Option<String> {
    match before {
        [.., (Token::Word(keyword), _), (Token::Word(name), _)] if keyword == "mod" => {
            Some(name.clone())
        }
        _ => None,
    }
}

/// Reads one tree of a `use`, which starts at `at`, and adds its paths.
fn use_tree(
    tokens: &[(Token, usize)],
    at: &mut usize,
    prefix: &[String],
    add: &mut impl FnMut(Vec<String>, Option<String>),
) {
    let mut path = prefix.to_vec();
    let mut alias = None;
    loop {
        match tokens.get(*at).map(|(token, _)| token) {
            Some(Token::Word(word)) if word == "as" => {
                if let Some((Token::Word(word), _)) = tokens.get(*at + 1) {
                    alias = Some(word.clone());
                }
                *at += 2;
            }
            Some(Token::Word(word)) => {
                path.push(word.clone());
                *at += 1;
            }
            Some(Token::PathSeparator | Token::Mark(b'*')) => *at += 1,
            Some(Token::Mark(b'{')) => {
                *at += 1;
                while !matches!(tokens.get(*at), Some((Token::Mark(b'}'), _)) | None) {
                    use_tree(tokens, at, &path, add);
                    if matches!(tokens.get(*at), Some((Token::Mark(b','), _))) {
                        *at += 1;
                    }
                }
                *at += 1;
                return;
            }
            _ => {
                // `self` at the end is what stands before it.
                if path.len() > 1 && path.last().is_some_and(|word| word == "self") {
                    path.pop();
                }
                let name = alias.or(path.last().cloned());
                add(path, name);
                return;
            }
        }
    }
}

/// Every source file below `src/`, by its path from there, with its text.
pub fn read_sources() -> Vec<(String, String)> {
    read_below("src")
}

/// The same of another folder of the repository.
pub fn read_below(folder: &str) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut files = Vec::new();
    collect(&root, &mut files);
    files.sort();
    let read = |path: PathBuf| {
        let file = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
        (file, fs::read_to_string(&path).unwrap())
    };
    files.into_iter().map(read).collect()
}

fn collect(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The modules that a file below `src/` stands for: `api/json/mod.rs` is
/// `api`, `json`.
pub fn module(file: &str) -> Vec<&str> {
    let mut parts: Vec<&str> = file.trim_end_matches(".rs").split('/').collect();
    if matches!(parts.last(), Some(&("mod" | "lib" | "main"))) {
        parts.pop();
    }
    parts
}

/// Whether a part of a file's path, or a module, is of tests.
pub fn is_of_tests(part: &str) -> bool {
    let names = ["tests", "testing", "fuzzing", "simulation", "simulated"];
    let part = part.trim_end_matches(".rs");
    names.contains(&part) || part.ends_with("_tests")
}

/// The tokens of what is compiled into the program: without each item that
/// follows `#[cfg(test)]`, or another condition that names tests. The names of the modules that are left out so are
/// added to `left_out`.
pub fn without_tests(tokens: &[(Token, usize)], left_out: &mut Vec<String>) -> Vec<(Token, usize)> {
    let word = |at: usize| match tokens.get(at) {
        Some((Token::Word(word), _)) => word.as_str(),
        _ => "",
    };
    let mut kept = Vec::with_capacity(tokens.len());
    let mut at = 0;
    while at < tokens.len() {
        let length = attribute_of_tests(&tokens[at..]);
        if length == 0 {
            kept.push(tokens[at].clone());
            at += 1;
            continue;
        }
        at += length;
        let start = at;
        let mut depth = 0;
        while at < tokens.len() {
            if word(at) == "mod" && depth == 0 {
                left_out.push(word(at + 1).to_owned());
            }
            match tokens[at].0 {
                Token::Mark(b'{' | b'(' | b'[') => depth += 1,
                Token::Mark(b'}') if depth <= 1 => {
                    at += 1;
                    break;
                }
                Token::Mark(b'}' | b')' | b']') => depth -= 1,
                Token::Mark(b';') if depth == 0 => {
                    at += 1;
                    break;
                }
                // A field or an argument.
                Token::Mark(b',') if depth == 0 && !is_item(word(start)) => {
                    at += 1;
                    break;
                }
                _ => {}
            }
            at += 1;
        }
    }
    kept
}

/// The length of an attribute at the start of `tokens` by which an item is compiled
/// for tests alone, such as `#[cfg(any(test, feature = "fuzzing"))]`; else 0.
fn attribute_of_tests(tokens: &[(Token, usize)]) -> usize {
    let is = |at: usize, wanted: &Token| tokens.get(at).is_some_and(|(token, _)| token == wanted);
    let word = |word: &str| Token::Word(word.to_owned());
    if !is(0, &Token::Mark(b'#')) || !is(1, &Token::Mark(b'[')) || !is(2, &word("cfg")) {
        return 0;
    }
    let end = tokens.iter().take_while(|(token, _)| *token != Token::Mark(b']')).count();
    let names = |wanted: &str| (3..end).any(|at| is(at, &word(wanted)));
    if names("test") && !names("not") { end + 1 } else { 0 }
}

fn is_item(word: &str) -> bool {
    ["pub", "fn", "mod", "use", "impl", "struct", "enum", "const", "static", "type", "async"]
        .contains(&word)
}
