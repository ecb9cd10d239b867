//! Secrets that files hold.

use std::path::{Path, PathBuf};

use crate::base::secret::Secret;

/// The token that the file holds which `setting` names.
///
/// # Errors
/// Why it holds none; the text of the file is not told.
pub(super) fn token(setting: &str, path: Option<PathBuf>) -> Result<Option<Secret>, String> {
    let read = |path: &Path| {
        let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
        Secret::of_line(&text).map_err(|error| format!("it holds no token: {error}"))
    };
    let refused =
        |path: &Path, error| format!("{setting} {} cannot be used: {error}", path.display());
    path.map(|path| read(&path).map_err(|error| refused(&path, error))).transpose()
}
