//! How much one core hands on at once: each takes a descriptor, and memory for what it waits for.

use std::{cell::Cell, rc::Rc};

use crate::api::error::{ApiError, Code};

/// The requests of one core that wait for an origin.
pub(in crate::api) struct HandedOn {
    most: usize,
    all: Cell<usize>,
    /// Invariant: at most `all`, and half of `most`, or one.
    reads: Cell<usize>,
    /// Those of them that stand until their clients go. Invariant: at most `reads`, and a quarter of `most`.
    streams: Cell<usize>,
}

/// What has a place.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Write,
    Read,
    Stream,
}

impl HandedOn {
    /// None of at most so many, which are one at least. Half of them may be reads, so that those which
    /// wait for something to happen leave room for what makes it happen; and half of these streams, which may
    /// stand for ever.
    pub(in crate::api) fn new(most: usize) -> Rc<Self> {
        let (all, reads, streams) = <(Cell<usize>, Cell<usize>, Cell<usize>)>::default();
        Rc::new(Self { most: most.max(1), all, reads, streams })
    }

    /// A place for a stream.
    ///
    /// # Errors
    /// [`Code::Overloaded`]
    pub(super) fn stream(self: &Rc<Self>) -> Result<Place, ApiError> {
        let most = self.most / 4;
        if self.streams.get() >= most {
            let detail =
                format!("{most} streams of its origin pass through this core of the cache");
            return Err(overloaded(detail));
        }
        self.read()?;
        Ok(Place::take(self, Kind::Stream))
    }

    /// A place for a read.
    ///
    /// # Errors
    /// [`Code::Overloaded`]
    pub(super) fn read(self: &Rc<Self>) -> Result<Place, ApiError> {
        let most = (self.most / 2).max(1);
        match self.reads.get() < most && self.all.get() < self.most {
            true => Ok(Place::take(self, Kind::Read)),
            false => Err(overloaded(format!("{most} reads wait for the origin of this cache"))),
        }
    }

    /// A place for a write.
    ///
    /// # Errors
    /// [`Code::Overloaded`]
    pub(super) fn write(self: &Rc<Self>) -> Result<Place, ApiError> {
        let most = self.most;
        match self.all.get() < most {
            true => Ok(Place::take(self, Kind::Write)),
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
pub(super) struct Place {
    of: Rc<HandedOn>,
    kind: Kind,
}

impl Place {
    fn take(of: &Rc<HandedOn>, kind: Kind) -> Self {
        let place = Self { of: Rc::clone(of), kind };
        place.each(|count| count.set(count.get() + 1));
        let (streams, reads, all) = (of.streams.get(), of.reads.get(), of.all.get());
        assert!(streams <= reads && reads <= all && all <= of.most, "no more than may be");
        place
    }

    /// Does that with each count that it is among.
    fn each(&self, change: impl Fn(&Cell<usize>)) {
        change(&self.of.all);
        if self.kind != Kind::Write {
            change(&self.of.reads);
        }
        if self.kind == Kind::Stream {
            change(&self.of.streams);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.each(|count| count.set(count.get() - 1));
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

    #[test]
    fn streams_that_stand_for_ever_leave_room_for_pages_and_for_writes() {
        let held = HandedOn::new(8);
        let mut streams: Vec<_> = (0..2).map(|_| held.stream().ok().unwrap()).collect();
        assert!(held.stream().is_err_and(|error| error.code == Code::Overloaded));
        let reads: Vec<_> = (0..2).map(|_| held.read().ok().unwrap()).collect();
        assert!(held.read().is_err());
        streams.pop();
        let third = held.read().ok().unwrap();
        assert!(held.stream().is_err(), "these are pages by now");
        let writes: Vec<_> = (0..4).map(|_| held.write().ok().unwrap()).collect();
        drop((reads, streams, third, writes));
        assert_eq!((held.all.get(), held.reads.get(), held.streams.get()), (0, 0, 0));
        assert!(HandedOn::new(3).stream().is_err(), "the last ones are for what ends");
    }
}
