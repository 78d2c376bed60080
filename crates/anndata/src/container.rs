//! What an AnnData is stored in: an HDF5 file or a Zarr store, both seen as groups and datasets with attributes.
//!
//! AnnData's own encoding is the same in both, so that one reader serves them.

use std::fmt;
use std::ops::Range;

use arrow_array::ArrayRef;

pub(crate) use crate::hdf5::{ElementType, Field, integers};
use crate::{Error, Result, hdf5, zarr};

/// All of a file or a store.
#[derive(Clone, Debug)]
pub(crate) enum File {
    Hdf5(hdf5::File),
    Zarr(zarr::Store),
}

/// A group or a dataset.
#[derive(Clone)]
pub(crate) enum Node {
    Group(Group),
    Dataset(Dataset),
}

/// A group.
#[derive(Clone)]
pub(crate) enum Group {
    Hdf5(hdf5::Group),
    Zarr(zarr::Group),
}

/// A dataset, which Zarr calls an array.
#[derive(Clone)]
pub(crate) enum Dataset {
    Hdf5(hdf5::Dataset),
    Zarr(zarr::Array),
}

/// The attributes of a node.
#[derive(Clone, Copy)]
pub(crate) enum Attributes<'a> {
    Hdf5(&'a hdf5::Attributes),
    Zarr(&'a zarr::Attributes),
}

/// Calls the same method of what is inside.
macro_rules! either {
    ($self:expr, $inner:ident => $call:expr) => {
        match $self {
            Self::Hdf5($inner) => $call,
            Self::Zarr($inner) => $call,
        }
    };
}

impl From<hdf5::Node> for Node {
    fn from(node: hdf5::Node) -> Self {
        match node {
            hdf5::Node::Group(group) => Self::Group(Group::Hdf5(group)),
            hdf5::Node::Dataset(dataset) => Self::Dataset(Dataset::Hdf5(dataset)),
        }
    }
}

impl From<zarr::Node> for Node {
    fn from(node: zarr::Node) -> Self {
        match node {
            zarr::Node::Group(group) => Self::Group(Group::Zarr(group)),
            zarr::Node::Array(array) => Self::Dataset(Dataset::Zarr(array)),
        }
    }
}

impl File {
    /// The group that holds everything.
    pub(crate) fn root(&self) -> Result<Group> {
        match self {
            Self::Hdf5(file) => file.root().map(Group::Hdf5),
            Self::Zarr(store) => store.root().map(Group::Zarr),
        }
    }

    /// What errors call it.
    pub(crate) fn name(&self) -> &str {
        either!(self, file => file.name())
    }

    /// Gives up the memory that copies of metadata, strings and chunks take, until it is read again.
    pub(crate) fn forget(&self) {
        either!(self, file => file.forget());
    }
}

impl Node {
    pub(crate) fn attributes(&self) -> Attributes<'_> {
        match self {
            Self::Group(group) => group.attributes(),
            Self::Dataset(dataset) => dataset.attributes(),
        }
    }

    /// The path inside the file or store, without a leading `/`.
    pub(crate) fn path(&self) -> &str {
        match self {
            Self::Group(group) => group.path(),
            Self::Dataset(dataset) => dataset.path(),
        }
    }
}

impl Group {
    /// What the group is in.
    pub(crate) fn file(&self) -> File {
        match self {
            Self::Hdf5(group) => File::Hdf5(group.file().clone()),
            Self::Zarr(group) => File::Zarr(group.store().clone()),
        }
    }

    pub(crate) fn path(&self) -> &str {
        either!(self, group => group.path())
    }

    pub(crate) fn attributes(&self) -> Attributes<'_> {
        match self {
            Self::Hdf5(group) => Attributes::Hdf5(group.attributes()),
            Self::Zarr(group) => Attributes::Zarr(group.attributes()),
        }
    }

    /// The names of the members: in HDF5 in the order in which `h5py` iterates, in Zarr sorted.
    pub(crate) fn names(&self) -> Result<Vec<String>> {
        either!(self, group => group.names())
    }

    /// The member at `path`, which may lead through groups inside; none if there is none.
    pub(crate) fn get(&self, path: &str) -> Result<Option<Node>> {
        either!(self, group => Ok(group.get(path)?.map(Node::from)))
    }

    /// The member at `path`, which has to exist.
    pub(crate) fn require(&self, path: &str) -> Result<Node> {
        self.get(path)?.ok_or_else(|| {
            self.locate(Error::corrupt(format!("expected a member {path:?}, found none")))
        })
    }

    /// The dataset at `path`, which has to exist.
    pub(crate) fn require_dataset(&self, path: &str) -> Result<Dataset> {
        match self.require(path)? {
            Node::Dataset(dataset) => Ok(dataset),
            Node::Group(group) => {
                Err(group.locate(Error::corrupt("expected a dataset, found a group")))
            }
        }
    }

    /// The object that an object reference of HDF5 points to.
    pub(crate) fn dereference(&self, address: u64) -> Result<Node> {
        match self {
            Self::Hdf5(group) => group.dereference(address).map(Node::from),
            Self::Zarr(group) => {
                Err(group.locate(Error::corrupt("expected a path, found a reference")))
            }
        }
    }

    /// Adds file and path to an error.
    pub(crate) fn locate(&self, error: Error) -> Error {
        either!(self, group => group.locate(error))
    }
}

impl Dataset {
    pub(crate) fn path(&self) -> &str {
        either!(self, dataset => dataset.path())
    }

    pub(crate) fn attributes(&self) -> Attributes<'_> {
        match self {
            Self::Hdf5(dataset) => Attributes::Hdf5(dataset.attributes()),
            Self::Zarr(array) => Attributes::Zarr(array.attributes()),
        }
    }

    pub(crate) fn element(&self) -> &ElementType {
        either!(self, dataset => dataset.element())
    }

    /// Whether the dataset has no values and no shape, which only HDF5 knows.
    pub(crate) fn is_null(&self) -> bool {
        match self {
            Self::Hdf5(dataset) => dataset.is_null(),
            Self::Zarr(_) => false,
        }
    }

    /// The length of each dimension; empty for a single value.
    pub(crate) fn shape(&self) -> &[u64] {
        either!(self, dataset => dataset.shape())
    }

    /// The length of the first dimension: what [`Dataset::read_rows`] counts. 1 for a single value.
    pub(crate) fn n_rows(&self) -> u64 {
        either!(self, dataset => dataset.n_rows())
    }

    /// How many rows are stored together; reading a multiple of them from a multiple of them
    /// undoes no filter twice. None where rows are stored one by one.
    pub(crate) fn chunk_rows(&self) -> Option<u64> {
        either!(self, dataset => dataset.chunk_rows())
    }

    /// The bytes of one row, without filters.
    pub(crate) fn row_bytes(&self) -> u64 {
        either!(self, dataset => dataset.row_bytes())
    }

    /// Refuses as many rows as are more than may be held.
    pub(crate) fn check_read(&self, rows: u64) -> Result<()> {
        either!(self, dataset => dataset.check_read(rows))
    }

    /// The values of `rows`, in C order. Elements that are arrays give all of their values.
    pub(crate) fn read_rows(&self, rows: Range<u64>) -> Result<ArrayRef> {
        either!(self, dataset => dataset.read_rows(rows))
    }

    /// The values in `rows` of parts of each element: for each part, where it starts and its type.
    pub(crate) fn read_parts<'a>(
        &self,
        rows: Range<u64>,
        parts: impl IntoIterator<Item = (usize, &'a ElementType)>,
    ) -> Result<Vec<ArrayRef>> {
        either!(self, dataset => dataset.read_parts(rows, parts))
    }

    /// Adds file and path to an error.
    pub(crate) fn locate(&self, error: Error) -> Error {
        either!(self, dataset => dataset.locate(error))
    }
}

impl Attributes<'_> {
    pub(crate) fn contains(self, name: &str) -> bool {
        either!(self, attributes => attributes.contains(name))
    }

    /// The value of an attribute that holds one string.
    pub(crate) fn string(self, name: &str) -> Result<Option<String>> {
        either!(self, attributes => attributes.string(name))
    }

    /// The values of an attribute that holds strings.
    pub(crate) fn strings(self, name: &str) -> Result<Option<Vec<String>>> {
        either!(self, attributes => attributes.strings(name))
    }

    /// The values of an attribute that holds whole numbers from 0 on, in whatever type.
    pub(crate) fn lengths(self, name: &str) -> Result<Option<Vec<u64>>> {
        either!(self, attributes => attributes.lengths(name))
    }

    /// Whether an attribute that holds one boolean or number is true.
    pub(crate) fn truth(self, name: &str) -> Result<Option<bool>> {
        either!(self, attributes => attributes.truth(name))
    }

    /// The address in an attribute that holds one object reference; none if it holds anything else.
    pub(crate) fn reference(self, name: &str) -> Result<Option<u64>> {
        match self {
            Self::Hdf5(attributes) => attributes.reference(name),
            Self::Zarr(_) => Ok(None),
        }
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group").field("path", &self.path()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Dataset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dataset")
            .field("path", &self.path())
            .field("shape", &self.shape())
            .field("element", self.element())
            .finish_non_exhaustive()
    }
}
