//! The parts of the seam that meet the operating system.

pub(super) mod net;
