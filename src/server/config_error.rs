//! Why settings cannot be used.

use std::path::PathBuf;

/// A setting that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {path}: {error}")]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The file is not what it should be.
    #[error("the configuration {path} is not valid: {error}")]
    Invalid {
        /// Which file.
        path: PathBuf,
        /// Why and where.
        error: String,
    },
    /// Values that cannot be, alone or together.
    #[error("{0}")]
    Value(String),
    /// What is asked for cannot be, whatever is there.
    #[error("{0}")]
    Usage(String),
}

impl From<String> for ConfigError {
    fn from(text: String) -> Self {
        Self::Value(text)
    }
}
