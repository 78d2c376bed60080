//! Renaming and removing the members of collections, as TileDB does it: by one more file of group details.
//!
//! The file marks a name as gone and, to rename, gives the same object another one: readers see the one state or the
//! other. It is newer than all that is there, so that what was there can still be read as of an earlier time. The object
//! itself stays in its folder, unless what is removed is to be deleted too; that comes last, when no reader of the newest
//! state looks for it any more.

use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use vacuole_store::{Store, join};
use vacuole_tiledb::group::Member;

use crate::change::refuse_open_ingest;
use crate::create::{WriteStamp, members_file};
use crate::error::{Error, ErrorKind, Result};
use crate::object::{Object, SomaType, member_name, read_group_files};

/// A member that has another name now, or would have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Renamed {
    /// The path of its collection, by folders.
    pub collection: String,
    /// What it was called.
    pub from: String,
    /// What it is called.
    pub to: String,
    /// Where the object is and stays: the folder in its collection, or a URI.
    pub object: String,
    /// The time of the change, in milliseconds since 1970; none where it was not made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<u64>,
}

/// A member that is no longer one, or would not be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Removed {
    /// The path of its collection, by folders.
    pub collection: String,
    /// What it was called.
    pub name: String,
    /// Where the object is, or was: the folder in its collection, or a URI.
    pub object: String,
    /// How many files it has.
    pub files: u64,
    /// How many bytes they are.
    pub bytes: u64,
    /// Whether they are deleted, or would be.
    pub deleted: bool,
    /// The time of the change, in milliseconds since 1970; none where nothing was to change, or it was not made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<u64>,
}

/// How a member is removed.
#[derive(Clone, Copy, Debug, Default)]
pub struct RemoveOptions {
    /// Whether the stored object is deleted too, also of a member that was removed before.
    pub delete: bool,
    /// Whether to say only what would be done.
    pub dry_run: bool,
}

/// Gives the member at a path of names below `root` another name in its collection.
///
/// # Errors
/// [`NotFound`](ErrorKind::NotFound) where there is no such member, [`AlreadyExists`](ErrorKind::AlreadyExists) where there is one
/// by the new name, [`InvalidInput`](ErrorKind::InvalidInput) for names that SOMA gives a meaning.
pub fn rename_member(root: &Object, path: &str, name: &str, dry_run: bool) -> Result<Renamed> {
    refuse_open_ingest(&**root.store(), root.path())?;
    let place = find(root, path)?;
    let (group, from) = (&place.group, place.name);
    // The whole path in its new form is taken too, as by `mv`.
    let parent = path.strip_suffix(from).filter(|parent| !parent.is_empty());
    let name = parent.and_then(|parent| name.strip_prefix(parent)).unwrap_or(name);
    check_name(group, name)?;
    let member = place.member()?;
    for name in [from, name] {
        if let Some(reason) = meaning(group, name) {
            let message = format!(
                "'{name}' cannot be renamed or be a new name in a {}: {reason}",
                group.soma_type()
            );
            return Err(Error::new(ErrorKind::InvalidInput, group.display(), message));
        }
    }
    if place.members.iter().any(|other| member_name(other) == name) {
        let message = format!(
            "a member '{name}' is there already; choose another name, or remove it or rename it first"
        );
        return Err(Error::new(ErrorKind::AlreadyExists, group.display(), message));
    }
    let renamed = Member { name: Some(name.to_owned()), ..member.clone() };
    let at = match dry_run {
        true => None,
        false => Some(place.put(&[(member, true), (&renamed, false)])?),
    };
    Ok(Renamed {
        collection: group.path().to_owned(),
        from: from.to_owned(),
        to: name.to_owned(),
        object: member.uri.clone(),
        at,
    })
}

/// Takes the member at a path of names below `root` out of its collection.
///
/// Interrupted while it deletes, or to delete what was removed before, the same call with `delete` goes on: members of that
/// name that the collection had, and that nothing in it names any more, are deleted.
///
/// # Errors
/// [`NotFound`](ErrorKind::NotFound) where there is no such member, and [`InvalidInput`](ErrorKind::InvalidInput) where others cannot be
/// without it, or where it is to be deleted and lies elsewhere.
pub fn remove_member(root: &Object, path: &str, options: RemoveOptions) -> Result<Removed> {
    refuse_open_ingest(&**root.store(), root.path())?;
    let place = find(root, path)?;
    let (group, store) = (&place.group, &**place.group.store());
    if let Some(reason) = need(group, place.name) {
        let message = format!("'{}' cannot be removed: {reason}", place.name);
        return Err(Error::new(ErrorKind::InvalidInput, group.display(), message));
    }
    let member = match place.member() {
        Ok(member) => Some(member),
        Err(error) if !options.delete => return Err(error),
        Err(_) => None,
    };
    let gone = match member {
        Some(member) if options.delete && !is_own_folder(member) => {
            let message = format!(
                "expected a member in the folder of its collection, found '{}' at {}; remove it without --delete, and \
                 delete it there",
                place.name, member.uri
            );
            return Err(Error::new(ErrorKind::InvalidInput, group.display(), message));
        }
        Some(member) => vec![member.uri.clone()],
        None => place.left_behind()?,
    };
    let mut removed = Removed {
        collection: group.path().to_owned(),
        name: place.name.to_owned(),
        object: gone.join(", "),
        files: 0,
        bytes: 0,
        deleted: options.delete,
        at: None,
    };
    let folders: Vec<String> = match member {
        Some(member) if !is_own_folder(member) => Vec::new(),
        _ => gone.iter().map(|uri| join(group.path(), uri.trim_end_matches('/'))).collect(),
    };
    for folder in &folders {
        let (files, bytes) = size_of(store, folder)?;
        (removed.files, removed.bytes) = (removed.files + files, removed.bytes + bytes);
    }
    if let (Some(member), false) = (member, options.dry_run) {
        removed.at = Some(place.put(&[(member, true)])?);
    }
    if options.delete && !options.dry_run {
        // What another name stands for stays.
        let others = |uri: &str| {
            let mut others = place.members.iter().filter(|other| Some(*other) != member);
            others.any(|other| other.relative && same_folder(&other.uri, uri))
        };
        for (folder, uri) in folders.iter().zip(&gone) {
            match others(uri) {
                true => removed.deleted = false,
                false => store.remove_folder(folder)?,
            }
        }
        store.flush()?;
    }
    Ok(removed)
}

/// Whether what lay at `path` of a store was removed from its collection: one above it has had a member in that folder,
/// and has none there now.
pub(crate) fn was_removed(store: &dyn Store, root: &str, path: &str) -> Result<bool> {
    let below =
        path.match_indices('/').filter_map(|(at, _)| Some((path.get(..at)?, path.get(at + 1..)?)));
    for (above, below) in std::iter::once(("", path)).chain(below) {
        let group = join(root, above);
        let folder = below.split('/').next().unwrap_or(below);
        let is_here = |member: &Member| member.relative && same_folder(&member.uri, folder);
        let files = read_group_files(store, &group, u64::MAX)?;
        let removed = files.iter().flat_map(|file| &file.entries);
        let removed = removed.filter(|(_, removed)| *removed).any(|(member, _)| is_here(member));
        if removed && !vacuole_tiledb::group::members(files).iter().any(is_here) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A collection, and a name in it.
struct Place<'a> {
    group: Object,
    name: &'a str,
    members: Vec<Member>,
}

impl Place<'_> {
    fn member(&self) -> Result<&Member> {
        let found = self.members.iter().find(|member| member_name(member) == self.name);
        found.ok_or_else(|| {
            let names: Vec<&str> = self.members.iter().map(member_name).collect();
            let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            let message = format!("expected a member '{}', found {names}", self.name);
            Error::new(ErrorKind::NotFound, self.group.display(), message)
        })
    }

    /// Writes what changes, and returns its time.
    fn put(&self, changes: &[(&Member, bool)]) -> Result<u64> {
        let (group, store) = (&self.group, &**self.group.store());
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = since.map_or(0, |since| since.as_millis() as u64);
        // Files count in the order of their times, whatever clocks say.
        let at = now.max(group.last_change()?.saturating_add(1));
        let stamp = WriteStamp { at, uuid: uuid::Uuid::new_v4().simple().to_string() };
        let (object, bytes) = members_file(store, group.path(), changes, &stamp)?;
        store.put(&object, &bytes)?;
        store.flush()?;
        Ok(at)
    }

    /// The folders of members of this name that the collection had, and that are still there.
    fn left_behind(&self) -> Result<Vec<String>> {
        let store = &**self.group.store();
        let mut found = BTreeSet::new();
        for file in read_group_files(store, self.group.path(), u64::MAX)? {
            let of_name = file.entries.into_iter().map(|(member, _)| member);
            found.extend(
                of_name
                    .filter(|member| is_own_folder(member) && member_name(member) == self.name)
                    .map(|member| member.uri),
            );
        }
        let is_named = |uri: &String| {
            self.members.iter().any(|member| member.relative && same_folder(&member.uri, uri))
        };
        let mut left = Vec::new();
        for uri in found.into_iter().filter(|uri| !is_named(uri)) {
            let folder = join(self.group.path(), uri.trim_end_matches('/'));
            if !store.list(&folder)?.is_empty() {
                left.push(uri);
            }
        }
        match left.is_empty() {
            true => Err(self.member().err().unwrap_or_else(|| {
                Error::not_found(self.group.display(), "there is nothing to delete")
            })),
            false => Ok(left),
        }
    }
}

/// The collection in which a path of names ends. Names may hold slashes: the longest that fits is taken.
fn find<'a>(group: &Object, path: &'a str) -> Result<Place<'a>> {
    if !group.is_group() {
        let message = format!("expected a collection, found a {}", group.soma_type());
        return Err(Error::new(ErrorKind::InvalidInput, group.display(), message));
    }
    let members = group.members()?;
    let is_there = |name: &str| members.iter().find(|member| member_name(member) == name);
    if is_there(path).is_none() {
        for (at, _) in path.rmatch_indices('/') {
            let (name, rest) = (path.get(..at).unwrap_or(""), path.get(at + 1..).unwrap_or(""));
            let Some(member) = is_there(name).filter(|_| !rest.is_empty()) else { continue };
            if !member.relative {
                let message = format!("'{name}' is at {}; give that as the URI", member.uri);
                return Err(Error::new(ErrorKind::InvalidInput, group.display(), message));
            }
            return find(&group.expect_member(name)?, rest);
        }
    }
    Ok(Place { group: group.clone(), name: path, members })
}

fn check_name(group: &Object, name: &str) -> Result<()> {
    let fault = match name {
        "" => "an empty one",
        name if name.contains('/') => "one with '/': a member stays in its collection",
        name if name.contains(char::is_control) => "one with control characters",
        _ => return Ok(()),
    };
    let message = format!("expected a new name, found {fault}");
    Err(Error::new(ErrorKind::InvalidInput, group.display(), message))
}

/// Why a name is not for users to give and to take, where it is so.
fn meaning(group: &Object, name: &str) -> Option<&'static str> {
    let names: &[&str] = match group.soma_type() {
        SomaType::Experiment => &["obs", "ms", "spatial", "obs_spatial_presence"],
        SomaType::Measurement => {
            &["var", "X", "obsm", "obsp", "varm", "varp", "var_spatial_presence"]
        }
        SomaType::Scene => &["img", "obsl", "varl"],
        SomaType::MultiscaleImage => return Some("its metadata names its levels"),
        _ => &[],
    };
    names.contains(&name).then_some("SOMA says what has that name")
}

/// Why a collection cannot be without a member, where it is so.
fn need(group: &Object, name: &str) -> Option<&'static str> {
    match (group.soma_type(), name) {
        (SomaType::Experiment, "obs" | "ms") => {
            Some("an experiment has cells and measurements; delete the whole experiment instead")
        }
        (SomaType::Measurement, "var" | "X") => {
            Some("a measurement has genes and layers; remove the measurement, or single layers")
        }
        (SomaType::MultiscaleImage, _) => Some("the metadata of the image names its levels"),
        _ => None,
    }
}

/// Whether a member lies in a folder of its collection that is neither TileDB's nor ours.
fn is_own_folder(member: &Member) -> bool {
    let mut parts = member.uri.trim_end_matches('/').split('/');
    let is_odd = |part: &str| matches!(part, "" | "." | "..");
    member.relative && !member.uri.starts_with("__") && !parts.any(is_odd)
}

fn same_folder(a: &str, b: &str) -> bool {
    a.trim_end_matches('/') == b.trim_end_matches('/')
}

/// How many files a folder has, and how many bytes they are.
fn size_of(store: &dyn Store, folder: &str) -> Result<(u64, u64)> {
    let (mut files, mut bytes) = (0, 0);
    for entry in store.list(folder)? {
        let (more, size) = match entry.is_folder {
            true => size_of(store, &join(folder, &entry.name))?,
            false => (1, entry.size),
        };
        (files, bytes) = (files + more, bytes + size);
    }
    Ok((files, bytes))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use vacuole_store::MemoryStore;
    use vacuole_tiledb::TimestampedName;
    use vacuole_tiledb::group::{GroupDetails, MemberKind};

    use super::*;
    use crate::create::{member, object_metadata, put_members, put_metadata};
    use crate::object::GROUP_FOLDER;

    fn stamp(at: u64) -> WriteStamp {
        WriteStamp { at, uuid: "t".to_owned() }
    }

    /// A collection with an object `a` in the folder `a` and others, each of them a collection.
    fn collection(names: &[&str]) -> Object {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let members: Vec<Member> = names
            .iter()
            .map(|name| member(name, &name.replace('/', "%2F"), MemberKind::Group))
            .collect();
        for path in std::iter::once("").chain(members.iter().map(|member| &*member.uri)) {
            let of = if path.is_empty() { &members[..] } else { &[] };
            put_members(&*store, path, of, &stamp(1)).unwrap();
            let metadata = object_metadata(SomaType::Collection);
            put_metadata(&*store, path, &metadata, &stamp(1)).unwrap();
        }
        Object::open(store, "", u64::MAX).unwrap()
    }

    fn names(root: &Object) -> Vec<String> {
        root.member_names().unwrap()
    }

    #[test]
    fn a_name_may_hold_slashes_and_the_longest_counts() {
        let root = collection(&["a", "a/b", "c"]);
        rename_member(&root, "a/b", "d", false).unwrap();
        assert_eq!(names(&root), ["a", "c", "d"]);
        // Now it is a name in `a`, which has none.
        let error = rename_member(&root, "a/b", "e", false).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.to_string().contains("expected a member 'b', found none"), "{error}");
        assert_eq!(root.member("d").unwrap().unwrap().path(), "a%2Fb");
    }

    #[test]
    fn after_a_file_of_version_1_comes_another_that_names_all_that_stays() {
        let root = collection(&["a", "b", "c"]);
        let store = root.store();
        // The same members as TileDB before 2.17 wrote them.
        let members = root.members().unwrap();
        store.remove_folder(GROUP_FOLDER).unwrap();
        let old = GroupDetails::write_version_1(&members).unwrap();
        store.put(&join(GROUP_FOLDER, "__5_5_old"), &old).unwrap();
        assert_eq!(names(&root), ["a", "b", "c"]);
        remove_member(&root, "a", RemoveOptions::default()).unwrap();
        rename_member(&root, "b", "d", false).unwrap();
        assert_eq!(names(&root), ["c", "d"]);
        let files = read_group_files(&**store, "", u64::MAX).unwrap();
        let found: Vec<_> = files.iter().map(|file| (file.version, file.entries.len())).collect();
        assert_eq!(found, [(1, 3), (1, 2), (1, 2)]);
        for entry in store.list(GROUP_FOLDER).unwrap() {
            let version = TimestampedName::parse(&entry.name).unwrap().version;
            assert!(matches!(version, None | Some(1)), "{}", entry.name);
        }
    }

    #[test]
    fn what_is_deleted_is_a_folder_of_the_collection() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let odd = ["", "a/../..", "__meta", ".", "a//b"];
        let members: Vec<Member> = odd
            .iter()
            .enumerate()
            .map(|(number, uri)| member(&number.to_string(), uri, MemberKind::Group))
            .collect();
        put_members(&*store, "", &members, &stamp(1)).unwrap();
        put_metadata(&*store, "", &object_metadata(SomaType::Collection), &stamp(1)).unwrap();
        let root = Object::open(store, "", u64::MAX).unwrap();
        for name in names(&root) {
            let options = RemoveOptions { delete: true, dry_run: false };
            let error = remove_member(&root, &name, options).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{name}: {error}");
            remove_member(&root, &name, RemoveOptions::default()).unwrap();
        }
        assert_eq!(names(&root), [""; 0]);
    }

    #[test]
    fn files_of_removed_members_may_be_gone() {
        let root = collection(&["a", "b"]);
        let store = &**root.store();
        let gone = |path| was_removed(store, "", path).unwrap();
        assert!(!gone("a/__meta/x"));
        remove_member(&root, "a", RemoveOptions { delete: true, dry_run: false }).unwrap();
        assert!(
            gone("a/__meta/x") && gone("a/deeper/__meta/x") && !gone("b/__meta/x") && !gone("ab")
        );
        assert!(store.list("a").unwrap().is_empty() && !store.list("b").unwrap().is_empty());
    }

    #[test]
    fn changes_come_after_what_is_there_whatever_the_clock_says() {
        let root = collection(&["a"]);
        let future = 1 << 50;
        put_members(&**root.store(), "", &[member("b", "a", MemberKind::Group)], &stamp(future))
            .unwrap();
        assert_eq!(rename_member(&root, "b", "c", false).unwrap().at, Some(future + 1));
        assert_eq!(names(&root), ["a", "c"]);
        assert_eq!(rename_member(&root, "c", "d", true).unwrap().at, None);
        assert_eq!(names(&root), ["a", "c"]);
    }
}
