//! `changeagent cache`: a read-only copy of a history in this process.

use super::{failure::Failure, serve};
use crate::server::{CacheFlags, Config};

pub(super) fn run(flags: CacheFlags) -> Result<(), Failure> {
    serve::start(|| Config::load_cache(flags))
}
