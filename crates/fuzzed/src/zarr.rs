//! Zarr stores: every element is opened and read, within small limits. The input is cut in pieces, keys and objects in turn.

use std::collections::BTreeMap;
use std::sync::Arc;

use vacuole_anndata::{Element, Error, H5ad, Matrix, ObjectRange, ReadOptions, Result, ZarrSource};

use crate::pieces;

/// A store in memory.
struct Objects(BTreeMap<String, Vec<u8>>);

impl ZarrSource for Objects {
    fn size(&self, key: &str) -> Result<Option<u64>> {
        Ok(self.0.get(key).map(|bytes| bytes.len() as u64))
    }

    fn read(&self, wanted: &[ObjectRange]) -> Result<Vec<Vec<u8>>> {
        let one = |wanted: &ObjectRange| {
            let range = wanted.range.start as usize..wanted.range.end as usize;
            let found = self.0.get(&wanted.key).and_then(|bytes| bytes.get(range));
            found.map(<[u8]>::to_vec).ok_or_else(|| {
                let error = std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
                Error::io("the object ends", error)
            })
        };
        wanted.iter().map(one).collect()
    }

    fn list(&self, folder: &str) -> Result<Vec<String>> {
        let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        let below = self.0.keys().filter_map(|key| key.strip_prefix(&prefix));
        let mut names: Vec<String> =
            below.map(|rest| rest.split('/').next().unwrap_or(rest).to_owned()).collect();
        names.dedup();
        Ok(names)
    }
}

/// One input.
pub fn run(data: &[u8]) {
    let mut objects = BTreeMap::new();
    let mut pieces = pieces(data);
    while let (Some(key), Some(object)) = (pieces.next(), pieces.next()) {
        objects.insert(String::from_utf8_lossy(key).into_owned(), object.to_vec());
    }
    let mut options = ReadOptions::default();
    options.max_read_bytes = 1 << 20;
    if let Ok(file) = H5ad::from_zarr_with(Arc::new(Objects(objects)), "fuzz", options) {
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
    match file.x() {
        Some(Matrix::Dense(array)) => drop(array.read()),
        Some(Matrix::Sparse(matrix)) => {
            let _ = matrix.read();
            let _ = matrix.read_indices(0..3);
            let _ = matrix.read_data(1..4);
        }
        None => {}
    }
    Ok(())
}

fn read(element: &Element) {
    match element {
        Element::Mapping(members) => members.iter().for_each(|(_, element)| read(element)),
        other => drop(other.read()),
    }
}
