//! The delta filter: each value less the one before it.
//!
//! ```text
//! part: u64 n │ first value │ n - 1 differences, of the datatype's width, wrapping
//! ```
//!
//! libtiledb neither writes nor reads an empty part. Some of its versions that write format 19 end a part
//! with one difference too many, which is left out.

use super::value::{Value, by_width};
use crate::Datatype;
use crate::bytes::Cursor;
use crate::datatype::Numeric;
use crate::error::{Error, Result};

/// The width that delta and double delta compute in: strings of any encoding are taken byte by byte.
pub(super) fn width(datatype: Datatype) -> Result<usize> {
    match datatype.numeric() {
        Numeric::Float => {
            Err(Error::unsupported(format!("{} has no differences", datatype.name())))
        }
        _ if datatype.is_string() => Ok(1),
        _ => Ok(datatype.size()),
    }
}

/// Undoes the differences of `input`, which must fill `output`.
pub(super) fn decompress(datatype: Datatype, input: &[u8], output: &mut [u8]) -> Result<()> {
    let width = width(datatype)?;
    let mut cursor = Cursor::new(input);
    let count = cursor.count64(width, "values")?;
    let values = cursor.take(count.saturating_mul(width), "differences")?;
    if cursor.remaining() != width {
        cursor.finish("differences")?;
    }
    if values.len() != output.len() {
        return Err(Error::corrupt(format!(
            "expected {} bytes, found {} differences of {width} bytes",
            output.len(),
            count,
        )));
    }
    by_width!(width, add(values, output));
    Ok(())
}

fn add<T: Value>(differences: &[u8], output: &mut [u8]) {
    let mut value = T::ZERO;
    for (target, difference) in T::all_mut(output).iter_mut().zip(T::all(differences)) {
        value = value.plus(T::load(difference));
        *target = value.store();
    }
}

/// Appends the differences of `input` to `out`.
pub(super) fn compress(datatype: Datatype, input: &[u8], out: &mut Vec<u8>) -> Result<()> {
    let width = width(datatype)?;
    let count = whole_values(width, input)?;
    out.extend_from_slice(&(count as u64).to_le_bytes());
    let start = out.len();
    out.extend_from_slice(input);
    by_width!(width, subtract(input, &mut out[start..]));
    Ok(())
}

/// The number of values in `input`; none, or a part of one, cannot be stored.
pub(super) fn whole_values(width: usize, input: &[u8]) -> Result<usize> {
    if input.is_empty() || !input.len().is_multiple_of(width) {
        return Err(Error::invalid(format!(
            "expected one or more values of {width} bytes, found {} bytes",
            input.len(),
        )));
    }
    Ok(input.len() / width)
}

fn subtract<T: Value>(input: &[u8], output: &mut [u8]) {
    let values = T::all(input);
    let targets = T::all_mut(output).iter_mut().skip(1);
    for ((target, value), before) in targets.zip(values.iter().skip(1)).zip(values) {
        *target = T::load(value).minus(T::load(before)).store();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_have_the_stored_layout() {
        #[rustfmt::skip]
        let (values, stored) = (
            [5, 0, 7, 0, 4, 0],
            [3, 0, 0, 0, 0, 0, 0, 0,  5, 0, 2, 0, 253, 255],
        );
        let mut written = Vec::new();
        compress(Datatype::UInt16, &values, &mut written).unwrap();
        assert_eq!(written, stored);
        let mut output = [0; 6];
        decompress(Datatype::UInt16, &stored, &mut output).unwrap();
        assert_eq!(output, values);

        for length in 0..stored.len() {
            assert!(decompress(Datatype::UInt16, &stored[..length], &mut output).is_err());
        }
        let mut longer = stored.to_vec();
        longer.push(0);
        assert!(decompress(Datatype::UInt16, &longer, &mut output).is_err());
        assert!(decompress(Datatype::UInt16, &stored, &mut [0; 8]).is_err());
        assert!(compress(Datatype::UInt16, &[1], &mut written).is_err());
        assert!(compress(Datatype::Float32, &[0; 4], &mut written).is_err());
    }
}
