//! What caches may keep of a page of changes. History does not change, so a page that others follow
//! is the same for ever; one at the end of its list is so for a moment. That is said only to who names
//! the history, since ids mean something else in another one.

use crate::{
    api::request::{ChangesQuery, Consistency, ListName, Since, accept::negotiated},
    base::{ids::ChangeId, names::parse_uuid},
    http::{Request, Response},
};

/// For a page that stays as it is.
const FIXED: [&str; 2] =
    ["public, max-age=31536000, immutable", "private, max-age=31536000, immutable"];
/// For one that something may follow soon.
const BRIEF: [&str; 2] = ["public, max-age=1", "private, max-age=1"];

/// How a page may be kept, by what its request says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::api) struct Caching {
    /// Whoever asks shows who it is.
    is_private: bool,
    /// What is asked for names a place of the list and no moment, and nothing by a name that may
    /// become another's.
    is_fixed: bool,
    /// It need not be as new as can be.
    may_be_old: bool,
    /// `If-None-Match`: pages that the client has.
    known: Option<Box<str>>,
}

impl Caching {
    /// Of a request for a list; nothing when it does not name the history. `by_name` tells whether
    /// its path names something by a name.
    pub(in crate::api) fn of(
        request: &Request,
        query: &ChangesQuery<'_>,
        by_name: bool,
    ) -> Option<Box<Self>> {
        query.cluster?;
        let is_name = |name: &ListName<'_>| match name {
            ListName::Tenant(text) | ListName::Collection(text) => parse_uuid(text).is_none(),
        };
        // Where a list begins moves with retention: who came by an old page from there would be
        // sent back to its beginning for ever.
        let is_place = match query.since {
            Since::Id(id) => id > ChangeId::ZERO,
            Since::Before(id) => id.is_some(),
            Since::Now | Since::Later(_) => false,
        };
        let is_moment = matches!(query.since, Since::Now | Since::Before(None));
        let known = request.header("if-none-match");
        let has = |name: &str| request.header(name).is_some();
        Some(Box::new(Self {
            is_private: has("authorization") || has("cookie"),
            is_fixed: is_place && !by_name && !query.lists.iter().any(is_name),
            may_be_old: query.consistency == Consistency::Local && !is_moment,
            known: known.and_then(|known| std::str::from_utf8(known).ok()).map(Box::from),
        }))
    }

    /// What is said of a page; nothing of one that must not be kept.
    fn control(&self, changes: usize, at_end: bool) -> Option<&'static str> {
        let who = usize::from(self.is_private);
        match (changes, at_end) {
            (0, _) => None,
            (_, false) if self.is_fixed => Some(FIXED[who]),
            _ if self.may_be_old => Some(BRIEF[who]),
            _ => None,
        }
    }

    fn knows(&self, tag: &str) -> bool {
        let is_known = |known: &str| known == "*" || known.trim_start_matches("W/") == tag;
        self.known.iter().flat_map(|known| known.split(',')).any(|known| is_known(known.trim()))
    }
}

/// The answer with a page of so many changes, and what caches may do with it.
pub(super) fn answer(
    caching: Option<&Caching>,
    body: bytes::Bytes,
    changes: usize,
    at_end: bool,
) -> Response {
    let control = caching.and_then(|caching| caching.control(changes, at_end));
    let (Some(caching), Some(control)) = (caching, control) else {
        return negotiated(Response::json(200, body));
    };
    let tag = format!("\"{:08x}-{:x}\"", crc32c::crc32c(&body), body.len());
    let response = match caching.knows(&tag) {
        true => Response::new(304),
        false => Response::json(200, body),
    };
    // Weak: it is the same page whatever its bytes are packed by.
    negotiated(response)
        .with_header("ETag", format!("W/{tag}"))
        .with_header("Cache-Control", control)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caching() -> Caching {
        Caching { is_private: false, is_fixed: true, may_be_old: true, known: None }
    }

    #[test]
    fn only_what_stays_is_kept_for_long() {
        let brief = Caching { is_fixed: false, ..caching() };
        let new = Caching { may_be_old: false, ..brief.clone() };
        let private = Caching { is_private: true, ..caching() };
        for (caching, fixed, brief) in [
            (caching(), Some(FIXED[0]), Some(BRIEF[0])),
            (private, Some(FIXED[1]), Some(BRIEF[1])),
            (brief, Some(BRIEF[0]), Some(BRIEF[0])),
            (new, None, None),
            (Caching { may_be_old: false, ..caching() }, Some(FIXED[0]), None),
        ] {
            assert_eq!((caching.control(1, false), caching.control(1, true)), (fixed, brief));
            assert_eq!((caching.control(0, false), caching.control(0, true)), (None, None));
        }
    }

    #[test]
    fn a_page_that_the_client_has_is_not_sent_again() {
        let tag = "\"0000abcd-1f\"";
        for (known, knows) in [
            (None, false),
            (Some("*"), true),
            (Some("\"0000abcd-1f\""), true),
            (Some("\"x\", W/\"0000abcd-1f\""), true),
            (Some("\"0000abcd-1\""), false),
            (Some(""), false),
        ] {
            let caching = Caching { known: known.map(Box::from), ..caching() };
            assert_eq!(caching.knows(tag), knows, "{known:?}");
        }
    }
}
