//! Answers that are being rendered hold memory, too.

use std::rc::Rc;

use crate::{
    api::error::{ApiError, Code},
    base::held::{HeldByCore, HeldShare},
};

/// Why something is refused that there is no room for.
pub const FULL: &str = "the node holds as many bytes of requests and answers as it may";

/// What an answer holds while it is rendered in several turns.
pub(super) struct Rendered {
    core: Rc<HeldByCore>,
    share: HeldShare,
}

impl Rendered {
    /// An answer of which nothing is rendered.
    pub(super) fn new(core: &Rc<HeldByCore>) -> Self {
        Self { share: HeldShare::new(Rc::clone(core)), core: Rc::clone(core) }
    }

    /// Counts the `bytes` rendered so far.
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
