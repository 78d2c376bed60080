//! What `query` and `sample` have in common: which cells and genes are meant, what is written of them, and in what form.

use std::path::{Path, PathBuf};

use serde::Serialize;
use vacuole_anndata::H5ad;
use vacuole_query::h5ad::{FileSliceOptions, write_file_mtx, write_file_slice};
use vacuole_query::{
    Choice, Elements, Experiment, SampleOptions, SliceOptions, Source, TableAxis, TableFormat,
    TableOptions, write_mtx, write_slice,
};
use vacuole_store::Uri;

use super::choices::{ChoiceArguments, given};
use super::table::Place;
use super::{experiment, experiments_only};
use crate::at::AtArgument;
use crate::error::CliError;
use crate::format::Format;
use crate::output::Output;
use crate::target::Target;

/// Cells, genes, and what is written of them.
#[derive(Debug, clap::Args)]
pub(crate) struct SliceArguments {
    /// The measurement [default: RNA, or the only one besides raw]
    #[arg(long)]
    pub(crate) measurement: Option<String>,
    /// The layer that becomes X; any number of times, the others stay layers [default: data, else the first by name; of an
    /// H5AD file X and all layers]
    #[arg(long, value_name = "LAYER")]
    layer: Vec<String>,
    /// The elements that come along, separated by commas: obsm, varm, obsp, varp, of an H5AD file raw and uns too, single
    /// ones as obsm/X_umap; or none [default: all]
    #[arg(long, value_name = "PARTS", value_delimiter = ',')]
    with: Option<Vec<String>>,
    /// A value filter on obs
    #[arg(long, value_name = "FILTER", allow_hyphen_values = true)]
    obs: Option<String>,
    /// A value filter on var
    #[arg(long, value_name = "FILTER", allow_hyphen_values = true)]
    var: Option<String>,
    #[command(flatten)]
    choices: ChoiceArguments,
    /// The columns of obs to write, separated by commas [default: all]
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    obs_columns: Option<Vec<String>>,
    /// The columns of var to write, separated by commas [default: all]
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    var_columns: Option<Vec<String>>,
    /// Keep soma_joinid as a column of obs and var
    #[arg(long)]
    join_ids: bool,
    /// The form of the output [default: by the ending of OUT; csv for -]
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// The column of obs that becomes the index [default: the one that the ingest made of it, else obs_id]
    #[arg(long, value_name = "COLUMN")]
    pub(crate) obs_id_name: Option<String>,
    /// The column of var that becomes the index [default: the one that the ingest made of it, else var_id]
    #[arg(long, value_name = "COLUMN")]
    var_id_name: Option<String>,
    #[command(flatten)]
    compression: super::CompressionArguments,
    #[command(flatten)]
    pub(crate) at: AtArgument,
}

/// Where the cells go.
pub(crate) enum Destination {
    /// A slice to a file or a folder.
    Slice(Target, Format),
    /// A table to a file.
    Table(PathBuf, TableFormat),
    /// A table to stdout.
    Stdout(TableFormat),
}

impl Destination {
    /// Where a table goes; none for a slice.
    pub(crate) fn place(&self) -> Option<Place<'_>> {
        match self {
            Self::Slice(..) => None,
            Self::Table(path, format) => Some(Place::File(path, *format)),
            Self::Stdout(format) => Some(Place::Stdout(*format)),
        }
    }
}

/// What was written.
#[derive(Debug, Serialize)]
pub(crate) struct Written {
    pub(crate) n_obs: u64,
    pub(crate) n_var: u64,
    pub(crate) nnz: u64,
    /// What was left out of an H5AD file, and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    notes: Option<Vec<String>>,
    pub(crate) filter_notes: Vec<String>,
}

impl SliceArguments {
    /// The cells.
    pub(crate) fn cells(&self) -> Result<Choice, CliError> {
        self.choices.obs(self.obs.as_deref())
    }

    /// The genes.
    fn genes(&self) -> Result<Choice, CliError> {
        self.choices.var(self.var.as_deref())
    }

    /// Where an output of this name goes, of what is read from `source`; `-` is stdout.
    pub(crate) fn destination(&self, name: &Path, source: &str) -> Result<Destination, CliError> {
        if name.as_os_str() == "-" {
            let Some(format) = self.format.unwrap_or(Format::Csv).table() else {
                let message = "expected the form of a table for stdout; name a file";
                return Err(CliError::usage("--format", message));
            };
            return Ok(Destination::Stdout(format));
        }
        let format = Format::of(name, self.format, |_| true)?;
        if let Some(format) = format.table() {
            return Ok(Destination::Table(name.to_owned(), format));
        }
        if format == Format::Mtx {
            self.only_x()?;
        }
        let target = match format.is_folder() {
            true => Target::new_folder(name)?,
            false => Target::new(name)?,
        };
        target.check_is_not(source)?;
        Ok(Destination::Slice(target, format))
    }

    /// The first option that is given and of no use where nothing is written.
    pub(crate) fn of_output(&self) -> Option<&'static str> {
        let others = given([
            ("--layer", !self.layer.is_empty()),
            ("--with", self.with.is_some()),
            ("--var", self.var.is_some()),
            ("--obs-columns", self.obs_columns.is_some()),
            ("--var-columns", self.var_columns.is_some()),
            ("--join-ids", self.join_ids),
            ("--format", self.format.is_some()),
            ("--var-id-name", self.var_id_name.is_some()),
            ("--compression", self.compression.given()),
        ]);
        others.or_else(|| self.choices.given_of_var())
    }

    /// Refuses what a folder of one matrix cannot hold.
    fn only_x(&self) -> Result<(), CliError> {
        let given = given([
            ("--layer", self.layer.len() > 1),
            ("--with", self.with.is_some()),
            ("--join-ids", self.join_ids),
            ("--compression", self.compression.given()),
            ("--obs-columns", self.obs_columns.is_some()),
            ("--var-columns", self.var_columns.is_some()),
        ]);
        match given {
            Some(option) => {
                let message = "expected one matrix with the names of cells and genes for a Matrix Market folder, which holds no more; leave it out, or write an .h5ad";
                Err(CliError::usage(option, message))
            }
            None => Ok(()),
        }
    }

    /// Refuses what only experiments have.
    pub(crate) fn check_source(&self, source: &Source) -> Result<(), CliError> {
        if let Source::Folder(_) = source {
            return Ok(());
        }
        self.at.experiments_only()?;
        experiments_only("--measurement", self.measurement.is_some())?;
        experiments_only("--join-ids", self.join_ids)?;
        self.choices.without_join_ids()?;
        experiments_only("--obs-id-name", self.obs_id_name.is_some())?;
        experiments_only("--var-id-name", self.var_id_name.is_some())
    }

    /// Refuses what a table of cells or of genes has nothing of.
    pub(crate) fn check_table(&self, axis: TableAxis) -> Result<(), CliError> {
        let (others, message) = match axis {
            TableAxis::Obs => (
                given([
                    ("--var", self.var.is_some()),
                    ("--var-columns", self.var_columns.is_some()),
                ])
                .or_else(|| self.choices.given_of_var()),
                "expected nothing about genes for a table of cells; `vacuole query --table var` writes one of genes",
            ),
            TableAxis::Var => (
                given([
                    ("--obs", self.obs.is_some()),
                    ("--obs-columns", self.obs_columns.is_some()),
                ])
                .or_else(|| self.choices.given_of_obs()),
                "expected nothing about cells for a table of genes; leave it out",
            ),
        };
        if let Some(option) = others {
            return Err(CliError::usage(option, message));
        }
        let matrices = given([
            ("--layer", !self.layer.is_empty()),
            ("--with", self.with.is_some()),
            ("--compression", self.compression.given()),
        ]);
        if let Some(option) = matrices {
            let message = "expected nothing about matrices for a table; leave it out";
            return Err(CliError::usage(option, message));
        }
        Ok(())
    }

    /// A table of the rows that are meant of an axis, or of `cells`.
    pub(crate) fn table(
        &self,
        axis: TableAxis,
        cells: Option<Choice>,
        limit: Option<u64>,
    ) -> Result<TableOptions, CliError> {
        self.check_table(axis)?;
        let (rows, columns, id_name) = match (axis, cells) {
            (TableAxis::Var, _) => (self.genes()?, &self.var_columns, &self.var_id_name),
            (TableAxis::Obs, Some(cells)) => (cells, &self.obs_columns, &self.obs_id_name),
            (TableAxis::Obs, None) => (self.cells()?, &self.obs_columns, &self.obs_id_name),
        };
        Ok(TableOptions {
            axis,
            measurement: self.measurement.clone(),
            rows,
            columns: columns.clone(),
            join_ids: self.join_ids,
            id_name: id_name.clone(),
            limit,
        })
    }

    /// Writes these cells, which may have been drawn, with the genes that are meant.
    pub(crate) fn write(
        &self,
        (source, name): (&Source, &str),
        (obs, drawn): (Choice, Option<SampleOptions>),
        (target, format): (&Target, Format),
        output: &Output,
    ) -> Result<Written, CliError> {
        let progress = output.spinner("writing", &target.to_string());
        let written = match source {
            Source::File(file) => self.of_file((file, name), (obs, drawn), target, format)?,
            Source::Folder(folder) => {
                let experiment = experiment(folder.clone(), self.at)?;
                self.of_experiment((&experiment, name), (obs, drawn), target, format)?
            }
        };
        target.finish()?;
        drop(progress);
        for note in written.notes.iter().flatten() {
            output.message(&format!("warning: {name}: {note}"));
        }
        Ok(written)
    }

    fn of_experiment(
        &self,
        (experiment, name): (&Experiment, &str),
        (obs, drawn): (Choice, Option<SampleOptions>),
        target: &Target,
        format: Format,
    ) -> Result<Written, CliError> {
        let options = SliceOptions {
            measurement: self.measurement.clone(),
            layers: self.layer.clone(),
            elements: self.elements()?,
            source: Some(told_of(name)),
            drawn,
            obs,
            var: self.genes()?,
            obs_columns: self.obs_columns.clone(),
            var_columns: self.var_columns.clone(),
            join_ids: self.join_ids,
            obs_id_name: self.obs_id_name.clone(),
            var_id_name: self.var_id_name.clone(),
            write: self.compression.options(format.container().unwrap_or_default())?,
        };
        let summary = match format {
            Format::Mtx => write_mtx(experiment, target.path(), &options)?,
            _ => write_slice(experiment, target.path(), &options)?,
        };
        Ok(Written {
            n_obs: summary.n_obs,
            n_var: summary.n_var,
            nnz: summary.nnz,
            notes: None,
            filter_notes: summary.filter_notes,
        })
    }

    /// A slice of an H5AD file, which is read in place.
    fn of_file(
        &self,
        (file, name): (&H5ad, &str),
        (obs, drawn): (Choice, Option<SampleOptions>),
        target: &Target,
        format: Format,
    ) -> Result<Written, CliError> {
        let options = FileSliceOptions {
            obs,
            drawn,
            var: self.genes()?,
            obs_columns: self.obs_columns.clone(),
            var_columns: self.var_columns.clone(),
            layers: self.layer.clone(),
            elements: self.elements()?,
            source: Some(told_of(name)),
            write: self.compression.options(format.container().unwrap_or_default())?,
        };
        let summary = match format {
            Format::Mtx => write_file_mtx(file, target.path(), &options)?,
            _ => write_file_slice(file, target.path(), &options)?,
        };
        Ok(Written {
            n_obs: summary.n_obs,
            n_var: summary.n_var,
            nnz: summary.nnz,
            notes: Some(summary.notes),
            filter_notes: summary.filter_notes,
        })
    }

    /// The elements that come along.
    fn elements(&self) -> Result<Elements, CliError> {
        match &self.with {
            None => Ok(Elements::default()),
            Some(names) => {
                Elements::only(names.clone()).map_err(|message| CliError::usage("--with", message))
            }
        }
    }
}

/// The source as a file says that it is from there: a URL may hold a key, and a path is of use from its root only.
fn told_of(source: &str) -> String {
    match Uri::parse(source) {
        Ok(Uri::Local(path)) => std::path::absolute(&path).unwrap_or(path).display().to_string(),
        Ok(uri) => uri.to_string(),
        Err(_) => source.to_owned(),
    }
}
