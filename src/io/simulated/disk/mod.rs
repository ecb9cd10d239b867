//! A disk in memory that behaves as badly as POSIX lets a real one: [`mod@content`] and
//! [`mod@directory`] say what a power loss may leave, [`Faults`] what else goes wrong. The same
//! seed gives the same run.

mod content;
mod device;
mod directory;
mod faults;
mod files;
mod held;
mod operations;
mod state;
#[cfg(test)]
mod tests;

pub use device::SimDisk;
pub use faults::{Faults, Loss};
pub use files::SimFiles;
pub use held::HeldFile;
pub use operations::SimFile;
