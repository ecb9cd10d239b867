//! Parts of a target as it was sent, and the target without what nobody else may see.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// The parameter that bears a ticket.
pub(in crate::api) const TICKET: &str = "ticket";

/// A target without scheme and authority.
pub(in crate::api) fn origin_form(target: &str) -> &str {
    let Some((_, rest)) = target.split_once("://").filter(|_| !target.starts_with('/')) else {
        return target;
    };
    rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/")
}

/// The path of a target, as it stands there.
pub(in crate::api) fn path_of(target: &str) -> &str {
    origin_form(target).split('?').next().unwrap_or_default()
}

/// A target without the tickets that its query bears.
pub(in crate::api) fn without_ticket(target: &str) -> Cow<'_, str> {
    let Some((path, query)) = target.split_once('?') else { return target.into() };
    let is_ticket = |pair: &str| {
        let name = pair.split('=').next().unwrap_or_default();
        percent_decode_str(name).eq(TICKET.bytes())
    };
    if !query.split('&').any(is_ticket) {
        return target.into();
    }
    let rest: Vec<&str> = query.split('&').filter(|pair| !is_ticket(pair)).collect();
    match rest.is_empty() {
        true => path.into(),
        false => format!("{path}?{}", rest.join("&")).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_goes_on_without_the_place_that_it_was_sent_to() {
        for (target, want, path) in [
            ("/changes?a=http://b", "/changes?a=http://b", "/changes"),
            ("http://here:1/changes?x=1", "/changes?x=1", "/changes"),
            ("http://here", "/", "/"),
        ] {
            assert_eq!(origin_form(target), want);
            assert_eq!(path_of(target), path);
        }
    }

    #[test]
    fn a_ticket_is_taken_out_however_it_is_spelled() {
        for (target, want) in [
            ("/changes", "/changes"),
            ("/changes?since=1", "/changes?since=1"),
            ("/changes?ticket=x", "/changes"),
            ("/changes?ticket", "/changes"),
            ("/changes?since=1&ticket=x&limit=2", "/changes?since=1&limit=2"),
            ("/changes?%74icke%74=x&ticket=y&tickets=z", "/changes?tickets=z"),
            ("/ticket=x?tag=ticket", "/ticket=x?tag=ticket"),
        ] {
            assert_eq!(without_ticket(target), want);
        }
    }
}
