//! `Accept`: which of the media types that a resource has is sent.

use crate::{
    api::error::{ApiError, Code},
    http::{Request, Response},
};

/// A media type that is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::api) enum Media {
    /// `application/json`
    Json,
    /// `application/x-ndjson`
    Ndjson,
    /// `application/ndjson`, the same by another name.
    PlainNdjson,
    /// `application/jsonl`, the same by a third one.
    Jsonl,
    /// `text/event-stream`
    Events,
    /// `application/octet-stream`
    Octets,
}

impl Media {
    /// Its name.
    pub(in crate::api) fn name(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Ndjson => "application/x-ndjson",
            Self::PlainNdjson => "application/ndjson",
            Self::Jsonl => "application/jsonl",
            Self::Events => "text/event-stream",
            Self::Octets => "application/octet-stream",
        }
    }

    fn parts(self) -> (&'static str, &'static str) {
        self.name().split_once('/').expect("a name of two parts")
    }
}

/// The forms of a list of changes.
pub(in crate::api) const OF_CHANGES: [Media; 5] =
    [Media::Json, Media::Ndjson, Media::PlainNdjson, Media::Jsonl, Media::Events];

/// The one of `offered` that the client likes best; among equals the one that it
/// names more exactly, then the one offered first.
///
/// # Errors
/// [`Code::NotAcceptable`] when it takes none.
pub(in crate::api) fn choose(request: &Request, offered: &[Media]) -> Result<Media, ApiError> {
    best(&ranges(request), offered).ok_or_else(|| {
        let names: Vec<&str> = offered.iter().map(|media| media.name()).collect();
        let detail = format!("this resource is served as {} only", names.join(", "));
        ApiError::new(Code::NotAcceptable, detail)
    })
}

/// Whether the client takes this and nothing else.
pub(in crate::api) fn takes_only(request: &Request, media: Media) -> bool {
    let ranges = ranges(request);
    let mut taken = ranges.iter().filter(|range| range.weight > 0).peekable();
    taken.peek().is_some() && taken.all(|range| range.exactness(media) == Some(EXACT))
}

/// Whether the client names `text/html` among what it takes, as browsers do
/// and programs do not.
pub(in crate::api) fn names_html(request: &Request) -> bool {
    request
        .headers()
        .filter(|(name, _)| name.eq_ignore_ascii_case("accept"))
        .flat_map(|(_, value)| value.split(|&byte| byte == b','))
        .filter_map(|range| range.split(|&byte| byte == b';').next())
        .any(|media_type| media_type.trim_ascii().eq_ignore_ascii_case(b"text/html"))
}

/// An answer about a list, which has another form, and other bytes, for who accepts others.
pub(in crate::api) fn negotiated(response: Response) -> Response {
    response.with_header("Vary", "Accept, Accept-Encoding")
}

fn ranges(request: &Request) -> Vec<Range<'_>> {
    let accepts = request.headers().filter(|(name, _)| name.eq_ignore_ascii_case("accept"));
    accepts
        .flat_map(|(_, value)| value.split(|&byte| byte == b','))
        .filter_map(Range::parse)
        .collect()
}

fn best(ranges: &[Range<'_>], offered: &[Media]) -> Option<Media> {
    if ranges.is_empty() {
        return offered.first().copied();
    }
    // The most exact range that matches says how much a type is liked.
    let liked = |media: Media| {
        let matching = ranges.iter().filter_map(|range| Some((range.exactness(media)?, range)));
        let (exactness, range) = matching.max_by_key(|(exactness, _)| *exactness)?;
        (range.weight > 0).then_some((range.weight, exactness))
    };
    // The first one of equals wins, which `max_by_key` would not give.
    offered
        .iter()
        .rev()
        .copied()
        .filter_map(|media| Some((liked(media)?, media)))
        .max_by_key(|(liked, _)| *liked)
        .map(|(_, media)| media)
}

/// How exactly a range names a type that it names in full.
const EXACT: u8 = 2;

/// One media range and its weight, in thousandths.
struct Range<'v> {
    kind: &'v str,
    sub: &'v str,
    weight: u32,
}

impl<'v> Range<'v> {
    fn parse(text: &'v [u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let mut parts = text.split(';').map(str::trim);
        let (kind, sub) = parts.next()?.split_once('/')?;
        let mut weight = 1000;
        for parameter in parts {
            if let Some(value) = parameter.strip_prefix("q=").or(parameter.strip_prefix("Q=")) {
                let value: f32 = value.parse().unwrap_or(1.0);
                weight = (value.clamp(0.0, 1.0) * 1000.0) as u32;
            }
        }
        Some(Self { kind, sub, weight })
    }

    /// How exactly it names a type, or nothing when it does not.
    fn exactness(&self, media: Media) -> Option<u8> {
        let (kind, sub) = media.parts();
        if self.kind == "*" && self.sub == "*" {
            return Some(0);
        }
        if !self.kind.eq_ignore_ascii_case(kind) {
            return None;
        }
        match self.sub {
            "*" => Some(1),
            other => other.eq_ignore_ascii_case(sub).then_some(EXACT),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_liked_type_is_chosen() {
        use Media::*;
        let lists = [Json, Ndjson, Events];
        for (accept, chosen) in [
            ("*/*", Some(Json)),
            ("", None),
            ("application/json;q=0.5", Some(Json)),
            ("Application/*", Some(Json)),
            ("application/json; q=0", None),
            ("application/json;q=0.000", None),
            ("text/html", None),
            ("text/html, */*;q=0.1", Some(Json)),
            ("text/event-stream", Some(Events)),
            ("text/event-stream, */*", Some(Events)),
            ("application/x-ndjson, application/json", Some(Json)),
            ("application/x-ndjson, application/json;q=0.9", Some(Ndjson)),
            ("text/event-stream;q=0.1, application/x-ndjson;q=0.2", Some(Ndjson)),
            ("*/*, application/json;q=0", Some(Ndjson)),
            ("text/*", Some(Events)),
        ] {
            let ranges: Vec<_> =
                accept.split(',').filter_map(|r| Range::parse(r.as_bytes())).collect();
            let chosen = if accept.is_empty() { Some(Json) } else { chosen };
            assert_eq!(best(&ranges, &lists), chosen, "{accept:?}");
        }
    }
}
