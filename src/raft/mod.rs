//! The only place that names openraft.

pub mod runtime;
