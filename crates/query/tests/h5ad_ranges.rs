//! Of an H5AD file only what a question is about is read.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow_array::{Array, ArrayRef, Float32Array, Int32Array, LargeStringArray};
use vacuole_anndata::model::{Column, ColumnEncoding};
use vacuole_anndata::write::{Compression, H5adWriter, WriteOptions};
use vacuole_anndata::{ByteSource, FileSource, H5ad, Matrix, Result};
use vacuole_query::Choice;
use vacuole_query::h5ad::{FileSliceOptions, select_obs, show, write_file_slice};

const CELLS: usize = 20_000;
const GENES: u64 = 1_000;
const PER_CELL: usize = 150;

/// A source that counts what is read from it.
struct Counting {
    inner: FileSource,
    bytes: AtomicU64,
}

impl ByteSource for Counting {
    fn size(&self) -> Result<u64> {
        self.inner.size()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.bytes.fetch_add(buffer.len() as u64, Ordering::Relaxed);
        self.inner.read_at(offset, buffer)
    }
}

/// The file at `path`, and what was read of it since.
fn counted(path: &Path) -> (H5ad, Arc<Counting>) {
    let inner = FileSource::open(path).unwrap();
    let source = Arc::new(Counting { inner, bytes: AtomicU64::new(0) });
    (H5ad::from_source(source.clone(), "counted").unwrap(), source)
}

/// Cell `i` has the batch `i / 100`, and `PER_CELL` values in X and in a layer.
fn write(path: &Path, compression: Compression) {
    let options = WriteOptions::default().with_compression(compression);
    let mut out = H5adWriter::create(path, options).unwrap();
    let names = |prefix: &str, count: usize| -> ArrayRef {
        let names = (0..count).map(|i| format!("{prefix}{i}"));
        Arc::new(LargeStringArray::from_iter_values(names))
    };
    let plain = |values: ArrayRef| Column { values, encoding: ColumnEncoding::Plain };
    let text = Column { values: names("text", CELLS), encoding: ColumnEncoding::String };
    let batch = Int32Array::from_iter_values((0..CELLS).map(|i| i as i32 / 100));
    let columns = [("batch".to_owned(), plain(Arc::new(batch))), ("text".to_owned(), text)];
    out.frame("obs", None, names("cell", CELLS).as_ref(), &columns).unwrap();
    out.frame("var", None, names("gene", GENES as usize).as_ref(), &[]).unwrap();
    for path in ["X", "layers/counts"] {
        let shape = (CELLS as u64, GENES);
        let mut x = out.csr(path, shape, &arrow_schema::DataType::Float32).unwrap();
        for cell in 0..CELLS {
            let columns: Vec<u32> = (0..PER_CELL as u32).map(|i| i * 6 + cell as u32 % 6).collect();
            // Noise, so that a compressed file is large too.
            let noise = |i: u32| {
                let mut bits = i ^ ((cell as u32) << 12);
                for factor in [0x85EB_CA6B_u32, 0xC2B2_AE35] {
                    bits = (bits ^ (bits >> 15)).wrapping_mul(factor);
                }
                (bits ^ (bits >> 16)) as f32
            };
            let values = Float32Array::from_iter_values(columns.iter().map(|&i| noise(i)));
            x.append([PER_CELL as u64], &columns, &values).unwrap();
        }
        x.finish().unwrap();
    }
    out.finish().unwrap();
}

#[test]
fn a_question_reads_what_it_is_about() {
    let folder = tempfile::tempdir().unwrap();
    for compression in [Compression::None, Compression::Gzip(1)] {
        let path = folder.path().join("large.h5ad");
        write(&path, compression);
        let (file, source) = counted(&path);
        let size = source.size().unwrap();
        assert!(size > 10 << 20, "{size}");
        let read = || source.bytes.load(Ordering::Relaxed);

        let tree = show(&file).unwrap();
        assert_eq!(tree.members[0].count, Some((CELLS * PER_CELL) as u64));
        let filter = "batch == 77 or batch == 120";
        assert_eq!(select_obs(&file, Some(filter)).unwrap().len(), 200);
        assert!(read() < size / 20, "{compression:?}: {} of {size} bytes for a count", read());

        let target = folder.path().join("slice.h5ad");
        let options = FileSliceOptions {
            obs: Choice::of_filter(Some(filter)),
            ..FileSliceOptions::default()
        };
        let summary = write_file_slice(&file, &target, &options).unwrap();
        assert_eq!((summary.n_obs, summary.nnz), (200, 200 * PER_CELL as u64));
        assert!(read() < size / 5, "{compression:?}: {} of {size} bytes for a slice", read());

        let slice = H5ad::open(&target).unwrap();
        let (Some(Matrix::Sparse(whole)), Some(Matrix::Sparse(part))) = (file.x(), slice.x())
        else {
            panic!("expected sparse matrices")
        };
        let (first, half) = (7700 * PER_CELL as u64, 100 * PER_CELL as u64);
        let expected = whole.read_data(first..first + half).unwrap();
        assert_eq!(*part.read_data(0..half).unwrap(), *expected);
        assert_eq!(slice.obs().index().unwrap().len(), 200);
    }
}
