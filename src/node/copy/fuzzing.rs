//! What a copy makes of an answer of its origin, whatever that is.

use super::{
    frames::Frames,
    said::{TEXT_CHARACTERS_MAX, cluster, purged, refusal},
};
use crate::{log::format::FRAME_HEAD_BYTES, upstream::Answer};

/// Takes an answer for whatever may have been asked for. The checksums of the frames in it are set
/// right first, as far as their lengths make sense.
///
/// # Panics
/// When frames are not those that there are, or more is repeated of a refusal than may be.
pub(crate) fn said(answer: &Answer) {
    let _ = (cluster(answer), purged(answer));
    let told = refusal(answer).chars().count();
    assert!(told <= TEXT_CHARACTERS_MAX + 50, "{told} characters are repeated");
    let mut body = answer.body.to_vec();
    put_checksums(&mut body);
    let from = answer.number("ChangeAgent-Log-Applied").unwrap_or(1);
    let Some(frames) = Frames::read(body.into(), from) else { return };
    let entries: Vec<_> = frames.entries().collect();
    assert!(entries.iter().map(|entry| entry.id).eq(frames.ids.iter().copied()));
    let longest = entries.iter().map(|entry| entry.payload.len()).max().unwrap_or(0);
    assert_eq!(frames.longest_payload(), longest);
    let rest = frames.rest();
    assert!(rest.entries().eq(entries.into_iter().skip(1)));
}

fn put_checksums(bytes: &mut [u8]) {
    let mut rest = bytes;
    while let Some(length) = rest.get(4..8).and_then(|it| it.try_into().ok()) {
        let payload = u32::from_le_bytes(length) as usize;
        let end = FRAME_HEAD_BYTES.saturating_add(payload);
        let Some((frame, after)) = rest.split_at_mut_checked(end) else { return };
        let Some((sum, summed)) = frame.split_first_chunk_mut::<4>() else { return };
        *sum = crc32c::crc32c(summed).to_le_bytes();
        rest = after;
    }
}
