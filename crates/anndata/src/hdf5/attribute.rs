//! Attributes, decoded when they are asked for.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Float64Type;
use arrow_array::{Array, ArrayRef};
use arrow_buffer::MutableBuffer;
use hdf5_reader::btree_v2::{BTreeV2Header, BTreeV2Record, collect_btree_v2_records_storage};
use hdf5_reader::fractal_heap::{FractalHeap, FractalHeapDirectBlockCache};
use hdf5_reader::io::Cursor;
use hdf5_reader::messages::HdfMessage;
use hdf5_reader::messages::attribute::AttributeMessage;
use hdf5_reader::messages::attribute_info::AttributeInfoMessage;
use hdf5_reader::object_header::ObjectHeader;

use super::decode::integers;
use super::{ElementType, File, decode, metadata};
use crate::{Error, Result};

/// The attributes of one object.
#[derive(Clone)]
pub(crate) struct Attributes {
    file: File,
    messages: Arc<Vec<AttributeMessage>>,
}

impl Attributes {
    pub(super) fn of(file: &File, header: &ObjectHeader) -> Result<Self> {
        let mut messages = Vec::new();
        for message in &header.messages {
            match message {
                HdfMessage::Attribute(attribute) => messages.push(attribute.clone()),
                HdfMessage::AttributeInfo(info)
                    if !file.is_undefined(info.fractal_heap_address) =>
                {
                    read_dense(file, info, &mut messages)?;
                }
                _ => {}
            }
        }
        Ok(Self { file: file.clone(), messages: Arc::new(messages) })
    }

    fn message(&self, name: &str) -> Option<&AttributeMessage> {
        self.messages.iter().find(|message| message.name == name)
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        self.message(name).is_some()
    }

    /// All values of an attribute, in C order; none if there is no such attribute.
    fn values(&self, name: &str) -> Result<Option<ArrayRef>> {
        let Some(message) = self.message(name) else { return Ok(None) };
        let element = ElementType::of(&message.datatype)?;
        let count = message.dataspace.num_elements().unwrap_or(u64::MAX);
        let expected = count.checked_mul(element.size() as u64);
        let bytes = usize::try_from(count)
            .ok()
            .zip(expected)
            .filter(|&(_, expected)| expected <= message.raw_data.len() as u64)
            .and_then(|(count, expected)| {
                Some((count, message.raw_data.get(..expected as usize)?))
            });
        let Some((count, bytes)) = bytes else {
            return Err(Error::corrupt(format!(
                "expected {count} values of {} bytes in attribute {name:?}, found {} bytes",
                element.size(),
                message.raw_data.len()
            )));
        };
        let mut buffer = MutableBuffer::new(bytes.len());
        buffer.extend_from_slice(bytes);
        decode(&self.file, &element, buffer, count)
            .map(Some)
            .map_err(|error| error.context(format!("attribute {name:?}")))
    }

    /// The value of an attribute that holds one string.
    pub(crate) fn string(&self, name: &str) -> Result<Option<String>> {
        let Some(values) = self.values(name)? else { return Ok(None) };
        match values.as_string_opt::<i64>() {
            Some(strings) if strings.len() == 1 => Ok(Some(strings.value(0).to_owned())),
            _ => Err(wrong(name, "one string", &values)),
        }
    }

    /// The values of an attribute that holds strings.
    pub(crate) fn strings(&self, name: &str) -> Result<Option<Vec<String>>> {
        let Some(values) = self.values(name)? else { return Ok(None) };
        // pandas gives an empty list of names the type float64, and so it is stored.
        if values.is_empty() {
            return Ok(Some(Vec::new()));
        }
        match values.as_string_opt::<i64>() {
            Some(strings) => Ok(Some(strings.iter().flatten().map(str::to_owned).collect())),
            None => Err(wrong(name, "strings", &values)),
        }
    }

    /// The values of an attribute that holds whole numbers from 0 on, in whatever type.
    pub(crate) fn lengths(&self, name: &str) -> Result<Option<Vec<u64>>> {
        let Some(values) = self.values(name)? else { return Ok(None) };
        let lengths: Option<Vec<u64>> = match values.as_primitive_opt::<Float64Type>() {
            // R stores whole numbers as doubles.
            Some(values) => values
                .values()
                .iter()
                .map(|&value| {
                    let whole = value >= 0.0 && value < 2f64.powi(53) && value.fract() == 0.0;
                    whole.then_some(value as u64)
                })
                .collect(),
            None => integers(&values),
        };
        lengths.map(Some).ok_or_else(|| wrong(name, "lengths", &values))
    }

    /// Whether an attribute that holds one boolean or number is true.
    pub(crate) fn truth(&self, name: &str) -> Result<Option<bool>> {
        let Some(values) = self.values(name)? else { return Ok(None) };
        let truth = match values.as_boolean_opt() {
            Some(booleans) => booleans.iter().collect::<Option<Vec<_>>>(),
            None => integers::<i64>(&values)
                .map(|integers| integers.iter().map(|&value| value != 0).collect()),
        };
        let truth = truth.and_then(|truth| match truth.as_slice() {
            [truth] => Some(*truth),
            _ => None,
        });
        truth.map(Some).ok_or_else(|| wrong(name, "one boolean", &values))
    }

    /// The address in an attribute that holds one object reference; none if it holds anything
    /// else, or does not exist.
    pub(crate) fn reference(&self, name: &str) -> Result<Option<u64>> {
        let Some(message) = self.message(name) else { return Ok(None) };
        let ElementType::Reference { .. } = ElementType::of(&message.datatype)? else {
            return Ok(None);
        };
        hdf5_reader::reference::resolve_object_reference(&message.raw_data, self.file.offset_size())
            .map(Some)
            .map_err(metadata::convert)
    }
}

fn wrong(name: &str, expected: &str, found: &ArrayRef) -> Error {
    Error::corrupt(format!(
        "expected {expected} in attribute {name:?}, found {} values of type {}",
        found.len(),
        found.data_type()
    ))
}

/// Attributes in a fractal heap: of objects that have many, or large ones.
fn read_dense(
    file: &File,
    info: &AttributeInfoMessage,
    messages: &mut Vec<AttributeMessage>,
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
        let BTreeV2Record::AttributeNameHash { heap_id, .. } = record else { continue };
        let bytes = heap
            .get_object_storage_cached(heap_id, storage, offsets, lengths, &mut blocks)
            .map_err(metadata::convert)?;
        let mut cursor = Cursor::new(&bytes);
        let message =
            hdf5_reader::messages::attribute::parse(&mut cursor, offsets, lengths, bytes.len())
                .map_err(metadata::convert)?;
        messages.push(message);
    }
    Ok(())
}
