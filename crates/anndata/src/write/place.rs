//! Where elements are put: the groups and datasets of an HDF5 file, or of a Zarr store.

use rust_hdf5::types::VarLenUnicode;
use rust_hdf5::{DatatypeMessage, FilterPipeline, H5Dataset, H5Group, Hdf5Error};
use serde_json::json;

use super::datatype;
use super::zarr::{ZarrArray, ZarrStore};

type Result<T> = std::result::Result<T, Hdf5Error>;

/// A file or a store.
pub(super) enum Place {
    Hdf5(H5Group),
    Zarr(ZarrStore),
}

/// A group in it.
pub(super) enum Group {
    Hdf5(H5Group),
    Zarr(ZarrStore, String),
}

/// A dataset in it.
pub(super) enum Dataset {
    Hdf5(H5Dataset),
    Zarr(ZarrArray),
}

impl Place {
    pub(super) fn is_zarr(&self) -> bool {
        matches!(self, Self::Zarr(_))
    }

    pub(super) fn create_group(&self, path: &str) -> Result<Group> {
        match self {
            Self::Hdf5(root) => root.create_group(path).map(Group::Hdf5),
            Self::Zarr(store) => {
                store.group(path)?;
                Ok(Group::Zarr(store.clone(), path.to_owned()))
            }
        }
    }

    /// A dataset stored in one piece and not compressed in HDF5, without values.
    pub(super) fn contiguous(
        &self,
        path: &str,
        datatype: &DatatypeMessage,
        shape: Vec<usize>,
    ) -> Result<Dataset> {
        match self {
            Self::Hdf5(root) => {
                let builder = root.new_dataset::<u8>().datatype(datatype.clone()).shape(shape);
                builder.create(path).map(Dataset::Hdf5)
            }
            Self::Zarr(store) => store.array(path, datatype, &shape, &shape).map(Dataset::Zarr),
        }
    }

    /// A dataset stored in chunks, which can grow where it is `growing`.
    pub(super) fn chunked(
        &self,
        path: &str,
        datatype: &DatatypeMessage,
        (shape, chunk): (Vec<usize>, &[usize]),
        growing: bool,
        pipeline: Option<FilterPipeline>,
    ) -> Result<Dataset> {
        match self {
            Self::Hdf5(root) => {
                let builder = root.new_dataset::<u8>().datatype(datatype.clone());
                let mut builder = builder.shape(shape).chunk(chunk);
                if growing {
                    builder = builder.max_shape(&[None]);
                }
                if let Some(pipeline) = pipeline {
                    builder = builder.filter_pipeline(pipeline);
                }
                builder.create(path).map(Dataset::Hdf5)
            }
            Self::Zarr(store) => store.array(path, datatype, &shape, chunk).map(Dataset::Zarr),
        }
    }

    pub(super) fn null(&self, path: &str) -> Result<Dataset> {
        match self {
            Self::Hdf5(root) => root.new_dataset::<f32>().null().create(path).map(Dataset::Hdf5),
            Self::Zarr(store) => store.null(path).map(Dataset::Zarr),
        }
    }
}

impl Group {
    pub(super) fn set_string(&self, name: &str, value: &str) -> Result<()> {
        match self {
            Self::Hdf5(group) => group.set_attr_string(name, value),
            Self::Zarr(store, path) => {
                store.set(path, name, json!(value));
                Ok(())
            }
        }
    }

    pub(super) fn set_strings(&self, name: &str, values: &[&str]) -> Result<()> {
        match self {
            Self::Hdf5(group) => group.set_attr_string_array(name, values),
            Self::Zarr(store, path) => {
                store.set(path, name, json!(values));
                Ok(())
            }
        }
    }

    pub(super) fn set_integers(&self, name: &str, values: &[i64]) -> Result<()> {
        match self {
            Self::Hdf5(group) => group.set_attr_array_numeric(name, values),
            Self::Zarr(store, path) => {
                store.set(path, name, json!(values));
                Ok(())
            }
        }
    }

    pub(super) fn set_truth(&self, name: &str, value: bool) -> Result<()> {
        match self {
            Self::Hdf5(group) => {
                group.set_attr_typed(name, datatype::boolean(), vec![u8::from(value)])
            }
            Self::Zarr(store, path) => {
                store.set(path, name, json!(value));
                Ok(())
            }
        }
    }
}

impl Dataset {
    pub(super) fn set_string(&self, name: &str, value: &str) -> Result<()> {
        match self {
            Self::Hdf5(dataset) => dataset
                .new_attr::<VarLenUnicode>()
                .shape(())
                .create(name)
                .and_then(|attribute| attribute.write_string(value)),
            Self::Zarr(array) => {
                array.set(name, value);
                Ok(())
            }
        }
    }

    /// The bytes of a dataset in one piece.
    pub(super) fn write_all(&self, bytes: &[u8]) -> Result<()> {
        match self {
            Self::Hdf5(dataset) => dataset.write_raw_bytes(bytes),
            // What is not there reads as zeros.
            Self::Zarr(_) if bytes.is_empty() => Ok(()),
            Self::Zarr(array) => array.write_chunk(0, bytes),
        }
    }
}
