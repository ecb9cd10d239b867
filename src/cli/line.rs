//! Lines of NDJSON, read in bounded memory.

use std::io::{self, BufRead, Read};

use super::node::ANSWER_BYTES_MAX;

/// The longest line: no node holds a longer change.
const LINE_BYTES_MAX: u64 = ANSWER_BYTES_MAX;

/// Reads the next line, with its line break, in place of what `line` held;
/// `false` at the end. Only the last line may lack its line break.
pub(super) fn read_line(reader: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    let count = reader.take(LINE_BYTES_MAX).read_until(b'\n', line)?;
    if count as u64 == LINE_BYTES_MAX && !is_complete(line) {
        let text = format!("a line is longer than {LINE_BYTES_MAX} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    Ok(count > 0)
}

/// Whether the line has its line break.
pub(super) fn is_complete(line: &[u8]) -> bool {
    line.last() == Some(&b'\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_one_by_one_with_their_breaks() {
        let mut reader = &b"a\n\nbc"[..];
        let mut line = Vec::new();
        let mut lines = Vec::new();
        while read_line(&mut reader, &mut line).unwrap() {
            lines.push(line.clone());
        }
        assert_eq!(lines, [&b"a\n"[..], b"\n", b"bc"]);
        assert!(is_complete(&lines[1]) && !is_complete(&lines[2]));
    }
}
