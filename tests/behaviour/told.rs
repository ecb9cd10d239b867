//! The tables of docs/operations.md tell of every code that a request is refused with, and of every line that
//! a start is refused with.

use std::{collections::BTreeSet, fs, net::TcpListener, path::Path};

use testkit::{Node, NodeBuilder, temporary};

/// A file of the project.
fn text_of(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The rows of the table under that heading, each of three cells, none of them empty.
fn rows(heading: &str) -> Vec<[String; 3]> {
    let text = text_of("docs/operations.md");
    let section = text.split(&format!("\n## {heading}\n")).nth(1).expect(heading);
    let section = section.split("\n## ").next().unwrap();
    let lines = section.lines().filter(|line| line.starts_with("| ")).skip(2);
    lines
        .map(|line| {
            let cells: Vec<_> = line.trim_matches('|').split(" | ").map(str::trim).collect();
            let cells: [&str; 3] =
                cells.try_into().unwrap_or_else(|_| panic!("three cells: {line}"));
            assert!(cells.iter().all(|cell| !cell.is_empty()), "{line}");
            cells.map(ToOwned::to_owned)
        })
        .collect()
}

#[test]
fn every_code_of_a_refused_request_is_told_with_what_to_do() {
    let node = Node::start();
    let document = node.client().get("/openapi.json").json();
    let codes = document["components"]["schemas"]["ErrorCode"]["enum"].as_array().unwrap();
    let codes: BTreeSet<_> = codes.iter().map(|code| code.as_str().unwrap().to_owned()).collect();
    assert!(codes.len() >= 33, "{codes:?}");
    let told = rows("What it answers, and what to do");
    let told = told.iter().map(|[code, ..]| {
        let code = code.trim_matches('`').split_once(' ').expect("a status and a code");
        assert!(code.0.parse::<u16>().is_ok(), "{code:?}");
        code.1.to_owned()
    });
    assert_eq!(told.collect::<BTreeSet<_>>(), codes);
    let problem = node.client().get("/changes?since=x").problem(400, "invalid-parameter");
    assert!(codes.contains(problem["code"].as_str().unwrap()));
}

/// The texts in quotes that follow `mark` in a source text, without its tests.
fn texts_after(source: &str, mark: &str) -> Vec<String> {
    let source = source.split("#[cfg(test)]").next().unwrap();
    let after = source.split(mark).skip(1);
    let quoted = after.filter_map(|rest| {
        let rest = rest.trim_start().strip_prefix('"')?;
        let end = rest.find('"').expect("the text ends");
        // A line that goes on in the next one.
        let lines = rest[..end].split("\\\n").map(|line| line.trim_start().to_owned());
        Some(lines.collect::<String>())
    });
    quoted.collect()
}

/// What always stands at the begin of a message, or behind what differs there, up to where it explains itself.
fn fixed_part(message: &str) -> Option<&str> {
    let parts = message.split('{').map(|part| part.split_once('}').map_or(part, |(_, rest)| rest));
    let parts = parts.map(|part| part.trim_start_matches([' ', ':', ',', ';']));
    let mut parts = parts.map(|part| part.split([':', '(']).next().unwrap_or_default().trim());
    parts.find(|part| part.len() >= 6)
}

#[test]
fn every_line_of_a_refused_start_is_told_with_what_to_do() {
    let table: String =
        rows("Starts that are refused").iter().map(|[line, ..]| line.as_str()).collect();
    let log = text_of("src/log/error.rs");
    let log = log.split("pub enum LogError").next().unwrap();
    let sources =
        ["server/error", "server/config", "io/lock", "io/tls/certificate", "io/real/uring/allowed"];
    let errors = sources.map(|file| text_of(&format!("src/{file}.rs")));
    let errors = errors.iter().map(String::as_str).chain([log]);
    let mut messages: Vec<_> = errors.flat_map(|source| texts_after(source, "#[error(")).collect();
    for file in ["config", "founding", "tls", "jwt"] {
        let source = text_of(&format!("src/server/{file}.rs"));
        for mark in ["refuse(", "refuse(format!(", "Err(", "return Err("] {
            messages.extend(texts_after(&source, mark));
        }
    }
    assert!(messages.len() > 50, "{messages:?}");
    let missing: Vec<_> = messages
        .iter()
        .filter(|message| fixed_part(message).is_some_and(|part| !table.contains(part)))
        .collect();
    assert!(missing.is_empty(), "not in the table: {missing:#?}");
}

/// Whether a line says what a row tells: all that is between `…`, in this order.
fn is_told(line: &str, message: &str) -> bool {
    let mut rest = line;
    message.split('…').map(str::trim).all(|part| {
        let at = rest.find(part);
        rest = at.map_or("", |at| &rest[at + part.len()..]);
        at.is_some()
    })
}

#[test]
fn what_the_program_says_when_it_does_not_start_is_in_the_table() {
    let told = rows("Starts that are refused");
    let messages: Vec<_> = told
        .iter()
        .flat_map(|[line, ..]| line.split('`').skip(1).step_by(2))
        .filter(|message| message.trim_matches(['…', ' ', ':']).len() >= 6)
        .collect();
    let running = Node::start();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let directory = temporary();
    let inside = directory.path().join("file");
    fs::write(&inside, "no data").unwrap();
    let file = inside.to_str().unwrap();
    let fresh = |name: &str| NodeBuilder::bare(&directory, &directory.path().join(name));
    for builder in [
        NodeBuilder::bare(&directory, &running.data()),
        NodeBuilder::bare(&directory, &inside.join("below")),
        fresh("a").flags(&["--listen", &taken]),
        fresh("b").flags(&["--config", file]),
        fresh("c").flags(&["--config", "/nowhere"]),
        fresh("d").flags(&["--cores", "0"]),
        fresh("e").flags(&["--join", "127.0.0.1:1"]),
        fresh("f").flags(&["--segment-size", "256KiB"]),
        fresh("g").flags(&["--tls-cert", file]),
        fresh("h").flags(&["--tls-cert", file, "--tls-key", file]),
        fresh("i").flags(&["--root-token-file", file]),
        fresh("j").flags(&["--audit", "/nowhere/audit"]),
        fresh("k").flags(&["--listen", "0.0.0.0:0"]),
        fresh("l").flags(&["--heartbeat", "1s", "--election-timeout", "2s"]),
    ] {
        let failed = builder.fails();
        failed.says(&["changeagent: "]);
        let line = failed.stderr.as_str();
        assert!(messages.iter().any(|message| is_told(line, message)), "no row tells of {line}");
    }
}
