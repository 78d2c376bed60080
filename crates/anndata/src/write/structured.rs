//! Record arrays.

use arrow_array::Array;
use arrow_buffer::Buffer;
use rust_hdf5::DatatypeMessage;
use rust_hdf5::format::messages::datatype::CompoundMember;
use serde_json::{Value, json};

use super::heap::{REFERENCE, Waiting};
use super::output::{element_count, lengths};
use super::place::{Dataset, Place};
use super::zarr::{self, ZarrStore};
use super::{H5adWriter, datatype, strings};
use crate::model::{NdArray, StructuredArray};
use crate::{Error, Result};

/// A field as it is stored.
struct Field<'a> {
    name: &'a str,
    values: &'a NdArray,
    datatype: DatatypeMessage,
    /// Where it begins in a record.
    offset: usize,
    width: usize,
    /// The values of one record.
    per_record: usize,
    /// The bytes of all values; none for strings.
    bytes: Option<Buffer>,
}

impl H5adWriter {
    /// A NumPy record array.
    ///
    /// # Errors
    ///
    /// `InvalidInput` when the path is taken or wrong, there are no fields, two share a name, or
    /// their values do not fit the shape, are null or of a type that AnnData does not have; `Io`.
    pub fn structured(&mut self, path: &str, array: &StructuredArray) -> Result<()> {
        if let Place::Zarr(store) = &self.output.place {
            let store = store.clone();
            return self.structured_in_zarr(&store, path, array);
        }
        let locate = |error| self.output.locate(path, error);
        let records = element_count(&array.shape)
            .and_then(|records| usize::try_from(records).ok())
            .ok_or_else(|| locate(Error::invalid("the shape is too large")))?;
        let (fields, width) = layout(array).map_err(locate)?;
        let mut image = vec![0; records * width];
        let mut texts = Vec::new();
        for field in &fields {
            match &field.bytes {
                Some(bytes) if field.width > 0 => {
                    let places = image.chunks_exact_mut(width);
                    for (record, value) in places.zip(bytes.chunks_exact(field.width)) {
                        if let Some(place) =
                            record.get_mut(field.offset..field.offset + field.width)
                        {
                            place.copy_from_slice(value);
                        }
                    }
                }
                Some(_) => {}
                None => field.texts(width, &mut texts).map_err(locate)?,
            }
        }
        let members = fields
            .into_iter()
            .map(|field| CompoundMember {
                name: field.name.to_string(),
                offset: field.offset as u32,
                datatype: field.datatype,
            })
            .collect();
        let datatype = DatatypeMessage::compound(width as u32, members);
        self.claim(path)?;
        let encoding = ("rec-array", "0.2.0");
        if texts.is_empty() && !array.shape.is_empty() {
            return self.dense_bytes(path, &datatype, &array.shape, &image, encoding);
        }
        let dataset = self.output.contiguous(path, &datatype, &array.shape)?;
        if texts.is_empty() {
            dataset.write_all(&image).map_err(|error| self.output.failed(path, error))?;
        } else {
            self.waiting.push(Waiting { path: path.to_string(), image, strings: texts });
        }
        self.output.mark(path, &dataset, encoding)
    }
}

impl H5adWriter {
    /// Zarr has no text of any length in records: NumPy's of the length of the longest, four bytes a character, is what
    /// AnnData stores.
    fn structured_in_zarr(
        &mut self,
        store: &ZarrStore,
        path: &str,
        array: &StructuredArray,
    ) -> Result<()> {
        let locate = |error| self.output.locate(path, error);
        // This checks the fields too.
        let (fields, _) = layout(array).map_err(locate)?;
        let records = element_count(&array.shape)
            .and_then(|records| usize::try_from(records).ok())
            .ok_or_else(|| locate(Error::invalid("the shape is too large")))?;
        let mut described = Vec::new();
        let mut columns: Vec<Vec<u8>> = Vec::new();
        for field in &fields {
            let inner = field.values.shape.get(array.shape.len()..).unwrap_or_default();
            let (dtype, bytes) = match &field.bytes {
                Some(bytes) => {
                    let element = datatype::require_numeric(field.values.values.data_type());
                    let dtype = zarr::dtype(&element.map_err(locate)?);
                    (dtype.map_err(|error| self.output.failed(path, error))?.0, bytes.to_vec())
                }
                None => {
                    let texts = datatype::strings(field.values.values.as_ref()).map_err(locate)?;
                    let texts: Vec<&str> = texts.map(Option::unwrap_or_default).collect();
                    let longest = texts.iter().map(|text| text.chars().count()).max();
                    let width = longest.unwrap_or(0).max(1);
                    let mut bytes = Vec::with_capacity(texts.len() * width * 4);
                    for text in texts {
                        let end = bytes.len() + width * 4;
                        text.chars().for_each(|c| bytes.extend(u32::from(c).to_le_bytes()));
                        bytes.resize(end, 0);
                    }
                    (json!(format!("<U{width}")), bytes)
                }
            };
            described.push(match inner {
                [] => json!([field.name, dtype]),
                inner => json!([field.name, dtype, inner]),
            });
            columns.push(bytes);
        }
        let mut image = Vec::new();
        for record in 0..records {
            for bytes in &columns {
                let width = bytes.len() / records.max(1);
                let part = bytes.get(record * width..(record + 1) * width);
                image.extend_from_slice(part.unwrap_or_default());
            }
        }
        let shape = lengths(&array.shape).map_err(locate)?;
        self.claim(path)?;
        let written = store.records(path, &shape, Value::Array(described), &image);
        let stored = written.map_err(|error| self.output.failed(path, error))?;
        self.output.mark(path, &Dataset::Zarr(stored), ("rec-array", "0.2.0"))
    }
}

impl Field<'_> {
    /// Adds each string and where its reference belongs.
    fn texts(&self, record_width: usize, texts: &mut Vec<(usize, String)>) -> Result<()> {
        let values = datatype::strings(self.values.values.as_ref())?;
        for (i, value) in values.enumerate() {
            let value = value.ok_or_else(|| {
                Error::invalid(format!("the strings of field {} cannot be null", self.name))
            })?;
            strings::check(value)?;
            let record = i / self.per_record.max(1);
            let within = i % self.per_record.max(1);
            let offset = record * record_width + self.offset + within * REFERENCE;
            texts.push((offset, value.to_string()));
        }
        Ok(())
    }
}

/// The fields one after the other, and the bytes of a record.
fn layout(array: &StructuredArray) -> Result<(Vec<Field<'_>>, usize)> {
    let mut fields: Vec<Field<'_>> = Vec::with_capacity(array.fields.len());
    let mut offset = 0;
    for (name, values) in &array.fields {
        if name.contains('\0') || fields.iter().any(|field| field.name == name) {
            return Err(Error::invalid(format!(
                "the field name {name:?} holds a NUL, or is used twice"
            )));
        }
        NdArray::new(values.shape.clone(), values.values.clone())?;
        let Some(inner) = values.shape.strip_prefix(array.shape.as_slice()) else {
            return Err(Error::invalid(format!(
                "the field {name} has the shape {:?}, which does not begin with {:?}",
                values.shape, array.shape
            )));
        };
        let too_long = || Error::invalid(format!("the field {name} is too large"));
        let per_record = element_count(inner).ok_or_else(too_long)?;
        let (element, bytes) = if datatype::is_string(values.values.data_type()) {
            (DatatypeMessage::vlen_string_utf8(), None)
        } else {
            let element = datatype::require_numeric(values.values.data_type())
                .map_err(|error| error.context(format!("the field {name}")))?;
            (element, Some(datatype::bytes(values.values.as_ref())?))
        };
        let width = u64::from(element.element_size()).checked_mul(per_record);
        let end = width.and_then(|width| width.checked_add(offset));
        let end = end.filter(|&end| end <= u64::from(u32::MAX)).ok_or_else(too_long)?;
        let datatype = if inner.is_empty() {
            element
        } else {
            DatatypeMessage::array(inner.iter().map(|&length| length as u32).collect(), element)
        };
        fields.push(Field {
            name,
            values,
            datatype,
            offset: offset as usize,
            width: (end - offset) as usize,
            per_record: per_record as usize,
            bytes,
        });
        offset = end;
    }
    if offset == 0 {
        return Err(Error::invalid("a record array without fields, or with empty ones only"));
    }
    Ok((fields, offset as usize))
}
