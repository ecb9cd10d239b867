//! A ring of io_uring by which a core reads, writes and syncs files, where that is allowed.

pub(super) mod file;
pub(in crate::io::real) mod queue;
#[cfg(test)]
mod tests;
