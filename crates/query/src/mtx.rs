//! A slice of an experiment as a Matrix Market folder.

use std::path::Path;
use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::{Array as _, ArrayRef, LargeStringArray};
use arrow_schema::DataType;
use vacuole_anndata::mtx::{Features, Major, MtxWriter};

use crate::column::{self, AnnDataFrame};
use crate::error::Result;
use crate::experiment::Experiment;
use crate::matrix::{self, Columns, Width};
use crate::slice::{Slice, SliceOptions, SliceSummary};

/// The column of `var` that holds the ids where the index holds names, as scanpy has it.
pub(crate) const IDS: &str = "gene_ids";

/// The columns of `var` that may hold names, the first that there is counting.
pub(crate) const NAMES: [&str; 6] =
    ["gene_symbols", "feature_name", "gene_symbol", "gene_name", "symbol", "gene_short_name"];

/// The column of `var` that says what each feature is.
pub(crate) const TYPES: &str = "feature_types";

/// What is written of `var`.
pub(crate) struct FeatureColumns {
    pub(crate) ids: ArrayRef,
    pub(crate) names: ArrayRef,
    pub(crate) types: Option<ArrayRef>,
}

impl FeatureColumns {
    /// Chooses from an index and columns of text.
    pub(crate) fn choose(
        index: ArrayRef,
        column: impl Fn(&str) -> Result<Option<ArrayRef>>,
    ) -> Result<Self> {
        let types = column(TYPES)?;
        if let Some(ids) = column(IDS)? {
            return Ok(Self { ids, names: index, types });
        }
        for name in NAMES {
            if let Some(names) = column(name)? {
                return Ok(Self { ids: index, names, types });
            }
        }
        Ok(Self { ids: Arc::clone(&index), names: index, types })
    }

    pub(crate) fn features(&self) -> Features<'_> {
        Features { ids: &self.ids, names: &self.names, types: self.types.as_ref() }
    }
}

/// Writes the cells and genes that are chosen, with the values of one layer, as a folder of `matrix.mtx.gz`,
/// `features.tsv.gz` and `barcodes.tsv.gz`, which appears when it is complete.
///
/// # Errors
/// As of [`write_slice`](crate::write_slice); `InvalidInput` where the folder is there, or an id holds a tab.
pub fn write_mtx(
    experiment: &Experiment,
    target: &Path,
    options: &SliceOptions,
) -> Result<SliceSummary> {
    let slice = Slice::find(experiment, options)?;
    let (obs, var) = (&slice.obs.rows, &slice.var.rows);
    let layer = slice.layers.first().map(|(_, layer)| layer.array()).transpose()?;
    let data_type = match &layer {
        Some(layer) => matrix::value_type(layer)?,
        None => DataType::Float32,
    };
    let shape = (obs.len() as u64, var.len() as u64);
    let mut out = MtxWriter::create(target, shape, &data_type, Major::Cells)?;
    let nnz = match &layer {
        Some(layer) => matrix::each_row(
            layer,
            obs,
            &Columns::Axis(var),
            Width::Stored,
            |lengths, columns, values| Ok(out.append(lengths, columns, values)?),
        )?,
        None => {
            let none = arrow_array::new_empty_array(&data_type);
            out.append(std::iter::repeat_n(0, obs.len()), &[], &none)?;
            0
        }
    };
    let barcodes = slice.obs.read(Some(&[]), false)?.index;
    let frame = slice.var.read(None, false)?;
    let features = FeatureColumns::choose(Arc::clone(&frame.index), |name| Ok(text(&frame, name)))?;
    out.finish(features.features(), &barcodes)?;
    Ok(slice.summary(nnz))
}

fn text(frame: &AnnDataFrame, name: &str) -> Option<ArrayRef> {
    let (_, column) = frame.columns.iter().find(|(found, _)| found == name)?;
    as_text(&column.values)
}

/// A column of text, or of categories of text, as text; a null as the empty text.
pub(crate) fn as_text(values: &ArrayRef) -> Option<ArrayRef> {
    match values.data_type() {
        DataType::LargeUtf8 | DataType::Dictionary(..) => {
            column::ids(values).map(|text| match text.null_count() {
                0 => text,
                _ => {
                    let text = text.as_string::<i64>().iter().map(Option::unwrap_or_default);
                    Arc::new(LargeStringArray::from_iter_values(text))
                }
            })
        }
        _ => None,
    }
}
