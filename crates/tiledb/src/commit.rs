//! Which fragments and deletes of an array count, from the names and files under `__commits`.

use std::collections::{BTreeMap, BTreeSet};

use crate::bytes::{Cursor, put_lp64};
use crate::error::{Error, Result};
use crate::timestamps::{Period, TimestampedName};

/// A delete that was committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteCommit {
    /// The name that fragments use for it, `__commits/<name>.del`.
    pub marker: String,
    /// When cells were deleted: it applies to cells written at this time or before.
    pub at: u64,
    /// Its bytes, a generic tile, where they were inside a consolidated commits file; else they are in
    /// the file that `marker` names.
    pub inline: Option<Vec<u8>>,
}

/// The format version from which on the cells of joined fragments have times of their own (libtiledb).
const CELLS_HAVE_TIMES_FROM: u32 = 14;

/// What is committed in an array.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Commits {
    /// The fragments' folder names, by time.
    pub fragments: Vec<TimestampedName>,
    /// The deletes, by time.
    pub deletes: Vec<DeleteCommit>,
}

/// Files under `__commits` whose contents [`Commits::resolve`] needs.
pub fn needs_contents(file: &str) -> bool {
    [".con", ".ign", ".vac"].iter().any(|suffix| file.ends_with(suffix))
}

impl Commits {
    /// Resolves a listing of `__commits`: `names` of its files, and `contents` of those for which
    /// [`needs_contents`] holds.
    ///
    /// Files of unknown kinds are passed over, as libtiledb does. Only what was written within a period counts, of which a
    /// time is the end.
    ///
    /// # Errors
    /// [`Unsupported`](crate::ErrorKind::Unsupported) for updates (`.upd`); [`Corrupt`](crate::ErrorKind::Corrupt)
    /// for names and consolidated files that cannot be taken apart.
    pub fn resolve<'a>(
        names: impl IntoIterator<Item = &'a str>,
        contents: &BTreeMap<String, Vec<u8>>,
        period: impl Into<Period>,
    ) -> Result<Self> {
        let period = period.into();
        Self::resolve_where(names, contents, period, |name| name.is_of(period))
    }

    /// As [`resolve`](Self::resolve), of a sparse array: of fragments that were joined of older ones those count too that
    /// have other times too, in the place of the older ones. Their cells have times of their own.
    ///
    /// # Errors
    /// As of [`resolve`](Self::resolve).
    pub fn resolve_sparse<'a>(
        names: impl IntoIterator<Item = &'a str>,
        contents: &BTreeMap<String, Vec<u8>>,
        period: impl Into<Period>,
    ) -> Result<Self> {
        let period = period.into();
        let has_times = |name: &TimestampedName| {
            name.version.is_some_and(|version| version >= CELLS_HAVE_TIMES_FROM)
        };
        Self::resolve_where(names, contents, period, |name| {
            let meets = name.start <= period.end && period.start <= name.end;
            name.is_of(period) || meets && has_times(name)
        })
    }

    fn resolve_where<'a>(
        names: impl IntoIterator<Item = &'a str>,
        contents: &BTreeMap<String, Vec<u8>>,
        period: Period,
        counts: impl Fn(&TimestampedName) -> bool,
    ) -> Result<Self> {
        let mut ignored = BTreeSet::new();
        let mut vacuumed = BTreeSet::new();
        for (file, bytes) in contents {
            if file.ends_with(".ign") {
                ignored.extend(lines(bytes).map(|line| last_part(&line).to_owned()));
            } else if let Some(stem) = file.strip_suffix(".vac")
                && counts(&TimestampedName::parse(stem)?)
            {
                vacuumed.extend(lines(bytes).map(|line| last_part(&line).to_owned()));
            }
        }
        let mut fragments = BTreeSet::new();
        let mut deletes: BTreeMap<String, DeleteCommit> = BTreeMap::new();
        let mut delete = |file: &str, inline: Option<Vec<u8>>| -> Result<()> {
            let name = TimestampedName::parse(file.strip_suffix(".del").unwrap_or(file))?;
            if name.is_of(period) && !vacuumed.contains(file) {
                let marker = format!("__commits/{file}");
                let commit = DeleteCommit { marker, at: name.start, inline };
                deletes.entry(file.to_owned()).or_insert(commit);
            }
            Ok(())
        };
        for file in names {
            if let Some(fragment) = file.strip_suffix(".wrt") {
                fragments.insert(fragment.to_owned());
            } else if file.ends_with(".del") {
                delete(file, None)?;
            } else if file.ends_with(".upd") {
                return Err(Error::unsupported(format!("updates are not read: {file}")));
            }
        }
        for (file, bytes) in contents.iter().filter(|(file, _)| file.ends_with(".con")) {
            for entry in consolidated(bytes).map_err(|e| e.in_object(file))? {
                let name = last_part(&entry.path);
                if ignored.contains(name) {
                    continue;
                }
                match name.strip_suffix(".wrt") {
                    Some(fragment) => {
                        fragments.insert(fragment.to_owned());
                    }
                    None => delete(name, entry.content.map(<[u8]>::to_vec))?,
                }
            }
        }
        let mut fragments = fragments
            .iter()
            .filter(|name| !vacuumed.contains(name.as_str()))
            .map(|name| TimestampedName::parse(name))
            .collect::<Result<Vec<_>>>()?;
        fragments.retain(counts);
        fragments.sort();
        let mut deletes: Vec<_> = deletes.into_values().collect();
        deletes.sort_by_key(|delete| delete.at);
        Ok(Self { fragments, deletes })
    }
}

/// The bytes of a consolidated commits file that commits `fragments` of one array at once.
///
/// One line for each, relative to the array: `__commits/<fragment>.wrt`, ended by a line feed.
pub fn consolidated_commits<'a>(
    fragments: impl IntoIterator<Item = &'a TimestampedName>,
) -> Vec<u8> {
    fragments
        .into_iter()
        .fold(String::new(), |out, name| out + &format!("__commits/{name}.wrt\n"))
        .into_bytes()
}

/// As [`consolidated_commits`], with deletes: the marker of each, and the bytes of its file.
///
/// Behind the line of a delete come u64 size and as many bytes.
pub fn consolidated_commits_with_deletes<'a>(
    fragments: impl IntoIterator<Item = &'a TimestampedName>,
    deletes: impl IntoIterator<Item = (&'a str, &'a [u8])>,
) -> Vec<u8> {
    let mut out = consolidated_commits(fragments);
    for (marker, bytes) in deletes {
        out.extend_from_slice(marker.as_bytes());
        out.push(b'\n');
        put_lp64(&mut out, bytes);
    }
    out
}

/// The paths in the lines of a consolidated commits file, as they stand there.
///
/// # Errors
/// [`Corrupt`](crate::ErrorKind::Corrupt) where it cannot be taken apart.
pub fn committed_lines(bytes: &[u8]) -> Result<Vec<String>> {
    Ok(consolidated(bytes)?.into_iter().map(|entry| entry.path).collect())
}

struct Entry<'a> {
    path: String,
    content: Option<&'a [u8]>,
}

/// Lines of paths; behind the line of a `.del`, u64 size and as many bytes.
fn consolidated(bytes: &[u8]) -> Result<Vec<Entry<'_>>> {
    let mut cursor = Cursor::new(bytes);
    let mut entries = Vec::new();
    while cursor.remaining() > 0 {
        let at = cursor.position();
        let line = bytes.get(at..).unwrap_or_default();
        let length = line.iter().position(|&byte| byte == b'\n').ok_or_else(|| {
            Error::corrupt("consolidated commits: expected a line feed").at(at as u64)
        })?;
        let path = cursor.take(length, "commit path")?;
        cursor.take(1, "line feed")?;
        let path = String::from_utf8(path.to_vec())
            .map_err(|e| Error::corrupt(format!("commit path: {e}")).at(at as u64))?;
        let content = match path.ends_with(".del") {
            true => Some(cursor.lp64("delete condition")?),
            false if path.ends_with(".wrt") => None,
            false => {
                let message = format!("commit path: expected .wrt or .del, found '{path}'");
                return Err(Error::corrupt(message).at(at as u64));
            }
        };
        entries.push(Entry { path, content });
    }
    Ok(entries)
}

fn lines(bytes: &[u8]) -> impl Iterator<Item = String> {
    let text = String::from_utf8_lossy(bytes).into_owned();
    text.lines().map(str::to_owned).filter(|line| !line.is_empty()).collect::<Vec<_>>().into_iter()
}

fn last_part(path: &str) -> &str {
    path.trim_end_matches('/').rsplit('/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn resolve(names: &[&str], contents: &[(&str, &str)], at: u64) -> Vec<String> {
        let contents =
            contents.iter().map(|(k, v)| ((*k).to_owned(), v.as_bytes().to_vec())).collect();
        let commits = Commits::resolve(names.iter().copied(), &contents, at).unwrap();
        commits.fragments.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_consolidated_file_commits_all_its_fragments_at_once() {
        let names =
            [TimestampedName::new(5, "a", Some(22)), TimestampedName::new(6, "b", Some(22))];
        let bytes = String::from_utf8(consolidated_commits(&names)).unwrap();
        let contents = [("__5_6_x_22.con", bytes.as_str())];
        assert_eq!(resolve(&[], &contents, u64::MAX), ["__5_5_a_22", "__6_6_b_22"]);
        assert_eq!(resolve(&[], &contents, 5), ["__5_5_a_22"]);
    }

    #[test]
    fn ignored_entries_do_not_hide_single_commits() {
        let contents =
            [("c.con", "__commits/__1_1_a_22.wrt\n"), ("i.ign", "__commits/__1_1_a_22.wrt\n")];
        assert!(resolve(&[], &contents, 9).is_empty());
        assert_eq!(resolve(&["__1_1_a_22.wrt"], &contents, 9), ["__1_1_a_22"]);
    }

    #[test]
    fn vacuum_lists_hide_fragments_once_their_time_is_in_view() {
        let contents = [("__1_2_v_22.vac", "/__fragments/__1_1_a_22\n")];
        assert_eq!(resolve(&["__1_1_a_22.wrt"], &contents, 1), ["__1_1_a_22"]);
        assert!(resolve(&["__1_1_a_22.wrt"], &contents, 2).is_empty());
    }

    #[test]
    fn joined_fragments_stand_for_older_ones_within_their_time_too() {
        let names = ["__1_1_a_22.wrt", "__3_3_b_22.wrt", "__1_3_j_22.wrt", "__1_3_v_22.vac"];
        let list = b"__fragments/__1_1_a_22\n__fragments/__3_3_b_22\n".to_vec();
        let contents = BTreeMap::from([("__1_3_v_22.vac".to_owned(), list)]);
        let found = |at: u64, sparse| {
            let commits = match sparse {
                true => Commits::resolve_sparse(names, &contents, at),
                false => Commits::resolve(names, &contents, at),
            };
            commits.unwrap().fragments.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(found(2, false), ["__1_1_a_22"]);
        assert_eq!(found(2, true), ["__1_3_j_22"]);
        assert_eq!(found(3, false), ["__1_3_j_22"]);
        assert!(found(0, true).is_empty());
        // Before there were times of cells a joined fragment was there as a whole, or not.
        let old = Commits::resolve_sparse(["__1_3_j_12.wrt"], &BTreeMap::new(), 2u64).unwrap();
        assert!(old.fragments.is_empty());
    }

    #[test]
    fn deletes_stand_in_files_of_their_own_or_in_consolidated_ones() {
        let mut bytes =
            consolidated_commits_with_deletes([], [("__commits/__3_3_d_22.del", &b"tile\n"[..])]);
        bytes.extend_from_slice(b"__commits/__1_1_a_22.wrt\n");
        let contents = BTreeMap::from([("c.con".to_owned(), bytes.clone())]);
        let resolve = |at: u64| Commits::resolve(["__2_2_e_22.del"], &contents, at).unwrap();
        let delete = |marker: &str, at, inline: Option<&[u8]>| DeleteCommit {
            marker: format!("__commits/{marker}.del"),
            at,
            inline: inline.map(<[u8]>::to_vec),
        };
        let (own, inside) =
            (delete("__2_2_e_22", 2, None), delete("__3_3_d_22", 3, Some(b"tile\n")));
        assert_eq!(resolve(9).deletes, [own.clone(), inside]);
        assert_eq!(resolve(9).fragments, [TimestampedName::new(1, "a", Some(22))]);
        assert_eq!(resolve(2).deletes, [own]);
        // It can only end behind an entry.
        for end in 1..bytes.len() {
            let contents = BTreeMap::from([("c.con".to_owned(), bytes[..end].to_vec())]);
            let found = Commits::resolve([], &contents, 9u64);
            assert_eq!(found.is_ok(), end == 25 + 8 + 5, "cut at {end}");
        }
    }

    #[test]
    fn updates_are_refused() {
        let error = Commits::resolve(["__1_1_a_22.upd"], &BTreeMap::new(), 9u64).unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::Unsupported);
    }

    proptest! {
        #[test]
        fn consolidated_fragments_are_resolved(
            names in proptest::collection::btree_set((any::<u32>(), "[a-z0-9]{1,5}"), 0..20)
        ) {
            let names: Vec<_> = names
                .into_iter()
                .map(|(at, uuid)| TimestampedName::new(u64::from(at), uuid, Some(22)))
                .collect();
            let contents = BTreeMap::from([("c.con".to_owned(), consolidated_commits(&names))]);
            let found = Commits::resolve([], &contents, u64::MAX).unwrap();
            prop_assert_eq!(found.fragments, names);
        }

        #[test]
        fn any_bytes_are_resolved_or_refused(bytes: Vec<u8>, text in "(__commits/__1_1_a_22\\.(wrt|del)\n?){0,3}") {
            for bytes in [bytes, text.into_bytes()] {
                let contents = [("__1_1_x_22.con".to_owned(), bytes)].into();
                let _ = Commits::resolve([], &contents, u64::MAX);
            }
        }
    }
}
