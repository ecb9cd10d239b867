//! Imports point down, and the crates that do I/O are named only where I/O is
//! done. Test code is bound by the layers too, but may name any crate.

use crate::{
    source::{Named, is_of_tests, module, paths, read_sources},
    tokens::tokens,
};

/// The layers, top first: each may import from those that stand after it.
const LAYERS: [&str; 19] = [
    "cli",
    "server",
    "simulation",
    "serving",
    "fuzzing",
    "api",
    "node",
    "backup",
    "raft",
    "snapshot",
    "feed",
    "checkpoint",
    "state",
    "log",
    "upstream",
    "http",
    "sections",
    "io",
    "base",
];

/// Paths that only some parts of `src/` may name.
const RESERVED: [(&str, &[&str]); 25] = [
    ("openraft", &["raft/"]),
    ("openraft_rt", &["raft/"]),
    ("glommio", &["io/real/uring/"]),
    ("async_task", &["io/real/portable/"]),
    ("io_uring", &["io/real/uring/", "io/real/portable/ring/"]),
    ("memmap2", &["io/real/map.rs", "io/real/output.rs"]),
    ("libc", &["io/", "server/"]),
    ("socket2", &["io/real/", "server/"]),
    ("rustls", &["io/tls/", "server/https.rs"]),
    ("rustls_native_certs", &["io/tls/"]),
    ("rustls_pki_types", &["io/tls/"]),
    ("rcgen", &["cli/tls.rs"]),
    ("ureq", &["cli/", "server/https.rs", "server/introductions.rs", "server/tls.rs"]),
    ("std::fs", &["io/", "server/", "cli/"]),
    ("std::net", &["io/net.rs", "io/real/", "io/tls/", "server/", "cli/tls.rs"]),
    ("std::thread", &["io/", "server/", "cli/"]),
    ("std::time::SystemTime", &["io/", "server/"]),
    ("SystemTime", &["io/", "server/"]),
    ("std::time::Instant::now", &["io/", "server/", "cli/"]),
    ("Instant::now", &["io/", "server/", "cli/"]),
    ("rand::random", &["io/", "cli/"]),
    ("rand::rng", &["io/", "cli/"]),
    ("uuid::Uuid::new_v4", &["cli/"]),
    ("Uuid::new_v4", &["cli/"]),
    ("crate::io::real", &["io/", "server/"]),
];

/// The top module of this crate that a path leads to, if any.
fn target<'a>(named: &'a Named, file: &[&'a str]) -> Option<&'a str> {
    let word = |at: usize| named.path.get(at).map(String::as_str);
    match word(0)? {
        "crate" | "changeagent" => word(1),
        "super" | "self" => {
            let start = usize::from(word(0) == Some("self"));
            let supers = named.path.iter().skip(start).take_while(|word| *word == "super").count();
            // Modules written out in the file are left first.
            let up = supers.saturating_sub(named.within.len());
            (up > 0 && up >= file.len()).then(|| word(start + supers)).flatten()
        }
        _ => None,
    }
}

fn is_test(file: &str, named: &Named) -> bool {
    file.split('/').any(is_of_tests) || named.within.iter().any(|module| is_of_tests(module))
}

/// What a file names and may not.
fn violations(file: &str, text: &str) -> Vec<String> {
    let own = module(file);
    let layer = own.first().and_then(|name| LAYERS.iter().position(|layer| layer == name));
    let mut found = Vec::new();
    for named in paths(&tokens(text)) {
        let path = named.path.join("::");
        let place = format!("src/{file}:{}: {path}", named.line);
        let below =
            target(&named, &own).and_then(|name| LAYERS.iter().position(|layer| *layer == name));
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
    let mut found = Vec::new();
    let mut imports = 0;
    for (file, text) in read_sources() {
        let named = paths(&tokens(&text));
        imports += named.iter().filter(|named| named.path[0] == "crate").count();
        found.extend(violations(&file, &text));
    }
    assert!(imports > 100, "the source was not understood: {imports} imports");
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn every_module_of_the_crate_has_its_layer() {
    let sources = read_sources();
    let mut modules: Vec<_> =
        sources.iter().filter_map(|(file, _)| module(file).first().copied()).collect();
    modules.sort_unstable();
    modules.dedup();
    let mut layers = LAYERS;
    layers.sort_unstable();
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
        ("io/real/disk.rs", "use memmap2::Mmap;"),
        ("node/inbox.rs", "use std::time::Instant; fn f() { Instant::now(); }"),
        ("raft/mod.rs", "use std::time; fn f() { std::time::Instant::now(); }"),
        ("log/mod.rs", "fn f() -> u64 { rand::random() }"),
        ("api/tenants.rs", "use uuid::Uuid; fn f() { Uuid::new_v4(); }"),
        ("node/mod.rs", "use crate::io::real::uring;"),
        ("serving/core.rs", "use glommio::timer::Timer;"),
        ("serving/mod.rs", "use crate::server::Config;"),
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
        ("io/mod.rs", "mod tests { use super::*; use super::simulated; }"),
        (
            "base/ids.rs",
            "// use crate::io;\n/* crate::api::x */ const A: &str = \"crate::api::x\";",
        ),
        ("raft/mod.rs", "use openraft::Raft; use crate::io::{Disk, simulated};"),
        ("server/run.rs", "use crate::{api, raft}; use std::net::TcpListener;"),
        ("io/real/map.rs", "use memmap2::Mmap;"),
        ("raft/simulation/node.rs", "fn f() { rand::random(); }"),
        ("node/inbox.rs", "use std::time::Instant; fn f() -> Instant { cores::now() }"),
        ("base/ids.rs", "fn f<T>(_: T) -> impl Sized + use<T> { crate::base::x() }"),
        ("state/history.rs", "mod tests { fn f() { std::fs::write(); } }"),
        ("cli/tail.rs", "use crate::server::run; use std::{fs, thread};"),
        ("main.rs", "use changeagent::cli::CommandLine;"),
    ] {
        let found = violations(file, text);
        assert!(found.is_empty(), "{found:?}");
    }
}
