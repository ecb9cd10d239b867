//! `changeagent restore`: a data directory, made of a backup.

use std::{
    fs::File,
    io::{self, Write},
    path::PathBuf,
};

use clap::Args;

use super::failure::Failure;
use crate::{
    backup::{Restored, Until},
    base::{ids::ChangeId, moment},
    server::{self, Origin},
};

/// What to make of which backup.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The backup: its directory or its archive; - reads an archive from standard input
    #[arg(long, value_name = "PATH")]
    from: PathBuf,
    /// The data directory, which must be empty, or not there yet
    #[arg(long, env = "CHANGEAGENT_DATA", value_name = "DIR")]
    data: PathBuf,
    /// End with the last change up to this id, or up to this time (RFC 3339)
    #[arg(long, value_name = "ID|TIME", value_parser = until)]
    until: Option<Until>,
    /// Keep the identity of the cluster: its clients cannot tell that history was put back
    #[arg(long)]
    same_cluster: bool,
}

fn until(text: &str) -> Result<Until, String> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().map(|id| Until::Change(ChangeId(id))).map_err(|e| e.to_string());
    }
    moment::parsed(text).map(Until::Time).ok_or_else(|| {
        "must be an id, or a time like 2026-07-24T06:00:43Z or 2026-07-24T08:00:43+02:00".to_owned()
    })
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let Arguments { from, data, until, same_cluster } = arguments;
    let origin = match from.as_os_str() == "-" {
        true => Origin::Archive(Box::new(io::stdin())),
        false if from.is_dir() => Origin::Directory(from.clone()),
        false => Origin::Archive(Box::new(File::open(from).map_err(Failure::file(from))?)),
    };
    let restored = server::restore(origin, data, *same_cluster, *until);
    let restored = restored.map_err(|error| Failure::Other(error.to_string()))?;
    let Restored { cluster, node, first, last } = restored;
    let changes = match first <= last {
        true => format!("changes {first} to {last}"),
        false => "no change".to_owned(),
    };
    let text =
        format!("{} holds {changes}, as cluster {cluster} of node {node} alone\n", data.display());
    io::stdout().write_all(text.as_bytes()).map_err(Failure::output)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::Timestamp;

    #[test]
    fn the_end_is_an_id_or_a_time() {
        assert_eq!(until("17"), Ok(Until::Change(ChangeId(17))));
        let at = |micros| Ok(Until::Time(Timestamp(micros)));
        for (text, micros) in [
            ("1970-01-01T00:00:01Z", 1_000_000),
            ("2026-07-24T06:00:43.123456Z", 1_784_872_843_123_456),
            ("2026-07-24T08:00:43.123456+02:00", 1_784_872_843_123_456),
            ("2026-07-23T23:30:43.123456-06:30", 1_784_872_843_123_456),
        ] {
            assert_eq!(until(text), at(micros), "{text}");
        }
        for text in [
            "",
            "-1",
            "99999999999999999999",
            "now",
            "2026-07-24",
            "2026-07-24T06:00:43",
            "2026-07-24T06:00:43+2:00",
            "2026-07-24T06:00:43+25:00",
            "2026-07-24T06:00:43+0x:00",
            "1969-01-01T00:00:00Z",
            "…é",
        ] {
            assert!(until(text).is_err(), "{text}");
        }
    }
}
