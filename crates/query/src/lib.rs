//! Axis queries over SOMA experiments: what is in them, how many cells a filter finds, and slices as H5AD.

mod axis;
mod column;
mod error;
mod experiment;
mod matrix;
mod slice;
mod tree;

pub use axis::AxisSelection;
pub use error::{Error, Result};
pub use experiment::Experiment;
pub use slice::{SliceOptions, SliceSummary, write_slice};
pub use tree::{Column, Node, tree};
