//! A pipeline and a tile that it is to decode.
//!
//! Version, datatype and values per cell are a byte each; the pipeline is the first piece behind them.

use vacuole_tiledb::bytes::Cursor;
use vacuole_tiledb::filter::{CellShape, Filter, FilterPipeline};
use vacuole_tiledb::{Datatype, FORMAT_VERSION, OLDEST_READ_VERSION};

/// The most bytes of a tile.
const LIMIT: usize = 1 << 16;

/// One input.
pub fn run(data: &[u8]) {
    let Some((&[version, datatype, values], rest)) = data.split_first_chunk::<3>() else { return };
    let versions = FORMAT_VERSION - OLDEST_READ_VERSION + 1;
    let version = OLDEST_READ_VERSION + u32::from(version) % versions;
    let datatype = Datatype::ALL[usize::from(datatype) % Datatype::ALL.len()];
    let cell_size = datatype.size() * usize::from(values);
    let Some(pipeline) = crate::pieces(rest).next() else { return };
    let tile = &rest[2 + pipeline.len()..];
    let Ok(filters) = FilterPipeline::read(&mut Cursor::new(pipeline), version) else { return };
    // As long as a schema's pipeline could ever be; the decoder's work is proportional to it.
    if filters.filters.len() > 8 {
        return;
    }
    let shape = CellShape { datatype, cell_size, version };
    if let Ok(bytes) = filters.decode_tile(tile, &shape, LIMIT) {
        assert!(bytes.len() <= LIMIT);
        let chunks = filters.decode_chunks(tile, &shape, bytes.len());
        let chunks = chunks.and_then(|chunks| chunks.collect::<Result<Vec<_>, _>>());
        match bytes.len() % cell_size.max(1) {
            0 => assert_eq!(chunks.map(|chunks| chunks.concat()), Ok(bytes)),
            _ => assert!(chunks.is_err()),
        }
    }
    picked(&filters, tile, &shape);
    encoded(&filters, tile, &shape);
    if let Ok((bytes, offsets)) = filters.decode_var_tile(tile, &shape, LIMIT) {
        assert!(bytes.len() <= LIMIT);
        if let Some(offsets) = offsets {
            assert!(offsets.is_sorted());
            assert!(offsets.last().is_none_or(|&last| last <= bytes.len() as u64));
        }
    }
}

/// What a pipeline makes of bytes, it reads again; bytes that it cannot take, it refuses.
fn encoded(filters: &FilterPipeline, cells: &[u8], shape: &CellShape) {
    // Of numbers this filter keeps so much as its scale says.
    if filters.filters.iter().any(|filter| matches!(filter, Filter::ScaleFloat { .. })) {
        return;
    }
    let cells = &cells[..cells.len().min(LIMIT)];
    if let Ok(stored) = filters.encode_tile(cells, shape) {
        assert_eq!(filters.decode_tile(&stored, shape, cells.len()).as_deref(), Ok(cells));
    }
    // Cells of the lengths that the bytes themselves say.
    let mut offsets = vec![0];
    let mut end = 0;
    for length in cells.iter().map(|byte| usize::from(byte % 8)) {
        end += length;
        if end > cells.len() {
            break;
        }
        offsets.push(end as u64);
    }
    if let Ok(stored) = filters.encode_var_tile(cells, &offsets, shape) {
        let read = filters.decode_var_tile(&stored, shape, cells.len());
        let (bytes, found) = read.unwrap_or_else(|error| panic!("what was encoded: {error}"));
        assert_eq!(bytes, cells);
        if let Some(found) = found {
            assert_eq!(found, offsets);
        }
    }
}

/// What is picked of a tile is what the whole of it has.
fn picked(filters: &FilterPipeline, tile: &[u8], shape: &CellShape) {
    let size = shape.cell_size.max(1);
    let whole = filters.decode_tile(tile, shape, LIMIT).ok();
    let cells = whole.as_ref().map_or(100, |bytes| bytes.len() / size);
    let whole = whole.filter(|bytes| bytes.len() == cells * size);
    let ranges = [0..cells / 3, cells / 2..cells];
    let ranges: Vec<_> = ranges.into_iter().filter(|range| !range.is_empty()).collect();
    let mut found = Vec::new();
    if filters.pick(tile, shape, cells, &ranges, &mut found).is_ok()
        && let Some(whole) = &whole
    {
        let wanted = ranges.iter().flat_map(|range| &whole[range.start * size..range.end * size]);
        assert!(found.iter().eq(wanted));
    }
    if shape.cell_size != 8 {
        return;
    }
    let values = |bytes: &[u8]| -> Vec<i64> {
        bytes.as_chunks().0.iter().map(|bytes| i64::from_le_bytes(*bytes)).collect()
    };
    let (mut runs, mut words) = (Vec::new(), Vec::new());
    let each = |value, length| runs.extend(std::iter::repeat_n(value, length));
    let looked = filters.runs(tile, shape, cells, each).is_ok();
    if let (true, Some(whole)) = (looked, &whole) {
        assert_eq!(runs, values(whole));
    }
    let looked = filters.low_words(tile, shape, cells, &ranges, &mut words).is_ok();
    if let (true, Some(whole)) = (looked, &whole) {
        let values = values(whole);
        let wanted = ranges.iter().flat_map(|range| &values[range.clone()]);
        assert!(words.into_iter().eq(wanted.map(|&value| value as u32)));
    }
}
