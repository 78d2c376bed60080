//! Delete conditions: which cells stay.

use crate::bytes::Cursor;
use crate::error::{Error, Result};
use crate::generic_tile;

/// How deep expressions may nest.
const DEEPEST: usize = 64;

/// A comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Comparison {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Equal,
    NotEqual,
    In,
    NotIn,
    AlwaysTrue,
    AlwaysFalse,
}

/// A stored condition. In a `.del` file it is the *negation* of what was deleted: a cell stays where it
/// holds (libtiledb; the specification is silent).
///
/// ```text
/// u8 1, a comparison:  u8 operator | lp32 field | lp64 value | lp64 offsets (IN and NOT IN only)
/// u8 0, an expression: u8 operator (0 and, 1 or, 2 not) | u64 children | each child
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// One field compared with one value or with a set.
    Compare {
        /// The field's name.
        field: String,
        /// How it is compared.
        comparison: Comparison,
        /// The bytes of the value, or of the set's values one after another; empty stands for null.
        value: Vec<u8>,
        /// Where each value of a set starts in `value`, in bytes.
        offsets: Vec<u64>,
    },
    /// All hold.
    And(Vec<Condition>),
    /// At least one holds.
    Or(Vec<Condition>),
    /// The child does not hold.
    Not(Box<Condition>),
}

impl Condition {
    /// Decodes a `.del` file, a generic tile.
    pub fn read(bytes: &[u8]) -> Result<Self> {
        let (payload, _) = generic_tile::read(bytes, 0)?;
        let mut cursor = Cursor::new(&payload);
        let condition = read_node(&mut cursor, 0)?;
        cursor.finish("delete condition")?;
        Ok(condition)
    }

    /// The values of a set, as bytes.
    pub fn set_values<'a>(value: &'a [u8], offsets: &'a [u64]) -> impl Iterator<Item = &'a [u8]> {
        let ends = offsets.iter().skip(1).copied().chain([value.len() as u64]);
        let ranges = offsets.iter().zip(ends);
        ranges.filter_map(|(&start, end)| value.get(start as usize..end as usize))
    }
}

fn read_node(cursor: &mut Cursor<'_>, depth: usize) -> Result<Condition> {
    let at = cursor.position() as u64;
    if depth > DEEPEST {
        return Err(Error::unsupported(format!("conditions nest deeper than {DEEPEST}")).at(at));
    }
    match cursor.u8("condition node")? {
        0 => {
            let operator = cursor.u8("condition operator")?;
            let count = cursor.count64(2, "condition children")?;
            let mut children = Vec::with_capacity(count.min(DEEPEST));
            for _ in 0..count {
                children.push(read_node(cursor, depth + 1)?);
            }
            match operator {
                0 => Ok(Condition::And(children)),
                1 => Ok(Condition::Or(children)),
                2 if children.len() == 1 => Ok(Condition::Not(Box::new(children.remove(0)))),
                other => Err(Error::corrupt(format!(
                    "condition operator {other} with {} children",
                    children.len()
                ))
                .at(at)),
            }
        }
        1 => {
            let comparison = match cursor.u8("comparison")? {
                0 => Comparison::Less,
                1 => Comparison::LessOrEqual,
                2 => Comparison::Greater,
                3 => Comparison::GreaterOrEqual,
                4 => Comparison::Equal,
                5 => Comparison::NotEqual,
                6 => Comparison::In,
                7 => Comparison::NotIn,
                253 => Comparison::AlwaysTrue,
                254 => Comparison::AlwaysFalse,
                other => {
                    return Err(Error::corrupt(format!("comparison {other} is not known")).at(at));
                }
            };
            let field = cursor.lp32_str("condition field")?.to_owned();
            let value = cursor.lp64("condition value")?.to_vec();
            let offsets = match comparison {
                Comparison::In | Comparison::NotIn => cursor.lp64_u64s("condition offsets")?,
                _ => Vec::new(),
            };
            // A value left out would change which cells stay.
            if !offsets.is_sorted() || offsets.last().is_some_and(|&last| last > value.len() as u64)
            {
                let message = format!(
                    "condition offsets: expected them to rise within {} bytes",
                    value.len()
                );
                return Err(Error::corrupt(message).at(at));
            }
            Ok(Condition::Compare { field, comparison, value, offsets })
        }
        other => {
            Err(Error::corrupt(format!("condition node: expected 0 or 1, found {other}")).at(at))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::structure_filters;
    use proptest::prelude::*;

    fn stored(payload: &[u8]) -> Vec<u8> {
        generic_tile::write(payload, &structure_filters()).unwrap()
    }

    /// `not (louvain in {1, 2})`.
    const NOT_IN_SET: &[u8] = &[
        0, 2, 1, 0, 0, 0, 0, 0, 0, 0, // expression, not, 1 child
        1, 6, // comparison, in
        7, 0, 0, 0, b'l', b'o', b'u', b'v', b'a', b'i', b'n', // field
        2, 0, 0, 0, 0, 0, 0, 0, 1, 2, // values
        16, 0, 0, 0, 0, 0, 0, 0, // offsets
        0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0,
    ];

    #[test]
    fn a_set_is_read() {
        let Condition::Not(child) = Condition::read(&stored(NOT_IN_SET)).unwrap() else {
            panic!("expected a negation")
        };
        let Condition::Compare { field, comparison, value, offsets } = *child else {
            panic!("expected a comparison")
        };
        assert_eq!((field.as_str(), comparison), ("louvain", Comparison::In));
        let values: Vec<_> = Condition::set_values(&value, &offsets).collect();
        assert_eq!(values, [[1], [2]]);
    }

    #[test]
    fn every_cut_is_refused() {
        for end in 0..NOT_IN_SET.len() {
            assert!(Condition::read(&stored(&NOT_IN_SET[..end])).is_err(), "cut at {end}");
        }
        assert!(Condition::read(&stored(&[NOT_IN_SET, &[0]].concat())).is_err());
    }

    /// Values that are left out would change which cells stay.
    #[test]
    fn offsets_that_fall_or_leave_the_values_are_refused() {
        let first = NOT_IN_SET.len() - 16;
        for (at, offset) in [(first, 2), (first + 8, 3)] {
            let mut payload = NOT_IN_SET.to_vec();
            payload[at] = offset;
            let error = Condition::read(&stored(&payload)).unwrap_err();
            assert!(error.to_string().contains("within 2 bytes"), "{error}");
        }
    }

    #[test]
    fn deep_nesting_is_refused() {
        let payload = [0u8, 2, 1, 0, 0, 0, 0, 0, 0, 0].repeat(10_000);
        let error = Condition::read(&stored(&payload)).unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::Unsupported);
    }

    proptest! {
        #[test]
        fn altered_bytes_never_panic(at in 0..NOT_IN_SET.len(), byte: u8) {
            let mut payload = NOT_IN_SET.to_vec();
            payload[at] = byte;
            let _ = Condition::read(&stored(&payload));
        }
    }
}
