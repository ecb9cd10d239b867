//! Whole nodes in one thread, on virtual time.

mod history;
mod oracle;
mod serving;
mod wire;
