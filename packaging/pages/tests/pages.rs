//! Each command has its manual page, and each shell its words.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use changeagent::cli::CommandLine;
use clap::CommandFactory;

/// The name of the page of each command below `command`, its own first.
fn pages(command: &clap::Command, name: &str) -> Vec<String> {
    let below = command.get_subcommands();
    let below = below.flat_map(|one| pages(one, &format!("{name}-{}", one.get_name())));
    std::iter::once(format!("{name}.1")).chain(below).collect()
}

/// What is installed here takes a file that was made; without it that is not asked.
fn is_taken_by(program: &str, arguments: &[&str], path: &Path) {
    match Command::new(program).args(arguments).arg(path).stdout(Stdio::null()).output() {
        Err(error) => eprintln!("{program} is not asked: {error}"),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() && said.is_empty(), "{}: {said}", path.display());
        }
    }
}

fn run(arguments: &[&Path]) -> Option<i32> {
    let status = Command::new(env!("CARGO_BIN_EXE_changeagent-pages")).args(arguments).status();
    status.expect("the program starts").code()
}

#[test]
fn every_command_has_a_page_that_can_be_set_and_every_shell_its_words() {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(run(&[directory.path()]), Some(0));
    let pages = pages(&CommandLine::command(), "changeagent");
    assert!(pages.len() > 20 && pages.contains(&"changeagent-members-list.1".to_owned()));
    let man = directory.path().join("man");
    assert_eq!(fs::read_dir(&man).unwrap().count(), pages.len());
    for page in &pages {
        assert!(fs::read_to_string(man.join(page)).unwrap().contains(".SH NAME"), "{page}");
    }
    is_taken_by("groff", &["-man", "-ww", "-Tutf8"], &man.join("changeagent.1"));
    let serve = fs::read_to_string(man.join("changeagent.1")).unwrap();
    assert!(serve.contains("CHANGEAGENT_SEGMENT_SIZE"), "variables are told");

    let completions = directory.path().join("completions");
    for name in ["changeagent.bash", "_changeagent", "changeagent.fish"] {
        let words = fs::read_to_string(completions.join(name)).unwrap();
        assert!(words.contains("self-signed") && words.contains("segment-size"), "{name}");
    }
    is_taken_by("bash", &["-n"], &completions.join("changeagent.bash"));
}

#[test]
fn wrong_usage_and_a_place_that_cannot_be_written_are_told_apart() {
    assert_eq!(run(&[]), Some(2));
    assert_eq!(run(&[Path::new("a"), Path::new("b")]), Some(2));
    assert_eq!(run(&[Path::new("/dev/null/pages")]), Some(1));
}
