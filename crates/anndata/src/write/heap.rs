//! Strings in places that the HDF5 crate has no call for: single strings, arrays of two or more
//! dimensions, fields of record arrays.
//!
//! Their datasets are created without values, and filled in when the rest of the file is complete:
//! the text goes into global heap collections at the end of the file, the references to it into the
//! datasets, and the new end into the superblock.
//!
//! ```text
//! before    superblock(end = E) ... dataset: 16 bytes per string, unset ...
//! after     superblock(end = F) ... dataset: length, E + k, object number ... | E: GCOL GCOL ... F
//! ```

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use hdf5_reader::Hdf5File;
use hdf5_reader::messages::HdfMessage;
use hdf5_reader::messages::layout::DataLayout;
use rust_hdf5::format::FormatContext;
use rust_hdf5::format::global_heap::{
    GlobalHeapCollection, GlobalHeapObject, encode_vlen_reference,
};
use rust_hdf5::format::superblock::SuperblockV2V3;

use crate::{Error, Result};

/// The bytes of a reference to a string.
pub(super) const REFERENCE: usize = 16;

/// The text of one collection, unless a single string is longer.
const COLLECTION_BYTES: usize = 1 << 20;

/// The objects of one collection: their numbers have 16 bits, and 0 means free space.
const COLLECTION_OBJECTS: usize = u16::MAX as usize;

/// A dataset that waits for its strings.
pub(super) struct Waiting {
    pub(super) path: String,
    /// The bytes of the dataset, references unset.
    pub(super) image: Vec<u8>,
    /// Where in `image` each string's reference belongs.
    pub(super) strings: Vec<(usize, String)>,
}

/// Fills in the datasets of the closed file `path`.
pub(super) fn fill(path: &Path, waiting: Vec<Waiting>) -> Result<()> {
    if waiting.is_empty() {
        return Ok(());
    }
    let addresses = addresses(path, &waiting)?;
    let opened = OpenOptions::new().read(true).write(true).open(path);
    let mut file = opened.map_err(|error| Error::io("opening the file again", error))?;
    for (dataset, address) in waiting.into_iter().zip(addresses) {
        fill_one(&mut file, dataset, address)
            .map_err(|error| Error::io("writing strings", error))?;
    }
    set_end(&mut file)
}

/// Where the bytes of each dataset are in the file.
fn addresses(path: &Path, waiting: &[Waiting]) -> Result<Vec<u64>> {
    let unreadable = |error: hdf5_reader::error::Error| {
        Error::new(crate::ErrorKind::Io, "reading back what was written").caused_by(error)
    };
    let file = Hdf5File::open(path).map_err(unreadable)?;
    waiting
        .iter()
        .map(|dataset| {
            let header = file
                .dataset(&dataset.path)
                .and_then(|found| file.get_or_parse_header(found.address()))
                .map_err(unreadable)?;
            let layout = header.messages.iter().find_map(|message| match message {
                HdfMessage::DataLayout(layout) => Some(&layout.layout),
                _ => None,
            });
            match layout {
                Some(DataLayout::Contiguous { address, size })
                    if *size == dataset.image.len() as u64 =>
                {
                    Ok(*address)
                }
                other => Err(Error::corrupt(format!(
                    "expected {} bytes in one piece, found {other:?}",
                    dataset.image.len()
                ))
                .in_element(&dataset.path)),
            }
        })
        .collect()
}

fn fill_one(file: &mut File, dataset: Waiting, address: u64) -> std::io::Result<()> {
    let context = FormatContext::default_v3();
    let Waiting { mut image, strings, .. } = dataset;
    let mut strings = strings.into_iter().peekable();
    while strings.peek().is_some() {
        let mut collection = GlobalHeapCollection::new();
        let mut references = Vec::new();
        let mut bytes = 0;
        while let Some((offset, string)) =
            strings.next_if(|_| bytes < COLLECTION_BYTES && references.len() < COLLECTION_OBJECTS)
        {
            let index = references.len() as u16 + 1;
            bytes += string.len();
            references.push((offset, string.len() as u32, index));
            collection.objects.push(GlobalHeapObject {
                index,
                ref_count: 0,
                data: string.into_bytes(),
            });
        }
        let start = file.seek(SeekFrom::End(0))?.next_multiple_of(8);
        file.seek(SeekFrom::Start(start))?;
        file.write_all(&collection.encode(&context))?;
        for (offset, length, index) in references {
            let reference = encode_vlen_reference(length, start, u32::from(index), &context);
            if let Some(place) = image.get_mut(offset..offset + REFERENCE) {
                place.copy_from_slice(&reference);
            }
        }
    }
    file.seek(SeekFrom::Start(address))?;
    file.write_all(&image)
}

/// Notes the file's new length in its superblock.
fn set_end(file: &mut File) -> Result<()> {
    let failed = |error| Error::io("writing the superblock", error);
    let end = file.seek(SeekFrom::End(0)).map_err(failed)?;
    file.seek(SeekFrom::Start(0)).map_err(failed)?;
    let mut bytes = vec![0; SuperblockV2V3::size_for(8)];
    file.read_exact(&mut bytes).map_err(failed)?;
    let mut superblock = SuperblockV2V3::decode(&bytes).map_err(|error| {
        Error::new(crate::ErrorKind::Io, "reading back the superblock").caused_by(error)
    })?;
    superblock.end_of_file_address = end;
    file.seek(SeekFrom::Start(0)).map_err(failed)?;
    file.write_all(&superblock.encode()).map_err(failed)
}
