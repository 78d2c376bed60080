//! Axis queries over SOMA experiments: what is in them, how many cells a filter finds, slices and the whole as H5AD.

mod axis;
mod choice;
mod column;
mod elements;
mod error;
mod experiment;
mod export;
mod filtered;
pub mod h5ad;
mod matrix;
mod mtx;
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
pub use choice::Choice;
pub use elements::{Elements, PARTS};
pub use error::{Error, Result};
pub use experiment::Experiment;
pub use export::{ExportOptions, ExportSummary, write_experiment};
pub use mtx::write_mtx;
pub use sample::{Sample, SampleOptions, Stratum, sample};
pub use slice::{SliceOptions, SliceSummary, write_slice};
pub use source::Source;
pub use stats::{
    Number, Per, StatsFile, StatsOptions, StatsRow, StatsSink, StatsSummary, write_stats,
};
pub use table::{Table, TableAxis, TableFormat, TableOptions, TableSummary};
pub use tree::{Column, Node, tree};
pub use values::{Axis, Values};
