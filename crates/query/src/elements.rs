//! Which elements of an AnnData come along in a slice.

use vacuole_soma::{Error as SomaError, ErrorKind, Object};

use crate::error::{Error, Result};

/// The parts of an AnnData that a slice may leave out; in that of an experiment there is neither `raw` nor `uns`.
pub const PARTS: [&str; 6] = ["obsm", "varm", "obsp", "varp", "raw", "uns"];

/// Parts, as `obsm`, and elements of them, as `obsm/X_umap`; all of them by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Elements(Option<Vec<String>>);

/// An element that was asked for and is not there.
pub(crate) struct Missing(String);

impl Missing {
    pub(crate) fn in_object(self, object: &Object) -> Error {
        SomaError::new(ErrorKind::NotFound, object.display(), self.0).into()
    }

    pub(crate) fn in_place(self, place: &str) -> Error {
        SomaError::new(ErrorKind::NotFound, place, self.0).into()
    }
}

impl Elements {
    /// Only these; `none` by itself stands for no element.
    ///
    /// # Errors
    /// What is wrong, where one is no part, and no element of one.
    pub fn only(names: Vec<String>) -> Result<Self, String> {
        if names == ["none"] {
            return Ok(Self(Some(Vec::new())));
        }
        for name in &names {
            let (part, element) = name.split_once('/').unwrap_or((name, "all"));
            let whole_only = matches!(part, "raw" | "uns") && name.contains('/');
            if !PARTS.contains(&part) || element.is_empty() || whole_only {
                return Err(format!(
                    "expected none, or some of {} and elements as obsm/X_umap, found '{name}'",
                    PARTS.join(", ")
                ));
            }
        }
        Ok(Self(Some(names)))
    }

    /// Whether anything of a part may come along.
    pub(crate) fn has_any(&self, part: &str) -> bool {
        let is_of = |name: &String| name.split('/').next() == Some(part);
        self.0.as_ref().is_none_or(|names| names.iter().any(is_of))
    }

    /// Those of the elements of a part that come along.
    pub(crate) fn of<T>(
        &self,
        part: &str,
        found: Vec<(String, T)>,
    ) -> Result<Vec<(String, T)>, Missing> {
        let Some(names) = &self.0 else { return Ok(found) };
        if names.iter().any(|name| name == part) {
            return Ok(found);
        }
        let wanted = names.iter().filter_map(|name| name.strip_prefix(part)?.strip_prefix('/'));
        let wanted: Vec<&str> = wanted.collect();
        if let Some(missing) = wanted.iter().find(|name| !found.iter().any(|(key, _)| key == *name))
        {
            let names: Vec<String> = found.iter().map(|(name, _)| format!("'{name}'")).collect();
            let there = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            return Err(Missing(format!(
                "expected an element '{missing}' of {part}, found {there}"
            )));
        }
        Ok(found.into_iter().filter(|(name, _)| wanted.contains(&name.as_str())).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_and_elements_are_told_apart() {
        let only = |names: &[&str]| Elements::only(names.iter().map(|n| (*n).to_owned()).collect());
        let found = || vec![("a".to_owned(), 1), ("b".to_owned(), 2)];
        let names = |elements: &Elements, part: &str| -> Vec<String> {
            let found =
                elements.of(part, found()).unwrap_or_else(|missing| panic!("{}", missing.0));
            found.into_iter().map(|(name, _)| name).collect()
        };
        assert_eq!(names(&Elements::default(), "obsm"), ["a", "b"]);
        let some = only(&["obsm/b", "varp"]).unwrap();
        assert_eq!(names(&some, "obsm"), ["b"]);
        assert_eq!(names(&some, "varp"), ["a", "b"]);
        assert!(names(&some, "obsp").is_empty() && !some.has_any("obsp") && some.has_any("obsm"));
        assert!(names(&only(&["none"]).unwrap(), "obsm").is_empty());
        assert!(only(&["obsm/c"]).unwrap().of("obsm", found()).is_err());
        for wrong in ["obs", "obsm/", "uns/a", "none,obsm", ""] {
            assert!(only(&[wrong]).is_err(), "{wrong}");
        }
    }
}
