//! Axis queries over SOMA experiments: what is in them, how many cells a filter finds, slices and the whole as H5AD.

mod axis;
mod column;
mod error;
mod experiment;
mod export;
mod filtered;
pub mod h5ad;
mod matrix;
mod sample;
mod slice;
mod source;
mod stats;
mod store_source;
mod tree;
mod uns;
mod values;

pub use axis::AxisSelection;
pub use error::{Error, Result};
pub use experiment::Experiment;
pub use export::{ExportOptions, ExportSummary, write_experiment};
pub use sample::{Sample, SampleOptions, Stratum, sample};
pub use slice::{SliceOptions, SliceSummary, write_slice};
pub use source::Source;
pub use stats::{
    Number, Per, StatsFile, StatsOptions, StatsRow, StatsSink, StatsSummary, write_stats,
};
pub use tree::{Column, Node, tree};
pub use values::{Axis, Values};
