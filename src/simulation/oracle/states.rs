//! Whoever takes over the state of a collection and follows it from there holds exactly the keys that
//! there were, wherever the list is by then.

use std::collections::BTreeSet;

use super::{Found, Truth, Violation, violation};
use crate::simulation::history::{Asked, Call, Told};

pub(super) fn check(history: &[Call], truth: &Truth, found: &mut Found) -> Result<(), Violation> {
    for call in history {
        let (Asked::State { collection }, Told::State { held, upto, .. }) =
            (&call.asked, &call.told)
        else {
            continue;
        };
        found.states += 1;
        let keys = truth.keys_of(*collection);
        let were: BTreeSet<u64> = keys.filter_map(|key| truth.key_at(key, *upto)).collect();
        if held.iter().copied().collect::<BTreeSet<u64>>() != were {
            let text = format!("at {upto} there were {were:?}, {held:?} are held: {call:?}");
            return Err(violation("states", text));
        }
    }
    Ok(())
}
