//! AnnData matrices as sparse arrays, and arrays of `uns` as dense ones.

use arrow_schema::DataType;
use vacuole_anndata::model::NdArray;
use vacuole_anndata::{Element, Matrix};
use vacuole_soma::array::stored_type;
use vacuole_soma::create::object_metadata;
use vacuole_soma::{SomaType, layout};
use vacuole_tiledb::schema::{ArraySchema, Extent};

use super::{ArrayNode, Contents, Context, Part, Standing};
use crate::error::{Result, in_object};
use crate::write::Renumbered;

/// What goes into a sparse array.
pub(crate) struct MatrixContents {
    /// The element in the file, for messages.
    pub(crate) element: String,
    pub(crate) matrix: Matrix,
    /// What its columns are.
    pub(crate) axis: ColumnAxis,
    /// The array's row that is the matrix's first one.
    pub(crate) first_row: u64,
    /// The array's columns.
    pub(crate) columns: Renumbered,
    /// How many columns the array has.
    pub(crate) width: u64,
    /// The type that values are stored in.
    pub(crate) stored: DataType,
}

/// What the columns of a matrix are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ColumnAxis {
    /// The genes of the measurement.
    Var,
    /// Something of the matrix's own, as the components of a PCA; or cells, of pairs.
    Own,
}

/// What goes into a dense array.
pub(crate) struct DenseContents {
    pub(crate) array: NdArray,
}

/// How many values the rows of one space tile should hold: they are put in order in memory.
const BAND_VALUES: u64 = 1 << 23;

/// An element as a matrix, or the element back where SOMA has no place for it.
pub(super) fn of_element(element: Element) -> std::result::Result<Matrix, Box<Element>> {
    match element {
        Element::Array(array)
            if *array.data_type() != DataType::LargeUtf8
                && stored_type(&stored(array.data_type())).is_ok()
                && (1..=2).contains(&array.shape().len()) =>
        {
            Ok(Matrix::Dense(array))
        }
        Element::Sparse(matrix) if stored_type(&stored(matrix.data_type())).is_ok() => {
            Ok(Matrix::Sparse(matrix))
        }
        other => Err(Box::new(other)),
    }
}

/// Describes a matrix of `shape` as the sparse array at `path`.
pub(super) fn describe(
    context: &Context<'_>,
    element: &str,
    path: &str,
    matrix: Matrix,
    shape: (u64, u64),
    axis: ColumnAxis,
) -> Result<ArrayNode> {
    let found = matrix.shape();
    if found != shape {
        let message =
            format!("expected {} x {} values, found {} x {}", shape.0, shape.1, found.0, found.1);
        return Err(context.unfit(element, message));
    }
    let stored = stored_as(&matrix);
    let contents = MatrixContents {
        element: element.to_owned(),
        matrix,
        axis,
        first_row: 0,
        columns: Renumbered::default(),
        width: shape.1,
        stored,
    };
    let object = format!("{}: {element}", context.input);
    let stored = contents.stored.clone();
    array(path, &object, shape, &stored, vec![Part::only(Contents::Matrix(contents))])
}

/// A sparse array of `shape` that takes matrices in.
pub(super) fn array(
    path: &str,
    object: &str,
    shape: (u64, u64),
    data_type: &DataType,
    parts: Vec<Part>,
) -> Result<ArrayNode> {
    let matrices = || {
        parts.iter().filter_map(|part| match &part.contents {
            Contents::Matrix(contents) => Some(&contents.matrix),
            _ => None,
        })
    };
    let schema = layout::sparse_nd_array(data_type, &[shape.0, shape.1]);
    let mut schema = in_object(schema, object)?;
    let mut per_row = 0;
    for matrix in matrices() {
        let rows = matrix.shape().0.max(1);
        let of_one = match matrix {
            Matrix::Dense(_) => matrix.shape().1,
            Matrix::Sparse(matrix) => matrix.nnz()? / rows,
        };
        per_row = per_row.max(of_one);
    }
    limit_rows(&mut schema, per_row);
    Ok(ArrayNode {
        path: path.to_owned(),
        metadata: object_metadata(SomaType::SparseNdArray),
        schema,
        enumerations: Vec::new(),
        parts,
        standing: Standing::New,
    })
}

/// The type that the values of a matrix are stored in.
pub(super) fn stored_as(matrix: &Matrix) -> DataType {
    stored(matrix.data_type())
}

/// Describes an array of `uns` as the dense array at `path`.
pub(super) fn describe_dense(path: &str, array: NdArray) -> Result<ArrayNode> {
    let schema = layout::dense_nd_array(&stored(array.values.data_type()), &array.shape);
    Ok(ArrayNode {
        path: path.to_owned(),
        metadata: object_metadata(SomaType::DenseNdArray),
        schema: in_object(schema, path)?,
        enumerations: Vec::new(),
        parts: vec![Part::only(Contents::Dense(DenseContents { array }))],
        standing: Standing::New,
    })
}

/// The type that values are stored in: TileDB has no half floats.
fn stored(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Float16 => DataType::Float32,
        other => other.clone(),
    }
}

/// Makes space tiles lower where rows are long, so that those of one tile fit into memory.
fn limit_rows(schema: &mut ArraySchema, per_row: u64) {
    let rows = (BAND_VALUES / per_row.max(1)).max(16);
    let rows = if rows.is_power_of_two() { rows } else { rows.next_power_of_two() / 2 };
    let extent = layout::MATRIX_EXTENT.min(rows as i64);
    if let Some(dimension) = schema.dimensions.first_mut() {
        dimension.extent = Some(Extent::Signed(extent));
    }
}
