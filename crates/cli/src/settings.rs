//! The user's settings: `vacuole/config.toml` in the folder of configurations.

use std::io;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use crate::error::CliError;
use crate::{cache, folders, size};

/// What the file says; nothing where there is no file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Whether the cache is on.
    pub(crate) cache_enabled: Option<bool>,
    /// The most bytes that it keeps.
    pub(crate) cache_size: Option<u64>,
    /// Where it is.
    pub(crate) cache_folder: Option<PathBuf>,
}

/// Reads the user's file.
pub(crate) fn read() -> Result<Settings, CliError> {
    let Some(path) = folders::settings() else { return Ok(Settings::default()) };
    match std::fs::read_to_string(&path) {
        Ok(text) => parse(&path, &text),
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            Ok(Settings::default())
        }
        Err(error) => {
            let message =
                format!("cannot be read: {error}; allow the user to read it, or remove it");
            Err(CliError::usage(path.display(), message))
        }
    }
}

fn parse(path: &Path, text: &str) -> Result<Settings, CliError> {
    let wrong = |key: &str, expected: &str, found: &str| {
        let message =
            format!("{key}: expected {expected}, found {found}; correct it, or remove it");
        CliError::usage(path.display(), message)
    };
    let table: Table = text.parse().map_err(|error: toml::de::Error| {
        let at = error.span().map_or(0, |span| span.start);
        let line = text.get(..at).unwrap_or(text).matches('\n').count() + 1;
        let said = error.message().lines().collect::<Vec<_>>().join(" ");
        wrong(&format!("line {line}"), "TOML, as [cache] and enabled = true", &format!("'{said}'"))
    })?;
    let mut settings = Settings::default();
    for (section, value) in &table {
        let Value::Table(keys) = value else {
            return Err(wrong(section, "a section, [cache]", &shown(value)));
        };
        if section != "cache" {
            return Err(wrong(section, "the section cache", &format!("[{section}]")));
        }
        for (key, value) in keys {
            let name = format!("cache.{key}");
            match (key.as_str(), value) {
                ("enabled", Value::Boolean(enabled)) => settings.cache_enabled = Some(*enabled),
                ("enabled", _) => return Err(wrong(&name, "true or false", &shown(value))),
                ("size", Value::String(text)) => {
                    let size = size::at_least(cache::LEAST, text).map_err(|expected| {
                        let expected = expected.trim_start_matches("expected ");
                        wrong(&name, expected, &shown(value))
                    })?;
                    settings.cache_size = Some(size);
                }
                ("size", _) => return Err(wrong(&name, "a text as \"10 GiB\"", &shown(value))),
                ("folder", Value::String(text)) => {
                    let folder = folder(text).ok_or_else(|| {
                        wrong(&name, "an absolute path, or one that begins with ~/", &shown(value))
                    })?;
                    settings.cache_folder = Some(folder);
                }
                ("folder", _) => return Err(wrong(&name, "a path as a text", &shown(value))),
                _ => return Err(wrong("cache", "the keys enabled, size and folder", &name)),
            }
        }
    }
    Ok(settings)
}

/// A value as the file has it, on one line.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => format!("{text:?}"),
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Boolean(yes) => yes.to_string(),
        Value::Datetime(time) => time.to_string(),
        Value::Array(_) => "a list".to_owned(),
        Value::Table(_) => "a section".to_owned(),
    }
}

fn folder(text: &str) -> Option<PathBuf> {
    match text.strip_prefix("~/") {
        Some(below) => Some(folders::home()?.join(below)),
        None => Some(PathBuf::from(text)).filter(|path| path.is_absolute()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Settings, String> {
        parse(Path::new("/c.toml"), text).map_err(|error| error.to_string())
    }

    #[test]
    fn settings_are_taken() {
        let text = "# mine\n[cache]\nenabled = true\nsize = \"10 GiB\"\nfolder = \"/x/y\"\n";
        let expected = Settings {
            cache_enabled: Some(true),
            cache_size: Some(10 << 30),
            cache_folder: Some("/x/y".into()),
        };
        assert_eq!(parsed(text), Ok(expected));
        assert_eq!(parsed(""), Ok(Settings::default()));
    }

    #[test]
    fn what_is_wrong_is_told_by_file_key_expected_and_found() {
        for (text, expected) in [
            ("[cache]\nenabled = 1", "/c.toml: cache.enabled: expected true or false, found 1;"),
            ("[cache]\nsize = 5", "/c.toml: cache.size: expected a text as \"10 GiB\", found 5;"),
            (
                "[cache]\nsize = \"5\"",
                "/c.toml: cache.size: expected a number of KiB, MiB or GiB, as 512MiB, found \"5\";",
            ),
            (
                "[cache]\nsize = \"1KiB\"",
                "/c.toml: cache.size: expected at least 1.00 MiB, found \"1KiB\";",
            ),
            ("[cache]\nfolder = \"x\"", "/c.toml: cache.folder: expected an absolute path"),
            (
                "[cache]\nwhere = \"x\"",
                "/c.toml: cache: expected the keys enabled, size and folder, found cache.where;",
            ),
            ("[s3]\nregion = \"x\"", "/c.toml: s3: expected the section cache, found [s3];"),
            ("cache = true", "/c.toml: cache: expected a section, [cache], found true;"),
            ("[cache]\nenabled = yes", "/c.toml: line 2: expected TOML"),
        ] {
            let said = parsed(text).unwrap_err();
            assert!(said.starts_with(expected), "{text}\n{said}");
        }
    }
}
