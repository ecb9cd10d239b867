//! What a file or standard input is before it is read as JSON: compressed text is
//! unpacked, and what is no UTF-8 is named.

use std::io::{self, Cursor, ErrorKind, Read};

use flate2::read::MultiGzDecoder;

/// A text, from its first byte.
pub(super) struct Input {
    pub(super) reader: Box<dyn Read>,
    /// It is unpacked, so that its length is not the file's.
    pub(super) is_unpacked: bool,
}

/// Looks at the first bytes. No more of them are waited for than a line has.
///
/// # Errors
/// It is not UTF-8 text, nor packed by gzip.
pub(super) fn open(reader: impl Read + 'static) -> io::Result<Input> {
    let (start, reader) = peek(reader)?;
    if !start.starts_with(GZIP) {
        check(&start)?;
        return Ok(Input { reader: Box::new(reader), is_unpacked: false });
    }
    let (start, reader) = peek(MultiGzDecoder::new(reader))?;
    check(&start)?;
    Ok(Input { reader: Box::new(reader), is_unpacked: true })
}

const GZIP: &[u8] = &[0x1f, 0x8b];
/// How files begin that are packed otherwise.
const PACKED: [(&[u8], &str); 3] = [
    (&[0x28, 0xb5, 0x2f, 0xfd], "it is packed by zstd: unpack it first (gzip is read)"),
    (b"BZh", "it is packed by bzip2: unpack it first (gzip is read)"),
    (&[0xfd, b'7', b'z', b'X', b'Z', 0], "it is packed by xz: unpack it first (gzip is read)"),
];
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();
const UTF_16: [&[u8]; 2] = [&[0xff, 0xfe], &[0xfe, 0xff]];
/// As many bytes as tell a byte from the half of a UTF-16 unit.
const START_BYTES_MIN: usize = 2;

/// A reader whose first bytes were read before.
type Peeked<R> = io::Chain<Cursor<Vec<u8>>, R>;

/// Bytes read at once: whoever reads on gets all that came with the first ones.
const READ_BYTES: usize = 64 << 10;

/// The first bytes, and a reader that begins with them.
fn peek<R: Read>(mut reader: R) -> io::Result<(Vec<u8>, Peeked<R>)> {
    let (mut start, mut block) = (Vec::new(), vec![0; READ_BYTES]);
    let may_be_longer = |start: &[u8]| {
        let packed = PACKED.iter().map(|(mark, _)| *mark);
        packed
            .chain([BYTE_ORDER_MARK])
            .any(|mark| mark.len() > start.len() && mark.starts_with(start))
    };
    while start.len() < START_BYTES_MIN || may_be_longer(&start) {
        match reader.read(&mut block) {
            Ok(0) => break,
            Ok(count) => start.extend_from_slice(block.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok((start.clone(), Cursor::new(start).chain(reader)))
}

fn check(start: &[u8]) -> io::Result<()> {
    let packed = PACKED.iter().find(|(mark, _)| start.starts_with(mark));
    let what = if let Some((_, what)) = packed {
        what
    } else if start.starts_with(BYTE_ORDER_MARK) {
        "it begins with a byte order mark (U+FEFF), which JSON does not have: remove it"
    } else if UTF_16.iter().any(|mark| start.starts_with(mark))
        || matches!(start, [0, _, ..] | [_, 0, ..])
    {
        "it is UTF-16 or UTF-32, and only UTF-8 is read: iconv -t UTF-8 converts it"
    } else if start.starts_with(GZIP) {
        "it is packed by gzip twice"
    } else {
        return Ok(());
    };
    Err(io::Error::new(ErrorKind::InvalidData, what))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    fn packed(text: &[u8]) -> Vec<u8> {
        let mut packer = GzEncoder::new(Vec::new(), Compression::default());
        packer.write_all(text).unwrap();
        packer.finish().unwrap()
    }

    fn read(bytes: &[u8]) -> io::Result<String> {
        let mut text = String::new();
        open(Cursor::new(bytes.to_vec()))?.reader.read_to_string(&mut text)?;
        Ok(text)
    }

    #[test]
    fn text_is_read_as_it_is_and_packed_text_is_unpacked() {
        for text in ["", "1", "{}", "{\"a\":1}\n", "\"é\"", "(\n"] {
            assert_eq!(read(text.as_bytes()).unwrap(), text);
            assert_eq!(read(&packed(text.as_bytes())).unwrap(), text);
        }
        let two = [packed(b"1\n"), packed(b"2\n")].concat();
        assert_eq!(read(&two).unwrap(), "1\n2\n", "as cat joins them");
        let half = packed(b"{\"a\":1}\n{\"a\":2}\n");
        assert!(read(&half[..half.len() - 6]).is_err(), "torn");
    }

    #[test]
    fn what_comes_with_the_first_bytes_is_not_held_back() {
        let text = b"2\n3.0\n";
        let mut input = open(Cursor::new(text)).unwrap();
        let mut block = [0; 64];
        let count = input.reader.read(&mut block).unwrap();
        assert_eq!(&block[..count], text, "in one piece, as it came");
    }

    #[test]
    fn what_is_no_utf_8_is_named() {
        let utf16 =
            |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
        for (bytes, word) in [
            ("\u{feff}{}".as_bytes().to_vec(), "byte order mark"),
            (utf16("\u{feff}{}"), "UTF-16"),
            (utf16("{}"), "UTF-16"),
            (utf16("{}").into_iter().rev().collect(), "UTF-16"),
            (PACKED[0].0.to_vec(), "zstd"),
            (b"BZh91AY&SY".to_vec(), "bzip2"),
            (PACKED[2].0.to_vec(), "xz"),
            (packed(&packed(b"{}")), "twice"),
            (packed("\u{feff}{}".as_bytes()), "byte order mark"),
        ] {
            let error = read(&bytes).unwrap_err().to_string();
            assert!(error.contains(word), "{bytes:?}: {error}");
        }
    }
}
