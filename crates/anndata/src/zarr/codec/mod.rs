//! Codecs: what was done to the elements of a chunk before they were stored.

mod blosc;
mod blosclz;
mod compressor;

use serde_json::Value;

use self::compressor::Size;
pub(super) use self::compressor::{Compressor, check_crc};
use crate::{Error, Result};

/// What was done to the elements of a chunk, undone.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Codecs {
    /// How dimensions were put into another order: which one of the array is the first of the chunk, and so on. None where
    /// they were not.
    pub(super) order: Option<Vec<usize>>,
    /// Steps on bytes, in the order in which they were done.
    pub(super) steps: Vec<Compressor>,
}

/// What became of the elements in the chain of Zarr v3.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Elements {
    /// They are bytes in this order.
    Bytes { big_endian: bool },
    /// They are strings with their lengths.
    Strings,
    /// They are chunks inside of shards.
    Shards(Value),
}

impl Codecs {
    /// The codecs of Zarr v2: one filter, which makes strings bytes, and a compressor.
    pub(super) fn of_v2(
        compressor: &Value,
        filters: &Value,
        fortran: bool,
        rank: usize,
    ) -> Result<(Self, bool)> {
        let id = |codec: &Value| codec.get("id").and_then(Value::as_str).unwrap_or("").to_owned();
        let mut strings = false;
        for filter in filters.as_array().into_iter().flatten() {
            match id(filter).as_str() {
                "vlen-utf8" => strings = true,
                other => return Err(unknown("filter", other)),
            }
        }
        let steps = match compressor {
            Value::Null => Vec::new(),
            compressor => {
                let name = id(compressor);
                let step = Compressor::named(&name).filter(|&step| step != Compressor::Crc32c);
                vec![step.ok_or_else(|| unknown("compressor", &name))?]
            }
        };
        let order = (fortran && rank > 1).then(|| (0..rank).rev().collect());
        Ok((Self { order, steps }, strings))
    }

    /// The chain of Zarr v3: orders of dimensions, what makes bytes of elements, and steps on bytes.
    pub(super) fn of_v3(codecs: &Value, rank: usize) -> Result<(Self, Elements)> {
        let Some(list) = codecs.as_array() else {
            return Err(Error::corrupt("expected a list of codecs, found none"));
        };
        let mut found = Self::default();
        let mut elements = None;
        for codec in list {
            let name = codec.as_str().or_else(|| codec.get("name").and_then(Value::as_str));
            let name = name.ok_or_else(|| Error::corrupt("expected a codec with a name"))?;
            let configuration = codec.get("configuration").unwrap_or(&Value::Null);
            let made = match name {
                "transpose" if elements.is_none() => {
                    found.order = compose(found.order.take(), order(configuration, rank)?);
                    continue;
                }
                "bytes" => match configuration.get("endian").and_then(Value::as_str) {
                    None | Some("little") => Elements::Bytes { big_endian: false },
                    Some("big") => Elements::Bytes { big_endian: true },
                    Some(other) => {
                        return Err(Error::corrupt(format!(
                            "expected bytes in little or big order, found {other:?}"
                        )));
                    }
                },
                "vlen-utf8" => Elements::Strings,
                "sharding_indexed" => Elements::Shards(configuration.clone()),
                _ => match Compressor::named(name) {
                    Some(step) if elements.is_some() => {
                        found.steps.push(step);
                        continue;
                    }
                    _ => return Err(unknown("codec", name)),
                },
            };
            if elements.replace(made).is_some() {
                return Err(Error::corrupt(format!(
                    "expected one codec that makes bytes of elements, found {name:?} as well"
                )));
            }
        }
        let elements = elements
            .ok_or_else(|| Error::corrupt("expected a codec that makes bytes of elements"))?;
        Ok((found, elements))
    }

    /// The most stored bytes that a chunk of `size` bytes can have: codecs make data that do not shrink a little larger.
    pub(super) fn most_stored(size: u64) -> u64 {
        size.saturating_mul(2).saturating_add(65_536)
    }

    /// Undoes the steps on bytes. What comes out has `size` bytes, or at most so many where that is not known.
    pub(super) fn undo(&self, stored: Vec<u8>, size: usize, exact: bool) -> Result<Vec<u8>> {
        let mut current = stored;
        for (position, step) in self.steps.iter().enumerate().rev() {
            let before = self.steps.get(..position).unwrap_or_default();
            let sums = before.iter().filter(|&&step| step == Compressor::Crc32c).count();
            let wanted = match exact && sums == before.len() {
                true => Size::Exactly(size.saturating_add(4 * sums)),
                // Compression after compression: what comes out is about as large as the chunk.
                false if before.is_empty() => Size::AtMost(size),
                false => Size::AtMost(Self::most_stored(size as u64) as usize),
            };
            current = step.undo(&current, wanted)?;
        }
        let wanted = if exact { Size::Exactly(size) } else { Size::AtMost(size) };
        wanted.check(current.len())?;
        Ok(current)
    }

    /// Puts the elements of a chunk of the extent `dims` into C order.
    pub(super) fn in_order(&self, bytes: Vec<u8>, dims: &[u64], element_size: usize) -> Vec<u8> {
        let Some(order) = &self.order else { return bytes };
        // How far apart neighbours in each dimension of the array are in the chunk.
        let mut strides = vec![0usize; dims.len()];
        let mut stride = 1usize;
        for &dimension in order.iter().rev() {
            if let Some(place) = strides.get_mut(dimension) {
                *place = stride;
            }
            stride *= dims.get(dimension).copied().unwrap_or(1) as usize;
        }
        let mut out = Vec::with_capacity(bytes.len());
        let mut index = vec![0u64; dims.len()];
        for _ in 0..bytes.len() / element_size.max(1) {
            let from: usize =
                index.iter().zip(&strides).map(|(&i, &stride)| i as usize * stride).sum();
            let from = from * element_size;
            out.extend_from_slice(bytes.get(from..from + element_size).unwrap_or_default());
            for (place, &dim) in index.iter_mut().zip(dims).rev() {
                *place += 1;
                if *place < dim {
                    break;
                }
                *place = 0;
            }
        }
        out
    }
}

/// The order of dimensions that a transposition has.
fn order(configuration: &Value, rank: usize) -> Result<Vec<usize>> {
    let order = configuration.get("order").and_then(Value::as_array);
    let order = order.and_then(|order| {
        let order = order.iter().map(|place| usize::try_from(place.as_u64()?).ok());
        order.collect::<Option<Vec<usize>>>()
    });
    let valid = order.filter(|order| {
        let mut sorted = order.clone();
        sorted.sort_unstable();
        sorted.into_iter().eq(0..rank)
    });
    valid.ok_or_else(|| {
        Error::corrupt(format!("expected an order of {rank} dimensions, found {configuration}"))
    })
}

/// One transposition after another; none where nothing changes.
fn compose(first: Option<Vec<usize>>, second: Vec<usize>) -> Option<Vec<usize>> {
    let order: Vec<usize> = match first {
        Some(first) => second.iter().filter_map(|&place| first.get(place).copied()).collect(),
        None => second,
    };
    (!order.iter().copied().eq(0..order.len())).then_some(order)
}

fn unknown(what: &str, name: &str) -> Error {
    Error::unsupported(format!(
        "the {what} {name:?} is not read; write the store with zstd, gzip, blosc or no compression"
    ))
}
