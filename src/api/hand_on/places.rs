//! How much one core hands on at once: each takes a descriptor, and memory for what it waits for.

use std::cell::Cell;

use crate::api::error::{ApiError, Code};

/// The requests of one core that wait for an origin.
pub(in crate::api) struct HandedOn {
    most: usize,
    all: Cell<usize>,
    /// Invariant: at most `all`, and half of `most`, or one.
    reads: Cell<usize>,
}

impl HandedOn {
    /// None of at most so many, which are one at least. Half of them may be reads, so that those which
    /// wait for something to happen leave room for what makes it happen.
    pub(in crate::api) fn new(most: usize) -> Self {
        Self { most: most.max(1), all: Cell::new(0), reads: Cell::new(0) }
    }

    /// A place for a read.
    ///
    /// # Errors
    /// [`Code::Overloaded`]
    pub(super) fn read(&self) -> Result<Place<'_>, ApiError> {
        let most = (self.most / 2).max(1);
        match self.reads.get() < most && self.all.get() < self.most {
            true => Ok(Place::take(self, true)),
            false => Err(overloaded(format!("{most} reads wait for the origin of this cache"))),
        }
    }

    /// A place for a write.
    ///
    /// # Errors
    /// [`Code::Overloaded`]
    pub(super) fn write(&self) -> Result<Place<'_>, ApiError> {
        let most = self.most;
        match self.all.get() < most {
            true => Ok(Place::take(self, false)),
            false => Err(overloaded(format!(
                "{most} requests wait for the origin of this cache: the write did not happen"
            ))),
        }
    }
}

fn overloaded(detail: String) -> ApiError {
    ApiError::new(Code::Overloaded, detail)
}

/// One of these requests; given back when dropped.
pub(super) struct Place<'h> {
    of: &'h HandedOn,
    is_read: bool,
}

impl<'h> Place<'h> {
    fn take(of: &'h HandedOn, is_read: bool) -> Self {
        of.all.set(of.all.get() + 1);
        of.reads.set(of.reads.get() + usize::from(is_read));
        assert!(of.reads.get() <= of.all.get() && of.all.get() <= of.most, "no more than may be");
        Self { of, is_read }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.of.all.set(self.of.all.get() - 1);
        self.of.reads.set(self.of.reads.get() - usize::from(self.is_read));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_requests_wait_for_an_origin_and_no_more_and_half_of_them_are_reads() {
        let held = HandedOn::new(4);
        let mut reads: Vec<_> = (0..2).map(|_| held.read().ok().unwrap()).collect();
        assert!(held.read().is_err_and(|error| error.code == Code::Overloaded));
        let writes: Vec<_> = (0..2).map(|_| held.write().ok().unwrap()).collect();
        assert!(held.write().is_err_and(|error| error.code == Code::Overloaded));
        reads.pop();
        let third = held.write().ok().unwrap();
        assert!(held.read().is_err() && held.write().is_err());
        drop((reads, writes, third));
        assert_eq!((held.all.get(), held.reads.get()), (0, 0));
        // However few there may be.
        let lone = HandedOn::new(0);
        drop(lone.read().ok().unwrap());
        drop(lone.write().ok().unwrap());
    }
}
