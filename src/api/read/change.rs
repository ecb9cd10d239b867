//! Reading single changes, wherever they are.

use bytes::Bytes;

use super::{
    answer,
    places::{Cold, Looked, Places, Resident, Source, Stored},
};
use crate::{
    api::{
        context::Context,
        error::{ApiError, damaged},
    },
    base::ids::ChangeId,
};

/// The change `id` as it is sent; nothing when it is not held.
pub(in crate::api) async fn change(api: &Context, id: ChangeId) -> Result<Option<Bytes>, ApiError> {
    let whole = |stored: Stored<'_>| match stored {
        Stored::Suffix { id, at, suffix } => answer::change(id, at, suffix),
        Stored::Whole(change) => Bytes::copy_from_slice(change),
    };
    read(api, &mut Places::scattered(), id, whole).await
}

/// Hands the change `id` to `take`, wherever it is; nothing when it is not held.
pub(super) async fn read<T>(
    api: &Context,
    places: &mut Places,
    id: ChangeId,
    mut take: impl FnMut(Stored<'_>) -> T,
) -> Result<Option<T>, ApiError> {
    loop {
        let looked = places.read(
            &mut Source {
                history: &api.node.history(),
                verified: &mut api.verified.borrow_mut(),
                index: api.node.index(),
            },
            id,
            &mut take,
        );
        match looked.map_err(|error| damaged(&error))? {
            Looked::Found(taken) => return Ok(Some(taken)),
            Looked::Gone => return Ok(None),
            Looked::Cold(cold) => places.loaded(load(api, cold).await?),
        }
    }
}

/// Brings a batch into memory. What comes back from the disk is checked anew.
pub(super) async fn load(api: &Context, cold: Cold) -> Result<Resident, ApiError> {
    api.verified.borrow_mut().forget(cold.sequence);
    cold.load().await.map_err(|error| damaged(&error))
}
