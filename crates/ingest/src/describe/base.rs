//! The experiment that files are appended to, as it was when the append was planned.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array as _, ArrayRef, LargeStringArray};
use arrow_schema::{DataType, Field};
use arrow_select::take::take;
use vacuole_soma::array::{Array, SparseReadOptions, arrow_type};
use vacuole_soma::create::{deciding_files, folder_of};
use vacuole_soma::{Object, SomaType, keys, layout, member_name};
use vacuole_store::{Store, join};
use vacuole_tiledb::schema::{ArraySchema, Layout, Range};

use crate::error::{Error, Result};

/// The collections of a measurement whose arrays grow with its axes.
const PARTS: [&str; 5] = ["X", "obsm", "obsp", "varm", "varp"];

/// An experiment that is there already. Its objects are known by the paths that an ingest would give them.
pub(crate) struct Base {
    store: Arc<dyn Store>,
    last_change: u64,
    groups: BTreeMap<String, String>,
    arrays: BTreeMap<String, Stored>,
}

/// An array that is there already.
pub(crate) struct Stored {
    pub(crate) path: String,
    pub(crate) array: Array,
    /// The names of the files that decided what it is, before it was opened.
    files: Vec<String>,
}

/// A column of a data frame that is there already.
pub(crate) struct StoredColumn {
    /// Its name and type; that of a categorical column is a dictionary.
    pub(crate) field: Field,
    /// Those of a categorical column.
    pub(crate) categories: Option<ArrayRef>,
    /// The name of its enumeration.
    pub(crate) enumeration: Option<String>,
}

impl Base {
    /// Opens the experiment of a store as it was at a time, in milliseconds since 1970.
    ///
    /// # Errors
    /// [`Error::Conflict`] where it is no experiment that files can be appended to.
    pub(crate) fn open(store: &Arc<dyn Store>, at: u64) -> Result<Self> {
        let root = Object::open(Arc::clone(store), "", at)?;
        if root.soma_type() != SomaType::Experiment {
            let message = format!("expected an experiment, found a {}", root.soma_type());
            return Err(Error::Conflict { object: root.display(), message });
        }
        let mut base = Self {
            store: Arc::clone(store),
            last_change: root.last_change()?,
            groups: BTreeMap::from([(String::new(), String::new())]),
            arrays: BTreeMap::new(),
        };
        for name in ["obs", "ms"] {
            if base.member(&root, "", name)?.is_none() {
                let message = format!("expected an experiment with '{name}', found none");
                return Err(Error::Conflict { object: root.display(), message });
            }
        }
        let Some(ms) = root.member("ms")? else { return Ok(base) };
        for measurement in ms.member_names()? {
            let Some((path, object)) = base.member(&ms, "ms", &measurement)? else { continue };
            base.member(&object, &path, "var")?;
            for part in PARTS {
                let Some((path, part)) = base.member(&object, &path, part)? else { continue };
                for name in part.member_names()? {
                    base.member(&part, &path, &name)?;
                }
            }
        }
        Ok(base)
    }

    /// Takes a member in, and returns what the ingest calls it.
    fn member(
        &mut self,
        group: &Object,
        path: &str,
        name: &str,
    ) -> Result<Option<(String, Object)>> {
        let members = group.members()?;
        let Some(member) = members.iter().find(|member| member_name(member) == name) else {
            return Ok(None);
        };
        if !member.relative {
            let message = format!(
                "expected members inside of the experiment, found '{name}' at {}; nothing can be appended to it",
                member.uri
            );
            return Err(Error::Conflict { object: group.display(), message });
        }
        let Some(object) = group.member(name)? else { return Ok(None) };
        let path = join(path, &folder_of(name));
        self.last_change = self.last_change.max(object.last_change()?);
        if object.is_group() {
            self.groups.insert(path.clone(), object.path().to_owned());
        } else {
            let files = deciding_files(&*self.store, object.path())?;
            let array = object.array()?;
            self.last_change = self.last_change.max(array.last_change());
            let stored = Stored { path: object.path().to_owned(), array, files };
            self.arrays.insert(path.clone(), stored);
        }
        Ok(Some((path, object)))
    }

    /// The time of the newest thing in it, in milliseconds since 1970.
    pub(crate) fn last_change(&self) -> u64 {
        self.last_change
    }

    /// What messages call it.
    pub(crate) fn display(&self) -> String {
        self.store.display("")
    }

    /// The array that an ingest would write at a path.
    pub(crate) fn array(&self, path: &str) -> Option<&Stored> {
        self.arrays.get(path)
    }

    /// The array at a path of the store.
    pub(crate) fn array_at(&self, path: &str) -> Option<&Stored> {
        self.arrays.values().find(|stored| stored.path == path)
    }

    /// All arrays, by the paths that an ingest would give them.
    pub(crate) fn arrays(&self) -> impl Iterator<Item = (&String, &Stored)> {
        self.arrays.iter()
    }

    /// Whether there is a group where an ingest would write one.
    pub(crate) fn has_group(&self, path: &str) -> bool {
        self.groups.contains_key(path)
    }

    /// Whether it has the same members as another.
    pub(crate) fn has_members_of(&self, other: &Self) -> bool {
        self.groups == other.groups && self.arrays.keys().eq(other.arrays.keys())
    }

    /// What the index of a data frame was called in pandas.
    pub(crate) fn index_name(&self, stored: &Stored) -> Result<Option<String>> {
        let frame = Object::open(Arc::clone(&self.store), &stored.path, u64::MAX)?;
        let json = frame.metadata().get(keys::INDEX_NAME).and_then(|value| value.as_str());
        Ok(json.and_then(|json| serde_json::from_str::<Option<String>>(json).ok()?))
    }

    /// Where in the store an object is, or would be that the ingest of this name makes: in a folder of its own, where
    /// the usual one has what a member had that was removed or renamed.
    ///
    /// # Errors
    /// Those of listing.
    pub(crate) fn place(&self, path: &str, uuid: &str) -> Result<String> {
        if let Some(found) = self.groups.get(path) {
            return Ok(found.clone());
        }
        if let Some(found) = self.arrays.get(path) {
            return Ok(found.path.clone());
        }
        let Some((parent, name)) = path.rsplit_once('/') else { return Ok(path.to_owned()) };
        let usual = join(&self.place(parent, uuid)?, name);
        Ok(match self.is_taken(&usual, uuid)? {
            true => format!("{usual}-{uuid}"),
            false => usual,
        })
    }

    /// Whether a folder has anything of an object that the ingest of this name has not written.
    fn is_taken(&self, path: &str, uuid: &str) -> Result<bool> {
        if self.store.list(path)?.is_empty() {
            return Ok(false);
        }
        for folder in ["__schema", "__group", "__meta", "__fragments"] {
            let found = self.store.list(&join(path, folder))?;
            let is_foreign = |name: &str| name != "__enumerations" && !name.contains(uuid);
            if found.iter().any(|entry| is_foreign(&entry.name)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// For each array the files that decide what it is.
    pub(crate) fn deciding_files(&self) -> BTreeMap<String, Vec<String>> {
        let files = |stored: &Stored| (stored.path.clone(), stored.files.clone());
        self.arrays.values().map(files).collect()
    }
}

impl Stored {
    /// Fails where it is no array of SOMA's that cells can be appended to.
    pub(crate) fn check(&self, dimensions: usize) -> Result<()> {
        let schema = self.array.schema();
        let expected = |index: usize| match dimensions {
            1 => layout::JOIN_ID.to_owned(),
            _ => layout::dimension_name(index),
        };
        let found: Vec<&str> = schema.dimensions.iter().map(|d| d.name.as_str()).collect();
        let wanted: Vec<String> = (0..dimensions).map(expected).collect();
        let fault = if !self.array.is_sparse() {
            "a dense array; files are appended to sparse ones only".to_owned()
        } else if found != wanted {
            format!("the dimensions {}", found.join(", "))
        } else if !schema.dimensions.iter().all(|d| d.signed_tiling().is_some()) {
            "dimensions that are no 64-bit integers with tiles".to_owned()
        } else if dimensions > 1
            && (schema.tile_order, schema.cell_order) != (Layout::RowMajor, Layout::RowMajor)
        {
            "cells in another order than row by row".to_owned()
        } else {
            return Ok(());
        };
        let message = format!("expected a sparse array of {}, found {fault}", wanted.join(" x "));
        Err(Error::Conflict { object: self.array.display(), message })
    }

    /// The columns of a data frame, without the join ids.
    pub(crate) fn columns(&self) -> Vec<StoredColumn> {
        let schema = self.array.schema();
        let columns = schema.attributes.iter().map(|attribute| {
            let fields = self.array.arrow_schema();
            let field = fields.field_with_name(&attribute.name).cloned();
            let field = field
                .unwrap_or_else(|_| Field::new(&attribute.name, DataType::Null, true))
                .with_nullable(attribute.nullable);
            StoredColumn {
                field,
                categories: self.array.enumeration(&attribute.name).cloned(),
                enumeration: attribute.enumeration.clone(),
            }
        });
        columns.collect()
    }

    /// The type of an n-dimensional array's values.
    pub(crate) fn data_type(&self) -> Option<DataType> {
        let (_, attribute) = self.array.schema().attribute(layout::DATA)?;
        arrow_type(attribute.datatype, attribute.is_var()).ok()
    }

    /// The join id behind the last one that was ever given; those of deleted rows are not given again.
    pub(crate) fn next_id(&self) -> u64 {
        self.array
            .used_range()
            .map_or(0, |(_, high)| high.max(-1).unsigned_abs() + u64::from(high >= 0))
    }

    /// Gives ids and join ids of a data frame, some rows at a time.
    pub(crate) fn each_id(
        &self,
        column: &str,
        mut take_ids: impl FnMut(&LargeStringArray, &[i64]) -> Result<()>,
    ) -> Result<()> {
        let arrow = |source| {
            Error::Soma(vacuole_soma::Error::Arrow { object: self.array.display(), source })
        };
        let options = SparseReadOptions::columns(&[layout::JOIN_ID, column]);
        for batch in self.array.read_sparse(&options)? {
            let batch = batch?;
            let join_ids = batch.column_by_name(layout::JOIN_ID);
            let join_ids = join_ids.and_then(|ids| ids.as_primitive_opt::<Int64Type>());
            let Some((join_ids, values)) = join_ids.zip(batch.column_by_name(column)) else {
                continue;
            };
            let values = match values.as_any_dictionary_opt() {
                Some(coded) => take(coded.values(), coded.keys(), None).map_err(arrow)?,
                None => Arc::clone(values),
            };
            let Some(ids) = values.as_string_opt::<i64>() else {
                let message =
                    format!("expected ids as text in '{column}', found {}", values.data_type());
                return Err(Error::Conflict { object: self.array.display(), message });
            };
            take_ids(ids, join_ids.values())?;
        }
        Ok(())
    }

    /// Its schema with at least so many coordinates in each dimension. `None` is as many as there are.
    ///
    /// # Errors
    /// [`Error::Conflict`] where there is no room for so many.
    pub(crate) fn grown(&self, lengths: &[Option<u64>]) -> Result<ArraySchema> {
        let mut schema = (**self.array.schema()).clone();
        for (index, length) in lengths.iter().enumerate() {
            let Some(length) = length.filter(|&length| length > 0) else { continue };
            let last = i64::try_from(length).unwrap_or(i64::MAX) - 1;
            let domain = schema.dimensions.get(index).and_then(|d| d.domain.as_ref()?.as_signed());
            if domain.is_some_and(|(_, high)| high < last) {
                let high = domain.map_or(0, |(_, high)| high);
                let message = format!(
                    "expected room for {length} coordinates in dimension {index}, found an end at {high}; ingest into \
                     another experiment"
                );
                return Err(Error::Conflict { object: self.array.display(), message });
            }
            let current = schema.current_domain.as_mut().and_then(|ranges| ranges.get_mut(index));
            if let Some(Range::Signed(_, high)) = current {
                *high = last.max(*high);
            }
        }
        Ok(schema)
    }
}
