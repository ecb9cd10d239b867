//! The README's examples, run as they stand there: what they print is what the
//! README says.

use std::process::Command;

use crate::common::Node;

/// A command of the README and what it is said to print.
struct Example {
    command: String,
    output: String,
}

fn examples() -> Vec<Example> {
    let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let text = std::fs::read_to_string(readme).unwrap();
    let block = text.split("```console\n").nth(1).unwrap().split("```").next().unwrap();
    let mut examples: Vec<Example> = Vec::new();
    for line in block.lines().filter(|line| !line.is_empty()) {
        match line.strip_prefix("$ ") {
            Some(command) => {
                examples.push(Example { command: command.into(), output: String::new() });
            }
            None => examples.last_mut().unwrap().output.push_str(line),
        }
    }
    examples
}

/// The text with every timestamp spelled the same.
fn without_times(text: &str) -> String {
    let mut parts = text.split("\"_ts\":");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out.push_str("\"_ts\":T");
        out.push_str(part.trim_start_matches(|c: char| c.is_ascii_digit()));
    }
    out
}

#[test]
fn the_examples_of_the_readme_print_what_it_says() {
    let node = Node::start();
    let examples = examples();
    assert!(examples.len() >= 8, "the README has examples");
    for Example { command, output } in examples {
        let here = command.replace("127.0.0.1:9000", &node.address().to_string());
        assert_ne!(here, command, "an example that talks to no node: {command}");
        let run = Command::new("sh").args(["-c", &here.replace("curl ", "curl -sS ")]).output();
        let run = run.unwrap();
        let printed = String::from_utf8(run.stdout).unwrap();
        assert!(
            without_times(&printed) == without_times(&output),
            "{command}\nis said to print\n{output}\nbut prints\n{printed}{}",
            String::from_utf8_lossy(&run.stderr)
        );
    }
}
