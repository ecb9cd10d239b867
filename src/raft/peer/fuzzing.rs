//! What other nodes send: the first words of a connection, and frames in pieces.

use std::{io, time::Duration};

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use super::{
    frame::{Assembly, Body, FrameLimits, PREFIX_BYTES, encode},
    hello::{self, Hello, Welcome},
    message::{Answer, Request},
};
use crate::raft::inbound::entries_of;

/// The first words, with their checksum set right when the first byte is odd.
///
/// # Panics
/// When what is understood is written otherwise than it was read.
pub fn hello(input: &[u8]) {
    let Some((&choice, words)) = input.split_first() else { return };
    let mut bytes = [0; hello::BYTES];
    for (to, from) in bytes.iter_mut().zip(words) {
        *to = *from;
    }
    if choice & 1 != 0 {
        hello::put_checksum(&mut bytes);
    }
    let Some(words) = hello::read(&bytes) else { return };
    assert_eq!(hello::written(words), bytes);
    if let Some(hello) = Hello::of(words) {
        assert_eq!(Hello::of(hello.words()), Some(hello));
    }
    let welcome = Welcome::of(words);
    assert_eq!(Welcome::of(welcome.words()).refusal.is_some(), welcome.refusal.is_some());
    if let Some(refusal) = welcome.refusal {
        assert!(!refusal.to_string().is_empty());
    }
}

/// Bytes of the start that choose what follows: the kind of message and the
/// lengths of the pieces.
const CHOICES: usize = 4;
const LIMITS: FrameLimits = FrameLimits {
    head_bytes: 4 << 10,
    body_bytes: 64 << 10,
    body_at_once: false,
    under_way: Duration::MAX,
    idle: None,
};

/// Frames with their checksums set right, unless the first byte is even: once in
/// one piece and once in many.
///
/// # Panics
/// When the pieces matter, more memory is taken than has arrived, or a message is
/// another once it was sent again.
pub fn frames(input: &[u8]) {
    let Some((choices, raw)) = input.split_first_chunk::<CHOICES>() else { return };
    let [choice, lengths @ ..] = choices;
    let mut raw = raw.to_vec();
    if choice & 1 != 0 {
        put_checksum(&mut raw);
    }
    let lengths = lengths.map(|length| usize::from(length) + 1);
    if choice & 2 == 0 {
        let both = [read::<Request>(&raw, &[usize::MAX]), read::<Request>(&raw, &lengths)];
        assert_eq!(both[0], both[1]);
        let [(frames, _), _] = both;
        for (id, message, body) in frames {
            if let (Request::Append { entries, .. }, Some(body)) = (&message, &body) {
                let _ = entries_of(body, *entries);
            }
            sent_again(id, message, body);
        }
    } else {
        let both = [read::<Answer>(&raw, &[usize::MAX]), read::<Answer>(&raw, &lengths)];
        assert_eq!(both[0], both[1]);
        let [(frames, _), _] = both;
        frames.into_iter().for_each(|(id, message, body)| sent_again(id, message, body));
    }
}

/// Sets the checksums of frames right, as far as their lengths make sense.
fn put_checksum(raw: &mut [u8]) {
    let mut rest = raw;
    while let Some((prefix, after)) = rest.split_first_chunk_mut::<PREFIX_BYTES>() {
        let word = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|byte| prefix[at + byte]));
        let (head_bytes, body_bytes) = (word(0) as usize, word(4) as usize);
        let Some((head, after)) = after.split_at_mut_checked(head_bytes) else { return };
        let head_sum = crc32c::crc32c_append(crc32c::crc32c(&prefix[..8]), head);
        prefix[8..12].copy_from_slice(&head_sum.to_le_bytes());
        let Some((body, after)) = after.split_at_mut_checked(body_bytes) else { return };
        prefix[12..].copy_from_slice(&crc32c::crc32c(body).to_le_bytes());
        rest = after;
    }
}

/// The number, the message, and the body where it is sound.
type Frame<M> = (u64, M, Option<Bytes>);

/// What comes out of `raw`, and whether it was given up.
fn read<M: DeserializeOwned>(raw: &[u8], lengths: &[usize]) -> (Vec<Frame<M>>, bool) {
    let (mut assembly, mut frames) = (Assembly::new(LIMITS), Vec::new());
    let mut rest = raw;
    for &length in lengths.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, after) = rest.split_at(length.min(rest.len()));
        if arrive(&mut assembly, piece, &mut frames).is_err() {
            return (frames, true);
        }
        rest = after;
    }
    (frames, false)
}

fn arrive<M: DeserializeOwned>(
    assembly: &mut Assembly<M>,
    mut piece: &[u8],
    frames: &mut Vec<Frame<M>>,
) -> io::Result<()> {
    while !piece.is_empty() {
        let (buffer, most) = assembly.room();
        let (now, later) = piece.split_at(most.min(piece.len()));
        assert!(!now.is_empty(), "there is no room for what arrives");
        buffer.extend_from_slice(now);
        piece = later;
        while let Some((id, message, body)) = assembly.next()? {
            frames.push((id, message, body.checked().ok()));
        }
    }
    Ok(())
}

fn sent_again<M>(id: u64, message: M, body: Option<Bytes>)
where
    M: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug,
{
    let Some(body) = body else { return };
    let Ok(parts) = encode(id, &message, Body::Plain(body.clone())) else {
        panic!("a message cannot be sent");
    };
    let (frames, _) = read::<M>(&parts.concat(), &[usize::MAX]);
    assert_eq!(frames, [(id, message, Some(body))]);
}
