//! The request target (RFC 9112, section 3.2): its path segments and query,
//! percent-decoded once and strictly.

use super::{error::ProtocolError, method::Method, span::Span};
use smallvec::SmallVec;
use std::ops::Range;

/// Path segments of one target, decoded.
pub(super) type Segments<'a> = SmallVec<[&'a str; 8]>;

/// Where the parts of a target lie. They are looked up in `decoded` where
/// anything had to be decoded, else in the target as it was sent.
#[derive(Debug)]
pub(super) struct Target {
    authority: Option<Span>,
    segments: SmallVec<[Span; 5]>,
    query: SmallVec<[(Span, Span); 3]>,
    decoded: Option<Box<str>>,
}

impl Target {
    /// Parses `raw`, which is ASCII without white space or control characters.
    pub(super) fn parse(method: Method, raw: &str) -> Result<Self, ProtocolError> {
        let mut target = Self {
            authority: None,
            segments: SmallVec::new(),
            query: SmallVec::new(),
            decoded: None,
        };
        if raw == "*" {
            let allowed = method == Method::Options;
            return if allowed { Ok(target) } else { Err(ProtocolError::Target) };
        }
        if method == Method::Connect {
            let port = raw.rsplit_once(':').map(|(_, port)| port.as_bytes()).unwrap_or_default();
            if port.is_empty() || !port.iter().all(u8::is_ascii_digit) || !is_authority(raw) {
                return Err(ProtocolError::Target);
            }
            target.authority = Some(span(0..raw.len())?);
            return Ok(target);
        }
        let mut path_start = 0;
        if !raw.starts_with('/') {
            let authority = authority(raw).ok_or(ProtocolError::Target)?;
            if !is_authority(raw.get(authority.clone()).unwrap_or_default()) {
                return Err(ProtocolError::Host);
            }
            path_start = authority.end;
            target.authority = Some(span(authority)?);
        }
        if raw.contains('#') {
            return Err(ProtocolError::Target);
        }
        let path_end = raw.find('?').unwrap_or(raw.len());
        let query = (path_end < raw.len()).then_some(path_end + 1..raw.len());
        let mut decoder = Decoder::new(raw, path_start);
        let path =
            if path_start == path_end { path_end..path_end } else { path_start + 1..path_end };
        for segment in split(raw, path, '/') {
            target.segments.push(decoder.text(segment, false)?);
        }
        for parameter in query.into_iter().flat_map(|query| split(raw, query, '&')) {
            if parameter.is_empty() {
                continue;
            }
            let text = raw.get(parameter.clone()).unwrap_or_default();
            let equals = text.find('=').unwrap_or(text.len());
            let name = parameter.start..parameter.start + equals;
            let value = (name.end + 1).min(parameter.end)..parameter.end;
            target.query.push((decoder.text(name, true)?, decoder.text(value, true)?));
        }
        target.decoded = decoder.finish();
        Ok(target)
    }

    pub(super) fn authority<'a>(&self, raw: &'a str) -> Option<&'a str> {
        self.authority.map(|span| span.text(raw))
    }

    pub(super) fn segments<'a>(&'a self, raw: &'a str) -> Segments<'a> {
        let text = self.decoded.as_deref().unwrap_or(raw);
        self.segments.iter().map(|span| span.text(text)).collect()
    }

    pub(super) fn query<'a>(&'a self, raw: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        let text = self.decoded.as_deref().unwrap_or(raw);
        self.query.iter().map(move |(name, value)| (name.text(text), value.text(text)))
    }
}

fn span(range: Range<usize>) -> Result<Span, ProtocolError> {
    Span::of(range).ok_or(ProtocolError::UriTooLong)
}

/// The authority of an absolute-form target.
fn authority(raw: &str) -> Option<Range<usize>> {
    let scheme = ["http://", "https://"].into_iter().find(|scheme| {
        raw.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    })?;
    let start = scheme.len();
    let length = raw.get(start..)?.find(['/', '?', '#']).unwrap_or(raw.len() - start);
    (length > 0).then_some(start..start + length)
}

/// Whether `text` is a `host[:port]`: a name, an IPv4 address, or an IPv6
/// address in brackets. User information is not allowed, and neither is a
/// comma, by which two `Host` lines may have been made one.
pub(super) fn is_authority(text: &str) -> bool {
    let (host_is_valid, port) = if let Some(rest) = text.strip_prefix('[') {
        let Some((address, port)) = rest.split_once(']') else { return false };
        let valid = !address.is_empty()
            && address.bytes().all(|byte| byte.is_ascii_hexdigit() || b":.".contains(&byte));
        (valid, port)
    } else {
        let (host, port) = text.split_at(text.find(':').unwrap_or(text.len()));
        (!host.is_empty() && is_name(host.as_bytes()), port)
    };
    let port_is_valid = match port.strip_prefix(':') {
        Some(digits) => digits.len() <= 5 && digits.bytes().all(|byte| byte.is_ascii_digit()),
        None => port.is_empty(),
    };
    host_is_valid && port_is_valid
}

/// RFC 3986's `reg-name` without the comma.
fn is_name(mut host: &[u8]) -> bool {
    loop {
        host = match host {
            [] => return true,
            [b'%', high, low, rest @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                rest
            }
            [byte, rest @ ..]
                if byte.is_ascii_alphanumeric() || b"-._~!$&'()*+;=".contains(byte) =>
            {
                rest
            }
            _ => return false,
        }
    }
}

/// The pieces of `raw[range]` between separators, as ranges of `raw`.
fn split(raw: &str, range: Range<usize>, separator: char) -> impl Iterator<Item = Range<usize>> {
    let mut start = range.start;
    raw.get(range).unwrap_or_default().split(separator).map(move |piece| {
        let piece = start..start + piece.len();
        start = piece.end + 1;
        piece
    })
}

/// Turns pieces of a target into spans of text, decoding only where the target
/// needs it.
struct Decoder<'a> {
    raw: &'a str,
    decoded: Option<String>,
    piece: Vec<u8>,
}

impl<'a> Decoder<'a> {
    fn new(raw: &'a str, path_start: usize) -> Self {
        let encoded = raw.bytes().skip(path_start).any(|byte| byte == b'%' || byte == b'+');
        Self { raw, decoded: encoded.then(|| String::with_capacity(raw.len())), piece: Vec::new() }
    }

    fn text(&mut self, range: Range<usize>, plus_is_space: bool) -> Result<Span, ProtocolError> {
        let Some(decoded) = &mut self.decoded else { return span(range) };
        self.piece.clear();
        let raw = self.raw.as_bytes().get(range).unwrap_or_default();
        decode(raw, plus_is_space, &mut self.piece).ok_or(ProtocolError::TargetEncoding)?;
        let piece = std::str::from_utf8(&self.piece).map_err(|_| ProtocolError::TargetEncoding)?;
        let start = decoded.len();
        decoded.push_str(piece);
        span(start..decoded.len())
    }

    fn finish(self) -> Option<Box<str>> {
        self.decoded.map(String::into_boxed_str)
    }
}

/// Appends `raw` percent-decoded; nothing when an escape is malformed.
fn decode(mut raw: &[u8], plus_is_space: bool, out: &mut Vec<u8>) -> Option<()> {
    loop {
        raw = match raw {
            [] => return Some(()),
            [b'%', high, low, rest @ ..] => {
                out.push(hex_digit(*high)? << 4 | hex_digit(*low)?);
                rest
            }
            [b'%', ..] => return None,
            [b'+', rest @ ..] if plus_is_space => {
                out.push(b' ');
                rest
            }
            [byte, rest @ ..] => {
                out.push(*byte);
                rest
            }
        }
    }
}

/// The value of a hexadecimal digit.
pub(super) const fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Parts = (Vec<String>, Vec<(String, String)>);

    fn parts(raw: &str) -> Result<Parts, ProtocolError> {
        let target = Target::parse(Method::Get, raw)?;
        let query = target.query(raw).map(|(name, value)| (name.to_owned(), value.to_owned()));
        Ok((
            target.segments(raw).iter().map(|&segment| segment.to_owned()).collect(),
            query.collect(),
        ))
    }

    #[test]
    fn splits_before_it_decodes() {
        type Case<'a> = (&'a str, &'a [&'a str], &'a [(&'a str, &'a str)]);
        let cases: [Case<'_>; 15] = [
            ("/", &[""], &[]),
            ("/changes", &["changes"], &[]),
            ("/changes/", &["changes", ""], &[]),
            ("/a//b/./../c", &["a", "", "b", ".", "..", "c"], &[]),
            ("/a%2Fb/c", &["a/b", "c"], &[]),
            ("/%00/a%00b?%00=%00", &["\0", "a\0b"], &[("\0", "\0")]),
            ("/%C3%bc/%e2%82%ac", &["ü", "€"], &[]),
            ("/a+b?c+d=e+f%2B", &["a+b"], &[("c d", "e f+")]),
            ("/x?since=1&limit=2", &["x"], &[("since", "1"), ("limit", "2")]),
            (
                "/x?a&b=&=c&&a=%26%3D&d==",
                &["x"],
                &[("a", ""), ("b", ""), ("", "c"), ("a", "&="), ("d", "=")],
            ),
            ("/x?", &["x"], &[]),
            ("/x?a=/y?z", &["x"], &[("a", "/y?z")]),
            ("http://h:80/x?y=1", &["x"], &[("y", "1")]),
            ("HTTP://[::1]", &[""], &[]),
            ("http://h?y=%41", &[""], &[("y", "A")]),
        ];
        for (raw, segments, query) in cases {
            let (found, found_query) = parts(raw).unwrap();
            assert_eq!(found, segments, "{raw}");
            let found_query: Vec<_> =
                found_query.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            assert_eq!(found_query, query, "{raw}");
        }
    }

    #[test]
    fn refuses_what_is_not_encoded_well() {
        for raw in [
            "/%",
            "/%4",
            "/%4g",
            "/%%41",
            "/%ff",
            "/%C3",
            "/%C3/%BC",
            "/%c0%80",
            "/%ed%a0%80",
            "/?%zz",
            "/?a=%",
            "/?a=%f0%28",
            "/%+1",
        ] {
            assert_eq!(parts(raw), Err(ProtocolError::TargetEncoding), "{raw}");
        }
        for raw in
            ["", "a", "*", "h:80", "ftp://h/", "http:/h", "http://", "http:///x", "/a#b", "?a"]
        {
            assert_eq!(parts(raw), Err(ProtocolError::Target), "{raw}");
        }
        for raw in ["http://u@h/", "http://[::1/", "http://h:x/", "http://:80/", "http://a,b/"] {
            assert_eq!(parts(raw), Err(ProtocolError::Host), "{raw}");
        }
    }

    #[test]
    fn asterisk_is_for_options() {
        let target = Target::parse(Method::Options, "*").unwrap();
        assert!(target.segments("*").is_empty());
    }

    #[test]
    fn connect_has_a_host_and_a_port() {
        for raw in ["a:80", "[::1]:443"] {
            let target = Target::parse(Method::Connect, raw).unwrap();
            assert_eq!((target.authority(raw), target.segments(raw).len()), (Some(raw), 0));
        }
        for raw in ["", "a", "a:", ":80", "a:b", "[::1]", "a:8:0", "/a", "http://a:80/", "u@a:80"] {
            assert_eq!(Target::parse(Method::Connect, raw).err(), Some(ProtocolError::Target));
        }
    }

    #[test]
    fn knows_a_host() {
        for host in [
            "a",
            "a.b-c_d~",
            "127.0.0.1:80",
            "a:",
            "[::1]",
            "[::ffff:1.2.3.4]:65535",
            "a%41",
            "x!$&'()*+;=",
        ] {
            assert!(is_authority(host), "{host}");
        }
        for host in [
            "", ":80", "a b", "a,b", "a@b", "a/b", "a:b", "a:123456", "[", "[]", "[g]", "[::1]x",
            "a%4", "a:8:0", "ü", "a\"",
        ] {
            assert!(!is_authority(host), "{host}");
        }
    }

    proptest! {
        #[test]
        fn decodes_what_was_encoded(segment in "(?s).{0,12}", name in "(?s).{1,12}", value in "(?s).{0,12}") {
            let encode = |text: &str| text.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>();
            let raw = format!("/{}?{}={}", encode(&segment), encode(&name), encode(&value));
            prop_assert_eq!(parts(&raw), Ok((vec![segment], vec![(name, value)])));
        }
    }
}
