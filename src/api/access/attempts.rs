//! How many wrong tokens there may be, of an address and of a token.
//!
//! Each has a bucket of [`FAILURES_BURST`] that gains one each [`FAILURE_PERIOD`]; a wrong token takes one. Who has an
//! empty one is refused in the same words whatever is sent, so that the answer to a guess tells nothing. Two things
//! pass all the same, since many clients may come from one address, that of a proxy or a router:
//!
//! - tokens that the cluster made, and JWTs: of 256 random bits, and of a signature, nobody guesses one;
//! - the root token, which people may have chosen, from addresses that had shown it before.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::{
    principal::{Principal, Who},
    refused::Refused,
};
use crate::{
    base::{
        limits::{FAILURE_PERIOD, FAILURE_SOURCES_MAX, FAILURES_BURST},
        tokens::TokenId,
    },
    io::net::Network,
};

/// How often it is told at most whose tokens are refused without a look.
const TOLD_PERIOD: Duration = Duration::from_secs(60);

/// Whose wrong tokens are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Source {
    Network(Network),
    /// Those that name it, wherever they come from.
    Token(TokenId),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(network) => network.fmt(f),
            Self::Token(id) => write!(f, "token {id}"),
        }
    }
}

/// What is known of one of these.
#[derive(Clone, Copy, Debug)]
struct Known {
    /// When its bucket is full again.
    full_at: Instant,
    /// A secret of the node itself was shown there while the bucket was not empty.
    showed_root: bool,
    /// Its place in the order of use.
    used: u64,
}

impl Known {
    fn is_empty(&self, now: Instant) -> bool {
        self.full_at.saturating_duration_since(now) > FAILURE_PERIOD * (FAILURES_BURST - 1)
    }
}

/// The wrong tokens of a node.
#[derive(Debug, Default)]
pub(super) struct Attempts(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    /// Invariant: at most [`FAILURE_SOURCES_MAX`].
    known: HashMap<Source, Known>,
    /// The same by when they were used last.
    by_use: BTreeMap<u64, Source>,
    uses: u64,
    told: Option<Instant>,
}

impl Attempts {
    /// What becomes of a request whose token came to `found`, and names `id`, from there.
    ///
    /// # Errors
    /// Why it is refused: as it was found, or for the limit.
    pub(super) fn judge(
        &self,
        found: Result<Principal, Refused>,
        id: Option<TokenId>,
        from: impl FnOnce() -> Option<Network>,
        now: Instant,
    ) -> Result<Principal, Refused> {
        if let Ok(Principal { who: Who::Token(_) | Who::Jwt(_), .. }) = found {
            return found;
        }
        let network = from().map(Source::Network);
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // What is right is counted for no token.
        let token = id.filter(|_| found.is_err()).map(Source::Token);
        let sources = [network, token];
        let is_empty =
            |source: &&Source| table.known.get(source).is_some_and(|it| it.is_empty(now));
        let empty = sources.iter().flatten().find(is_empty).copied();
        if found.is_ok() {
            let Some(source) = network else { return found };
            let has_shown = table.known.get(&source).is_some_and(|it| it.showed_root);
            if empty.is_none() || has_shown {
                table.change(source, now, |known| known.showed_root = true);
                return found;
            }
        }
        if let Some(source) = empty {
            if table.told.is_none_or(|told| now.saturating_duration_since(told) >= TOLD_PERIOD) {
                table.told = Some(now);
                drop(table);
                tracing::warn!(%source, "too many wrong tokens: refused until there are fewer");
            }
            return Err(Refused::Limited);
        }
        for source in sources.into_iter().flatten() {
            table.change(source, now, |known| {
                known.full_at = known.full_at.max(now) + FAILURE_PERIOD;
            });
        }
        found
    }
}

impl Table {
    /// Has `change` done to what is known of a source, which is used last then. The one that was not used for longest
    /// makes room.
    fn change(&mut self, source: Source, now: Instant, change: impl FnOnce(&mut Known)) {
        self.uses += 1;
        let used = self.uses;
        match self.known.get(&source) {
            Some(known) => {
                self.by_use.remove(&known.used);
            }
            None if self.known.len() >= FAILURE_SOURCES_MAX => {
                if let Some((_, oldest)) = self.by_use.pop_first() {
                    self.known.remove(&oldest);
                }
            }
            None => {}
        }
        let known = Known { full_at: now, showed_root: false, used };
        let known = self.known.entry(source).or_insert(known);
        known.used = used;
        change(known);
        self.by_use.insert(used, source);
        assert!(self.known.len() <= FAILURE_SOURCES_MAX, "the table grows without a bound");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::tokens::Rights;

    const ID: Option<TokenId> = Some(TokenId(7));
    const WRONG: Result<Principal, Refused> = Err(Refused::Unknown);

    struct Site {
        attempts: Attempts,
        now: Instant,
    }

    impl Site {
        fn new() -> Self {
            Self { attempts: Attempts::default(), now: Instant::now() }
        }

        fn judge(
            &self,
            found: Result<Principal, Refused>,
            id: Option<TokenId>,
            from: u32,
        ) -> Result<Principal, Refused> {
            let network = || Some(Network::V4(from.to_be_bytes()));
            self.attempts.judge(found, id, network, self.now)
        }

        /// How many wrong ones are looked at before one is refused.
        fn looked_at(&self, id: Option<TokenId>, from: u32) -> u32 {
            let is_looked_at = |_: &u32| match self.judge(WRONG, id, from) {
                Err(Refused::Unknown) => true,
                other => {
                    assert_eq!(other, Err(Refused::Limited));
                    false
                }
            };
            (0..10_000).take_while(is_looked_at).count().try_into().unwrap()
        }
    }

    fn token() -> Result<Principal, Refused> {
        let rights = Some(Rights::ALL);
        Ok(Principal { who: Who::Token(TokenId(7)), rights, expires: None, generation: 0 })
    }

    #[test]
    fn an_address_has_a_burst_of_wrong_tokens_and_then_one_a_second() {
        let mut site = Site::new();
        assert_eq!(site.looked_at(None, 1), FAILURES_BURST);
        assert_eq!(site.looked_at(None, 2), FAILURES_BURST, "another has its own");
        site.now += FAILURE_PERIOD;
        assert_eq!(site.looked_at(None, 1), 1);
        site.now += FAILURE_PERIOD * 3;
        assert_eq!(site.looked_at(None, 1), 3);
        site.now += FAILURE_PERIOD * 10_000;
        assert_eq!(site.looked_at(None, 1), FAILURES_BURST);
    }

    #[test]
    fn a_token_has_them_from_all_addresses_together_and_stays_good() {
        let site = Site::new();
        for from in 0..FAILURES_BURST {
            assert_eq!(site.judge(WRONG, ID, from), WRONG);
        }
        assert_eq!(site.judge(WRONG, ID, 5_000), Err(Refused::Limited));
        assert_eq!(site.judge(WRONG, Some(TokenId(8)), 5_000), WRONG);
        assert_eq!(site.judge(token(), ID, 5_000), token());
    }

    #[test]
    fn a_made_token_passes_and_the_root_token_where_it_was_shown_before() {
        let site = Site::new();
        let root = Ok(Principal::ROOT);
        assert_eq!(site.judge(root, None, 1), root);
        for from in [1, 2] {
            site.looked_at(None, from);
            assert_eq!(site.judge(token(), ID, from), token());
        }
        assert_eq!(site.judge(root, None, 1), root);
        // Else an answer would tell that a guess was right.
        assert_eq!(site.judge(root, None, 2), Err(Refused::Limited));
        assert_eq!(site.judge(root, None, 3), root);
        let node = Ok(Principal::node());
        assert_eq!(site.judge(node, None, 2), Err(Refused::Limited));
        assert_eq!(site.judge(node, None, 3), node);
    }

    #[test]
    fn what_was_not_used_for_longest_is_forgotten() {
        let site = Site::new();
        let many = u32::try_from(FAILURE_SOURCES_MAX).unwrap();
        site.looked_at(None, 0);
        site.looked_at(None, 1);
        for from in 2..many {
            assert_eq!(site.judge(WRONG, None, from), WRONG);
        }
        assert_eq!(site.judge(WRONG, None, 0), Err(Refused::Limited));
        // A refusal is no use: those two go first.
        for from in many..many + 2 {
            assert_eq!(site.judge(WRONG, None, from), WRONG);
        }
        assert_eq!(site.attempts.0.lock().unwrap().known.len(), FAILURE_SOURCES_MAX);
        assert_eq!(site.looked_at(None, 0), FAILURES_BURST);
        let table = site.attempts.0.lock().unwrap();
        assert_eq!(table.by_use.len(), table.known.len());
    }
}
