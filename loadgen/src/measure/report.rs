//! What a run says in the end: a table for people, and the same figures as files.

use std::path::Path;
use std::time::SystemTime;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::args::OutputArguments;
use crate::measure::generator::Usage;
use crate::measure::html::{self, Named};
use crate::measure::results::{Findings, Run};
use crate::measure::{hdr, table};

/// Whether what the command was to prove holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Passed,
    Failed,
}

/// The head of a report, made when the run begins.
#[derive(Debug)]
pub(crate) struct Report {
    command: &'static str,
    started: SystemTime,
    settings: serde_json::Value,
    usage: Usage,
}

impl Report {
    /// Notes the time and the settings.
    pub(crate) fn begin(command: &'static str, settings: &impl Serialize) -> Result<Self> {
        Ok(Self {
            command,
            started: SystemTime::now(),
            settings: serde_json::to_value(settings).context("cannot write down the settings")?,
            usage: Usage::begin(),
        })
    }

    /// Prints the table and writes the files.
    pub(crate) fn finish(self, findings: &Findings, output: &OutputArguments) -> Result<Outcome> {
        let results = findings.results(&self.usage)?;
        println!("{}", table::table(self.command, &results));
        if let Some(verification) = &results.verification {
            println!("{}", table::verdict(verification));
        }
        if let Some(warning) = &results.generator.warning {
            println!("warning: {warning}");
        }
        let run = Run {
            tool: env!("CARGO_PKG_NAME").to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            command: self.command.to_owned(),
            started: humantime::format_rfc3339_millis(self.started).to_string(),
            settings: self.settings,
            results,
        };
        if let Some(path) = &output.json {
            let text = serde_json::to_string_pretty(&run)? + "\n";
            write_file(path, text.as_bytes())?;
        }
        if let Some(path) = &output.hdr {
            let mut log = Vec::new();
            hdr::write(&mut log, &findings.parts, self.started)?;
            write_file(path, &log)?;
        }
        if let Some(path) = &output.html {
            let label = self.command.to_owned();
            write_file(path, html::page(&[Named { label, run }]).as_bytes())?;
        }
        Ok(if findings.passed { Outcome::Passed } else { Outcome::Failed })
    }
}

/// Writes a file of a report.
pub(crate) fn write_file(path: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}
