//! The parts of the seam that meet the operating system.

pub mod disk;
mod files;
pub(super) mod map;
pub(super) mod net;

pub use files::DirectoryFiles;
