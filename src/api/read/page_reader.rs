//! Collects one page of the list from batches in memory and in mapped segments,
//! in turns short enough for the core's other connections.

use super::{
    answer::ListAnswer,
    places::{Cold, Places, Resident, Source, Unready},
};
use crate::{
    api::request::tag_filter::TagFilter,
    base::{
        batch::NumberedBatch,
        ids::ChangeId,
        limits::{READ_EXAMINED_MAX, READ_TURN_BYTES, READ_TURN_CHANGES},
    },
    state::{Cursor, Damaged, Index, Located, SealedBatch, Wanted, index::Reached, unread::Unread},
};

/// A page under construction.
pub(super) struct PageReader<'q> {
    list: ListAnswer,
    tags: &'q TagFilter,
    limit: usize,
    /// Finds the changes of a part of the list; nothing when all are wanted.
    cursor: Option<Cursor>,
    /// What the cursor found and is not looked at yet.
    found: Option<ChangeId>,
    /// The last change looked at, or found not to belong to the page.
    examined: ChangeId,
    /// The last change there is to look at.
    last: ChangeId,
    /// Changes that may still be looked at, and steps of the cursor.
    budget: usize,
    places: Places,
    /// The first change of the batch that was looked into last, and how many changes were looked at there at once:
    /// where a cursor finds them.
    run: (ChangeId, usize),
}

/// How many times more changes of a batch are looked at each time that one more of it is found.
const RUN_GROWTH: usize = 4;

/// What may still be done before others get their turn.
struct Turn {
    changes: usize,
    bytes: usize,
}

impl Turn {
    fn is_over(&self) -> bool {
        self.changes == 0 || self.bytes == 0
    }
}

impl<'q> PageReader<'q> {
    /// A page of at most `limit` changes that bear `tags` and that `cursor`
    /// finds, from those after `since` up to `last`, to be added to `list`.
    pub(super) fn new(
        list: ListAnswer,
        since: ChangeId,
        last: ChangeId,
        limit: usize,
        tags: &'q TagFilter,
        cursor: Option<Cursor>,
    ) -> Self {
        let places = if cursor.is_some() { Places::scattered() } else { Places::default() };
        let (examined, found, budget) = (since, None, READ_EXAMINED_MAX);
        let run = (ChangeId::ZERO, 1);
        Self { list, tags, limit, cursor, found, examined, last, budget, places, run }
    }

    /// Whether there is nothing left to read, or no room.
    pub(super) fn is_done(&self) -> bool {
        self.examined >= self.last || self.list.changes() >= self.limit || self.budget == 0
    }

    /// Looks whether anything follows a page that is full: what others have
    /// written since does not make a list go on. Gives back what must be loaded for that.
    pub(super) fn look_on(&mut self, index: &Index) -> Option<Cold> {
        if self.list.changes() < self.limit || self.examined >= self.last {
            return None;
        }
        let cursor = self.cursor.as_mut().filter(|_| self.found.is_none())?;
        let mut steps = READ_TURN_CHANGES;
        match cursor.next(index, self.examined.next(), self.last, &mut steps) {
            Ok(None) => self.examined = self.last,
            Err(Reached::Unread(Unread::Missing(missing, damaged))) => {
                return Some(Cold::index(missing, damaged));
            }
            // It says no more than that the list may go on.
            Ok(Some(_)) | Err(_) => {}
        }
        None
    }

    /// The last change looked at.
    pub(super) fn examined(&self) -> ChangeId {
        self.examined
    }

    /// Whether anything was collected.
    pub(super) fn has_changes(&self) -> bool {
        self.list.changes() > 0
    }

    /// Bytes of memory of what was collected.
    pub(super) fn held_bytes(&self) -> usize {
        self.list.held_bytes()
    }

    /// What was collected.
    pub(super) fn into_list(self) -> ListAnswer {
        self.list
    }

    /// Reads for one turn, or until it comes to a batch that is not in memory:
    /// then this is to be loaded, and [`loaded`](Self::loaded) told of it.
    ///
    /// # Errors
    /// [`Damaged`] when a stored batch is not what was written.
    pub(super) fn read_some(&mut self, source: &mut Source<'_>) -> Result<Option<Cold>, Damaged> {
        let mut turn = Turn { changes: READ_TURN_CHANGES, bytes: READ_TURN_BYTES };
        while !self.is_done() && !turn.is_over() {
            if self.examined.next() < source.history.first() {
                // It was purged while this page was read.
                self.budget = 0;
                return Ok(None);
            }
            let some = match self.next(source.index, &mut turn) {
                Ok(None) => continue,
                Ok(Some(id)) => self.read_at(id, source, &mut turn),
                Err(unread) => Err(unread),
            };
            match some {
                Ok(()) => {}
                Err(Unready::Cold(cold)) => return Ok(Some(cold)),
                Err(Unready::Damaged(damaged)) => return Err(damaged),
            }
        }
        Ok(None)
    }

    /// Reads from the batch that holds `id`, which is the next change to look at.
    fn read_at(
        &mut self,
        id: ChangeId,
        source: &mut Source<'_>,
        turn: &mut Turn,
    ) -> Result<(), Unready> {
        match source.history.locate(id) {
            Some(Located::Recent(batch)) => self.take(source.index, batch, batch.last(), turn),
            Some(Located::Sealed(segment)) => {
                let batch = self.places.batch_of(segment, id)?;
                if !self.places.find(segment, &batch) {
                    return Err(Unready::Cold(self.places.cold(segment, batch)));
                }
                let wanted = self.wanted(&batch, id, turn);
                let read = source.verified.batch(segment, &batch, wanted, source.now);
                let read = read.map_err(Unready::Damaged)?;
                let checked = read.checked_bytes;
                let taken = self.take(source.index, &read.batch, read.upto, turn);
                turn.bytes = turn.bytes.saturating_sub(checked);
                taken
            }
            Some(Located::Checkpointed(..)) | None => {
                unreachable!("every change from the first to the last is held")
            }
        }
    }

    /// How far to look into a stored batch from its change `id` on.
    fn wanted(&mut self, batch: &SealedBatch, id: ChangeId, turn: &Turn) -> Wanted {
        let mut changes = turn.changes;
        if self.cursor.is_some() {
            // One may be all that it has of the list; the more were, the more may follow.
            let (before, run) = self.run;
            let run = if before == batch.first { RUN_GROWTH.saturating_mul(run) } else { 1 };
            self.run = (batch.first, run);
            changes = changes.min(run);
        } else if self.tags.is_empty() {
            changes = changes.min(self.limit - self.list.changes());
        }
        let last = ChangeId(id.0 + changes.max(1) as u64 - 1);
        Wanted { first: id, last, bytes_max: turn.bytes }
    }

    /// Says that what was missing is in memory now.
    pub(super) fn loaded(&mut self, resident: Resident) {
        self.places.loaded(resident);
    }

    /// The next change to look at; without one, all there is was examined, or as
    /// much as may be.
    fn next(&mut self, index: &Index, turn: &mut Turn) -> Result<Option<ChangeId>, Unready> {
        let next = self.examined.next();
        let Some(cursor) = &mut self.cursor else { return Ok(Some(next)) };
        if self.found.is_none() {
            let allowed = self.budget.min(turn.changes);
            let mut steps = allowed;
            let result = cursor.next(index, next, self.last, &mut steps);
            self.budget -= allowed - steps;
            turn.changes -= allowed - steps;
            match result {
                Ok(Some(found)) => {
                    self.found = Some(found);
                    // What lies between was found not to belong here.
                    self.examined = ChangeId(found.0 - 1);
                }
                Ok(None) => self.examined = self.last,
                Err(Reached::Id(reached)) => self.examined = ChangeId(reached.0 - 1),
                Err(Reached::Unread(unread)) => return Err(unread.into()),
            }
        }
        Ok(self.found)
    }

    /// Adds what belongs to the page of a batch that holds the next change, up to its change `last`, as
    /// far as the turn goes.
    fn take<B: AsRef<[u8]>>(
        &mut self,
        index: &Index,
        batch: &NumberedBatch<B>,
        last: ChangeId,
        turn: &mut Turn,
    ) -> Result<(), Unready> {
        let at = batch.batch.at();
        let redacted = index.redactions.within(self.examined.next(), last);
        while !self.is_done() && !turn.is_over() {
            let Some(id) = self.next(index, turn)?.filter(|id| *id <= last) else { return Ok(()) };
            let change = batch.change(id).shown(redacted.contains(&id));
            let text = change.text();
            // The index may take one tag for another.
            if self.tags.is_empty() || self.tags.passes(change.tags) {
                if !self.list.push(id, at, text) {
                    self.budget = 0;
                    return Ok(());
                }
                turn.bytes = turn.bytes.saturating_sub(text.len());
            }
            turn.changes = turn.changes.saturating_sub(1);
            self.found = None;
            self.examined = id;
            self.budget = self.budget.saturating_sub(1);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{super::answer::Frame, *};
    use crate::{
        base::{
            batch::{Append, Batch, ChangeSpan, encode},
            ids::Timestamp,
        },
        state::{
            History, Verified,
            testing::{SealedFile, batch, numbered},
        },
    };

    fn page<'q>(
        history: &History,
        since: u64,
        limit: usize,
        tags: &'q TagFilter,
    ) -> PageReader<'q> {
        let list = ListAnswer::new(Frame::Changes, 1);
        PageReader::new(list, ChangeId(since), history.last(), limit, tags, None)
    }

    /// Reads to the end of the page; the changes looked at in each turn.
    fn turns(reader: &mut PageReader<'_>, history: &History, verified: &mut Verified) -> Vec<u64> {
        let index = Index::default();
        let mut source =
            Source { history, verified, index: &index, now: std::time::Instant::now() };
        let mut turns = Vec::new();
        while !reader.is_done() {
            let before = reader.examined();
            assert!(reader.read_some(&mut source).unwrap().is_none(), "all is in memory");
            turns.push(reader.examined().0 - before.0);
        }
        turns
    }

    fn ids(reader: PageReader<'_>) -> Vec<u64> {
        let answer = reader.into_list().finish(true, true, ChangeId(0));
        let text = String::from_utf8(answer.to_vec()).unwrap();
        let digits = |part: &str| part.split(',').next().unwrap().parse().unwrap();
        text.split("\"_id\":").skip(1).map(digits).collect()
    }

    #[test]
    fn a_large_batch_is_read_in_several_turns() {
        let file = SealedFile::new(1, 1, &[batch(10_000, b'}'), batch(1, b'}')]);
        let mut sealed = History::default();
        sealed.add_segment(Arc::clone(&file.segment));
        let mut recent = History::default();
        recent.push(numbered(1, batch(10_000, b'}')));
        recent.push(numbered(10_001, batch(1, b'}')));
        let (all, none) = (TagFilter::default(), TagFilter::new(["absent"]));
        let per_turn = READ_TURN_CHANGES as u64;
        let rest = 10_001 - 2 * per_turn;
        for history in [&sealed, &recent] {
            let mut verified = Verified::default();
            let mut reader = page(history, 0, usize::MAX, &all);
            assert_eq!(turns(&mut reader, history, &mut verified), [per_turn, per_turn, rest]);
            assert!(ids(reader).into_iter().eq(1..=10_001));
            let mut reader = page(history, 7, usize::MAX, &none);
            assert_eq!(turns(&mut reader, history, &mut verified).len(), 3);
            assert!(ids(reader).is_empty());
        }
    }

    #[test]
    fn a_turn_ends_after_so_many_bytes() {
        let suffix = READ_TURN_BYTES / 4 + 1;
        let spans =
            (1..=10).map(|n| ChangeSpan { end: n * suffix as u32, ..ChangeSpan::default() });
        let suffixes = vec![b'}'; 10 * suffix].into();
        let append = Append { spans: spans.collect(), suffixes, ..Append::default() };
        let batch = Batch::parse(encode(&[append.into()], Timestamp(1))).unwrap();
        let all = TagFilter::default();
        let mut recent = History::default();
        recent.push(numbered(1, batch.clone()));
        let mut reader = page(&recent, 0, 10, &all);
        assert_eq!(turns(&mut reader, &recent, &mut Verified::default()), [4, 4, 2]);

        // Checking a batch is a turn's work as well, and is done once.
        let file = SealedFile::new(1, 1, &[batch.clone(), batch]);
        let mut sealed = History::default();
        sealed.add_segment(Arc::clone(&file.segment));
        let mut verified = Verified::default();
        let none = TagFilter::new(["absent"]);
        for want in [&[10, 10][..], &[20]] {
            let mut reader = page(&sealed, 0, 20, &none);
            assert_eq!(turns(&mut reader, &sealed, &mut verified), want);
        }
    }
}
