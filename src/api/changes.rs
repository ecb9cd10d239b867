//! `/changes/<id>`: one change by its id.

use super::{
    Api, answer,
    error::{ApiError, Code},
    list::damaged,
    page_reader::{Places, Source},
    reply::{Reply, purged},
};
use crate::{base::ids::ChangeId, http::Response};

impl Api {
    /// `GET /changes/<id>`
    pub(super) async fn change(&self, id: &str) -> Result<Reply, ApiError> {
        let not_found = || ApiError::new(Code::NotFound, format!("there is no change {id:?}"));
        let canonical = id.bytes().all(|byte| byte.is_ascii_digit()) && !id.starts_with('0');
        let id = id.parse().ok().filter(|_| canonical).map(ChangeId).ok_or_else(not_found)?;
        let (first, last) = {
            let history = self.node.history();
            (history.first(), history.last())
        };
        if id > last {
            return Err(not_found());
        }
        if id < first {
            return Err(purged(first));
        }
        Ok(Reply::Now(Response::json(200, self.change_at(id).await?)))
    }

    /// The change `id`, which must be held.
    pub(super) async fn change_at(&self, id: ChangeId) -> Result<bytes::Bytes, ApiError> {
        let mut places = Places::scattered();
        loop {
            let read = places.read(
                &mut Source {
                    history: &self.node.history(),
                    verified: &mut self.verified.borrow_mut(),
                    index: self.node.index(),
                },
                id,
                |at, tail| answer::change(id, at, tail),
            );
            match read.map_err(|error| damaged(&error))? {
                Ok(change) => return Ok(change),
                Err(cold) => places.loaded(self.load(cold).await?),
            }
        }
    }
}
