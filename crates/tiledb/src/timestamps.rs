//! Timestamped names: fragments, commits, schemas, metadata and group files.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};

/// The name of a stored object that belongs to a time: `__<t1>_<t2>_<uuid>[_<version>]`.
///
/// Times are milliseconds since 1970, `t1 <= t2`; a single write has the same time twice. Readers split
/// at underscores, so the uuid holds neither `_` nor `.`; as part of a path and of a line it holds neither
/// `/` nor control characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TimestampedName {
    /// The earliest time of what the object holds.
    pub start: u64,
    /// The latest time of what the object holds.
    pub end: u64,
    /// Tells apart objects of the same time.
    pub uuid: String,
    /// The format version, where the name carries one: fragments and commits do.
    pub version: Option<u32>,
}

impl TimestampedName {
    /// A name for one write at time `at`.
    pub fn new(at: u64, uuid: impl Into<String>, version: Option<u32>) -> Self {
        Self { start: at, end: at, uuid: uuid.into(), version }
    }

    /// Takes a name apart; a suffix such as `.wrt` must have been removed.
    pub fn parse(name: &str) -> Result<Self> {
        let fault = || {
            Error::corrupt(format!(
                "expected a name like __<start>_<end>_<uuid>_<version>, found '{name}'"
            ))
        };
        let mut parts = name.strip_prefix("__").ok_or_else(fault)?.split('_');
        let mut next = || parts.next().filter(|part| !part.is_empty());
        let start = next().and_then(number).ok_or_else(fault)?;
        let end = next().and_then(number).ok_or_else(fault)?;
        let uuid = next().ok_or_else(fault)?.to_owned();
        let version = match next() {
            None => None,
            Some(version) => Some(number(version).ok_or_else(fault)?),
        };
        let foreign = |c: char| c == '.' || c == '/' || c.is_control();
        if start > end || next().is_some() || uuid.contains(foreign) {
            return Err(fault());
        }
        Ok(Self { start, end, uuid, version })
    }

    /// Whether everything it holds was there at time `at`.
    pub fn is_within(&self, at: u64) -> bool {
        self.end <= at
    }

    /// Whether everything it holds was written within a period.
    pub fn is_of(&self, period: Period) -> bool {
        period.holds(self.start) && period.holds(self.end)
    }
}

/// When what counts was written, in milliseconds since 1970; both ends belong to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    /// What was written before does not count.
    pub start: u64,
    /// What was written later does not count; `u64::MAX` is now.
    pub end: u64,
}

impl Period {
    /// Whether a time lies in it.
    pub fn holds(self, time: u64) -> bool {
        self.start <= time && time <= self.end
    }
}

impl From<u64> for Period {
    /// All that was written until a time.
    fn from(end: u64) -> Self {
        Self { start: 0, end }
    }
}

/// A number without sign or leading zeros: a name must come back the same from [`fmt::Display`], because
/// objects are looked up by it.
fn number<T: FromStr + ToString>(text: &str) -> Option<T> {
    text.parse().ok().filter(|number: &T| number.to_string() == text)
}

impl fmt::Display for TimestampedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "__{}_{}_{}", self.start, self.end, self.uuid)?;
        match self.version {
            Some(version) => write!(f, "_{version}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn round_trip(a: u64, b: u64, uuid in "[0-9a-zA-Z-]{1,40}", version: Option<u32>) {
            let name = TimestampedName { start: a.min(b), end: a.max(b), uuid, version };
            prop_assert_eq!(TimestampedName::parse(&name.to_string()).unwrap(), name);
        }

        #[test]
        fn any_text_is_parsed_or_refused(text in "_{0,3}[0-9_a.+-]{0,30}") {
            if let Ok(name) = TimestampedName::parse(&text) {
                prop_assert!(name.start <= name.end);
                prop_assert_eq!(name.to_string(), text);
            }
        }
    }

    #[test]
    fn names_that_would_be_looked_up_differently_are_refused() {
        for name in ["__01_1_a_22", "__1_+1_a_22", "__1_1_a_022", "__1_18446744073709551616_a_22"] {
            assert!(TimestampedName::parse(name).is_err(), "{name}");
        }
    }

    /// Consolidated commits are lines of names.
    #[test]
    fn line_feeds_and_slashes_are_refused() {
        for name in ["__1_2_v\n\0s_2", "__1_2_a/b_2", "__1_2_a\r_22"] {
            assert!(TimestampedName::parse(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn an_underscore_too_many_is_refused() {
        assert!(TimestampedName::parse("__1_2_ab_cd_22").is_err());
        assert!(TimestampedName::parse("__2_1_ab_22").is_err());
        assert!(TimestampedName::parse("__1_1__22").is_err());
    }
}
