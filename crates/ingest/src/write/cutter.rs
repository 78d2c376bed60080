//! Cuts ordered cells into tiles, filters them on all threads and writes them in order.

use rayon::prelude::*;
use vacuole_soma::FragmentSink;
use vacuole_tiledb::fragment::{FieldData, encode_tile};

use super::Target;
use super::band::Cells;
use crate::error::{Result, in_object};

/// Takes the bands of one fragment; cells that do not fill a tile wait for the next band.
pub(crate) struct TileCutter<'a, 't> {
    target: &'t Target<'a>,
    sink: FragmentSink<'a>,
    waiting: Cells,
}

impl<'a, 't> TileCutter<'a, 't> {
    pub(crate) fn new(target: &'t Target<'a>) -> Self {
        Self { target, sink: target.sparse(), waiting: Cells::default() }
    }

    /// Adds the next cells in global order.
    pub(crate) fn add(&mut self, cells: Cells) -> Result<()> {
        if self.waiting.len() == 0 {
            self.waiting = cells;
        } else {
            self.waiting.rows.extend_from_slice(&cells.rows);
            self.waiting.columns.extend_from_slice(&cells.columns);
            self.waiting.values.extend_from_slice(&cells.values);
        }
        let capacity = self.capacity();
        let full = self.waiting.len() / capacity * capacity;
        self.write(full)
    }

    /// Writes what is left. Returns whether the fragment has any cell.
    pub(crate) fn finish(mut self) -> Result<bool> {
        self.write(self.waiting.len())?;
        let written = !self.sink.is_empty();
        self.sink.finish()?;
        Ok(written)
    }

    fn capacity(&self) -> usize {
        self.target.array.schema.capacity as usize
    }

    /// Writes the first `count` cells and drops them.
    fn write(&mut self, count: usize) -> Result<()> {
        if count == 0 {
            return Ok(());
        }
        let capacity = self.capacity();
        let schema = &self.target.array.schema;
        let size = schema.attributes.first().map_or(1, |attribute| attribute.cell_size());
        let starts: Vec<usize> = (0..count).step_by(capacity).collect();
        let Cells { rows, columns, values } = &self.waiting;
        // A few tiles for each thread at a time, so that filtered tiles do not pile up.
        for starts in starts.chunks(4 * rayon::current_num_threads()) {
            let tiles: Vec<_> = starts
                .par_iter()
                .map(|&start| {
                    let end = (start + capacity).min(count);
                    let rows = le_bytes(&rows[start..end]);
                    let columns = le_bytes(&columns[start..end]);
                    let field = |data| FieldData { data, offsets: None, validity: None };
                    let attributes = [field(&values[start * size..end * size])];
                    encode_tile(
                        schema,
                        (end - start) as u64,
                        &attributes,
                        &[field(&rows), field(&columns)],
                    )
                })
                .collect();
            for tile in tiles {
                self.sink.push(in_object(tile, &self.target.array.path)?)?;
            }
        }
        self.waiting.rows.drain(..count);
        self.waiting.columns.drain(..count);
        self.waiting.values.drain(..count * size);
        Ok(())
    }
}

fn le_bytes(values: &[i64]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}
