//! The command line of `vacuole sql`, which `vacuole` describes and `vacuole-sql` carries out.

use std::path::PathBuf;

use crate::at::AtArgument;
use crate::size;

/// The least memory that a query can be held to, in bytes.
const LEAST_MEMORY: u64 = 64 << 20;

/// Ask an experiment, or an H5AD file, in SQL
#[derive(Debug, clap::Args)]
#[group(skip)]
#[command(after_help = "Examples:
  vacuole sql atlas \"SELECT cell_type, count(*) AS n FROM obs GROUP BY cell_type ORDER BY n DESC\"
  vacuole sql atlas \"SELECT obs WHERE obs.cell_type = 'T cell'\" -o cells.parquet
  vacuole sql atlas \"SELECT var_id, sum(soma_data) AS total FROM X JOIN obs ON soma_dim_0 = obs.soma_joinid
    JOIN var ON soma_dim_1 = var.soma_joinid WHERE tissue = 'lung' GROUP BY var_id ORDER BY total DESC LIMIT 20\"
  vacuole sql pbmc.h5ad 'SELECT count(*) FROM X WHERE soma_data > 3' --output-format csv
  vacuole sql atlas --attach other=s3://lab/atlas2 'SELECT count(*) FROM obs JOIN other.obs AS o USING (obs_id)'
  vacuole sql atlas --at 2024-03-01 'SELECT count(*) FROM obs'
  vacuole sql atlas --tables

Tables are obs, var and X, of the measurement and the layer that are asked for, and every other array by its path, in \
quotes, as \"ms/RNA/obsm/X_pca\". X and other arrays have the columns soma_dim_0, soma_dim_1 and soma_data, and obs and var have \
soma_joinid, which is the number of a cell or gene in them. --tables lists what there is. \
Names are as they are written, with their case.
Nothing can be written: there is SELECT, with EXPLAIN, DESCRIBE and SHOW TABLES. `SELECT obs WHERE ...` is short for \
`SELECT * FROM obs WHERE ...`.

The program vacuole-sql has to be there, beside this one or on the PATH.")]
pub struct Arguments {
    /// The experiment, a folder or a URI; or an H5AD file
    #[arg(value_name = "EXPERIMENT")]
    pub source: String,
    /// The query; - reads it from stdin
    #[arg(value_name = "QUERY", required_unless_present = "tables", conflicts_with = "tables")]
    pub query: Option<String>,
    /// List the tables, with their columns
    #[arg(long)]
    pub tables: bool,
    /// Another experiment, or H5AD file, whose tables are NAME.obs and so on; any number of times
    #[arg(long, value_name = "NAME=URI")]
    pub attach: Vec<String>,
    /// The measurement that var and X are of [default: RNA, or the only one besides raw]
    #[arg(long)]
    pub measurement: Option<String>,
    /// The layer that X is [default: data, else the first by name; of an H5AD file X]
    #[arg(long)]
    pub layer: Option<String>,
    /// As of when
    #[command(flatten)]
    pub at: AtArgument,
    /// The file to write, - for stdout [default: some rows are shown]
    #[arg(long, short, value_name = "OUT")]
    pub output: Option<PathBuf>,
    /// The form of the output [default: by the ending of OUT; table without it, csv for -]
    #[arg(long, value_enum, value_name = "FORMAT", alias = "format")]
    pub output_format: Option<OutputFormat>,
    /// How many rows are shown as a table [default: 40]
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
    /// Take so much memory for the query at the most, as 256MiB or 2GiB
    #[arg(long, value_name = "SIZE", default_value = "1GiB", value_parser = memory)]
    pub memory: u64,
    /// How many threads to use [default: all]
    #[arg(long, value_name = "N")]
    pub jobs: Option<usize>,
    /// Put what does not fit into memory here [default: the system's temporary folder]
    #[arg(long, value_name = "FOLDER")]
    pub tmpdir: Option<PathBuf>,
}

/// A form of output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum OutputFormat {
    /// Some rows in columns, for people
    Table,
    /// Fields between commas
    Csv,
    /// Fields between tabs
    Tsv,
    /// A JSON object a line
    #[value(alias = "jsonl")]
    Json,
    /// An Arrow IPC file
    Arrow,
    /// A Parquet file
    Parquet,
}

fn memory(text: &str) -> Result<u64, String> {
    size::at_least(LEAST_MEMORY, text)
}
