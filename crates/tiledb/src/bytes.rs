//! A bounded cursor over stored bytes, and the little-endian pieces that are appended to them.
//!
//! Stored integers are little-endian. `lp32` and `lp64` are a u32 or u64 byte count followed by that
//! many bytes. No length is trusted: a count is compared with what is left before anything is allocated.

use crate::error::{Error, Result};

/// Reads stored fields one after another; each read fails, with its offset, where the bytes end early.
#[derive(Clone, Debug)]
pub struct Cursor<'a> {
    bytes: &'a [u8],
    position: usize,
}

macro_rules! read_numbers {
    ($($name:ident: $type:ty),* $(,)?) => {$(
        #[doc = concat!("Reads a little-endian `", stringify!($type), "`; `what` names the field in errors.")]
        pub fn $name(&mut self, what: &str) -> Result<$type> {
            let mut raw = [0; size_of::<$type>()];
            raw.copy_from_slice(self.take(size_of::<$type>(), what)?);
            Ok(<$type>::from_le_bytes(raw))
        }
    )*};
}

impl<'a> Cursor<'a> {
    /// A cursor at the start of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    read_numbers! { u8: u8, u16: u16, u32: u32, i32: i32, u64: u64, f64: f64 }

    /// The offset of the next byte.
    pub fn position(&self) -> usize {
        self.position
    }

    /// How many bytes are left.
    pub fn remaining(&self) -> usize {
        self.bytes.len() - self.position
    }

    /// Takes the next `count` bytes.
    pub fn take(&mut self, count: usize, what: &str) -> Result<&'a [u8]> {
        let left = self.remaining();
        if count > left {
            return Err(Error::corrupt(format!("{what}: expected {count} bytes, found {left}"))
                .at(self.position as u64));
        }
        let taken = &self.bytes[self.position..self.position + count];
        self.position += count;
        Ok(taken)
    }

    /// Reads a flag stored as one byte, which must be 0 or 1.
    pub fn flag(&mut self, what: &str) -> Result<bool> {
        let at = self.position as u64;
        match self.u8(what)? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(Error::corrupt(format!("{what}: expected 0 or 1, found {other}")).at(at)),
        }
    }

    /// Takes a u32 byte count and as many bytes.
    pub fn lp32(&mut self, what: &str) -> Result<&'a [u8]> {
        let count = self.u32(what)?;
        self.take(usize::try_from(count).unwrap_or(usize::MAX), what)
    }

    /// Takes a u64 byte count and as many bytes.
    pub fn lp64(&mut self, what: &str) -> Result<&'a [u8]> {
        let count = self.u64(what)?;
        self.take(usize::try_from(count).unwrap_or(usize::MAX), what)
    }

    /// Takes a u32 byte count and as many bytes of UTF-8.
    pub fn lp32_str(&mut self, what: &str) -> Result<&'a str> {
        let at = self.position as u64;
        as_str(self.lp32(what)?, what, at)
    }

    /// Takes a u64 byte count and as many bytes of UTF-8.
    pub fn lp64_str(&mut self, what: &str) -> Result<&'a str> {
        let at = self.position as u64;
        as_str(self.lp64(what)?, what, at)
    }

    /// Reads a u32 count of things that take at least `each` bytes, and checks that they can be there.
    pub fn count32(&mut self, each: usize, what: &str) -> Result<usize> {
        let count = self.u32(what)?;
        self.bounded(u64::from(count), each, what)
    }

    /// Reads a u64 count of things that take at least `each` bytes, and checks that they can be there.
    pub fn count64(&mut self, each: usize, what: &str) -> Result<usize> {
        let count = self.u64(what)?;
        self.bounded(count, each, what)
    }

    /// Reads `count` u64 values.
    pub fn u64s(&mut self, count: usize, what: &str) -> Result<Vec<u64>> {
        let size = count.saturating_mul(8);
        Ok(u64s_from_le(self.take(size, what)?))
    }

    /// Takes a u64 byte count and as many bytes of u64 values.
    pub fn lp64_u64s(&mut self, what: &str) -> Result<Vec<u64>> {
        let at = self.position as u64;
        let bytes = self.lp64(what)?;
        if !bytes.len().is_multiple_of(8) {
            let found = bytes.len();
            let message = format!("{what}: expected a multiple of 8 bytes, found {found}");
            return Err(Error::corrupt(message).at(at));
        }
        Ok(u64s_from_le(bytes))
    }

    /// Fails unless every byte has been read.
    pub fn finish(&self, what: &str) -> Result<()> {
        match self.remaining() {
            0 => Ok(()),
            left => {
                Err(Error::corrupt(format!("{what}: expected its end, found {left} more bytes"))
                    .at(self.position as u64))
            }
        }
    }

    fn bounded(&self, count: u64, each: usize, what: &str) -> Result<usize> {
        let most = (self.remaining() / each.max(1)) as u64;
        if count > most {
            return Err(Error::corrupt(format!(
                "{what}: {count} entries are announced, the remaining bytes hold at most {most}"
            ))
            .at(self.position as u64));
        }
        Ok(count as usize)
    }
}

fn as_str<'a>(bytes: &'a [u8], what: &str, at: u64) -> Result<&'a str> {
    std::str::from_utf8(bytes)
        .map_err(|e| Error::corrupt(format!("{what}: expected UTF-8, found {e}")).at(at))
}

/// Little-endian u64 values out of bytes; a remainder of fewer than 8 bytes is left out.
pub fn u64s_from_le(bytes: &[u8]) -> Vec<u64> {
    bytes.as_chunks::<8>().0.iter().map(|raw| u64::from_le_bytes(*raw)).collect()
}

/// Appends `bytes` behind their u32 count.
///
/// # Errors
/// [`InvalidInput`](crate::ErrorKind::InvalidInput) where the count does not fit.
pub fn put_lp32(out: &mut Vec<u8>, bytes: &[u8]) -> Result<()> {
    let count = u32::try_from(bytes.len()).map_err(|_| {
        Error::invalid(format!("expected at most {} bytes, found {}", u32::MAX, bytes.len()))
    })?;
    out.extend_from_slice(&count.to_le_bytes());
    out.extend_from_slice(bytes);
    Ok(())
}

/// Appends `bytes` behind their u64 count.
pub fn put_lp64(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
    out.extend_from_slice(bytes);
}

/// Appends `values` as little-endian u64.
pub fn put_u64s(out: &mut Vec<u8>, values: &[u64]) {
    out.reserve(values.len() * 8);
    for value in values {
        out.extend_from_slice(&value.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_past_the_end_is_refused_before_allocation() {
        let bytes = u64::MAX.to_le_bytes();
        let error = Cursor::new(&bytes).count64(8, "tiles").unwrap_err();
        assert!(error.to_string().contains("at most 0"), "{error}");
        assert!(Cursor::new(&bytes).lp64("name").is_err());
    }

    #[test]
    fn numbers_behind_their_size_are_whole() {
        let mut bytes = Vec::new();
        put_lp64(&mut bytes, &[1, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(Cursor::new(&bytes).lp64_u64s("offsets"), Ok(vec![1]));
        let mut bytes = Vec::new();
        put_lp64(&mut bytes, &[1, 0, 0, 0]);
        assert!(Cursor::new(&bytes).lp64_u64s("offsets").is_err());
    }

    #[test]
    fn a_short_read_names_field_and_offset() {
        let mut cursor = Cursor::new(&[1, 2, 3]);
        cursor.u8("first").unwrap();
        let error = cursor.u32("second").unwrap_err();
        assert_eq!(error.to_string(), "second: expected 4 bytes, found 2 (at byte 1)");
    }
}
