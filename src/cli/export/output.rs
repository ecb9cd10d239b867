//! Where an export is written: standard output, or a file that can be taken up
//! again.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufWriter, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use super::super::{failure::Failure, files::sync_directory};

const BUFFER_BYTES: usize = 256 << 10;
/// Bytes that are read at once from the end of a file.
const BLOCK_BYTES: u64 = 64 << 10;

/// Where lines go.
pub(super) enum Output {
    Stdout(BufWriter<io::Stdout>),
    File { path: PathBuf, file: BufWriter<File> },
}

impl Output {
    pub(super) fn stdout() -> Self {
        Self::Stdout(BufWriter::with_capacity(BUFFER_BYTES, io::stdout()))
    }

    /// A new file.
    ///
    /// # Errors
    /// It exists: what is there is never written over.
    pub(super) fn create(path: &Path) -> Result<Self, Failure> {
        let file = OpenOptions::new().write(true).create_new(true).open(path);
        let file = file.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => Failure::Other(format!(
                "{}: exists already; --resume goes on after its last line",
                path.display()
            )),
            _ => Failure::file(path)(error),
        })?;
        sync_directory(path)?;
        Ok(Self::file(path, file))
    }

    /// A file that may exist, without the torn line at its end, and its last
    /// complete line.
    pub(super) fn resume(path: &Path) -> Result<(Self, Option<Vec<u8>>), Failure> {
        let open =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
        let mut file = open.map_err(Failure::file(path))?;
        let last = cut_to_lines(&mut file).map_err(Failure::file(path))?;
        sync_directory(path)?;
        Ok((Self::file(path, file), last))
    }

    fn file(path: &Path, file: File) -> Self {
        let file = BufWriter::with_capacity(BUFFER_BYTES, file);
        Self::File { path: path.to_owned(), file }
    }

    /// Writes one line.
    pub(super) fn line(&mut self, line: &[u8]) -> Result<(), Failure> {
        fn write(out: &mut impl Write, line: &[u8]) -> io::Result<()> {
            out.write_all(line)?;
            out.write_all(b"\n")
        }
        match self {
            Self::Stdout(out) => write(out, line).map_err(Failure::output),
            Self::File { path, file } => write(file, line).map_err(Failure::file(path)),
        }
    }

    /// Makes sure that everything has arrived where it goes.
    pub(super) fn finish(self) -> Result<(), Failure> {
        match self {
            Self::Stdout(mut out) => out.flush().map_err(Failure::output),
            Self::File { path, mut file } => {
                let synced = file.flush().and_then(|()| file.get_ref().sync_all());
                synced.map_err(Failure::file(&path))
            }
        }
    }
}

/// Cuts what follows the last line break, goes to the end, and gives back the
/// last line.
fn cut_to_lines(file: &mut File) -> io::Result<Option<Vec<u8>>> {
    let size = file.seek(SeekFrom::End(0))?;
    let Some(end) = last_break(file, size)? else {
        file.set_len(0)?;
        file.seek(SeekFrom::Start(0))?;
        return Ok(None);
    };
    file.set_len(end + 1)?;
    let start = last_break(file, end)?.map_or(0, |before| before + 1);
    file.seek(SeekFrom::Start(start))?;
    let mut line = Vec::new();
    Read::by_ref(file).take(end - start).read_to_end(&mut line)?;
    file.seek(SeekFrom::Start(end + 1))?;
    Ok(Some(line))
}

/// Where the last line break before `end` stands.
fn last_break(file: &mut File, end: u64) -> io::Result<Option<u64>> {
    let mut end = end;
    let mut block = Vec::new();
    while end > 0 {
        let start = end.saturating_sub(BLOCK_BYTES);
        file.seek(SeekFrom::Start(start))?;
        block.clear();
        Read::by_ref(file).take(end - start).read_to_end(&mut block)?;
        if let Some(at) = block.iter().rposition(|&byte| byte == b'\n') {
            return Ok(Some(start + at as u64));
        }
        end = start;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resumed(text: &[u8]) -> (Option<Vec<u8>>, Vec<u8>) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let (mut output, last) = Output::resume(file.path()).unwrap();
        output.line(b"new").unwrap();
        output.finish().unwrap();
        (last, std::fs::read(file.path()).unwrap())
    }

    #[test]
    fn a_torn_last_line_is_cut_and_writing_goes_on_after_the_one_before() {
        for (text, last, then) in [
            (&b""[..], None, &b"new\n"[..]),
            (b"torn", None, b"new\n"),
            (b"one\n", Some(&b"one"[..]), b"one\nnew\n"),
            (b"one\ntwo\n", Some(b"two"), b"one\ntwo\nnew\n"),
            (b"one\ntwo\nto", Some(b"two"), b"one\ntwo\nnew\n"),
        ] {
            assert_eq!(resumed(text), (last.map(Into::into), then.into()));
        }
    }

    #[test]
    fn lines_longer_than_a_block_are_found() {
        let long = vec![b'x'; 3 * BLOCK_BYTES as usize + 1];
        let mut text = b"one\n".to_vec();
        text.extend_from_slice(&long);
        text.push(b'\n');
        let torn = [text.clone(), long.clone()].concat();
        let (last, then) = resumed(&torn);
        assert_eq!(last, Some(long));
        assert_eq!(then, [text, b"new\n".to_vec()].concat());
    }

    #[test]
    fn a_file_that_exists_is_not_written_over() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(Output::create(file.path()).is_err());
    }
}
