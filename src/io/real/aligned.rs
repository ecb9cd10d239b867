//! Whole blocks: places, lengths and memory for direct I/O.

use crate::io::BLOCK;

/// Positions and lengths are those of whole blocks.
///
/// # Panics
/// When they are not.
pub(super) fn assert_aligned(at: u64, bytes: usize) {
    assert!(at.is_multiple_of(BLOCK as u64), "position {at} is not aligned");
    assert!(bytes.is_multiple_of(BLOCK), "length {bytes} is not aligned");
}

/// Without so much memory the process ends here with a line, and not by a panic.
pub(super) fn demand_memory(bytes: usize) {
    let tried = Vec::<u8>::new().try_reserve_exact(bytes);
    if tried.is_err() {
        tracing::error!(bytes, "out of memory: the process ends");
        // SAFETY: it has no preconditions. What is not durable was never promised.
        unsafe { libc::_exit(1) };
    }
}

/// Memory that begins where a block may.
#[derive(Debug)]
pub struct AlignedBuffer {
    /// A block larger than what it is for.
    memory: Vec<u8>,
    /// Where that begins.
    from: usize,
    bytes: usize,
}

impl AlignedBuffer {
    pub(super) fn zeroed(bytes: usize) -> Self {
        demand_memory(bytes + BLOCK);
        let memory = vec![0; bytes + BLOCK];
        let from = memory.as_ptr().align_offset(BLOCK);
        assert!(from < BLOCK, "memory of bytes can be aligned");
        Self { memory, from, bytes }
    }

    pub(super) fn truncate(&mut self, bytes: usize) {
        self.bytes = self.bytes.min(bytes);
    }
}

impl AsRef<[u8]> for AlignedBuffer {
    fn as_ref(&self) -> &[u8] {
        &self.memory[self.from..][..self.bytes]
    }
}

impl AsMut<[u8]> for AlignedBuffer {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.from..][..self.bytes]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_begin_at_a_block_and_are_zeros() {
        for bytes in [0, BLOCK, 3 * BLOCK] {
            let mut buffer = AlignedBuffer::zeroed(bytes);
            assert!(buffer.as_ref().as_ptr().addr().is_multiple_of(BLOCK));
            assert_eq!(buffer.as_ref(), vec![0; bytes]);
            buffer.as_mut().fill(7);
            buffer.truncate(5);
            assert_eq!(buffer.as_ref(), vec![7; bytes.min(5)]);
        }
    }
}
