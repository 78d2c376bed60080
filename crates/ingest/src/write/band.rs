//! Cells of a matrix, put into the global order of the array.
//!
//! The global order is row-major over space tiles, then row-major over the cells of one. A band is all rows of
//! one row of space tiles, so that bands follow one another in the order.

/// Cells of a matrix: coordinates, and the bytes of their values.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Cells {
    pub(crate) rows: Vec<i64>,
    pub(crate) columns: Vec<i64>,
    pub(crate) values: Vec<u8>,
}

impl Cells {
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }
}

/// Rows in compressed form: where each begins, the columns and the values' bytes.
pub(crate) struct Compressed<'a> {
    /// The number of the first row.
    pub(crate) first_row: u64,
    /// One more than there are rows; they begin at the first entry's value.
    pub(crate) indptr: &'a [u64],
    pub(crate) columns: &'a [u32],
    pub(crate) values: &'a [u8],
    /// The bytes of one value.
    pub(crate) size: usize,
}

/// What ordering found.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    /// Entries that were added to another of the same row and column.
    pub(crate) duplicates: u64,
}

/// Adds the second value to the first, as scipy does with entries of the same place.
pub(crate) type Add = fn(&mut [u8], &[u8]);

/// Orders the compressed rows of a band: by space tile of `extent` columns, then by row, then by column.
/// Entries of the same row and column become one.
pub(crate) fn order(band: &Compressed<'_>, extent: u64, width: u64, add: Add) -> (Cells, Found) {
    let base = band.indptr.first().copied().unwrap_or(0);
    let tiles = width.div_ceil(extent).max(1) as usize;
    let tile_of = |column: u32| (u64::from(column) / extent) as usize;
    // How many cells each space tile gets, and so where its cells begin.
    let mut next = vec![0usize; tiles + 1];
    for &column in band.columns {
        if let Some(count) = next.get_mut(tile_of(column) + 1) {
            *count += 1;
        }
    }
    for tile in 0..tiles {
        next[tile + 1] += next[tile];
    }
    let count = band.columns.len();
    let mut cells =
        Cells { rows: vec![0; count], columns: vec![0; count], values: vec![0; count * band.size] };
    let mut found = Found::default();
    let mut sorted: Vec<u32> = Vec::new();
    for (row, ends) in band.indptr.windows(2).enumerate() {
        let (start, end) = ((ends[0] - base) as usize, (ends[1] - base) as usize);
        let Some(columns) = band.columns.get(start..end) else { continue };
        let number = (band.first_row + row as u64) as i64;
        let rising = columns.is_sorted_by(|a, b| a < b);
        let mut put = |entry: usize| {
            let Some(&column) = columns.get(entry) else { return };
            let Some(place) = next.get_mut(tile_of(column)) else { return };
            let at = *place;
            *place += 1;
            cells.rows[at] = number;
            cells.columns[at] = i64::from(column);
            let source = (start + entry) * band.size;
            let value = &band.values[source..source + band.size];
            cells.values[at * band.size..(at + 1) * band.size].copy_from_slice(value);
        };
        if rising {
            (0..columns.len()).for_each(&mut put);
        } else {
            sorted.clear();
            sorted.extend(0..columns.len() as u32);
            sorted.sort_by_key(|&entry| columns.get(entry as usize));
            sorted.iter().for_each(|&entry| put(entry as usize));
            let repeated = sorted
                .windows(2)
                .filter(|pair| columns.get(pair[0] as usize) == columns.get(pair[1] as usize));
            found.duplicates += repeated.count() as u64;
        }
    }
    if found.duplicates > 0 {
        merge(&mut cells, band.size, add);
    }
    (cells, found)
}

/// Makes neighbours of the same row and column one cell.
fn merge(cells: &mut Cells, size: usize, add: Add) {
    let mut kept = 0;
    for cell in 0..cells.len() {
        let repeats = kept > 0
            && cells.rows[kept - 1] == cells.rows[cell]
            && cells.columns[kept - 1] == cells.columns[cell];
        let (before, rest) = cells.values.split_at_mut(cell * size);
        let value = &rest[..size];
        if repeats {
            add(&mut before[(kept - 1) * size..kept * size], value);
            continue;
        }
        if kept < cell {
            before[kept * size..(kept + 1) * size].copy_from_slice(value);
            cells.rows[kept] = cells.rows[cell];
            cells.columns[kept] = cells.columns[cell];
        }
        kept += 1;
    }
    cells.rows.truncate(kept);
    cells.columns.truncate(kept);
    cells.values.truncate(kept * size);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn add_u16(a: &mut [u8], b: &[u8]) {
        let sum = u16::from_le_bytes([a[0], a[1]]).wrapping_add(u16::from_le_bytes([b[0], b[1]]));
        a.copy_from_slice(&sum.to_le_bytes());
    }

    proptest! {
        #[test]
        fn cells_come_in_global_order_and_duplicates_add_up(
            rows in proptest::collection::vec(proptest::collection::vec((0u32..50, any::<u16>()), 0..20), 1..20),
            extent in 1u64..60, first_row in 0u64..1000,
        ) {
            let mut indptr = vec![7u64];
            for row in &rows {
                indptr.push(indptr.last().unwrap() + row.len() as u64);
            }
            let entries: Vec<_> = rows.iter().flatten().copied().collect();
            let columns: Vec<u32> = entries.iter().map(|entry| entry.0).collect();
            let values: Vec<u8> = entries.iter().flat_map(|entry| entry.1.to_le_bytes()).collect();
            let band = Compressed { first_row, indptr: &indptr, columns: &columns, values: &values, size: 2 };
            let (cells, found) = order(&band, extent, 50, add_u16);
            let mut expected: BTreeMap<(u64, i64, i64), u16> = BTreeMap::new();
            for (row, entries) in rows.iter().enumerate() {
                for &(column, value) in entries {
                    let key = (u64::from(column) / extent, first_row as i64 + row as i64, i64::from(column));
                    let sum = expected.entry(key).or_default();
                    *sum = sum.wrapping_add(value);
                }
            }
            prop_assert_eq!(found.duplicates, (entries.len() - expected.len()) as u64);
            let keys: Vec<_> = expected.keys().map(|key| (key.1, key.2)).collect();
            let placed: Vec<_> = cells.rows.iter().copied().zip(cells.columns.iter().copied()).collect();
            prop_assert_eq!(placed, keys);
            let stored: Vec<u8> = expected.values().flat_map(|value| value.to_le_bytes()).collect();
            prop_assert_eq!(cells.values, stored);
        }
    }
}
