//! The examples of the documentation, run as they stand there: what they print
//! is what it says.

use std::{
    collections::BTreeMap,
    net::TcpListener,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use serde_json::Value;
use testkit::{Node, NodeBuilder, PATIENCE, eventually};

/// A command of the documentation and what it is said to print.
struct Example {
    command: String,
    output: String,
}

/// The examples of a file that need no more than a node of their own.
fn examples(file: &str) -> Vec<Example> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    let text = std::fs::read_to_string(path).unwrap();
    // Those of the program itself are run by the tests of its commands, and below.
    examples_of(&text, |block| {
        !["changeagent post", "&\nlistening"].iter().any(|other| block.contains(other))
    })
}

fn examples_of(text: &str, wanted: impl Fn(&str) -> bool) -> Vec<Example> {
    let blocks = text.split("```console\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let blocks = blocks.filter(|block| wanted(block));
    let mut examples: Vec<Example> = Vec::new();
    for line in blocks.flat_map(|block| block.lines()) {
        match line.strip_prefix("$ ") {
            Some(command) => {
                examples.push(Example { command: command.into(), output: String::new() });
            }
            None => {
                let output = &mut examples.last_mut().unwrap().output;
                output.push_str(line);
                output.push('\n');
            }
        }
    }
    examples
}

/// The text with every timestamp and UUID spelled the same, and without white
/// space at its end.
fn comparable(text: &str) -> String {
    let mut parts = text.trim_end().split("\"_ts\":");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out.push_str("\"_ts\":T");
        out.push_str(part.trim_start_matches(|c: char| c.is_ascii_digit()));
    }
    let mut at = 0;
    while at < out.len() {
        match out.get(at..at + 36).filter(|text| uuid::Uuid::try_parse(text).is_ok()) {
            Some(_) => out.replace_range(at..at + 36, "U"),
            None => at += out[at..].chars().next().map_or(1, char::len_utf8),
        }
    }
    out
}

/// Runs the examples of a file on a node of their own.
fn run(file: &str, at_least: usize) {
    let node = Node::start();
    let examples = examples(file);
    assert!(examples.len() >= at_least, "{file} has examples");
    for Example { command, output } in examples {
        let here = command.replace("127.0.0.1:9000", &node.address().to_string());
        assert_ne!(here, command, "an example that talks to no node: {command}");
        let run = Command::new("sh").args(["-c", &here.replace("curl ", "curl -sS ")]).output();
        let run = run.unwrap();
        let printed = String::from_utf8(run.stdout).unwrap();
        assert!(
            comparable(&printed) == comparable(&output),
            "{command}\nis said to print\n{output}\nbut prints\n{printed}{}",
            String::from_utf8_lossy(&run.stderr)
        );
    }
}

#[test]
fn the_examples_of_the_readme_print_what_it_says() {
    run("README.md", 8);
}

#[test]
fn the_examples_of_the_guide_print_what_it_says() {
    run("docs/guide.md", 40);
}

#[test]
fn the_examples_of_the_tutorials_print_what_they_say() {
    run("docs/tutorials.md", 20);
}

/// What a command prints, line by line, with everything that differs each time spelled the same.
fn answers(printed: &str) -> Vec<Value> {
    let lines = printed.lines().filter(|line| !line.is_empty());
    let parsed = lines.map(|line| {
        let mut value: Value =
            serde_json::from_str(&comparable(&line.replace('…', "."))).expect("lines of JSON");
        for member in ["id", "token", "ticket", "expires"] {
            if let Some(there) = value.get_mut(member) {
                *there = member.into();
            }
        }
        value
    });
    parsed.collect()
}

#[test]
fn the_tokens_of_the_guide_do_what_it_says() {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/guide.md"));
    let text = text.unwrap();
    let section = text.split("\n## ").find(|section| section.starts_with("Tokens, ")).unwrap();
    let setup = section.split("```sh\n").nth(1).unwrap().split("```").next().unwrap();
    let (before, after): (Vec<&str>, Vec<&str>) =
        setup.lines().partition(|line| !line.starts_with("root="));
    let (start, before): (Vec<&str>, Vec<&str>) =
        before.into_iter().partition(|line| line.starts_with("changeagent "));
    let directory = testkit::temporary();
    let run = |script: &str| {
        let run = Command::new("sh").args(["-ec", script]).current_dir(directory.path()).output();
        let run = run.unwrap();
        assert!(run.status.success(), "{script}\n{}", String::from_utf8_lossy(&run.stderr));
        String::from_utf8(run.stdout).unwrap()
    };
    run(&before.join("\n"));

    let words = start[0].trim_start_matches("changeagent ").trim_end_matches(" &").split(' ');
    let flags: Vec<String> = words
        .map(|word| match directory.path().join(word) {
            path if path.exists() => path.to_str().unwrap().to_owned(),
            _ => word.to_owned(),
        })
        .collect();
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let node = NodeBuilder::new().flags(&flags).start();

    // The files are there, and what stands in for jq reads a member that is a text.
    let jq = r#"jq() { sed -n "s/.*\"${2#.}\":\"\([^\"]*\)\".*/\1/p" "$3"; }"#;
    let kept = before.into_iter().filter(|line| !line.starts_with("(umask"));
    let kept: Vec<&str> = kept.chain(after).chain([jq]).collect();
    let examples = examples_of(&section.replace("```text", "```console"), |_| true);
    let commands = examples.iter().map(|example| format!("{}\necho\necho @@\n", example.command));
    let script = format!("{}\n{}", kept.join("\n"), commands.collect::<String>());
    let script = script.replace("127.0.0.1:9000", &node.address().to_string());
    let printed = run(&script.replace("curl ", "curl -sS "));
    let printed: Vec<&str> = printed.split("@@\n").collect();
    assert_eq!(printed.len(), examples.len() + 1);
    for (Example { command, output }, printed) in examples.iter().zip(printed) {
        assert_eq!(answers(printed), answers(output), "{command}");
    }
}

/// The cluster of the readme, with addresses of its own in place of those that are
/// written there.
struct Written {
    /// What is written, and what is there; a listener keeps a port that is to be used.
    places: BTreeMap<String, (String, Option<TcpListener>)>,
    nodes: Vec<Option<Node>>,
}

impl Written {
    fn of(examples: &[Example]) -> Self {
        // An address of this process alone: nobody else takes a port of it meanwhile.
        let id = std::process::id();
        let host = format!("127.{}.{}.{}", 64 + (id >> 16 & 63), id >> 8 & 255, id & 255);
        let words = examples.iter().flat_map(|example| example.command.split_whitespace());
        let written = words.filter(|word| word.starts_with("127.0.0.1:"));
        let places = written.map(|place| {
            let listener = TcpListener::bind((host.as_str(), 0)).unwrap();
            let there = listener.local_addr().unwrap().to_string();
            (place.to_owned(), (there, Some(listener)))
        });
        Self { places: places.collect(), nodes: Vec::new() }
    }

    fn here(&self, text: &str) -> String {
        let replace =
            |text: String, (place, (there, _)): (&String, &(String, _))| text.replace(place, there);
        self.places.iter().fold(text.to_owned(), replace)
    }

    fn back(&self, text: &str) -> String {
        let replace =
            |text: String, (place, (there, _)): (&String, &(String, _))| text.replace(there, place);
        self.places.iter().fold(text.to_owned(), replace)
    }

    /// Starts a node as it is written, and waits until it is a member.
    fn start(&mut self, words: &[&str], said: &str) {
        for word in words {
            if let Some((_, listener)) = self.places.get_mut(*word) {
                drop(listener.take());
            }
        }
        let here: Vec<String> = words.iter().map(|word| self.here(word)).collect();
        let flags: Vec<&str> = here.iter().map(String::as_str).collect();
        // Its data directory is one of its own.
        let node = NodeBuilder::new().flags(&flags[2..]).start();
        assert_eq!(self.back(&format!("listening {}\n", node.url())).trim(), said.trim());
        // Connections break while it becomes a member.
        let ask = format!("curl -f {}/ready", node.url());
        self.nodes.push(Some(node));
        eventually("the node is taken in", || self.print(&ask).contains("\"ready\""));
    }

    /// What a command prints.
    fn print(&self, command: &str) -> String {
        let program = Path::new(env!("CARGO_BIN_EXE_changeagent"));
        let first = self.nodes[0].as_ref().map_or_else(String::new, Node::url);
        let others = std::env::var("PATH").unwrap();
        let path = format!("{}:{others}", program.parent().unwrap().display());
        let command = self.here(command).replace("curl ", "curl -sS ");
        let run = Command::new("sh")
            .args(["-c", &command])
            .env("PATH", path)
            .env("CHANGEAGENT_URL", first)
            .output()
            .unwrap();
        self.back(&format!(
            "{}{}",
            String::from_utf8(run.stdout).unwrap(),
            String::from_utf8(run.stderr).unwrap()
        ))
    }
}

/// The text of a table with one space between its cells, and without how far the
/// log goes.
fn cells(table: &str) -> String {
    let row = |line: &str| {
        let cells = line.split_whitespace().enumerate();
        let cells = cells.map(|(n, cell)| if n == 5 { "N" } else { cell });
        cells.collect::<Vec<_>>().join(" ")
    };
    table.lines().map(row).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_cluster_of_the_readme_is_as_it_says() {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md"));
    let text = text.unwrap();
    let section = text.split("\n## ").find(|section| section.starts_with("A cluster\n")).unwrap();
    let examples = examples_of(section, |_| true);
    let mut written = Written::of(&examples);
    for Example { command, output } in &examples {
        let words: Vec<&str> = command.split_whitespace().collect();
        match words[..] {
            ["changeagent", ref flags @ .., "&"] => written.start(flags, output),
            ["kill", "-9", job] => {
                let job: usize = job.trim_start_matches('%').parse().unwrap();
                drop(written.nodes[job - 1].take().expect("it runs").kill());
            }
            ["changeagent", "members", "list"] => {
                // What they are to be, they become.
                let end = Instant::now() + PATIENCE;
                while cells(&written.print(command)) != cells(output) {
                    let printed = written.print(command);
                    assert!(Instant::now() < end, "{command}\nprints\n{printed}");
                    std::thread::sleep(Duration::from_millis(20));
                }
            }
            _ => assert_eq!(comparable(&written.print(command)), comparable(output), "{command}"),
        }
    }
    assert_eq!(written.nodes.len(), 3);
}
