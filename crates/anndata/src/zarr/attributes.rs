//! Attributes, which Zarr keeps as JSON.

use serde_json::{Map, Value};

use crate::{Error, Result};

/// The attributes of a group or an array.
#[derive(Clone, Debug, Default)]
pub(crate) struct Attributes(Map<String, Value>);

impl Attributes {
    pub(super) fn new(attributes: Map<String, Value>) -> Self {
        Self(attributes)
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// The value of an attribute that holds one string.
    pub(crate) fn string(&self, name: &str) -> Result<Option<String>> {
        self.value(name, "a string", |value| value.as_str().map(str::to_owned))
    }

    /// The values of an attribute that holds strings.
    pub(crate) fn strings(&self, name: &str) -> Result<Option<Vec<String>>> {
        self.value(name, "strings", |value| {
            let strings = value.as_array()?.iter();
            strings.map(|value| value.as_str().map(str::to_owned)).collect()
        })
    }

    /// The values of an attribute that holds whole numbers from 0 on.
    pub(crate) fn lengths(&self, name: &str) -> Result<Option<Vec<u64>>> {
        self.value(name, "lengths", |value| value.as_array()?.iter().map(Value::as_u64).collect())
    }

    /// Whether an attribute that holds one boolean or number is true.
    pub(crate) fn truth(&self, name: &str) -> Result<Option<bool>> {
        self.value(name, "a boolean", |value| {
            value.as_bool().or_else(|| value.as_i64().map(|number| number != 0))
        })
    }

    fn value<T>(
        &self,
        name: &str,
        expected: &str,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Result<Option<T>> {
        let Some(value) = self.0.get(name) else { return Ok(None) };
        read(value).map(Some).ok_or_else(|| {
            let found: String = value.to_string().chars().take(60).collect();
            Error::corrupt(format!("expected {expected} in attribute {name:?}, found {found}"))
        })
    }
}
