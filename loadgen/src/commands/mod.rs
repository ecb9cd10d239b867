//! The commands, a module each.

pub(crate) mod compare;
pub(crate) mod fanout;
pub(crate) mod fill;
pub(crate) mod find_rate;
pub(crate) mod ingest;
pub(crate) mod keys;
pub(crate) mod mixed;
pub(crate) mod read;
pub(crate) mod report;
pub(crate) mod tenants;
