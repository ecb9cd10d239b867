//! The seam to the machine: the disk, the network, the clocks and the executor. [`real`] is
//! what the program runs on, `simulated` what tests run it on.

mod callers;
pub mod cores;
mod dialer;
mod disk;
pub mod lock;
pub mod map;
pub mod net;
pub mod process;
pub mod real;
#[cfg(test)]
pub mod simulated;
pub mod tls;

pub use dialer::Dialer;
pub use disk::{
    BLOCK, Disk, DiskFile, FileInfo, FileName, Files, OpenMode, Output, is_bad_place,
    is_directory_failed, put_file, sync_directory,
};
