//! Reading single changes, wherever they are.

use bytes::Bytes;

use super::{
    answer, damage,
    places::{Cold, LoadError, Looked, Places, Resident, Source, Stored},
};
use crate::{
    api::{
        context::Context,
        error::{ApiError, unreadable},
    },
    base::ids::ChangeId,
    io::cores,
};

/// The change `id` as it is sent; nothing when it is not held.
pub(in crate::api) async fn change(api: &Context, id: ChangeId) -> Result<Option<Bytes>, ApiError> {
    let whole = |stored: Stored<'_>| match stored {
        Stored::Change { change, .. } if change.is_left_out() => None,
        Stored::Change { id, at, change } => Some(answer::change(id, at, change.text())),
        Stored::Whole(change) => Some(Bytes::copy_from_slice(&change)),
    };
    Ok(read(api, &mut Places::scattered(), id, whole).await?.flatten())
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
                now: cores::now(),
            },
            id,
            &mut take,
        );
        match looked {
            Ok(Looked::Found(taken)) => return Ok(Some(taken)),
            Ok(Looked::Gone) => return Ok(None),
            Ok(Looked::Cold(cold)) => places.loaded(load(api, cold).await?),
            Err(damaged) => return Err(damage::refusal(api, &damaged).await),
        }
    }
}

/// Brings a batch into memory. What comes back from the disk is checked anew.
pub(super) async fn load(api: &Context, cold: Cold) -> Result<Resident, ApiError> {
    match cold.load().await {
        Ok(resident) => Ok(resident),
        Err(LoadError::Damaged(damaged)) => Err(damage::refusal(api, &damaged).await),
        Err(LoadError::Io(error)) => Err(unreadable(&error)),
    }
}
