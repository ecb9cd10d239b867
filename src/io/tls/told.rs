//! What is said of files that change.

/// What is told of files that were looked at again.
#[derive(Debug, PartialEq, Eq)]
pub enum Told {
    /// They have changed, and are in use from now on.
    Reloaded,
    /// They have changed and cannot be used, for that reason: what was in use stays.
    Kept(String),
    /// How the certificate stands to the time has changed.
    Time(String),
}
