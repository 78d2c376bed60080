//! Entries put in order by cell.
//!
//! Cell Ranger writes them so, and they are written down as they come. Others write them by feature: then the cells are
//! cut into buckets of some entries each, the entries are sorted into the buckets, in a file, and each bucket is put in
//! order in memory. Entries of one cell keep their order.

use std::ops::Range;
use std::path::Path;

use super::entries::{self, Entry};
use super::header::Header;
use super::spool::{Spool, Spooled};
use super::text::Text;
use crate::{Error, Result};

/// How many entries a bucket should have, which are put in order in memory.
const BUCKET: u64 = 2 << 20;

/// The most buckets, since each is written by way of some memory.
const BUCKETS: u64 = 1024;

/// The entries of a bucket that are written together.
const TOGETHER: usize = 2048;

/// The bytes of an entry in a bucket: the cell in its bucket, the feature, the value.
const ENTRY: usize = 12;

/// Entries by cell.
#[derive(Debug)]
pub(super) struct Ordered {
    indptr: Vec<u64>,
    indices: Spooled,
    data: Spooled,
}

impl Ordered {
    /// Reads all entries of a text, and puts them down in `tmpdir`.
    pub(super) fn make(text: &Text, header: &Header, tmpdir: &Path) -> Result<Self> {
        Self::make_with(text, header, tmpdir, BUCKET)
    }

    pub(super) fn make_with(
        text: &Text,
        header: &Header,
        tmpdir: &Path,
        bucket: u64,
    ) -> Result<Self> {
        let mut output = Output::new(tmpdir)?;
        let mut indptr = vec![0_u64; header.columns as usize + 1];
        let (mut last, mut in_order) = (0, true);
        entries::each(text, header, |entry| {
            if let Some(count) = indptr.get_mut(entry.column as usize + 1) {
                *count += 1;
            }
            in_order &= entry.column >= last;
            last = entry.column;
            match in_order {
                true => output.append(entry.row, entry.value),
                false => Ok(()),
            }
        })?;
        let mut before = 0;
        for count in &mut indptr {
            before += *count;
            *count = before;
        }
        if !in_order {
            output = sorted(text, header, tmpdir, &indptr, bucket)?;
        }
        let (indices, data) = (output.indices.finish()?, output.data.finish()?);
        Ok(Self { indptr, indices, data })
    }

    pub(super) fn indptr(&self) -> &[u64] {
        &self.indptr
    }

    /// The features of some entries.
    pub(super) fn read_indices(&self, range: Range<u64>) -> Result<Vec<u32>> {
        let bytes = self.read(&self.indices, range)?;
        Ok(words(&bytes).map(u32::from_ne_bytes).collect())
    }

    /// The values of some entries.
    pub(super) fn read_data(&self, range: Range<u64>) -> Result<Vec<f32>> {
        let bytes = self.read(&self.data, range)?;
        Ok(words(&bytes).map(f32::from_ne_bytes).collect())
    }

    fn read(&self, file: &Spooled, range: Range<u64>) -> Result<Vec<u8>> {
        let all = self.indptr.last().copied().unwrap_or(0);
        if range.start > range.end || range.end > all {
            return Err(Error::invalid(format!("expected entries of 0 to {all}, found {range:?}")));
        }
        file.read(range.start * 4, (range.end - range.start) as usize * 4)
    }
}

fn words(bytes: &[u8]) -> impl Iterator<Item = [u8; 4]> + '_ {
    bytes.as_chunks::<4>().0.iter().copied()
}

/// Two files that grow side by side.
struct Output {
    indices: Spool,
    data: Spool,
}

impl Output {
    fn new(tmpdir: &Path) -> Result<Self> {
        Ok(Self { indices: Spool::create(tmpdir)?, data: Spool::create(tmpdir)? })
    }

    fn append(&mut self, row: u32, value: f32) -> Result<()> {
        self.indices.append(&row.to_ne_bytes())?;
        self.data.append(&value.to_ne_bytes())
    }
}

/// Some cells, and where their entries are.
struct Bucket {
    first_cell: u64,
    cells: u64,
    /// Where its entries begin, and how many are in the file.
    start: u64,
    written: u64,
    waiting: Vec<u8>,
}

/// Reads the text again and sorts its entries; `indptr` says how many each cell has.
fn sorted(
    text: &Text,
    header: &Header,
    tmpdir: &Path,
    indptr: &[u64],
    most: u64,
) -> Result<Output> {
    let (mut buckets, bucket_of) = cut(indptr, most.max(header.entries.div_ceil(BUCKETS)));
    let mut file = Spool::create(tmpdir)?;
    entries::each(text, header, |Entry { row, column, value }| {
        let number = bucket_of.partition_point(|&first| first <= u64::from(column));
        let Some(bucket) = number.checked_sub(1).and_then(|number| buckets.get_mut(number)) else {
            return Ok(());
        };
        let cell = (u64::from(column) - bucket.first_cell) as u32;
        bucket.waiting.extend_from_slice(&cell.to_ne_bytes());
        bucket.waiting.extend_from_slice(&row.to_ne_bytes());
        bucket.waiting.extend_from_slice(&value.to_ne_bytes());
        match bucket.waiting.len() >= TOGETHER * ENTRY {
            true => bucket.write(&mut file),
            false => Ok(()),
        }
    })?;
    for bucket in &mut buckets {
        bucket.write(&mut file)?;
    }
    let file = file.finish()?;
    let mut output = Output::new(tmpdir)?;
    for bucket in &buckets {
        bucket.drain(&file, indptr, &mut output)?;
    }
    Ok(output)
}

/// Cuts the cells into buckets of at most so many entries, but for a cell with more. Returns the first cells as well.
fn cut(indptr: &[u64], most: u64) -> (Vec<Bucket>, Vec<u64>) {
    let mut buckets: Vec<Bucket> = Vec::new();
    for (cell, pair) in (0..).zip(indptr.windows(2)) {
        let &[start, end] = pair else { continue };
        match buckets.last_mut() {
            Some(last) if end - last.start <= most => last.cells += 1,
            _ => {
                let (written, waiting) = (0, Vec::new());
                buckets.push(Bucket { first_cell: cell, cells: 1, start, written, waiting });
            }
        }
    }
    let first = buckets.iter().map(|bucket| bucket.first_cell).collect();
    (buckets, first)
}

impl Bucket {
    fn write(&mut self, file: &mut Spool) -> Result<()> {
        file.put(self.start * ENTRY as u64 + self.written, &self.waiting)?;
        self.written += self.waiting.len() as u64;
        self.waiting.clear();
        Ok(())
    }

    /// Appends the entries in order.
    fn drain(&self, file: &Spooled, indptr: &[u64], output: &mut Output) -> Result<()> {
        let start = self.start * ENTRY as u64;
        if self.cells == 1 {
            // However many there are, they are in order.
            let most = (BUCKET as usize) * ENTRY;
            let mut at = 0;
            while at < self.written {
                let length = (self.written - at).min(most as u64);
                for [_, row, value] in parts(&file.read(start + at, length as usize)?) {
                    output.append(u32::from_ne_bytes(row), f32::from_ne_bytes(value))?;
                }
                at += length;
            }
            return Ok(());
        }
        let bytes = file.read(start, self.written as usize)?;
        let first = self.first_cell as usize;
        let starts = indptr.get(first..first + self.cells as usize).unwrap_or_default();
        let mut next: Vec<usize> = starts.iter().map(|at| (at - self.start) as usize).collect();
        let mut sorted = vec![(0, 0.0); bytes.len() / ENTRY];
        for [cell, row, value] in parts(&bytes) {
            if let Some(next) = next.get_mut(u32::from_ne_bytes(cell) as usize)
                && let Some(place) = sorted.get_mut(*next)
            {
                *place = (u32::from_ne_bytes(row), f32::from_ne_bytes(value));
                *next += 1;
            }
        }
        sorted.into_iter().try_for_each(|(row, value)| output.append(row, value))
    }
}

fn parts(bytes: &[u8]) -> impl Iterator<Item = [[u8; 4]; 3]> + '_ {
    let entries = bytes.as_chunks::<ENTRY>().0;
    entries.iter().filter_map(|entry| entry.as_chunks::<4>().0.try_into().ok())
}
