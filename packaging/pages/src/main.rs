//! Writes the manual pages and the shell completions of `changeagent` into a directory, from its command line as the
//! library has it: so the server itself carries neither.

use std::{fs, io, path::Path, process::ExitCode};

use changeagent::cli::CommandLine;
use clap::{Command, CommandFactory};
use clap_complete::Shell;

/// The name of the program.
const PROGRAM: &str = "changeagent";
/// The shells, and the name that each looks for.
const SHELLS: [(Shell, &str); 3] = [
    (Shell::Bash, "changeagent.bash"),
    (Shell::Zsh, "_changeagent"),
    (Shell::Fish, "changeagent.fish"),
];

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(directory), None) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: changeagent-pages DIR");
        return ExitCode::from(2);
    };
    match write(Path::new(&directory)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cannot write to {}: {error}", Path::new(&directory).display());
            ExitCode::FAILURE
        }
    }
}

/// Writes `man/*.1`, a page for each command, and `completions/`, a file for each shell. Files that are there are
/// replaced.
fn write(directory: &Path) -> io::Result<()> {
    let (man, completions) = (directory.join("man"), directory.join("completions"));
    fs::create_dir_all(&man)?;
    fs::create_dir_all(&completions)?;
    clap_mangen::generate_to(command(), &man)?;
    for (shell, name) in SHELLS {
        let mut file = Vec::new();
        clap_complete::generate(shell, &mut command(), PROGRAM, &mut file);
        fs::write(completions.join(name), file)?;
    }
    Ok(())
}

/// The whole command line; `help` needs no pages of its own.
fn command() -> Command {
    CommandLine::command().disable_help_subcommand(true)
}
