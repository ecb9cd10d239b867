//! The indexes and whole states of a directory that no node has open: whether each is sound, and that
//! of the segment whose number it bears.

use std::{io, sync::Arc};

use super::{
    segment_index::{WHOLE_SUFFIX, index_names, verify_index},
    whole_state,
};
use crate::{
    io::{BLOCK, Files},
    log::{
        self,
        format::{HeaderBlock, SegmentHeader},
        index::{Indexed, SUFFIX},
        number,
    },
    sections::{Fault, Sections},
};

/// Verifies every byte of the indexes and whole states of a directory, and that they are where they
/// belong; gives the first file that is not sound, and what is wrong with it.
///
/// # Errors
/// The directory cannot be read.
pub fn verify(files: &impl Files) -> io::Result<Option<(String, Fault)>> {
    let segments = log::segments(files)?;
    for name in index_names(files)? {
        let fault = match verify_index(files, &name)?.fault {
            None => misplaced(files, &name, &segments)?,
            fault => fault,
        };
        if let Some(fault) = fault {
            return Ok(Some((name, fault)));
        }
    }
    Ok(None)
}

/// Whether a sound file is that of another segment, or of none. One of a segment that is purged is
/// left of that, and removed at a start.
fn misplaced(files: &impl Files, name: &str, segments: &[u64]) -> io::Result<Option<Fault>> {
    let (index, state) = (number(name, SUFFIX), number(name, WHOLE_SUFFIX));
    let Some(sequence) = index.or(state) else { return Ok(None) };
    let fault = |reason: &str| Some(Fault { offset: 0, reason: reason.into() });
    if segments.first().is_some_and(|oldest| sequence < *oldest) {
        return Ok(None);
    }
    if !segments.contains(&sequence) {
        return Ok(fault("it is of a segment that is not there"));
    }
    let header = files.map(&log::file_name(sequence))?;
    let HeaderBlock::Used(header) = SegmentHeader::decode(header.get(0..BLOCK).unwrap_or_default())
    else {
        return Ok(fault("it is of a segment that nothing is in"));
    };
    let belongs = |sections: Sections| -> Result<bool, Fault> {
        let sections = Arc::new(sections);
        match index {
            Some(_) => Ok(Indexed::read(&sections)?.is_of(&header)),
            None => whole_state::is_after(&sections, &header),
        }
    };
    Ok(match Sections::open(files.map(name)?).and_then(belongs) {
        Ok(true) => None,
        Ok(false) => fault("it is of another segment"),
        Err(fault) => Some(fault),
    })
}
