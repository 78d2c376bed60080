//! The double delta filter: differences between differences, in as few bits as the largest needs.
//!
//! ```text
//! part: u8 bits │ u64 n │ first value │ second value │ packed: (n - 2) × { 1 bit sign │ bits magnitude }
//!       u8 bits │ u64 n │ values as they are                  where bits ≥ the datatype's bits - 1
//! ```
//!
//! A sign of 1 is negative. The packed bits fill u64 words from the most significant bit down; the words
//! are little-endian, and the last is padded with zeros. Up to two values need no bits: `bits` is then 0.
//! The first difference counts towards `bits` too, though it is not stored.
//!
//! Where a difference does not fit 64 bits libtiledb refuses to write; here the values are stored as they
//! are, which libtiledb reads.

use super::delta::{whole_values, width};
use super::value::{Value, by_integer, by_width, take};
use crate::Datatype;
use crate::bytes::Cursor;
use crate::datatype::Numeric;
use crate::error::{Error, Result};

/// Undoes the double differences of `input`, which must fill `output`.
pub(super) fn decompress(datatype: Datatype, input: &[u8], output: &mut [u8]) -> Result<()> {
    let width = width(datatype)?;
    let mut cursor = Cursor::new(input);
    let bits = u32::from(cursor.u8("bits")?);
    let count = cursor.u64("values")?;
    let size = usize::try_from(count).unwrap_or(usize::MAX).saturating_mul(width);
    if size != output.len() {
        return Err(Error::corrupt(format!(
            "expected {} bytes, found {count} values of {width} bytes",
            output.len(),
        )));
    }
    if bits >= width as u32 * 8 - 1 {
        output.copy_from_slice(cursor.take(size, "values")?);
        return cursor.finish("values");
    }
    by_width!(width, unpack(bits, &mut cursor, output))?;
    cursor.finish("double differences")
}

fn unpack<T: Value>(bits: u32, input: &mut Cursor<'_>, output: &mut [u8]) -> Result<()> {
    let mut output = T::all_mut(output).iter_mut();
    let (Some(first), second) = (output.next(), output.next()) else { return Ok(()) };
    let mut before = take::<T>(input, "first value")?;
    *first = before.store();
    let Some(second) = second else { return Ok(()) };
    let value = take::<T>(input, "second value")?;
    *second = value.store();

    let packed = (output.len() as u64).saturating_mul(u64::from(bits) + 1).div_ceil(64);
    let size = usize::try_from(packed).unwrap_or(usize::MAX).saturating_mul(8);
    let mut words = Bits::new(input.take(size, "packed double differences")?);
    let mut difference = value.minus(before).widen();
    before = value;
    let mut value = before.widen();
    for target in output {
        let field = words.take(bits + 1);
        let magnitude = field & ((1 << bits) - 1);
        let negative = (field >> bits).wrapping_neg();
        difference = difference.wrapping_add((magnitude ^ negative).wrapping_sub(negative));
        value = value.wrapping_add(difference);
        *target = T::narrow(value).store();
    }
    Ok(())
}

/// Appends the double differences of `input` to `out`.
pub(super) fn compress(datatype: Datatype, input: &[u8], out: &mut Vec<u8>) -> Result<()> {
    let width = width(datatype)?;
    let count = whole_values(width, input)?;
    let signed = datatype.numeric() == Numeric::Signed;
    by_integer!(width, signed, pack(count, input, out));
    Ok(())
}

fn pack<T: Value>(count: usize, input: &[u8], out: &mut Vec<u8>) {
    let most = T::SIZE as u32 * 8;
    let bits = needed_bits::<T>(input).unwrap_or(most);
    out.push(bits as u8);
    out.extend_from_slice(&(count as u64).to_le_bytes());
    if bits >= most - 1 || count <= 2 {
        out.extend_from_slice(input);
        return;
    }
    out.extend_from_slice(&input[..2 * T::SIZE]);
    let mut words = Words { out, word: 0, free: 64 };
    for_each_double_difference::<T>(input, |double| {
        let sign = u64::from(double < 0) << bits;
        words.put(sign | double.unsigned_abs(), bits + 1);
    });
    words.finish();
}

/// The bits of the largest double difference, or of the first difference where that is larger.
fn needed_bits<T: Value>(input: &[u8]) -> Option<u32> {
    let values = T::all(input);
    if values.len() <= 2 {
        return Some(0);
    }
    let mut largest = 0;
    let mut before: Option<i64> = None;
    for (value, earlier) in values.iter().skip(1).zip(values) {
        let difference = T::load(value).difference(T::load(earlier))?;
        let double = difference.checked_sub(before.unwrap_or(0))?;
        largest = largest.max(double.unsigned_abs());
        before = Some(difference);
    }
    Some((64 - largest.leading_zeros()).max(1))
}

fn for_each_double_difference<T: Value>(input: &[u8], mut each: impl FnMut(i64)) {
    let values = T::all(input);
    let difference = |(value, earlier): (&T::Bytes, &T::Bytes)| {
        T::load(value).widen().wrapping_sub(T::load(earlier).widen())
    };
    let mut differences = values.iter().skip(1).zip(values).map(difference);
    let mut before = differences.next().unwrap_or(0);
    for difference in differences {
        each(difference.wrapping_sub(before) as i64);
        before = difference;
    }
}

/// Takes bits from the most significant end of little-endian words.
struct Bits<'a> {
    words: std::slice::Iter<'a, [u8; 8]>,
    word: u64,
    left: u32,
}

impl<'a> Bits<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { words: bytes.as_chunks().0.iter(), word: 0, left: 0 }
    }

    /// The next `count` bits, 1 to 63; zeros past the end.
    fn take(&mut self, count: u32) -> u64 {
        let mut taken = self.word;
        if count > self.left {
            let next = self.words.next().map_or(0, |raw| u64::from_le_bytes(*raw));
            taken |= next.checked_shr(self.left).unwrap_or(0);
            // `count - left` bits of `next` are used up, which are fewer than 64.
            self.word = next << (count - self.left);
            self.left = 64 - (count - self.left);
        } else {
            self.word <<= count;
            self.left -= count;
        }
        taken >> (64 - count)
    }
}

/// Puts bits from the most significant end down into words, and the words into `out`.
struct Words<'a> {
    out: &'a mut Vec<u8>,
    word: u64,
    free: u32,
}

impl Words<'_> {
    /// Appends the low `count` bits of `field`, 1 to 63; the bits above them are zero.
    fn put(&mut self, field: u64, count: u32) {
        if count < self.free {
            self.free -= count;
            self.word |= field << self.free;
            return;
        }
        let over = count - self.free;
        self.word |= field >> over;
        self.out.extend_from_slice(&self.word.to_le_bytes());
        self.free = 64 - over;
        self.word = field.checked_shl(self.free).unwrap_or(0);
    }

    fn finish(self) {
        if self.free < 64 {
            self.out.extend_from_slice(&self.word.to_le_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(datatype: Datatype, values: &[u8]) -> Vec<u8> {
        let mut stored = Vec::new();
        compress(datatype, values, &mut stored).unwrap();
        let mut output = vec![0xAA; values.len()];
        decompress(datatype, &stored, &mut output).unwrap();
        assert_eq!(output, values, "{datatype:?}");
        for length in 0..stored.len() {
            assert!(decompress(datatype, &stored[..length], &mut output).is_err(), "{length}");
        }
        stored
    }

    #[test]
    fn double_differences_have_the_stored_layout() {
        let values: Vec<u8> = [10_i16, 12, 15, 17].iter().flat_map(|v| v.to_le_bytes()).collect();
        // Differences 2, 3, 2: double differences +1, -1. The first difference, 2, asks for two bits:
        // 0 01 1 01, then zeros.
        let stored = round_trip(Datatype::Int16, &values);
        #[rustfmt::skip]
        assert_eq!(stored, [
            2,  4, 0, 0, 0, 0, 0, 0, 0,  10, 0, 12, 0,
            0, 0, 0, 0, 0, 0, 0, 0b0011_0100,
        ]);
    }

    #[test]
    fn few_values_need_no_bits() {
        assert_eq!(round_trip(Datatype::Int32, &[1, 0, 0, 0])[0], 0);
        assert_eq!(round_trip(Datatype::Int32, &[1, 0, 0, 0, 9, 9, 9, 9])[0], 0);
    }

    #[test]
    fn extremes_are_stored_as_they_are() {
        let values = [0, u64::MAX, 0, 1 << 63, 3].map(u64::to_le_bytes).concat();
        for datatype in [Datatype::UInt64, Datatype::Int64] {
            let stored = round_trip(datatype, &values);
            assert!(stored[0] >= 63 && stored[9..] == values);
        }
    }
}
