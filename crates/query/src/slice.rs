//! A slice of an experiment as an H5AD file.

use std::path::Path;

use arrow_array::ArrayRef;
use vacuole_anndata::write::{H5adWriter, WriteOptions};
use vacuole_soma::anndata_record::AnnDataRecord;
use vacuole_soma::{Object, SomaType};

use crate::axis::AxisSelection;
use crate::choice::Choice;
use crate::column::{self, AnnDataFrame, IdColumn};
use crate::elements::Elements;
use crate::error::Result;
use crate::experiment::Experiment;
use crate::matrix::{self, Columns, Width};
use crate::provenance::Provenance;
use crate::sample::SampleOptions;

/// What a slice holds.
#[derive(Clone, Debug, Default)]
pub struct SliceOptions {
    /// The measurement; by default `RNA`, or the only one besides `raw`.
    pub measurement: Option<String>,
    /// The layers: the first becomes X, the others stay layers. By default `data`, else the first by name.
    pub layers: Vec<String>,
    /// The cells.
    pub obs: Choice,
    /// The genes.
    pub var: Choice,
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
    /// Which of `obsm`, `varm`, `obsp` and `varp` come along.
    pub elements: Elements,
    /// What is said to be the source, in `uns`.
    pub source: Option<String>,
    /// What the cells were drawn by, as it is said in `uns`.
    pub drawn: Option<SampleOptions>,
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

/// The cells, genes and layers of a slice, found and not read yet.
pub(crate) struct Slice {
    name: String,
    pub(crate) measurement: Object,
    pub(crate) obs: Axis,
    pub(crate) var: Axis,
    /// X first.
    pub(crate) layers: Vec<(String, Object)>,
}

/// A data frame and its chosen rows.
pub(crate) struct Axis {
    name: &'static str,
    usual: &'static str,
    object: Object,
    recorded: Option<String>,
    asked: Option<String>,
    pub(crate) rows: AxisSelection,
}

impl Slice {
    pub(crate) fn find(experiment: &Experiment, options: &SliceOptions) -> Result<Self> {
        let mut parts = vec!["var".to_owned()];
        match options.layers.as_slice() {
            [] => parts.push("X/data".to_owned()),
            names => parts.extend(names.iter().map(|name| format!("X/{name}"))),
        }
        let others = ["obsm", "varm", "obsp", "varp"].into_iter();
        parts.extend(others.filter(|part| options.elements.has_any(part)).map(str::to_owned));
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        experiment.expect(options.measurement.as_deref(), &parts)?;
        let name = experiment.measurement_name(options.measurement.as_deref())?;
        let measurement = experiment.measurement(Some(&name))?;
        let known = AnnDataRecord::find(&**experiment.object().store(), &name)?;
        let known = known.map(|(record, _)| record);
        let asked = &options.obs_id_name;
        let obs = Axis::find("obs", experiment.obs()?, known.as_ref(), asked, &options.obs)?;
        let asked = &options.var_id_name;
        let object = measurement.expect_member("var")?;
        let var = Axis::find("var", object, known.as_ref(), asked, &options.var)?;
        let mut layers: Vec<(String, Object)> = Vec::new();
        match options.layers.as_slice() {
            [] => layers.extend(layer(&measurement, None)?),
            names => {
                for name in names {
                    if !layers.iter().any(|(found, _)| found == name) {
                        layers.extend(layer(&measurement, Some(name))?);
                    }
                }
            }
        }
        Ok(Self { name, measurement, obs, var, layers })
    }

    /// What is told of it when it is written.
    pub(crate) fn summary(&self, nnz: u64) -> SliceSummary {
        let (obs, var) = (&self.obs.rows, &self.var.rows);
        let filter_notes = [obs.notes(), var.notes()].concat();
        SliceSummary { n_obs: obs.len() as u64, n_var: var.len() as u64, nnz, filter_notes }
    }

    /// The time of the newest write to what the slice is of, in milliseconds since 1970.
    fn timestamp(&self) -> Result<u64> {
        let mut newest =
            self.obs.rows.frame().last_change().max(self.var.rows.frame().last_change());
        for (_, layer) in &self.layers {
            newest = newest.max(layer.array()?.last_change());
        }
        Ok(newest)
    }
}

impl Axis {
    fn find(
        name: &'static str,
        object: Object,
        known: Option<&AnnDataRecord>,
        asked: &Option<String>,
        choice: &Choice,
    ) -> Result<Self> {
        let usual = if name == "obs" { "obs_id" } else { "var_id" };
        let recorded = known.and_then(|record| record.id_column(object.path()));
        let id_column = IdColumn { asked: asked.as_deref(), recorded, usual };
        let candidates = id_column.candidates(&object);
        let rows = AxisSelection::choose(object.array()?, choice, &candidates)?;
        let recorded = recorded.map(str::to_owned);
        Ok(Self { name, usual, object, recorded, asked: asked.clone(), rows })
    }

    /// The columns that may hold the ids, the first that is there first.
    pub(crate) fn id_columns(&self) -> Vec<String> {
        self.id_column().candidates(&self.object)
    }

    /// The name that the index had in pandas.
    pub(crate) fn index_name(&self) -> Option<String> {
        column::original_index_name(&self.object)
    }

    fn id_column(&self) -> IdColumn<'_> {
        IdColumn {
            asked: self.asked.as_deref(),
            recorded: self.recorded.as_deref(),
            usual: self.usual,
        }
    }

    /// The rows as AnnData has them, with these columns or all.
    pub(crate) fn read(&self, columns: Option<&[String]>, join_ids: bool) -> Result<AnnDataFrame> {
        let id_column = self.id_column();
        let columns =
            columns.map(|columns| with_ids(columns, &self.rows, &self.object, &id_column));
        let rows = self.rows.read(columns.as_deref())?;
        column::frame(&self.object, &rows, &id_column, join_ids)
    }
}

/// Writes the cells and genes that are chosen as an H5AD file.
///
/// The ids are the index; `obsm`, `varm`, `obsp` and `varp` come along for the chosen rows, categories with
/// their full lists. `uns` says where it is from. The file appears when it is complete.
pub fn write_slice(
    experiment: &Experiment,
    target: &Path,
    options: &SliceOptions,
) -> Result<SliceSummary> {
    let slice = Slice::find(experiment, options)?;
    let (obs, var) = (&slice.obs.rows, &slice.var.rows);
    let mut elements = Vec::new();
    for part in ["obsm", "varm", "obsp", "varp"] {
        let found = options.elements.of(part, matrices(&slice.measurement, part)?);
        elements.push((part, found.map_err(|error| error.in_object(&slice.measurement))?));
    }

    let mut out = H5adWriter::create(target, options.write.clone())?;
    for (axis, columns) in [(&slice.obs, &options.obs_columns), (&slice.var, &options.var_columns)]
    {
        let frame = axis.read(columns.as_deref(), options.join_ids)?;
        out.frame(axis.name, frame.index_name.as_deref(), &frame.index, &frame.columns)?;
    }
    let mut nnz = 0;
    for (place, (name, layer)) in slice.layers.iter().enumerate() {
        let path = if place == 0 { "X".to_owned() } else { format!("layers/{name}") };
        let (array, columns) = (layer.array()?, Columns::Axis(var));
        let stored = matrix::write_csr(&mut out, &path, &array, obs, &columns, Width::Stored)?;
        if place == 0 {
            nnz = stored;
        }
    }
    for (part, found) in elements {
        let axis = if part.starts_with("obs") { obs } else { var };
        for (key, object) in found {
            let (path, array) = (format!("{part}/{key}"), object.array()?);
            if part.ends_with('m') {
                let columns = Columns::First(matrix::column_count(&object)?);
                matrix::write_dense(&mut out, &path, &array, axis, &columns, Width::Stored)?;
            } else {
                let columns = Columns::Axis(axis);
                matrix::write_csr(&mut out, &path, &array, axis, &columns, Width::Stored)?;
            }
        }
    }
    if let Some(uri) = &options.source {
        let provenance = Provenance {
            uri,
            timestamp: Some(slice.timestamp()?),
            measurement: Some(&slice.name),
            layers: slice.layers.iter().map(|(name, _)| name.as_str()).collect(),
            obs: &options.obs,
            var: &options.var,
            drawn: options.drawn.as_ref(),
        };
        provenance.write(&mut out)?;
    }
    out.finish()?;
    Ok(slice.summary(nnz))
}

/// The layer that becomes X, with its name: the one given, else `data`, else the first by name. `None` where the
/// measurement has no layer and none was asked for.
///
/// # Errors
/// `NotFound` for a layer that there is not, with those that there are.
pub fn layer(measurement: &Object, name: Option<&str>) -> Result<Option<(String, Object)>> {
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
