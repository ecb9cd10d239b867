//! The checkpoint of an origin as a copy of some tenants begins with it. It is taken in beside everything else; what it
//! has of others is left out by the origin, or here if that does not.

use std::io::{self, Write};

use bytes::Bytes;

use super::{
    of::COPY_NODE,
    origins::Origins,
    standing::{Watch, look},
};
use crate::{
    base::{ids::ClusterId, limits::LOG_PIECE_BYTES, tenants::Tenants},
    checkpoint::{format, write_part},
    io::{Files, Output, cores, map::Mapping},
    log::Identity,
    raft::unplaced_members,
    snapshot::{
        Manifest, Staging,
        manifest::{FileEntry, Kind},
    },
};

/// The whole checkpoint on its way, and the part of it. Nothing is left of them in the end, and what a
/// process leaves that was killed is overwritten.
const WHOLE: &str = "origin.tmp";
const PART: &str = "part.tmp";

/// Takes in what the checkpoint of the current origin has of `tenants`, and has the next start go on
/// from that: durable on return.
pub(super) async fn stage<F: Files>(
    files: &F,
    cluster: ClusterId,
    origins: &Origins,
    watch: Option<&Watch<'_>>,
    tenants: &Tenants,
) -> Result<(), String> {
    let outcome = take_in(files, cluster, origins, watch, tenants).await;
    for name in [WHOLE, PART] {
        // The error before says more than that of this.
        let _ = files.remove(name);
    }
    outcome
}

async fn take_in<F: Files>(
    files: &F,
    cluster: ClusterId,
    origins: &Origins,
    watch: Option<&Watch<'_>>,
    tenants: &Tenants,
) -> Result<(), String> {
    let failed = |error: io::Error| error.to_string();
    let index = fetch(files, origins, watch).await?;
    let (own, of) = (files.clone(), tenants.clone());
    let cut = move || cut(&own, &of);
    let map = cores::on_own_thread("checkpoint", cut).await.flatten().map_err(failed)?;
    let held = |from: u64, bytes: usize| {
        let end = map.len().min(from as usize + bytes);
        let range = from as usize..end;
        map.populate(range.clone())?;
        map.get(range).map(Bytes::copy_from_slice).ok_or(io::ErrorKind::UnexpectedEof.into())
    };
    let first: Bytes = held(0, LOG_PIECE_BYTES).map_err(failed)?;
    let last = format::head(&first)?.log_id();
    if last.index != index {
        return Err("its checkpoint is that of another entry".to_owned());
    }
    let file = FileEntry { kind: Kind::Checkpoint(index), bytes: map.len() as u64 };
    let (raft, purged) = (String::new(), Some(last));
    let manifest = Manifest { last, purged, raft, files: vec![file] };
    let staging = Staging::new(files.clone(), Identity { cluster, node: COPY_NODE });
    let (transmission, mut wanted) = staging.begin(manifest).await.map_err(failed)?;
    while wanted.file == 0 {
        let bytes = held(wanted.offset, LOG_PIECE_BYTES).map_err(failed)?;
        wanted = staging.part(transmission, wanted, bytes).await.map_err(failed)?;
    }
    staging.end(transmission).await.map_err(failed)?;
    look(watch, true).await?;
    staging.install(transmission).await.map_err(failed)
}

/// Fetches the whole checkpoint; says of which entry it is.
async fn fetch<F: Files>(
    files: &F,
    origins: &Origins,
    watch: Option<&Watch<'_>>,
) -> Result<u64, String> {
    let failed = |error: io::Error| error.to_string();
    let mut part = origins.checkpoint(None, 0).await?;
    let (index, total) = (part.index, part.total);
    tracing::info!(last = index, bytes = total, "the checkpoint of the origin is taken in");
    let mut out = files.create(WHOLE).map_err(failed)?;
    let mut written = 0;
    loop {
        let bytes = part.bytes.clone();
        written += bytes.len() as u64;
        let write = move || out.write_all(&bytes).map(|()| out);
        out = cores::off_core(write).await.map_err(failed)?;
        if written >= total {
            break;
        }
        look(watch, false).await?;
        part = origins.checkpoint(Some(index), written).await?;
    }
    cores::off_core(move || out.sync()).await.map_err(failed)?;
    Ok(index)
}

/// Makes the part of the whole checkpoint, and maps it.
fn cut<F: Files>(files: &F, tenants: &Tenants) -> io::Result<Mapping> {
    let whole = files.map(WHOLE)?;
    whole.populate(0..whole.len())?;
    let bytes = whole.get(0..whole.len()).unwrap_or_default();
    let mut out = io::BufWriter::with_capacity(LOG_PIECE_BYTES, files.create(PART)?);
    write_part(bytes, tenants, unplaced_members, &mut out)?;
    let mut out = out.into_inner().map_err(io::IntoInnerError::into_error)?;
    out.sync()?;
    files.map(PART)
}
