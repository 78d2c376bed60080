//! Groups and datasets, opened by the address of their object header.

use std::fmt;
use std::sync::Arc;

use hdf5_reader::messages::HdfMessage;
use hdf5_reader::object_header::ObjectHeader;

use super::link::{self, Listing};
use super::{Attributes, Dataset, File, metadata};
use crate::{Error, Result};

/// A group or a dataset.
#[derive(Clone)]
pub(crate) enum Node {
    Group(Group),
    Dataset(Dataset),
}

/// Opens the object whose header is at `address`; `path` is how it was reached.
pub(super) fn open(file: &File, address: u64, path: &str) -> Result<Node> {
    open_header(file, address, path).map_err(|error| error.in_element(path).in_file(file.name()))
}

fn open_header(file: &File, address: u64, path: &str) -> Result<Node> {
    let header = file.0.hdf5.get_or_parse_header(address).map_err(metadata::convert)?;
    let attributes = Attributes::of(file, &header)?;
    if header.messages.iter().any(|message| matches!(message, HdfMessage::DataLayout(_))) {
        return Ok(Node::Dataset(Dataset::new(file, &header, attributes, path)?));
    }
    let is_group = |message: &HdfMessage| {
        matches!(
            message,
            HdfMessage::SymbolTable(_)
                | HdfMessage::LinkInfo(_)
                | HdfMessage::GroupInfo(_)
                | HdfMessage::Link(_)
        )
    };
    if header.messages.iter().any(is_group) {
        let state = GroupState { address, path: path.to_owned(), header, attributes };
        return Ok(Node::Group(Group { file: file.clone(), state: Arc::new(state) }));
    }
    Err(Error::unsupported("expected a group or a dataset, found another kind of HDF5 object"))
}

/// A group.
#[derive(Clone)]
pub(crate) struct Group {
    file: File,
    state: Arc<GroupState>,
}

struct GroupState {
    address: u64,
    path: String,
    header: Arc<ObjectHeader>,
    attributes: Attributes,
}

impl Group {
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    pub(crate) fn path(&self) -> &str {
        &self.state.path
    }

    pub(crate) fn attributes(&self) -> &Attributes {
        &self.state.attributes
    }

    /// The links of the group.
    pub(super) fn listing(&self) -> Result<Arc<Listing>> {
        link::listing(&self.file, self.state.address, &self.state.header)
            .map_err(|error| self.locate(error))
    }

    /// The names of the members in the order in which `h5py` iterates: by creation where the
    /// group tracks it, else by name.
    pub(crate) fn names(&self) -> Result<Vec<String>> {
        Ok(self.listing()?.names().map(str::to_owned).collect())
    }

    /// The member at `path`, which may lead through groups inside; none if there is none.
    ///
    /// Soft links are followed inside the file.
    pub(crate) fn get(&self, path: &str) -> Result<Option<Node>> {
        link::resolve(self, path)
    }

    /// The object that an object reference in this file points to.
    pub(crate) fn dereference(&self, address: u64) -> Result<Node> {
        open(&self.file, address, &format!("{} (object at {address})", self.state.path))
    }

    /// Adds file and path to an error.
    pub(crate) fn locate(&self, error: Error) -> Error {
        error.in_element(&self.state.path).in_file(self.file.name())
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group").field("path", &self.path()).finish_non_exhaustive()
    }
}
