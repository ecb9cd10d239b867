//! Who was refused, and why: told once in a while each, since a node that is refused comes again at once.

use std::{cell::RefCell, collections::HashMap, io, time::Instant};

use uuid::Uuid;

use super::hello::Refusal;
use crate::{
    base::{
        ids::{ClusterId, NodeId},
        timing::REFUSED_AGAIN,
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
pub(super) struct Refused(RefCell<HashMap<(Identity, &'static str), Instant>>);

impl Refused {
    /// Tells of a refusal at the greeting.
    pub(super) fn tell(&self, from: Identity, to: NodeId, refusal: Refusal) {
        let why = why_refused(refusal);
        if self.is_news((from, why)) {
            let Identity { cluster, node: from } = from;
            tracing::warn!(from, %cluster, to, why, "a node was refused");
        }
    }

    /// Tells of a node that shows the certificate of another host.
    pub(super) fn tell_wrong_name(&self, from: Identity, address: &str) {
        if self.is_news((from, NOT_ITS_NAME)) {
            let Identity { cluster, node: from } = from;
            tracing::warn!(from, %cluster, address, why = NOT_ITS_NAME, "a node was refused");
        }
    }

    /// Tells of somebody who did not come to terms on TLS, where that was not for the network's sake.
    pub(super) fn tell_no_terms(&self, error: &io::Error) {
        let nobody = Identity { cluster: ClusterId(Uuid::nil()), node: 0 };
        if error.kind() == io::ErrorKind::InvalidData && self.is_news((nobody, NO_TERMS)) {
            tracing::warn!(%error, why = NO_TERMS, "a node was refused");
        }
    }

    fn is_news(&self, who: (Identity, &'static str)) -> bool {
        let (mut known, now) = (self.0.borrow_mut(), cores::now());
        if known.len() >= REFUSED_MAX {
            known.retain(|_, at| now.duration_since(*at) < REFUSED_AGAIN);
        }
        let before = known.get(&who);
        if before.is_some_and(|at| now.duration_since(*at) < REFUSED_AGAIN) {
            return false;
        }
        // Where there are more, they are strangers who make names up.
        if known.len() < REFUSED_MAX {
            known.insert(who, now);
            return true;
        }
        false
    }
}

/// A refusal as the node that refuses tells of it.
fn why_refused(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::Version(_) => "it speaks another version of the protocol",
        Refusal::Cluster(_) => "it belongs to another cluster",
        Refusal::Node(_) => "it asked for another node than this",
        Refusal::SameNode => "it has the number of this node",
        Refusal::Removed => "it was removed from the cluster",
        Refusal::OtherProcess => "it is a second process with the number of a member that is alive",
    }
}
