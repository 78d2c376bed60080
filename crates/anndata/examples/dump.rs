//! Prints what an H5AD file holds as JSON: kinds, types, shapes, and a CRC-32 of all values.
//!
//! `tests/python/test_h5ad_reader.py` prints the same of what `anndata.read_h5ad` gives.

use std::path::Path;
use std::process::ExitCode;

use arrow_array::cast::AsArray;
use arrow_array::types::Int32Type;
use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;
use serde_json::{Value as Json, json};
use vacuole_anndata::model::{Column, ColumnEncoding, Scalar, SparseArray, SparseFormat};
use vacuole_anndata::{DenseArray, Element, Frame, H5ad, Matrix, Raw, Result, SparseMatrix};

fn main() -> ExitCode {
    let Some(path) = std::env::args_os().nth(1) else {
        eprintln!("usage: dump FILE");
        return ExitCode::from(2);
    };
    match dump(Path::new(&path)) {
        Ok(json) => {
            println!("{json:#}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            println!("{}", json!({"error": format!("{:?}", error.kind())}));
            ExitCode::FAILURE
        }
    }
}

fn dump(path: &Path) -> Result<Json> {
    let file = H5ad::open(path)?;
    Ok(json!({
        "shape": [file.n_obs(), file.n_vars()],
        "X": file.x().map(matrix).transpose()?,
        "obs": frame(file.obs(), true)?,
        "var": frame(file.var(), true)?,
        "layers": members(&file.layers()?)?,
        "obsm": members(&file.obsm()?)?,
        "varm": members(&file.varm()?)?,
        "obsp": members(&file.obsp()?)?,
        "varp": members(&file.varp()?)?,
        "uns": members(&file.uns()?)?,
        "raw": file.raw()?.as_ref().map(raw).transpose()?,
    }))
}

fn raw(raw: &Raw) -> Result<Json> {
    Ok(json!({
        "X": raw.x.as_ref().map(matrix).transpose()?,
        "var": frame(&raw.var, true)?,
        "varm": members(&raw.varm)?,
    }))
}

fn matrix(matrix: &Matrix) -> Result<Json> {
    match matrix {
        Matrix::Dense(array) => dense(array),
        Matrix::Sparse(matrix) => sparse(matrix),
    }
}

fn members(members: &[(String, Element)]) -> Result<Json> {
    let items = members.iter().map(|(name, member)| Ok(json!([name, element(member)?])));
    Ok(json!({"kind": "mapping", "items": items.collect::<Result<Vec<_>>>()?}))
}

fn element(element: &Element) -> Result<Json> {
    match element {
        Element::Null => Ok(json!({"kind": "null"})),
        Element::Scalar(value) => Ok(scalar(value)),
        Element::Array(array) => dense(array),
        Element::Column(stored) => Ok(column(&stored.read()?)),
        Element::Sparse(matrix) => sparse(matrix),
        Element::Frame(stored) => frame(stored, false),
        Element::Mapping(stored) => members(stored),
        Element::Structured(records) => {
            let records = records.read()?;
            let fields = records
                .fields
                .iter()
                .map(|(name, field)| json!([name, array(&field.shape, &field.values)]));
            Ok(json!({
                "kind": "structured",
                "shape": records.shape,
                "fields": fields.collect::<Vec<_>>(),
            }))
        }
        Element::Unsupported(unsupported) => {
            Ok(json!({"kind": "unsupported", "encoding": unsupported.encoding_type}))
        }
        other => Ok(json!({"kind": format!("{other:?}")})),
    }
}

/// Reads in two parts, so that ranges are tried too.
fn dense(stored: &DenseArray) -> Result<Json> {
    let rows = stored.n_rows();
    let (head, tail) = (stored.read_rows(0..rows / 3)?, stored.read_rows(rows / 3..rows)?);
    let joined = arrow_select::concat::concat(&[head.as_ref(), tail.as_ref()]);
    let whole = stored.read()?;
    assert_eq!(joined.ok().as_ref(), Some(&whole.values), "parts of {}", stored.path());
    Ok(array(&whole.shape, &whole.values))
}

fn array(shape: &[u64], values: &ArrayRef) -> Json {
    json!({"kind": "array", "dtype": dtype(values.data_type()), "shape": shape, "crc": crc(values)})
}

fn sparse(stored: &SparseMatrix) -> Result<Json> {
    let whole: SparseArray = stored.read()?;
    assert_eq!(stored.nnz()?, whole.indices.len() as u64);
    let third = stored.nnz()? / 3;
    let mut indices = stored.read_indices(0..third)?.to_vec();
    indices.extend(stored.read_indices(third..stored.nnz()?)?.iter());
    assert_eq!(indices, whole.indices, "parts of {}", stored.path());
    let bytes = |values: Vec<i64>| {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        libdeflater::crc32(&bytes)
    };
    Ok(json!({
        "kind": "sparse",
        "format": if whole.format == SparseFormat::Csr { "csr" } else { "csc" },
        "shape": [whole.shape.0, whole.shape.1],
        "dtype": dtype(whole.data.data_type()),
        "indptr": bytes(whole.indptr.iter().map(|&value| value as i64).collect()),
        "indices": bytes(whole.indices.iter().map(|&value| i64::from(value)).collect()),
        "data": crc(&whole.data),
    }))
}

fn frame(stored: &Frame, index_as_text: bool) -> Result<Json> {
    let index = if index_as_text {
        let encoding = match stored.stored_index().encoding() {
            ColumnEncoding::NullableString => ColumnEncoding::NullableString,
            _ => ColumnEncoding::String,
        };
        Column { values: stored.index()?, encoding }
    } else {
        stored.stored_index().read()?
    };
    let mut columns = Vec::new();
    for schema in &stored.schema().columns {
        let values = stored.column(&schema.name)?;
        assert_eq!(values.values.data_type(), &schema.data_type, "{}", schema.name);
        assert_eq!(values.encoding, schema.encoding, "{}", schema.name);
        columns.push(json!([schema.name, column(&values)]));
    }
    Ok(json!({
        "kind": "frame",
        "index_name": stored.schema().index_name,
        "index": column(&index),
        "columns": columns,
    }))
}

fn column(column: &Column) -> Json {
    let values = &column.values;
    let nulls: Vec<u8> = (0..values.len()).map(|row| u8::from(values.is_null(row))).collect();
    let nulls = libdeflater::crc32(&nulls);
    match column.encoding {
        ColumnEncoding::Categorical { ordered } => {
            let array = values.as_dictionary::<Int32Type>();
            let codes = array.keys().iter().flat_map(|key| key.unwrap_or(-1).to_le_bytes());
            json!({
                "kind": "categorical",
                "ordered": ordered,
                "codes": libdeflater::crc32(&codes.collect::<Vec<_>>()),
                "length": values.len(),
                "categories": self::array(&[array.values().len() as u64], array.values()),
            })
        }
        ColumnEncoding::Plain | ColumnEncoding::String => array(&[values.len() as u64], values),
        _ => json!({
            "kind": "nullable",
            "dtype": dtype(values.data_type()),
            "length": values.len(),
            "nulls": nulls,
            "crc": crc(values),
        }),
    }
}

fn dtype(data_type: &DataType) -> String {
    match data_type {
        DataType::Boolean => "bool".into(),
        DataType::LargeUtf8 => "str".into(),
        DataType::FixedSizeList(part, _) if *part.data_type() == DataType::Float32 => {
            "complex64".into()
        }
        DataType::FixedSizeList(..) => "complex128".into(),
        other => format!("{other}").to_lowercase(),
    }
}

/// Numbers as little-endian bytes, booleans as one byte, strings as length and UTF-8; what is
/// null as zeros.
fn crc(values: &ArrayRef) -> u32 {
    let bytes: Vec<u8> = match values.data_type() {
        DataType::Boolean => {
            values.as_boolean().iter().map(|value| u8::from(value.unwrap_or(false))).collect()
        }
        DataType::LargeUtf8 => values
            .as_string::<i64>()
            .iter()
            .flat_map(|value| {
                let value = value.unwrap_or("").as_bytes();
                let mut bytes = (value.len() as u32).to_le_bytes().to_vec();
                bytes.extend(value);
                bytes
            })
            .collect(),
        DataType::FixedSizeList(..) => return crc(values.as_fixed_size_list().values()),
        other => {
            let width = other.primitive_width().unwrap_or(1);
            let data = values.to_data();
            let start = data.offset() * width;
            let stored = data.buffers().first().map_or(&[][..], |buffer| buffer.as_slice());
            let mut bytes = stored[start..start + values.len() * width].to_vec();
            for row in (0..values.len()).filter(|&row| values.is_null(row)) {
                bytes[row * width..(row + 1) * width].fill(0);
            }
            bytes
        }
    };
    libdeflater::crc32(&bytes)
}

fn scalar(scalar: &Scalar) -> Json {
    let float = |value: f64| format!("{:016x}", value.to_bits());
    let (kind, value) = match scalar {
        Scalar::Bool(value) => ("bool", value.to_string()),
        Scalar::Int8(value) => ("int", value.to_string()),
        Scalar::Int16(value) => ("int", value.to_string()),
        Scalar::Int32(value) => ("int", value.to_string()),
        Scalar::Int64(value) => ("int", value.to_string()),
        Scalar::UInt8(value) => ("int", value.to_string()),
        Scalar::UInt16(value) => ("int", value.to_string()),
        Scalar::UInt32(value) => ("int", value.to_string()),
        Scalar::UInt64(value) => ("int", value.to_string()),
        Scalar::Float16(value) => ("float", float(value.to_f64())),
        Scalar::Float32(value) => ("float", float(f64::from(*value))),
        Scalar::Float64(value) => ("float", float(*value)),
        Scalar::Complex64(real, imaginary) => {
            ("complex", float(f64::from(*real)) + &float(f64::from(*imaginary)))
        }
        Scalar::Complex128(real, imaginary) => ("complex", float(*real) + &float(*imaginary)),
        Scalar::String(value) => ("str", value.clone()),
        other => ("other", format!("{other:?}")),
    };
    json!({"kind": "scalar", "type": kind, "value": value})
}
