//! Who was refused, and why: told once in a while each, since a node that is refused comes again at once.

use std::{
    cell::RefCell,
    collections::HashMap,
    io,
    time::{Duration, Instant},
};

use uuid::Uuid;

use super::hello::{Hello, Refusal};
use crate::{
    base::{
        ids::ClusterId,
        timing::{REFUSED_AGAIN, UNREACHED_TOLD},
    },
    io::cores,
    log::Identity,
};

/// How many of those are remembered.
const REFUSED_MAX: usize = 64;
/// Why a node is refused that shows another's certificate.
const NOT_ITS_NAME: &str = "its certificate does not have the name of its host";
/// Why one is refused that does not come as far as saying who it is.
const NO_TERMS: &str =
    "it does not speak TLS as the nodes of this cluster do, or shows no certificate of its CA";

/// Who was refused lately, and why: each is told of once in a while, since a node
/// that is refused comes again at once.
#[derive(Default)]
pub(super) struct Refused(RefCell<HashMap<(Identity, &'static str), Seen>>);

/// What there is to tell of a refusal.
enum News {
    /// It is the first, and may be usual.
    First,
    /// It is not, or lasts.
    Lasts,
}

/// When somebody was refused.
#[derive(Clone, Copy)]
struct Seen {
    /// For the first time of those that followed each other.
    first: Instant,
    last: Instant,
    told: Option<Instant>,
}

impl Refused {
    /// Tells of a refusal at the greeting.
    pub(super) fn tell(&self, hello: &Hello, refusal: Refusal, peer: &str) {
        let Hello { from, to, version, .. } = *hello;
        let why = why_refused(refusal, version);
        // A node that is taken in is called for a moment by what it is not yet.
        let usual = match refusal {
            Refusal::Cluster(_) | Refusal::Node(_) => UNREACHED_TOLD,
            // It comes again at once in a version of this node, or says itself why it cannot.
            Refusal::Version(own) if own < version => Duration::MAX,
            _ => Duration::ZERO,
        };
        let news = self.news((from, why), usual);
        let Identity { cluster, node: from } = from;
        match news {
            Some(News::Lasts) => {
                tracing::warn!(from, peer, %cluster, to, why, "a node was refused");
            }
            Some(News::First) => {
                tracing::info!(from, peer, %cluster, to, why, "a node was refused");
            }
            None => {}
        }
    }

    /// Tells of a node that shows the certificate of another host.
    pub(super) fn tell_wrong_name(&self, from: Identity, address: &str, peer: &str) {
        if self.news((from, NOT_ITS_NAME), Duration::ZERO).is_some() {
            let Identity { cluster, node: from } = from;
            tracing::warn!(from, peer, %cluster, address, why = NOT_ITS_NAME, "a node was refused");
        }
    }

    /// Tells of somebody who did not come to terms on TLS, where that was not for the network's sake.
    pub(super) fn tell_no_terms(&self, error: &io::Error, peer: &str) {
        let nobody = Identity { cluster: ClusterId(Uuid::nil()), node: 0 };
        if error.kind() == io::ErrorKind::InvalidData
            && self.news((nobody, NO_TERMS), Duration::ZERO).is_some()
        {
            tracing::warn!(peer, %error, why = NO_TERMS, "a node was refused");
        }
    }

    /// What there is to tell of a refusal, where some are `usual` for so long.
    fn news(&self, who: (Identity, &'static str), usual: Duration) -> Option<News> {
        let (mut known, now) = (self.0.borrow_mut(), cores::now());
        let is_recent = |at: Instant| now.duration_since(at) < REFUSED_AGAIN;
        if known.len() >= REFUSED_MAX {
            known.retain(|_, seen| is_recent(seen.last));
        }
        let before = known.get(&who).filter(|seen| is_recent(seen.last));
        let mut seen = before.copied().unwrap_or(Seen { first: now, last: now, told: None });
        let lasts = now.duration_since(seen.first) >= usual;
        let news = match lasts && !seen.told.is_some_and(is_recent) {
            true => Some(News::Lasts),
            false => (before.is_none() && !lasts).then_some(News::First),
        };
        seen.last = now;
        if let Some(News::Lasts) = news {
            seen.told = Some(now);
        }
        // Where there are more, they are strangers who make names up.
        if known.len() >= REFUSED_MAX && !known.contains_key(&who) {
            return None;
        }
        known.insert(who, seen);
        news
    }
}

/// A refusal as the node that refuses tells of it.
fn why_refused(refusal: Refusal, said: u32) -> &'static str {
    match refusal {
        Refusal::Version(own) if own < said => {
            "it asked in a newer version of the protocol, and may ask again in an older one"
        }
        Refusal::Version(_) => "it speaks only older versions of the protocol",
        Refusal::Cluster(_) => "it belongs to another cluster",
        Refusal::Node(_) => "it asked for another node than this",
        Refusal::SameNode => "it has the number of this node",
        Refusal::Removed => "it was removed from the cluster",
        Refusal::OtherProcess => "it is a second process with the number of a member that is alive",
    }
}
