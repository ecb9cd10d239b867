//! Whether a copy may begin anew with an origin: what it gives up then does not come back, so nothing
//! else may be left to it. Others that have its history are asked, and those that cannot be asked are
//! waited for.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use super::{origins::Origins, said::Stands};
use crate::{
    base::{
        ids::{ClusterId, LogId},
        timing::{COPY_LOOK_PERIOD, COPY_OTHER_HISTORY, COPY_PURGED},
    },
    io::cores,
};

/// Why a copy cannot go on from an origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// That has another history: all that is here would be given up.
    OtherHistory,
    /// It has purged what comes next.
    Purged,
    /// What is here is damaged, and cannot be mended.
    Damaged,
}

impl Why {
    /// For how long others are waited for that may have what comes next.
    const fn patience(self) -> Duration {
        match self {
            Self::OtherHistory => COPY_OTHER_HISTORY,
            Self::Purged => COPY_PURGED,
            Self::Damaged => Duration::ZERO,
        }
    }

    /// Whether an origin that stands so has what comes next, by now or later.
    fn is_ended_by(self, stands: Stands) -> bool {
        match stands {
            Stands::Own { has_more } => match self {
                Self::OtherHistory => true,
                Self::Purged => has_more,
                Self::Damaged => false,
            },
            Stands::Unknown | Stands::Elsewhere => false,
        }
    }
}

/// How each origin stands, and since when: as far as that is known since one was followed.
#[derive(Debug)]
pub(super) struct Standings(Vec<Option<(Stands, Instant)>>);

impl Standings {
    /// Of so many origins, of which nothing is known.
    pub(super) fn new(count: usize) -> Self {
        Self(vec![None; count])
    }

    /// Forgets all: one is followed.
    pub(super) fn clear(&mut self) {
        self.0.fill(None);
    }

    /// Notes how the origin of that number stands now.
    pub(super) fn note(&mut self, number: usize, stands: Stands) {
        if let Some(known) = self.0.get_mut(number)
            && known.is_none_or(|(before, _)| before != stands)
        {
            *known = Some((stands, cores::now()));
        }
    }

    /// Whether the copy may begin anew with the origin `with`, from which it cannot go on: each of the
    /// others stands as that does, or has been of no use for long enough.
    pub(super) fn allow(&self, with: usize, why: Why) -> bool {
        let mut others = self.0.iter().enumerate().filter(|(number, _)| *number != with);
        others.all(|(_, known)| match *known {
            Some((Stands::Elsewhere, _)) => true,
            Some((stands, since)) => {
                !why.is_ended_by(stands) && cores::elapsed(since) >= why.patience()
            }
            None => false,
        })
    }
}

/// Looks after the other origins while a copy is made anew of the current one.
pub(super) struct Watch<'o> {
    pub(super) origins: &'o Origins,
    pub(super) why: Why,
    /// What the copy has.
    pub(super) own: (ClusterId, Option<LogId>),
    /// The longest entry that it may have, in bytes.
    pub(super) longest: usize,
    /// When they are asked next.
    next: Cell<Instant>,
}

impl<'o> Watch<'o> {
    /// To be asked from time to time, and before all ends.
    pub(super) fn new(
        origins: &'o Origins,
        why: Why,
        own: (ClusterId, Option<LogId>),
        longest: usize,
    ) -> Self {
        let next = Cell::new(cores::now() + COPY_LOOK_PERIOD);
        Self { origins, why, own, longest, next }
    }

    /// Whether the copy may begin anew with the history `cluster`: only with one of the kind for which
    /// the others were waited for.
    pub(super) fn expects(&self, cluster: ClusterId) -> bool {
        (cluster == self.own.0) == (self.why != Why::OtherHistory)
    }

    /// Asks the others, unless that was done a moment ago.
    ///
    /// # Errors
    /// The copy can go on from one of them.
    pub(super) async fn look_in_time(&self) -> Result<(), String> {
        match cores::now() < self.next.get() {
            true => Ok(()),
            false => self.look().await,
        }
    }

    /// Asks the others.
    ///
    /// # Errors
    /// The copy can go on from one of them.
    pub(super) async fn look(&self) -> Result<(), String> {
        for number in self.origins.others() {
            let stands = self.origins.look(number, self.own, self.longest).await;
            if self.why.is_ended_by(stands) {
                let address = self.origins.address_of(number);
                return Err(format!("{address} has the history of this copy"));
            }
        }
        self.next.set(cores::now() + COPY_LOOK_PERIOD);
        Ok(())
    }
}

/// Has a watch look, where there is anything to go on from; `at_last` says that nothing comes between
/// that and the end.
///
/// # Errors
/// The copy can go on from another origin.
pub(super) async fn look(watch: Option<&Watch<'_>>, at_last: bool) -> Result<(), String> {
    match watch {
        Some(watch) if at_last => watch.look().await,
        Some(watch) => watch.look_in_time().await,
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::simulated::executor::run;

    const OWN: Stands = Stands::Own { has_more: false };
    const SECOND: Duration = Duration::from_secs(1);

    /// Whether the last of three may take the place, right away and after so long.
    fn allowed(others: [Stands; 2], why: Why, after: Duration) -> bool {
        run(1, async move {
            let mut standings = Standings::new(3);
            assert!(!standings.allow(2, why), "nobody was asked");
            standings.note(0, others[0]);
            standings.note(1, others[1]);
            standings.note(2, Stands::Elsewhere);
            cores::sleep(after).await;
            // Asked again and again.
            standings.note(0, others[0]);
            standings.note(1, others[1]);
            standings.allow(2, why)
        })
    }

    #[test]
    fn a_copy_begins_anew_where_no_origin_is_left_to_it() {
        let (elsewhere, unknown) = (Stands::Elsewhere, Stands::Unknown);
        for why in [Why::OtherHistory, Why::Purged] {
            let (short, long) = (why.patience() - SECOND, why.patience() + SECOND);
            assert!(allowed([elsewhere; 2], why, Duration::ZERO));
            for others in [[unknown, elsewhere], [elsewhere, unknown], [unknown; 2]] {
                assert!(!allowed(others, why, short), "{others:?}");
                assert!(allowed(others, why, long), "{others:?}");
            }
            let more = Stands::Own { has_more: true };
            assert!(!allowed([elsewhere, more], why, 100 * long));
        }
        // One of the same history that lies behind may come to something, but not where others have
        // purged what it would have to give.
        assert!(!allowed([OWN, elsewhere], Why::OtherHistory, 100 * COPY_OTHER_HISTORY));
        assert!(!allowed([OWN, elsewhere], Why::Purged, COPY_PURGED - SECOND));
        assert!(allowed([OWN, elsewhere], Why::Purged, COPY_PURGED + SECOND));
        // What is damaged here is there.
        let more = Stands::Own { has_more: true };
        assert!(allowed([more, Stands::Unknown], Why::Damaged, Duration::ZERO));
    }

    #[test]
    fn a_copy_begins_anew_with_no_other_history_than_it_waited_for() {
        use crate::node::copy::CopyOf;
        run(3, async {
            let (origins, tenants, stale_max) = (vec!["a:1".to_owned()], Vec::new(), SECOND);
            let of = CopyOf { origins, caller: None, tenants, stale_max, token: None };
            let origins = Origins::new(&of);
            let [own, other] = [1, 2].map(|it| ClusterId(uuid::Uuid::from_u128(it)));
            let watch = |why| Watch::new(&origins, why, (own, None), 1);
            assert!(watch(Why::Purged).expects(own) && !watch(Why::Purged).expects(other));
            assert!(watch(Why::Damaged).expects(own) && !watch(Why::Damaged).expects(other));
            let elsewhere = watch(Why::OtherHistory);
            assert!(elsewhere.expects(other) && !elsewhere.expects(own));
        });
    }

    #[test]
    fn one_that_answers_once_is_waited_for_anew() {
        run(2, async {
            let mut standings = Standings::new(2);
            standings.note(0, Stands::Unknown);
            standings.note(1, Stands::Elsewhere);
            cores::sleep(COPY_OTHER_HISTORY - SECOND).await;
            standings.note(0, OWN);
            standings.note(0, Stands::Unknown);
            cores::sleep(2 * SECOND).await;
            assert!(!standings.allow(1, Why::OtherHistory));
            cores::sleep(COPY_OTHER_HISTORY).await;
            assert!(standings.allow(1, Why::OtherHistory));
            standings.clear();
            standings.note(0, Stands::Unknown);
            assert!(!standings.allow(1, Why::OtherHistory), "one was followed meanwhile");
        });
    }
}
