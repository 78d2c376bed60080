//! What is kept beside SOMA, so that the same AnnData can be written again.

use arrow_schema::DataType;
use vacuole_anndata::model::{Scalar, SparseFormat};
use vacuole_anndata::{Element, Frame, Matrix, StoredColumn};
use vacuole_soma::anndata_record::{AnnDataRecord, MatrixForm, MatrixKind};
use vacuole_soma::array::stored_type;
use vacuole_soma::keys;

use super::Context;

/// The record of the AnnData, and what goes into the file beside it.
#[derive(Default)]
pub(crate) struct Kept {
    pub(crate) record: AnnDataRecord,
    /// By key in the file.
    pub(crate) extras: Vec<(String, Extra)>,
}

/// Something that SOMA has no place for.
pub(crate) enum Extra {
    Element(Element),
    Column(StoredColumn),
    /// The index of a frame.
    Ids(Frame),
}

impl Kept {
    /// Keeps something and returns its key. `element` is its path in AnnData.
    pub(crate) fn keep(&mut self, element: &str, extra: Extra) -> String {
        let key = format!("e{}", self.extras.len());
        self.record.extras.insert(element.to_owned(), key.clone());
        self.extras.push((key.clone(), extra));
        key
    }

    /// Keeps an element; what no reader here understands is left out with a warning.
    pub(crate) fn keep_element(&mut self, context: &Context<'_>, path: &str, element: &Element) {
        if let Some(element) = readable(context, path, element) {
            self.keep(path, Extra::Element(element));
        }
    }

    /// Records the form of a matrix that becomes the array at `path`.
    pub(crate) fn matrix(&mut self, path: &str, matrix: &Matrix) {
        let kind = match matrix {
            Matrix::Dense(_) => MatrixKind::Dense,
            Matrix::Sparse(matrix) if matrix.format() == SparseFormat::Csc => MatrixKind::Csc,
            Matrix::Sparse(_) => MatrixKind::Csr,
        };
        let half = *matrix.data_type() == DataType::Float16;
        let data_type = half.then(|| matrix.data_type().to_string());
        self.record.matrices.insert(path.to_owned(), MatrixForm { kind, data_type });
    }
}

/// The element without the parts that are not read; `None` where nothing is left.
fn readable(context: &Context<'_>, path: &str, element: &Element) -> Option<Element> {
    match element {
        Element::Unsupported(unsupported) => {
            context.leave_out(path, unsupported.why.message());
            None
        }
        Element::Mapping(entries) => {
            let entries = entries.iter().filter_map(|(key, element)| {
                let path = format!("{path}/{key}");
                readable(context, &path, element).map(|element| (key.clone(), element))
            });
            Some(Element::Mapping(entries.collect()))
        }
        other => Some(other.clone()),
    }
}

/// Whether SOMA holds an entry of `uns` so that the same comes back: its key and its value.
pub(super) fn is_exact(key: &str, element: &Element) -> bool {
    if key.is_empty() || key.starts_with(keys::RESERVED_PREFIX) {
        return false;
    }
    match element {
        Element::Scalar(scalar) => matches!(
            scalar,
            Scalar::Bool(_) | Scalar::Int64(_) | Scalar::Float64(_) | Scalar::String(_)
        ),
        Element::Array(array) => {
            let shape = array.shape();
            (1..=2).contains(&shape.len())
                && !shape.contains(&0)
                && *array.data_type() != DataType::Float16
                && stored_type(array.data_type()).is_ok()
        }
        Element::Mapping(entries) => entries.iter().all(|(key, element)| is_exact(key, element)),
        _ => false,
    }
}
