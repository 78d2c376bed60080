//! Reading and checking everything that is stored in a fragment.

use std::sync::{Mutex, PoisonError};

use arrow_array::{Array as _, ArrayRef};
use arrow_schema::DataType;
use rayon::prelude::*;
use vacuole_store::{Store, join};
use vacuole_tiledb::TimestampedName;
use vacuole_tiledb::fragment::{Field, FieldData, FieldFile, METADATA_FILE, StoredStatistics};
use vacuole_tiledb::schema::Range;

use super::fragment::{Fragment, RawCells};
use super::{Array, arrow_types, coordinates};
use crate::error::{Error, InObject, Result};
use crate::verify::{Finding, IdSet};

/// The most findings that are told of one fragment.
const MOST_TOLD: usize = 100;

/// What is checked beside a fragment's own data.
#[derive(Debug, Default)]
pub(crate) struct Against<'a> {
    /// The array as it is now, where it can be opened: its shape, and its categories.
    pub(crate) array: Option<&'a Array>,
    /// Whether to tell which coordinates there are, by dimension.
    pub(crate) coordinates: bool,
}

/// What was found in a fragment.
#[derive(Debug, Default)]
pub(crate) struct CheckedFragment {
    /// Stored bytes that were read.
    pub(crate) bytes: u64,
    pub(crate) faults: Vec<Finding>,
    /// The coordinates on each dimension that is a signed integer, where they were asked for.
    pub(crate) coordinates: Vec<IdSet>,
    /// Whether all that the metadata file says is checksummed, or compared with data that are.
    pub(crate) metadata_covered: bool,
}

impl Array {
    /// Unfilters every tile of every field that readers see, which compares checksums, and compares what the metadata say
    /// with it. Returns the stored bytes that were read, and what is wrong.
    pub fn verify(&self) -> (u64, Vec<Finding>) {
        let against = Against { array: Some(self), coordinates: false };
        let check = |fragment: &std::sync::Arc<Fragment>| {
            check_fragment(&*self.store, &self.path, fragment, &against)
        };
        let checked: Vec<CheckedFragment> = self.fragments.par_iter().map(check).collect();
        let bytes = checked.iter().map(|checked| checked.bytes).sum();
        (bytes, checked.into_iter().flat_map(|checked| checked.faults).collect())
    }
}

/// Reads all of a fragment of the array at `path`.
pub(crate) fn check_fragment(
    store: &dyn Store,
    path: &str,
    fragment: &Fragment,
    against: &Against<'_>,
) -> CheckedFragment {
    let check = Check {
        store,
        shown: store.display(path),
        fragment,
        against,
        statistics: None,
        coordinates: fragment.schema.dimensions.iter().map(|_| Mutex::default()).collect(),
    };
    check.run()
}

/// Whether the files of a fragment are as long as its metadata say.
///
/// # Errors
/// [`Corrupt`](crate::ErrorKind::Corrupt) for the first that is not.
pub(crate) fn is_whole(store: &dyn Store, fragment: &Fragment) -> Result<()> {
    let mut fields = fragment.metadata.stored_fields(&fragment.schema);
    fields.try_for_each(|(field, number)| check_sizes(store, fragment, field, number))
}

fn check_sizes(store: &dyn Store, fragment: &Fragment, field: Field, number: usize) -> Result<()> {
    for file in [FieldFile::Fixed, FieldFile::Var, FieldFile::Validity] {
        let expected = fragment.metadata.file_size(number, file);
        let object = fragment.object(field, file);
        match store.size(&object)? {
            None if expected == 0 => {}
            Some(found) if found == expected => {}
            found => {
                let found = found.map_or("none".to_owned(), |n| n.to_string());
                let message = format!("expected {expected} bytes, found {found}");
                return Err(Error::corrupt(store.display(&object), message));
            }
        }
    }
    Ok(())
}

struct Check<'a> {
    store: &'a dyn Store,
    shown: String,
    fragment: &'a Fragment,
    against: &'a Against<'a>,
    statistics: Option<StoredStatistics>,
    coordinates: Vec<Mutex<IdSet>>,
}

impl Check<'_> {
    fn run(mut self) -> CheckedFragment {
        let fragment = self.fragment;
        let mut faults = Vec::new();
        let metadata = join(fragment.folder(), METADATA_FILE);
        let covered = self.check_metadata(&metadata, &mut faults);
        let fields: Vec<_> = fragment.metadata.stored_fields(&fragment.schema).collect();
        for &(field, number) in &fields {
            if let Err(error) = check_sizes(self.store, fragment, field, number) {
                faults.push(self.of(&error).field(self.field_name(field)));
            }
        }
        for &(field, number) in &fields {
            // Tiles of one field at a time, so that no list is longer than the metadata.
            let found: Vec<Finding> = (0..fragment.metadata.tiles)
                .into_par_iter()
                .filter_map(|tile| {
                    let found = self.check_tile(field, number, tile);
                    let finding = match found {
                        Ok(None) => return None,
                        Ok(Some(message)) => self.finding(message),
                        Err(error) => self.of(&error),
                    };
                    Some(finding.field(self.field_name(field)).tile(tile))
                })
                .take_any(MOST_TOLD)
                .collect();
            faults.extend(found);
        }
        faults.truncate(MOST_TOLD);
        let inner = |set: Mutex<IdSet>| set.into_inner().unwrap_or_else(PoisonError::into_inner);
        CheckedFragment {
            bytes: fragment.stored_bytes(),
            metadata_covered: covered && fragment.is_checksummed() && faults.is_empty(),
            faults,
            coordinates: self.coordinates.into_iter().map(inner).collect(),
        }
    }

    fn finding(&self, message: impl Into<String>) -> Finding {
        Finding::new(&*self.shown, message).fragment(&self.fragment.name)
    }

    fn of(&self, error: &Error) -> Finding {
        Finding::of(&*self.shown, error).fragment(&self.fragment.name)
    }

    fn field_name(&self, field: Field) -> String {
        let schema = &self.fragment.schema;
        let name = match field {
            Field::Attribute(index) => schema.attributes.get(index).map(|a| a.name.clone()),
            Field::Dimension(index) => schema.dimensions.get(index).map(|d| d.name.clone()),
            _ => None,
        };
        name.unwrap_or_else(|| field.file_stem())
    }

    /// What the metadata say of the fragment as a whole. Returns whether every byte of them is covered.
    fn check_metadata(&mut self, object: &str, faults: &mut Vec<Finding>) -> bool {
        let fragment = self.fragment;
        let shown = self.store.display(object);
        let read = self.store.read(object).map_err(Error::from).and_then(|file| {
            let schema = &fragment.schema;
            let statistics = StoredStatistics::read(&file, schema, &fragment.metadata);
            let covered = fragment.metadata.is_covered(&file, schema).in_object(&shown)?;
            Ok((statistics.in_object(&shown)?, covered))
        });
        let covered = match read {
            Ok((statistics, covered)) => {
                let is_joined = fragment.name.start != fragment.name.end;
                self.statistics = Some(match is_joined && !fragment.is_checksummed() {
                    true => statistics.extremes_only(),
                    false => statistics,
                });
                covered
            }
            Err(error) => {
                faults.push(self.of(&error));
                false
            }
        };
        let footer = &fragment.metadata.footer;
        if let Some(version) = fragment.name.version.filter(|&version| version != footer.version) {
            let message = format!(
                "{shown}: expected format {version}, as its name says, found {}",
                footer.version
            );
            faults.push(self.finding(message));
        }
        if let Err(error) = fragment.metadata.rtree.check().in_object(&shown) {
            faults.push(self.of(&error));
        }
        if !footer.dense {
            let around = fragment.metadata.rtree.around();
            if around != footer.non_empty_domain {
                let told = |ranges: &Option<Vec<Range>>| match ranges {
                    Some(ranges) => {
                        ranges.iter().map(ToString::to_string).collect::<Vec<_>>().join(" x ")
                    }
                    None => "nothing".to_owned(),
                };
                let message = format!(
                    "{shown}: expected cells within {}, as its R-tree says, found {} in the footer",
                    told(&around),
                    told(&footer.non_empty_domain)
                );
                faults.push(self.finding(message));
            }
            let current =
                self.against.array.and_then(|array| array.schema().current_domain.clone());
            for (index, (used, current)) in
                footer.non_empty_domain.iter().flatten().zip(current.iter().flatten()).enumerate()
            {
                let mut both = current.clone();
                both.cover(used);
                if both != *current {
                    let message = format!(
                        "expected coordinates within {current}, the shape of the array, found {used}: \
                         readers do not see cells outside of it"
                    );
                    let remedy =
                        "make the shape larger, or delete these cells and write them again";
                    let field = self.field_name(Field::Dimension(index));
                    faults.push(self.finding(message).field(field).remedy(remedy));
                }
            }
        }
        let Some(statistics) = &self.statistics else { return false };
        for (field, number) in fragment.metadata.stored_fields(&fragment.schema) {
            let tiles = fragment.metadata.tiles;
            let cells = |tile| fragment.metadata.tile_cells(tile);
            if let Some(message) =
                statistics.total_differs(&fragment.schema, field, number, tiles, cells)
            {
                let message = format!("{shown}: of the whole fragment: {message}");
                faults.push(self.finding(message).field(self.field_name(field)));
            }
        }
        covered
    }

    /// What is wrong with a tile that can be read, if anything is.
    fn check_tile(&self, field: Field, number: usize, tile: u64) -> Result<Option<String>> {
        let fragment = self.fragment;
        let schema = &fragment.schema;
        let raw = fragment.read_cells(self.store, field, tile)?;
        let RawCells { data, offsets, validity } = &raw;
        if let Some(statistics) = &self.statistics {
            let offsets = offsets.as_deref();
            let rises = offsets.is_none_or(|offsets| {
                offsets.is_sorted() && offsets.last().is_none_or(|&last| last <= data.len() as u64)
            });
            let cells = FieldData { data, offsets, validity: validity.as_deref() };
            // Where they do not rise, the cells cannot be made of them, which is told below.
            if rises {
                let object = self.store.display(&join(fragment.folder(), METADATA_FILE));
                let differs = statistics.differs(schema, field, number, tile, &cells);
                if let Some(message) = differs.in_object(&object)? {
                    return Ok(Some(format!("{object}: {message}")));
                }
            }
        }
        let data_type = match field {
            Field::Attribute(index) => {
                schema.attributes.get(index).and_then(|a| arrow_types::cell_type(a).ok())
            }
            Field::Dimension(index) => schema
                .dimensions
                .get(index)
                .and_then(|d| arrow_types::arrow_type(d.datatype, d.var).ok()),
            _ => Some(DataType::UInt64),
        };
        let Some(data_type) = data_type else { return Ok(None) };
        let object = self.store.display(&fragment.object(field, FieldFile::Fixed));
        if field == Field::Timestamps {
            let TimestampedName { start, end, .. } = fragment.name;
            let times = vacuole_tiledb::bytes::u64s_from_le(&raw.data);
            let other = times.iter().find(|time| !(start..=end).contains(time));
            return Ok(other.map(|time| {
                format!("{object}: expected times of {start} to {end}, as the fragment's name says, found {time}")
            }));
        }
        let column = arrow_types::cells(&data_type, raw.data, raw.offsets, raw.validity)
            .in_object(&object)?;
        match field {
            Field::Attribute(index) => self.check_codes(index, &column).in_object(&object)?,
            Field::Dimension(index) => {
                return Ok(self.check_coordinates(index, tile, &column, &object));
            }
            _ => {}
        }
        Ok(None)
    }

    /// Codes must stand for one of the categories that there are now.
    fn check_codes(&self, index: usize, codes: &ArrayRef) -> vacuole_tiledb::Result<()> {
        let Some(array) = self.against.array else { return Ok(()) };
        let Some(attribute) = self.fragment.schema.attributes.get(index) else { return Ok(()) };
        let Some((_, now)) = array.schema().attribute(&attribute.name) else { return Ok(()) };
        let Some(values) = array.enumeration(&attribute.name) else { return Ok(()) };
        if now.datatype != attribute.datatype || attribute.enumeration.is_none() {
            return Ok(());
        }
        arrow_types::dictionary(codes, values).map(|_| ())
    }

    /// Coordinates must lie in the rectangle of their tile, by which readers find it.
    fn check_coordinates(
        &self,
        index: usize,
        tile: u64,
        column: &ArrayRef,
        object: &str,
    ) -> Option<String> {
        if self.against.coordinates
            && let (Some(ids), Some(set)) =
                (coordinates::signed(column), self.coordinates.get(index))
        {
            let mut found = IdSet::default();
            found.extend(&ids);
            set.lock().unwrap_or_else(PoisonError::into_inner).absorb(&found);
        }
        let bounds = self.fragment.metadata.rtree.leaves().get(usize::try_from(tile).ok()?)?;
        let bounds = bounds.get(index)?;
        let inside = coordinates::inside(column, bounds)?;
        let outside = (0..inside.len()).find(|&cell| !inside.value(cell))?;
        let shown = arrow_value(column, outside);
        Some(format!(
            "{object}: expected coordinates of {bounds}, the rectangle of the tile, found {shown}: readers that look \
             for it do not find it"
        ))
    }
}

/// A value as people read it.
fn arrow_value(column: &ArrayRef, row: usize) -> String {
    let value = column.slice(row, 1);
    // `Type<...>\n[\n  value,\n]`.
    let text = format!("{value:?}");
    let line = text.lines().skip_while(|line| *line != "[").nth(1);
    line.map_or_else(|| text.clone(), |line| line.trim().trim_end_matches(',').to_owned())
}
