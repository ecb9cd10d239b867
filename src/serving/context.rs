//! What the connections of one core share.

use std::{cell::RefCell, rc::Rc};

use super::{admission::Admission, deadlines::Deadlines};
use crate::{api::Api, base::held::HeldByCore, http};

/// Bytes read from a socket at once, by all connections of a core into the same
/// memory.
const READ_BYTES: usize = 64 << 10;

/// What the connections of one core share.
pub struct CoreContext {
    /// The API they call.
    pub api: Api,
    /// What their HTTP machines share.
    pub http: Rc<http::Context>,
    /// What they wait for.
    pub deadlines: Deadlines,
    /// How many there may be.
    pub admission: Admission,
    /// Bytes that they hold.
    pub held: Rc<HeldByCore>,
    /// Where they read into, one after the other.
    pub(super) scratch: RefCell<Box<[u8]>>,
}

impl CoreContext {
    /// For a core that serves `api`.
    #[must_use]
    pub fn new(
        api: Api,
        http: Rc<http::Context>,
        deadlines: Deadlines,
        admission: Admission,
        held: Rc<HeldByCore>,
    ) -> Self {
        let scratch = RefCell::new(vec![0; READ_BYTES].into_boxed_slice());
        Self { api, http, deadlines, admission, held, scratch }
    }
}
