//! `/cluster/log` and `/cluster/checkpoint`: the log itself, piece by piece, for whoever keeps a
//! copy of it.

use std::{
    io,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use uuid::Uuid;

use crate::{
    api::{
        context::Context,
        error::{ApiError, Code, unreadable},
        read::freshness,
        reply::Reply,
        request::{
            Consistency, CopyQuery,
            accept::{self, Media},
        },
    },
    base::{limits::LOG_PIECE_BYTES, tenants::Tenants, tokens::Scope},
    http::{Request, Response},
    io::cores,
    log::{Entry, entry_head, format::FRAME_HEAD_BYTES},
    node::{
        copy::CopyAge,
        log_reads::{EntryWait, LogReadError},
    },
    raft::LogPieceError,
};

/// `GET /cluster/log`: applied entries as frames of the log; where there is none yet and `may_wait`,
/// what to wait for before asking again. The request came at the moment `asked`, if that is known.
pub(in crate::api) async fn entries(
    api: &Context,
    request: &Request,
    query: CopyQuery,
    asked: Option<Instant>,
    may_wait: bool,
) -> Result<Result<Response, EntryWait>, ApiError> {
    freshness::check(api)?;
    accept::choose(request, &[Media::Octets])?;
    check_tenants(api, query.tenants.as_ref())?;
    if query.consistency == Consistency::Strong {
        api.node.barrier().await?;
    }
    // What comes in later may not be in the piece, and must not make it newer.
    let waited = asked.map_or(Duration::ZERO, cores::elapsed);
    let age = api.node.status().copy().and_then(CopyAge::age);
    let to = query.to.unwrap_or(u64::MAX);
    let piece = api.node.log_reads().piece(query.from, to, query.tenants).await;
    let piece = piece.map_err(refusal)?;
    if piece.entries.is_empty() && may_wait && query.from > piece.applied.index {
        return Ok(Err(api.node.log_reads().wait_for(query.from).map_err(refusal)?));
    }
    // A piece may be one large entry.
    let entries = piece.entries;
    let body = cores::off_core(move || frames(&entries)).await;
    let response = Response::new(200)
        .with_body(Media::Octets.name(), body)
        .with_number("ChangeAgent-Log-Applied", piece.applied.index)
        .with_number("ChangeAgent-Log-Last", piece.position.last.0)
        .with_number("ChangeAgent-Log-Time", piece.position.last_at.0)
        .with_number("ChangeAgent-Log-Waited", milliseconds(waited));
    let response = match age {
        // Rather too old than too new.
        Some(age) => response.with_number("ChangeAgent-Log-Age", milliseconds(age) + 1),
        None => response,
    };
    // Without one it cannot know of what was written meanwhile.
    Ok(Ok(match api.node.status().cluster().leader {
        Some(leader) => response.with_number("ChangeAgent-Log-Leader", leader),
        None => response,
    }))
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX >> 1)
}

/// Whether this node holds what is asked for: all, or what concerns these tenants.
///
/// # Errors
/// [`Code::NotFound`]
fn check_tenants(api: &Context, asked: Option<&Tenants>) -> Result<(), ApiError> {
    let covers = |tenant: &Uuid| api.principal.covers(Scope::Tenant(*tenant));
    let concerns = |asked: &Tenants| asked.all().iter().all(covers);
    if api.principal.is_limited() && !asked.is_some_and(concerns) {
        let detail = "the token is for a part of what is here: tenant= must name its tenant alone";
        return Err(ApiError::new(Code::NotFound, detail));
    }
    let Some(held) = api.node.status().copy().and_then(CopyAge::tenants) else { return Ok(()) };
    match asked {
        Some(asked) if held.has_all(asked) => Ok(()),
        _ => {
            let held: Vec<String> = held.all().iter().map(Uuid::to_string).collect();
            let detail = format!("this is a cache of some tenants alone: {}", held.join(", "));
            Err(ApiError::new(Code::NotFound, detail))
        }
    }
}

fn frames(entries: &[Entry]) -> Bytes {
    let bytes = entries.iter().map(|entry| FRAME_HEAD_BYTES + entry.payload.len()).sum();
    let mut out = BytesMut::with_capacity(bytes);
    for entry in entries {
        out.extend_from_slice(&entry_head(entry));
        out.extend_from_slice(&entry.payload);
    }
    out.freeze()
}

/// `GET /cluster/checkpoint`: a piece of the checkpoint that stands for purged entries, or of what it has of some
/// tenants.
pub(in crate::api) async fn checkpoint(
    api: &Context,
    request: &Request,
) -> Result<Reply, ApiError> {
    let query = CopyQuery::of_checkpoint(request.query())?;
    freshness::check(api)?;
    accept::choose(request, &[Media::Octets])?;
    check_tenants(api, query.tenants.as_ref())?;
    let held = api.node.log_reads().checkpoint(query.tenants).await.map_err(refusal)?;
    let Some((id, map)) = held.filter(|(id, _)| query.index.is_none_or(|index| index == id.index))
    else {
        let detail = match query.index {
            Some(index) => format!("the checkpoint of entry {index} is not held"),
            None => "nothing of the log is purged, so no checkpoint stands for it".to_owned(),
        };
        return Err(ApiError::new(Code::NotFound, detail));
    };
    let total = map.len() as u64;
    let start = query.from.min(total);
    let range = start as usize..total.min(start + LOG_PIECE_BYTES as u64) as usize;
    // It may have to come from the disk, which would end the process where it does not give it
    // without being asked.
    let copy = move || {
        map.populate(range.clone())?;
        map.get(range).map(Bytes::copy_from_slice).ok_or(io::ErrorKind::UnexpectedEof.into())
    };
    let part = cores::off_core(copy).await;
    let part = part.map_err(|error: io::Error| unreadable(&error))?;
    let response = Response::new(200)
        .with_body(Media::Octets.name(), part)
        .with_number("ChangeAgent-Checkpoint", id.index)
        .with_number("ChangeAgent-Checkpoint-Bytes", total);
    Ok(Reply::Now(response))
}

fn refusal(error: LogReadError) -> ApiError {
    let detail = error.to_string();
    match error {
        LogReadError::Piece(LogPieceError::Purged(purged)) => ApiError::new(Code::Purged, detail)
            .with_number("purged", purged.index)
            .with_number("purged_term", purged.term),
        LogReadError::Piece(LogPieceError::Behind(_)) => ApiError::new(Code::Behind, detail),
        LogReadError::Piece(LogPieceError::Disk(error)) => unreadable(&error),
        LogReadError::Piece(LogPieceError::Erasing | LogPieceError::Making) => {
            ApiError::new(Code::Behind, detail)
        }
        LogReadError::Overloaded | LogReadError::Stopping => {
            ApiError::new(Code::Overloaded, detail)
        }
    }
}
