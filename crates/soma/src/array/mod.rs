//! Stored TileDB arrays: opened as of a time, read as Arrow.

mod arrow_types;
mod commits;
mod coordinates;
mod dense;
mod dense_cells;
mod fetch;
mod fragment;
mod held;
mod rows;
mod selection;
mod skipped;
mod sparse;
pub(crate) mod verify;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_schema::{Field, Schema, SchemaRef};
use vacuole_store::{Store, join};
use vacuole_tiledb::fragment::METADATA_FILE;
use vacuole_tiledb::schema::{ArraySchema, ArrayType, Enumeration, Range};
use vacuole_tiledb::{Condition, Period, TimestampedName};

pub use arrow_types::{DATATYPE, arrow_type, cell_type, stored_type};
pub use dense::DenseBlock;
pub use dense_cells::DenseRead;
pub use rows::{RowCells, RowRead, RowRun};
pub use selection::Selection;
pub use skipped::Within;
pub use sparse::{SparseRead, SparseReadOptions};

use crate::error::{Error, ErrorKind, InObject, Result};
use crate::{notices, private};
use commits::read_commits_of;
pub(crate) use commits::{read_commits, read_files as read_commit_files};
pub(crate) use fragment::{Fragment, RawCells};

/// The folders of an array.
pub(crate) const SCHEMA_FOLDER: &str = "__schema";
pub(crate) const ENUMERATION_FOLDER: &str = "__schema/__enumerations";
pub(crate) const COMMIT_FOLDER: &str = "__commits";
pub(crate) const FRAGMENT_FOLDER: &str = "__fragments";
pub(crate) const METADATA_FOLDER: &str = "__meta";

/// What the unique part of the name of a fragment begins with that this program has joined of fragments none of which
/// has a cell of another. It has times of cells, and no cell twice all the same.
pub(crate) const APART: &str = "apart-";

/// What the dimensions begin with that are corners of rectangles around shapes, and the column of the shapes.
const CORNER: &str = "tiledb__internal__";
const SHAPES: &str = "soma_geometry";

/// A delete: cells written at `at` or before stay only where `keep` holds.
#[derive(Clone, Debug)]
pub(crate) struct Delete {
    pub(crate) marker: String,
    pub(crate) at: u64,
    pub(crate) keep: Condition,
}

/// The folder of a fragment of the array at `path`.
pub fn fragment_path(path: &str, name: &TimestampedName) -> String {
    join(&join(path, FRAGMENT_FOLDER), &name.to_string())
}

/// An array as it was at one time, or what was written to it within a period.
#[derive(Clone, Debug)]
pub struct Array {
    store: Arc<dyn Store>,
    path: String,
    period: Period,
    schema_name: String,
    schema: Arc<ArraySchema>,
    enumerations: BTreeMap<String, (Enumeration, ArrayRef)>,
    arrow: SchemaRef,
    fragments: Vec<Arc<Fragment>>,
    deletes: Vec<Delete>,
}

impl Array {
    /// Whether there is an array at `path`.
    pub fn exists(store: &dyn Store, path: &str) -> Result<bool> {
        Ok(!store.list(&join(path, SCHEMA_FOLDER))?.is_empty())
    }

    /// Opens the array at `path` as it was at a time, in milliseconds since 1970; `u64::MAX` is now. Of a period only what was
    /// written within it counts: cells and deletes; the schema is the one at its end.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) where there is none; [`Corrupt`](crate::ErrorKind::Corrupt) where
    /// what is stored cannot be decoded.
    pub fn open(store: Arc<dyn Store>, path: &str, period: impl Into<Period>) -> Result<Self> {
        let period = period.into();
        let shown = store.display(path);
        let (schemas, schema_name) = read_schemas(&*store, path, period.end)?;
        let schema = Arc::clone(&schemas[&schema_name]);
        let mut enumerations = BTreeMap::new();
        let folder = join(path, ENUMERATION_FOLDER);
        let objects: Vec<_> = schema.enumerations.iter().map(|(_, f)| join(&folder, f)).collect();
        let read = store.read_all(&objects)?;
        for (((name, _), object), bytes) in schema.enumerations.iter().zip(&objects).zip(&read) {
            let enumeration = Enumeration::read(bytes);
            let enumeration = enumeration.in_object(store.display(object))?;
            let values =
                arrow_types::enumeration_values(&enumeration).in_object(store.display(object))?;
            enumerations.insert(name.clone(), (enumeration, values));
        }
        let arrow = arrow_schema(&schema, &enumerations).in_object(&shown)?;
        let sparse = schema.array_type == ArrayType::Sparse;
        let commits = read_commits_of(&*store, path, period, sparse)?;
        let deletes = commits.deletes.into_iter().map(|delete| {
            let object = join(path, &delete.marker);
            let bytes = match delete.inline {
                Some(bytes) => bytes,
                None => store.read(&object)?,
            };
            let keep = Condition::read(&bytes).in_object(store.display(&object))?;
            Ok(Delete { marker: delete.marker, at: delete.at, keep })
        });
        let deletes = deletes.collect::<Result<Vec<_>>>()?;
        let fragments = match Fragment::open_all(&*store, path, &commits.fragments, &schemas) {
            // Others may have changed the columns since the schemas were listed: theirs was put before what they committed.
            Err(Error::Other { kind: ErrorKind::Corrupt, .. })
                if file_names(&*store, &join(path, SCHEMA_FOLDER))?
                    .iter()
                    .any(|name| !schemas.contains_key(name)) =>
            {
                return Self::open(store, path, period);
            }
            opened => opened?,
        };
        for fragment in &fragments {
            notices::version(&shown, fragment.metadata.footer.version);
        }
        Ok(Self {
            store,
            path: path.to_owned(),
            period,
            schema_name,
            schema,
            enumerations,
            arrow: Arc::new(arrow),
            fragments,
            deletes,
        })
    }

    /// The stored schema that is in force.
    pub fn schema(&self) -> &Arc<ArraySchema> {
        &self.schema
    }

    /// The file name of the schema that is in force.
    pub fn schema_name(&self) -> &str {
        &self.schema_name
    }

    /// The Arrow schema: dimensions, then attributes, in stored order.
    pub fn arrow_schema(&self) -> &SchemaRef {
        &self.arrow
    }

    /// The names of its columns as they are shown: dimensions, then attributes. The corners of the rectangles around shapes,
    /// by which TileDB-SOMA indexes them, are none, and the shapes stand in their place.
    pub fn columns(&self) -> Vec<&str> {
        let names = || self.arrow.fields().iter().map(|field| field.name().as_str());
        let corner = |name: &str| name.starts_with(CORNER);
        if !names().any(corner) {
            return names().collect();
        }
        let shapes = names().filter(|name| *name == SHAPES);
        shapes.chain(names().filter(|name| *name != SHAPES && !corner(name))).collect()
    }

    /// The full list of values of an enumerated column.
    pub fn enumeration(&self, column: &str) -> Option<&ArrayRef> {
        let (_, attribute) = self.schema.attribute(column)?;
        self.enumerations.get(attribute.enumeration.as_ref()?).map(|(_, values)| values)
    }

    /// The stored enumeration of a column.
    pub fn stored_enumeration(&self, column: &str) -> Option<&Enumeration> {
        let (_, attribute) = self.schema.attribute(column)?;
        self.enumerations.get(attribute.enumeration.as_ref()?).map(|(stored, _)| stored)
    }

    /// Whether it is sparse.
    pub fn is_sparse(&self) -> bool {
        self.schema.array_type == ArrayType::Sparse
    }

    /// The length of each dimension, as SOMA's `shape` gives it: the end of the current domain, or of the
    /// domain where an old array has none. `None` for a dimension that is no integer.
    pub fn shape(&self) -> Vec<Option<u64>> {
        let domain =
            |index: usize| self.schema.dimensions.get(index).and_then(|d| d.domain.clone());
        (0..self.schema.dimensions.len())
            .map(|index| {
                let current = self.schema.current_domain.as_ref();
                let range = current.and_then(|ranges| ranges.get(index).cloned());
                match range.or_else(|| domain(index)) {
                    Some(Range::Signed(_, high)) => u64::try_from(high).ok()?.checked_add(1),
                    Some(Range::Unsigned(_, high)) => high.checked_add(1),
                    _ => None,
                }
            })
            .collect()
    }

    /// The names of its committed fragments, oldest first.
    pub fn fragment_names(&self) -> impl Iterator<Item = &TimestampedName> {
        self.fragments.iter().map(|fragment| &fragment.name)
    }

    /// The time of the newest fragment, delete or schema, in milliseconds since 1970.
    pub fn last_change(&self) -> u64 {
        let schema = TimestampedName::parse(&self.schema_name).map_or(u64::MAX, |name| name.end);
        let fragments = self.fragments.iter().map(|fragment| fragment.name.end);
        let deletes = self.deletes.iter().map(|delete| delete.at);
        fragments.chain(deletes).fold(schema, u64::max)
    }

    /// The bytes that its committed fragments take up.
    pub fn stored_bytes(&self) -> u64 {
        self.fragments.iter().map(|fragment| fragment.stored_bytes()).sum()
    }

    /// How many cells are stored, counting every version of a cell and those deleted since.
    pub fn stored_cells(&self) -> u64 {
        self.fragments.iter().map(|fragment| fragment.metadata.cells()).sum()
    }

    /// The smallest range of the first dimension that holds every stored cell, where it is a signed integer.
    pub fn used_range(&self) -> Option<(i64, i64)> {
        let ranges = self.fragments.iter().filter_map(|fragment| {
            fragment.metadata.footer.non_empty_domain.as_ref()?.first()?.as_signed()
        });
        ranges.reduce(|(a, b), (c, d)| (a.min(c), b.max(d)))
    }

    /// Whether its stored data are covered by checksums throughout.
    pub fn is_checksummed(&self) -> bool {
        self.fragments.iter().all(|fragment| fragment.is_checksummed())
    }

    /// How many cells can be read, where every fragment stands alone, so that metadata say it.
    pub fn count_by_metadata(&self) -> Option<u64> {
        let alone = self.is_sparse()
            && self.deletes.is_empty()
            && !self.needs_merge()
            && !self.cuts_fragments()
            && self.fragments.iter().all(|f| !f.metadata.footer.has_delete_metadata)
            && self.fragments.iter().all(|f| self.is_inside_current_domain(f));
        alone.then(|| self.stored_cells())
    }

    /// How many cells can be read: from metadata where every fragment stands alone, else by reading.
    pub fn count(&self) -> Result<u64> {
        if let Some(cells) = self.count_by_metadata() {
            return Ok(cells);
        }
        let dimensions = self.schema.dimensions.iter().map(|d| d.name.as_str());
        let columns: Vec<&str> = dimensions.collect();
        let mut cells = 0;
        for batch in self.read_sparse(&SparseReadOptions::columns(&columns))? {
            cells += batch?.num_rows() as u64;
        }
        Ok(cells)
    }

    /// Its path in the store.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What an error or a message calls it.
    pub fn display(&self) -> String {
        self.store.display(&self.path)
    }

    /// The store it is in.
    pub(crate) fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Its committed fragments, oldest first.
    pub(crate) fn fragments(&self) -> &[Arc<Fragment>] {
        &self.fragments
    }

    /// Its deletes.
    pub(crate) fn deletes(&self) -> &[Delete] {
        &self.deletes
    }

    /// A digest of the names of its schema, fragments and deletes, which is another once anything is written to it.
    pub fn state(&self) -> String {
        let mut names = format!("{}\n", self.schema_name);
        for fragment in &self.fragments {
            names.push_str(&format!("{}\n", fragment.name));
            if !fragment.name.is_within(self.period.end) {
                names.push_str(&format!("until {}\n", self.period.end));
            }
            if fragment.name.start < self.period.start {
                names.push_str(&format!("from {}\n", self.period.start));
            }
        }
        for delete in &self.deletes {
            names.push_str(&format!("{}\n", delete.marker));
        }
        private::digest(names.as_bytes())
    }

    /// Whether a fragment has cells that were written at other times than this array is read of.
    pub(super) fn cuts_fragments(&self) -> bool {
        self.fragments.iter().any(|fragment| !fragment.name.is_of(self.period))
    }

    fn is_inside_current_domain(&self, fragment: &Fragment) -> bool {
        let Some(current) = &self.schema.current_domain else { return true };
        let Some(used) = &fragment.metadata.footer.non_empty_domain else { return true };
        used.iter().zip(current).all(|(used, current)| {
            let mut both = current.clone();
            both.cover(used);
            both == *current
        })
    }
}

/// Whether no cell can be in these fragments twice.
pub(crate) fn are_apart(fragments: &[Arc<Fragment>]) -> bool {
    if fragments.iter().any(|fragment| fragment.may_hold_versions()) {
        return false;
    }
    let used = |fragment: &Arc<Fragment>| fragment.metadata.footer.non_empty_domain.clone();
    let mut used: Vec<Vec<Range>> = fragments.iter().filter_map(used).collect();
    // Only those can touch whose ranges of the first dimension do; most arrays are written from end to end.
    let first = |ranges: &[Range]| ranges.first().and_then(Range::as_signed);
    used.sort_by_key(|ranges| first(ranges));
    used.iter().enumerate().all(|(index, left)| {
        let end = first(left).map(|(_, end)| end);
        let near = used
            .iter()
            .skip(index + 1)
            .take_while(|right| end.zip(first(right)).is_none_or(|(end, (start, _))| start <= end));
        let mut near = near;
        near.all(|right| !left.iter().zip(right).all(|(left, right)| left.intersects(right)))
    })
}

/// Reads every schema, and says which is in force at time `at`: the last by name among those that are old
/// enough, or the first where none is (libtiledb).
fn read_schemas(
    store: &dyn Store,
    path: &str,
    at: u64,
) -> Result<(BTreeMap<String, Arc<ArraySchema>>, String)> {
    let folder = join(path, SCHEMA_FOLDER);
    let mut schemas = BTreeMap::new();
    let names: Vec<String> = file_names(store, &folder)?;
    let objects: Vec<String> = names.iter().map(|name| join(&folder, name)).collect();
    for ((name, object), bytes) in names.into_iter().zip(&objects).zip(store.read_all(&objects)?) {
        let schema = ArraySchema::read(&bytes).in_object(store.display(object))?;
        schemas.insert(name, Arc::new(schema));
    }
    let mut in_force = None;
    for name in schemas.keys() {
        if TimestampedName::parse(name).in_object(store.display(&folder))?.is_within(at) {
            in_force = Some(name);
        }
    }
    match in_force.or_else(|| schemas.keys().next()).cloned() {
        Some(name) => Ok((schemas, name)),
        None => Err(Error::not_found(store.display(path), "expected a TileDB array, found none")),
    }
}

/// The small files that opening the array at `path` reads, and some more, in what is listed without requests.
pub(crate) fn files(store: &dyn Store, path: &str) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for folder in [SCHEMA_FOLDER, ENUMERATION_FOLDER, COMMIT_FOLDER] {
        let folder = join(path, folder);
        let mut names = file_names(store, &folder)?;
        names.retain(|name| {
            !name.ends_with(".wrt")
                && (name.starts_with('_') || vacuole_tiledb::needs_contents(name))
        });
        found.extend(names.iter().map(|name| join(&folder, name)));
    }
    let folder = join(path, FRAGMENT_FOLDER);
    for fragment in store.list(&folder)?.into_iter().filter(|entry| entry.is_folder) {
        found.push(join(&join(&folder, &fragment.name), METADATA_FILE));
    }
    Ok(found)
}

/// The data files of the array at `path` that are no larger than `each` bytes, in what is listed without requests; none
/// where they are more than `most` files.
pub(crate) fn data_files(
    store: &dyn Store,
    path: &str,
    each: u64,
    most: usize,
) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let folder = join(path, FRAGMENT_FOLDER);
    for fragment in store.list(&folder)?.into_iter().filter(|entry| entry.is_folder) {
        let folder = join(&folder, &fragment.name);
        let mut files = store.list(&folder)?;
        files.retain(|file| !file.is_folder && file.size <= each && file.name != METADATA_FILE);
        found.extend(files.iter().map(|file| join(&folder, &file.name)));
        if found.len() > most {
            return Ok(Vec::new());
        }
    }
    Ok(found)
}

/// The names of the objects directly in a folder.
pub(crate) fn file_names(store: &dyn Store, folder: &str) -> Result<Vec<String>> {
    let entries = store.list(folder)?.into_iter();
    Ok(entries.filter(|entry| !entry.is_folder).map(|entry| entry.name).collect())
}

fn arrow_schema(
    schema: &ArraySchema,
    enumerations: &BTreeMap<String, (Enumeration, ArrayRef)>,
) -> vacuole_tiledb::Result<Schema> {
    let dimensions = schema.dimensions.iter().map(arrow_types::dimension_field);
    let attributes = schema.attributes.iter().map(|attribute| {
        let enumeration = match &attribute.enumeration {
            None => None,
            Some(name) => Some(
                &enumerations
                    .get(name)
                    .ok_or_else(|| {
                        vacuole_tiledb::Error::corrupt(format!(
                            "attribute '{}': expected an enumeration '{name}', found none",
                            attribute.name
                        ))
                    })?
                    .0,
            ),
        };
        arrow_types::attribute_field(attribute, enumeration)
    });
    Ok(Schema::new(dimensions.chain(attributes).collect::<vacuole_tiledb::Result<Vec<Field>>>()?))
}
