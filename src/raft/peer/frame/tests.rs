use super::*;
use proptest::prelude::*;

type Message = (u32, String, Option<u64>);

fn bytes_of(id: u64, message: &Message, body: &[u8]) -> BytesMut {
    let parts = encode(id, message, Body::Plain(Bytes::copy_from_slice(body))).unwrap();
    BytesMut::from(parts.concat().as_slice())
}

const LIMITS: FrameLimits = FrameLimits {
    head_bytes: HEAD_BYTES_MAX,
    body_bytes: 1 << 20,
    body_at_once: false,
    under_way: Duration::MAX,
    idle: None,
};

/// Takes in bytes as they arrive, and the frames that they complete.
fn arrive(
    assembly: &mut Assembly<Message>,
    mut bytes: &[u8],
) -> io::Result<Vec<(u64, Message, Arrived)>> {
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        let (buffer, most) = assembly.room();
        let (now, later) = bytes.split_at(most.min(bytes.len()));
        buffer.extend_from_slice(now);
        bytes = later;
        while let Some(frame) = assembly.next()? {
            frames.push(frame);
        }
    }
    Ok(frames)
}

proptest! {
    #[test]
    fn frames_come_out_as_they_went_in_however_they_arrive(
        frames in proptest::collection::vec(
            (any::<u64>(), any::<Message>(), proptest::collection::vec(any::<u8>(), 0..300)),
            1..6,
        ),
        piece in 1usize..900,
    ) {
        let all: Vec<u8> =
            frames.iter().flat_map(|(id, message, body)| bytes_of(*id, message, body)).collect();
        let (mut assembly, mut found) = (Assembly::new(LIMITS), Vec::new());
        for piece in all.chunks(piece) {
            for (id, message, body) in arrive(&mut assembly, piece).unwrap() {
                found.push((id, message, body.checked().unwrap().to_vec()));
            }
        }
        prop_assert_eq!(found, frames);
        prop_assert!(!assembly.is_under_way());
    }

    #[test]
    fn a_body_owns_no_more_memory_than_it_has_bytes(
        bodies in proptest::collection::vec(1usize..300_000, 1..6),
        piece in 1usize..200_000,
    ) {
        let message = Message::default();
        let all: Vec<u8> = bodies
            .iter()
            .flat_map(|&bytes| bytes_of(1, &message, &vec![7; bytes]))
            .collect();
        let mut assembly = Assembly::new(LIMITS);
        let mut owned = Vec::new();
        for piece in all.chunks(piece) {
            let frames = arrive(&mut assembly, piece).unwrap();
            owned.extend(frames.into_iter().map(|(_, _, body)| {
                body.bytes.try_into_mut().expect("nobody else has it").capacity()
            }));
        }
        prop_assert_eq!(owned, bodies);
        prop_assert!(assembly.held.capacity() <= HELD_BYTES);
    }

    #[test]
    fn a_flipped_bit_is_noticed(
        message in any::<Message>(),
        body in proptest::collection::vec(any::<u8>(), 0..60),
        at in any::<prop::sample::Index>(),
        bit in 0u8..8,
    ) {
        let mut bytes = bytes_of(7, &message, &body);
        let at = at.index(bytes.len());
        bytes[at] ^= 1u8 << bit;
        let frames = arrive(&mut Assembly::new(LIMITS), &bytes);
        for (_, _, body) in frames.unwrap_or_default() {
            prop_assert!(body.checked().is_err(), "byte {at}");
        }
    }

    #[test]
    fn no_bytes_do_harm(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut assembly = Assembly::new(LIMITS);
        // It may be an error.
        let _ = arrive(&mut assembly, &bytes);
        prop_assert!(assembly.room().1 > 0);
    }
}

#[test]
fn memory_grows_with_what_arrives_and_not_with_what_is_announced() {
    let mut frame = bytes_of(1, &Message::default(), &[1; 700_000]);
    let begin = frame.split_to(72);
    let mut assembly = Assembly::new(LIMITS);
    assert!(arrive(&mut assembly, &begin).unwrap().is_empty());
    let held = |assembly: &mut Assembly<Message>| {
        assembly.room();
        let body = assembly.begun.as_ref().expect("a frame is under way").body.capacity();
        body + assembly.held.capacity()
    };
    assert!(held(&mut assembly) <= 2 * READ_BYTES);
    assert!(arrive(&mut assembly, &frame[..200_000]).unwrap().is_empty());
    assert!(held(&mut assembly) <= 2 * 200_000);
}

#[test]
fn what_is_above_the_limits_is_refused_by_its_prefix() {
    let frame = bytes_of(1, &Message::default(), &[1; 100]);
    for limits in
        [FrameLimits { body_bytes: 99, ..LIMITS }, FrameLimits { head_bytes: 1, ..LIMITS }]
    {
        assert!(arrive(&mut Assembly::new(limits), &frame[..PREFIX_BYTES]).is_err());
    }
    assert!(arrive(&mut Assembly::new(LIMITS), &frame[..PREFIX_BYTES]).is_ok());
}
