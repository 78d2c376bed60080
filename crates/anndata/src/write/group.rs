//! Groups, and where elements may be.

use super::H5adWriter;
use super::place::Group;
use crate::{Error, Result};

/// The longest key: HDF5 holds links in pieces of at most 64 KiB.
const MAX_KEY: usize = 32 << 10;

/// What a group is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A dictionary.
    Mapping,
    /// `raw`.
    Raw,
    /// An element that keeps its parts in a group: only the writer itself adds to it.
    Element,
    /// Part of a name that holds `/`, inside an element.
    Plain,
}

impl H5adWriter {
    /// A dictionary; nothing happens when there is one.
    ///
    /// # Errors
    ///
    /// `InvalidInput` when something else has this path, or the path is wrong; `Io`.
    pub fn mapping(&mut self, path: &str) -> Result<()> {
        self.check_path(path)?;
        match self.elements.get(path) {
            Some(Some(Kind::Mapping | Kind::Raw)) => Ok(()),
            Some(_) => Err(self.taken(path)),
            None => {
                self.ensure_parents(path)?;
                self.create_group(path, mapping_kind(path)).map(drop)
            }
        }
    }

    /// A group for an element of type `encoding`.
    pub(super) fn element_group(&mut self, path: &str, encoding: (&str, &str)) -> Result<Group> {
        self.claim(path)?;
        self.elements.remove(path);
        let group = self.create_group(path, Kind::Element)?;
        self.output.mark_group(path, &group, encoding)?;
        Ok(group)
    }

    /// Notes that `path` will be an element; creates the groups above it.
    pub(super) fn claim(&mut self, path: &str) -> Result<()> {
        self.check_path(path)?;
        if self.elements.contains_key(path) {
            return Err(self.taken(path));
        }
        self.ensure_parents(path)?;
        self.elements.insert(path.to_string(), None);
        Ok(())
    }

    fn ensure_parents(&mut self, path: &str) -> Result<()> {
        let mut inside_element = false;
        let ends: Vec<usize> = path.match_indices('/').map(|(end, _)| end).collect();
        for end in ends {
            let parent = path.get(..end).unwrap_or_default();
            match self.elements.get(parent) {
                Some(Some(kind)) => {
                    inside_element |= matches!(kind, Kind::Element | Kind::Plain);
                }
                Some(None) => {
                    let error = Error::invalid(format!("{parent} is an array, not a group"));
                    return Err(self.output.locate(path, error));
                }
                None => {
                    let kind = if inside_element { Kind::Plain } else { mapping_kind(parent) };
                    self.create_group(parent, kind)?;
                }
            }
        }
        Ok(())
    }

    fn create_group(&mut self, path: &str, kind: Kind) -> Result<Group> {
        let output = &self.output;
        let created = output.place.create_group(path);
        let group = created.map_err(|error| output.failed(path, error))?;
        match kind {
            Kind::Mapping => output.mark_group(path, &group, ("dict", "0.1.0"))?,
            Kind::Raw => output.mark_group(path, &group, ("raw", "0.1.0"))?,
            Kind::Element | Kind::Plain => {}
        }
        self.elements.insert(path.to_string(), Some(kind));
        Ok(group)
    }

    fn taken(&self, path: &str) -> Error {
        self.output.locate(path, Error::invalid("was written before"))
    }

    /// Refuses paths that HDF5 would take for others.
    fn check_path(&self, path: &str) -> Result<()> {
        let wrong = |what: String| Err(self.output.locate("", Error::invalid(what)));
        for key in path.split('/') {
            if key.is_empty() || key == "." {
                return wrong(format!("{path:?} has {key:?} as a key, which HDF5 cannot store"));
            }
            if self.output.place.is_zarr() && (key == ".." || key.starts_with(".z")) {
                return wrong(format!(
                    "{path:?} has {key:?} as a key, which a Zarr store cannot have"
                ));
            }
            if key.contains('\0') {
                return wrong(format!("{path:?} holds a NUL, which HDF5 cannot store"));
            }
            if key.len() > MAX_KEY {
                let start: String = key.chars().take(40).collect();
                return wrong(format!(
                    "the key {start:?}... has {} bytes; HDF5 can store {MAX_KEY}",
                    key.len()
                ));
            }
        }
        Ok(())
    }
}

fn mapping_kind(path: &str) -> Kind {
    if path == "raw" { Kind::Raw } else { Kind::Mapping }
}
