//! What is in an H5AD file: the tree that `show` prints.

use vacuole_anndata::model::{ColumnEncoding, Scalar, SparseFormat};
use vacuole_anndata::{Element, Frame, H5ad, Matrix, SparseMatrix, StoredColumn};

use crate::error::Result;
use crate::tree::{Column, Node, column_type, type_name};

/// The tree of a file: shapes, types, columns, and the stored values of sparse matrices. No values are read, but for
/// the last row pointer of each.
///
/// # Errors
/// For what the file holds.
pub fn show(file: &H5ad) -> Result<Node> {
    let shape = vec![Some(file.n_obs()), Some(file.n_vars())];
    let mut root = Node { soma_type: "anndata".to_owned(), shape, ..Node::default() };
    if let Some(x) = file.x() {
        root.members.push(matrix("X", x)?);
    }
    root.members.push(frame("obs", file.obs()));
    root.members.push(frame("var", file.var()));
    let parts = [
        ("layers", file.layers()?),
        ("obsm", file.obsm()?),
        ("varm", file.varm()?),
        ("obsp", file.obsp()?),
        ("varp", file.varp()?),
        ("uns", file.uns()?),
    ];
    for (name, elements) in parts {
        if !elements.is_empty() {
            root.members.push(mapping(name, &elements)?);
        }
    }
    if let Some(raw) = file.raw()? {
        let shape = vec![Some(file.n_obs()), Some(raw.var.n_rows())];
        let mut node =
            Node { name: "raw".to_owned(), soma_type: "raw".to_owned(), shape, ..Node::default() };
        if let Some(x) = &raw.x {
            node.members.push(matrix("X", x)?);
        }
        node.members.push(frame("var", &raw.var));
        if !raw.varm.is_empty() {
            node.members.push(mapping("varm", &raw.varm)?);
        }
        root.members.push(node);
    }
    Ok(root)
}

fn named(name: &str, kind: &str) -> Node {
    Node { name: name.to_owned(), soma_type: kind.to_owned(), ..Node::default() }
}

fn mapping(name: &str, elements: &[(String, Element)]) -> Result<Node> {
    let members = elements.iter().map(|(name, element)| node(name, element));
    Ok(Node { members: members.collect::<Result<_>>()?, ..named(name, "dict") })
}

fn matrix(name: &str, matrix: &Matrix) -> Result<Node> {
    match matrix {
        Matrix::Dense(array) => node(name, &Element::Array(array.clone())),
        Matrix::Sparse(matrix) => sparse(name, matrix),
    }
}

fn sparse(name: &str, matrix: &SparseMatrix) -> Result<Node> {
    let kind = match matrix.format() {
        SparseFormat::Csr => "csr_matrix",
        SparseFormat::Csc => "csc_matrix",
    };
    let (rows, columns) = matrix.shape();
    Ok(Node {
        shape: vec![Some(rows), Some(columns)],
        count: Some(matrix.nnz()?),
        data_type: Some(type_name(matrix.data_type())),
        ..named(name, kind)
    })
}

fn node(name: &str, element: &Element) -> Result<Node> {
    let lengths = |shape: &[u64]| shape.iter().copied().map(Some).collect::<Vec<_>>();
    Ok(match element {
        Element::Null => named(name, "null"),
        Element::Scalar(scalar) => named(name, scalar_type(scalar)),
        Element::Array(array) => Node {
            shape: lengths(array.shape()),
            data_type: Some(type_name(array.data_type())),
            ..named(name, "array")
        },
        Element::Column(column) => Node {
            shape: vec![Some(column.len())],
            data_type: Some(stored_type(column)),
            ..named(name, "array")
        },
        Element::Sparse(matrix) => sparse(name, matrix)?,
        Element::Structured(records) => Node {
            shape: lengths(records.shape()),
            columns: { records.fields().iter() }
                .map(|(field, array)| Column {
                    name: field.clone(),
                    data_type: type_name(array.data_type()),
                    categories: None,
                    index: false,
                })
                .collect(),
            ..named(name, "rec-array")
        },
        Element::Frame(found) => frame(name, found),
        Element::Mapping(members) => mapping(name, members)?,
        Element::Unsupported(unsupported) => {
            named(name, format!("{} (not read)", unsupported.encoding_type).trim_start())
        }
        _ => named(name, "unknown"),
    })
}

/// A data frame, its index first.
fn frame(name: &str, frame: &Frame) -> Node {
    let schema = frame.schema();
    let index_name = schema.index_name.as_deref().unwrap_or("_index");
    let mut columns = vec![column(index_name, frame.stored_index(), true)];
    for found in &schema.columns {
        columns.extend(frame.stored_column(&found.name).map(|c| column(&found.name, c, false)));
    }
    let rows = frame.n_rows();
    Node { shape: vec![Some(rows)], count: Some(rows), columns, ..named(name, "dataframe") }
}

fn column(name: &str, column: &StoredColumn, index: bool) -> Column {
    Column {
        name: name.to_owned(),
        data_type: stored_type(column),
        categories: column.category_count(),
        index,
    }
}

fn stored_type(column: &StoredColumn) -> String {
    let ordered = column.encoding() == ColumnEncoding::Categorical { ordered: true };
    let name = column_type(&column.data_type(), ordered);
    match column.encoding() {
        ColumnEncoding::NullableInteger
        | ColumnEncoding::NullableBoolean
        | ColumnEncoding::NullableString => format!("nullable {name}"),
        _ => name,
    }
}

fn scalar_type(scalar: &Scalar) -> &'static str {
    match scalar {
        Scalar::Bool(_) => "bool",
        Scalar::Int8(_) => "int8",
        Scalar::Int16(_) => "int16",
        Scalar::Int32(_) => "int32",
        Scalar::Int64(_) => "int64",
        Scalar::UInt8(_) => "uint8",
        Scalar::UInt16(_) => "uint16",
        Scalar::UInt32(_) => "uint32",
        Scalar::UInt64(_) => "uint64",
        Scalar::Float16(_) => "float16",
        Scalar::Float32(_) => "float32",
        Scalar::Float64(_) => "float64",
        Scalar::Complex64(..) => "complex64",
        Scalar::Complex128(..) => "complex128",
        Scalar::String(_) => "string",
        _ => "scalar",
    }
}
