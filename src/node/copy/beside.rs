//! The log of another history, built beside the one that is served until it has all that its origin
//! has.

use std::{io, time::Duration};

use super::{
    age::remember_beside,
    frames::{Frames, SEGMENT_IDS},
    of::{COPY_NODE, ORIGIN_NODE},
    said::{Piece, Said},
    standing::Watch,
};
use crate::{
    base::{
        ids::{ClusterId, LogId},
        timing::COPY_BLOCK,
    },
    io::{Files, cores, put_file},
    log::{self, Composed, Composer, Identity, Vote},
    raft::sound_changes_in,
    snapshot::{self, STAGED, Staging},
};

const TEMPORARY: &str = "beside.tmp";

/// How long the entries and the segments of a log are at most, in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lengths {
    pub(super) entry: usize,
    pub(super) segment: usize,
}

/// Takes in the log of the current origin, which is that of `cluster` from the first entry on, and has
/// the next start go on with it: durable on return. An interruption leaves what was there, and so does
/// another origin of what is there, by what `watch` sees.
pub(super) async fn build<F: Files>(
    files: &F,
    cluster: ClusterId,
    watch: &Watch<'_>,
    lengths: Lengths,
) -> Result<(), String> {
    let failed = |error: io::Error| error.to_string();
    let identity = Identity { cluster, node: COPY_NODE };
    let (origins, origin) = (watch.origins, watch.origins.address());
    tracing::info!(origin, %cluster, "the log of another history is taken in");
    // What was staged before is of no use.
    Staging::new(files.clone(), identity).discard().await.map_err(failed)?;
    let mut composer = Composer::begin(identity, lengths.segment, None);
    let (mut names, mut last, mut ids) = (Vec::new(), None::<LogId>, 0);
    let mut block = Duration::ZERO;
    let known = loop {
        let from = composer.next();
        let (found, said) = origins.piece(from, lengths.entry, block).await?;
        let Piece { frames, applied, age, .. } = match said {
            Said::Piece(piece) => piece,
            Said::Purged(_) => return Err("its log was purged meanwhile".to_owned()),
            Said::Refused(text) => return Err(text),
        };
        let frames = Frames::read(frames, from).ok_or("what it gives of its log is damaged")?;
        let decreases = last.zip(frames.ids.first()).is_some_and(|(a, b)| b.term < a.term);
        if found != cluster || frames.longest_payload() > lengths.entry || decreases {
            return Err("what it gives does not belong to what it gave before".to_owned());
        }
        last = frames.ids.last().copied().or(last);
        for entry in frames.entries() {
            let more = sound_changes_in(&entry).ok_or("what it gives of its log is damaged")?;
            // A segment has some of them alone, and so fewer ids than that.
            if ids > 0 && ids + more > SEGMENT_IDS {
                for complete in composer.end_segment() {
                    names.push(put(files, complete).await.map_err(failed)?);
                }
                ids = 0;
            }
            ids += more;
            if let Some(complete) = composer.push(entry) {
                names.push(put(files, complete).await.map_err(failed)?);
            }
        }
        if last.is_some_and(|last| last.index >= applied) {
            // Whether that is all is not known to a member without a leader.
            match age {
                Some(age) => break age,
                None => block = COPY_BLOCK,
            }
        }
        watch.look_in_time().await?;
    };
    // As it is where entries come one after the other.
    let term = last.map_or(0, |last| last.term);
    composer.vote(Vote { term, node: ORIGIN_NODE, committed: true });
    for complete in composer.finish() {
        names.push(put(files, complete).await.map_err(failed)?);
    }
    watch.look().await?;
    let (files, age) = (files.clone(), known.age.saturating_add(cores::elapsed(known.moment)));
    let mark = move || {
        remember_beside(&files, cluster, age)?;
        snapshot::install_log(&files, identity, last.unwrap_or_default(), names)
    };
    cores::on_own_thread("copy", mark).await.flatten().map_err(failed)
}

/// Puts a segment where the next start finds it; gives the name that it gets then.
async fn put<F: Files>(files: &F, segment: Composed) -> io::Result<String> {
    let (files, name) = (files.clone(), log::file_name(segment.sequence));
    let staged = format!("{name}{STAGED}");
    let put = move || put_file(&files, TEMPORARY, &staged, &segment.bytes);
    cores::on_own_thread("copy", put).await.flatten().map(|()| name)
}

#[cfg(test)]
#[path = "beside_tests.rs"]
mod tests;
