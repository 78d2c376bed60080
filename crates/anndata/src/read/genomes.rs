//! Files of Cell Ranger before 3 with several genomes: a group of each, with cells and genes of its own.
//!
//! Cells of the same barcode are one cell, as of a mixture of species. The cells come in the order in which the groups
//! first have them.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, LargeStringArray};

use super::placed::Placement;
use super::tenx::Parts;
use super::{ForeignValues, Frame, StoredColumn};
use crate::{Error, Result};

/// The cells of all genomes, and of each which of its rows they are; none where each row is the cell of its number.
pub(super) fn together(
    genomes: &[(String, Parts)],
) -> Result<(Frame, Vec<Option<Arc<Placement>>>)> {
    let mut barcodes: Vec<String> = Vec::new();
    let mut cells: HashMap<String, usize> = HashMap::new();
    let mut rows_of_all = Vec::with_capacity(genomes.len());
    for (genome, parts) in genomes {
        let index = parts.obs.index()?;
        let mut rows: HashMap<usize, u64> = HashMap::with_capacity(index.len());
        for (row, barcode) in (1..).zip(index.as_string::<i64>().iter()) {
            let barcode = barcode.unwrap_or_default();
            let cell = *cells.entry(barcode.to_owned()).or_insert(barcodes.len());
            if cell == barcodes.len() {
                barcodes.push(barcode.to_owned());
            }
            if rows.insert(cell, row).is_some() {
                let message = format!("expected each barcode once, found {barcode:?} twice");
                return Err(Error::corrupt(message).in_element(format!("{genome}/barcodes")));
            }
        }
        rows_of_all.push(rows);
    }
    let place = |(rows, (genome, parts)): (HashMap<usize, u64>, &(String, Parts))| {
        let map = (0..barcodes.len()).map(|cell| rows.get(&cell).copied().unwrap_or(0));
        Placement::new(&map.collect::<Vec<_>>(), parts.obs.n_rows())
            .map_err(|error| error.in_element(format!("{genome}/barcodes")))
    };
    let placements = rows_of_all.into_iter().zip(genomes).map(place).collect::<Result<_>>()?;
    let count = barcodes.len() as u64;
    let values = Arc::new(Barcodes(Arc::new(LargeStringArray::from(barcodes))));
    let obs = Frame::new("obs", None, StoredColumn::foreign_index(values, count), Vec::new())?;
    Ok((obs, placements))
}

#[derive(Debug)]
struct Barcodes(ArrayRef);

impl ForeignValues for Barcodes {
    fn read(&self) -> Result<ArrayRef> {
        Ok(self.0.clone())
    }
}
