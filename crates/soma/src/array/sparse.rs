//! Reading the cells of a sparse array, in bounded bands of its first dimension.
//!
//! A band is a range of the first dimension. Its tiles are unfiltered side by side, cells outside the
//! selection and the current domain are dropped, and then, where fragments overlap, the newest version of
//! each cell is kept. Deletes come last: an older version of a deleted cell does not come back (libtiledb).

use std::collections::VecDeque;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::UInt64Type;
use arrow_array::{Array as _, ArrayRef, BooleanArray, RecordBatch, UInt64Array};
use arrow_buffer::BooleanBuffer;
use arrow_schema::{DataType, Field as ArrowField, Schema, SchemaRef};
use arrow_select::concat::concat_batches;
use arrow_select::filter::filter_record_batch;
use arrow_select::take::take_record_batch;
use rayon::prelude::*;
use vacuole_tiledb::Condition;
use vacuole_tiledb::fragment::{Field, FieldFile};
use vacuole_tiledb::schema::{Attribute, Range};

use super::fetch::{Fetched, Fetcher, TileSource, Wanted};
use super::fragment::Fragment;
use super::held::{At, Held};
use super::selection::{Lookup, Selection};
use super::skipped::{Skipped, Within};
use super::{Array, Delete, arrow_types, coordinates};
use crate::condition;
use crate::error::{Error, ErrorKind, InObject, Result};

/// How many cells a band holds at the most, where tiles allow it.
const BAND_CELLS: u64 = 1 << 21;

/// Cells' own times ride along under these names, which no SOMA column can have.
const WRITTEN_AT: &str = "__written_at";
const DELETED_AT: &str = "__deleted_at";

/// Of a cell and a delete: a consolidation has applied it already.
const PROCESSED: u64 = 1;

/// The same: the fragment has no such column. Whatever the condition, libtiledb takes all its cells for deleted, and
/// consolidates them as such.
const UNKNOWN: u64 = 2;

/// What to read of a sparse array.
#[derive(Clone, Debug, Default)]
pub struct SparseReadOptions {
    /// The coordinates of each dimension; dimensions that are not named are read whole.
    pub selections: Vec<Selection>,
    /// The columns, in the order wanted; all of them where this is `None`.
    pub columns: Option<Vec<String>>,
    /// What cells have that are looked for: tiles without such cells may be left out. The cells that are read need not
    /// have it all the same.
    pub within: Vec<Within>,
    /// How many cells are read at a time, where tiles allow it; about two million where this is `None`.
    pub at_a_time: Option<u64>,
    /// Whether batches may be parts of tiles, as they are stored and in any order, where nothing else is wanted of them than the
    /// numbers of one attribute: little memory then, and quick to look through. Otherwise a tile makes one batch.
    pub in_parts: bool,
}

impl SparseReadOptions {
    /// Every cell of these columns.
    pub fn columns(columns: &[&str]) -> Self {
        let columns = columns.iter().map(|&column| column.to_owned()).collect();
        Self { columns: Some(columns), ..Self::default() }
    }

    /// In parts of tiles, where they can be.
    #[must_use]
    pub fn in_parts(mut self) -> Self {
        self.in_parts = true;
        self
    }

    /// No more than so many cells at a time, where tiles allow it.
    #[must_use]
    pub fn at_a_time(mut self, cells: u64) -> Self {
        self.at_a_time = Some(cells);
        self
    }

    /// Only these coordinates.
    #[must_use]
    pub fn select(mut self, selections: Vec<Selection>) -> Self {
        self.selections = selections;
        self
    }
}

/// Record batches of a sparse array, band by band of the first dimension.
///
/// Bands come in rising order. Within one, cells of an array whose fragments overlap are in row-major order,
/// others in the order in which they are stored; a batch is never empty.
#[derive(Debug)]
pub struct SparseRead<'a> {
    array: &'a Array,
    plan: ReadPlan,
    bands: VecDeque<Range>,
    held: Held<RecordBatch>,
    fetcher: Fetcher,
    ready: VecDeque<RecordBatch>,
    schema: SchemaRef,
}

/// What a read fetches for every tile.
#[derive(Debug)]
pub(super) struct ReadPlan {
    pub(super) selections: Vec<Selection>,
    pub(super) lookups: Vec<Lookup>,
    /// Dimensions, wanted attributes, and those that delete conditions look at.
    pub(super) fetched: Vec<ArrowField>,
    /// The positions in `fetched` of the columns wanted.
    wanted: Vec<usize>,
    pub(super) merge: bool,
    pub(super) times: bool,
    /// Whether cells were written at other times than the array is read of.
    cuts: bool,
    skipped: Skipped,
    band_cells: u64,
    in_parts: bool,
}

impl ReadPlan {
    /// The selections within a band.
    pub(super) fn within(&self, band: &Range) -> Vec<Selection> {
        let mut selections = self.selections.clone();
        if let (Some(first), Some((low, high))) = (selections.first_mut(), band.as_signed()) {
            *first = first.clip(low, high);
        }
        selections
    }
}

impl Array {
    /// Reads cells of a sparse array.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) for an unknown column; [`Unsupported`](ErrorKind::Unsupported) for
    /// coordinates on a dimension that is no signed integer.
    pub fn read_sparse(&self, options: &SparseReadOptions) -> Result<SparseRead<'_>> {
        let plan = self.read_plan(options)?;
        let wanted: Vec<_> = plan.wanted.iter().map(|&index| plan.fetched[index].clone()).collect();
        let bands = self.bands(&plan);
        let schema = Arc::new(Schema::new(wanted));
        let (held, ready) = (Held::default(), VecDeque::new());
        let fetcher = Fetcher::new(&self.store);
        Ok(SparseRead { array: self, plan, bands, held, fetcher, ready, schema })
    }

    /// Reads cells of a sparse array into one batch.
    pub fn read_sparse_all(&self, options: &SparseReadOptions) -> Result<RecordBatch> {
        let read = self.read_sparse(options)?;
        let schema = Arc::clone(&read.schema);
        let mut batches = read.collect::<Result<Vec<_>>>()?;
        if batches.is_empty() {
            batches.push(self.no_cells(&schema)?);
        }
        concat_batches(&schema, &batches).in_object(self.display())
    }

    /// A batch without rows, whose dictionaries are complete all the same.
    fn no_cells(&self, schema: &SchemaRef) -> Result<RecordBatch> {
        let columns = schema.fields().iter().map(|field| {
            let none = match field.data_type() {
                DataType::Dictionary(index, _) => index.as_ref(),
                other => other,
            };
            let none = arrow_array::new_empty_array(none);
            match self.enumeration(field.name()) {
                Some(values) => arrow_types::dictionary(&none, values).in_object(self.display()),
                None => Ok(none),
            }
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        RecordBatch::try_new(Arc::clone(schema), columns).in_object(self.display())
    }

    /// Whether the same cell can be in it more than once.
    pub(super) fn needs_merge(&self) -> bool {
        !self.schema.allows_duplicates && !super::are_apart(&self.fragments)
    }

    fn read_plan(&self, options: &SparseReadOptions) -> Result<ReadPlan> {
        if !self.is_sparse() {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                self.display(),
                "expected a sparse array, found a dense one",
            ));
        }
        let dimensions = self.schema.dimensions.len();
        let mut selections = options.selections.clone();
        selections.resize(dimensions, Selection::All);
        for (selection, dimension) in selections.iter().zip(&self.schema.dimensions) {
            if *selection != Selection::All && dimension.signed_tiling().is_none() {
                return Err(Error::new(
                    ErrorKind::Unsupported,
                    self.display(),
                    format!("dimension '{}' cannot be sliced: it is no integer", dimension.name),
                ));
            }
        }
        let fields = self.arrow.fields();
        let mut fetched: Vec<usize> = (0..dimensions).collect();
        let mut position = |name: &str| -> Result<usize> {
            let (index, _) = self.arrow.fields().find(name).ok_or_else(|| self.no_column(name))?;
            Ok(fetched.iter().position(|&other| other == index).unwrap_or_else(|| {
                fetched.push(index);
                fetched.len() - 1
            }))
        };
        let wanted = match &options.columns {
            Some(columns) => columns.iter().map(|name| position(name)).collect::<Result<_>>()?,
            None => fields.iter().map(|field| position(field.name())).collect::<Result<_>>()?,
        };
        for delete in &self.deletes {
            let mut names = Vec::new();
            condition::columns(&delete.keep, &mut names);
            for name in names {
                position(&name)?;
            }
        }
        let merge = self.needs_merge();
        let cuts = self.cuts_fragments();
        let times = merge
            || cuts
            || !self.deletes.is_empty()
            || self.fragments.iter().any(|f| f.metadata.footer.has_delete_metadata);
        let fetched = fetched.into_iter().map(|index| fields[index].as_ref().clone()).collect();
        let lookups = selections.iter().map(Lookup::from).collect();
        let skipped = match merge || times {
            true => Skipped::default(),
            false => self.skipped(&options.within)?,
        };
        let band_cells = options.at_a_time.unwrap_or(BAND_CELLS).clamp(1, BAND_CELLS);
        Ok(ReadPlan {
            selections,
            lookups,
            fetched,
            wanted,
            merge,
            times,
            cuts,
            skipped,
            band_cells,
            in_parts: options.in_parts,
        })
    }

    fn no_column(&self, name: &str) -> Error {
        let names: Vec<&str> = self.arrow.fields().iter().map(|f| f.name().as_str()).collect();
        Error::not_found(
            self.display(),
            format!("expected a column '{name}', found {}", names.join(", ")),
        )
    }

    /// Cuts the first dimension so that no band holds many more cells than it may.
    fn bands(&self, plan: &ReadPlan) -> VecDeque<Range> {
        if plan.in_parts && !plan.merge && !plan.times && !self.store.is_far() {
            // No more is held of the tiles than the parts that are looked at, and a band would cut tiles in two.
            let first = self.fragments.first().and_then(|f| f.metadata.rtree.leaves().first());
            return [everything(first.and_then(|bounds| bounds.first()))].into();
        }
        let mut tiles: Vec<(i64, i64, u64)> = Vec::new();
        for fragment in &self.fragments {
            let leaves = fragment.metadata.rtree.leaves();
            for (tile, bounds) in leaves.iter().enumerate() {
                match bounds.first() {
                    Some(Range::Signed(low, high)) => {
                        if plan.selections.first().is_some_and(|s| s.intersects(*low, *high)) {
                            let cells = fragment.metadata.tile_cells(tile as u64);
                            tiles.push((*low, *high, cells));
                        }
                    }
                    // Bands need an integer dimension: everything is one band.
                    _ => return [everything(bounds.first())].into(),
                }
            }
        }
        tiles.sort_unstable();
        let mut bands = VecDeque::new();
        let mut open: Option<(i64, i64, u64)> = None;
        for (low, high, cells) in tiles {
            open = Some(match open {
                None => (low, high, cells),
                Some((start, end, sum)) if low <= end || sum + cells <= plan.band_cells => {
                    (start, end.max(high), sum + cells)
                }
                Some(full) => {
                    push_band(&mut bands, full, plan.band_cells);
                    (low, high, cells)
                }
            });
        }
        if let Some(last) = open {
            push_band(&mut bands, last, plan.band_cells);
        }
        bands
    }

    /// What `map` makes of each batch of one band, in the order of its tiles.
    ///
    /// Where tiles are what batches are made of, each is mapped as soon as it is unfiltered, so that no more
    /// of them are held than there are threads.
    fn read_band<T: Send, E: From<Error> + Send>(
        &self,
        plan: &ReadPlan,
        band: &Range,
        (held, source): (&Held<RecordBatch>, &Fetched),
        map: &(impl Fn(RecordBatch) -> Result<T, E> + Sync),
    ) -> Result<Vec<T>, E> {
        let selections = plan.within(band);
        let tiles = self.tiles(plan, &selections);
        let tile = |&at: &At| self.read_tile(plan, &selections, (held, source), at);
        let wanted = |batch: &RecordBatch| -> Result<Option<RecordBatch>> {
            if batch.num_rows() == 0 {
                return Ok(None);
            }
            batch.project(&plan.wanted).in_object(self.display()).map(Some)
        };
        if !plan.merge && !plan.times {
            let mapped = tiles.par_iter().map(|at| {
                if let Some(mapped) = self.map_parts(plan, &selections, source, *at, map)? {
                    return Ok(mapped);
                }
                let batch = match self.read_whole(plan, &selections, source, *at)? {
                    Some(batch) => Some(batch),
                    None => tile(at)?.as_ref().map(wanted).transpose()?.flatten(),
                };
                Ok(batch.map(map).transpose()?.into_iter().collect())
            });
            let mapped = mapped.collect::<Result<Vec<Vec<_>>, E>>()?;
            return Ok(mapped.into_iter().flatten().collect());
        }
        let read = tiles.par_iter().map(tile).collect::<Result<Vec<_>>>()?;
        let mut batches: Vec<RecordBatch> = read.into_iter().flatten().collect();
        if plan.cuts {
            for batch in &mut batches {
                *batch = self.of_the_period(batch)?;
            }
        }
        if plan.merge && !batches.is_empty() {
            let schema = batches[0].schema();
            let all = concat_batches(&schema, batches.iter()).in_object(self.display())?;
            batches =
                [newest(&all, self.schema.dimensions.len()).in_object(self.display())?].into();
        }
        if plan.times {
            for batch in &mut batches {
                *batch = self.without_deleted(batch)?;
            }
        }
        let finished = batches.par_iter().map(|batch| wanted(batch)?.map(map).transpose());
        let finished = finished.collect::<Result<Vec<_>, E>>()?;
        Ok(finished.into_iter().flatten().collect())
    }

    /// What [`read_tile`](Self::read_tile) reads for a band.
    fn wanted(&self, plan: &ReadPlan, band: &Range) -> Wanted {
        let mut wanted = Wanted::default();
        let dimensions = self.schema.dimensions.len();
        let selections = plan.within(band);
        for At { fragment, tile } in self.tiles(plan, &selections) {
            let Some(fragment) = self.fragments.get(fragment) else { continue };
            let whole = self.is_whole(plan, &selections, fragment, tile);
            (0..dimensions)
                .filter(|dimension| !whole || plan.wanted.contains(dimension))
                .for_each(|dimension| wanted.tile(fragment, Field::Dimension(dimension), tile));
            for field in plan.fetched.iter().skip(dimensions) {
                if let Some((index, _)) = fragment.schema.attribute(field.name()) {
                    wanted.tile(fragment, Field::Attribute(index), tile);
                }
            }
            if plan.times && fragment.metadata.footer.has_timestamps {
                wanted.tile(fragment, Field::Timestamps, tile);
            }
            if plan.times && fragment.metadata.footer.has_delete_metadata {
                wanted.tile(fragment, Field::DeleteTimestamps, tile);
            }
        }
        wanted
    }

    /// The tiles that can hold selected cells.
    pub(super) fn tiles(&self, plan: &ReadPlan, selections: &[Selection]) -> Vec<At> {
        let found = self.fragments.iter().enumerate().flat_map(|(index, fragment)| {
            let found = fragment.metadata.rtree.search(|bounds| {
                bounds.iter().zip(selections).all(|(bounds, selection)| match bounds {
                    Range::Signed(low, high) => selection.intersects(*low, *high),
                    _ => true,
                })
            });
            found.into_iter().map(move |tile| At { fragment: index, tile: tile as u64 })
        });
        found.filter(|&at| !plan.skipped.has(at)).collect()
    }

    /// Whether the bounds of a tile say that all its cells are wanted as they are stored, so that nobody needs their
    /// coordinates to choose among them.
    fn is_whole(
        &self,
        plan: &ReadPlan,
        selections: &[Selection],
        fragment: &Fragment,
        tile: u64,
    ) -> bool {
        let bounds = fragment.metadata.rtree.leaves().get(tile as usize);
        let all = |(index, selection)| {
            let bounds = bounds.and_then(|bounds| bounds.get(index)).and_then(Range::as_signed);
            bounds.is_some_and(|bounds| self.takes_all(index, bounds, selection))
        };
        // Without columns nothing says how many cells there are.
        !plan.merge
            && !plan.times
            && !plan.wanted.is_empty()
            && selections.iter().enumerate().all(all)
    }

    /// Whether all coordinates between two of a dimension are selected, and inside the current domain.
    fn takes_all(&self, index: usize, (least, most): (i64, i64), selection: &Selection) -> bool {
        let current = self.schema.current_domain.as_deref().unwrap_or_default();
        let domain = current.get(index).and_then(Range::as_signed);
        let (low, high) = domain.unwrap_or((i64::MIN, i64::MAX));
        low <= least && most <= high && selection.covers(least, most)
    }

    /// The wanted columns of a tile [all of whose cells are](Self::is_whole); `None` for other tiles.
    fn read_whole(
        &self,
        plan: &ReadPlan,
        selections: &[Selection],
        store: &Fetched,
        At { fragment, tile }: At,
    ) -> Result<Option<RecordBatch>> {
        let Some(fragment) = self.fragments.get(fragment) else { return Ok(None) };
        if !self.is_whole(plan, selections, fragment, tile) {
            return Ok(None);
        }
        let dimensions = self.schema.dimensions.len();
        let (mut fields, mut columns) = (Vec::new(), Vec::new());
        for (position, field) in plan.wanted.iter().filter_map(|&p| Some((p, plan.fetched.get(p)?)))
        {
            columns.push(match position < dimensions {
                true => {
                    let dimension = Field::Dimension(position);
                    fragment.read_column(store, dimension, tile, field.data_type())?
                }
                false => self.read_attribute(store, fragment, tile, field)?,
            });
            fields.push(field.clone());
        }
        let schema = Arc::new(Schema::new(fields));
        RecordBatch::try_new(schema, columns).in_object(self.display()).map(Some)
    }

    /// What `map` makes of a tile [all of whose cells are wanted](Self::is_whole), in parts that stay in the processor's
    /// cache; `None` where that was not asked for, or more is read than numbers of one attribute as they are stored.
    fn map_parts<T, E: From<Error>>(
        &self,
        plan: &ReadPlan,
        selections: &[Selection],
        store: &Fetched,
        At { fragment, tile }: At,
        map: &impl Fn(RecordBatch) -> Result<T, E>,
    ) -> Result<Option<Vec<T>>, E> {
        if !plan.in_parts {
            return Ok(None);
        }
        let Some(fragment) = self.fragments.get(fragment) else { return Ok(None) };
        let [Some(field)] =
            plan.wanted.iter().map(|&at| plan.fetched.get(at)).collect::<Vec<_>>()[..]
        else {
            return Ok(None);
        };
        let (wanted, stored) =
            (self.schema.attribute(field.name()), fragment.schema.attribute(field.name()));
        let (Some((_, wanted)), Some((index, stored))) = (wanted, stored) else { return Ok(None) };
        let is_plain = |attribute: &Attribute| {
            !attribute.is_var() && !attribute.nullable && attribute.enumeration.is_none()
        };
        if !is_plain(wanted)
            || !is_plain(stored)
            || stored.datatype != wanted.datatype
            || stored.values_per_cell != wanted.values_per_cell
            || !self.is_whole(plan, selections, fragment, tile)
        {
            return Ok(None);
        }
        let schema = Arc::new(Schema::new(vec![field.clone()]));
        let field_id = Field::Attribute(index);
        let mapped = fragment.map_parts(store, field_id, tile, field.data_type(), |cells| {
            let batch = RecordBatch::try_new(Arc::clone(&schema), vec![cells]);
            map(batch.in_object(self.display())?)
        });
        mapped.map(Some)
    }

    /// The selected cells of one tile, or `None` where there are none.
    fn read_tile(
        &self,
        plan: &ReadPlan,
        selections: &[Selection],
        (held, store): (&Held<RecordBatch>, &Fetched),
        at: At,
    ) -> Result<Option<RecordBatch>> {
        let Some(fragment) = self.fragments.get(at.fragment) else { return Ok(None) };
        let tile = at.tile;
        let leaves = fragment.metadata.rtree.leaves();
        let bounds = leaves.get(tile as usize).map(AsRef::as_ref).unwrap_or_default();
        let before = held.take(at);
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(plan.fetched.len());
        match &before {
            Some(batch) => columns.extend_from_slice(batch.columns()),
            None => {
                let dimensions = plan.fetched.iter().take(self.schema.dimensions.len());
                for (index, field) in dimensions.enumerate() {
                    let field_id = Field::Dimension(index);
                    columns.push(fragment.read_column(store, field_id, tile, field.data_type())?);
                }
            }
        }
        let kept = self.kept(plan, selections, bounds, &columns);
        let cells = fragment.metadata.tile_cells(tile) as usize;
        let keep = match kept {
            Some(keep) if keep.true_count() == 0 => return Ok(None),
            Some(keep) if keep.true_count() < cells => Some(keep),
            _ => None,
        };
        let batch = match before {
            Some(batch) => batch,
            None => self.whole_tile(plan, store, fragment, tile, columns)?,
        };
        let Some(keep) = keep else { return Ok(Some(batch)) };
        let band = selections.first().and_then(Selection::bounds);
        let tile = bounds.first().and_then(Range::as_signed);
        if let (Some((_, end)), Some((_, last))) = (band, tile)
            && end < last
            && plan.selections.first().is_some_and(|s| s.intersects(end + 1, last))
        {
            held.put(at, batch.clone(), batch.get_array_memory_size());
        }
        match stretch(&keep) {
            Some((start, length)) => Ok(Some(batch.slice(start, length))),
            None => {
                let object = store.display(&fragment.object(Field::Dimension(0), FieldFile::Fixed));
                filter_record_batch(&batch, &keep).in_object(object).map(Some)
            }
        }
    }

    /// All cells of a tile whose `columns` so far are the dimensions.
    fn whole_tile(
        &self,
        plan: &ReadPlan,
        store: &Fetched,
        fragment: &Fragment,
        tile: u64,
        mut columns: Vec<ArrayRef>,
    ) -> Result<RecordBatch> {
        let cells = fragment.metadata.tile_cells(tile) as usize;
        for field in plan.fetched.iter().skip(columns.len()) {
            columns.push(self.read_attribute(store, fragment, tile, field)?);
        }
        let mut fields = plan.fetched.clone();
        if plan.times {
            let written = match fragment.metadata.footer.has_timestamps {
                true => fragment.read_u64s(store, Field::Timestamps, tile)?,
                false => vec![fragment.name.start; cells],
            };
            let deleted = match fragment.metadata.footer.has_delete_metadata {
                true => fragment.read_u64s(store, Field::DeleteTimestamps, tile)?,
                false => vec![u64::MAX; cells],
            };
            for (name, values) in [(WRITTEN_AT, written), (DELETED_AT, deleted)] {
                fields.push(ArrowField::new(name, DataType::UInt64, false));
                columns.push(Arc::new(UInt64Array::from(values)));
            }
            let processed = self.deletes.iter().enumerate().map(|(index, delete)| {
                let how = match fragment.metadata.processed_conditions.contains(&delete.marker) {
                    true => PROCESSED,
                    false if self.knows(fragment, &delete.keep) => 0,
                    false => UNKNOWN,
                };
                (processed_name(index), vec![how; cells])
            });
            for (name, values) in processed {
                fields.push(ArrowField::new(name, DataType::UInt64, false));
                columns.push(Arc::new(UInt64Array::from(values)));
            }
        }
        let object = store.display(&fragment.object(Field::Dimension(0), FieldFile::Fixed));
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).in_object(object)
    }

    /// Which cells of a tile are selected and inside the current domain; `None` for all of them.
    ///
    /// A tile whose bounds say that all are is not looked through, as in libtiledb.
    fn kept(
        &self,
        plan: &ReadPlan,
        selections: &[Selection],
        bounds: &[Range],
        dimensions: &[ArrayRef],
    ) -> Option<BooleanArray> {
        let current = self.schema.current_domain.as_deref().unwrap_or_default();
        let mut keep: Option<BooleanBuffer> = None;
        for (index, (column, selection)) in dimensions.iter().zip(selections).enumerate() {
            let Some(values) = coordinates::signed(column) else {
                // Such a dimension cannot be sliced.
                if let Some(range) = current.get(index)
                    && let Some(inside) = coordinates::inside(column, range)
                {
                    keep = Some(match keep {
                        Some(keep) => &keep & &inside,
                        None => inside,
                    });
                }
                continue;
            };
            let bounds = bounds.get(index).and_then(Range::as_signed);
            if bounds.is_some_and(|bounds| self.takes_all(index, bounds, selection)) {
                continue;
            }
            let domain = current.get(index).and_then(Range::as_signed);
            let (low, high) = domain.unwrap_or((i64::MIN, i64::MAX));
            let (first, last) = selection.bounds().unwrap_or((low, high));
            let (low, high) = (low.max(first), high.min(last));
            let lookup = plan.lookups.get(index).unwrap_or(&Lookup::Range(i64::MIN, i64::MAX));
            let selected = BooleanBuffer::collect_bool(values.len(), |i| {
                values.get(i).is_some_and(|&v| low <= v && v <= high && lookup.contains(v))
            });
            keep = Some(match keep {
                Some(keep) => &keep & &selected,
                None => selected,
            });
        }
        keep.map(|keep| BooleanArray::new(keep, None))
    }

    /// The cells of an attribute over one tile; what a fragment does not know reads as the fill.
    pub(super) fn read_attribute(
        &self,
        store: &Fetched,
        fragment: &Fragment,
        tile: u64,
        field: &ArrowField,
    ) -> Result<ArrayRef> {
        let name = field.name();
        let Some((_, wanted)) = self.schema.attribute(name) else {
            return Err(self.no_column(name));
        };
        let Some((index, stored)) = fragment.schema.attribute(name) else {
            return self.fills(field, fragment.metadata.tile_cells(tile) as usize);
        };
        if stored.datatype != wanted.datatype || stored.values_per_cell != wanted.values_per_cell {
            return Err(Error::new(
                ErrorKind::Unsupported,
                self.display(),
                format!(
                    "column '{name}': fragment {} holds {}, the array now {}",
                    fragment.name,
                    stored.datatype.name(),
                    wanted.datatype.name()
                ),
            ));
        }
        let codes =
            fragment.read_column(store, Field::Attribute(index), tile, stored_type_of(field))?;
        self.with_categories(wanted, field, codes)
    }

    /// What an attribute has of `cells` cells that nobody has written.
    pub(super) fn fills(&self, field: &ArrowField, cells: usize) -> Result<ArrayRef> {
        let Some((_, wanted)) = self.schema.attribute(field.name()) else {
            return Err(self.no_column(field.name()));
        };
        let valid = !wanted.nullable || wanted.fill_valid;
        let validity = wanted.nullable.then(|| vec![u8::from(valid); cells]);
        let offsets = wanted
            .is_var()
            .then(|| (0..cells as u64).map(|cell| cell * wanted.fill.len() as u64).collect());
        let data = wanted.fill.repeat(cells);
        let codes = arrow_types::cells(stored_type_of(field), data, offsets, validity)
            .in_object(self.display())?;
        self.with_categories(wanted, field, codes)
    }

    /// The values of an attribute, where what is stored are codes of categories.
    fn with_categories(
        &self,
        wanted: &Attribute,
        field: &ArrowField,
        codes: ArrayRef,
    ) -> Result<ArrayRef> {
        match (&wanted.enumeration, field.data_type()) {
            (Some(enumeration), DataType::Dictionary(..)) => {
                let Some((_, values)) = self.enumerations.get(enumeration) else {
                    return Err(self.no_column(enumeration));
                };
                arrow_types::dictionary(&codes, values)
                    .map_err(|e| e.context(format_args!("column '{}'", field.name())))
                    .in_object(self.display())
            }
            _ => Ok(codes),
        }
    }

    /// Drops cells that were written at other times than this array is read of.
    fn of_the_period(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let written = batch.column_by_name(WRITTEN_AT);
        let Some(written) = written.and_then(|column| column.as_primitive_opt::<UInt64Type>())
        else {
            return Ok(batch.clone());
        };
        let keep: BooleanArray =
            written.values().iter().map(|&time| Some(self.period.holds(time))).collect();
        filter_record_batch(batch, &keep).in_object(self.display())
    }

    /// Drops cells that were deleted at or before the time of this array.
    fn without_deleted(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let times = |name: &str| {
            batch
                .column_by_name(name)
                .and_then(|column| column.as_any().downcast_ref::<UInt64Array>())
        };
        let (Some(written), Some(deleted)) = (times(WRITTEN_AT), times(DELETED_AT)) else {
            return Ok(batch.clone());
        };
        // The last representable time stands for never.
        let mut keep: Vec<bool> = deleted
            .values()
            .iter()
            .map(|&time| time == u64::MAX || time > self.period.end)
            .collect();
        for (index, Delete { at, keep: condition, .. }) in self.deletes.iter().enumerate() {
            let Some(processed) = times(&processed_name(index)) else { continue };
            let stays = self.holds(condition, batch)?;
            for (cell, keep) in keep.iter_mut().enumerate() {
                let how = processed.value(cell);
                let applies = written.value(cell) <= *at && how != PROCESSED;
                *keep = *keep && (!applies || how != UNKNOWN && stays.value(cell));
            }
        }
        filter_record_batch(batch, &BooleanArray::from(keep)).in_object(self.display())
    }

    /// Whether a fragment has all columns that a condition looks at.
    fn knows(&self, fragment: &Fragment, condition: &Condition) -> bool {
        let mut names = Vec::new();
        condition::columns(condition, &mut names);
        let dimensions = &self.schema.dimensions;
        names.iter().all(|name| {
            dimensions.iter().any(|dimension| dimension.name == *name)
                || fragment.schema.attribute(name).is_some()
        })
    }

    fn holds(&self, condition: &Condition, batch: &RecordBatch) -> Result<BooleanArray> {
        condition::evaluate(condition, batch).in_object(self.display())
    }
}

impl SparseRead<'_> {
    /// What `map` makes of the batches of the next band that has cells, on all threads, in their order. No later
    /// band has cells of the same first coordinates.
    ///
    /// # Errors
    /// Those of reading and of `map`; after one, there are no more bands.
    pub fn next_band<T: Send, E: From<Error> + Send>(
        &mut self,
        map: impl Fn(RecordBatch) -> Result<T, E> + Sync,
    ) -> Option<Result<Vec<T>, E>> {
        let held = std::mem::take(&mut self.held);
        let band = self.next_band_by(|array, plan, band, fetched| {
            array.read_band(plan, band, (&held, fetched), &map)
        });
        self.held = held;
        band
    }

    /// What `read` makes of the next band that it makes anything of.
    pub(super) fn next_band_by<T, E: From<Error>>(
        &mut self,
        read: impl Fn(&Array, &ReadPlan, &Range, &Fetched) -> Result<Vec<T>, E>,
    ) -> Option<Result<Vec<T>, E>> {
        loop {
            let (array, plan) = (self.array, &self.plan);
            let fetched = match self.bands.is_empty() {
                true => return None,
                false => self.fetcher.next(&self.bands, |band| array.wanted(plan, band)),
            };
            let band = self.bands.pop_front()?;
            let found = match fetched {
                Ok(fetched) => read(array, plan, &band, &fetched),
                Err(error) => Err(error.into()),
            };
            match found {
                Ok(found) if found.is_empty() => {}
                Ok(found) => return Some(Ok(found)),
                Err(error) => {
                    self.bands.clear();
                    return Some(Err(error));
                }
            }
        }
    }

    /// What is read for every tile.
    pub(super) fn plan(&self) -> &ReadPlan {
        &self.plan
    }

    /// Whether tiles are left out that the selections alone would not leave out.
    pub fn leaves_out(&self) -> bool {
        self.plan.skipped.any()
    }

    /// The schema of the batches.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }
}

impl Iterator for SparseRead<'_> {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ready.is_empty() {
            match self.next_band(Ok)? {
                Ok(batches) => self.ready = batches.into(),
                Err(error) => return Some(Err(error)),
            }
        }
        self.ready.pop_front().map(Ok)
    }
}

/// The type of what is stored of a field: of categories, their codes.
fn stored_type_of(field: &ArrowField) -> &DataType {
    match field.data_type() {
        DataType::Dictionary(index, _) => index.as_ref(),
        other => other,
    }
}

/// The only stretch of cells that are kept, where it is one: tiles that bands cut mostly lie row by row.
fn stretch(keep: &BooleanArray) -> Option<(usize, usize)> {
    let mut stretches = keep.values().set_slices();
    let (start, end) = stretches.next()?;
    stretches.next().is_none().then_some((start, end - start))
}

/// A band that leaves nothing out.
fn everything(bounds: Option<&Range>) -> Range {
    match bounds {
        Some(Range::Bytes(..)) => Range::Bytes(Vec::new(), Vec::new()),
        _ => Range::Signed(i64::MIN, i64::MAX),
    }
}

/// Adds a band, cut evenly where its tiles hold too many cells for one.
fn push_band(bands: &mut VecDeque<Range>, (low, high, cells): (i64, i64, u64), most: u64) {
    // A dimension of dates may be in use from end to end.
    let rows = high.abs_diff(low).saturating_add(1);
    let parts = cells.div_ceil(2 * most).clamp(1, rows);
    let step = rows.div_ceil(parts);
    let mut next = Some(low);
    while let Some(start) = next.filter(|start| *start <= high) {
        let end = start.checked_add_unsigned(step - 1).unwrap_or(high).min(high);
        bands.push_back(Range::Signed(start, end));
        next = end.checked_add(1);
    }
}

fn processed_name(delete: usize) -> String {
    format!("__processed_{delete}")
}

/// The newest version of each cell, in row-major order.
fn newest(batch: &RecordBatch, dimensions: usize) -> Result<RecordBatch, arrow_schema::ArrowError> {
    let written = batch
        .column_by_name(WRITTEN_AT)
        .and_then(|column| column.as_any().downcast_ref::<UInt64Array>())
        .ok_or_else(|| arrow_schema::ArrowError::SchemaError("no times to merge by".to_owned()))?;
    let mut order: Vec<u64> = (0..batch.num_rows() as u64).collect();
    let compare = comparators(batch, dimensions)?;
    order.sort_by(|&a, &b| {
        let (a, b) = (a as usize, b as usize);
        compare(a, b).then_with(|| written.value(b).cmp(&written.value(a))).then_with(|| b.cmp(&a))
    });
    order.dedup_by(|next, first| compare(*first as usize, *next as usize).is_eq());
    take_record_batch(batch, &UInt64Array::from(order))
}

/// Compares two rows of a batch by their coordinates.
fn comparators(
    batch: &RecordBatch,
    dimensions: usize,
) -> Result<impl Fn(usize, usize) -> std::cmp::Ordering, arrow_schema::ArrowError> {
    let columns = (0..dimensions)
        .map(|index| {
            let column = batch.column(index);
            arrow_ord::ord::make_comparator(column, column, Default::default())
        })
        .collect::<Result<Vec<_>, _>>()?;
    Ok(move |a, b| {
        columns
            .iter()
            .fold(std::cmp::Ordering::Equal, |order, compare| order.then_with(|| compare(a, b)))
    })
}
