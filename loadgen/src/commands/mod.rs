//! The commands, a module each.

pub(crate) mod beside;
pub(crate) mod compare;
pub(crate) mod fanout;
pub(crate) mod fill;
pub(crate) mod find_rate;
pub(crate) mod growth;
pub(crate) mod ingest;
pub(crate) mod keys;
pub(crate) mod mixed;
pub(crate) mod peers;
pub(crate) mod read;
pub(crate) mod report;
pub(crate) mod tenants;
