//! Metadata as JSON.

use serde_json::Value;
use vacuole_tiledb::metadata::MetadataValue;
use vacuole_tiledb::{Datatype, Numeric};

/// What a value is in JSON: text, a number, true or false, or a list of these; where it is none of them, its bytes in
/// hexadecimal. Numbers that JSON does not have are null.
pub(crate) fn metadata_value(value: &MetadataValue) -> Value {
    if let Some(text) = value.as_str() {
        return text.into();
    }
    let datatype = value.datatype;
    if datatype.is_string() || matches!(datatype, Datatype::Char | Datatype::Any | Datatype::Blob) {
        return value.bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into();
    }
    let numbers = value.bytes.chunks_exact(datatype.size());
    let mut numbers: Vec<Value> = numbers.map(|bytes| number(datatype, bytes)).collect();
    match numbers.len() {
        1 => numbers.remove(0),
        _ => numbers.into(),
    }
}

fn number(datatype: Datatype, bytes: &[u8]) -> Value {
    // The sign goes on to the left.
    let negative =
        datatype.numeric() == Numeric::Signed && bytes.last().is_some_and(|b| b >> 7 == 1);
    let mut wide = [if negative { 0xff } else { 0 }; 8];
    wide.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    match (datatype, datatype.numeric()) {
        (Datatype::Bool, _) => (wide[0] != 0).into(),
        (Datatype::Float32, _) => {
            let [a, b, c, d, ..] = wide;
            // As it is written, and not the f64 that is the same.
            let value = f32::from_le_bytes([a, b, c, d]);
            value.to_string().parse::<f64>().map_or(Value::Null, Value::from)
        }
        (_, Numeric::Float) => f64::from_le_bytes(wide).into(),
        (_, Numeric::Signed) => i64::from_le_bytes(wide).into(),
        (_, Numeric::Unsigned) => u64::from_le_bytes(wide).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_are_what_json_has() {
        let shown = |datatype, bytes: &[u8]| {
            metadata_value(&MetadataValue { datatype, bytes: bytes.to_vec() })
        };
        assert_eq!(metadata_value(&"näme".into()), json!("näme"));
        assert_eq!(metadata_value(&true.into()), json!(true));
        assert_eq!(metadata_value(&0.1f32.into()), json!(0.1));
        assert_eq!(metadata_value(&f64::NAN.into()), json!(null));
        assert_eq!(metadata_value(&u64::MAX.into()), json!(u64::MAX));
        assert_eq!(shown(Datatype::Int16, &[0xfe, 0xff, 5, 0]), json!([-2, 5]));
        assert_eq!(shown(Datatype::UInt8, &[200]), json!(200));
        assert_eq!(shown(Datatype::Int32, &[]), json!([]));
        assert_eq!(shown(Datatype::Blob, &[1, 255]), json!("01ff"));
        assert_eq!(shown(Datatype::StringUtf8, &[255]), json!("ff"));
    }
}
