//! What AnnData before 0.7 stored elsewhere: categories, of columns that hold codes, in `uns`.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, Int64Array, LargeStringArray};

use super::{Element, Frame, StoredColumn};
use crate::container::integers;
use crate::model::Scalar;
use crate::{Error, Result};

const SUFFIX: &str = "_categories";

/// Gives columns of `frames` the categories that `uns` holds under the column's name and
/// `_categories`, and takes those out of `uns`.
///
/// One key may serve several frames; it serves those whose codes it covers, as in AnnData.
pub(super) fn take_categories(
    uns: &mut Vec<(String, Element)>,
    frames: &mut [Frame],
) -> Result<()> {
    let mut taken = Vec::new();
    for (key, element) in uns.iter() {
        if !key.ends_with(SUFFIX) {
            continue;
        }
        let name = key.replace(SUFFIX, "");
        let Some(categories) = categories(element)? else { continue };
        for frame in frames.iter_mut() {
            let Some(column) = frame.stored_column(&name) else { continue };
            let Some(codes) = column.as_codes() else { continue };
            let values = codes.read_rows(0..codes.n_rows())?;
            let covered = integers::<i64>(&values)
                .is_some_and(|codes| codes.iter().all(|&code| code < categories.len() as i64));
            if covered {
                let column = StoredColumn::categorical_of(codes.clone(), categories.clone())?;
                *frame = frame.with_column(&name, column)?;
                taken.push(key.clone());
            }
        }
    }
    uns.retain(|(key, _)| !taken.contains(key));
    Ok(())
}

/// Categories in `uns`; a single one may be stored as a scalar.
fn categories(element: &Element) -> Result<Option<ArrayRef>> {
    Ok(match element {
        Element::Scalar(Scalar::String(category)) => {
            Some(Arc::new(LargeStringArray::from(vec![category.as_str()])))
        }
        Element::Scalar(Scalar::Int64(category)) => {
            Some(Arc::new(Int64Array::from(vec![*category])))
        }
        Element::Array(array) => {
            let read = array.read()?;
            if read.shape.len() != 1 {
                return Err(Error::corrupt(format!(
                    "expected categories of one dimension, found the shape {:?}",
                    read.shape
                ))
                .in_element(array.path()));
            }
            Some(read.values)
        }
        _ => None,
    })
}
