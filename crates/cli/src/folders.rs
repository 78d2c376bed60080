//! The folders in which a user keeps what programs are told, and what they can make again.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The file of this program's settings, where the user has a folder for it.
pub(crate) fn settings() -> Option<PathBuf> {
    Some(
        folder("XDG_CONFIG_HOME", ".config", "Library/Application Support")?
            .join("vacuole/config.toml"),
    )
}

/// Where objects are kept that were read from buckets.
pub(crate) fn objects() -> Option<PathBuf> {
    Some(folder("XDG_CACHE_HOME", ".cache", "Library/Caches")?.join("vacuole/objects"))
}

/// The user's own folder.
pub(crate) fn home() -> Option<PathBuf> {
    absolute(std::env::var_os("HOME"))
}

/// A variable's folder, or else the system's one of this kind.
fn folder(variable: &str, usual: &str, apple: &str) -> Option<PathBuf> {
    let below_home = || {
        let home = home()?;
        Some(home.join(if cfg!(target_os = "macos") { apple } else { usual }))
    };
    absolute(std::env::var_os(variable)).or_else(below_home)
}

/// What is relative does not count, as the XDG specification has it: it would be another folder in each.
fn absolute(value: Option<OsString>) -> Option<PathBuf> {
    value.map(PathBuf::from).filter(|path| Path::is_absolute(path))
}
