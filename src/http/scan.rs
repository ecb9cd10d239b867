//! Finds the end of a block of header lines while it arrives, looking at each
//! byte once, and refuses what httparse would let pass.

use super::error::ProtocolError;

/// Bytes looked at together while nothing but text comes.
const STRIDE: usize = 16;

/// The place reached in a block of lines that ends with an empty one.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LineScan {
    at: usize,
    line_start: usize,
    /// Complete lines so far, without the empty one.
    lines: usize,
}

impl LineScan {
    /// Whether the first line is still incomplete.
    pub(super) const fn in_first_line(&self) -> bool {
        self.line_start == 0
    }

    /// Complete lines seen, without the empty one.
    pub(super) const fn lines(&self) -> usize {
        self.lines
    }

    /// Goes on in `bytes`, which begin with what earlier calls saw. Returns the
    /// length of the block, its empty line included, once that has arrived.
    ///
    /// The verdict depends on the bytes in their order alone, not on how they
    /// were cut into pieces.
    pub(super) fn advance(&mut self, bytes: &[u8]) -> Result<Option<usize>, ProtocolError> {
        loop {
            let rest = bytes.get(self.at..).unwrap_or_default();
            let starts_folded = matches!(rest.first(), Some(b' ' | b'\t'));
            if self.at == self.line_start && self.at > 0 && starts_folded {
                return Err(ProtocolError::FoldedHeader);
            }
            let text = text_len(rest);
            let after = rest.get(text..).unwrap_or_default();
            match after {
                [] | [b'\r'] => {
                    self.at += text;
                    return Ok(None);
                }
                [b'\r', b'\n', ..] => {
                    let line_end = self.at + text;
                    let empty = line_end == self.line_start;
                    self.at = line_end + 2;
                    self.line_start = self.at;
                    if empty {
                        return Ok(Some(self.at));
                    }
                    self.lines += 1;
                }
                [b'\r' | b'\n', ..] => return Err(ProtocolError::LineEnd),
                [..] => return Err(ProtocolError::ControlCharacter),
            }
        }
    }
}

/// How many bytes from the start are text: anything but control characters,
/// tabs excepted.
fn text_len(bytes: &[u8]) -> usize {
    let strides = bytes
        .chunks_exact(STRIDE)
        .take_while(|stride| !stride.iter().fold(false, |any, &byte| any | is_control(byte)))
        .count();
    let skipped = strides * STRIDE;
    let rest = bytes.get(skipped..).unwrap_or_default();
    skipped + rest.iter().take_while(|&&byte| !is_control(byte) || byte == b'\t').count()
}

const fn is_control(byte: u8) -> bool {
    byte < 0x20 || byte == 0x7f
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_empty_line() {
        let block = b"GET / HTTP/1.1\r\nHost: a\r\nX:\ttab and more than one stride\r\n\r\nrest";
        let mut scan = LineScan::default();
        assert_eq!(scan.advance(block), Ok(Some(block.len() - 4)));
        assert_eq!(scan.lines(), 3);
        assert_eq!(LineScan::default().advance(b"\r\n"), Ok(Some(2)));
    }

    #[test]
    fn gives_the_same_verdict_byte_by_byte() {
        type Case = (&'static [u8], Result<Option<usize>, ProtocolError>);
        let cases: [Case; 11] = [
            (b"a\r\nb\r\n\r\n", Ok(Some(8))),
            (b"a\r\nb\r\n\r", Ok(None)),
            (b"a\r\nb", Ok(None)),
            (b"a\nb\r\n\r\n", Err(ProtocolError::LineEnd)),
            (b"a\rb\r\n\r\n", Err(ProtocolError::LineEnd)),
            (b"a\r\r\n\r\n", Err(ProtocolError::LineEnd)),
            (b"a\r\n\n", Err(ProtocolError::LineEnd)),
            (b"a\r\n b\r\n\r\n", Err(ProtocolError::FoldedHeader)),
            (b"a\r\n\tb\r\n\r\n", Err(ProtocolError::FoldedHeader)),
            (b"a\0\r\n\r\n", Err(ProtocolError::ControlCharacter)),
            (b"0123456789abcdef\x7f\r\n\r\n", Err(ProtocolError::ControlCharacter)),
        ];
        for (block, verdict) in cases {
            assert_eq!(LineScan::default().advance(block), verdict, "{block:?}");
            let mut scan = LineScan::default();
            let mut last = Ok(None);
            for end in 1..=block.len() {
                last = scan.advance(&block[..end]);
                if last != Ok(None) {
                    break;
                }
            }
            assert_eq!(last, verdict, "byte by byte: {block:?}");
        }
    }
}
