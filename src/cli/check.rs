//! `changeagent check`: verifies a data directory that no node uses.

use std::{
    io::{self, Write},
    path::PathBuf,
};

use bytesize::ByteSize;
use clap::Args;

use super::failure::Failure;
use crate::{
    log::Verified,
    node::replica::{Checked, Damage, Sound},
    server::{self, ExecutorChoice},
};

/// What to verify.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The data directory
    #[arg(long, env = "CHANGEAGENT_DATA", value_name = "DIR", default_value = "./data")]
    data: PathBuf,
    /// What to run on: auto takes io-uring where the system allows it, else portable
    #[arg(long, env = "CHANGEAGENT_EXECUTOR", value_name = "KIND", default_value = "auto")]
    executor: ExecutorChoice,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let name = arguments.data.display().to_string();
    let checked = server::check(&arguments.data, arguments.executor);
    match checked.map_err(|error| Failure::Other(error.to_string()))? {
        Checked::Sound(sound) => {
            say(&about_sound(&name, &sound))?;
            match (&sound.halted, &sound.backup, &sound.spoiled) {
                (Some(why), ..) => {
                    Err(Failure::Other(format!("{name}: no node starts on it: {why}")))
                }
                (None, Some(backup), _) if backup.entry.is_none() => Err(Failure::Other(format!(
                    "{name}: the backup was never completed: run it again, to the same place"
                ))),
                (None, _, Some((file, fault))) => Err(Failure::Other(format!(
                    "{name}: {file}: {fault}; nothing is lost: remove that file, and the next \
                     start makes anew what it needs"
                ))),
                _ => Ok(()),
            }
        }
        Checked::Damaged(damage) => {
            say(&about_damage(&damage))?;
            Err(Failure::Other(format!("{name}: {}", damage.error)))
        }
    }
}

fn say(lines: &[String]) -> Result<(), Failure> {
    let text = lines.join("\n") + "\n";
    io::stdout().lock().write_all(text.as_bytes()).map_err(Failure::output)
}

fn about_sound(name: &str, sound: &Sound) -> Vec<String> {
    let Sound { log, checkpoint, changes: (last, first), committed, backup, .. } = sound;
    let Verified { cluster, node, segments, bytes, .. } = log;
    let held = match first <= last {
        true => format!("changes {first} to {last}"),
        false => "no change".to_owned(),
    };
    let bytes = ByteSize(*bytes);
    let whose = match backup {
        Some(_) => format!("a backup of cluster {cluster}"),
        None => format!("node {node} of cluster {cluster}"),
    };
    let mut lines = vec![
        format!("the log in {name} is sound: {whose}"),
        format!("{segments} segments of {bytes} in all, {held}"),
    ];
    if let Some(id) = log.last {
        let behind = id.index - committed.map_or(0, |id| id.index).min(id.index);
        lines.push(format!(
            "last entry {} of term {}; {behind} at the end are not known to be committed",
            id.index, id.term
        ));
    }
    if let Some(checkpoint) = checkpoint {
        let bytes = ByteSize(checkpoint.bytes);
        lines.push(format!("checkpoint {} of {bytes}", checkpoint.name));
    }
    if let Some((file, offset)) = &log.torn {
        lines.push(format!(
            "{file} ends at byte {offset} in a write that was cut short; a start removes that"
        ));
    }
    lines
}

fn about_damage(damage: &Damage) -> Vec<String> {
    let Damage { sound: (entry, change), behind, .. } = damage;
    let mut lines = Vec::new();
    if let Some(entry) = entry {
        lines.push(format!("sound: entries up to {}, changes up to {change}", entry.index));
    }
    if let Some((behind, changes)) = behind {
        lines.push(format!(
            "lost if the log is cut there: {} in {} segments, of which {} entries with {changes} \
             changes at most can be read",
            ByteSize(behind.bytes),
            behind.segments,
            behind.entries
        ));
    }
    let mend = match damage.is_backup {
        true => {
            "it cannot be mended: begin a new backup elsewhere, and put this one back from a copy of it"
        }
        false => {
            "to mend it: if other members of its cluster are well, move the directory away and start \
             the node empty, with --join; else put back a copy of the directory"
        }
    };
    lines.push(mend.to_owned());
    lines
}
