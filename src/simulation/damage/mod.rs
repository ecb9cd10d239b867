//! Data directories that are damaged in every way while no node runs on them, and what a node
//! makes of them: it refuses them and says where, or serves exactly what was written, but for
//! changes that it says cannot be read. Never anything else, never a panic, never a hang.
//!
//! Every file of the directory is treated alike, so a kind of file that comes later is covered.
//! What a whole directory is read for, and when less than all may be served, is in [`reading`]
//! and [`image`].

mod image;
mod mutation;
mod origin;
mod reading;
mod tests;
