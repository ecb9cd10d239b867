//! `/changes/<id>`: one change by its id.

use bytes::Bytes;

use super::{
    Api, answer,
    error::{ApiError, Code, excerpt},
    list::damaged,
    page_reader::{Looked, Places, Source, Stored},
    reply::{Reply, purged},
};
use crate::{base::ids::ChangeId, http::Response};

impl Api {
    /// `GET /changes/<id>`
    pub(super) async fn change(&self, id: &str) -> Result<Reply, ApiError> {
        let not_found =
            || ApiError::new(Code::NotFound, format!("there is no change {:?}", excerpt(id)));
        let canonical = id.bytes().all(|byte| byte.is_ascii_digit()) && !id.starts_with('0');
        let id = id.parse().ok().filter(|_| canonical).map(ChangeId).ok_or_else(not_found)?;
        // One that another core shows is here as well.
        self.node.settle().await;
        let (first, last) = self.held();
        if id > last {
            return Err(not_found());
        }
        if id < first {
            return Err(purged(first));
        }
        match self.change_at(id).await? {
            Some(change) => Ok(Reply::Now(Response::json(200, change))),
            None => Err(purged(self.node.history().first())),
        }
    }

    /// The change `id`; nothing when it is not held.
    pub(super) async fn change_at(&self, id: ChangeId) -> Result<Option<Bytes>, ApiError> {
        let whole = |stored: Stored<'_>| match stored {
            Stored::Tail { id, at, tail } => answer::change(id, at, tail),
            Stored::Whole(change) => Bytes::copy_from_slice(change),
        };
        self.read_change(&mut Places::scattered(), id, whole).await
    }

    /// Hands the change `id` to `take`, wherever it is; nothing when it is not
    /// held.
    pub(super) async fn read_change<T>(
        &self,
        places: &mut Places,
        id: ChangeId,
        mut take: impl FnMut(Stored<'_>) -> T,
    ) -> Result<Option<T>, ApiError> {
        loop {
            let looked = places.read(
                &mut Source {
                    history: &self.node.history(),
                    verified: &mut self.verified.borrow_mut(),
                    index: self.node.index(),
                },
                id,
                &mut take,
            );
            match looked.map_err(|error| damaged(&error))? {
                Looked::Found(taken) => return Ok(Some(taken)),
                Looked::Gone => return Ok(None),
                Looked::Cold(cold) => places.loaded(self.load(cold).await?),
            }
        }
    }
}
