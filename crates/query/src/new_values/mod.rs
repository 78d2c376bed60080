//! Tables of new values for `obs` or `var`: text, Parquet, Arrow, and the data frames of H5AD files.

mod columnar;
mod text;

use std::fmt::Display;

use vacuole_soma::anndata_record::AnnDataRecord;
use vacuole_soma::update::{Options, Report, Table, TableColumn, update};
use vacuole_soma::{Error as SomaError, ErrorKind};
use vacuole_store::Uri;

use crate::column::IdColumn;
use crate::error::Result;
use crate::experiment::Experiment;
use crate::h5ad;
use crate::table::TableAxis;

/// The forms of tables, by the endings of their names.
const ENDINGS: &str = ".csv, .tsv, .parquet, .arrow, .feather, .h5ad or .zarr";

/// Reads a table into memory: CSV and TSV with a line of names, Parquet, Arrow files and streams; of H5AD files
/// the data frame of `axis`, whose index comes under its own name. Which it is, its ending says.
///
/// # Errors
/// [`InvalidInput`](ErrorKind::InvalidInput) for other endings, and what cannot be read, with the line where there is one.
pub fn read_new_values(location: &str, axis: TableAxis) -> Result<Table> {
    // Folders are given with a slash behind them as well.
    let ending =
        location.trim_end_matches('/').rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
    let columns = match ending.as_str() {
        "csv" => text::read(location, &bytes(location)?, b',')?,
        "tsv" => text::read(location, &bytes(location)?, b'\t')?,
        "parquet" | "pq" => columnar::parquet(location, bytes(location)?)?,
        "arrow" | "feather" | "ipc" => columnar::arrow(location, bytes(location)?)?,
        "h5ad" | "h5" | "zarr" => of_file(location, axis)?,
        _ => {
            let message = format!("expected a table that ends in {ENDINGS}, found another ending");
            return Err(invalid(location, message).into());
        }
    };
    Ok(Table { name: location.to_owned(), columns })
}

fn invalid(location: &str, message: impl Display) -> SomaError {
    SomaError::new(ErrorKind::InvalidInput, location, message.to_string())
}

/// The bytes of a file, here or far away.
fn bytes(location: &str) -> Result<Vec<u8>> {
    let uri = Uri::parse(location).map_err(SomaError::from)?;
    if let Some((folder, name)) = uri.as_object() {
        let store = vacuole_store::open_by_cache(&folder).map_err(SomaError::from)?;
        return Ok(store.read(&name).map_err(SomaError::from)?);
    }
    let path = uri.as_local().unwrap_or(location.as_ref());
    std::fs::read(path).map_err(|error| {
        vacuole_anndata::Error::io("the table cannot be read", error).in_file(path.display()).into()
    })
}

/// A data frame of an H5AD file.
fn of_file(location: &str, axis: TableAxis) -> Result<Vec<TableColumn>> {
    let Some(file) = h5ad::open(location)? else {
        return Err(SomaError::new(ErrorKind::NotFound, location, "there is no such file").into());
    };
    let frame = match axis {
        TableAxis::Obs => file.obs(),
        TableAxis::Var => file.var(),
    };
    let index_name = frame.schema().index_name.clone().unwrap_or_default();
    let mut columns = Vec::with_capacity(frame.schema().columns.len() + 1);
    if !frame.schema().columns.iter().any(|column| column.name == index_name) {
        let values = frame.index()?;
        columns.push(TableColumn { name: index_name, values, ordered: false, is_text: false });
    }
    for column in &frame.schema().columns {
        let read = frame.column(&column.name)?;
        let categorical = vacuole_anndata::model::ColumnEncoding::Categorical { ordered: true };
        columns.push(TableColumn {
            name: column.name.clone(),
            values: h5ad::comparable(&read.values)?,
            ordered: read.encoding == categorical,
            is_text: false,
        });
    }
    Ok(columns)
}

/// Changes `obs`, or `var` of a measurement, of an experiment that was opened to be written to. Where `options` name no
/// columns of ids, these are the ones that slices look for ids in.
///
/// # Errors
/// As of [`update`](vacuole_soma::update::update).
pub fn update_axis(
    experiment: &Experiment,
    axis: TableAxis,
    measurement: Option<&str>,
    table: Option<&Table>,
    options: &Options,
) -> Result<Report> {
    let (frame, name) = match axis {
        TableAxis::Obs => (experiment.obs()?, None),
        TableAxis::Var => {
            let name = experiment.measurement_name(measurement)?;
            (experiment.measurement(Some(&name))?.expect_member("var")?, Some(name))
        }
    };
    let root = experiment.object();
    // A member that lies elsewhere is in another store.
    if !std::ptr::addr_eq(
        std::sync::Arc::as_ptr(root.store()),
        std::sync::Arc::as_ptr(frame.store()),
    ) {
        let message = "expected a data frame inside of the experiment, found one that lies elsewhere; update it where it is";
        return Err(SomaError::new(ErrorKind::Unsupported, frame.display(), message).into());
    }
    let name = match name {
        Some(name) => Some(name),
        None => experiment.measurement_name(measurement).ok(),
    };
    let known = match &name {
        Some(name) => AnnDataRecord::find(&**root.store(), name)?,
        None => None,
    };
    let recorded = known.as_ref().and_then(|(record, _)| record.id_column(frame.path()));
    let ids = IdColumn { asked: None, recorded, usual: axis.usual_id() };
    let ids = match options.ids.is_empty() {
        true => ids.candidates(&frame),
        false => options.ids.clone(),
    };
    let options = Options { ids, ..options.clone() };
    Ok(update(root, &frame, table, &options)?)
}
