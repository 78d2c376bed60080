//! The type of one element of a dataset, as NumPy sees it through `h5py`.

use std::sync::Arc;

use arrow_schema::{DataType, Field as ArrowField};
use hdf5_reader::error::ByteOrder;
use hdf5_reader::messages::datatype::{
    CompoundField, Datatype, EnumMember, ReferenceType, StringEncoding, StringPadding, StringSize,
    VarLenKind,
};

use crate::{Error, Result};

/// The type of one stored element.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum ElementType {
    /// One byte: `h5py` stores NumPy's booleans as an enumeration of FALSE and TRUE.
    Bool,
    /// An integer or a float of 1, 2, 4 or 8 bytes.
    Number { data_type: DataType, size: usize, big_endian: bool },
    /// Real and imaginary part, each of the type `part`.
    Complex { part: DataType, size: usize, big_endian: bool },
    /// Bytes up to the padding; `utf8` is whether the file says so.
    FixedString { size: usize, padding: StringPadding, utf8: bool },
    /// Characters of four bytes, as NumPy has them in memory, up to the padding of zeros. Only Zarr stores them.
    WideString { size: usize, big_endian: bool },
    /// A string of any length: in the global heap, or in the chunks of Zarr.
    VlenString { size: usize },
    /// The address of an object.
    Reference { size: usize },
    /// A record of named fields.
    Compound { size: usize, fields: Vec<Field> },
    /// An array inside one element.
    Array { base: Box<ElementType>, dims: Vec<u64>, size: usize },
    /// Anything else; `what` names it.
    Other { what: String, size: usize },
}

/// A field of a record.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Field {
    pub(crate) name: String,
    /// Where the field starts, in bytes from the start of the record.
    pub(crate) offset: usize,
    pub(crate) element: ElementType,
}

impl ElementType {
    pub(super) fn of(datatype: &Datatype) -> Result<Self> {
        Ok(match datatype {
            Datatype::FixedPoint { size, signed, byte_order } => {
                integer(usize::from(*size), *signed, *byte_order)
            }
            Datatype::Bitfield { size, byte_order } => {
                integer(usize::from(*size), false, *byte_order)
            }
            Datatype::FloatingPoint { size, byte_order } => {
                let size = usize::from(*size);
                let big_endian = *byte_order == ByteOrder::BigEndian;
                match size {
                    2 => Self::Number { data_type: DataType::Float16, size, big_endian },
                    4 => Self::Number { data_type: DataType::Float32, size, big_endian },
                    8 => Self::Number { data_type: DataType::Float64, size, big_endian },
                    _ => Self::Other { what: format!("floats of {size} bytes"), size },
                }
            }
            Datatype::Enum { base, members } => match Self::of(base)? {
                Self::Number { size: 1, .. } if is_boolean(members) => Self::Bool,
                base => base,
            },
            Datatype::String { size: StringSize::Fixed(size), padding, encoding } => {
                let utf8 = *encoding == StringEncoding::Utf8;
                Self::FixedString { size: *size as usize, padding: *padding, utf8 }
            }
            Datatype::VarLen { base, kind: VarLenKind::String, .. }
                if base.is_vlen_string_base() =>
            {
                Self::VlenString { size: 16 }
            }
            Datatype::VarLen { .. } | Datatype::String { .. } => {
                Self::Other { what: "sequences of variable length".into(), size: 16 }
            }
            Datatype::Compound { size, fields } => compound(*size as usize, fields)?,
            Datatype::Array { base, dims } => {
                let base = Self::of(base)?;
                let size = dims
                    .iter()
                    .try_fold(base.size(), |size, &dim| {
                        usize::try_from(dim).ok().and_then(|dim| size.checked_mul(dim))
                    })
                    .filter(|&size| u32::try_from(size).is_ok());
                let Some(size) = size else {
                    return Err(Error::corrupt(format!(
                        "expected an array element of less than 4 GiB, found the shape {dims:?}"
                    )));
                };
                Self::Array { base: Box::new(base), dims: dims.clone(), size }
            }
            Datatype::Reference { ref_type: ReferenceType::Object, size } => {
                Self::Reference { size: usize::from(*size) }
            }
            Datatype::Reference { size, .. } => {
                Self::Other { what: "region references".into(), size: usize::from(*size) }
            }
            Datatype::Opaque { size, tag } => {
                Self::Other { what: format!("opaque elements ({tag:?})"), size: *size as usize }
            }
        })
    }

    /// Bytes of a string, padded with zeros as NumPy pads them.
    pub(crate) fn padded_string(size: usize) -> Self {
        Self::FixedString { size, padding: StringPadding::NullPad, utf8: false }
    }

    /// The number of bytes of one element.
    pub(crate) fn size(&self) -> usize {
        match self {
            Self::Bool => 1,
            Self::Number { size, .. }
            | Self::Complex { size, .. }
            | Self::FixedString { size, .. }
            | Self::WideString { size, .. }
            | Self::VlenString { size }
            | Self::Reference { size }
            | Self::Compound { size, .. }
            | Self::Array { size, .. }
            | Self::Other { size, .. } => *size,
        }
    }

    /// The Arrow type of the decoded values; an error for what has none.
    pub(crate) fn data_type(&self) -> Result<DataType> {
        match self {
            Self::Bool => Ok(DataType::Boolean),
            Self::Number { data_type, .. } => Ok(data_type.clone()),
            Self::Complex { part, .. } => Ok(complex(part)),
            Self::FixedString { .. } | Self::WideString { .. } | Self::VlenString { .. } => {
                Ok(DataType::LargeUtf8)
            }
            Self::Array { base, .. } => base.data_type(),
            Self::Reference { .. } => Err(Error::unsupported("arrays of references are not read")),
            Self::Compound { .. } => {
                Err(Error::unsupported("records inside of records are not read"))
            }
            Self::Other { what, .. } => Err(Error::unsupported(format!("{what} are not read"))),
        }
    }
}

/// The Arrow type of complex numbers with parts of type `part`.
pub(super) fn complex(part: &DataType) -> DataType {
    DataType::FixedSizeList(Arc::new(ArrowField::new("part", part.clone(), false)), 2)
}

fn integer(size: usize, signed: bool, byte_order: ByteOrder) -> ElementType {
    let data_type = match (size, signed) {
        (1, true) => DataType::Int8,
        (2, true) => DataType::Int16,
        (4, true) => DataType::Int32,
        (8, true) => DataType::Int64,
        (1, false) => DataType::UInt8,
        (2, false) => DataType::UInt16,
        (4, false) => DataType::UInt32,
        (8, false) => DataType::UInt64,
        _ => return ElementType::Other { what: format!("integers of {size} bytes"), size },
    };
    ElementType::Number { data_type, size, big_endian: byte_order == ByteOrder::BigEndian }
}

/// The enumeration by which `h5py` knows a NumPy boolean.
fn is_boolean(members: &[EnumMember]) -> bool {
    let value = |wanted: &str| {
        members.iter().find(|member| member.name == wanted).map(|member| member.value.as_slice())
    };
    members.len() == 2 && value("FALSE") == Some(&[0]) && value("TRUE") == Some(&[1])
}

fn compound(size: usize, fields: &[CompoundField]) -> Result<ElementType> {
    let fields: Vec<Field> = fields
        .iter()
        .map(|field| {
            let element = ElementType::of(&field.datatype)?;
            let offset = field.byte_offset as usize;
            if offset.checked_add(element.size()).is_none_or(|end| end > size) {
                return Err(Error::corrupt(format!(
                    "expected field {:?} inside a record of {size} bytes, found it at {offset} \
                     with {} bytes",
                    field.name,
                    element.size()
                )));
            }
            Ok(Field { name: field.name.clone(), offset, element })
        })
        .collect::<Result<_>>()?;
    if let [real, imaginary] = fields.as_slice()
        && (real.name.as_str(), imaginary.name.as_str()) == ("r", "i")
        && real.element == imaginary.element
        && let ElementType::Number { data_type, size: part_size, big_endian } = &real.element
        && matches!(data_type, DataType::Float32 | DataType::Float64)
        && (real.offset, imaginary.offset, size) == (0, *part_size, 2 * part_size)
    {
        let (part, big_endian) = (data_type.clone(), *big_endian);
        return Ok(ElementType::Complex { part, size, big_endian });
    }
    Ok(ElementType::Compound { size, fields })
}
