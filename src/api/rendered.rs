//! Answers that are being rendered hold memory, too.

use std::rc::Rc;

use super::{
    Api,
    error::{ApiError, Code},
};
use crate::base::held::{HeldByCore, HeldShare};

/// Why something is refused that there is no room for.
pub const FULL: &str = "the node holds as many bytes of requests and answers as it may";

/// What an answer holds while it is rendered in several turns.
pub(super) struct Rendered {
    core: Rc<HeldByCore>,
    share: HeldShare,
}

impl Api {
    /// An answer of which nothing is rendered.
    pub(super) fn rendered(&self) -> Rendered {
        let core = Rc::clone(&self.held);
        Rendered { share: HeldShare::new(Rc::clone(&core)), core }
    }
}

impl Rendered {
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
