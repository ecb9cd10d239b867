//! `If-Match` and `If-None-Match` (RFC 9110, section 13.1): versions of a key by
//! their entity tags. The tag of a version is the id of the change that made it,
//! in quotes.

use smallvec::SmallVec;

use crate::{
    api::error::{ApiError, Code, excerpt},
    base::{
        batch::{Conditions, Versions},
        ids::ChangeId,
    },
    http::Request,
};

/// The most tags of one header.
const TAGS_MAX: usize = 256;

/// The conditions of a write.
///
/// # Errors
/// [`Code::InvalidParameter`] for a header that is no list of entity tags.
pub(in crate::api) fn of_write(request: &Request) -> Result<Conditions, ApiError> {
    Ok(Conditions {
        // By the strong comparison a weak tag matches nothing.
        if_match: versions(request, "If-Match", false)?,
        if_none_match: versions(request, "If-None-Match", true)?,
    })
}

/// Whether an `If-Match` has a weak tag, which matches nothing.
pub(in crate::api) fn has_weak_match(request: &Request) -> bool {
    let lines = request.headers().filter(|(name, _)| name.eq_ignore_ascii_case("If-Match"));
    lines
        .filter_map(|(_, value)| std::str::from_utf8(value).ok())
        .any(|value| EntityTags(value).any(|tag| tag.is_some_and(|tag| tag.weak)))
}

/// Refuses conditions where they have no meaning, rather than ignore them.
///
/// # Errors
/// [`Code::InvalidParameter`] naming the header.
pub(in crate::api) fn refuse(request: &Request) -> Result<(), ApiError> {
    for name in ["If-Match", "If-None-Match"] {
        if request.header(name).is_some() {
            return Err(invalid(name, "has a meaning for a single key only"));
        }
    }
    Ok(())
}

/// The `If-Match` and the `If-None-Match` of a read, apart from each other: they
/// are answered in different ways.
///
/// # Errors
/// [`Code::InvalidParameter`] for a header that is no list of entity tags.
pub(in crate::api) fn of_read(request: &Request) -> Result<(Conditions, Conditions), ApiError> {
    let Conditions { if_match, if_none_match } = of_write(request)?;
    let wanted = Conditions { if_match, if_none_match: None };
    Ok((wanted, Conditions { if_match: None, if_none_match }))
}

fn versions(
    request: &Request,
    name: &'static str,
    weak: bool,
) -> Result<Option<Versions>, ApiError> {
    let lines = request.headers().filter(|(other, _)| other.eq_ignore_ascii_case(name));
    let mut values = lines.map(|(_, value)| value).peekable();
    if values.peek().is_none() {
        return Ok(None);
    }
    let mut ids = SmallVec::new();
    let mut tags = 0;
    for value in values {
        let value = std::str::from_utf8(value).map_err(|_| invalid(name, "is not text"))?;
        if value == "*" && tags == 0 {
            return Ok(Some(Versions::Any));
        }
        for tag in EntityTags(value) {
            let Some(tag) = tag else {
                let what = format!("is {:?}, not * or a list of \"<id>\"", excerpt(value));
                return Err(invalid(name, &what));
            };
            tags += 1;
            if tags > TAGS_MAX {
                return Err(invalid(name, &format!("has more than {TAGS_MAX} tags")));
            }
            // A tag that is none of ours matches no version.
            if weak || !tag.weak {
                ids.extend(id(tag.opaque));
            }
        }
    }
    if tags == 0 {
        return Err(invalid(name, "is empty"));
    }
    Ok(Some(Versions::Of(ids)))
}

fn id(opaque: &str) -> Option<ChangeId> {
    let canonical = opaque.bytes().all(|byte| byte.is_ascii_digit()) && !opaque.starts_with('0');
    opaque.parse().ok().filter(|_| canonical).map(ChangeId)
}

struct EntityTag<'v> {
    weak: bool,
    opaque: &'v str,
}

/// The entity tags of a list; nothing instead of one that is malformed, and then
/// the end.
struct EntityTags<'v>(&'v str);

impl<'v> Iterator for EntityTags<'v> {
    type Item = Option<EntityTag<'v>>;

    fn next(&mut self) -> Option<Self::Item> {
        let space = |char: char| matches!(char, ' ' | '\t');
        // Empty elements count for nothing.
        let rest = self.0.trim_start_matches(|char| char == ',' || space(char));
        if rest.is_empty() {
            return None;
        }
        self.0 = "";
        let (weak, rest) = match rest.strip_prefix("W/") {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        let (opaque, after) = match rest.strip_prefix('"').and_then(|rest| rest.split_once('"')) {
            Some((opaque, after)) => (opaque, after.trim_start_matches(space)),
            None => return Some(None),
        };
        if !after.is_empty() && !after.starts_with(',') {
            return Some(None);
        }
        self.0 = after;
        Some(Some(EntityTag { weak, opaque }))
    }
}

fn invalid(name: &'static str, what: &str) -> ApiError {
    let detail = format!("header {name} {what}");
    ApiError::new(Code::InvalidParameter, detail).with_text("parameter", name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(list: &str) -> Option<Vec<(bool, &str)>> {
        EntityTags(list).map(|tag| tag.map(|tag| (tag.weak, tag.opaque))).collect()
    }

    #[test]
    fn lists_of_tags() {
        assert_eq!(read("\"5\""), Some(vec![(false, "5")]));
        assert_eq!(
            read(" \"5\" ,\t W/\"a,b\",, \"\" "),
            Some(vec![(false, "5"), (true, "a,b"), (false, "")])
        );
        for bad in
            ["5", "\"5", "\"5\"x", "\"5\" 6", "\"5\" \"6\"", "w/\"5\"", "\"5\",x", "*, \"5\""]
        {
            assert_eq!(read(bad), None, "{bad}");
        }
        assert_eq!(id("5"), Some(ChangeId(5)));
        for other in ["", "05", "0", "+5", "5 ", "99999999999999999999"] {
            assert_eq!(id(other), None, "{other}");
        }
    }
}
