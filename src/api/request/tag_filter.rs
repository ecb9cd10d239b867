//! The filter of `tag=` parameters, matched against tags in their stored
//! spelling without decoding them.

use crate::base::{json_string::write_json_string, tags::elements};

/// Tags of which a change must bear at least one; none asked for lets every
/// change through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TagFilter {
    /// Canonical spellings, quotes included.
    wanted: Vec<Vec<u8>>,
}

impl TagFilter {
    /// A filter for any of `tags`.
    pub fn new<'t>(tags: impl IntoIterator<Item = &'t str>) -> Self {
        let mut wanted: Vec<Vec<u8>> = Vec::new();
        for tag in tags {
            let mut spelling = Vec::with_capacity(tag.len() + 2);
            write_json_string(&mut spelling, tag);
            if !wanted.contains(&spelling) {
                wanted.push(spelling);
            }
        }
        Self { wanted }
    }

    /// Whether it lets everything through.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.wanted.is_empty()
    }

    /// The tags asked for, in their stored spelling.
    pub fn spellings(&self) -> impl Iterator<Item = &[u8]> {
        self.wanted.iter().map(Vec::as_slice)
    }

    /// Whether a change passes whose stored tags are `tags`: the text between
    /// the brackets, such as `"a","b"`.
    #[must_use]
    pub fn passes(&self, tags: &[u8]) -> bool {
        self.wanted.is_empty()
            || elements(tags).any(|tag| self.wanted.iter().any(|wanted| wanted == tag))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stored(tags: &[String]) -> Vec<u8> {
        let mut out = Vec::new();
        for (n, tag) in tags.iter().enumerate() {
            if n > 0 {
                out.push(b',');
            }
            write_json_string(&mut out, tag);
        }
        out
    }

    #[test]
    fn tags_are_compared_whole() {
        let tags = stored(&["ab".into(), r#"x","y"#.into(), r"z\".into()]);
        for held in ["ab", r#"x","y"#, r"z\"] {
            assert!(TagFilter::new([held]).passes(&tags), "{held}");
            assert!(TagFilter::new(["other", held]).passes(&tags), "{held}");
        }
        for absent in ["a", "b", "x", "y", "", "z", r#"y","z"#, r#"ab","x"#, ","] {
            assert!(!TagFilter::new([absent]).passes(&tags), "{absent}");
        }
    }

    #[test]
    fn no_filter_passes_all_and_a_filter_refuses_the_untagged() {
        assert!(TagFilter::default().passes(b""));
        assert!(TagFilter::default().passes(b"\"a\""));
        assert!(!TagFilter::new(["a"]).passes(b""));
    }

    fn tag() -> impl Strategy<Value = String> {
        proptest::string::string_regex("[a-c\",\\\\\n\u{1}é]{1,4}").unwrap()
    }

    proptest! {
        #[test]
        fn a_filter_agrees_with_the_lists(
            held in proptest::collection::vec(tag(), 0..5),
            wanted in proptest::collection::vec(tag(), 1..4),
        ) {
            let any = wanted.iter().any(|tag| held.contains(tag));
            let filter = TagFilter::new(wanted.iter().map(String::as_str));
            prop_assert_eq!(filter.passes(&stored(&held)), any);
        }

        #[test]
        fn any_bytes_are_matched_without_a_panic(list in any::<Vec<u8>>()) {
            let _ = TagFilter::new(["a"]).passes(&list);
        }
    }
}
