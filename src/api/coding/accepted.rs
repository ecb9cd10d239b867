//! `Accept-Encoding`: which codings a client takes.

use super::kind::Coding;
use crate::http::Request;

/// How much a client likes each coding, in thousandths; 0 where it does not take it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accepted {
    gzip: u16,
    zstd: u16,
}

impl Accepted {
    /// By the headers of a request.
    #[must_use]
    pub fn of(request: &Request) -> Self {
        let values = request.headers().filter(|(name, _)| {
            // Most have another length.
            name.len() == "accept-encoding".len() && name.eq_ignore_ascii_case("accept-encoding")
        });
        Self::of_values(values.map(|(_, value)| value))
    }

    fn of_values<'v>(values: impl Iterator<Item = &'v [u8]>) -> Self {
        let (mut gzip, mut zstd, mut other, mut identity) = (None, None, None, 0);
        let items = values.filter_map(|value| std::str::from_utf8(value).ok());
        for item in items.flat_map(|value| value.split(',')) {
            let mut parts = item.split(';').map(str::trim);
            let name = parts.next().unwrap_or_default();
            let weight = parts.find_map(|part| part.strip_prefix("q=").or(part.strip_prefix("Q=")));
            let weight = weight.map_or(1.0, |text| text.parse::<f32>().unwrap_or(0.0));
            let weight = (weight.clamp(0.0, 1.0) * 1000.0) as u16;
            match Coding::named(name) {
                Some(Coding::Gzip) => gzip = Some(weight),
                Some(Coding::Zstd) => zstd = Some(weight),
                None if name == "*" => other = Some(weight),
                None if name.eq_ignore_ascii_case("identity") => identity = weight,
                None => {}
            }
        }
        // What is liked less than the plain bytes is not wanted.
        let liked = |weight: Option<u16>| {
            weight.or(other).filter(|weight| *weight >= identity).unwrap_or_default()
        };
        Self { gzip: liked(gzip), zstd: liked(zstd) }
    }

    /// The coding of a whole answer: among equals the one that costs less.
    #[must_use]
    pub fn for_answer(self) -> Option<Coding> {
        match self {
            Self { gzip: 0, zstd: 0 } => None,
            Self { gzip, zstd } if zstd >= gzip => Some(Coding::Zstd),
            _ => Some(Coding::Gzip),
        }
    }

    /// The coding of a stream: among equals the one that every client reads as it comes.
    #[must_use]
    pub fn for_stream(self) -> Option<Coding> {
        match self {
            Self { gzip: 0, zstd: 0 } => None,
            Self { gzip, zstd } if gzip >= zstd => Some(Coding::Gzip),
            _ => Some(Coding::Zstd),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_best_liked_coding_is_taken() {
        use Coding::{Gzip, Zstd};
        for (value, answer, stream) in [
            ("", None, None),
            ("identity", None, None),
            ("br, deflate", None, None),
            ("gzip", Some(Gzip), Some(Gzip)),
            ("X-GZIP;q=0.1", Some(Gzip), Some(Gzip)),
            ("gzip, deflate, br, zstd", Some(Zstd), Some(Gzip)),
            ("zstd;q=0.5, gzip", Some(Gzip), Some(Gzip)),
            ("gzip;q=0.2,zstd;q=0.3", Some(Zstd), Some(Zstd)),
            ("gzip;q=0", None, None),
            ("*", Some(Zstd), Some(Gzip)),
            ("*;q=0, zstd", Some(Zstd), Some(Zstd)),
            ("gzip;q=0.5, identity", None, None),
            ("gzip, identity;q=0.5", Some(Gzip), Some(Gzip)),
            ("gzip;q=x", None, None),
        ] {
            let accepted = Accepted::of_values(std::iter::once(value.as_bytes()));
            assert_eq!((accepted.for_answer(), accepted.for_stream()), (answer, stream), "{value}");
        }
        assert_eq!(Accepted::of_values(std::iter::empty()), Accepted::default());
    }

    proptest! {
        #[test]
        fn any_value_is_read(values in proptest::collection::vec("[a-z*;,=q0-9. ]{0,40}", 0..4)) {
            let accepted = Accepted::of_values(values.iter().map(|value| value.as_bytes()));
            prop_assert_eq!(accepted.for_answer().is_some(), accepted.for_stream().is_some());
            prop_assert!(accepted.gzip <= 1000 && accepted.zstd <= 1000);
        }
    }
}
