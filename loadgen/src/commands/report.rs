//! `loadgen report`: draws the figures of runs that were written down.

use std::path::Path;

use anyhow::{Context, Result};

use crate::args::ReportArguments;
use crate::measure::html::{self, Named};
use crate::measure::report::{Outcome, write_file};

/// Runs the command.
pub(crate) fn run(arguments: &ReportArguments) -> Result<Outcome> {
    let runs: Vec<Named> = arguments.files.iter().map(|path| read(path)).collect::<Result<_>>()?;
    write_file(&arguments.html, html::page(&runs).as_bytes())?;
    Ok(Outcome::Passed)
}

fn read(path: &Path) -> Result<Named> {
    let name = || path.display().to_string();
    let text = std::fs::read(path).with_context(|| format!("cannot read {}", name()))?;
    let run = serde_json::from_slice(&text)
        .with_context(|| format!("{} is no file of --json", name()))?;
    let label = path.file_stem().map_or_else(name, |stem| stem.to_string_lossy().into_owned());
    Ok(Named { label, run })
}
