//! Stored tiles: read one by one where that costs nothing, and many at once from a store that is far away.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::thread::JoinHandle;

use vacuole_store::{ObjectRanges, Store};
use vacuole_tiledb::fragment::{Field, FieldFile};

use super::fragment::Fragment;
use crate::error::Result;

/// About how many stored bytes are fetched together. As many again are on their way meanwhile.
const TOGETHER: u64 = 16 << 20;

/// The same at the start, where the reader waits for them.
const AT_FIRST: u64 = 4 << 20;

/// Where stored tiles come from.
pub(crate) trait TileSource {
    /// What an error calls an object.
    fn display(&self, object: &str) -> String;

    /// A range of an object.
    fn range(&self, object: &str, range: Range<u64>) -> Result<Vec<u8>>;
}

impl TileSource for dyn Store + '_ {
    fn display(&self, object: &str) -> String {
        Store::display(self, object)
    }

    fn range(&self, object: &str, range: Range<u64>) -> Result<Vec<u8>> {
        let mut read = self.read_ranges(object, std::slice::from_ref(&range))?;
        Ok(read.pop().unwrap_or_default())
    }
}

/// Ranges of objects, first byte and end, by object.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted {
    ranges: BTreeMap<String, BTreeSet<(u64, u64)>>,
    bytes: u64,
}

impl Wanted {
    /// Adds all that is stored of a field's cells over one tile.
    pub(super) fn tile(&mut self, fragment: &Fragment, field: Field, tile: u64) {
        for (object, range) in fragment.stored_ranges(field, tile) {
            self.add(object, [(range.start, range.end)]);
        }
    }

    fn add(&mut self, object: String, ranges: impl IntoIterator<Item = (u64, u64)>) {
        let all = self.ranges.entry(object).or_default();
        for (start, end) in ranges {
            // A tile that lies in two bands is wanted by both.
            if all.insert((start, end)) {
                self.bytes += end - start;
            }
        }
    }

    fn add_all(&mut self, other: Self) {
        for (object, ranges) in other.ranges {
            self.add(object, ranges);
        }
    }

    fn fetch(self, store: Arc<dyn Store>) -> Result<Fetched> {
        let ranges = |ranges: BTreeSet<(u64, u64)>| ranges.into_iter().map(|(a, b)| a..b).collect();
        let wanted: Vec<ObjectRanges> =
            self.ranges.into_iter().map(|(object, all)| (object, ranges(all))).collect();
        let read = store.read_many(&wanted)?;
        let mut pieces = HashMap::new();
        for ((object, ranges), read) in wanted.into_iter().zip(read) {
            let found: HashMap<_, _> = ranges.into_iter().zip(read).collect();
            pieces.insert(object, found);
        }
        Ok(Fetched { store, pieces })
    }
}

/// What was fetched; the rest comes from the store.
#[derive(Debug)]
pub(super) struct Fetched {
    store: Arc<dyn Store>,
    pieces: HashMap<String, HashMap<Range<u64>, Vec<u8>>>,
}

impl Fetched {
    /// Fetches what is wanted, where `store` is far; else nothing.
    pub(super) fn now(store: &Arc<dyn Store>, wanted: impl FnOnce() -> Wanted) -> Result<Self> {
        let wanted = if store.is_far() { wanted() } else { Wanted::default() };
        match wanted.ranges.is_empty() {
            true => Ok(Self { store: Arc::clone(store), pieces: HashMap::new() }),
            false => wanted.fetch(Arc::clone(store)),
        }
    }
}

impl TileSource for Fetched {
    fn display(&self, object: &str) -> String {
        self.store.display(object)
    }

    fn range(&self, object: &str, range: Range<u64>) -> Result<Vec<u8>> {
        match self.pieces.get(object).and_then(|pieces| pieces.get(&range)) {
            Some(bytes) => Ok(bytes.clone()),
            None => TileSource::range(&*self.store, object, range),
        }
    }
}

/// Fetches what bands need, some bands at a time, while those before them are made use of.
#[derive(Debug)]
pub(super) struct Fetcher {
    store: Arc<dyn Store>,
    /// The bands that have been fetched and not been taken.
    fetched: Option<(usize, Arc<Fetched>)>,
    coming: Option<(usize, Coming)>,
}

#[derive(Debug)]
enum Coming {
    Thread(JoinHandle<Result<Fetched>>),
    /// Where no thread could be started.
    Later(Wanted),
}

impl Fetcher {
    pub(super) fn new(store: &Arc<dyn Store>) -> Self {
        Self { store: Arc::clone(store), fetched: None, coming: None }
    }

    /// Tiles for the first of `bands`, which is taken from them with the next call; `wanted` tells what a band needs.
    pub(super) fn next<B>(
        &mut self,
        bands: &VecDeque<B>,
        wanted: impl Fn(&B) -> Wanted,
    ) -> Result<Arc<Fetched>> {
        if !self.store.is_far() {
            return Fetched::now(&self.store, Wanted::default).map(Arc::new);
        }
        if let Some((left, fetched)) = &mut self.fetched
            && *left > 0
        {
            *left -= 1;
            return Ok(Arc::clone(fetched));
        }
        self.fetched = None;
        let coming = match self.coming.take() {
            Some(coming) => Some(coming),
            None => self.begin(bands, 0, AT_FIRST, &wanted),
        };
        let Some((count, coming)) = coming else {
            return Fetched::now(&self.store, Wanted::default).map(Arc::new);
        };
        let fetched = match coming {
            Coming::Thread(thread) => {
                thread.join().unwrap_or_else(|cause| std::panic::resume_unwind(cause))?
            }
            Coming::Later(wanted) => wanted.fetch(Arc::clone(&self.store))?,
        };
        self.coming = self.begin(bands, count, TOGETHER, &wanted);
        let fetched = Arc::new(fetched);
        self.fetched = Some((count - 1, Arc::clone(&fetched)));
        Ok(fetched)
    }

    /// Begins to fetch about so many bytes for bands behind the first `skipped` ones.
    fn begin<B>(
        &self,
        bands: &VecDeque<B>,
        skipped: usize,
        most: u64,
        wanted: &impl Fn(&B) -> Wanted,
    ) -> Option<(usize, Coming)> {
        let mut all = Wanted::default();
        let mut count = 0;
        for band in bands.iter().skip(skipped) {
            all.add_all(wanted(band));
            count += 1;
            if all.bytes >= most {
                break;
            }
        }
        if count == 0 {
            return None;
        }
        let store = Arc::clone(&self.store);
        let theirs = all.clone();
        let thread = std::thread::Builder::new().name("fetch".to_owned());
        let coming = match thread.spawn(move || theirs.fetch(store)) {
            Ok(thread) => Coming::Thread(thread),
            Err(_) => Coming::Later(all),
        };
        Some((count, coming))
    }
}

impl Fragment {
    /// Where the cells of a field over one tile are stored. What the metadata do not know is left out: reading
    /// it is an error.
    fn stored_ranges(&self, field: Field, tile: u64) -> Vec<(String, Range<u64>)> {
        let mut files = vec![FieldFile::Fixed];
        if self.is_var(field) {
            files.push(FieldFile::Var);
        }
        if self.is_nullable(field) {
            files.push(FieldFile::Validity);
        }
        let ranges = files.into_iter().filter_map(|file| {
            let range = self.metadata.tile_range(&self.schema, field, file, tile).ok()?;
            (range.start <= range.end).then(|| (self.object(field, file), range))
        });
        ranges.collect()
    }
}
