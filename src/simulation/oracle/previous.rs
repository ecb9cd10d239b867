//! Each change of a key says which version it replaced.

use super::{Truth, Violation, violation};

/// Checks that against the list, of which everything was seen.
pub(super) fn check(truth: &Truth) -> Result<(), Violation> {
    for (id, change) in truth.all() {
        let replaced = change.place.key().and_then(|key| truth.key_at(key, id - 1));
        if change.prev != replaced {
            let text = format!("{id} replaced {replaced:?}: {}", change.text);
            return Err(violation("prev", text));
        }
    }
    Ok(())
}
