//! The float scale filter: floating point numbers as integers.
//!
//! ```text
//! metadata: u32 n │ n × u32 stored bytes of the part
//! data:     n parts of signed integers of the filter's byte width
//! ```
//!
//! The value of a stored integer is `integer * scale + offset`, computed in double precision, the integer
//! first rounded to the field's precision. A field of any datatype of 4 or 8 bytes is taken as float.

use super::parts;
use super::value::Value;
use crate::Datatype;
use crate::bytes::Cursor;
use crate::error::{Error, Result};

/// The filter's options.
pub(super) struct Scaling {
    pub(super) scale: f64,
    pub(super) offset: f64,
    pub(super) byte_width: u64,
}

/// The length of the numbers that the integers in `input` stand for.
pub(super) fn decoded_length(input: &[u8], datatype: Datatype, byte_width: u64) -> Result<usize> {
    let size = datatype.size();
    if !matches!(size, 4 | 8) {
        return Err(Error::corrupt(format!(
            "expected a datatype of 4 or 8 bytes, found {}",
            datatype.name(),
        )));
    }
    match usize::try_from(byte_width) {
        Ok(width @ (1 | 2 | 4 | 8)) => Ok((input.len() / width).saturating_mul(size)),
        _ => Err(Error::corrupt(format!("expected 1, 2, 4 or 8 bytes, found {byte_width}"))),
    }
}

/// Turns the integers of `input` into numbers, which must fill `output`.
pub(super) fn decode(
    scaling: &Scaling,
    datatype: Datatype,
    metadata: &mut Cursor<'_>,
    input: &[u8],
    output: &mut [u8],
) -> Result<()> {
    let single = datatype.size() == 4;
    let width = scaling.byte_width.max(1) as usize;
    let ratio = |length: usize| (length / width).saturating_mul(datatype.size());
    parts::decode(metadata, input, output, ratio, |part, target| {
        match scaling.byte_width {
            1 => scale::<i8>(scaling, single, part, target),
            2 => scale::<i16>(scaling, single, part, target),
            4 => scale::<i32>(scaling, single, part, target),
            _ => scale::<i64>(scaling, single, part, target),
        }
        Ok(())
    })
}

fn scale<T: Value>(scaling: &Scaling, single: bool, input: &[u8], output: &mut [u8]) {
    let integers = T::all(input).iter().map(|raw| T::load(raw).widen() as i64);
    if single {
        for (target, integer) in output.as_chunks_mut().0.iter_mut().zip(integers) {
            let value = scaling.scale * f64::from(integer as f32) + scaling.offset;
            *target = (value as f32).to_le_bytes();
        }
    } else {
        for (target, integer) in output.as_chunks_mut().0.iter_mut().zip(integers) {
            *target = (scaling.scale * integer as f64 + scaling.offset).to_le_bytes();
        }
    }
}

/// Appends the integers of `input` to `out`, and their length to `piece`. Numbers between the steps are rounded.
///
/// # Errors
/// [`InvalidInput`](crate::ErrorKind::InvalidInput) for a number that no integer of the width stands for.
pub(super) fn encode(
    scaling: &Scaling,
    datatype: Datatype,
    input: &[u8],
    piece: &mut Vec<u8>,
    out: &mut Vec<u8>,
) -> Result<()> {
    let size = datatype.size();
    if !matches!(size, 4 | 8) || !input.len().is_multiple_of(size) {
        return Err(Error::invalid(format!(
            "expected numbers of 4 or 8 bytes, found {} bytes of {}",
            input.len(),
            datatype.name(),
        )));
    }
    let start = out.len();
    match scaling.byte_width {
        1 => put::<i8>(scaling, size, input, out)?,
        2 => put::<i16>(scaling, size, input, out)?,
        4 => put::<i32>(scaling, size, input, out)?,
        8 => put::<i64>(scaling, size, input, out)?,
        other => {
            return Err(Error::invalid(format!("expected 1, 2, 4 or 8 bytes, found {other}")));
        }
    }
    parts::encode_one(&out[start..], piece)
}

fn put<T: Value>(scaling: &Scaling, size: usize, input: &[u8], out: &mut Vec<u8>) -> Result<()> {
    // Every f64 below 2^63 is an i64.
    let end = 2f64.powi(8 * T::SIZE as i32 - 1);
    for raw in input.chunks_exact(size) {
        let value = crate::schema::range::float(raw);
        let steps = ((value - scaling.offset) / scaling.scale).round();
        if !(-end..end).contains(&steps) {
            return Err(Error::invalid(format!(
                "{value} is {steps} steps of {}, which {} bytes do not hold",
                scaling.scale,
                T::SIZE,
            )));
        }
        out.extend_from_slice(T::narrow(steps as i64 as u64).store().as_ref());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_become_numbers() {
        let scaling = Scaling { scale: 0.5, offset: 10.0, byte_width: 1 };
        let metadata = [1, 0, 0, 0, 2, 0, 0, 0];
        let input = [3, 0xFE];
        assert_eq!(decoded_length(&input, Datatype::Float32, 1), Ok(8));
        let mut output = [0; 8];
        decode(&scaling, Datatype::Float32, &mut Cursor::new(&metadata), &input, &mut output)
            .unwrap();
        assert_eq!(output[..], [11.5_f32, 9.0].map(f32::to_le_bytes).concat());
        let (mut piece, mut written) = (Vec::new(), Vec::new());
        encode(&scaling, Datatype::Float32, &output, &mut piece, &mut written).unwrap();
        assert_eq!((&piece[..], &written[..]), (&metadata[..], &input[..]));
        for beyond in [f32::NAN, 74.0, -54.5, f32::INFINITY] {
            let input = beyond.to_le_bytes();
            let found = encode(&scaling, Datatype::Float32, &input, &mut piece, &mut written);
            assert!(found.is_err(), "{beyond}");
        }
        assert!(decoded_length(&input, Datatype::Int16, 1).is_err());
        assert!(decoded_length(&input, Datatype::Float32, 3).is_err());
    }
}
