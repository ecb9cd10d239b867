//! A disk that only holds bytes: no faults, nothing volatile, and it answers at once.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    io::{self, Write},
    rc::Rc,
};

use crate::io::{Disk, DiskFile, FileInfo, FileName, Files, OpenMode, Output, map::Mapping};

/// Every file's bytes, by its name. Clones are the same disk.
#[derive(Clone, Default)]
pub(super) struct HeldDisk(Rc<RefCell<BTreeMap<String, Vec<u8>>>>);

impl HeldDisk {
    pub(super) fn put(&self, name: &FileName, bytes: Vec<u8>) {
        self.0.borrow_mut().insert(name.to_owned(), bytes);
    }

    pub(super) fn snapshot(&self) -> BTreeMap<String, Vec<u8>> {
        self.0.borrow().clone()
    }
}

fn missing() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl Disk for HeldDisk {
    type File = HeldFile;
    type Files = NoFiles;

    async fn open(&self, name: &FileName, mode: OpenMode) -> io::Result<HeldFile> {
        let mut files = self.0.borrow_mut();
        match (mode, files.contains_key(name)) {
            (OpenMode::Create, false) => {
                files.insert(name.to_owned(), Vec::new());
            }
            (OpenMode::Create, true) => return Err(io::ErrorKind::AlreadyExists.into()),
            (OpenMode::Read | OpenMode::WriteDurable, true) => {}
            (OpenMode::Read | OpenMode::WriteDurable, false) => return Err(missing()),
        }
        Ok(HeldFile { disk: self.clone(), name: name.to_owned() })
    }

    async fn list(&self) -> io::Result<Vec<FileInfo>> {
        let info = |(name, bytes): (&String, &Vec<u8>)| FileInfo {
            name: name.clone(),
            bytes: bytes.len() as u64,
        };
        Ok(self.0.borrow().iter().map(info).collect())
    }

    async fn rename(&self, from: &FileName, to: &FileName) -> io::Result<()> {
        let bytes = self.0.borrow_mut().remove(from).ok_or_else(missing)?;
        self.put(to, bytes);
        Ok(())
    }

    async fn remove(&self, name: &FileName) -> io::Result<()> {
        self.0.borrow_mut().remove(name).map(drop).ok_or_else(missing)
    }

    async fn sync_directory(&self) -> io::Result<()> {
        Ok(())
    }

    async fn pause(&self) {}

    async fn free_bytes(&self) -> io::Result<u64> {
        Ok(1 << 40)
    }

    fn files(&self) -> NoFiles {
        NoFiles
    }
}

pub(super) struct HeldFile {
    disk: HeldDisk,
    name: String,
}

impl HeldFile {
    fn with<T>(&self, act: impl FnOnce(&mut Vec<u8>) -> T) -> io::Result<T> {
        self.disk.0.borrow_mut().get_mut(&self.name).map(act).ok_or_else(missing)
    }
}

impl DiskFile for HeldFile {
    type Buffer = Vec<u8>;

    fn buffer(&self, bytes: usize) -> Vec<u8> {
        vec![0; bytes]
    }

    async fn read_at(&self, at: u64, bytes: usize) -> io::Result<Vec<u8>> {
        let start = usize::try_from(at).map_err(io::Error::other)?;
        self.with(|file| {
            let rest = file.get(start..).unwrap_or_default();
            rest[..bytes.min(rest.len())].to_vec()
        })
    }

    async fn write_at(&self, buffer: Vec<u8>, at: u64) -> io::Result<Vec<u8>> {
        let start = usize::try_from(at).map_err(io::Error::other)?;
        self.with(|file| {
            file.resize(file.len().max(start + buffer.len()), 0);
            file[start..start + buffer.len()].copy_from_slice(&buffer);
        })?;
        Ok(buffer)
    }

    async fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    async fn set_len(&self, bytes: u64) -> io::Result<()> {
        let bytes = usize::try_from(bytes).map_err(io::Error::other)?;
        self.with(|file| file.resize(bytes, 0))
    }

    async fn file_bytes(&self) -> io::Result<u64> {
        self.with(|file| file.len() as u64)
    }

    async fn close(self) -> io::Result<()> {
        Ok(())
    }
}

/// Nothing works off the core here.
#[derive(Clone)]
pub(super) struct NoFiles;

fn never<T>() -> io::Result<T> {
    Err(io::ErrorKind::Unsupported.into())
}

impl Files for NoFiles {
    type Output = NoOutput;

    fn list(&self) -> io::Result<Vec<FileInfo>> {
        never()
    }

    fn read(&self, _: &FileName) -> io::Result<Vec<u8>> {
        never()
    }

    fn create(&self, _: &FileName) -> io::Result<NoOutput> {
        never()
    }

    fn write_from(&self, _: &FileName, _: u64) -> io::Result<NoOutput> {
        never()
    }

    fn rename(&self, _: &FileName, _: &FileName) -> io::Result<()> {
        never()
    }

    fn remove(&self, _: &FileName) -> io::Result<()> {
        never()
    }

    fn map(&self, _: &FileName) -> io::Result<Mapping> {
        never()
    }

    fn sync_directory(&self) -> io::Result<()> {
        never()
    }
}

pub(super) struct NoOutput;

impl Write for NoOutput {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        never()
    }

    fn flush(&mut self) -> io::Result<()> {
        never()
    }
}

impl Output for NoOutput {
    fn sync(&mut self) -> io::Result<()> {
        never()
    }
}
