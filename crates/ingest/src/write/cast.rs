//! Values as the type that they are stored in.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef};
use arrow_cast::{CastOptions, cast_with_options};
use arrow_schema::DataType;

use crate::error::{Error, Result};

/// The same values as another type.
///
/// # Errors
/// [`Error::Unfit`] for a value that the other type cannot hold exactly.
pub(crate) fn stored_as(values: ArrayRef, stored: &DataType, object: &str) -> Result<ArrayRef> {
    if values.data_type() == stored {
        return Ok(values);
    }
    let arrow =
        |source| Error::Soma(vacuole_soma::Error::Arrow { object: object.to_owned(), source });
    let options = CastOptions { safe: false, ..CastOptions::default() };
    let cast = cast_with_options(&values, stored, &options).map_err(arrow)?;
    // Floats hold large integers only nearly.
    if values.data_type().is_integer() && stored.is_floating() {
        let back = CastOptions { safe: true, ..CastOptions::default() };
        let back = cast_with_options(&cast, values.data_type(), &back).map_err(arrow)?;
        let same = |&row: &usize| back.slice(row, 1).to_data() == values.slice(row, 1).to_data();
        if back.to_data() != values.to_data()
            && let Some(row) = (0..values.len()).find(|row| !same(row))
        {
            let value = arrow_cast::display::array_value_to_string(&values, row).map_err(arrow)?;
            return Err(Error::Unfit {
                object: object.to_owned(),
                message: format!(
                    "expected integers that {stored} can hold, found {value}; convert the file"
                ),
            });
        }
    }
    Ok(Arc::clone(&cast))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::{Float32Array, Int64Array};

    #[test]
    fn integers_become_floats_that_are_the_same() {
        let values: ArrayRef = Arc::new(Int64Array::from(vec![Some(0), None, Some(-(1 << 24))]));
        let expected: ArrayRef =
            Arc::new(Float32Array::from(vec![Some(0.0), None, Some(-16_777_216.0)]));
        assert_eq!(&stored_as(values, &DataType::Float32, "x").unwrap(), &expected);
        let large: ArrayRef = Arc::new(Int64Array::from(vec![1, (1 << 24) + 1, 1 << 62]));
        let error = stored_as(large, &DataType::Float32, "x").unwrap_err().to_string();
        assert!(error.contains("found 16777217"), "{error}");
    }
}
