//! Bodies that are being made hold memory, too: pages that are rendered, bodies that are unpacked.

use std::rc::Rc;

use crate::{
    api::error::{ApiError, Code},
    base::held::{HeldByCore, HeldShare},
};

/// Why something is refused that there is no room for.
pub const FULL: &str = "the node holds as many bytes of requests and answers as it may";

/// What a body holds while it is made in several turns.
pub(super) struct Growing {
    core: Rc<HeldByCore>,
    share: HeldShare,
}

impl Growing {
    /// A body of which nothing is made.
    pub(super) fn new(core: &Rc<HeldByCore>) -> Self {
        Self { share: HeldShare::new(Rc::clone(core)), core: Rc::clone(core) }
    }

    /// Counts that it holds `bytes` by now, or is about to.
    ///
    /// # Errors
    /// [`Code::Overloaded`] when they are many and others hold as much as they may.
    pub(super) fn hold(&mut self, bytes: usize) -> Result<(), ApiError> {
        if !self.core.admits(self.share.bytes(), bytes) {
            return Err(ApiError::new(Code::Overloaded, FULL));
        }
        self.share.set(bytes);
        Ok(())
    }
}
