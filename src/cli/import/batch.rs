//! Changes that are sent together, as a JSON array.

use super::source::Place;

/// The bounds of a batch.
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
    lines: Lines,
}

impl Batch {
    pub(super) fn is_empty(&self) -> bool {
        self.lines.0.is_empty()
    }

    /// Whether another change of that size may be added.
    pub(super) fn has_room(&self, limits: Limits, bytes: usize) -> bool {
        let brackets = 2;
        self.is_empty()
            || (self.lines.0.len() < limits.changes
                && self.open.len() + bytes + brackets <= limits.bytes)
    }

    pub(super) fn add(&mut self, change: &[u8], place: Place) {
        self.open.push(if self.is_empty() { b'[' } else { b',' });
        self.lines.0.push((self.open.len(), place));
        self.open.extend_from_slice(change);
    }

    /// The array, and the lines that its changes stand on.
    pub(super) fn close(mut self) -> (Vec<u8>, Lines) {
        self.open.push(b']');
        (self.open, self.lines)
    }
}

/// Where the changes of a request start in its body, and stand in the file.
#[derive(Debug, Default)]
pub(super) struct Lines(Vec<(usize, Place)>);

impl Lines {
    /// One change that is sent alone.
    pub(super) fn one(place: Place) -> Self {
        Self(vec![(0, place)])
    }

    pub(super) fn count(&self) -> u64 {
        self.0.len() as u64
    }

    fn at(&self, offset: usize) -> Option<&(usize, Place)> {
        let after = self.0.partition_point(|&(start, _)| start <= offset);
        self.0.get(after.checked_sub(1)?)
    }

    /// Where the change at a byte of the body starts.
    pub(super) fn start_of(&self, offset: usize) -> Option<usize> {
        self.at(offset).map(|&(start, _)| start)
    }

    /// The line at a byte of the body, else all of them.
    pub(super) fn named(&self, offset: Option<usize>) -> String {
        let (Some(&(_, first)), Some(&(_, last))) = (self.0.first(), self.0.last()) else {
            return "no line".to_owned();
        };
        match offset.and_then(|offset| self.at(offset)) {
            Some((_, Place { unit, number })) => format!("{unit} {number}"),
            None if first == last => format!("{} {}", last.unit, last.number),
            None => format!("{}s {} to {}", first.unit, first.number, last.number),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(number: u64) -> Place {
        Place { unit: "line", number }
    }

    #[test]
    fn a_batch_is_an_array_that_knows_its_lines() {
        let limits = Limits { changes: 3, bytes: 20 };
        let mut batch = Batch::default();
        assert!(batch.has_room(limits, 1000), "one change is always taken");
        batch.add(b"{\"a\":1}", line(4));
        assert!(batch.has_room(limits, 10) && !batch.has_room(limits, 11));
        batch.add(b"{}", line(6));
        batch.add(b"[]", line(7));
        assert!(!batch.has_room(limits, 1), "no more than three");
        let (body, lines) = batch.close();
        assert_eq!(body, b"[{\"a\":1},{},[]]");
        assert_eq!(lines.count(), 3);
        for (offset, number) in [(1, 4), (7, 4), (9, 6), (10, 6), (12, 7), (99, 7)] {
            assert_eq!(lines.named(Some(offset)), format!("line {number}"));
        }
        assert_eq!(lines.named(Some(0)), "lines 4 to 7");
        assert_eq!(lines.named(None), "lines 4 to 7");
        assert_eq!(Lines::one(line(3)).named(None), "line 3");
    }
}
