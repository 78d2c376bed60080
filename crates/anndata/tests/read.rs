//! Files that AnnData and h5py wrote (`data/generate.py`), read as they are and damaged.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type, Int32Type, Int64Type};
use arrow_array::{Array, ArrayRef, Int32Array};
use vacuole_anndata::model::{ColumnEncoding, Scalar, Value};
use vacuole_anndata::{
    ByteSource, Element, ErrorKind, FileSource, H5ad, Matrix, ReadOptions, Result,
};

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

fn strings(values: &ArrayRef) -> Vec<String> {
    values.as_string::<i64>().iter().map(|value| value.unwrap_or("-").to_owned()).collect()
}

#[expect(clippy::panic, reason = "a helper of tests")]
fn member<'a>(members: &'a [(String, Element)], name: &str) -> &'a Element {
    match members.iter().find(|(found, _)| found == name) {
        Some((_, element)) => element,
        None => panic!("no {name:?} in {members:?}"),
    }
}

#[test]
fn modern_file() {
    let file = H5ad::open(&path("modern.h5ad")).unwrap();
    assert_eq!((file.n_obs(), file.n_vars()), (6, 4));
    assert_eq!(file.obs().schema().index_name.as_deref(), Some("cell"));
    assert_eq!(strings(&file.obs().index().unwrap())[..2], ["cell0", "cell1"]);
    let names: Vec<_> = file.obs().schema().columns.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(names, ["type", "n", "maybe", "flag", "text", "label"]);

    let kind = file.obs().column("type").unwrap();
    assert_eq!(kind.encoding, ColumnEncoding::Categorical { ordered: true });
    let kind = kind.values.as_dictionary::<Int32Type>();
    assert_eq!(strings(kind.values()), ["T", "NK", "B"]);
    let keys = [Some(0), Some(2), None, Some(0), Some(2), Some(2)];
    assert_eq!(kind.keys(), &Int32Array::from(keys.to_vec()));

    let maybe = file.obs().column("maybe").unwrap();
    assert_eq!(maybe.encoding, ColumnEncoding::NullableInteger);
    assert_eq!(maybe.values.null_count(), 2);
    assert_eq!(file.obs().column("flag").unwrap().values.null_count(), 2);
    let text = file.obs().column("text").unwrap();
    assert_eq!(strings(&text.values), ["a", "-", "", "dé", "e", "f"]);
    assert_eq!(file.obs().column("absent").unwrap_err().kind(), ErrorKind::InvalidInput);

    let Some(Matrix::Sparse(x)) = file.x() else { panic!("expected a sparse X") };
    let indptr = x.indptr().unwrap();
    assert_eq!(x.nnz().unwrap(), indptr[6]);
    let row = indptr[2]..indptr[3];
    assert_eq!(x.read_indices(row.clone()).unwrap()[..], [1, 3]);
    assert_eq!(x.read_data(row).unwrap().as_primitive::<Float32Type>().values(), &[1.0, 1.0]);
    assert_eq!(x.read_indices(0..1 << 40).unwrap_err().kind(), ErrorKind::InvalidInput);

    let uns = file.uns().unwrap();
    assert!(matches!(member(&uns, "none"), Element::Null));
    assert!(matches!(member(&uns, "float"), Element::Scalar(Scalar::Float64(1.5))));
    let Element::Mapping(nested) = member(&uns, "nested") else { panic!("expected a mapping") };
    let Element::Array(cube) = member(nested, "cube") else { panic!("expected an array") };
    assert_eq!(cube.shape(), [2, 3, 4]);
    assert_eq!(cube.read_rows(1..2).unwrap().len(), 12);
    let Value::Structured(records) = member(&uns, "records").read().unwrap() else {
        panic!("expected records")
    };
    assert_eq!(strings(&records.fields[1].1.values), ["x", "yz"]);
    let raw = file.raw().unwrap().unwrap();
    assert_eq!(raw.x.unwrap().shape(), (6, 4));
}

#[test]
fn old_file() {
    let file = H5ad::open(&path("old.h5ad")).unwrap();
    assert_eq!(file.obs().schema().index_name.as_deref(), Some("index"));
    let kind = file.obs().column("type").unwrap();
    let kind = kind.values.as_dictionary::<Int32Type>();
    assert_eq!(strings(kind.values()), ["T", "B"]);
    assert_eq!(kind.null_count(), 1);
    let n = file.obs().column("n").unwrap();
    assert_eq!(n.values.as_primitive::<Int64Type>().values(), &[0, 1, 2, 3, 4, 5]);
    let uns = file.uns().unwrap();
    assert_eq!(uns.len(), 1, "the categories are in obs");
    let Element::Scalar(Scalar::String(name)) = member(&uns, "name") else { panic!("{uns:?}") };
    assert_eq!(name, "scalar");
    assert_eq!(file.x().unwrap().shape(), (6, 4));
}

#[test]
fn latest_structures() {
    let file = H5ad::open(&path("latest.h5ad")).unwrap();
    let layers = file.layers().unwrap();
    let names: Vec<_> = layers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["single", "one way", "both ways", "link"]);
    let expected: Vec<f64> = (0..24).map(f64::from).collect();
    for (name, layer) in &layers {
        let Element::Array(array) = layer else { panic!("{name}") };
        let values = array.read().unwrap().values;
        assert_eq!(values.as_primitive::<Float64Type>().values(), &expected, "{name}");
        for (from, to) in [(0, 0), (1, 2), (1, 6), (3, 4), (6, 6)] {
            let rows = array.read_rows(from..to).unwrap();
            let (from, to) = (from as usize * 4, to as usize * 4);
            assert_eq!(rows.as_primitive::<Float64Type>().values(), &expected[from..to], "{name}");
        }
    }
    let kind = file.var().column("type").unwrap();
    assert_eq!(strings(kind.values.as_dictionary::<Int32Type>().values()), ["only"]);
    let Element::Mapping(many) = &file.uns().unwrap()[0].1 else { panic!("expected a mapping") };
    assert_eq!(many.len(), 9);
}

#[test]
fn limits_are_kept() {
    let mut options = ReadOptions::default();
    options.max_read_bytes = 40;
    let file = H5ad::open_with(&path("modern.h5ad"), options).unwrap();
    let error = file.obs().column("n").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert_eq!(error.element(), Some("obs/n"));
    assert!(error.file().unwrap().ends_with("modern.h5ad"));
    let codes = file.obs().stored_column("n").unwrap().read_rows(2..4).unwrap();
    assert_eq!(codes.values.as_primitive::<Int64Type>().values(), &[2, 3]);
    assert!(file.obs().index().is_err(), "6 references to strings are 96 bytes");
}

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

#[test]
fn opening_reads_metadata_only() {
    let inner = FileSource::open(&path("modern.h5ad")).unwrap();
    let source = Arc::new(Counting { inner, bytes: AtomicU64::new(0) });
    let mut options = ReadOptions::default();
    options.metadata_block_bytes = 1024;
    let file = H5ad::from_source_with(source.clone(), "memory", options).unwrap();
    assert!(source.bytes.load(Ordering::Relaxed) < source.size().unwrap() / 2);
    let codes = file.obs().stored_column("type").unwrap().clone();
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let (file, codes) = (file.clone(), codes.clone());
            std::thread::spawn(move || (file.obs().index().unwrap(), codes.read().unwrap()))
        })
        .collect();
    let results: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    assert!(results.windows(2).all(|pair| pair[0] == pair[1]));
}

/// Reads everything that the file holds; none of it may panic, hang, or take much memory.
fn read_all(bytes: Vec<u8>) -> Result<usize> {
    let mut options = ReadOptions::default();
    options.max_read_bytes = 1 << 22;
    let source: Arc<[u8]> = bytes.into();
    let file = H5ad::from_source_with(Arc::new(source), "damaged", options)?;
    let mut read = 0;
    let mut count = |result: Result<()>| read += usize::from(result.is_ok());
    let frames = [file.obs().clone(), file.var().clone()];
    let raw = file.raw();
    for frame in frames.iter().chain(raw.iter().flatten().map(|raw| &raw.var)) {
        count(frame.index().map(drop));
        for column in &frame.schema().columns {
            count(frame.column(&column.name).map(drop));
        }
    }
    for matrix in file.x().into_iter().chain(raw.iter().flatten().filter_map(|r| r.x.as_ref())) {
        count(match matrix {
            Matrix::Dense(array) => array.read().map(drop),
            Matrix::Sparse(matrix) => matrix.read().map(drop),
        });
    }
    let parts = [file.layers(), file.obsm(), file.varm(), file.obsp(), file.varp(), file.uns()];
    for (_, element) in parts.into_iter().flatten().flatten() {
        count(element.read().map(drop));
    }
    Ok(read)
}

#[test]
fn damaged_files_never_panic() {
    for name in ["modern.h5ad", "old.h5ad", "latest.h5ad"] {
        let sound = std::fs::read(path(name)).unwrap();
        let all = read_all(sound.clone()).unwrap();
        let mut noticed = 0;
        // A step that visits every kind of place, but not every byte.
        let step = sound.len() / 400;
        for position in (0..sound.len()).step_by(step.max(1)) {
            for damage in [0x01, 0x80, 0xff] {
                let mut bytes = sound.clone();
                bytes[position] ^= damage;

                noticed += usize::from(read_all(bytes).ok() != Some(all));
            }
        }
        for length in (0..sound.len()).step_by(step.max(1) * 4) {
            noticed += usize::from(read_all(sound[..length].to_vec()).ok() != Some(all));
        }
        assert!(noticed > 20, "{name}: {noticed} damages noticed");
    }
}

#[test]
fn other_bytes_are_no_h5ad() {
    for bytes in [Vec::new(), vec![0; 4096], b"\x89HDF\r\n\x1a\n".to_vec()] {
        let error = read_all(bytes).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotH5ad, "{error}");
    }
    let missing = H5ad::open(Path::new("/nonexistent/file.h5ad")).unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::Io);
    assert_eq!(missing.file(), Some("/nonexistent/file.h5ad"));
}

#[test]
fn handles_go_between_threads() {
    fn check<T: Send + Sync + Clone + 'static>() {}
    check::<H5ad>();
    check::<Element>();
    check::<Matrix>();
}
