//! Fragments of a dense array as one, space tile by space tile.
//!
//! Dense cells have no times of their own: what is joined is there from the time of its last part on, and before that its
//! parts are, until a vacuum removes them.

use std::sync::Arc;

use rayon::prelude::*;
use vacuole_store::Store;
use vacuole_tiledb::fragment::{
    EncodedTile, Field, FieldData, cells_inside, dense_tiles, encode_dense_tile, same_tile,
    space_tile_cells,
};
use vacuole_tiledb::schema::{Attribute, Range};

use super::output::{Column, field};
use super::runs::Run;
use crate::array::{Array, Fragment, RawCells};
use crate::error::{Error, ErrorKind, InObject, Result};

/// Joined fragments have no more tiles than this many times those of their parts: the others would be empty.
const MOST_EMPTY: u64 = 2;

/// The region around fragments.
///
/// # Errors
/// [`Unsupported`](ErrorKind::Unsupported) where most of it would be cells that nobody wrote.
pub(super) fn region(array: &Array, run: &Run) -> Result<Vec<Range>> {
    let schema = &*run.schema;
    let mut around: Option<Vec<Range>> = None;
    let mut tiles: u64 = 0;
    for fragment in &run.fragments {
        let Some(region) = &fragment.metadata.footer.non_empty_domain else { continue };
        tiles = tiles.saturating_add(fragment.metadata.tiles);
        match &mut around {
            Some(around) => around.iter_mut().zip(region).for_each(|(own, range)| own.cover(range)),
            None => around = Some(region.clone()),
        }
    }
    let region = around.unwrap_or_default();
    let all = dense_tiles(schema, &region).in_object(array.display())?;
    if all > tiles.saturating_mul(MOST_EMPTY) {
        let message = format!(
            "its fragments lie apart: {tiles} tiles of them would become {all}, most of them empty"
        );
        return Err(Error::new(ErrorKind::Unsupported, array.display(), message));
    }
    Ok(region)
}

/// Hands the tiles of the joined fragment to `push`, in tile order. `memory` bounds the cells that are in memory, where a few
/// tiles are less: one of the parts at a time is read, and of it what counts is kept.
pub(super) fn merge(
    array: &Array,
    run: &Run,
    region: &[Range],
    memory: u64,
    mut push: impl FnMut(EncodedTile) -> Result<()>,
) -> Result<()> {
    let tiles = dense_tiles(&run.schema, region).in_object(array.display())?;
    let largest = run.fragments.iter().map(|fragment| fragment.largest_tile()).max().unwrap_or(0);
    // A tile of a part, what counts of all parts, the tile that they become, and that filtered.
    let at_once = memory / largest.saturating_mul(4).max(1);
    let at_once = at_once.clamp(1, rayon::current_num_threads() as u64);
    for start in (0..tiles).step_by(at_once as usize) {
        let numbers = start..(start + at_once).min(tiles);
        let encoded = numbers.into_par_iter().map(|tile| join_tile(array, run, region, tile));
        encoded.collect::<Result<Vec<_>>>()?.into_iter().try_for_each(&mut push)?;
    }
    Ok(())
}

/// A tile of the joined fragment.
fn join_tile(array: &Array, run: &Run, region: &[Range], tile: u64) -> Result<EncodedTile> {
    let schema = &*run.schema;
    let cells = space_tile_cells(schema).in_object(array.display())? as usize;
    // Of which of the parts each cell is, if of any; the newest is on top.
    let mut parts: Vec<(&Arc<Fragment>, u64)> = Vec::new();
    let mut owners: Vec<u32> = vec![0; cells];
    let mut left = cells;
    for fragment in run.fragments.iter().rev() {
        let Some(own) = &fragment.metadata.footer.non_empty_domain else { continue };
        let found = same_tile(schema, region, tile, own).in_object(array.display())?;
        let Some(number) = found.filter(|_| left > 0) else { continue };
        let inside = cells_inside(schema, own, number).in_object(array.display())?;
        parts.push((fragment, number));
        let before = left;
        for (cell, owner) in owners.iter_mut().enumerate() {
            let is_inside = inside.as_ref().is_none_or(|inside| inside.get(cell) == Some(&1));
            if *owner == 0 && is_inside {
                *owner = parts.len() as u32;
                left -= 1;
            }
        }
        if left == before {
            parts.pop();
        }
    }
    let attributes = schema.attributes.par_iter();
    let columns = attributes.map(|wanted| join_attribute(array, wanted, &parts, &owners));
    let columns = columns.collect::<Result<Vec<Column>>>()?;
    let columns: Vec<_> = columns.iter().map(|column| column.tile(0..cells)).collect();
    let fields: Vec<FieldData<'_>> = columns.iter().map(field).collect();
    encode_dense_tile(schema, region, tile, &fields).in_object(array.display())
}

/// The cells of an attribute over one tile.
fn join_attribute(
    array: &Array,
    wanted: &Attribute,
    parts: &[(&Arc<Fragment>, u64)],
    owners: &[u32],
) -> Result<Column> {
    let store: &dyn Store = &**array.store();
    // A cell that nobody wrote, as often as it is wanted.
    let fill = |cells: usize| RawCells {
        data: wanted.fill.repeat(cells),
        offsets: wanted
            .is_var()
            .then(|| (0..cells as u64).map(|cell| cell * wanted.fill.len() as u64).collect()),
        validity: wanted.nullable.then(|| vec![u8::from(wanted.fill_valid); cells]),
    };
    // A run of cells of one owner, and the part that it is; 0 is nobody.
    let runs = || {
        let mut at = 0;
        owners.chunk_by(|a, b| a == b).map(move |same| {
            let cells = at..at + same.len();
            at = cells.end;
            (same.first().map_or(0, |owner| *owner as usize), cells)
        })
    };
    let new = || Column::new(wanted.is_var(), wanted.nullable, wanted.cell_size());
    // Of each part only the cells that count are kept, so that all parts together take no more than a tile.
    let mut owned: Vec<Option<(RawCells, usize)>> = Vec::with_capacity(parts.len());
    for (part, (fragment, tile)) in (1..).zip(parts) {
        let Some((index, _)) = fragment.schema.attribute(&wanted.name) else {
            owned.push(None);
            continue;
        };
        let raw = fragment.read_cells(store, Field::Attribute(index), *tile)?;
        let mut kept = new();
        runs().filter(|(owner, _)| *owner == part).for_each(|(_, cells)| kept.append(&raw, cells));
        owned.push(Some((kept.into_raw(), 0)));
    }
    let mut column = new();
    for (owner, cells) in runs() {
        let count = cells.len();
        let part = owner.checked_sub(1).and_then(|part| owned.get_mut(part));
        match part.and_then(Option::as_mut) {
            Some((raw, next)) => {
                column.append(raw, *next..*next + count);
                *next += count;
            }
            None => column.append(&fill(count), 0..count),
        }
    }
    Ok(column)
}
