//! What a check finds, as people and programs are told it.

use std::fmt;

use serde::Serialize;

/// What is not as it should be, and where.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// The object or the file.
    pub object: String,
    /// The fragment, by the name of its folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fragment: Option<String>,
    /// The column or the dimension.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// The tile of the fragment, from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tile: Option<u64>,
    /// What was expected, and what was found.
    pub message: String,
    /// What to do.
    pub remedy: String,
}

/// What to do about bytes that are not what was written.
pub(crate) const TAKE_A_COPY: &str = "put a sound copy of the file in its place, or make the object again; `vacuole repair` does what can be done without one";

impl Finding {
    /// A finding about an object or a file.
    pub(crate) fn new(object: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            object: object.into(),
            message: message.into(),
            remedy: TAKE_A_COPY.to_owned(),
            ..Self::default()
        }
    }

    /// Of what reading an object ended with. The text of an error names the file.
    pub(crate) fn of(object: impl Into<String>, error: &crate::Error) -> Self {
        Self::new(object, error.to_string())
    }

    #[must_use]
    pub(crate) fn fragment(self, name: impl ToString) -> Self {
        Self { fragment: Some(name.to_string()), ..self }
    }

    #[must_use]
    pub(crate) fn field(self, name: impl Into<String>) -> Self {
        Self { field: Some(name.into()), ..self }
    }

    #[must_use]
    pub(crate) fn tile(self, tile: u64) -> Self {
        Self { tile: Some(tile), ..self }
    }

    #[must_use]
    pub(crate) fn remedy(self, remedy: impl Into<String>) -> Self {
        Self { remedy: remedy.into(), ..self }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut place = Vec::new();
        // An error's text begins with the file, which lies in the object.
        if !self.message.starts_with(&self.object) {
            place.push(self.object.clone());
        }
        let named = self.fragment.iter().filter(|name| !self.message.contains(name.as_str()));
        place.extend(named.map(|name| format!("fragment {name}")));
        place.extend(self.field.iter().map(|name| format!("'{name}'")));
        place.extend(self.tile.iter().map(|tile| format!("tile {tile}")));
        if !place.is_empty() {
            write!(f, "{}: ", place.join(", "))?;
        }
        write!(f, "{}; {}", self.message, self.remedy)
    }
}
