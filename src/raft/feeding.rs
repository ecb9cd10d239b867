//! Whether a node is being sent a snapshot, or was just now: then what it needs after that is neither
//! given up nor left to another snapshot, or it might never catch up.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
    time::Instant,
};

use crate::{
    base::{
        ids::NodeId,
        timing::{FEEDING_AFTER, FEEDING_MAX, HEARTBEAT},
    },
    io::cores,
};

/// The time in which snapshots are sent.
#[derive(Default)]
pub(super) struct Feeding {
    /// When the first part was sent, and the last one, without a pause between.
    sent: Cell<Option<(Instant, Instant)>>,
    /// Who is being sent one, and by how many at once.
    ///
    /// Invariant: none by nobody.
    fed: RefCell<BTreeMap<NodeId, usize>>,
}

/// A node is being sent a snapshot as long as this is there.
pub(super) struct Fed {
    of: Rc<Feeding>,
    node: NodeId,
}

impl Drop for Fed {
    fn drop(&mut self) {
        let mut fed = self.of.fed.borrow_mut();
        let left = fed.remove(&self.node).and_then(|count| count.checked_sub(1));
        let left = left.expect("a node is fed that is being fed");
        if left > 0 {
            fed.insert(self.node, left);
        }
        assert!(fed.values().all(|count| *count > 0), "a node is fed by nobody");
    }
}

impl Feeding {
    /// Begins to send `node` a snapshot.
    pub(super) fn feed(self: &Rc<Self>, node: NodeId) -> Fed {
        *self.fed.borrow_mut().entry(node).or_default() += 1;
        Fed { of: Rc::clone(self), node }
    }

    /// Whether `node` is being sent one.
    fn is_fed(&self, node: NodeId) -> bool {
        self.fed.borrow().contains_key(&node)
    }

    /// Waits as long as between two heartbeats, if `node` is being sent one. It takes no entries
    /// meanwhile, but openraft would tell it of each commit: that costs both nodes more than what is sent.
    pub(super) async fn spare(&self, node: NodeId) {
        if self.is_fed(node) {
            cores::sleep(HEARTBEAT).await;
        }
    }

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
    fn a_node_is_fed_until_the_last_who_sends_it_something_is_done() {
        let feeding = Rc::new(Feeding::default());
        let (first, second) = (feeding.feed(2), feeding.feed(2));
        assert!(feeding.is_fed(2) && !feeding.is_fed(3));
        drop(first);
        assert!(feeding.is_fed(2));
        drop(second);
        assert!(!feeding.is_fed(2));
    }

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
