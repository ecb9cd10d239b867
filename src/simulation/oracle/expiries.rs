//! What expired was due, and was the current version.

use super::{Found, Truth, Violation, violation};

pub(super) fn check(truth: &Truth, found: &mut Found) -> Result<(), Violation> {
    for (id, change) in truth.all().filter(|(_, change)| change.expired) {
        found.expired += 1;
        let key = change.place.key().filter(|_| change.deleted);
        let Some(key) = key else {
            return Err(violation("expiry", format!("{id} ends no key: {change:?}")));
        };
        let before = truth.key_at(key, id - 1);
        let version = before.and_then(|before| truth.get(before));
        let Some(version) = version else {
            return Err(violation("expiry", format!("{id} ends what was not there: {change:?}")));
        };
        let due = version.place.ttl.map(|ttl| version.at + ttl * 1_000_000);
        if due.is_none_or(|due| due > change.at) {
            let text = format!("{id} ends {version:?}, which was not due: {change:?}");
            return Err(violation("expiry", text));
        }
    }
    Ok(())
}
