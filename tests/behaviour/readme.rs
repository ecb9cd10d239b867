//! The examples of the documentation, run as they stand there: what they print
//! is what it says.

use std::process::Command;

use crate::common::Node;

/// A command of the documentation and what it is said to print.
struct Example {
    command: String,
    output: String,
}

fn examples(file: &str) -> Vec<Example> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    let text = std::fs::read_to_string(path).unwrap();
    let blocks = text.split("```console\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    // Those of the program itself are run by the tests of its commands.
    let blocks = blocks.filter(|block| !block.contains("changeagent post"));
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
