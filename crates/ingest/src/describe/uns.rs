//! AnnData's `uns` as collections, metadata, dense arrays and data frames.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, LargeStringArray, UInt64Array};
use arrow_schema::DataType;
use arrow_select::take::take;
use vacuole_anndata::model::{NdArray, Scalar};
use vacuole_anndata::{Element, Frame};
use vacuole_soma::array::stored_type;
use vacuole_soma::create::{folder_of, member, object_metadata};
use vacuole_soma::layout::JOIN_ID;
use vacuole_soma::{SomaType, keys};
use vacuole_store::join;
use vacuole_tiledb::group::{Member, MemberKind};
use vacuole_tiledb::metadata::MetadataValue;

use super::{ArrayNode, Context, FrameContents, SomaColumn, Tree, frame, matrix};
use crate::error::Result;

/// Metadata keys that an entry of `uns` cannot have.
const RESERVED: [&str; 3] = [keys::OBJECT_TYPE, keys::ENCODING_VERSION, keys::TILEDBSOMA_TYPE];

/// Describes a dictionary as the collection at `path`. What SOMA has no place for is not in it; whoever calls
/// keeps it.
pub(super) fn describe(
    tree: &mut Tree,
    context: &Context<'_>,
    path: &str,
    entries: &[(String, Element)],
) -> Result<()> {
    let mut metadata = object_metadata(SomaType::Collection);
    metadata.insert(keys::TILEDBSOMA_TYPE.to_owned(), "uns".into());
    let mut members: Vec<Member> = Vec::new();
    for (key, value) in entries {
        let folder = folder_of(key);
        let path = join(path, &folder);
        let array = match value {
            Element::Null => continue,
            Element::Scalar(scalar) => {
                if !RESERVED.contains(&key.as_str()) {
                    metadata.extend(metadata_value(scalar).map(|value| (key.clone(), value)));
                }
                continue;
            }
            Element::Mapping(entries) => {
                describe(tree, context, &path, entries)?;
                members.push(member(key, &folder, MemberKind::Group));
                continue;
            }
            Element::Frame(found) => data_frame(context, &path, found)?,
            Element::Array(array) => of_array(&path, array.read()?)?,
            _ => None,
        };
        if let Some(array) = array {
            tree.array(array);
            members.push(member(key, &folder, MemberKind::Array));
        }
    }
    tree.group_with(path.to_owned(), metadata, members);
    Ok(())
}

/// A scalar as the reference stores it: integers as 64 bits, floats as doubles. `None` for complex numbers.
fn metadata_value(scalar: &Scalar) -> Option<MetadataValue> {
    Some(match scalar {
        Scalar::Bool(value) => (*value).into(),
        Scalar::Int8(value) => i64::from(*value).into(),
        Scalar::Int16(value) => i64::from(*value).into(),
        Scalar::Int32(value) => i64::from(*value).into(),
        Scalar::Int64(value) => (*value).into(),
        Scalar::UInt8(value) => i64::from(*value).into(),
        Scalar::UInt16(value) => i64::from(*value).into(),
        Scalar::UInt32(value) => i64::from(*value).into(),
        Scalar::UInt64(value) => match i64::try_from(*value) {
            Ok(value) => value.into(),
            Err(_) => (*value).into(),
        },
        Scalar::Float16(value) => f64::from(*value).into(),
        Scalar::Float32(value) => f64::from(*value).into(),
        Scalar::Float64(value) => (*value).into(),
        Scalar::String(text) => text.as_str().into(),
        _ => return None,
    })
}

fn data_frame(context: &Context<'_>, path: &str, found: &Frame) -> Result<Option<ArrayNode>> {
    let names = found.schema().columns.iter().map(|column| &column.name);
    let mut names = names.chain(&found.schema().index_name);
    // The reference refuses the whole file then.
    let is_reserved = |name: &String| name != JOIN_ID && frame::reserved(name).is_some();
    if found.n_rows() == 0 || names.any(is_reserved) {
        return Ok(None);
    }
    frame::describe(context, path, found).map(Some)
}

fn of_array(path: &str, array: NdArray) -> Result<Option<ArrayNode>> {
    let dimensions = array.shape.len();
    if array.shape.contains(&0) || !(1..=2).contains(&dimensions) {
        return Ok(None);
    }
    match array.values.data_type() {
        DataType::LargeUtf8 => strings(path, &array, dimensions).map(Some),
        DataType::Float16 => matrix::describe_dense(path, array).map(Some),
        other if stored_type(other).is_err() => Ok(None),
        _ => matrix::describe_dense(path, array).map(Some),
    }
}

/// An array of strings is a data frame of one column for each of its own, and says so.
fn strings(path: &str, array: &NdArray, dimensions: usize) -> Result<ArrayNode> {
    let rows = array.shape.first().copied().unwrap_or(0);
    let width = array.shape.get(1).copied().unwrap_or(1);
    let values = without_nulls(&array.values);
    let columns = (0..width).map(|column| {
        let name = if dimensions == 1 { "values".to_owned() } else { format!("values_{column}") };
        let cells = UInt64Array::from_iter_values((0..rows).map(|row| row * width + column));
        let values = take(&values, &cells, None).unwrap_or_else(|_| Arc::clone(&values));
        SomaColumn::strings(&name, values)
    });
    let hint = if dimensions == 1 { "array_1d" } else { "array_2d" };
    let more = BTreeMap::from([(keys::UNS_HINT.to_owned(), hint.into())]);
    let columns = columns.collect();
    let contents = FrameContents { columns, rows, first_row: 0, ids: None };
    frame::node(path, contents, Vec::new(), None, more)
}

fn without_nulls(values: &ArrayRef) -> ArrayRef {
    match values.as_string_opt::<i64>() {
        Some(text) if text.null_count() > 0 => {
            let text = text.iter().map(Option::unwrap_or_default);
            Arc::new(LargeStringArray::from_iter_values(text))
        }
        _ => Arc::clone(values),
    }
}
