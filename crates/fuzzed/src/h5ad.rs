//! H5AD files: every element is opened and read, within small limits.

use std::sync::Arc;

use vacuole_anndata::{ByteSource, Element, Error, H5ad, Matrix, ReadOptions, Result};

/// A file in memory.
struct Bytes(Vec<u8>);

impl ByteSource for Bytes {
    fn size(&self) -> Result<u64> {
        Ok(self.0.len() as u64)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let found = self.0.get(start..).and_then(|rest| rest.get(..buffer.len()));
        let found = found.ok_or_else(|| {
            let error = std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
            Error::io("the source ends", error)
        })?;
        buffer.copy_from_slice(found);
        Ok(())
    }
}

/// One input.
pub fn run(data: &[u8]) {
    let mut options = ReadOptions::default();
    options.max_read_bytes = 1 << 20;
    options.metadata_block_bytes = 1 << 12;
    let source = Arc::new(Bytes(data.to_vec()));
    if let Ok(file) = H5ad::from_source_with(source, "fuzz", options) {
        let _ = walk(&file);
    }
}

fn walk(file: &H5ad) -> Result<()> {
    let _ = file.obs().read();
    let _ = file.var().read();
    for part in [file.layers(), file.obsm(), file.varm(), file.obsp(), file.varp(), file.uns()] {
        for (_, element) in part.unwrap_or_default() {
            read(&element);
        }
    }
    if let Some(matrix) = file.x() {
        matrix_of(matrix);
    }
    if let Some(raw) = file.raw()? {
        let _ = raw.var.read();
        raw.x.iter().for_each(matrix_of);
        raw.varm.iter().for_each(|(_, element)| read(element));
    }
    Ok(())
}

fn read(element: &Element) {
    match element {
        Element::Mapping(members) => members.iter().for_each(|(_, element)| read(element)),
        other => drop(other.read()),
    }
}

fn matrix_of(matrix: &Matrix) {
    match matrix {
        Matrix::Dense(array) => drop(array.read()),
        Matrix::Sparse(matrix) => {
            let _ = matrix.read();
            let _ = matrix.read_indices(0..3);
            let _ = matrix.read_data(1..4);
        }
    }
}
