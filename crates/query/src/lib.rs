//! Axis queries over SOMA experiments: what is in them, how many cells a filter finds, slices and the whole as H5AD.

mod axis;
mod cells;
mod choice;
mod column;
mod elements;
mod error;
mod experiment;
mod export;
mod filtered;
pub mod h5ad;
mod held;
mod matrix;
mod mtx;
mod new_values;
mod provenance;
mod sample;
mod slice;
mod source;
mod stats;
mod store_source;
mod table;
mod tree;
mod uns;
mod values;

pub use axis::AxisSelection;
pub use cells::{open_array, write_cells};
pub use choice::Choice;
pub use elements::{Elements, PARTS};
pub use error::{Error, Result};
pub use experiment::Experiment;
pub use export::{ExportOptions, ExportSummary, write_experiment};
pub use held::{AxisQuery, CsrMatrix, DenseMatrix, Numbers, QueryAxis};
pub use mtx::write_mtx;
pub use new_values::{read_new_values, update_axis};
pub use sample::{Sample, SampleOptions, Stratum, sample};
pub use slice::{SliceOptions, SliceSummary, layer, write_slice};
pub use source::Source;
pub use stats::{
    Number, Per, StatsFile, StatsOptions, StatsRow, StatsSink, StatsSummary, write_stats,
};
pub use table::{
    Table, TableAxis, TableFile, TableFormat, TableOptions, TableSummary, TableWriter,
    text_of_cells,
};
pub use tree::{Column, Node, tree};
pub use values::{Axis, Values};
