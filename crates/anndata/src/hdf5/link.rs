//! The links of a group: to objects, to paths inside the file, and to other files.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use hdf5_reader::btree_v1::collect_btree_v1_leaves_storage;
use hdf5_reader::btree_v2::{BTreeV2Header, BTreeV2Record, collect_btree_v2_records_storage};
use hdf5_reader::fractal_heap::{FractalHeap, FractalHeapDirectBlockCache};
use hdf5_reader::io::Cursor;
use hdf5_reader::local_heap::LocalHeap;
use hdf5_reader::messages::HdfMessage;
use hdf5_reader::messages::link::{LinkMessage, LinkTarget};
use hdf5_reader::messages::link_info::LinkInfoMessage;
use hdf5_reader::messages::symbol_table_msg::SymbolTableMessage;
use hdf5_reader::object_header::ObjectHeader;
use hdf5_reader::symbol_table::SymbolTableNode;

use super::{File, Group, Node, metadata, object};
use crate::{Error, Result};

/// How many soft links one path may lead through.
const MAX_SOFT_LINKS: usize = 32;

/// The links of one group, in the order in which `h5py` iterates.
pub(super) struct Listing {
    links: Vec<(String, LinkTarget)>,
    by_name: HashMap<String, usize>,
}

impl Listing {
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.links.iter().map(|(name, _)| name.as_str())
    }

    fn target(&self, name: &str) -> Option<&LinkTarget> {
        self.by_name.get(name).and_then(|&index| self.links.get(index)).map(|(_, target)| target)
    }
}

/// Listings by the address of their group: a frame looks up each of its columns in one.
#[derive(Default)]
pub(super) struct ListingCache(Mutex<HashMap<u64, Arc<Listing>>>);

/// The links of the group at `address`, whose header is `header`.
pub(super) fn listing(file: &File, address: u64, header: &ObjectHeader) -> Result<Arc<Listing>> {
    let cache = &file.0.listings.0;
    if let Some(found) = cache.lock().unwrap_or_else(PoisonError::into_inner).get(&address) {
        return Ok(found.clone());
    }
    let listing = Arc::new(read_listing(file, header)?);
    cache.lock().unwrap_or_else(PoisonError::into_inner).insert(address, listing.clone());
    Ok(listing)
}

fn read_listing(file: &File, header: &ObjectHeader) -> Result<Listing> {
    let mut links = Vec::new();
    let mut by_creation = false;
    for message in &header.messages {
        match message {
            HdfMessage::Link(link) => links.push(link.clone()),
            HdfMessage::LinkInfo(info) => {
                by_creation = info.creation_order_tracked;
                if !file.is_undefined(info.fractal_heap_address) {
                    read_dense_links(file, info, &mut links)?;
                }
            }
            HdfMessage::SymbolTable(table) => read_symbol_table(file, table, &mut links)?,
            _ => {}
        }
    }
    if by_creation && links.iter().all(|link| link.creation_order.is_some()) {
        links.sort_by_key(|link| link.creation_order);
    } else {
        links.sort_by(|a, b| a.name.cmp(&b.name));
    }
    let mut by_name = HashMap::with_capacity(links.len());
    for (index, link) in links.iter().enumerate() {
        if by_name.insert(link.name.clone(), index).is_some() {
            return Err(Error::corrupt(format!("expected one member {:?}, found two", link.name)));
        }
    }
    let links = links.into_iter().map(|link| (link.name, link.target)).collect();
    Ok(Listing { links, by_name })
}

/// Links in a fractal heap, indexed by a B-tree: groups of many members.
fn read_dense_links(
    file: &File,
    info: &LinkInfoMessage,
    links: &mut Vec<LinkMessage>,
) -> Result<()> {
    let (storage, offsets, lengths) = (file.storage(), file.offset_size(), file.length_size());
    let heap = FractalHeap::parse_at_storage(storage, info.fractal_heap_address, offsets, lengths)
        .map_err(metadata::convert)?;
    let tree =
        BTreeV2Header::parse_at_storage(storage, info.btree_name_index_address, offsets, lengths)
            .map_err(metadata::convert)?;
    let records =
        collect_btree_v2_records_storage(storage, &tree, offsets, lengths, None, &[], None)
            .map_err(metadata::convert)?;
    let mut blocks = FractalHeapDirectBlockCache::default();
    for record in &records {
        let BTreeV2Record::LinkNameHash { heap_id, .. } = record else { continue };
        let bytes = heap
            .get_object_storage_cached(heap_id, storage, offsets, lengths, &mut blocks)
            .map_err(metadata::convert)?;
        let link = hdf5_reader::messages::link::parse(
            &mut Cursor::new(&bytes),
            offsets,
            lengths,
            bytes.len(),
        )
        .map_err(metadata::convert)?;
        links.push(link);
    }
    Ok(())
}

/// Links in symbol table nodes, with their names in a local heap: groups as HDF5 1.6 wrote them,
/// which is what `h5py` writes unless told otherwise.
fn read_symbol_table(
    file: &File,
    table: &SymbolTableMessage,
    links: &mut Vec<LinkMessage>,
) -> Result<()> {
    let (storage, offsets, lengths) = (file.storage(), file.offset_size(), file.length_size());
    let heap = LocalHeap::parse_at_storage(storage, table.heap_address, offsets, lengths)
        .map_err(metadata::convert)?;
    file.check_range(heap.data_segment_address, heap.data_segment_size)?;
    let segment = storage
        .read_range(heap.data_segment_address, heap.data_segment_size as usize)
        .map_err(metadata::convert)?;
    let nodes = collect_btree_v1_leaves_storage(
        storage,
        table.btree_address,
        offsets,
        lengths,
        None,
        &[],
        None,
    )
    .map_err(metadata::convert)?;
    for (_, address) in nodes {
        let head = storage.read_range(address, 8).map_err(metadata::convert)?;
        let count = match *head.as_ref() {
            [b'S', b'N', b'O', b'D', 1, _, low, high] => u16::from_le_bytes([low, high]),
            _ => return Err(Error::corrupt("expected a symbol table node, found none")),
        };
        let length = 8 + usize::from(count) * (2 * usize::from(offsets) + 24);
        let bytes = storage.read_range(address, length).map_err(metadata::convert)?;
        let node = SymbolTableNode::parse(&mut Cursor::new(bytes.as_ref()), offsets, lengths)
            .map_err(metadata::convert)?;
        for entry in &node.entries {
            let name = heap_string(segment.as_ref(), entry.link_name_offset)?;
            // Cache type 2 marks a soft link, whose path is in the heap too.
            let target = if entry.cache_type == 2 {
                let [a, b, c, d, ..] = entry.scratch;
                let offset = u64::from(u32::from_le_bytes([a, b, c, d]));
                LinkTarget::Soft { path: heap_string(segment.as_ref(), offset)? }
            } else {
                LinkTarget::Hard { address: entry.object_header_address }
            };
            links.push(LinkMessage { name, target, creation_order: None });
        }
    }
    Ok(())
}

/// The string that starts at `offset` of a local heap and ends before its first zero byte.
fn heap_string(segment: &[u8], offset: u64) -> Result<String> {
    let bytes = usize::try_from(offset).ok().and_then(|offset| segment.get(offset..));
    let end = bytes.and_then(|bytes| bytes.iter().position(|&byte| byte == 0));
    let Some(bytes) = bytes.zip(end).and_then(|(bytes, end)| bytes.get(..end)) else {
        return Err(Error::corrupt(format!(
            "expected a name at {offset} of a heap of {} bytes, found none",
            segment.len()
        )));
    };
    String::from_utf8(bytes.to_vec())
        .map_err(|_| Error::corrupt("expected a name in UTF-8, found other bytes"))
}

/// Follows `path` from `group`, through soft links inside the file.
pub(super) fn resolve(group: &Group, path: &str) -> Result<Option<Node>> {
    let mut hops = 0;
    resolve_counted(group, path, &mut hops)
}

fn resolve_counted(group: &Group, path: &str, hops: &mut usize) -> Result<Option<Node>> {
    let mut node = match path.strip_prefix('/') {
        Some(_) => Node::Group(group.file().root()?),
        None => Node::Group(group.clone()),
    };
    for name in path.split('/').filter(|name| !name.is_empty() && *name != ".") {
        let Node::Group(parent) = &node else { return Ok(None) };
        let listing = parent.listing()?;
        let child_path = match parent.path() {
            "" => name.to_owned(),
            path => format!("{path}/{name}"),
        };
        let locate = |error: Error| error.in_element(&child_path).in_file(parent.file().name());
        let next = match listing.target(name) {
            None => return Ok(None),
            Some(LinkTarget::Hard { address }) => {
                object::open(parent.file(), *address, &child_path)?
            }
            Some(LinkTarget::Soft { path: target }) => {
                *hops += 1;
                if *hops > MAX_SOFT_LINKS {
                    return Err(locate(Error::corrupt(format!(
                        "expected at most {MAX_SOFT_LINKS} soft links on a path, found more; do \
                         they lead in a circle?"
                    ))));
                }
                resolve_counted(parent, target, hops)?.ok_or_else(|| {
                    locate(Error::corrupt(format!(
                        "a soft link leads to {target:?}, where nothing is"
                    )))
                })?
            }
            Some(LinkTarget::External { filename, path }) => {
                return Err(locate(Error::unsupported(format!(
                    "a link to {path:?} of another file, {filename:?}, is not followed; copy the \
                     data into one file"
                ))));
            }
        };
        node = next;
    }
    Ok(Some(node))
}
