//! Any element of an AnnData in a file.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type,
    UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;

use super::{DenseArray, Frame, SparseMatrix, StoredColumn, StoredRecords};
use crate::container::{Dataset, ElementType, Group, Node};
use crate::model::{Scalar, SparseFormat, Value};
use crate::{Error, ErrorKind, Result};

/// How deep dictionaries may be nested, and how many elements one may hold with all in it: a
/// file can link a group into itself.
const MAX_DEPTH: usize = 64;
const MAX_ELEMENTS: usize = 1 << 20;

/// Any element of an AnnData in a file. Scalars are read; all else is when it is asked for.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Element {
    /// `None`.
    Null,
    /// A single number, boolean or string.
    Scalar(Scalar),
    /// A NumPy array of numbers, booleans or strings.
    Array(DenseArray),
    /// A pandas array: categorical or nullable.
    Column(StoredColumn),
    /// A SciPy sparse matrix.
    Sparse(SparseMatrix),
    /// A NumPy record array.
    Structured(StoredRecords),
    /// A pandas data frame.
    Frame(Frame),
    /// A dictionary, in the order in which AnnData reads it.
    Mapping(Vec<(String, Element)>),
    /// What is not read here, such as an awkward array.
    Unsupported(Unsupported),
}

/// An element that is not read.
#[derive(Clone, Debug)]
pub struct Unsupported {
    /// The path inside the file.
    pub path: String,
    /// The attribute `encoding-type`, empty if there is none.
    pub encoding_type: String,
    /// The reason, with the remedy if there is one.
    pub why: Error,
}

impl Element {
    /// Reads the element into memory, with all that is in it.
    ///
    /// # Errors
    ///
    /// `Unsupported` for [`Element::Unsupported`], and whatever reading gives.
    pub fn read(&self) -> Result<Value> {
        Ok(match self {
            Self::Null => Value::Null,
            Self::Scalar(scalar) => Value::Scalar(scalar.clone()),
            Self::Array(array) => Value::Array(array.read()?),
            Self::Column(column) => Value::Column(column.read()?),
            Self::Sparse(matrix) => Value::Sparse(matrix.read()?),
            Self::Structured(records) => Value::Structured(records.read()?),
            Self::Frame(frame) => Value::Frame(frame.read()?),
            Self::Mapping(members) => Value::Mapping(
                members
                    .iter()
                    .map(|(name, element)| Ok((name.clone(), element.read()?)))
                    .collect::<Result<_>>()?,
            ),
            Self::Unsupported(unsupported) => return Err(unsupported.why.clone()),
        })
    }
}

/// The attributes that say how an element is encoded; empty where there are none.
pub(super) fn encoding(node: &Node) -> Result<(String, String)> {
    let attributes = node.attributes();
    let read = || {
        let kind = attributes.string("encoding-type")?.unwrap_or_default();
        let version = attributes.string("encoding-version")?.unwrap_or_default();
        Ok((kind, version))
    };
    read().map_err(|error: Error| match node {
        Node::Group(group) => group.locate(error),
        Node::Dataset(dataset) => dataset.locate(error),
    })
}

/// Opens an element of any kind.
pub(super) fn open(node: &Node) -> Result<Element> {
    Walk::default().open(node)
}

/// Opens the members of a dictionary.
pub(super) fn open_members(group: &Group) -> Result<Vec<(String, Element)>> {
    Walk::default().members(group)
}

/// What is counted while nested dictionaries are opened.
#[derive(Default)]
struct Walk {
    depth: usize,
    elements: usize,
}

impl Walk {
    /// Opens an element; what is not supported becomes [`Element::Unsupported`].
    fn open(&mut self, node: &Node) -> Result<Element> {
        let (kind, version) = encoding(node)?;
        let opened = match node {
            Node::Group(group) => self.open_group(group, &kind, &version),
            Node::Dataset(dataset) => open_dataset(dataset, &kind, &version),
        };
        opened.or_else(|error| match error.kind() {
            ErrorKind::Unsupported => Ok(unsupported(node.path(), kind, error)),
            _ => Err(error),
        })
    }

    fn open_group(&mut self, group: &Group, kind: &str, version: &str) -> Result<Element> {
        let sparse = |format| SparseMatrix::open(group, format).map(Element::Sparse);
        match (kind, version) {
            ("", "") => match group.attributes().string("h5sparse_format") {
                Ok(Some(format)) if format == "csr" => sparse(SparseFormat::Csr),
                Ok(Some(format)) if format == "csc" => sparse(SparseFormat::Csc),
                Ok(Some(format)) => Err(group.locate(Error::unsupported(format!(
                    "a sparse matrix of format {format:?} is not read; csr and csc are"
                )))),
                Ok(None) => self.members(group).map(Element::Mapping),
                Err(error) => Err(group.locate(error)),
            },
            ("dict", "0.1.0") => self.members(group).map(Element::Mapping),
            ("csr_matrix", "0.1.0") => sparse(SparseFormat::Csr),
            ("csc_matrix", "0.1.0") => sparse(SparseFormat::Csc),
            ("dataframe", "0.1.0" | "0.2.0") => Frame::open(group, version).map(Element::Frame),
            _ => match StoredColumn::open_group(group, kind, version)? {
                Some(column) => Ok(Element::Column(column)),
                None => Err(group.locate(unknown(kind, version, "group"))),
            },
        }
    }

    fn members(&mut self, group: &Group) -> Result<Vec<(String, Element)>> {
        let names = group.names()?;
        self.depth += 1;
        self.elements += names.len();
        if self.depth > MAX_DEPTH || self.elements > MAX_ELEMENTS {
            return Err(group.locate(Error::corrupt(format!(
                "expected at most {MAX_DEPTH} levels and {MAX_ELEMENTS} elements, found more; \
                 does a group hold itself?"
            ))));
        }
        let members = names
            .into_iter()
            .map(|name| {
                let element = match group.require(&name) {
                    Ok(node) => self.open(&node)?,
                    Err(error) if error.kind() == ErrorKind::Unsupported => {
                        let path = error.element().unwrap_or(&name).to_owned();
                        unsupported(&path, String::new(), error)
                    }
                    Err(error) => return Err(error),
                };
                Ok((name, element))
            })
            .collect();
        self.depth -= 1;
        members
    }
}

fn unsupported(path: &str, encoding_type: String, why: Error) -> Element {
    Element::Unsupported(Unsupported { path: path.to_owned(), encoding_type, why })
}

/// The error for an encoding that is not known.
pub(super) fn unknown(kind: &str, version: &str, what: &str) -> Error {
    Error::unsupported(format!("a {what} of encoding {kind:?}, version {version:?}, is not read"))
}

fn open_dataset(dataset: &Dataset, kind: &str, version: &str) -> Result<Element> {
    match (kind, version) {
        ("null", "0.1.0") => Ok(Element::Null),
        ("array" | "string-array", "0.2.0") => array_or_scalar(dataset),
        ("numeric-scalar" | "string" | "bytes", "0.2.0") => scalar(dataset),
        ("rec-array", "0.2.0") => StoredRecords::open(dataset).map(Element::Structured),
        ("", "") => match dataset.element() {
            _ if dataset.is_null() => Ok(Element::Null),
            ElementType::Compound { .. } => StoredRecords::open(dataset).map(Element::Structured),
            // AnnData before 0.7 stored a string as an array of one.
            ElementType::FixedString { utf8: false, .. } if *dataset.shape() == [1] => {
                scalar(dataset)
            }
            _ => array_or_scalar(dataset),
        },
        _ => Err(dataset.locate(unknown(kind, version, "dataset"))),
    }
}

fn array_or_scalar(dataset: &Dataset) -> Result<Element> {
    match dataset.element() {
        ElementType::Compound { .. } => StoredRecords::open(dataset).map(Element::Structured),
        _ if dataset.is_null() => Ok(Element::Null),
        ElementType::Array { .. } => DenseArray::new(dataset.clone()).map(Element::Array),
        _ if dataset.shape().is_empty() => scalar(dataset),
        _ => DenseArray::new(dataset.clone()).map(Element::Array),
    }
}

/// The only value of a dataset.
fn scalar(dataset: &Dataset) -> Result<Element> {
    let values = DenseArray::new(dataset.clone())?.read()?.values;
    scalar_of(&values).map(Element::Scalar).ok_or_else(|| {
        dataset.locate(Error::corrupt(format!(
            "expected one value, found {} of type {}",
            values.len(),
            values.data_type()
        )))
    })
}

fn scalar_of(values: &ArrayRef) -> Option<Scalar> {
    if values.len() != 1 {
        return None;
    }
    macro_rules! primitive {
        ($type:ty) => {
            values.as_primitive_opt::<$type>()?.value(0)
        };
    }
    Some(match values.data_type() {
        DataType::Boolean => Scalar::Bool(values.as_boolean_opt()?.value(0)),
        DataType::Int8 => Scalar::Int8(primitive!(Int8Type)),
        DataType::Int16 => Scalar::Int16(primitive!(Int16Type)),
        DataType::Int32 => Scalar::Int32(primitive!(Int32Type)),
        DataType::Int64 => Scalar::Int64(primitive!(Int64Type)),
        DataType::UInt8 => Scalar::UInt8(primitive!(UInt8Type)),
        DataType::UInt16 => Scalar::UInt16(primitive!(UInt16Type)),
        DataType::UInt32 => Scalar::UInt32(primitive!(UInt32Type)),
        DataType::UInt64 => Scalar::UInt64(primitive!(UInt64Type)),
        DataType::Float16 => Scalar::Float16(primitive!(Float16Type)),
        DataType::Float32 => Scalar::Float32(primitive!(Float32Type)),
        DataType::Float64 => Scalar::Float64(primitive!(Float64Type)),
        DataType::LargeUtf8 => Scalar::String(values.as_string_opt::<i64>()?.value(0).to_owned()),
        DataType::FixedSizeList(_, 2) => {
            let parts = values.as_fixed_size_list_opt()?.values();
            if let Some(parts) = parts.as_primitive_opt::<Float32Type>() {
                Scalar::Complex64(parts.value(0), parts.value(1))
            } else {
                let parts = parts.as_primitive_opt::<Float64Type>()?;
                Scalar::Complex128(parts.value(0), parts.value(1))
            }
        }
        _ => return None,
    })
}
