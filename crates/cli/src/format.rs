//! The forms that a query is written in, by the names of files.

use std::path::Path;

use vacuole_anndata::write::Container;
use vacuole_query::TableFormat;

use crate::error::CliError;

/// A form of output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// An H5AD file
    H5ad,
    /// An AnnData in a Zarr store, a folder
    Zarr,
    /// A Matrix Market folder, as Cell Ranger writes it
    Mtx,
    /// A table, fields between commas
    Csv,
    /// A table, fields between tabs
    Tsv,
    /// A table, a JSON object a line
    Jsonl,
    /// A table as an Arrow IPC file
    Arrow,
    /// A table as a Parquet file
    Parquet,
}

/// How the name of a file in each form ends.
const ENDINGS: [(&str, Format); 10] = [
    ("h5ad", Format::H5ad),
    ("zarr", Format::Zarr),
    ("mtx", Format::Mtx),
    ("csv", Format::Csv),
    ("tsv", Format::Tsv),
    ("jsonl", Format::Jsonl),
    ("arrow", Format::Arrow),
    ("feather", Format::Arrow),
    ("parquet", Format::Parquet),
    ("pq", Format::Parquet),
];

impl Format {
    /// The form that is asked for, or else that of a file with this name, where it is one of those that are `taken`.
    pub fn of(
        name: &Path,
        asked: Option<Self>,
        taken: impl Fn(Self) -> bool,
    ) -> Result<Self, CliError> {
        let ending = name.extension().and_then(|ending| ending.to_str());
        let by_name = ENDINGS.iter().find(|(known, _)| Some(*known) == ending);
        match asked.or(by_name.map(|(_, format)| *format)).filter(|format| taken(*format)) {
            Some(format) => Ok(format),
            None => {
                let known = ENDINGS.iter().filter(|(_, format)| taken(*format));
                let known: Vec<String> = known.map(|(ending, _)| format!(".{ending}")).collect();
                let message = match known.as_slice() {
                    [only] => format!(
                        "expected the name of the output to end in {only}; choose such a name"
                    ),
                    _ => {
                        let known = known.join(", ");
                        format!(
                            "expected the name of the output to end in one of {known}; choose such a name"
                        )
                    }
                };
                Err(CliError::usage(name.display(), message))
            }
        }
    }

    /// Whether it is a folder of files.
    pub fn is_folder(self) -> bool {
        matches!(self, Self::Zarr | Self::Mtx)
    }

    /// What an AnnData is written as; none for other forms.
    pub fn container(self) -> Option<Container> {
        match self {
            Self::H5ad => Some(Container::H5ad),
            Self::Zarr => Some(Container::Zarr),
            _ => None,
        }
    }

    /// The form of a table; none for those that hold matrices.
    pub fn table(self) -> Option<TableFormat> {
        match self {
            Self::H5ad | Self::Zarr | Self::Mtx => None,
            Self::Csv => Some(TableFormat::Csv),
            Self::Tsv => Some(TableFormat::Tsv),
            Self::Jsonl => Some(TableFormat::JsonLines),
            Self::Arrow => Some(TableFormat::Arrow),
            Self::Parquet => Some(TableFormat::Parquet),
        }
    }
}
