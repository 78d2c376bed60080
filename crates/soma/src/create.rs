//! Making SOMA objects: the files that make an array or a group exist, and those that commit data.

use std::collections::BTreeMap;

use vacuole_store::{Store, join};
use vacuole_tiledb::group::{self, GroupDetails, Member, MemberKind};
use vacuole_tiledb::metadata::{self, MetadataValue};
use vacuole_tiledb::schema::{ArraySchema, Enumeration};
use vacuole_tiledb::{FORMAT_VERSION, TimestampedName};

use crate::array::{COMMIT_FOLDER, ENUMERATION_FOLDER, METADATA_FOLDER, SCHEMA_FOLDER, file_names};
use crate::error::{InObject, Result};
use crate::object::{GROUP_FOLDER, SomaType, keys, member_name, read_group_files};

/// The characters besides letters and digits that stand for themselves in the folder name of a member
/// (tiledbsoma); every other byte of its UTF-8 is escaped as `%XX`.
const PLAIN: &[u8] = b"-_.()^!@+={}~'";

/// Names that TileDB and this program use in a group's folder.
const RESERVED: &[&str] = &[
    "",
    ".",
    "..",
    "__commits",
    "__fragment_meta",
    "__fragments",
    "__group",
    "__labels",
    "__meta",
    "__schema",
    "__tiledb_group.tdb",
    vacuole_store::PRIVATE_FOLDER,
];

/// The folder of a member called `key`, which keeps its name however the folder is called.
///
/// Names that TileDB uses are escaped too: tiledbsoma writes them as they are, and cannot open the result.
pub fn folder_of(key: &str) -> String {
    let mut folder = String::with_capacity(key.len());
    for (index, byte) in key.bytes().enumerate() {
        let reserved = index == 0 && RESERVED.contains(&key);
        if !reserved && (byte.is_ascii_alphanumeric() || PLAIN.contains(&byte)) {
            folder.push(char::from(byte));
        } else {
            folder.push_str(&format!("%{byte:02X}"));
        }
    }
    if folder.is_empty() { "%".to_owned() } else { folder }
}

/// The metadata that every SOMA object has.
pub fn object_metadata(soma_type: SomaType) -> BTreeMap<String, MetadataValue> {
    BTreeMap::from([
        (keys::OBJECT_TYPE.to_owned(), soma_type.name().into()),
        (keys::ENCODING_VERSION.to_owned(), keys::ENCODING_VERSION_VALUE.into()),
    ])
}

/// A member in a folder of its group, by relative URI, so that the whole can be moved.
pub fn member(name: &str, folder: &str, kind: MemberKind) -> Member {
    Member { kind, relative: true, uri: folder.to_owned(), name: Some(name.to_owned()) }
}

/// Names the files of one write: its time in milliseconds since 1970, and what tells it apart from others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriteStamp {
    /// The time that everything written has.
    pub at: u64,
    /// Letters, digits and hyphens.
    pub uuid: String,
}

impl WriteStamp {
    /// The name of a schema or metadata file.
    pub fn structure_name(&self) -> TimestampedName {
        TimestampedName::new(self.at, &*self.uuid, None)
    }

    /// The name of a fragment; `unit` tells apart the fragments of one array.
    pub fn fragment_name(&self, unit: usize) -> TimestampedName {
        TimestampedName::new(self.at, format!("{}-{unit:06}", self.uuid), Some(FORMAT_VERSION))
    }
}

/// Gives an array another schema, with enumerations that are new in it. Writing it again changes nothing.
///
/// Fragments name the schema that they were written under; cells of older ones are null in columns that these did not have
/// (TileDB's schema evolution).
pub fn evolve_array(
    store: &dyn Store,
    path: &str,
    schema: &ArraySchema,
    enumerations: &[Enumeration],
    stamp: &WriteStamp,
) -> Result<()> {
    for enumeration in enumerations {
        let object = join(&join(path, ENUMERATION_FOLDER), &enumeration.file);
        store.put(&object, &enumeration.write().in_object(store.display(&object))?)?;
    }
    let object = join(&join(path, SCHEMA_FOLDER), &stamp.structure_name().to_string());
    Ok(store.put(&object, &schema.write().in_object(store.display(&object))?)?)
}

/// Writes what makes an array exist: enumerations, schema, metadata. Writing it again changes nothing.
pub fn create_array(
    store: &dyn Store,
    path: &str,
    schema: &ArraySchema,
    enumerations: &[Enumeration],
    metadata: &BTreeMap<String, MetadataValue>,
    stamp: &WriteStamp,
) -> Result<()> {
    put_metadata(store, path, metadata, stamp)?;
    evolve_array(store, path, schema, enumerations, stamp)
}

/// Writes the members of a new group. A group is a SOMA object once it has its metadata too.
pub fn put_members(
    store: &dyn Store,
    path: &str,
    members: &[Member],
    stamp: &WriteStamp,
) -> Result<()> {
    // TileDB before 2.8 looked for this empty file; its readers still accept it.
    store.put(&join(path, "__tiledb_group.tdb"), &[])?;
    let [_, object] = members_paths(path, stamp);
    let bytes = GroupDetails::write(members).in_object(store.display(&object))?;
    Ok(store.put(&object, &bytes)?)
}

/// The path and the bytes of the file that changes which members a group has that is there: each entry a member, and
/// whether it goes.
///
/// Where the newest file is of version 1, as TileDB before 2.17 wrote them, this one is too and names all that stays, as
/// TileDB does it: it reads either such files, the newest alone, or none of them.
///
/// # Errors
/// Those of reading the files that are there.
pub fn members_file(
    store: &dyn Store,
    path: &str,
    changes: &[(&Member, bool)],
    stamp: &WriteStamp,
) -> Result<(String, Vec<u8>)> {
    let files = read_group_files(store, path, u64::MAX)?;
    let [old, object] = members_paths(path, stamp);
    if files.last().is_none_or(|newest| newest.version != 1) {
        let bytes = GroupDetails::write_changes(changes.iter().copied());
        let bytes = bytes.in_object(store.display(&object))?;
        return Ok((object, bytes));
    }
    let is_changed = |member: &Member| {
        changes.iter().any(|(other, _)| member_name(other) == member_name(member))
    };
    let mut members = group::members(files);
    members.retain(|member| !is_changed(member));
    let new = changes.iter().filter(|(_, goes)| !goes).map(|(member, _)| (*member).clone());
    members.extend(new);
    let bytes = GroupDetails::write_version_1(&members).in_object(store.display(&old))?;
    Ok((old, bytes))
}

/// The paths that the file with the members of a group can have: of version 1, and of version 2.
pub fn members_paths(path: &str, stamp: &WriteStamp) -> [String; 2] {
    [1, 2].map(|version| {
        let mut name = stamp.structure_name();
        name.version = Some(version);
        join(&join(path, GROUP_FOLDER), &name.to_string())
    })
}

/// Writes an object's metadata.
pub fn put_metadata(
    store: &dyn Store,
    path: &str,
    metadata: &BTreeMap<String, MetadataValue>,
    stamp: &WriteStamp,
) -> Result<()> {
    let (object, bytes) = metadata_file(path, metadata, stamp)?;
    Ok(store.put(&object, &bytes)?)
}

/// The path and the bytes of what [`put_metadata`] writes.
pub fn metadata_file(
    path: &str,
    metadata: &BTreeMap<String, MetadataValue>,
    stamp: &WriteStamp,
) -> Result<(String, Vec<u8>)> {
    let object = join(&join(path, METADATA_FOLDER), &stamp.structure_name().to_string());
    let bytes = metadata::write(metadata).in_object(&object)?;
    Ok((object, bytes))
}

/// The file that commits fragments of one array, all at once: its path.
pub fn commit_path(path: &str, stamp: &WriteStamp) -> String {
    let name = TimestampedName::new(stamp.at, &*stamp.uuid, Some(FORMAT_VERSION));
    join(&join(path, COMMIT_FOLDER), &format!("{name}.con"))
}

/// The names of the files that decide what an array is: those under `__schema` and `__commits`, sorted.
///
/// # Errors
/// Those of listing.
pub fn deciding_files(store: &dyn Store, path: &str) -> Result<Vec<String>> {
    let mut names = file_names(store, &join(path, SCHEMA_FOLDER))?;
    names.extend(file_names(store, &join(path, COMMIT_FOLDER))?);
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_escaped_as_tiledbsoma_does() {
        assert_eq!(folder_of("X_umap"), "X_umap");
        assert_eq!(folder_of("é x/y%"), "%C3%A9%20x%2Fy%25");
        assert_eq!(folder_of("(a)'b~"), "(a)'b~");
        assert_eq!(folder_of("__version__"), "__version__");
    }

    #[test]
    fn names_that_would_break_a_group_are_escaped() {
        assert_eq!(folder_of("__meta"), "%5F_meta");
        assert_eq!(folder_of(".."), "%2E.");
        assert_eq!(folder_of(""), "%");
    }
}
