//! The search for the highest rate that a server sustains. Pure: it names a rate and is told
//! whether that was sustained.

/// The search ends when the rates on both sides of the limit are as close as this.
const RATIO_MAX: f64 = 1.05;
/// Most rates that are tried.
pub(crate) const STEPS_MAX: usize = 24;

/// A search: doubles the rate until it is not sustained, or halves it until it is, then closes in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sweep {
    next: f64,
    /// The highest rate that was sustained, and the lowest that was not.
    sustained: Option<f64>,
    refused: Option<f64>,
    steps: usize,
}

impl Sweep {
    /// A search that begins with this rate.
    pub(crate) fn new(first: f64) -> Self {
        Self { next: first, sustained: None, refused: None, steps: 0 }
    }

    /// The rate to try next; `None` at the end.
    pub(crate) fn next(&self) -> Option<f64> {
        let is_close = match (self.sustained, self.refused) {
            (Some(sustained), Some(refused)) => refused / sustained <= RATIO_MAX,
            _ => false,
        };
        (!is_close && self.steps < STEPS_MAX && self.next >= 1.0).then_some(self.next)
    }

    /// Takes in whether the rate that was named last was sustained.
    pub(crate) fn tried(&mut self, is_sustained: bool) {
        self.steps += 1;
        if is_sustained {
            self.sustained = Some(self.next);
        } else {
            self.refused = Some(self.next);
        }
        self.next = match (self.sustained, self.refused) {
            (Some(sustained), Some(refused)) => (sustained * refused).sqrt(),
            (Some(sustained), None) => sustained * 2.0,
            (None, Some(refused)) => refused / 2.0,
            (None, None) => self.next,
        };
    }

    /// The highest rate that was sustained.
    pub(crate) fn sustained(&self) -> Option<f64> {
        self.sustained
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(first: f64, limit: f64) -> (Option<f64>, usize) {
        let mut sweep = Sweep::new(first);
        let mut steps = 0;
        while let Some(rate) = sweep.next() {
            sweep.tried(rate <= limit);
            steps += 1;
        }
        (sweep.sustained(), steps)
    }

    #[test]
    fn the_limit_is_closed_in_on_from_both_sides() {
        for first in [10.0, 1_000.0, 40_000.0, 5_000_000.0] {
            let (found, steps) = search(first, 31_234.0);
            let found = found.expect("a rate");
            assert!((29_700.0..=31_234.0).contains(&found), "{first}: {found}");
            assert!(steps <= 20, "{first}: {steps}");
        }
    }

    #[test]
    fn a_search_ends_where_there_is_no_limit_and_where_nothing_is_sustained() {
        let (found, steps) = search(1.0, f64::INFINITY);
        assert_eq!(steps, STEPS_MAX);
        assert!(found > Some(8_000_000.0));
        assert_eq!(search(1_000.0, 0.0).0, None);
    }
}
