//! Array schemas. What is read is written and read again.

use vacuole_tiledb::FORMAT_VERSION;
use vacuole_tiledb::fragment::{dense_tile_counts, space_tile_cells};
use vacuole_tiledb::schema::ArraySchema;

/// One input.
pub fn run(data: &[u8]) {
    crate::both(data, |bytes| {
        let Ok(schema) = ArraySchema::read(bytes) else { return };
        let _ = space_tile_cells(&schema);
        if let Some(region) = &schema.current_domain {
            let _ = dense_tile_counts(&schema, region);
        }
        for dimension in &schema.dimensions {
            let _ = dimension.signed_tiling();
        }
        for attribute in &schema.attributes {
            let _ = attribute.cell_size();
        }
        if let Ok(written) = schema.write() {
            let schema = ArraySchema { version: FORMAT_VERSION, ..schema };
            assert_eq!(ArraySchema::read(&written), Ok(schema));
        }
    });
}
