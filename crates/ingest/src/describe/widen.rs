//! Types of numbers that can take each other's place.

use arrow_schema::DataType;

/// The type that holds the values of both, where there is one. Integers and floats have one only where `to_floats` says so.
pub(super) fn common(a: &DataType, b: &DataType, to_floats: bool) -> Option<DataType> {
    if a == b {
        return Some(a.clone());
    }
    match (integer(a), integer(b)) {
        (Some((signed_a, bits_a)), Some((signed_b, bits_b))) => {
            let bits = match (signed_a, signed_b) {
                (true, false) => bits_a.max(2 * bits_b),
                (false, true) => bits_b.max(2 * bits_a),
                _ => bits_a.max(bits_b),
            };
            integer_of(signed_a || signed_b, bits)
        }
        (None, None) if is_float(a) && is_float(b) => Some(DataType::Float64),
        (Some((_, bits)), None) if to_floats && is_float(b) => Some(float_for(bits, b)),
        (None, Some((_, bits))) if to_floats && is_float(a) => Some(float_for(bits, a)),
        _ => None,
    }
}

/// Whether values of a type can be stored in a column that is there. Integers go into floats only where `to_floats` says
/// so; whether a float has room for each of them is seen when they are written.
pub(super) fn fits(found: &DataType, stored: &DataType, to_floats: bool) -> bool {
    (to_floats && integer(found).is_some() && is_float(stored))
        || common(found, stored, to_floats).as_ref() == Some(stored)
}

/// Whether an integer is signed, and its bits.
fn integer(data_type: &DataType) -> Option<(bool, usize)> {
    let bits = 8 * data_type.primitive_width()?;
    data_type.is_integer().then(|| (data_type.is_signed_integer(), bits))
}

fn integer_of(signed: bool, bits: usize) -> Option<DataType> {
    Some(match (signed, bits) {
        (true, 8) => DataType::Int8,
        (true, 16) => DataType::Int16,
        (true, 32) => DataType::Int32,
        (true, 64) => DataType::Int64,
        (false, 8) => DataType::UInt8,
        (false, 16) => DataType::UInt16,
        (false, 32) => DataType::UInt32,
        (false, 64) => DataType::UInt64,
        _ => return None,
    })
}

fn is_float(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Float32 | DataType::Float64)
}

/// A single float has 24 bits of precision.
fn float_for(bits: usize, float: &DataType) -> DataType {
    if bits <= 16 { float.clone() } else { DataType::Float64 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use DataType as D;

    #[test]
    fn both_sides_fit_into_the_common_type() {
        for (a, b, both) in [
            (D::Int8, D::Int64, Some(D::Int64)),
            (D::UInt8, D::Int8, Some(D::Int16)),
            (D::UInt32, D::Int16, Some(D::Int64)),
            (D::UInt64, D::Int64, None),
            (D::Float32, D::Float64, Some(D::Float64)),
            (D::Int8, D::Float32, None),
            (D::Boolean, D::Int8, None),
            (D::LargeUtf8, D::LargeUtf8, Some(D::LargeUtf8)),
        ] {
            assert_eq!(common(&a, &b, false), both);
            assert_eq!(common(&b, &a, false), both);
        }
        assert_eq!(common(&D::Int16, &D::Float32, true), Some(D::Float32));
        assert_eq!(common(&D::Float32, &D::Int64, true), Some(D::Float64));
        assert_eq!(common(&D::Boolean, &D::Float32, true), None);
    }

    #[test]
    fn what_is_stored_is_not_narrowed() {
        assert!(fits(&D::Int8, &D::Int32, false) && !fits(&D::Int32, &D::Int8, false));
        assert!(fits(&D::Int64, &D::Float32, true) && !fits(&D::Int64, &D::Float32, false));
        assert!(!fits(&D::Float64, &D::Float32, true));
    }
}
