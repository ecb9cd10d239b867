//! Whether a node is being sent a snapshot, or was just now: then what it needs after that is neither
//! given up nor left to another snapshot, or it might never catch up.

use std::cell::Cell;
use std::time::Instant;

use crate::{
    base::timing::{FEEDING_AFTER, FEEDING_MAX},
    io::cores,
};

/// The time in which snapshots are sent.
#[derive(Default)]
pub(super) struct Feeding {
    /// When the first part was sent, and the last one, without a pause between.
    sent: Cell<Option<(Instant, Instant)>>,
}

impl Feeding {
    /// Takes note that a part is sent.
    pub(super) fn note(&self) {
        let now = cores::now();
        let begun = self.sent.get().filter(|(_, last)| now < *last + FEEDING_AFTER);
        self.sent.set(Some((begun.map_or(now, |(begun, _)| begun), now)));
    }

    /// Whether some node is to be spared.
    pub(super) fn is_on(&self) -> bool {
        let now = cores::now();
        self.sent
            .get()
            .is_some_and(|(begun, last)| now < last + FEEDING_AFTER && now < begun + FEEDING_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::simulated::executor::run;

    #[test]
    fn a_node_is_spared_while_it_is_sent_something_and_not_for_ever() {
        run(1, async {
            let feeding = Feeding::default();
            assert!(!feeding.is_on());
            let begun = cores::now();
            while cores::elapsed(begun) < FEEDING_MAX {
                feeding.note();
                assert!(feeding.is_on());
                cores::sleep(FEEDING_AFTER / 2).await;
            }
            feeding.note();
            assert!(!feeding.is_on());
            cores::sleep(FEEDING_AFTER).await;
            feeding.note();
            assert!(feeding.is_on());
            cores::sleep(FEEDING_AFTER).await;
            assert!(!feeding.is_on());
        });
    }
}
