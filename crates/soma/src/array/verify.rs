//! Reading and checking everything that is stored of an array.

use arrow_array::Array as _;
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_schema::DataType;
use rayon::prelude::*;
use vacuole_tiledb::fragment::{Field, FieldFile};
use vacuole_tiledb::schema::Range;

use super::fragment::Fragment;
use super::{Array, arrow_types};
use crate::error::{Error, Result};

impl Array {
    /// Unfilters every tile of every field, which compares checksums, and checks what readers trust: that files
    /// end where the metadata say, and that the R-tree's rectangles hold their coordinates. Returns the stored
    /// bytes that were read, and what is wrong.
    pub fn verify(&self) -> (u64, Vec<Error>) {
        let checked: Vec<(u64, Vec<Error>)> =
            self.fragments.par_iter().map(|fragment| self.verify_fragment(fragment)).collect();
        let bytes = checked.iter().map(|(bytes, _)| bytes).sum();
        (bytes, checked.into_iter().flat_map(|(_, faults)| faults).collect())
    }

    fn verify_fragment(&self, fragment: &Fragment) -> (u64, Vec<Error>) {
        let fields: Vec<_> = fragment.metadata.stored_fields(&fragment.schema).collect();
        let mut faults = Vec::new();
        for &(field, number) in &fields {
            for file in [FieldFile::Fixed, FieldFile::Var, FieldFile::Validity] {
                faults.extend(self.check_size(fragment, field, number, file).err());
            }
        }
        let tiles: Vec<(Field, u64)> = fields
            .iter()
            .flat_map(|&(field, _)| (0..fragment.metadata.tiles).map(move |tile| (field, tile)))
            .collect();
        let found: Vec<Error> = tiles
            .par_iter()
            .filter_map(|&(field, tile)| self.check_tile(fragment, field, tile).err())
            .collect();
        faults.extend(found);
        (fragment.stored_bytes(), faults)
    }

    fn check_size(
        &self,
        fragment: &Fragment,
        field: Field,
        number: usize,
        file: FieldFile,
    ) -> Result<()> {
        let expected = fragment.metadata.file_size(number, file);
        let object = fragment.object(field, file);
        match self.store.size(&object)? {
            None if expected == 0 => Ok(()),
            Some(found) if found == expected => Ok(()),
            found => Err(Error::corrupt(
                self.store.display(&object),
                format!(
                    "expected {expected} bytes, found {}",
                    found.map_or("none".to_owned(), |n| n.to_string())
                ),
            )),
        }
    }

    fn check_tile(&self, fragment: &Fragment, field: Field, tile: u64) -> Result<()> {
        let schema = &fragment.schema;
        let data_type = match field {
            Field::Attribute(index) => schema
                .attributes
                .get(index)
                .and_then(|a| arrow_types::arrow_type(a.datatype, a.is_var()).ok()),
            Field::Dimension(index) => schema
                .dimensions
                .get(index)
                .and_then(|d| arrow_types::arrow_type(d.datatype, d.var).ok()),
            _ => Some(DataType::UInt64),
        };
        let Some(data_type) = data_type else {
            return fragment.read_cells(&*self.store, field, tile).map(|_| ());
        };
        let column = fragment.read_column(&*self.store, field, tile, &data_type)?;
        let Field::Dimension(index) = field else { return Ok(()) };
        let bounds = fragment.metadata.rtree.leaves().get(tile as usize);
        let bounds = bounds.and_then(|bounds| bounds.get(index)).and_then(Range::as_signed);
        let coordinates = column.as_primitive_opt::<Int64Type>();
        if let (Some((low, high)), Some(coordinates)) = (bounds, coordinates) {
            let outside = coordinates.values().iter().find(|&&c| c < low || c > high);
            if let Some(outside) = outside {
                return Err(Error::corrupt(
                    self.store.display(&fragment.object(field, FieldFile::Fixed)),
                    format!(
                        "tile {tile}: expected coordinates of {low} to {high}, found {outside}"
                    ),
                ));
            }
        }
        debug_assert_eq!(column.len() as u64, fragment.metadata.tile_cells(tile));
        Ok(())
    }
}
