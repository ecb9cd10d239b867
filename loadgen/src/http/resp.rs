//! What Redis answers (RESP, version 2). Pure: it is fed bytes and says where the answers end.

use memchr::memmem;

/// Longest line of an answer, in bytes.
const LINE_BYTES_MAX: usize = 64 * 1024;

/// The answers to one request or several that were sent together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Replies {
    /// Offset behind the last of them.
    pub(crate) end: usize,
    /// One of them is an error.
    pub(crate) failed: bool,
}

/// Bytes that Redis does not send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

/// Finds the end of so many answers; `None` while they are not whole.
pub(crate) fn replies(buffer: &[u8], count: u32) -> Result<Option<Replies>, Malformed> {
    let mut found = Replies { end: 0, failed: false };
    let mut pending = u64::from(count);
    while pending > 0 {
        let rest = buffer.get(found.end..).unwrap_or_default();
        let Some(length) = memmem::find(rest, b"\r\n") else {
            return if rest.len() > LINE_BYTES_MAX { Err(Malformed) } else { Ok(None) };
        };
        let (kind, text) = rest.get(..length).and_then(<[u8]>::split_first).ok_or(Malformed)?;
        found.end += length + 2;
        pending -= 1;
        match kind {
            b'+' | b':' => {}
            b'-' => found.failed = true,
            b'$' | b'*' => {
                // A length of -1 stands for nothing.
                let length = number(text)?;
                if *kind == b'*' {
                    pending += u64::try_from(length).unwrap_or_default();
                } else if let Ok(length) = usize::try_from(length) {
                    found.end += length + 2;
                    if found.end > buffer.len() {
                        return Ok(None);
                    }
                }
            }
            _ => return Err(Malformed),
        }
    }
    Ok(Some(found))
}

/// A length of at most 9 digits.
fn number(text: &[u8]) -> Result<i64, Malformed> {
    let text = std::str::from_utf8(text).map_err(|_| Malformed)?;
    if text.len() > 10 { Err(Malformed) } else { text.parse().map_err(|_| Malformed) }
}

/// Adds a command to what is sent.
pub(crate) fn command(out: &mut Vec<u8>, words: &[&[u8]]) {
    out.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_end_where_they_end_however_they_are_cut() {
        let text = b"$3\r\n1-0\r\n*2\r\n*1\r\n:7\r\n$-1\r\n-ERR no\r\n+OK\r\n";
        for cut in 0..text.len() {
            assert_eq!(replies(&text[..cut], 4), Ok(None), "{cut}");
        }
        let all = Replies { end: text.len(), failed: true };
        assert_eq!(replies(text, 4), Ok(Some(all)));
        assert_eq!(replies(text, 1), Ok(Some(Replies { end: 9, failed: false })));
        assert_eq!(replies(b"HTTP/1.1 200 OK\r\n", 1), Err(Malformed));
        assert_eq!(replies(b"$12345678901\r\n", 1), Err(Malformed));
    }

    #[test]
    fn a_command_is_its_words_with_their_lengths() {
        let mut out = Vec::new();
        command(&mut out, &[b"XLEN", b"s"]);
        assert_eq!(out, b"*2\r\n$4\r\nXLEN\r\n$1\r\ns\r\n");
    }
}
