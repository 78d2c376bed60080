//! Arrays of strings of any length.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_array::builder::LargeStringBuilder;

use super::array::Array;
use super::strings::strings;
use crate::{Error, ErrorKind, Result};

impl Array {
    /// The strings of `rows`.
    pub(super) fn read_strings(&self, rows: Range<u64>, fill: &str) -> Result<ArrayRef> {
        let count = self.check_rows(&rows)?;
        if self.state.shape.len() > 1 {
            return self.read_strings_in_order(rows, fill, count);
        }
        let height = self.state.dims.first().copied().unwrap_or(1);
        let mut out = Text::new(self.store.options().max_read_bytes, count);
        self.for_chunks(&rows, |place, bytes| {
            let first = place.first().map_or(0, |number| number.saturating_mul(height));
            let inside = rows.start.saturating_sub(first)..height.min(rows.end - first);
            match bytes {
                None => (inside.start..inside.end).try_for_each(|_| out.push(fill)),
                Some(bytes) => {
                    let inside = inside.start as usize..inside.end as usize;
                    let strings = strings(bytes, height as usize)?.take(inside.end);
                    for (number, text) in strings.enumerate() {
                        let text = text?;
                        if number >= inside.start {
                            out.push(text)?;
                        }
                    }
                    Ok(())
                }
            }
        })?;
        Ok(out.finish())
    }

    /// The strings of `rows` of several dimensions, whose order in chunks is another than in the array.
    fn read_strings_in_order(
        &self,
        rows: Range<u64>,
        fill: &str,
        count: usize,
    ) -> Result<ArrayRef> {
        let (shape, dims) = (&self.state.shape, &self.state.dims);
        let limit = self.store.options().max_read_bytes;
        let mut places: Vec<Option<Range<usize>>> = vec![None; count];
        let mut text = String::new();
        self.for_chunks(&rows, |place, bytes| {
            let Some(bytes) = bytes else { return Ok(()) };
            let offsets = self.offsets(place);
            let elements = dims.iter().product::<u64>() as usize;
            let mut index = vec![0u64; dims.len()];
            for found in strings(bytes, elements)? {
                let found = found?;
                let at = index.iter().zip(&offsets).zip(shape).enumerate().try_fold(
                    0u64,
                    |number, (dimension, ((index, offset), length))| {
                        let position = index + offset;
                        let (from, to) = match dimension {
                            0 => (rows.start, rows.end),
                            _ => (0, *length),
                        };
                        let inside = (from..to).contains(&position);
                        inside.then(|| number * (to - from) + (position - from))
                    },
                );
                if let Some(slot) = at.and_then(|at| places.get_mut(at as usize)) {
                    let start = text.len();
                    if (start + found.len()) as u64 > limit {
                        return Err(too_much_text(limit));
                    }
                    text.push_str(found);
                    *slot = Some(start..text.len());
                }
                for (index, dim) in index.iter_mut().zip(dims).rev() {
                    *index += 1;
                    if *index < *dim {
                        break;
                    }
                    *index = 0;
                }
            }
            Ok(())
        })?;
        let mut out = Text::new(limit, count);
        for place in places {
            out.push(place.and_then(|range| text.get(range)).unwrap_or(fill))?;
        }
        Ok(out.finish())
    }
}

/// Strings of one read.
struct Text {
    strings: LargeStringBuilder,
    total: u64,
    limit: u64,
}

impl Text {
    fn new(limit: u64, count: usize) -> Self {
        Self { strings: LargeStringBuilder::with_capacity(count, 0), total: 0, limit }
    }

    fn push(&mut self, text: &str) -> Result<()> {
        self.total += text.len() as u64;
        if self.total > self.limit {
            return Err(too_much_text(self.limit));
        }
        self.strings.append_value(text);
        Ok(())
    }

    fn finish(mut self) -> ArrayRef {
        Arc::new(self.strings.finish())
    }
}

fn too_much_text(limit: u64) -> Error {
    Error::new(
        ErrorKind::TooLarge,
        format!("expected strings of at most {limit} bytes in one read, found more"),
    )
}
