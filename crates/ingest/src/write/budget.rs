//! How the memory that an ingest may take is shared out.

use std::path::PathBuf;

use vacuole_store::Uri;

use crate::options::Resources;

/// What the program, the description of the input, the files being written, and memory that is free but not
/// given back yet take, obs and var ids apart.
const FIXED: u64 = 108 << 20;

/// What uploads take: the parts on their way, and those that fill up.
const UPLOADS: u64 = 64 << 20;

/// The shares of the stages, in bytes, and where the rest goes.
///
/// None of them decides what is stored: tile extents and units depend on the input alone.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    free: u64,
    tmpdir: PathBuf,
}

impl Budget {
    /// Spilled cells go to the folder chosen, else beside other temporary files of the experiment; where that is in
    /// a bucket, to the system's folder for temporary files. `elsewhere` is what reading the input takes.
    pub(crate) fn new(resources: &Resources, destination: &Uri, elsewhere: u64) -> Self {
        let (own, uploads) = match destination.as_local() {
            Some(folder) => (folder.join(vacuole_store::PRIVATE_FOLDER).join("tmp"), 0),
            None => (std::env::temp_dir(), UPLOADS),
        };
        let fixed = FIXED + uploads + elsewhere;
        Self {
            free: resources.memory - fixed.min(resources.memory / 2),
            tmpdir: resources.tmpdir.clone().unwrap_or(own),
        }
    }

    /// Where cells that do not fit are spilled.
    pub(crate) fn tmpdir(&self) -> PathBuf {
        self.tmpdir.clone()
    }

    /// The most that a block of a matrix takes which is read as it is. There are two at a time: one is encoded
    /// while the next is read.
    pub(crate) fn block(&self) -> u64 {
        self.free / 3
    }

    /// The most that a block takes where cells must be put into order first: two are being read, two are
    /// in order, and [`Budget::kept`] lies between.
    pub(crate) fn part(&self) -> u64 {
        self.free / 8
    }

    /// The most that is kept in memory of cells that wait for their place in the order.
    pub(crate) fn kept(&self) -> u64 {
        self.free / 4
    }

    /// The most that the cells of tiles take that are filtered together. Three such batches are at most in
    /// memory, filtered: one grows, one waits, one is written.
    pub(crate) fn batch(&self) -> u64 {
        self.free / 24
    }
}
