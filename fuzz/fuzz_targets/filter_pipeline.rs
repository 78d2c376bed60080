//! A pipeline and a tile that it is to decode.
//!
//! Version, datatype and values per cell are a byte each; the pipeline is the first piece behind them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vacuole_tiledb::bytes::Cursor;
use vacuole_tiledb::filter::{CellShape, FilterPipeline};
use vacuole_tiledb::{Datatype, FORMAT_VERSION, OLDEST_READ_VERSION};

/// The most bytes of a tile.
const LIMIT: usize = 1 << 16;

fuzz_target!(|data: &[u8]| {
    let Some((&[version, datatype, values], rest)) = data.split_first_chunk::<3>() else { return };
    let versions = FORMAT_VERSION - OLDEST_READ_VERSION + 1;
    let version = OLDEST_READ_VERSION + u32::from(version) % versions;
    let datatype = Datatype::ALL[usize::from(datatype) % Datatype::ALL.len()];
    let cell_size = datatype.size() * usize::from(values);
    let Some(pipeline) = vacuole_fuzz::pieces(rest).next() else { return };
    let tile = &rest[2 + pipeline.len()..];
    let Ok(filters) = FilterPipeline::read(&mut Cursor::new(pipeline), version) else { return };
    // As long as a schema's pipeline could ever be; the decoder's work is proportional to it.
    if filters.filters.len() > 8 {
        return;
    }
    let shape = CellShape { datatype, cell_size, version };
    if let Ok(bytes) = filters.decode_tile(tile, &shape, LIMIT) {
        assert!(bytes.len() <= LIMIT);
    }
    if let Ok((bytes, offsets)) = filters.decode_var_tile(tile, &shape, LIMIT) {
        assert!(bytes.len() <= LIMIT);
        if let Some(offsets) = offsets {
            assert!(offsets.is_sorted());
            assert!(offsets.last().is_none_or(|&last| last <= bytes.len() as u64));
        }
    }
});
