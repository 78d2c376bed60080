//! Memory for what a file announces.

use arrow_buffer::MutableBuffer;

use crate::error::{Error, ErrorKind, Result};

/// So many bytes of zero, or an error: a length that a file announces may be more than there is.
pub(crate) fn zeroed(length: usize) -> Result<MutableBuffer> {
    // Words of eight bytes, as Arrow wants its buffers aligned.
    let words = length.div_ceil(size_of::<u64>());
    let mut memory: Vec<u64> = Vec::new();
    memory.try_reserve_exact(words).map_err(|error| {
        Error::new(ErrorKind::TooLarge, format!("there is no memory for {length} bytes"))
            .caused_by(error)
    })?;
    memory.resize(words, 0);
    let mut buffer = MutableBuffer::from(memory);
    buffer.truncate(length);
    Ok(buffer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_long_as_asked_for() {
        for length in [0, 1, 8, 13, 4096] {
            let buffer = zeroed(length).unwrap();
            assert_eq!(buffer.as_slice(), vec![0; length]);
        }
    }

    #[test]
    fn too_much_is_an_error() {
        let error = zeroed(usize::MAX / 2).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge);
    }
}
