//! The state of a tenant or a collection as the beginning of a stream: the current change of each
//! live key, by collection and key. It takes no lock and no copy: keys may change while it is sent,
//! and whoever follows the list from where it began is told of that.

use std::{collections::BTreeSet, sync::Arc};

use bytes::{Bytes, BytesMut};
use uuid::Uuid;

use crate::{
    api::{
        context::Context,
        error::{ApiError, Code},
        growing::Growing,
        read::{
            answer::{Frame, ListAnswer},
            change,
            places::{Places, Stored},
        },
    },
    base::{
        ids::ChangeId,
        limits::{STREAM_PART_BYTES, STREAM_PART_CHANGES},
    },
    io::cores,
    state::index::Collection,
};

/// How far it is.
pub(in crate::api) struct Walk {
    /// The collections whose keys are still to be sent, all or some.
    left: BTreeSet<Uuid>,
    /// What counts these as held, where they are many.
    _room: Option<Growing>,
    /// The last key of the first of them that was sent.
    after: Option<Box<str>>,
    /// What this core's history ended with before anything was read, the collections included.
    since: ChangeId,
    /// Whether its first part was made.
    has_begun: bool,
    /// Whether the changes follow that come later.
    follow: bool,
}

impl Walk {
    /// Through the keys of these collections, those after a key of one of them. They were listed
    /// when this core's history ended with `since`, or later.
    pub(in crate::api) fn new(
        since: ChangeId,
        mut left: BTreeSet<Uuid>,
        after: Option<(Uuid, &str)>,
        follow: bool,
    ) -> Self {
        let mut last = None;
        if let Some((collection, key)) = after {
            left = left.split_off(&collection);
            last = (left.first() == Some(&collection)).then(|| key.into());
        }
        Self { left, _room: None, after: last, since, has_begun: false, follow }
    }

    /// The same, whose collections are counted as held until it is over.
    pub(in crate::api) fn holding(self, room: Growing) -> Self {
        Self { _room: Some(room), ..self }
    }
}

/// A part of a state.
pub(super) struct Part {
    pub(super) bytes: Bytes,
    /// It is the last one; and whether changes follow, after which one.
    pub(super) end: Option<(bool, ChangeId)>,
}

/// The next part of a state.
///
/// # Errors
/// When it cannot go on: it must break off.
pub(super) async fn part(api: &Context, walk: &mut Walk) -> Result<Part, ApiError> {
    if api.node.is_stopping() {
        return Err(ApiError::new(Code::Internal, "the node stops"));
    }
    let since = walk.since;
    if !std::mem::replace(&mut walk.has_begun, true) {
        let head = format!("{{\"cluster\":\"{}\",\"since\":{since}}}\n", api.node.cluster());
        return Ok(Part { bytes: head.into(), end: None });
    }
    let mut list = ListAnswer::with_bytes_max(Frame::Lines, 1, STREAM_PART_BYTES);
    while let Some(id) = walk.left.first() {
        // One that is gone is told of by the changes that follow.
        let is_full = match api.catalog().collection(*id) {
            Some(collection) => add_keys(api, &collection, &mut walk.after, &mut list).await?,
            None => false,
        };
        if is_full {
            return Ok(Part { bytes: list.into_part().freeze(), end: None });
        }
        walk.left.pop_first();
        walk.after = None;
        cores::yield_if_needed().await;
    }
    let mut out: BytesMut = list.into_part();
    out.extend_from_slice(format!("{{\"end\":true,\"since\":{since}}}\n").as_bytes());
    Ok(Part { bytes: out.freeze(), end: Some((walk.follow, since)) })
}

/// Adds the keys of a collection that come after one; whether the part is full.
async fn add_keys(
    api: &Context,
    collection: &Arc<Collection>,
    after: &mut Option<Box<str>>,
    list: &mut ListAnswer,
) -> Result<bool, ApiError> {
    let mut places = Places::scattered();
    loop {
        let slice = collection.entries_after(after.as_deref());
        for (key, mut id) in slice.entries {
            if list.changes() >= STREAM_PART_CHANGES {
                return Ok(true);
            }
            loop {
                // What was found is in this core's history after that.
                api.node.catch_up_with_index().await;
                let push = |stored: Stored<'_>| match stored {
                    Stored::Change { id, at, change } => list.push(id, at, change.text()),
                    Stored::Whole(change) => list.push_whole(&change),
                };
                match change::read(api, &mut places, id, push).await? {
                    Some(true) => break,
                    Some(false) => return Ok(true),
                    None => {}
                }
                // It was replaced meanwhile, and purged.
                match collection.current(&key) {
                    Some(current) if current != id => id = current,
                    _ => break,
                }
            }
            *after = Some(key);
            cores::yield_if_needed().await;
        }
        if slice.next.is_none() {
            return Ok(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_on_after_the_last_key_that_was_sent() {
        let [one, two, three] = [1, 2, 3].map(Uuid::from_u128);
        let walk = |after| {
            let walk = Walk::new(ChangeId::ZERO, BTreeSet::from([three, one]), after, false);
            (walk.left.into_iter().collect::<Vec<_>>(), walk.after)
        };
        assert_eq!(walk(None), (vec![one, three], None));
        assert_eq!(walk(Some((one, "k/a"))), (vec![one, three], Some("k/a".into())));
        // That collection is gone, or was never there.
        assert_eq!(walk(Some((two, "k"))), (vec![three], None));
        assert_eq!(walk(Some((three, "k"))), (vec![three], Some("k".into())));
        assert_eq!(walk(Some((Uuid::from_u128(4), "k"))), (vec![], None));
    }
}
