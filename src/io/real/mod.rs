//! The parts of the seam that meet the operating system. The executor of a core is
//! glommio's ([`uring`]), or where io_uring is not allowed one of our own ([`portable`]).

mod aligned;
pub mod clock;
pub mod core;
pub(super) mod cores;
pub mod disk;
pub mod executor;
mod files;
mod line_file;
pub(super) mod map;
pub(super) mod net;
mod output;
mod polled;
mod poller;
pub mod portable;
mod regular;
pub mod signals;
pub mod trial;
pub mod uring;

pub use files::DirectoryFiles;
pub use line_file::LineFile;
