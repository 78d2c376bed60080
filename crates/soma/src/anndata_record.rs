//! What SOMA does not say of the AnnData that an experiment was made of.
//!
//! An ingest keeps a record under `__vacuole/anndata/`: the form of every matrix and column, and which element of a
//! file beside it holds what SOMA has no place for. With both, the same AnnData can be written again. The record
//! says what it belongs to; where the experiment has changed since, the stored data count and the record does not.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use vacuole_store::{Store, join};

use crate::error::Result;
use crate::private;

/// The folder of records, and of the files beside them.
pub(crate) const FOLDER: &str = "anndata";
const KIND: &str = "anndata";

/// The record of one ingested AnnData.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnnDataRecord {
    /// When the ingest wrote, in milliseconds since 1970: what is newer is not the ingest's.
    pub at: u64,
    /// Cells.
    pub n_obs: u64,
    /// Genes.
    pub n_vars: u64,
    /// The measurement that it went into.
    pub measurement: String,
    /// The layer that X became; none for an AnnData without X.
    pub x_layer: Option<String>,
    /// Whether it had a `raw`, which became the measurement `raw`, and how many genes that had.
    pub raw_n_vars: Option<u64>,
    /// The form of each matrix, by the path of its array.
    pub matrices: BTreeMap<String, MatrixForm>,
    /// The form of each of `obs`, `var` and `raw/var`, by the path of its array.
    pub frames: BTreeMap<String, FrameForm>,
    /// Elements that the file beside this record holds: what they are in AnnData, and their key there.
    pub extras: BTreeMap<String, String>,
}

/// How AnnData held a matrix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MatrixForm {
    /// `csr`, `csc` or `dense`.
    pub kind: MatrixKind,
    /// The name of the values' Arrow type, where it is not that of the array.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_type: Option<String>,
}

/// The layout of a matrix in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MatrixKind {
    /// Compressed by row.
    Csr,
    /// Compressed by column.
    Csc,
    /// Every value is there.
    Dense,
}

/// How AnnData held a data frame.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FrameForm {
    /// What pandas called the index.
    pub index_name: Option<String>,
    /// Where the index is.
    pub index: ColumnSource,
    /// The stored column that holds the ids; none where there is none, and in records of before it was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id_column: Option<String>,
    /// The columns in order, without the index.
    pub columns: Vec<ColumnForm>,
}

/// How AnnData held a column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColumnForm {
    /// Its name.
    pub name: String,
    /// Where its values are.
    pub source: ColumnSource,
}

/// Where values are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnSource {
    /// In a column of the SOMA data frame.
    Stored {
        /// The column.
        column: String,
        /// How AnnData encodes them.
        encoding: ColumnKind,
    },
    /// In the file beside the record, under this key.
    Extra(String),
}

impl Default for ColumnSource {
    fn default() -> Self {
        Self::Extra(String::new())
    }
}

/// How AnnData encodes a column that SOMA stores without loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnKind {
    /// A NumPy array of numbers, booleans or strings.
    Plain,
    /// A NumPy array of half floats, stored as single ones.
    Half,
    /// A categorical.
    Categorical,
    /// A pandas array that can hold nulls.
    Nullable,
}

impl AnnDataRecord {
    /// The paths of a record and of the file beside it.
    pub fn paths(uuid: &str) -> (String, String) {
        let folder = private::path(FOLDER);
        (join(&folder, &format!("{uuid}.json")), join(&folder, &format!("{uuid}.h5ad")))
    }

    /// The column that holds the ids of the data frame at `path`.
    pub fn id_column(&self, path: &str) -> Option<&str> {
        self.frames.get(path)?.id_column.as_deref()
    }

    /// The bytes of the record.
    pub fn encode(&self) -> Vec<u8> {
        private::encode(KIND, self)
    }

    /// The record for a measurement, and the path of the file beside it where it holds anything.
    ///
    /// # Errors
    /// [`Corrupt`](crate::ErrorKind::Corrupt) or [`Checksum`](crate::ErrorKind::Checksum) where a record is altered.
    pub fn find(store: &dyn Store, measurement: &str) -> Result<Option<(Self, Option<String>)>> {
        let folder = private::path(FOLDER);
        for entry in store.list(&folder)? {
            let Some(uuid) = entry.name.strip_suffix(".json") else { continue };
            let (path, beside) = Self::paths(uuid);
            let record: Self = private::decode(&store.display(&path), KIND, &store.read(&path)?)?;
            if record.measurement == measurement {
                let beside = (!record.extras.is_empty()).then_some(beside);
                return Ok(Some((record, beside)));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vacuole_store::LocalStore;

    #[test]
    fn a_record_is_found_by_its_measurement() {
        let folder = tempfile::tempdir().unwrap();
        let store = LocalStore::new(folder.path());
        let form = FrameForm {
            index: ColumnSource::Stored {
                column: "obs_id".to_owned(),
                encoding: ColumnKind::Plain,
            },
            ..FrameForm::default()
        };
        let record = AnnDataRecord {
            measurement: "RNA".to_owned(),
            frames: [("obs".to_owned(), form)].into(),
            extras: [("uns/a".to_owned(), "e0".to_owned())].into(),
            ..AnnDataRecord::default()
        };
        let (path, beside) = AnnDataRecord::paths("x");
        store.put(&path, &record.encode()).unwrap();
        assert_eq!(AnnDataRecord::find(&store, "RNA").unwrap(), Some((record, Some(beside))));
        assert_eq!(AnnDataRecord::find(&store, "ATAC").unwrap(), None);
    }
}
