//! No file stands in a circle of files that need each other.
//!
//! A file needs another when it names something of it by a path, `use` lines
//! above all: what a module only hands on (`pub use`) is traced to where it
//! stands. It also needs another when the methods of one type stand in both, and
//! a method here calls one there by `self.name(…)` or `Self::name(…)`: no import
//! shows that. A method that is called on something else than `self` is not
//! followed; whoever has such a value has it from an import nearly always.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    source::{Named, is_of_tests, module, paths, read_sources, without_tests},
    tokens::{Token, tokens},
};

/// Circles that stay, each by one of its files, and why.
const KNOWN: &[(&str, &str)] = &[];

/// The files of the program and what they name.
struct Sources {
    /// By the modules that they stand for, joined by `::`.
    files: BTreeMap<String, File>,
}

/// What one file names and implements.
struct File {
    name: String,
    named: Vec<Named>,
    impls: Vec<Impl>,
}

/// An `impl` block.
struct Impl {
    /// The name of its type.
    of: String,
    methods: BTreeSet<String>,
    /// Methods that it calls on its own type.
    calls: BTreeSet<String>,
}

/// From the file that needs to the one that is needed, with the names.
type Needs = BTreeMap<String, BTreeMap<String, BTreeSet<String>>>;

impl Sources {
    fn new(sources: &[(String, String)]) -> Self {
        let mut files = BTreeMap::new();
        let mut tests = Vec::new();
        for (file, text) in sources.iter().filter(|(file, _)| file != "main.rs") {
            let own = module(file).join("::");
            let mut left_out = Vec::new();
            let tokens = without_tests(&tokens(text), &mut left_out);
            tests.extend(left_out.into_iter().map(|name| format!("{own}::{name}")));
            let file = File { name: file.clone(), named: paths(&tokens), impls: impls(&tokens) };
            files.insert(own, file);
        }
        files.retain(|own, file| {
            let within = |test: &String| own == test || own.starts_with(&format!("{test}::"));
            !tests.iter().any(within) && !file.name.split('/').any(is_of_tests)
        });
        Self { files }
    }

    /// The module of the file that a path leads to, which stands in that of `from`.
    fn resolve(&self, from: &str, named: &Named, depth: usize) -> Option<String> {
        let mut words = named.path.iter().map(String::as_str).peekable();
        let mut at: Vec<&str> = from.split("::").filter(|part| !part.is_empty()).collect();
        let first = *words.peek()?;
        let mut inside = named.within.len();
        match first {
            "crate" | "changeagent" => {
                at.clear();
                words.next();
            }
            "super" | "self" => {
                while let Some(word) = words.next_if(|word| matches!(*word, "super" | "self")) {
                    match (word, inside) {
                        ("self", _) => {}
                        (_, 0) => drop(at.pop()),
                        _ => inside -= 1,
                    }
                }
            }
            _ if self.files.contains_key(&join(&at, first)) => {}
            // What a name stands for that was imported.
            _ => {
                let import = self.import(from, first, named)?;
                let module = self.resolve(from, import, depth.checked_sub(1)?)?;
                return (module != from).then_some(module);
            }
        }
        let mut at = at.join("::");
        for word in words {
            let below = if at.is_empty() { word.to_owned() } else { format!("{at}::{word}") };
            if self.files.contains_key(&below) {
                at = below;
            } else if let Some(import) = self.import(&at, word, named) {
                return self.resolve(&at, import, depth.checked_sub(1)?).or(Some(at));
            } else {
                break;
            }
        }
        self.files.contains_key(&at).then_some(at)
    }

    /// What the file of a module imports under that name.
    fn import(&self, module: &str, name: &str, besides: &Named) -> Option<&Named> {
        let found = |named: &&Named| named.name.as_deref() == Some(name);
        let import = self.files.get(module)?.named.iter().find(found)?;
        (!std::ptr::eq(import, besides)).then_some(import)
    }

    fn needs(&self) -> Needs {
        const DEPTH_MAX: usize = 8;
        let mut needs = Needs::new();
        let mut add = |from: &File, to: &str, name: &str| {
            let to = &self.files[to].name;
            if from.name != *to && to != "lib.rs" {
                let names = needs.entry(from.name.clone()).or_default();
                names.entry(to.clone()).or_default().insert(name.to_owned());
            }
        };
        for (own, file) in &self.files {
            for named in &file.named {
                if let Some(to) = self.resolve(own, named, DEPTH_MAX) {
                    add(file, &to, &named.path.join("::"));
                }
            }
        }
        let methods = self.methods();
        for (own, file) in &self.files {
            for of in &file.impls {
                let type_name = self.type_of(own, &of.of);
                for method in &of.calls {
                    let defined = methods.get(&(type_name.clone(), method.clone()));
                    for to in defined.into_iter().flatten() {
                        add(file, to, &format!("self.{method}()"));
                    }
                }
            }
        }
        needs
    }

    /// Where a type stands that a file calls by that name, and its name.
    fn type_of(&self, module: &str, name: &str) -> String {
        let named = Named { path: vec![name.to_owned()], line: 0, within: Vec::new(), name: None };
        let place = self.resolve(module, &named, 8).unwrap_or_else(|| module.to_owned());
        let import = self.import(module, name, &named);
        let name = import.and_then(|import| import.path.last()).map_or(name, String::as_str);
        format!("{place}::{name}")
    }

    /// The modules in which each method of each type is defined.
    fn methods(&self) -> BTreeMap<(String, String), BTreeSet<String>> {
        let mut found: BTreeMap<_, BTreeSet<String>> = BTreeMap::new();
        for (own, file) in &self.files {
            for of in &file.impls {
                let of_type = self.type_of(own, &of.of);
                for method in &of.methods {
                    let method = (of_type.clone(), method.clone());
                    found.entry(method).or_default().insert(own.clone());
                }
            }
        }
        found
    }
}

fn join(at: &[&str], word: &str) -> String {
    let mut at = at.to_vec();
    at.push(word);
    at.join("::")
}

/// The `impl` blocks of a file.
fn impls(tokens: &[(Token, usize)]) -> Vec<Impl> {
    let mut found = Vec::new();
    for at in 0..tokens.len() {
        let starts = match at.checked_sub(1).map(|before| &tokens[before].0) {
            None | Some(Token::Mark(b'}' | b';' | b']' | b'{')) => true,
            Some(Token::Word(word)) => word == "unsafe",
            _ => false,
        };
        if starts && is_word(tokens, at, "impl") {
            found.extend(impl_block(tokens, at + 1));
        }
    }
    found
}

fn is_word(tokens: &[(Token, usize)], at: usize, wanted: &str) -> bool {
    matches!(tokens.get(at), Some((Token::Word(word), _)) if word == wanted)
}

/// The `impl` block of which the tokens from `at` on follow the word `impl`.
fn impl_block(tokens: &[(Token, usize)], mut at: usize) -> Option<Impl> {
    let mut of = String::new();
    let mut angles = 0;
    loop {
        match &tokens.get(at)?.0 {
            Token::Mark(b'<') => angles += 1,
            // Not that of `->`.
            Token::Mark(b'>') if tokens[at - 1].0 != Token::Mark(b'-') => angles -= 1,
            Token::Mark(b'{') if angles == 0 => break,
            Token::Word(word) if angles == 0 && word == "where" => {
                while tokens.get(at)?.0 != Token::Mark(b'{') {
                    at += 1;
                }
                break;
            }
            Token::Word(word) if angles == 0 && word != "for" => of = word.clone(),
            _ => {}
        }
        at += 1;
    }
    let (mut methods, mut calls) = (BTreeSet::new(), BTreeSet::new());
    let mut depth = 0;
    loop {
        match &tokens.get(at)?.0 {
            Token::Mark(b'{') => depth += 1,
            Token::Mark(b'}') => depth -= 1,
            Token::Word(word) if word == "fn" && depth == 1 => {
                if let Some((Token::Word(name), _)) = tokens.get(at + 1) {
                    methods.insert(name.clone());
                }
            }
            Token::Word(word) if matches!(word.as_str(), "self" | "Self") => {
                let called = match (&tokens.get(at + 1)?.0, &tokens.get(at + 2)?.0) {
                    (Token::Mark(b'.') | Token::PathSeparator, Token::Word(name)) => Some(name),
                    _ => None,
                };
                let calls_it =
                    matches!(tokens.get(at + 3)?.0, Token::Mark(b'(') | Token::PathSeparator);
                if let Some(name) = called.filter(|_| calls_it) {
                    calls.insert(name.clone());
                }
            }
            _ => {}
        }
        at += 1;
        if depth == 0 {
            return Some(Impl { of, methods, calls });
        }
    }
}

/// The circles: the files of each.
fn circles(needs: &Needs) -> Vec<BTreeSet<&str>> {
    let reached = |from: &str| {
        let mut reached = BTreeSet::new();
        let mut open = vec![from.to_owned()];
        while let Some(at) = open.pop() {
            for to in needs.get(&at).into_iter().flat_map(BTreeMap::keys) {
                if reached.insert(to.as_str()) {
                    open.push(to.clone());
                }
            }
        }
        reached
    };
    let reached: BTreeMap<&str, BTreeSet<&str>> =
        needs.keys().map(|from| (from.as_str(), reached(from))).collect();
    let mut found: Vec<BTreeSet<&str>> = Vec::new();
    for (from, there) in &reached {
        if !there.contains(from) || found.iter().any(|circle| circle.contains(from)) {
            continue;
        }
        let back = |to: &&&str| reached.get(**to).is_some_and(|back| back.contains(from));
        found.push(there.iter().filter(back).copied().collect());
    }
    found
}

/// What ties the files of a circle together.
fn ties(needs: &Needs, circle: &BTreeSet<&str>) -> String {
    let mut text = format!("{} files need each other:\n", circle.len());
    for from in circle {
        for (to, names) in needs[*from].iter().filter(|(to, _)| circle.contains(to.as_str())) {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            text += &format!("  {from} -> {to}: {}\n", names.join(", "));
        }
    }
    text
}

#[test]
fn no_file_stands_in_a_circle() {
    let sources = Sources::new(&read_sources());
    let needs = sources.needs();
    let arrows: usize = needs.values().map(BTreeMap::len).sum();
    assert!(arrows > 500, "the source was not understood: {arrows} arrows");
    let circles = circles(&needs);
    let known = |circle: &&BTreeSet<&str>| KNOWN.iter().any(|(file, _)| circle.contains(file));
    let new: Vec<String> =
        circles.iter().filter(|circle| !known(circle)).map(|circle| ties(&needs, circle)).collect();
    assert!(new.is_empty(), "\n{}", new.join("\n"));
    let stale = stale(KNOWN, &circles);
    assert!(stale.is_empty(), "no circle any more, to be taken out of KNOWN: {stale:?}");
}

/// The files that are known to be in a circle and are in none.
fn stale<'a>(known: &[(&'a str, &str)], circles: &[BTreeSet<&str>]) -> Vec<&'a str> {
    let files = known.iter().map(|(file, _)| *file);
    files.filter(|file| !circles.iter().any(|circle| circle.contains(file))).collect()
}

#[test]
fn a_circle_that_is_known_and_gone_is_found() {
    let circles = [BTreeSet::from(["a/x.rs", "a/y.rs"])];
    let known = [("a/y.rs", "stays"), ("a/z.rs", "stays")];
    assert_eq!(stale(&known, &circles), ["a/z.rs"]);
}

/// The circles of such files.
fn found(sources: &[(&str, &str)]) -> Vec<Vec<String>> {
    let owned = |(file, text): &(&str, &str)| ((*file).to_owned(), (*text).to_owned());
    let needs = Sources::new(&sources.iter().map(owned).collect::<Vec<_>>()).needs();
    let named = |circle: BTreeSet<&str>| circle.into_iter().map(str::to_owned).collect();
    circles(&needs).into_iter().map(named).collect()
}

#[test]
fn what_stands_in_a_circle_is_found() {
    for (about, sources) in [
        (
            "imports",
            [
                ("a/mod.rs", "mod x; mod y;"),
                ("a/x.rs", "use super::y::Y;"),
                ("a/y.rs", "fn f() { crate::a::x::g(); }"),
            ],
        ),
        (
            "through what a module hands on",
            [
                ("a/mod.rs", "mod x; mod y; pub use x::X as Z; pub use y::Y;"),
                ("a/x.rs", "use super::Y;"),
                ("a/y.rs", "use crate::a::Z;"),
            ],
        ),
        (
            "methods of one type",
            [
                ("a/mod.rs", "mod x; mod y; struct Api;"),
                ("a/x.rs", "use super::Api; impl Api { fn f(&self) { self.g() } }"),
                ("a/y.rs", "use super::Api; impl Api { fn g(&self) { Self::f(self) } }"),
            ],
        ),
        (
            "a trait of one type",
            [
                ("a/mod.rs", "mod x; mod y; struct Api<T>(T);"),
                ("a/x.rs", "use super::Api as A; impl<T: Sized> A<T> { fn f(&self) { self.g() } }"),
                (
                    "a/y.rs",
                    "use super::Api; impl<T> Fly for Api<T> where T: Sized { fn g(&self) { self.f() } }",
                ),
            ],
        ),
        (
            "by the name of a module",
            [
                ("a/mod.rs", "mod x; mod y;"),
                ("a/x.rs", "use super::y; fn f() { y::g() }"),
                ("a/y.rs", "mod inner { use super::super::x::f; }"),
            ],
        ),
    ] {
        assert_eq!(found(&sources), [["a/x.rs", "a/y.rs"]], "{about}");
    }
}

#[test]
fn a_parent_that_uses_what_uses_it_is_in_a_circle() {
    let sources = [("a/mod.rs", "mod x; use x::f; struct S;"), ("a/x.rs", "use super::S;")];
    assert_eq!(found(&sources), [["a/mod.rs", "a/x.rs"]]);
}

#[test]
fn what_points_one_way_is_let_be() {
    for sources in [
        // A module that hands on is not in the way.
        [
            ("a/mod.rs", "mod x; mod y; pub use x::X; pub use y::Y;"),
            ("a/x.rs", "use super::Y;"),
            ("a/y.rs", "pub struct Y;"),
        ],
        // Tests may look back.
        [
            ("a/mod.rs", "mod x; mod y;"),
            ("a/x.rs", "use super::y::Y; #[cfg(any(test, feature = \"x\"))] use super::y::Z;"),
            (
                "a/y.rs",
                "#[cfg(test)] mod tests { use super::super::x::X; } fn f(#[cfg(test)] x: X) {}",
            ),
        ],
        [
            ("a/mod.rs", "mod x; #[cfg(test)] mod y; use x::f;"),
            ("a/x.rs", "fn f() {}"),
            ("a/y.rs", "use super::f; use super::g;"),
        ],
        // Methods of one name of two types.
        [
            ("a/mod.rs", "mod x; mod y;"),
            (
                "a/x.rs",
                "use super::y::Y; struct X; impl X { fn f(&self) { self.g() } fn g(&self) {} }",
            ),
            ("a/y.rs", "struct Y; impl Y { fn g(&self) { self.f() } fn f(&self) {} }"),
        ],
    ] {
        assert!(found(&sources).is_empty(), "{:?}", found(&sources));
    }
}
