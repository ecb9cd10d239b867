//! Strings in the one JSON spelling that stored text uses, so that comparing
//! bytes compares strings.

use std::borrow::Cow;

use bytes::BufMut;

/// Appends `text` as a JSON string in the one spelling that stored text uses:
/// `"` and `\` escaped, control characters as `\b \t \n \f \r` or `\u00xx`,
/// all else as it is.
pub fn write_json_string(out: &mut impl BufMut, text: &str) {
    out.put_u8(b'"');
    let mut plain = 0;
    let bytes = text.as_bytes();
    for (at, &byte) in bytes.iter().enumerate() {
        let short = match byte {
            b'"' => b'"',
            b'\\' => b'\\',
            0x08 => b'b',
            b'\t' => b't',
            b'\n' => b'n',
            0x0c => b'f',
            b'\r' => b'r',
            0x00..=0x1f => b'u',
            _ => continue,
        };
        out.put_slice(&bytes[plain..at]);
        plain = at + 1;
        out.put_slice(&[b'\\', short]);
        if short == b'u' {
            const HEX: &[u8; 16] = b"0123456789abcdef";
            out.put_slice(b"00");
            out.put_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
    }
    out.put_slice(&bytes[plain..]);
    out.put_u8(b'"');
}

/// `text` as a JSON string in that spelling.
#[must_use]
pub fn json_string(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len() + 2);
    write_json_string(&mut out, text);
    String::from_utf8_lossy(&out).into_owned()
}

/// The text of a string in that spelling, given with its quotes; `None` for
/// bytes that [`write_json_string`] does not write.
#[must_use]
pub fn read_json_string(quoted: &[u8]) -> Option<Cow<'_, str>> {
    let inner = quoted.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    let inner = std::str::from_utf8(inner).ok()?;
    let Some(first) = inner.find('\\') else { return Some(Cow::Borrowed(inner)) };
    let mut out = String::with_capacity(inner.len());
    let (plain, mut rest) = inner.split_at(first);
    out.push_str(plain);
    while let Some(escape) = rest.strip_prefix('\\') {
        let mut chars = escape.chars();
        out.push(match chars.next()? {
            '"' => '"',
            '\\' => '\\',
            'b' => '\u{8}',
            't' => '\t',
            'n' => '\n',
            'f' => '\u{c}',
            'r' => '\r',
            'u' => {
                let digits = chars.as_str().get(..4)?;
                chars = chars.as_str().get(4..)?.chars();
                char::from_u32(u32::from_str_radix(digits, 16).ok()?)?
            }
            _ => return None,
        });
        let after = chars.as_str();
        let (plain, next) = after.split_at(after.find('\\').unwrap_or(after.len()));
        out.push_str(plain);
        rest = next;
    }
    Some(Cow::Owned(out))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_string_is_written_in_its_one_spelling() {
        let mut out = Vec::new();
        write_json_string(&mut out, "a\"\\\u{8}\t\n\u{c}\r\u{1}\u{1f}é\u{7f}/");
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "\"a\\\"\\\\\\b\\t\\n\\f\\r\\u0001\\u001fé\u{7f}/\""
        );
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(text in ".{0,20}|[\\x00-\\x22\\\\é]{0,20}") {
            let mut out = Vec::new();
            write_json_string(&mut out, &text);
            let read = read_json_string(&out);
            prop_assert_eq!(read.as_deref(), Some(text.as_str()));
            let standard: String = serde_json::from_slice(&out).unwrap();
            prop_assert_eq!(standard, text);
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in any::<Vec<u8>>(), text in "\"[\\\\u0-9a\"]{0,9}\"") {
            let _ = read_json_string(&bytes);
            let _ = read_json_string(text.as_bytes());
        }
    }
}
