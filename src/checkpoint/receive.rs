//! Checkpoints that other nodes send: each is written into a file of its own, verified as a
//! whole, and only then takes the place of what the node had.

use std::{
    cell::Cell,
    io::{self, Write},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;

use super::{
    format::{self, Head},
    store::{INCOMING, Writer, create, file_name, remove, sync, sync_name},
};
use crate::{
    base::ids::ClusterId,
    io::{Files, cores},
};

/// Names one checkpoint on its way.
pub type Transmission = u64;

/// Takes checkpoints in, one at a time.
pub struct Receiver<F: Files> {
    files: F,
    cluster: ClusterId,
    /// What is written at the moment.
    file: Arc<Mutex<Begun<Writer<F>>>>,
    next: Cell<Transmission>,
}

/// A checkpoint under way, with its number.
type Begun<W> = Option<(Transmission, W)>;

fn lock<W>(file: &Mutex<Begun<W>>) -> MutexGuard<'_, Begun<W>> {
    // A panic under the lock ends the process, so poison is never seen.
    file.lock().unwrap_or_else(PoisonError::into_inner)
}

fn given_up() -> io::Error {
    io::Error::other("another checkpoint was begun meanwhile")
}

fn name(of: Transmission) -> String {
    format!("{INCOMING}{of}")
}

impl<F: Files> Receiver<F> {
    /// Into the directory of `files`, which is that of a member of `cluster`.
    pub fn new(files: F, cluster: ClusterId) -> Self {
        Self { files, cluster, file: Arc::new(Mutex::new(None)), next: Cell::new(1) }
    }

    /// Begins to take one in; one that was under way is given up.
    pub fn begin(&self) -> impl Future<Output = io::Result<Transmission>> + use<F> {
        let id = self.next.replace(self.next.get() + 1);
        let (files, file) = (self.files.clone(), Arc::clone(&self.file));
        cores::off_core(move || {
            let new = create(&files, &name(id))?;
            let before = lock(&file).replace((id, new));
            // Whoever sent it has given up, or will hear of it.
            before.map_or(Ok(()), |(before, _)| remove(&files, &name(before)))?;
            Ok(id)
        })
    }

    /// Adds the next part.
    pub fn append(
        &self,
        to: Transmission,
        part: Bytes,
    ) -> impl Future<Output = io::Result<()>> + use<F> {
        let file = Arc::clone(&self.file);
        cores::off_core(move || match &mut *lock(&file) {
            Some((id, file)) if *id == to => file.write_all(&part),
            _ => Err(given_up()),
        })
    }

    /// Verifies what was taken in and makes it durable, beside the others.
    pub fn end(&self, of: Transmission) -> impl Future<Output = io::Result<Head>> + use<F> {
        let (files, cluster, file) = (self.files.clone(), self.cluster, Arc::clone(&self.file));
        let verify = move || {
            verify(&files, cluster, of, &file).inspect_err(|_| {
                // It is removed at the next start, else.
                let _ = remove(&files, &name(of));
            })
        };
        // It may be large.
        let verified = cores::on_own_thread("checkpoint", verify);
        async { verified.await? }
    }

    /// Makes it the one that a start begins from, as it stands for entries up to
    /// `index`: durable on return.
    pub fn install(
        &self,
        of: Transmission,
        index: u64,
    ) -> impl Future<Output = io::Result<()>> + use<F> {
        let files = self.files.clone();
        cores::off_core(move || {
            files.rename(&name(of), &file_name(index))?;
            sync_name(&files, &file_name(index))
        })
    }

    /// Removes what was taken in, unless it was installed.
    pub fn discard(&self, of: Transmission) -> impl Future<Output = io::Result<()>> + use<F> {
        let files = self.files.clone();
        cores::off_core(move || remove(&files, &name(of)))
    }
}

fn verify<F: Files>(
    files: &F,
    cluster: ClusterId,
    of: Transmission,
    file: &Mutex<Begun<Writer<F>>>,
) -> io::Result<Head> {
    let taken = lock(file).take_if(|(id, _)| *id == of);
    let (_, out) = taken.ok_or_else(given_up)?;
    sync(out)?;
    let map = files.map(&name(of))?;
    let bytes = map.get(0..map.len()).unwrap_or_default();
    let read = format::read(bytes).map_err(io::Error::other)?;
    if read.head.cluster != cluster.0 {
        return Err(io::Error::other("the checkpoint is that of another cluster"));
    }
    Ok(read.head)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::real::DirectoryFiles;

    #[test]
    fn transmissions_that_fail_leave_no_files() {
        let directory = tempfile::tempdir().unwrap();
        let of = DirectoryFiles::open(directory.path().to_owned()).unwrap();
        let receiver = Receiver::new(of.clone(), ClusterId(uuid::Uuid::nil()));
        let files = || of.list().unwrap().len();
        let test = async {
            for _ in 0..3 {
                let one = receiver.begin().await.unwrap();
                receiver.append(one, Bytes::from_static(b"half of it")).await.unwrap();
                assert_eq!(files(), 1, "the one before is given up");
            }
            let last = receiver.begin().await.unwrap();
            receiver.append(last, Bytes::from_static(b"no checkpoint")).await.unwrap();
            assert!(receiver.end(last).await.is_err());
            assert_eq!(files(), 0, "what is not sound is removed");
            let unused = receiver.begin().await.unwrap();
            receiver.discard(unused).await.unwrap();
            assert_eq!(files(), 0);
            receiver.discard(unused).await.unwrap();
        };
        glommio::LocalExecutorBuilder::default().make().unwrap().run(test);
    }
}
