//! The parts of the seam that meet the operating system; the executor of a core is
//! glommio's ([`uring`]).

pub mod core;
pub mod disk;
mod files;
mod line_file;
pub(super) mod map;
pub(super) mod net;
mod output;
mod polled;
mod poller;
mod regular;
pub mod signals;
pub mod uring;

pub use files::DirectoryFiles;
pub use line_file::LineFile;
