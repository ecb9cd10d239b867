//! Erasing what was redacted from the bytes of a batch: they keep their length, and all that lies
//! in them its place.

use bytes::{Bytes, BytesMut};

use super::{Batch, layout::ERASED};

/// The changes of one batch that are to be erased, by their numbers in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Erasure(pub Vec<u32>);

impl Erasure {
    /// The bytes of a batch without what is to be erased; the same length. Nothing when they are no
    /// batch, or have no such change.
    #[must_use]
    pub fn of(&self, payload: &Bytes) -> Option<Bytes> {
        let batch = Batch::parse(payload.clone()).ok()?;
        if self.0.iter().any(|change| *change >= batch.changes()) {
            return None;
        }
        let mut out = BytesMut::from(&payload[..]);
        for change in &self.0 {
            batch.erase(*change, &mut out);
        }
        Some(out.freeze())
    }
}

impl Batch {
    /// Erases its change number `change` in `out`, which are its bytes.
    fn erase(&self, change: u32, out: &mut [u8]) {
        let kept = self.change(change).kept_bytes();
        let suffix = self.suffix_range(change);
        out[suffix][kept..].fill(ERASED);
        // Where its tags lie and how long they are, in all versions.
        let tags = self.span_at(change) + 4;
        out[tags..tags + 4].fill(0);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::base::{
        batch::{Append, SuffixMembers, Text, encode, put_change},
        ids::{ChangeId, Timestamp},
        ttl::Ttl,
    };

    /// A batch of changes that have more and more members, and a deletion.
    fn batch(data: &[u8], tags: &[u8]) -> Batch {
        let members = |n: usize| SuffixMembers {
            tenant: (n > 0).then_some(Uuid::from_u128(1)),
            collection: (n > 1).then_some(Uuid::from_u128(2)),
            key: (n > 2).then_some("a\"1"),
            ttl: Ttl::new(60).filter(|_| n == 3),
            tags: if n == 1 { b"" } else { tags },
        };
        let mut suffixes = Vec::new();
        let write = |n, out: &mut Vec<u8>| members(n).write(out, |out| out.extend_from_slice(data));
        let mut spans: Vec<_> = (0..4).map(|n| write(n, &mut suffixes)).collect();
        let deleted = SuffixMembers { tags: b"", ttl: None, ..members(3) };
        spans.push(deleted.write_deletion(&mut suffixes));
        let (spans, suffixes) = (spans.into(), suffixes.into());
        let append = Append { spans, suffixes, ..Append::default() };
        Batch::parse(encode(&[append.into()], Timestamp(9))).unwrap()
    }

    fn shown(batch: &Batch, n: u32) -> String {
        let mut out = Vec::new();
        put_change(&mut out, ChangeId(1), batch.at(), batch.change(n).text());
        String::from_utf8(out).unwrap()
    }

    proptest! {
        #[test]
        fn what_is_erased_is_shown_as_redacted_and_nothing_else_changes(
            data in "[1-9]|\"[a-z]{0,40}\"", tagged: bool, erased in proptest::bits::u8::between(0, 5),
        ) {
            let tags: &[u8] = if tagged { b"\"xsecret\"" } else { b"" };
            let before = batch(data.as_bytes(), tags);
            let numbers = (0..5).filter(|n| erased & 1 << n != 0).collect();
            let after = Erasure(numbers).of(before.bytes()).unwrap();
            prop_assert_eq!(after.len(), before.bytes().len());
            let after = Batch::parse(after).unwrap();
            prop_assert!(after.commands().eq(before.commands()));
            for n in 0..5 {
                let is_erased = erased & 1 << n != 0;
                prop_assert_eq!(after.change(n), before.change(n).shown(is_erased));
                let text = shown(&after, n);
                prop_assert_eq!(text.contains("\"redacted\":true"), is_erased);
                prop_assert!(!is_erased || !text.contains("data") && !text.contains("secret"));
                prop_assert_eq!(text.contains("\"deleted\":true"), n == 4);
                prop_assert_eq!(before.change(n).key(), after.change(n).key());
                prop_assert_eq!(before.change(n).ttl(), after.change(n).ttl());
                let is_json = serde_json::from_str::<serde_json::Value>(&text).is_ok();
                prop_assert!(is_json, "{}", text);
            }
            if erased == 31 {
                let bytes = String::from_utf8_lossy(after.bytes());
                prop_assert!(!bytes.contains("secret") && !bytes.contains("data"));
            }
            // Once more, it is the same.
            let again = Erasure((0..5).filter(|n| erased & 1 << n != 0).collect());
            prop_assert_eq!(&again.of(after.bytes()).unwrap(), after.bytes());
        }
    }

    #[test]
    fn what_is_no_such_change_is_not_erased() {
        let batch = batch(b"1", b"");
        assert!(Erasure(vec![5]).of(batch.bytes()).is_none());
        assert!(Erasure(vec![0]).of(&Bytes::from_static(b"nothing")).is_none());
        assert_eq!(
            batch.change(0).redacted().text(),
            Text { previous: ChangeId::ZERO, stored: b"", rest: b",\"redacted\":true}" }
        );
    }
}
