//! The documents hold together: each relative link leads to a file, and to a heading of it where it
//! names one; and the book of docs/ names every page.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Component, Path, PathBuf},
};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every document of the project, by its path within it.
fn documents() -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root().join(&folder)).unwrap() {
            let entry = entry.unwrap();
            let (name, path) = (entry.file_name(), folder.join(entry.file_name()));
            let is_made = ["target", ".git", "node_modules"].iter().any(|made| name == *made);
            if entry.file_type().unwrap().is_dir() && !is_made {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                found.insert(path.clone(), fs::read_to_string(root().join(&path)).unwrap());
            }
        }
    }
    found
}

/// The lines of a document that are no code.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut in_code = false;
    text.lines().filter(move |line| {
        let is_fence = line.trim_start().starts_with("```");
        in_code ^= is_fence;
        !in_code && !is_fence
    })
}

/// What links to a heading name it by: its words in small letters, joined by dashes.
fn slug(heading: &str) -> String {
    let kept = heading.trim().chars().filter_map(|c| match c {
        ' ' => Some('-'),
        '-' | '_' => Some(c),
        c if c.is_alphanumeric() => Some(c),
        _ => None,
    });
    kept.collect::<String>().to_lowercase()
}

/// The anchors of a document.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut counts = BTreeMap::new();
    let headings = prose(text).filter(|line| line.starts_with('#'));
    let mut found = BTreeSet::new();
    for heading in headings {
        let slug = slug(heading.trim_start_matches('#'));
        let count = counts.entry(slug.clone()).or_insert(0);
        found.insert(if *count == 0 { slug } else { format!("{slug}-{count}") });
        *count += 1;
    }
    found
}

/// What the links of a document lead to, but those to other sites.
fn links(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in prose(text) {
        // What stands between backquotes is no link.
        let plain: String = line.split('`').step_by(2).collect::<Vec<_>>().join("`");
        for rest in plain.split("](").skip(1) {
            let target = rest.split(')').next().unwrap_or_default();
            let target = target.split(' ').next().unwrap_or_default();
            if !target.contains("://") && !target.starts_with("mailto:") {
                found.push(target.to_owned());
            }
        }
    }
    found
}

/// A path without `..`, within the project.
fn normal(path: &Path) -> Option<PathBuf> {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => normal.pop().then_some(())?,
            Component::Normal(name) => normal.push(name),
            _ => {}
        }
    }
    Some(normal)
}

/// What is wrong with a link, if anything is.
fn complaint(documents: &BTreeMap<PathBuf, String>, from: &Path, link: &str) -> Option<String> {
    let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
    let to = match path {
        "" => from.to_owned(),
        path => match normal(&from.parent().unwrap().join(path)) {
            Some(to) => to,
            None => return Some("it leads out of the project".into()),
        },
    };
    if !root().join(&to).exists() {
        return Some(format!("there is no {}", to.display()));
    }
    if anchor.is_empty() {
        return None;
    }
    let text = documents.get(&to)?;
    let known = anchors(text);
    (!known.contains(anchor)).then(|| format!("{} has no heading {anchor}", to.display()))
}

#[test]
fn every_link_leads_somewhere() {
    let documents = documents();
    let (mut count, mut wrong) = (0, Vec::new());
    for (from, text) in &documents {
        for link in links(text) {
            count += 1;
            if let Some(why) = complaint(&documents, from, &link) {
                wrong.push(format!("{}: {link}: {why}", from.display()));
            }
        }
    }
    assert!(count > 100, "{count}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_book_names_every_page() {
    let documents = documents();
    let book = Path::new("docs/SUMMARY.md");
    let named: Vec<_> = links(&documents[book])
        .iter()
        .map(|link| normal(&Path::new("docs").join(link)).unwrap())
        .collect();
    for path in documents.keys() {
        let is_page = path.starts_with("docs") && path != book;
        let count = named.iter().filter(|one| *one == path).count();
        assert!(count <= 1, "{} stands twice in the book", path.display());
        assert!(count == 1 || !is_page, "the book does not name {}", path.display());
    }
}

#[test]
fn what_leads_nowhere_is_found() {
    let page = "# A page\n[there](b.md) [not](c.md) `[no](link.md)`\n```\n[code](d.md)\n# no heading\n```\n## It's `so`, _so_\n## A page\n";
    assert_eq!(links(page), ["b.md", "c.md"]);
    let known = anchors(page);
    assert!(known.iter().eq(["a-page", "a-page-1", "its-so-_so_"]), "{known:?}");
    let documents = BTreeMap::from([(PathBuf::from("docs/guide.md"), page.to_owned())]);
    let complaint = |link| complaint(&documents, Path::new("docs/guide.md"), link);
    assert_eq!(complaint("#a-page"), None);
    assert_eq!(complaint("../README.md"), None);
    assert!(complaint("#another").is_some_and(|why| why.contains("no heading")));
    assert!(complaint("nowhere.md").is_some_and(|why| why.contains("there is no")));
    assert!(complaint("../../else.md").is_some_and(|why| why.contains("out of the project")));
}
