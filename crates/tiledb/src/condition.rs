//! Delete conditions: which cells stay.

use crate::bytes::{Cursor, put_lp32, put_lp64, put_u64s};
use crate::error::{Error, Result};
use crate::generic_tile;
use crate::schema::structure_filters;

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

impl Comparison {
    /// Each with the number that stands for it.
    const CODES: [(u8, Self); 10] = [
        (0, Self::Less),
        (1, Self::LessOrEqual),
        (2, Self::Greater),
        (3, Self::GreaterOrEqual),
        (4, Self::Equal),
        (5, Self::NotEqual),
        (6, Self::In),
        (7, Self::NotIn),
        (253, Self::AlwaysTrue),
        (254, Self::AlwaysFalse),
    ];

    /// Whether cells are compared with a set.
    fn is_of_set(self) -> bool {
        matches!(self, Self::In | Self::NotIn)
    }
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

    /// Encodes a `.del` file.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) for what would not be read back as it is: offsets of what is no set,
    /// or that leave the values, and expressions that nest too deep.
    pub fn write(&self) -> Result<Vec<u8>> {
        let mut payload = Vec::new();
        self.put(&mut payload, 0)?;
        generic_tile::write(&payload, &structure_filters())
    }

    fn put(&self, out: &mut Vec<u8>, depth: usize) -> Result<()> {
        if depth > DEEPEST {
            return Err(Error::invalid(format!("conditions nest deeper than {DEEPEST}")));
        }
        let (operator, children) = match self {
            Self::Compare { field, comparison, value, offsets } => {
                let inside = offsets.last().is_none_or(|&last| last <= value.len() as u64);
                let is_set = comparison.is_of_set() || offsets.is_empty();
                if !is_set || !inside || !offsets.is_sorted() {
                    let message = format!(
                        "condition on '{field}': expected offsets of a set only, which rise within {} bytes",
                        value.len()
                    );
                    return Err(Error::invalid(message));
                }
                let known = Comparison::CODES.iter().find(|(_, known)| known == comparison);
                out.extend([1, known.map_or(u8::MAX, |(code, _)| *code)]);
                put_lp32(out, field.as_bytes())?;
                put_lp64(out, value);
                if comparison.is_of_set() {
                    out.extend_from_slice(&(8 * offsets.len() as u64).to_le_bytes());
                    put_u64s(out, offsets);
                }
                return Ok(());
            }
            Self::And(children) => (0, children.as_slice()),
            Self::Or(children) => (1, children.as_slice()),
            Self::Not(child) => (2, std::slice::from_ref(&**child)),
        };
        out.extend([0, operator]);
        out.extend_from_slice(&(children.len() as u64).to_le_bytes());
        children.iter().try_for_each(|child| child.put(out, depth + 1))
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
            let code = cursor.u8("comparison")?;
            let known = Comparison::CODES.iter().find(|(number, _)| *number == code);
            let Some(&(_, comparison)) = known else {
                return Err(Error::corrupt(format!("comparison {code} is not known")).at(at));
            };
            let field = cursor.lp32_str("condition field")?.to_owned();
            let value = cursor.lp64("condition value")?.to_vec();
            let offsets = match comparison.is_of_set() {
                true => cursor.lp64_u64s("condition offsets")?,
                false => Vec::new(),
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
    use proptest::prelude::*;

    fn any_condition() -> impl Strategy<Value = Condition> {
        let comparison = prop::sample::select(Comparison::CODES.map(|(_, known)| known).to_vec());
        let values = prop::collection::vec(prop::collection::vec(any::<u8>(), 0..5), 0..5);
        let compare =
            (any::<String>(), comparison, values).prop_map(|(field, comparison, values)| {
                let starts = values.iter().scan(0, |end, value| {
                    *end += value.len() as u64;
                    Some(*end - value.len() as u64)
                });
                let offsets = if comparison.is_of_set() { starts.collect() } else { Vec::new() };
                Condition::Compare { field, comparison, value: values.concat(), offsets }
            });
        compare.prop_recursive(5, 24, 4, |inner| {
            let children = prop::collection::vec(inner.clone(), 0..4);
            prop_oneof![
                children.clone().prop_map(Condition::And),
                children.prop_map(Condition::Or),
                inner.prop_map(|child| Condition::Not(Box::new(child))),
            ]
        })
    }

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
    fn the_stored_layout_is_written() {
        let condition = Condition::read(&stored(NOT_IN_SET)).unwrap();
        assert_eq!(condition.write().unwrap(), stored(NOT_IN_SET));
    }

    #[test]
    fn what_would_be_read_otherwise_is_not_written() {
        let on = |comparison, offsets: &[u64]| Condition::Compare {
            field: "a".to_owned(),
            comparison,
            value: vec![1, 2],
            offsets: offsets.to_vec(),
        };
        assert!(on(Comparison::NotIn, &[0, 1]).write().is_ok());
        for (comparison, offsets) in
            [(Comparison::Equal, &[0][..]), (Comparison::In, &[1, 0]), (Comparison::In, &[0, 3])]
        {
            let error = on(comparison, offsets).write().unwrap_err();
            assert_eq!(error.kind(), crate::ErrorKind::InvalidInput, "{error}");
        }
        let deep =
            (0..=DEEPEST).fold(on(Comparison::Less, &[]), |c, _| Condition::Not(Box::new(c)));
        assert_eq!(deep.write().unwrap_err().kind(), crate::ErrorKind::InvalidInput);
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
        fn round_trip(condition in any_condition()) {
            let bytes = condition.write().unwrap();
            prop_assert_eq!(Condition::read(&bytes).unwrap(), condition);
        }

        #[test]
        fn altered_bytes_never_panic(at in 0..NOT_IN_SET.len(), byte: u8) {
            let mut payload = NOT_IN_SET.to_vec();
            payload[at] = byte;
            let _ = Condition::read(&stored(&payload));
        }
    }
}
