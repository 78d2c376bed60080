//! Reading the cells of a sparse array, in bounded bands of its first dimension.
//!
//! A band is a range of the first dimension. Its tiles are unfiltered side by side, cells outside the
//! selection and the current domain are dropped, and then, where fragments overlap, the newest version of
//! each cell is kept. Deletes come last: an older version of a deleted cell does not come back (libtiledb).

use std::collections::VecDeque;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array as _, ArrayRef, BooleanArray, RecordBatch, UInt64Array};
use arrow_buffer::BooleanBuffer;
use arrow_schema::{DataType, Field as ArrowField, Schema, SchemaRef};
use arrow_select::concat::concat_batches;
use arrow_select::filter::filter_record_batch;
use arrow_select::take::take_record_batch;
use rayon::prelude::*;
use vacuole_tiledb::Condition;
use vacuole_tiledb::fragment::{Field, FieldFile};
use vacuole_tiledb::schema::Range;

use super::fetch::{Fetched, Fetcher, TileSource, Wanted};
use super::fragment::Fragment;
use super::held::{At, Held};
use super::selection::{Lookup, Selection};
use super::skipped::{Skipped, Within};
use super::{Array, Delete, arrow_types};
use crate::condition;
use crate::error::{Error, ErrorKind, InObject, Result};

/// How many cells a band holds at the most, where tiles allow it.
const BAND_CELLS: u64 = 1 << 21;

/// Cells' own times ride along under these names, which no SOMA column can have.
const WRITTEN_AT: &str = "__written_at";
const DELETED_AT: &str = "__deleted_at";

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
}

impl SparseReadOptions {
    /// Every cell of these columns.
    pub fn columns(columns: &[&str]) -> Self {
        let columns = columns.iter().map(|&column| column.to_owned()).collect();
        Self { columns: Some(columns), ..Self::default() }
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
    held: Held,
    fetcher: Fetcher,
    ready: VecDeque<RecordBatch>,
    schema: SchemaRef,
}

/// What a read fetches for every tile.
#[derive(Debug)]
struct ReadPlan {
    selections: Vec<Selection>,
    lookups: Vec<Lookup>,
    /// Dimensions, wanted attributes, and those that delete conditions look at.
    fetched: Vec<ArrowField>,
    /// The positions in `fetched` of the columns wanted.
    wanted: Vec<usize>,
    merge: bool,
    times: bool,
    skipped: Skipped,
    band_cells: u64,
}

impl ReadPlan {
    /// The selections within a band.
    fn within(&self, band: &Range) -> Vec<Selection> {
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
        let times = merge
            || !self.deletes.is_empty()
            || self.fragments.iter().any(|f| f.metadata.footer.has_delete_metadata);
        let fetched = fetched.into_iter().map(|index| fields[index].as_ref().clone()).collect();
        let lookups = selections.iter().map(Lookup::from).collect();
        let skipped = match merge || times {
            true => Skipped::default(),
            false => self.skipped(&options.within)?,
        };
        let band_cells = options.at_a_time.unwrap_or(BAND_CELLS).clamp(1, BAND_CELLS);
        Ok(ReadPlan { selections, lookups, fetched, wanted, merge, times, skipped, band_cells })
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
        (held, source): (&Held, &Fetched),
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
                let batch = tile(at)?.as_ref().map(wanted).transpose()?.flatten();
                batch.map(map).transpose()
            });
            let mapped = mapped.collect::<Result<Vec<_>, E>>()?;
            return Ok(mapped.into_iter().flatten().collect());
        }
        let read = tiles.par_iter().map(tile).collect::<Result<Vec<_>>>()?;
        let mut batches: Vec<RecordBatch> = read.into_iter().flatten().collect();
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
        for At { fragment, tile } in self.tiles(plan, &plan.within(band)) {
            let Some(fragment) = self.fragments.get(fragment) else { continue };
            (0..dimensions).for_each(|d| wanted.tile(fragment, Field::Dimension(d), tile));
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
    fn tiles(&self, plan: &ReadPlan, selections: &[Selection]) -> Vec<At> {
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

    /// The selected cells of one tile, or `None` where there are none.
    fn read_tile(
        &self,
        plan: &ReadPlan,
        selections: &[Selection],
        (held, store): (&Held, &Fetched),
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
            held.put(at, &batch);
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
                let done = fragment.metadata.processed_conditions.contains(&delete.marker);
                (processed_name(index), vec![u64::from(done); cells])
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
            let Some(values) = column.as_primitive_opt::<Int64Type>() else { continue };
            let values = values.values();
            let domain = current.get(index).and_then(Range::as_signed);
            let (low, high) = domain.unwrap_or((i64::MIN, i64::MAX));
            let bounds = bounds.get(index).and_then(Range::as_signed);
            if let Some((least, most)) = bounds
                && low <= least
                && most <= high
                && selection.covers(least, most)
            {
                continue;
            }
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
    fn read_attribute(
        &self,
        store: &Fetched,
        fragment: &Fragment,
        tile: u64,
        field: &ArrowField,
    ) -> Result<ArrayRef> {
        let name = field.name();
        let cells = fragment.metadata.tile_cells(tile) as usize;
        let Some((_, wanted)) = self.schema.attribute(name) else {
            return Err(self.no_column(name));
        };
        let plain = match field.data_type() {
            DataType::Dictionary(index, _) => index.as_ref(),
            other => other,
        };
        let codes = match fragment.schema.attribute(name) {
            Some((index, stored)) => {
                if stored.datatype != wanted.datatype || stored.is_var() != wanted.is_var() {
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
                fragment.read_column(store, Field::Attribute(index), tile, plain)?
            }
            None => {
                let valid = !wanted.nullable || wanted.fill_valid;
                let validity = wanted.nullable.then(|| vec![u8::from(valid); cells]);
                let offsets = wanted.is_var().then(|| {
                    (0..cells as u64).map(|cell| cell * wanted.fill.len() as u64).collect()
                });
                arrow_types::cells(plain, wanted.fill.repeat(cells), offsets, validity)
                    .in_object(self.display())?
            }
        };
        match (&wanted.enumeration, field.data_type()) {
            (Some(enumeration), DataType::Dictionary(..)) => {
                let Some((_, values)) = self.enumerations.get(enumeration) else {
                    return Err(self.no_column(enumeration));
                };
                arrow_types::dictionary(&codes, values)
                    .map_err(|e| e.context(format_args!("column '{name}'")))
                    .in_object(self.display())
            }
            _ => Ok(codes),
        }
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
        let mut keep: Vec<bool> =
            deleted.values().iter().map(|&time| time == u64::MAX || time > self.at).collect();
        for (index, Delete { at, keep: condition, .. }) in self.deletes.iter().enumerate() {
            let Some(processed) = times(&processed_name(index)) else { continue };
            let stays = self.holds(condition, batch)?;
            for (cell, keep) in keep.iter_mut().enumerate() {
                let applies = written.value(cell) <= *at && processed.value(cell) == 0;
                *keep = *keep && (!applies || stays.value(cell));
            }
        }
        filter_record_batch(batch, &BooleanArray::from(keep)).in_object(self.display())
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
        while let Some(read) = self.fetch_band(&map) {
            match read {
                Ok(mapped) if mapped.is_empty() => {}
                Ok(mapped) => return Some(Ok(mapped)),
                Err(error) => {
                    self.bands.clear();
                    return Some(Err(error));
                }
            }
        }
        None
    }

    fn fetch_band<T: Send, E: From<Error> + Send>(
        &mut self,
        map: &(impl Fn(RecordBatch) -> Result<T, E> + Sync),
    ) -> Option<Result<Vec<T>, E>> {
        let (array, plan) = (self.array, &self.plan);
        let fetched = match self.bands.is_empty() {
            true => return None,
            false => self.fetcher.next(&self.bands, |band| array.wanted(plan, band)),
        };
        let band = self.bands.pop_front()?;
        Some(match fetched {
            Ok(fetched) => array.read_band(plan, &band, (&self.held, &fetched), map),
            Err(error) => Err(error.into()),
        })
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
    let rows = (high - low) as u64 + 1;
    let parts = cells.div_ceil(2 * most).clamp(1, rows);
    let step = rows.div_ceil(parts) as i64;
    let mut start = low;
    while start <= high {
        let end = start.saturating_add(step - 1).min(high);
        bands.push_back(Range::Signed(start, end));
        start = end + 1;
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
