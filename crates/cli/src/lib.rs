//! What the programs of Vacuole have in common, beside the commands of `vacuole` themselves: `vacuole-sql` is another one,
//! since DataFusion takes as long to build as all the rest.

pub mod at;
pub mod cache;
pub mod error;
mod folders;
pub mod format;
pub mod output;
pub mod program;
pub mod s3;
mod settings;
pub mod signals;
pub mod size;
pub mod sql;
pub mod table;
pub mod target;
