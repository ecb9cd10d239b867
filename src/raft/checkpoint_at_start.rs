//! The checkpoint that a start begins from, where that rotted or is gone: as another member makes it, of
//! the very entry up to which the log is purged. The log stays as it is, and with it what this node
//! voted for and acknowledged.
//!
//! ```text
//! up to where the log is purged · members by the newest index, or by what is left of the checkpoint ·
//! asked in turn, over and over · verified · in its place, durable
//! ```

use std::{io, rc::Rc, sync::Arc};

use super::{
    fetched_checkpoint::{Wanted, fetch, install},
    peer::{Channel, Instance, Lane, Settings},
    segment_index::SegmentIndex,
    types::{Address, StoredMembership, membership_from_json},
};
use crate::{
    base::{
        ids::{LogId, NodeId},
        timing::{CHECKPOINT_AT_START, CONNECT, JOIN_RETRY, REQUEST_STALL},
    },
    checkpoint::{format, store},
    io::{Dialer, Files, cores},
    log::{self, Identity},
};

/// Puts the checkpoint that the log on `files` goes on from in its place, as another member makes it.
/// Durable on return. `false` when there is no other member, or none is known any more; nothing is
/// changed then. `why` it is missing is logged.
///
/// # Errors
/// No member gave it in time, or what the disk reports.
pub async fn fetch_missing_checkpoint<F: Files>(
    files: &F,
    dialer: &Dialer,
    why: &str,
) -> io::Result<bool> {
    let looking = files.clone();
    let known = cores::on_own_thread("checkpoint", move || look(&looking)).await.flatten()?;
    let Some((identity, at, membership)) = known else { return Ok(false) };
    let own = Instance::start(identity);
    let settings = Settings { connect: CONNECT, stall: REQUEST_STALL };
    let others = membership.membership().nodes().filter(|(node, _)| **node != identity.node);
    let channel = |(node, member): (&NodeId, &Address)| {
        let (own, address) = ((own, dialer.clone()), member.cluster_address.clone());
        let on_refusal = Rc::new(|_, _| ());
        (*node, Channel::new(own, *node, Lane::Requests, address, settings, on_refusal))
    };
    let members: Vec<_> = others.map(channel).collect();
    if members.is_empty() {
        return Ok(false);
    }
    let entry = at.index;
    tracing::warn!(entry, why, "the checkpoint of this node is asked of other members");
    let begun = cores::now();
    let map = loop {
        match fetch(files, members.clone(), at).await {
            Ok(map) => break map,
            Err(error) if cores::elapsed(begun) >= CHECKPOINT_AT_START => return Err(error),
            // They may be starting as well.
            Err(_) => cores::sleep(JOIN_RETRY).await,
        }
    };
    let (cluster, rotten, index) = (identity.cluster, None, Arc::default());
    let wanted = Wanted { cluster, at, position: None, rotten, index };
    let of = files.clone();
    let install = move || install(&of, &map, &wanted).map(drop);
    cores::on_own_thread("checkpoint", install).await.flatten()?;
    tracing::warn!(entry, "the checkpoint of this node is as another member made it");
    Ok(true)
}

/// Whose log there is, up to where it is purged, and who its members are.
fn look(files: &impl Files) -> io::Result<Option<(Identity, LogId, StoredMembership)>> {
    let Some(at) = log::hard_state(files).map_err(io::Error::other)?.purged else {
        return Ok(None);
    };
    let mut segments = log::segments(files)?;
    segments.reverse();
    let header = |sequence: &u64| log::header(&files.map(&log::file_name(*sequence)).ok()?);
    let Some(header) = segments.iter().find_map(header) else { return Ok(None) };
    let members = |sequence: &u64| {
        let index = SegmentIndex::open(files, *sequence).ok()?;
        index.sections.verify().ok().map(|()| index.standing.membership)
    };
    let membership = segments.iter().find_map(members).or_else(|| {
        // All that has an index may be purged.
        let map = files.map(&store::file_name(at.index)).ok()?;
        map.populate(0..map.len()).ok()?;
        let head = format::head(map.get(0..map.len())?).ok()?;
        membership_from_json(&head.raft).ok().map(|(membership, _)| membership)
    });
    let identity = Identity { cluster: header.cluster, node: header.node };
    Ok(membership.map(|membership| (identity, at, membership)))
}
