//! Operations of a ring, on the real disk.

use std::{
    cell::Cell, fs::File, os::unix::fs::OpenOptionsExt as _, rc::Rc, sync::Arc, time::Duration,
};

use super::{
    file::{read_whole, sync, write_whole},
    queue::{DEPTH, Ring},
};
use crate::io::{
    BLOCK,
    cores::{sleep, spawn, yield_now},
    real::{
        aligned::AlignedBuffer,
        core::{FileAccess, Kind},
        cores::Executor,
        portable::core,
    },
};

fn block(byte: u8) -> AlignedBuffer {
    let mut buffer = AlignedBuffer::zeroed(BLOCK);
    buffer.as_mut().fill(byte);
    buffer
}

fn executor() -> Executor {
    Executor::of(Kind::Portable(FileAccess::Ring))
}

/// A directory beside the build.
fn directory() -> tempfile::TempDir {
    let beside = std::env::current_exe().unwrap();
    tempfile::tempdir_in(beside.parent().unwrap()).unwrap()
}

/// Runs a test on a core, with a directory.
fn run<F: Future<Output = ()>>(test: impl FnOnce(tempfile::TempDir) -> F) {
    executor().block_on(test(directory()));
}

/// The file of that name, new, to be read and written.
fn file(directory: &tempfile::TempDir, name: &str) -> Arc<File> {
    let path = directory.path().join(name);
    let made = File::options().read(true).write(true).create_new(true).open(path);
    Arc::new(made.unwrap())
}

fn ring() -> Rc<Ring> {
    core::ring().expect("the core has a ring")
}

async fn write(file: &Arc<File>, buffer: AlignedBuffer, at: u64) -> std::io::Result<()> {
    write_whole(&ring(), file, buffer, at).await.0
}

#[test]
fn more_operations_than_the_ring_takes_at_once_are_all_done() {
    run(async |directory| {
        let file = file(&directory, "a");
        let count = 10 * u64::from(DEPTH);
        let writes: Vec<_> = (0..count)
            .map(|at| {
                let file = Arc::clone(&file);
                spawn(async move { write(&file, block(at as u8), at * BLOCK as u64).await })
            })
            .collect();
        for write in writes {
            write.await.unwrap().unwrap();
        }
        sync(&ring(), &file).await.unwrap();
        let all = AlignedBuffer::zeroed((count as usize + 1) * BLOCK);
        let all = read_whole(&ring(), &file, all, 0).await.unwrap();
        assert_eq!(all.as_ref().len(), count as usize * BLOCK, "to the end of the file");
        for (at, read) in all.as_ref().chunks(BLOCK).enumerate() {
            assert!(read.iter().all(|byte| *byte == at as u8), "{at}");
        }
    });
}

#[test]
fn a_core_that_sleeps_hears_of_each_operation() {
    run(async |directory| {
        let made = file(&directory, "a");
        write(&made, block(7), 0).await.unwrap();
        let path = directory.path().join("a");
        let options =
            File::options().read(true).write(true).custom_flags(libc::O_DIRECT).open(path);
        let direct = Arc::new(options.unwrap());
        // There is no timer that would end the sleep otherwise. A direct read comes back by an interrupt
        // of the disk, a sync from a thread of the kernel.
        for round in 0..300 {
            let read = read_whole(&ring(), &direct, block(0), 0).await.unwrap();
            assert_eq!(read.as_ref(), [7; BLOCK], "{round}");
            sync(&ring(), &made).await.unwrap();
        }
    });
}

#[test]
fn what_is_given_up_before_it_went_out_goes_to_its_own_file() {
    run(async |directory| {
        let first = file(&directory, "first");
        // It is closed here, as far as anybody but the operation has it.
        let write = spawn(async move { write(&first, block(7), 0).await });
        // The task runs, and its operation does not go out before this one waits.
        let second = spawn(async move {
            write.cancel();
            assert!(write.await.is_none());
            // It would take the number of the descriptor, if that was free.
            file(&directory, "second");
            while std::fs::read(directory.path().join("first")).unwrap().len() < BLOCK {
                sleep(Duration::from_millis(1)).await;
            }
            assert_eq!(std::fs::read(directory.path().join("first")).unwrap(), [7; BLOCK]);
            assert!(std::fs::read(directory.path().join("second")).unwrap().is_empty());
        });
        yield_now().await;
        assert!(second.await.is_some());
    });
}

#[test]
fn as_many_as_are_given_up_leave_room_for_others() {
    run(async |directory| {
        let file = file(&directory, "a");
        for round in 0..4 {
            let writes = (0..3 * u64::from(DEPTH)).map(|at| {
                let file = Arc::clone(&file);
                spawn(async move { write(&file, block(1), at * BLOCK as u64).await })
            });
            let writes: Vec<_> = writes.collect();
            yield_now().await;
            writes.iter().for_each(|write| write.cancel());
            write(&file, block(round), 0).await.unwrap();
            for write in writes {
                write.await.map_or(Ok(()), |outcome| outcome).unwrap();
            }
        }
    });
}

#[test]
fn a_core_ends_after_what_its_ring_has_under_way() {
    let (executor, directory) = (executor(), directory());
    let file = file(&directory, "a");
    let count = 4 * u64::from(DEPTH);
    let begun = Rc::new(Cell::new(0));
    executor.block_on(async {
        for at in 0..count {
            let (file, begun) = (Arc::clone(&file), Rc::clone(&begun));
            spawn(async move {
                begun.set(begun.get() + 1);
                write(&file, block(1), at * BLOCK as u64).await
            });
        }
        while begun.get() < count {
            yield_now().await;
        }
    });
    drop(executor);
    assert_eq!(Arc::strong_count(&file), 1, "neither tasks nor operations have it");
    let written = std::fs::read(directory.path().join("a")).unwrap();
    assert!(written.len() as u64 == count * BLOCK as u64 && written.iter().all(|&byte| byte == 1));
}

#[test]
fn what_the_kernel_refuses_is_an_error_of_its_number() {
    run(async |directory| {
        let path = directory.path().join("a");
        File::create(&path).unwrap();
        let read_only = Arc::new(File::open(path).unwrap());
        let refused = write(&read_only, block(1), 0).await.unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::EBADF));
        let full = File::options().read(true).write(true).open("/dev/full").unwrap();
        let refused = write(&Arc::new(full), block(1), 0).await.unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::ENOSPC));
    });
}
