//! Changes that are sent together, as a JSON array.

/// The bounds of a batch. What a batch holds depends on these and on the lines
/// alone, so that a repeated one has the same bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) changes: usize,
    pub(super) bytes: usize,
}

/// Changes in the order of their lines.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// The array without its last bracket.
    open: Vec<u8>,
    /// Where each change starts, and its line.
    starts: Vec<(usize, u64)>,
}

impl Batch {
    pub(super) fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// Whether another change of that size may be added.
    pub(super) fn has_room(&self, limits: Limits, bytes: usize) -> bool {
        let brackets = 2;
        self.is_empty()
            || (self.starts.len() < limits.changes
                && self.open.len() + bytes + brackets <= limits.bytes)
    }

    pub(super) fn add(&mut self, change: &[u8], line: u64) {
        self.open.push(if self.is_empty() { b'[' } else { b',' });
        self.starts.push((self.open.len(), line));
        self.open.extend_from_slice(change);
    }

    /// The array, and the lines that its changes stand on.
    pub(super) fn close(mut self) -> (Vec<u8>, Lines) {
        self.open.push(b']');
        (self.open, Lines(self.starts))
    }
}

/// The lines of a batch that is sent.
#[derive(Debug)]
pub(super) struct Lines(Vec<(usize, u64)>);

impl Lines {
    /// One line that is sent alone.
    pub(super) fn one(line: u64) -> Self {
        Self(vec![(0, line)])
    }

    pub(super) fn count(&self) -> u64 {
        self.0.len() as u64
    }

    pub(super) fn first(&self) -> u64 {
        self.0.first().map_or(0, |&(_, line)| line)
    }

    fn at(&self, offset: usize) -> Option<&(usize, u64)> {
        let after = self.0.partition_point(|&(start, _)| start <= offset);
        self.0.get(after.checked_sub(1)?)
    }

    /// Where the change at a byte of the body starts.
    pub(super) fn start_of(&self, offset: usize) -> Option<usize> {
        self.at(offset).map(|&(start, _)| start)
    }

    /// The line at a byte of the body, else all of them.
    pub(super) fn named(&self, offset: Option<usize>) -> String {
        let last = self.0.last().map_or(0, |&(_, line)| line);
        match offset.and_then(|offset| self.at(offset)) {
            Some(&(_, line)) => format!("line {line}"),
            None if self.first() == last => format!("line {last}"),
            None => format!("lines {} to {last}", self.first()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_an_array_that_knows_its_lines() {
        let limits = Limits { changes: 3, bytes: 20 };
        let mut batch = Batch::default();
        assert!(batch.has_room(limits, 1000), "one change is always taken");
        batch.add(b"{\"a\":1}", 4);
        assert!(batch.has_room(limits, 10) && !batch.has_room(limits, 11));
        batch.add(b"{}", 6);
        batch.add(b"[]", 7);
        assert!(!batch.has_room(limits, 1), "no more than three");
        let (body, lines) = batch.close();
        assert_eq!(body, b"[{\"a\":1},{},[]]");
        assert_eq!((lines.count(), lines.first()), (3, 4));
        for (offset, line) in [(1, 4), (7, 4), (9, 6), (10, 6), (12, 7), (99, 7)] {
            assert_eq!(lines.named(Some(offset)), format!("line {line}"));
        }
        assert_eq!(lines.named(Some(0)), "lines 4 to 7");
        assert_eq!(lines.named(None), "lines 4 to 7");
        assert_eq!(Lines::one(3).named(None), "line 3");
    }
}
