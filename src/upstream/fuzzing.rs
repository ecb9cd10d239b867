//! Answers of other nodes, in any pieces.

use super::{
    Answer,
    arriving::{Arriving, Complete},
};

/// Bytes of the start that choose what follows: what was asked, and the lengths of the pieces.
const CHOICES: usize = 4;
/// The longest body that may come.
const BODY_BYTES_MAX: usize = 2 << 10;

/// The answer that the bytes are, up to where their connection ends: once in one piece and once in many.
///
/// # Panics
/// When the pieces matter, or more is taken than may be.
pub(crate) fn answer(input: &[u8]) -> Option<Answer> {
    let (choices, raw) = input.split_first_chunk::<CHOICES>()?;
    let [choice, lengths @ ..] = *choices;
    let to_head = choice & 1 != 0;
    let whole = read(raw, &[usize::MAX], to_head);
    let parts = read(raw, &lengths.map(|length| usize::from(length) + 1), to_head);
    // What comes behind an answer is only seen with its end.
    let answer = |read: Result<Option<Complete>, String>| read.ok().flatten().map(|it| it.0);
    assert_eq!(whole.is_err(), parts.is_err());
    let (whole, parts) = (answer(whole), answer(parts));
    assert_eq!(whole, parts);
    assert!(whole.iter().all(|answer| answer.body.len() <= BODY_BYTES_MAX), "too long");
    whole
}

fn read(raw: &[u8], lengths: &[usize], to_head: bool) -> Result<Option<Complete>, String> {
    let mut arriving = Arriving::new(BODY_BYTES_MAX, to_head);
    let mut rest = raw;
    for &length in lengths.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, after) = rest.split_at(length.min(rest.len()));
        if let Some(complete) = arriving.receive(piece)? {
            return Ok(Some(complete));
        }
        assert!(arriving.held_bytes() <= 4 * (BODY_BYTES_MAX + raw.len()), "held too much");
        rest = after;
    }
    Ok(arriving.end())
}
