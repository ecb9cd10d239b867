//! The parts of the seam that meet the operating system; the executor of a core is
//! glommio's.

pub(super) mod cores;
pub mod disk;
mod files;
pub(super) mod map;
pub(super) mod net;
mod output;
mod regular;
pub mod uring;

pub use files::DirectoryFiles;
