//! JSON of answers, read by simd-json. It parses in place, so each thread keeps a copy of the text and the memory of
//! the parser.

use std::cell::RefCell;

use serde::de::DeserializeOwned;
use simd_json::Buffers;

/// What a thread keeps from one text to the next.
struct Scratch {
    copy: Vec<u8>,
    buffers: Buffers,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> =
        RefCell::new(Scratch { copy: Vec::new(), buffers: Buffers::default() });
}

/// What the text says; `None` when it is no JSON, or says something else.
pub(crate) fn read<T: DeserializeOwned>(text: &[u8]) -> Option<T> {
    SCRATCH.with_borrow_mut(|Scratch { copy, buffers }| {
        copy.clear();
        copy.extend_from_slice(text);
        simd_json::serde::from_slice_with_buffers(copy, buffers).ok()
    })
}

#[cfg(test)]
mod tests {
    use super::read;

    #[test]
    fn one_text_leaves_nothing_to_the_next() {
        assert_eq!(read::<Vec<u64>>(b"[1,2,18446744073709551615]"), Some(vec![1, 2, u64::MAX]));
        assert_eq!(read::<Vec<u64>>(b"[1"), None);
        assert_eq!(read::<Vec<u64>>(b""), None);
        assert_eq!(read::<Vec<u64>>(b"[3]"), Some(vec![3]));
        assert_eq!(read::<String>(br#""over\u006coaded""#).as_deref(), Some("overloaded"));
    }
}
