//! Proves the rule of the layers from the source itself: a module imports only
//! from those below it, and the crates that do I/O are named only where I/O is
//! done. Test code is bound by the layers too, but may name any crate.

#[cfg(test)]
mod rule {
    use std::{
        fs,
        path::{Path, PathBuf},
    };

    /// The layers, top first: each may import from those that stand after it.
    const LAYERS: [&str; 11] =
        ["cli", "server", "api", "node", "raft", "feed", "state", "log", "http", "io", "base"];

    /// Paths that only some parts of `src/` may name.
    const RESERVED: [(&str, &[&str]); 12] = [
        ("openraft", &["raft/"]),
        ("openraft_rt", &["raft/"]),
        ("glommio", &["io/", "server/", "raft/runtime/"]),
        ("io_uring", &["io/uring.rs"]),
        ("memmap2", &["io/map.rs"]),
        ("libc", &["io/", "server/"]),
        ("socket2", &["io/real/", "server/"]),
        ("ureq", &["cli/", "server/invitation.rs"]),
        ("std::fs", &["io/", "server/", "cli/"]),
        ("std::net", &["io/net.rs", "io/real/", "server/"]),
        ("std::thread", &["io/", "server/", "raft/runtime/", "cli/"]),
        ("std::time::SystemTime", &["io/", "server/"]),
    ];

    /// One path of a source file, such as `crate::io::Disk`, and its line.
    struct Named {
        path: Vec<String>,
        line: usize,
        /// The modules written out in the file that it stands in.
        within: Vec<String>,
    }

    #[derive(Clone, Debug, PartialEq)]
    enum Token {
        Word(String),
        PathSeparator,
        Mark(u8),
    }

    /// The words and marks of a source text, without comments and literals, each
    /// with its line.
    fn tokens(text: &str) -> Vec<(Token, usize)> {
        let bytes = text.as_bytes();
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80;
        let (mut found, mut at) = (Vec::new(), 0);
        let mut line = 1;
        while let Some(&byte) = bytes.get(at) {
            let rest = &bytes[at..];
            let length = if rest.starts_with(b"//") {
                rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len())
            } else if rest.starts_with(b"/*") {
                block_comment(rest)
            } else if let Some(length) = raw_string(rest) {
                length
            } else if byte == b'"' || rest.starts_with(b"b\"") {
                let open = if byte == b'"' { 1 } else { 2 };
                quoted(rest, open, b'"')
            } else if byte == b'\'' {
                character_or_lifetime(rest)
            } else if is_word(byte) {
                let length = rest.iter().position(|&byte| !is_word(byte)).unwrap_or(rest.len());
                found.push((Token::Word(text[at..at + length].to_owned()), line));
                length
            } else if rest.starts_with(b"::") {
                found.push((Token::PathSeparator, line));
                2
            } else {
                if !byte.is_ascii_whitespace() {
                    found.push((Token::Mark(byte), line));
                }
                1
            };
            line += rest[..length].iter().filter(|&&byte| byte == b'\n').count();
            at += length;
        }
        found
    }

    /// The length of a comment that may hold others.
    fn block_comment(rest: &[u8]) -> usize {
        let (mut depth, mut at) = (0, 0);
        while at < rest.len() {
            match &rest[at..] {
                [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
                [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
                _ => at += 1,
            }
            if depth == 0 {
                break;
            }
        }
        at
    }

    /// The length of a string such as `r#"…"#`, if there is one.
    fn raw_string(rest: &[u8]) -> Option<usize> {
        let prefix = if rest.starts_with(b"br") { 2 } else { usize::from(rest.starts_with(b"r")) };
        let hashes = rest.get(prefix..)?.iter().take_while(|&&byte| byte == b'#').count();
        let open = prefix + hashes;
        if prefix == 0 || rest.get(open) != Some(&b'"') {
            return None;
        }
        let mut close = vec![b'"'];
        close.resize(1 + hashes, b'#');
        let end = rest[open + 1..].windows(close.len()).position(|window| window == close)?;
        Some(open + 1 + end + close.len())
    }

    /// The length of a literal that starts with `open` bytes and ends with
    /// `quote`.
    fn quoted(rest: &[u8], open: usize, quote: u8) -> usize {
        let mut at = open;
        while at < rest.len() && rest[at] != quote {
            at += if rest[at] == b'\\' { 2 } else { 1 };
        }
        (at + 1).min(rest.len())
    }

    /// The length of `'x'`, or of the quote alone before a lifetime's name.
    fn character_or_lifetime(rest: &[u8]) -> usize {
        let text = String::from_utf8_lossy(&rest[1..rest.len().min(8)]).into_owned();
        let mut chars = text.chars();
        match (chars.next(), chars.next()) {
            (Some('\\'), _) => quoted(rest, 1, b'\''),
            (Some(char), Some('\'')) => 2 + char.len_utf8(),
            _ => 1,
        }
    }

    /// Every path in a source text, those of `use` trees written out in full.
    fn paths(text: &str) -> Vec<Named> {
        let tokens = tokens(text);
        let mut found = Vec::new();
        // Of each open brace, the module that it is of.
        let mut braces: Vec<Option<String>> = Vec::new();
        let mut at = 0;
        while let Some((token, line)) = tokens.get(at) {
            let mut add = |path| {
                let within = braces.iter().flatten().cloned().collect();
                found.push(Named { path, line: *line, within });
            };
            match token {
                // `use<…>` names what a type captures.
                Token::Word(word)
                    if word == "use"
                        && !matches!(tokens.get(at + 1), Some((Token::Mark(b'<'), _))) =>
                {
                    at += 1;
                    // What an opaque type captures is no import.
                    if tokens.get(at).is_some_and(|(token, _)| *token == Token::Mark(b'<')) {
                        continue;
                    }
                    if tokens.get(at).is_some_and(|(token, _)| *token == Token::PathSeparator) {
                        at += 1;
                    }
                    use_tree(&tokens, &mut at, &[], &mut add);
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
                        add(path);
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
        add: &mut impl FnMut(Vec<String>),
    ) {
        let mut path = prefix.to_vec();
        loop {
            match tokens.get(*at).map(|(token, _)| token) {
                Some(Token::Word(word)) if word == "as" => *at += 2,
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
                    add(path);
                    return;
                }
            }
        }
    }

    fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }

    /// The modules that a file below `src/` stands for: `api/json/mod.rs` is
    /// `api`, `json`.
    fn module(file: &str) -> Vec<&str> {
        let mut parts: Vec<&str> = file.trim_end_matches(".rs").split('/').collect();
        if matches!(parts.last(), Some(&("mod" | "lib" | "main"))) {
            parts.pop();
        }
        parts
    }

    /// The top module of this crate that a path leads to, if any.
    fn target<'a>(named: &'a Named, file: &[&'a str]) -> Option<&'a str> {
        let word = |at: usize| named.path.get(at).map(String::as_str);
        match word(0)? {
            "crate" | "changeagent" => word(1),
            "super" | "self" => {
                let start = usize::from(word(0) == Some("self"));
                let supers =
                    named.path.iter().skip(start).take_while(|word| *word == "super").count();
                // Modules written out in the file are left first.
                let up = supers.saturating_sub(named.within.len());
                (up > 0 && up >= file.len()).then(|| word(start + supers)).flatten()
            }
            _ => None,
        }
    }

    fn is_test(file: &str, named: &Named) -> bool {
        let of_tests = |part: &str| {
            matches!(part, "tests" | "tests.rs" | "testing.rs") || part.ends_with("_tests.rs")
        };
        file.split('/').any(of_tests) || named.within.iter().any(|module| of_tests(module))
    }

    /// What a file names and may not.
    fn violations(file: &str, text: &str) -> Vec<String> {
        let own = module(file);
        let layer = own.first().and_then(|name| LAYERS.iter().position(|layer| layer == name));
        let mut found = Vec::new();
        for named in paths(text) {
            let path = named.path.join("::");
            let place = format!("src/{file}:{}: {path}", named.line);
            let below = target(&named, &own)
                .and_then(|name| LAYERS.iter().position(|layer| *layer == name));
            if let (Some(layer), Some(below)) = (layer, below)
                && below < layer
            {
                let (low, high) = (LAYERS[layer], LAYERS[below]);
                found.push(format!("{place}: {low} stands below {high}"));
            }
            for (reserved, places) in RESERVED {
                let names = path == reserved || path.starts_with(&format!("{reserved}::"));
                let allowed = places.iter().any(|place| file.starts_with(place));
                if names && !allowed && !is_test(file, &named) {
                    found.push(format!("{place}: only {places:?} may name {reserved}"));
                }
            }
        }
        found
    }

    #[test]
    fn imports_point_down_and_io_stays_where_it_is_done() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut files = Vec::new();
        sources(&root, &mut files);
        files.sort();
        let mut found = Vec::new();
        let mut imports = 0;
        for path in &files {
            let file = path.strip_prefix(&root).unwrap().to_str().unwrap();
            let text = fs::read_to_string(path).unwrap();
            imports += paths(&text).iter().filter(|named| named.path[0] == "crate").count();
            found.extend(violations(file, &text));
        }
        assert!(imports > 100, "the source was not understood: {imports} imports");
        assert!(found.is_empty(), "\n{}", found.join("\n"));
    }

    #[test]
    fn every_module_of_the_crate_has_its_layer() {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut modules: Vec<_> = fs::read_dir(source)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| !matches!(name.as_str(), "lib.rs" | "main.rs"))
            .map(|name| name.trim_end_matches(".rs").to_owned())
            .collect();
        let mut layers = LAYERS.map(str::to_owned);
        modules.sort();
        layers.sort();
        assert_eq!(modules, layers);
    }

    #[test]
    fn what_breaks_the_rule_is_found() {
        for (file, text) in [
            ("base/ids.rs", "use crate::io::Disk;"),
            ("log/mod.rs", "use crate::{base::ids, api::error::Code};"),
            ("http/head.rs", "fn f() { crate::api::error::Code::ALL; }"),
            ("http/head.rs", "use super::super::api::Api;"),
            ("io/mod.rs", "use super::server::run;"),
            ("server/run.rs", "use crate::cli::CommandLine;"),
            ("io/mod.rs", "mod x { use super::super::server; }"),
            ("feed/mod.rs", "const A: char = '\"'; use crate::node::Handle; // \""),
            ("feed/mod.rs", "fn f<'a>(_: &'a crate::node::Handle) {}"),
            ("state/mod.rs", "/* /* */ */ r#\"\"# ; use crate::raft;"),
            ("node/mod.rs", "use openraft::Raft;"),
            ("api/mod.rs", "fn f() { glommio::executor(); }"),
            ("io/glommio.rs", "use memmap2::Mmap;"),
            ("http/mod.rs", "use std::{io, net::TcpStream};"),
            ("main.rs", "fn main() { openraft::run(); }"),
        ] {
            assert_eq!(violations(file, text).len(), 1, "{file}: {text}");
        }
    }

    #[test]
    fn what_keeps_the_rule_is_let_be() {
        for (file, text) in [
            ("api/mod.rs", "use crate::{base::ids, node::Handle as Node}; use super::api::x;"),
            ("api/json/mod.rs", "use super::super::error; use super::error;"),
            ("io/mod.rs", "mod tests { use super::*; use super::sim; }"),
            (
                "base/ids.rs",
                "// use crate::io;\n/* crate::api::x */ const A: &str = \"crate::api::x\";",
            ),
            ("raft/mod.rs", "use openraft::Raft; use crate::io::{glommio::Disk, sim};"),
            (
                "server/run.rs",
                "use crate::{api, raft}; use glommio::Task; use std::net::TcpListener;",
            ),
            ("io/map.rs", "use memmap2::Mmap;"),
            ("base/ids.rs", "fn f<T>(_: T) -> impl Sized + use<T> { crate::base::x() }"),
            ("state/history.rs", "mod tests { fn f() { std::fs::write(); } }"),
            ("cli/tail.rs", "use crate::server::run; use std::{fs, thread};"),
            ("main.rs", "use changeagent::cli::CommandLine;"),
        ] {
            let found = violations(file, text);
            assert!(found.is_empty(), "{found:?}");
        }
    }
}
