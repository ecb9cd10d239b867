//! Files and functions that are taken in at one reading.
//!
//! A file's lines are counted without its tests, a function's from its first line to
//! its last, comments included.

use crate::{
    source::{is_of_tests, read_below, without_tests},
    tokens::{Token, tokens},
};

/// The most lines of a file, and of a function.
const FILE_LINES_MAX: usize = 400;
const FUNCTION_LINES_MAX: usize = 70;

/// Files that are longer, and why.
const LONG_FILES: &[(&str, &str)] = &[];
/// Functions that are longer, and why.
const LONG_FUNCTIONS: &[(&str, &str, &str)] = &[];

/// The functions of a source text, each with its first line and its last.
fn functions(tokens: &[(Token, usize)]) -> Vec<(String, usize, usize)> {
    let mut found = Vec::new();
    for (at, (token, line)) in tokens.iter().enumerate() {
        let Some((Token::Word(name), _)) = tokens.get(at + 1) else { continue };
        if *token != Token::Word("fn".to_owned()) {
            continue;
        }
        let mut depth = 0;
        for (token, end) in &tokens[at..] {
            match token {
                // It has no body.
                Token::Mark(b';') if depth == 0 => break,
                Token::Mark(b'{' | b'(' | b'[') => depth += 1,
                Token::Mark(b'}') if depth == 1 => {
                    found.push((name.clone(), *line, *end));
                    break;
                }
                Token::Mark(b'}' | b')' | b']') => depth -= 1,
                _ => {}
            }
        }
    }
    found
}

/// How many lines of a file are before its tests, if these stand at its end.
fn lines_without_tests(text: &str) -> usize {
    let tests = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    text[..tests].trim_end().lines().count()
}

#[test]
fn files_and_functions_are_short() {
    let mut found = Vec::new();
    let (mut files, mut functions_of) = (Vec::new(), Vec::new());
    let folders = ["src", "loadgen/src", "testkit/src"].map(|folder| (folder, read_below(folder)));
    let sources = folders.iter().flat_map(|(folder, files)| {
        files.iter().map(move |(file, text)| (format!("{folder}/{file}"), text))
    });
    for (file, text) in sources {
        if file.split('/').any(is_of_tests) {
            continue;
        }
        let lines = lines_without_tests(text);
        if lines > FILE_LINES_MAX {
            if !LONG_FILES.iter().any(|(known, _)| *known == file) {
                found.push(format!("{file} has {lines} lines"));
            }
            files.push(file.clone());
        }
        let tokens = without_tests(&tokens(text), &mut Vec::new());
        for (name, first, last) in functions(&tokens) {
            let lines = last + 1 - first;
            if lines > FUNCTION_LINES_MAX {
                if !LONG_FUNCTIONS.iter().any(|(f, n, _)| *f == file && *n == name) {
                    found.push(format!("{file}:{first}: {name} has {lines} lines"));
                }
                functions_of.push((file.clone(), name));
            }
        }
    }
    for (file, _) in LONG_FILES.iter().filter(|(known, _)| !files.iter().any(|file| file == known))
    {
        found.push(format!("{file} is not long any more: take it out of LONG_FILES"));
    }
    for (file, name, _) in LONG_FUNCTIONS {
        if !functions_of.iter().any(|(f, n)| f == file && n == name) {
            found.push(format!("{name} of {file} is not long any more"));
        }
    }
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn functions_are_measured_from_their_first_line_to_their_last() {
    let text = "trait T { fn a(&self) -> [u8; 4]; }\nimpl T {\n  fn b<const N: usize>(x: [u8; 4])\n  -> u8 {\n    { }\n  }\n}\n";
    assert_eq!(functions(&tokens(text)), [("b".to_owned(), 3, 6)]);
}

#[test]
fn tests_at_the_end_of_a_file_do_not_count() {
    assert_eq!(lines_without_tests("a\nb\n\n#[cfg(test)]\nmod tests {\n}\n"), 2);
    assert_eq!(lines_without_tests("a\nb\n"), 2);
}
