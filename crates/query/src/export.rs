//! A whole experiment as an H5AD file.
//!
//! What the ingest kept beside the experiment makes the file that of the AnnData it was made of. Where the stored
//! objects have changed since, they count, and what no longer fits is left out and said.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use vacuole_anndata::model::{Column, ColumnEncoding};
use vacuole_anndata::write::{H5adWriter, WriteOptions};
use vacuole_anndata::{Element, H5ad};
use vacuole_soma::anndata_record::{AnnDataRecord, ColumnSource, FrameForm, MatrixKind};
use vacuole_soma::create::folder_of;
use vacuole_soma::{Array, Error as SomaError, ErrorKind, Object, SomaType};
use vacuole_store::join;

use crate::axis::AxisSelection;
use crate::column::{self, IdColumn};
use crate::error::{Error, Result};
use crate::experiment::Experiment;
use crate::matrix::{self, Columns, Width};
use crate::slice::layer;
use crate::store_source::StoreSource;
use crate::uns;

/// What an export holds.
#[derive(Clone, Debug, Default)]
pub struct ExportOptions {
    /// The measurement; by default `RNA`, or the only one besides `raw`.
    pub measurement: Option<String>,
    /// The layer that becomes X; by default that which X was, or `data`, or the first by name.
    pub layer: Option<String>,
    /// The column of `obs` that becomes the index; by default the one that it was.
    pub obs_id_name: Option<String>,
    /// The column of `var` that becomes the index.
    pub var_id_name: Option<String>,
    /// How the file is compressed.
    pub write: WriteOptions,
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct ExportSummary {
    /// Cells.
    pub n_obs: u64,
    /// Genes.
    pub n_var: u64,
    /// Whether the file is the AnnData that the experiment was made of; none where nothing is known of it.
    pub is_original: Option<bool>,
    /// What was left out, or changed, and why.
    pub notes: Vec<String>,
}

/// Writes a measurement with `obs` and everything below it as an H5AD file, which appears when it is complete.
pub fn write_experiment(
    experiment: &Experiment,
    target: &Path,
    options: &ExportOptions,
) -> Result<ExportSummary> {
    let parts = ["var", "X", "obsm", "varm", "obsp", "varp", "uns"];
    experiment.expect(options.measurement.as_deref(), &parts)?;
    let name = experiment.measurement_name(options.measurement.as_deref())?;
    let measurement = experiment.measurement(Some(&name))?;
    let root = experiment.object();
    let known = AnnDataRecord::find(&**root.store(), &name)?;
    let obs_object = experiment.obs()?;
    let var_object = measurement.expect_member("var")?;
    let obs = AxisSelection::find(obs_object.array()?, None)?;
    let var = AxisSelection::find(var_object.array()?, None)?;
    let mut export = Export {
        out: H5adWriter::create(target, options.write.clone())?,
        fits: Fits::default(),
        extras: BTreeMap::new(),
        known: None,
        notes: Vec::new(),
    };
    if let Some((record, beside)) = known {
        export.fits.obs = is_unchanged(obs.frame(), record.at, record.n_obs);
        export.fits.var = is_unchanged(var.frame(), record.at, record.n_vars);
        if let Some(beside) = beside {
            export.extras = read_extras(root, &beside)?;
        }
        export.known = Some(record);
        export.note_changes();
    }
    let asked = options.obs_id_name.as_deref();
    export.frame("obs", asked, "obs_id", &obs_object, &obs)?;
    let asked = options.var_id_name.as_deref();
    export.frame("var", asked, "var_id", &var_object, &var)?;
    export.layers(&measurement, options.layer.as_deref(), &obs, &var)?;
    for (part, axis) in [("obsm", &obs), ("varm", &var)] {
        export.part(&measurement, part, axis, false)?;
    }
    for (part, axis) in [("obsp", &obs), ("varp", &var)] {
        export.part(&measurement, part, axis, true)?;
    }
    if name != "raw" {
        export.raw(experiment, &obs)?;
    }
    export.uns(&measurement)?;
    export.finish(obs.len() as u64, var.len() as u64)
}

/// What has not changed since the ingest.
#[derive(Default)]
struct Fits {
    obs: bool,
    var: bool,
}

struct Export {
    out: H5adWriter,
    known: Option<AnnDataRecord>,
    /// Kept elements by their key.
    extras: BTreeMap<String, Element>,
    fits: Fits,
    notes: Vec<String>,
}

impl Export {
    fn note_changes(&mut self) {
        for (axis, fits) in [("obs", self.fits.obs), ("var", self.fits.var)] {
            if !fits {
                self.notes.push(format!(
                    "{axis} has changed since the ingest: what was kept of it beside the experiment is left out"
                ));
            }
        }
    }

    fn finish(self, n_obs: u64, n_var: u64) -> Result<ExportSummary> {
        self.out.finish()?;
        let is_original = self.known.map(|_| self.notes.is_empty());
        Ok(ExportSummary { n_obs, n_var, is_original, notes: self.notes })
    }

    /// Writes `obs`, `var` or `raw/var`.
    fn frame(
        &mut self,
        path: &str,
        asked: Option<&str>,
        usual: &str,
        object: &Object,
        axis: &AxisSelection,
    ) -> Result<()> {
        let rows = axis.read(None)?;
        let fits = if path == "obs" { self.fits.obs } else { self.fits.var };
        let form = self.known.as_ref().and_then(|record| record.frames.get(object.path()));
        let recorded = form.and_then(|form| form.id_column.clone());
        let as_it_was = asked.is_none() || asked == recorded.as_deref();
        if let (Some(form), true) = (form.cloned(), fits && as_it_was) {
            let (index, columns) = self.original_frame(&form, object, &rows)?;
            let name = form.index_name.as_deref();
            return Ok(self.out.frame(path, name, &index.values, &columns)?);
        }
        if let (Some(asked), true) = (asked, fits) {
            self.notes.push(format!("the index of {path} is '{asked}', as was asked for"));
        }
        let id_column = IdColumn { asked, recorded: recorded.as_deref(), usual };
        let frame = column::frame(object, &rows, &id_column, false)?;
        Ok(self.out.frame(path, frame.index_name.as_deref(), &frame.index, &frame.columns)?)
    }

    /// The index and the columns that a frame had.
    fn original_frame(
        &self,
        form: &FrameForm,
        object: &Object,
        rows: &arrow_array::RecordBatch,
    ) -> Result<(Column, Vec<(String, Column)>)> {
        let read = |source: &ColumnSource| match source {
            ColumnSource::Extra(key) => self.extra_column(object, key),
            ColumnSource::Stored { column, encoding } => {
                let found = rows.schema_ref().fields().find(column);
                let values = rows.column_by_name(column);
                let restored = found
                    .zip(values)
                    .and_then(|((_, field), values)| column::restored(field, values, *encoding));
                restored.ok_or_else(|| missing(object, column))
            }
        };
        let columns = form
            .columns
            .iter()
            .map(|column| Ok((column.name.clone(), read(&column.source)?)))
            .collect::<Result<_>>()?;
        Ok((read(&form.index)?, columns))
    }

    fn extra_column(&self, object: &Object, key: &str) -> Result<Column> {
        match self.extras.get(key) {
            Some(Element::Column(column)) => Ok(column.read()?),
            Some(Element::Array(array)) => {
                let values = array.read()?.values;
                let encoding = match values.data_type() {
                    arrow_schema::DataType::LargeUtf8 => ColumnEncoding::String,
                    _ => ColumnEncoding::Plain,
                };
                Ok(Column { values, encoding })
            }
            _ => Err(missing(object, key)),
        }
    }

    fn layers(
        &mut self,
        measurement: &Object,
        asked: Option<&str>,
        obs: &AxisSelection,
        var: &AxisSelection,
    ) -> Result<()> {
        let x = match (asked, &self.known) {
            // An AnnData without X has none, whatever layers there are.
            (None, Some(record)) => match record.x_layer.clone() {
                Some(was) => self.layer_that_was(measurement, &was)?,
                None => None,
            },
            (asked, _) => layer(measurement, asked)?.map(|(name, _)| name),
        };
        if let Some(layers) = measurement.member("X")? {
            for name in layers.member_names()? {
                let object = layers.expect_member(&name)?;
                let path = if Some(&name) == x.as_ref() {
                    "X".to_owned()
                } else {
                    format!("layers/{name}")
                };
                self.matrix(&path, &object, obs, &Columns::Axis(var), MatrixKind::Csr)?;
            }
        }
        self.kept("layers", self.fits.obs && self.fits.var)
    }

    /// The name of the layer that an ingest has called `was`: renamed, it is where it was.
    fn layer_that_was(&mut self, measurement: &Object, was: &str) -> Result<Option<String>> {
        let names = match measurement.member("X")? {
            Some(layers) => {
                let folder = join(layers.path(), &folder_of(was));
                let mut names = Vec::new();
                for name in layers.member_names()? {
                    names.push((layers.expect_member(&name)?.path() == folder, name));
                }
                names
            }
            None => Vec::new(),
        };
        let found = names.iter().find(|(_, name)| name == was);
        match found.or_else(|| names.iter().find(|(is_there, _)| *is_there)) {
            Some((_, name)) => Ok(Some(name.clone())),
            None => {
                let note = format!("X is left out: its layer '{was}' is not there any more");
                self.notes.push(note);
                Ok(None)
            }
        }
    }

    /// Writes `obsm` and its like.
    fn part(
        &mut self,
        measurement: &Object,
        part: &str,
        axis: &AxisSelection,
        square: bool,
    ) -> Result<()> {
        for (key, object) in crate::slice::matrices(measurement, part)? {
            let path = format!("{part}/{key}");
            if square {
                self.matrix(&path, &object, axis, &Columns::Axis(axis), MatrixKind::Csr)?;
            } else {
                let width = matrix::column_count(&object)?;
                self.matrix(&path, &object, axis, &Columns::First(width), MatrixKind::Dense)?;
            }
        }
        self.kept(part, if part.starts_with("obs") { self.fits.obs } else { self.fits.var })
    }

    /// Writes a matrix in the form that it had, or else in `usual`.
    fn matrix(
        &mut self,
        path: &str,
        object: &Object,
        rows: &AxisSelection,
        columns: &Columns<'_>,
        usual: MatrixKind,
    ) -> Result<()> {
        if !matches!(object.soma_type(), SomaType::SparseNdArray | SomaType::DenseNdArray) {
            return Ok(());
        }
        let array = object.array()?;
        let form = self
            .known
            .as_ref()
            .and_then(|record| Some((record.matrices.get(object.path())?, record.at)));
        let half = form.is_some_and(|(form, at)| {
            form.data_type.as_deref() == Some("Float16") && array.last_change() <= at
        });
        let width = if half { Width::Half } else { Width::Stored };
        match form.map_or(usual, |(form, _)| form.kind) {
            MatrixKind::Dense => {
                matrix::write_dense(&mut self.out, path, &array, rows, columns, width)
            }
            // AnnData takes either; rows are what is stored together.
            MatrixKind::Csr | MatrixKind::Csc => {
                matrix::write_csr(&mut self.out, path, &array, rows, columns, width).map(|_| ())
            }
        }
    }

    /// Writes `raw`, where the AnnData had one, or where nothing is known of it and there is a measurement of that name.
    fn raw(&mut self, experiment: &Experiment, obs: &AxisSelection) -> Result<()> {
        let measurement = experiment.object().expect_member("ms")?.member("raw")?;
        let known = self.known.as_ref().and_then(|known| Some((known.at, known.raw_n_vars?)));
        let Some((at, n_vars)) = known else {
            return match measurement {
                Some(measurement) => self.raw_of(&measurement, obs),
                None => Ok(()),
            };
        };
        let Some(measurement) = measurement else {
            self.notes.push("raw is not in the experiment any more".to_owned());
            return Ok(());
        };
        let var = measurement.expect_member("var")?.array()?;
        let before = self.fits.var;
        self.fits.var = is_unchanged(&var, at, n_vars);
        if !self.fits.var {
            self.notes.push(
                "raw/var has changed since the ingest: what was kept of it is left out".to_owned(),
            );
        }
        self.raw_of(&measurement, obs)?;
        self.kept("raw/varm", self.fits.var)?;
        self.fits.var = before;
        Ok(())
    }

    fn raw_of(&mut self, measurement: &Object, obs: &AxisSelection) -> Result<()> {
        let Some(var_object) = measurement.member("var")? else { return Ok(()) };
        let var = AxisSelection::find(var_object.array()?, None)?;
        self.frame("raw/var", None, "var_id", &var_object, &var)?;
        if let Some((_, layer)) = layer(measurement, None)? {
            self.matrix("raw/X", &layer, obs, &Columns::Axis(&var), MatrixKind::Csr)?;
        }
        Ok(())
    }

    /// Writes `uns`: what is stored, and what was kept in its place.
    fn uns(&mut self, measurement: &Object) -> Result<()> {
        let collection = measurement.member("uns")?;
        let at = self.known.as_ref().map_or(0, |record| record.at);
        let changed = match &collection {
            Some(collection) => last_change(collection)? > at,
            None => false,
        };
        let fits = self.known.is_some() && !changed && self.fits.obs && self.fits.var;
        if self.known.is_some() && changed {
            self.notes.push(
                "uns has changed since the ingest: what was kept of it is left out".to_owned(),
            );
        }
        let kept: Vec<String> = self.kept_names("uns").into_iter().map(|(name, _)| name).collect();
        self.kept("uns", fits)?;
        let Some(collection) = collection else { return Ok(()) };
        for (key, value) in uns::read(&collection)? {
            if !(fits && kept.contains(&key)) {
                self.out.value(&format!("uns/{key}"), &value)?;
            }
        }
        Ok(())
    }

    /// The names and keys of the elements kept of one part of the AnnData.
    fn kept_names(&self, part: &str) -> Vec<(String, String)> {
        let extras = self.known.iter().flat_map(|record| &record.extras);
        let below = extras.filter_map(|(path, key)| {
            let name = path.strip_prefix(part)?.strip_prefix('/')?;
            Some((name.to_owned(), key.clone()))
        });
        below.collect()
    }

    /// Writes the elements kept of one part of the AnnData, or says that they do not fit any more.
    fn kept(&mut self, part: &str, fits: bool) -> Result<()> {
        for (name, key) in self.kept_names(part) {
            let path = format!("{part}/{name}");
            match self.extras.get(&key) {
                Some(element) if fits => self.out.element(&path, element)?,
                _ => self.notes.push(format!("{path} is left out: it does not fit any more")),
            }
        }
        Ok(())
    }
}

/// Whether an axis is as the ingest left it.
fn is_unchanged(frame: &Array, at: u64, rows: u64) -> bool {
    frame.last_change() <= at && frame.stored_cells() == rows
}

/// The time of the newest write to anything below an object.
fn last_change(object: &Object) -> Result<u64> {
    let mut last = object.last_change()?;
    if !object.is_group() {
        return Ok(last.max(object.array()?.last_change()));
    }
    for name in object.member_names()? {
        last = last.max(last_change(&object.expect_member(&name)?)?);
    }
    Ok(last)
}

/// The elements of the file beside the record, by key.
fn read_extras(root: &Object, path: &str) -> Result<BTreeMap<String, Element>> {
    let path = join(root.path(), path);
    let file = H5ad::from_source(
        Arc::new(StoreSource::new(root.store(), &path)),
        &root.store().display(&path),
    )?;
    Ok(file.uns()?.into_iter().collect())
}

fn missing(object: &Object, what: &str) -> Error {
    let message = format!("expected '{what}', which the record of the AnnData names, found none");
    SomaError::new(ErrorKind::Corrupt, object.display(), message).into()
}
