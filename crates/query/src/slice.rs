//! A slice of an experiment as an H5AD file.

use std::path::Path;

use arrow_array::ArrayRef;
use vacuole_anndata::write::{H5adWriter, WriteOptions};
use vacuole_soma::anndata_record::AnnDataRecord;
use vacuole_soma::{Object, SomaType};

use crate::axis::AxisSelection;
use crate::column::{self, IdColumn};
use crate::error::Result;
use crate::experiment::Experiment;
use crate::matrix::{self, Columns, Width};

/// What a slice holds.
#[derive(Clone, Debug, Default)]
pub struct SliceOptions {
    /// The measurement; by default `RNA`, or the only one besides `raw`.
    pub measurement: Option<String>,
    /// The layer that becomes X; by default `data`, else the first by name.
    pub layer: Option<String>,
    /// The cells: a value filter on `obs`.
    pub obs_filter: Option<String>,
    /// Of these cells only those with these join ids, which rise.
    pub obs_only: Option<Vec<i64>>,
    /// The genes: a value filter on `var`.
    pub var_filter: Option<String>,
    /// The columns of `obs`; all of them by default. The ids are always there.
    pub obs_columns: Option<Vec<String>>,
    /// The columns of `var`.
    pub var_columns: Option<Vec<String>>,
    /// The column of `obs` that becomes the index; by default the one that the ingest made of it.
    pub obs_id_name: Option<String>,
    /// The column of `var` that becomes the index.
    pub var_id_name: Option<String>,
    /// Whether `soma_joinid` becomes a column.
    pub join_ids: bool,
    /// How the file is compressed.
    pub write: WriteOptions,
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct SliceSummary {
    /// Cells.
    pub n_obs: u64,
    /// Genes.
    pub n_var: u64,
    /// Stored values of X.
    pub nnz: u64,
    /// Values of the filters that are no categories, and why nothing was found.
    pub filter_notes: Vec<String>,
}

/// Writes the cells and genes that the filters find as an H5AD file.
///
/// The ids are the index; `obsm`, `varm`, `obsp` and `varp` come along for the chosen rows, categories with
/// their full lists. The file appears when it is complete.
pub fn write_slice(
    experiment: &Experiment,
    target: &Path,
    options: &SliceOptions,
) -> Result<SliceSummary> {
    let x = format!("X/{}", options.layer.as_deref().unwrap_or("data"));
    let parts = ["var", &x, "obsm", "varm", "obsp", "varp"];
    experiment.expect(options.measurement.as_deref(), &parts)?;
    let name = experiment.measurement_name(options.measurement.as_deref())?;
    let measurement = experiment.measurement(Some(&name))?;
    let known = AnnDataRecord::find(&**experiment.object().store(), &name)?;
    let known = known.map(|(record, _)| record);
    let obs_object = experiment.obs()?;
    let var_object = measurement.expect_member("var")?;
    let obs = AxisSelection::find(obs_object.array()?, options.obs_filter.as_deref())?;
    let obs = match &options.obs_only {
        Some(join_ids) => obs.only(join_ids),
        None => obs,
    };
    let var = AxisSelection::find(var_object.array()?, options.var_filter.as_deref())?;
    let layer = layer(&measurement, options.layer.as_deref())?;

    let mut out = H5adWriter::create(target, options.write.clone())?;
    let frames = [
        ("obs", "obs_id", &obs_object, &obs, &options.obs_columns, &options.obs_id_name),
        ("var", "var_id", &var_object, &var, &options.var_columns, &options.var_id_name),
    ];
    for (name, usual, object, axis, columns, asked) in frames {
        let recorded = known.as_ref().and_then(|record| record.id_column(object.path()));
        let id_column = IdColumn { asked: asked.as_deref(), recorded, usual };
        let columns = columns.as_ref().map(|columns| with_ids(columns, axis, object, &id_column));
        let rows = axis.read(columns.as_deref())?;
        let frame = column::frame(object, &rows, &id_column, options.join_ids)?;
        out.frame(name, frame.index_name.as_deref(), &frame.index, &frame.columns)?;
    }
    let nnz = match layer {
        Some((_, layer)) => matrix::write_csr(
            &mut out,
            "X",
            &layer.array()?,
            &obs,
            &Columns::Axis(&var),
            Width::Stored,
        )?,
        None => 0,
    };
    for (part, axis) in [("obsm", &obs), ("varm", &var)] {
        for (key, object) in matrices(&measurement, part)? {
            let array = object.array()?;
            let width = matrix::column_count(&object)?;
            let path = format!("{part}/{key}");
            matrix::write_dense(
                &mut out,
                &path,
                &array,
                axis,
                &Columns::First(width),
                Width::Stored,
            )?;
        }
    }
    for (part, axis) in [("obsp", &obs), ("varp", &var)] {
        for (key, array) in matrices(&measurement, part)? {
            let path = format!("{part}/{key}");
            matrix::write_csr(
                &mut out,
                &path,
                &array.array()?,
                axis,
                &Columns::Axis(axis),
                Width::Stored,
            )?;
        }
    }
    out.finish()?;
    let filter_notes = [obs.notes(), var.notes()].concat();
    Ok(SliceSummary { n_obs: obs.len() as u64, n_var: var.len() as u64, nnz, filter_notes })
}

/// The layer that becomes X, with its name: the one given, else `data`, else the first by name. `None` where the
/// measurement has no layer and none was asked for.
pub(crate) fn layer(measurement: &Object, name: Option<&str>) -> Result<Option<(String, Object)>> {
    let Some(layers) = measurement.member("X")? else {
        return match name {
            Some(name) => Ok(Some((name.to_owned(), measurement.expect_member("X")?))),
            None => Ok(None),
        };
    };
    if let Some(name) = name {
        return Ok(Some((name.to_owned(), layers.expect_member(name)?)));
    }
    let names = layers.member_names()?;
    let chosen = names.iter().find(|name| *name == "data").or_else(|| names.first());
    match chosen {
        Some(name) => Ok(Some((name.clone(), layers.expect_member(name)?))),
        None => Ok(None),
    }
}

/// The matrices of `obsm` and its like.
pub(crate) fn matrices(measurement: &Object, part: &str) -> Result<Vec<(String, Object)>> {
    let Some(collection) = measurement.member(part)? else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for name in collection.member_names()? {
        let member = collection.expect_member(&name)?;
        if matches!(member.soma_type(), SomaType::SparseNdArray | SomaType::DenseNdArray) {
            found.push((name, member));
        }
    }
    Ok(found)
}

/// The ids of rows, as text.
pub(crate) fn ids_of(
    axis: &AxisSelection,
    object: &Object,
    id_column: &IdColumn<'_>,
) -> Result<ArrayRef> {
    let rows = axis.read(Some(&with_ids(&[], axis, object, id_column)))?;
    Ok(column::frame(object, &rows, id_column, false)?.index)
}

/// The columns asked for, the ids and the join ids.
fn with_ids(
    columns: &[String],
    axis: &AxisSelection,
    object: &Object,
    id_column: &IdColumn<'_>,
) -> Vec<String> {
    let mut all = vec![vacuole_soma::layout::JOIN_ID.to_owned()];
    let has = |name: &str| axis.frame().arrow_schema().field_with_name(name).is_ok();
    all.extend(id_column.candidates(object).into_iter().find(|name| has(name)));
    all.extend(columns.iter().filter(|column| !all.contains(column)).cloned().collect::<Vec<_>>());
    all
}
