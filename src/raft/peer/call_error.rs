//! What a request to another node came to that brought no answer.

use std::fmt;

/// Why there is no answer.
#[derive(Clone, Debug)]
pub enum CallError {
    /// The request certainly did not arrive.
    NotSent(String),
    /// It may have arrived.
    Lost,
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSent(why) => f.write_str(why),
            Self::Lost => f.write_str("the connection broke"),
        }
    }
}

impl std::error::Error for CallError {}
