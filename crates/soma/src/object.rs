//! SOMA objects: what is stored at a path, its metadata and its members.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use vacuole_store::{Store, Uri, join};
use vacuole_tiledb::group::{self, GroupDetails, Member, MemberKind};
use vacuole_tiledb::metadata::{self, MetadataValue};
use vacuole_tiledb::{Period, TimestampedName};

use crate::array::{self, Array, METADATA_FOLDER, file_names};
use crate::error::{Error, ErrorKind, InObject, Result};
use crate::{opening, shown};

/// The folder of a group's details.
pub(crate) const GROUP_FOLDER: &str = "__group";

/// The metadata keys of the SOMA encoding.
pub mod keys {
    /// What an object is.
    pub const OBJECT_TYPE: &str = "soma_object_type";
    /// The version of the encoding.
    pub const ENCODING_VERSION: &str = "soma_encoding_version";
    /// The version that is written.
    pub const ENCODING_VERSION_VALUE: &str = "1.1.0";
    /// Says on an experiment that it is one of SOMA's.
    pub const DATASET_TYPE: &str = "dataset_type";
    /// The name that a data frame's index had in pandas, as JSON.
    pub const INDEX_NAME: &str = "soma_dataframe_original_index_name";
    /// `uns` on collections that hold AnnData's `uns`.
    pub const TILEDBSOMA_TYPE: &str = "soma_tiledbsoma_type";
    /// Says that a data frame was an array of strings.
    pub const UNS_HINT: &str = "soma_uns_outgest_hint";
    /// Keys that begin so belong to SOMA.
    pub const RESERVED_PREFIX: &str = "soma_";
}

/// The kinds of SOMA objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SomaType {
    /// The root: `obs` and `ms`.
    Experiment,
    /// One measured modality: `var`, `X`, `obsm` and the rest.
    Measurement,
    /// Named members.
    Collection,
    /// A table.
    DataFrame,
    /// A sparse matrix of any number of dimensions.
    SparseNdArray,
    /// A dense array of any number of dimensions.
    DenseNdArray,
    /// A spatial scene.
    Scene,
    /// Points in space.
    PointCloudDataFrame,
    /// Shapes in space.
    GeometryDataFrame,
    /// An image at several resolutions.
    MultiscaleImage,
}

/// Groups in groups, down to here.
pub(crate) const DEEPEST: usize = 64;

impl SomaType {
    const ALL: [(Self, &'static str); 10] = [
        (Self::Experiment, "SOMAExperiment"),
        (Self::Measurement, "SOMAMeasurement"),
        (Self::Collection, "SOMACollection"),
        (Self::DataFrame, "SOMADataFrame"),
        (Self::SparseNdArray, "SOMASparseNDArray"),
        (Self::DenseNdArray, "SOMADenseNDArray"),
        (Self::Scene, "SOMAScene"),
        (Self::PointCloudDataFrame, "SOMAPointCloudDataFrame"),
        (Self::GeometryDataFrame, "SOMAGeometryDataFrame"),
        (Self::MultiscaleImage, "SOMAMultiscaleImage"),
    ];

    /// Its name in the SOMA encoding.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(kind, _)| *kind == self).map_or("", |(_, name)| name)
    }

    /// The kind of a name in the SOMA encoding.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, other)| *other == name).map(|(kind, _)| *kind)
    }
}

impl fmt::Display for SomaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A SOMA object as it was at one time; of a period, with its arrays as they are read of it.
#[derive(Clone, Debug)]
pub struct Object {
    store: Arc<dyn Store>,
    path: String,
    period: Period,
    is_group: bool,
    soma_type: SomaType,
    metadata: BTreeMap<String, MetadataValue>,
}

impl Object {
    /// Opens the object at a path or URI, as it was at a time (milliseconds since 1970; `u64::MAX` is now).
    pub fn open_uri(uri: &str, period: impl Into<Period>) -> Result<Self> {
        Self::open(vacuole_store::open_to_read(&Uri::parse(uri)?)?, "", period)
    }

    /// Opens the object at a path of a store. Of a period, metadata and members are those of its end: else there would be no
    /// way to arrays that were made before it.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) where there is no SOMA object.
    pub fn open(store: Arc<dyn Store>, path: &str, period: impl Into<Period>) -> Result<Self> {
        let period = period.into();
        let mut is_group = !store.list(&join(path, GROUP_FOLDER))?.is_empty();
        if !is_group && !Array::exists(&*store, path)? {
            // A group that has never had a member.
            is_group = store.size(&join(path, "__tiledb_group.tdb"))?.is_some();
            if !is_group {
                return Err(Error::not_found(store.display(path), "there is no SOMA object here"));
            }
        }
        if path.is_empty() {
            opening::supply(&*store)?;
            // Of an experiment `obs` is looked at next, whatever the question.
            expect(&*store, &["", "obs"])?;
        } else {
            expect(&*store, &[path])?;
        }
        let metadata = read_metadata(&*store, path, period.end)?;
        let Some(name) = metadata.get(keys::OBJECT_TYPE).and_then(MetadataValue::as_str) else {
            let message =
                format!("there is no SOMA object here: no metadata '{}'", keys::OBJECT_TYPE);
            return Err(Error::not_found(store.display(path), message));
        };
        let Some(soma_type) = SomaType::from_name(name) else {
            let message = format!("SOMA objects of type '{name}' are not known");
            return Err(Error::new(ErrorKind::Unsupported, store.display(path), message));
        };
        let version = metadata.get(keys::ENCODING_VERSION).and_then(MetadataValue::as_str);
        if !matches!(version, Some("1" | "1.0.0" | "1.1.0")) {
            let message = format!(
                "expected a SOMA encoding of version 1 to 1.1.0, found {}",
                version.unwrap_or("none")
            );
            return Err(Error::new(ErrorKind::Unsupported, store.display(path), message));
        }
        Ok(Self { store, path: path.to_owned(), period, is_group, soma_type, metadata })
    }

    /// The kind of object.
    pub fn soma_type(&self) -> SomaType {
        self.soma_type
    }

    /// Its metadata, SOMA's own keys included.
    pub fn metadata(&self) -> &BTreeMap<String, MetadataValue> {
        &self.metadata
    }

    /// Its metadata as JSON, without what says that it is a SOMA object, and of which type.
    pub fn metadata_json(&self) -> BTreeMap<String, serde_json::Value> {
        let own = [keys::OBJECT_TYPE, keys::ENCODING_VERSION];
        let others = self.metadata.iter().filter(|(key, _)| !own.contains(&key.as_str()));
        others.map(|(key, value)| (key.clone(), shown::metadata_value(value))).collect()
    }

    /// The store it is in.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Its path in the store.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What an error or a message calls it.
    pub fn display(&self) -> String {
        self.store.display(&self.path)
    }

    /// Whether it has members.
    pub fn is_group(&self) -> bool {
        self.is_group
    }

    /// Its members in the order of their names; none where it is an array.
    pub fn members(&self) -> Result<Vec<Member>> {
        let mut members = match self.is_group {
            true => read_members(&*self.store, &self.path, self.period.end)?,
            false => Vec::new(),
        };
        members.sort_by(|a, b| member_name(a).cmp(member_name(b)));
        Ok(members)
    }

    /// The names of its members, sorted.
    pub fn member_names(&self) -> Result<Vec<String>> {
        Ok(self.members()?.iter().map(|member| member_name(member).to_owned()).collect())
    }

    /// The time of its newest metadata or group file, in milliseconds since 1970.
    pub fn last_change(&self) -> Result<u64> {
        let mut last = 0;
        for folder in [METADATA_FOLDER, GROUP_FOLDER] {
            for name in timestamped(&*self.store, &join(&self.path, folder), self.period.end)? {
                last = last.max(TimestampedName::parse(&name).map_or(u64::MAX, |name| name.end));
            }
        }
        Ok(last)
    }

    /// Opens a member, or returns `None` where there is none of that name.
    pub fn member(&self, name: &str) -> Result<Option<Self>> {
        let members = self.members()?;
        let Some(member) = members.iter().find(|member| member_name(member) == name) else {
            return Ok(None);
        };
        let opened = if member.relative {
            let folder = member.uri.trim_end_matches('/');
            if folder.is_empty() {
                // It would be the group itself, and in that again.
                let message = format!(
                    "expected the folder of the member '{name}', found '{}', which is the group itself; `vacuole remove` takes it out",
                    member.uri
                );
                return Err(Error::corrupt(self.display(), message));
            }
            let path = join(&self.path, folder);
            Self::open(Arc::clone(&self.store), &path, self.period)
        } else {
            Self::open(vacuole_store::open_to_read(&Uri::parse(&member.uri)?)?, "", self.period)
        };
        opened.map(Some)
    }

    /// Opens a member that must be there.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound), with the names that there are.
    pub fn expect_member(&self, name: &str) -> Result<Self> {
        match self.member(name)? {
            Some(member) => Ok(member),
            None => {
                let names = self.member_names()?.join(", ");
                let names = if names.is_empty() { "none" } else { &names };
                let message = format!("expected a member '{name}', found {names}");
                Err(Error::not_found(self.display(), message))
            }
        }
    }

    /// Fails for what is too deep in groups: they can name one another.
    ///
    /// # Errors
    /// [`Unsupported`](ErrorKind::Unsupported) from a depth of 64 on.
    pub fn check_depth(&self, depth: usize) -> Result<()> {
        if depth <= DEEPEST {
            return Ok(());
        }
        let message = format!("expected groups in groups down to {DEEPEST}, found more");
        Err(Error::new(ErrorKind::Unsupported, self.display(), message))
    }

    /// Its array.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) where it is a group.
    pub fn array(&self) -> Result<Array> {
        if self.is_group {
            let message = format!("expected an array, found a {}", self.soma_type);
            return Err(Error::new(ErrorKind::InvalidInput, self.display(), message));
        }
        Array::open(Arc::clone(&self.store), &self.path, self.period)
    }
}

/// A member in the folder of its group; others have no path in this store.
pub(crate) fn own_member(group: &Object, name: &str) -> Result<Option<Object>> {
    if !group.is_group() {
        return Ok(None);
    }
    let found = group.members()?;
    match found.iter().find(|member| member_name(member) == name) {
        Some(member) if member.relative => group.member(name),
        _ => Ok(None),
    }
}

/// The members in the folder of their group.
pub(crate) fn own_members(group: &Object) -> Result<Vec<Object>> {
    let names = group.member_names()?;
    let found = names.iter().map(|name| own_member(group, name));
    Ok(found.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
}

/// Says to a store that the objects at these paths will be opened, so that what that takes is fetched at once. Paths
/// at which there is no object do no harm.
///
/// # Errors
/// Those of listing.
pub fn expect<P: AsRef<str>>(store: &dyn Store, paths: &[P]) -> Result<()> {
    expect_read(store, paths, &[])
}

/// The largest data file that is fetched before it is known what of it is wanted, in bytes: a round trip takes longer.
const SMALL: u64 = 128 << 10;

/// The most data files that are fetched like that, of one array.
const MOST_FILES: usize = 256;

/// As [`expect`], and says that all columns of the data frames at `frames` will be read.
///
/// # Errors
/// Those of listing.
pub fn expect_read<P: AsRef<str>>(store: &dyn Store, paths: &[P], frames: &[&str]) -> Result<()> {
    if !store.is_far() || !store.lists_freely() {
        return Ok(());
    }
    let mut files = Vec::new();
    for path in frames {
        files.extend(array::data_files(store, path, SMALL, MOST_FILES)?);
    }
    for path in paths.iter().map(AsRef::as_ref) {
        for folder in [GROUP_FOLDER, METADATA_FOLDER] {
            let folder = join(path, folder);
            files.extend(file_names(store, &folder)?.iter().map(|name| join(&folder, name)));
        }
        files.extend(array::files(store, path)?);
    }
    store.expect(&files);
    Ok(())
}

/// The folders at `path` and below in which objects can be, as far as they are listed without requests.
///
/// # Errors
/// Those of listing.
pub fn folders_below(store: &dyn Store, path: &str) -> Result<Vec<String>> {
    let mut found = vec![path.to_owned()];
    if !store.is_far() || !store.lists_freely() {
        return Ok(found);
    }
    for entry in store.list(path)? {
        // TileDB's own, and ours.
        if entry.is_folder && !entry.name.starts_with("__") {
            found.extend(folders_below(store, &join(path, &entry.name))?);
        }
    }
    Ok(found)
}

/// The name of a member: what its group calls it, or its URI where that is all there is.
pub fn member_name(member: &Member) -> &str {
    member.name.as_deref().unwrap_or(&member.uri)
}

/// Whether a member is a group.
pub fn is_group(member: &Member) -> bool {
    member.kind == MemberKind::Group
}

/// Timestamped files of a folder, oldest first, without those that a file stands for which joined them and was complete
/// at time `at`: before that they count, as long as they are there (libtiledb).
pub(crate) fn timestamped(store: &dyn Store, folder: &str, at: u64) -> Result<Vec<String>> {
    let names = file_names(store, folder)?;
    let parse =
        |name: &str| TimestampedName::parse(name).in_object(store.display(&join(folder, name)));
    let mut vacuumed = Vec::new();
    for name in &names {
        if let Some(stem) = name.strip_suffix(".vac")
            && parse(stem)?.is_within(at)
        {
            vacuumed.extend(listed(&store.read(&join(folder, name))?));
        }
    }
    let mut found = Vec::new();
    for name in names {
        if name.ends_with(".vac") || vacuumed.contains(&name) {
            continue;
        }
        let parsed = parse(&name)?;
        if parsed.is_within(at) {
            found.push((parsed.start, name));
        }
    }
    found.sort();
    Ok(found.into_iter().map(|(_, name)| name).collect())
}

/// The names that a `.vac` file lists, without the folders before them.
pub(crate) fn listed(file: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(file).into_owned();
    let names = text.lines().filter_map(|line| line.trim_end_matches('/').rsplit('/').next());
    names.filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

fn read_metadata(
    store: &dyn Store,
    path: &str,
    at: u64,
) -> Result<BTreeMap<String, MetadataValue>> {
    let folder = join(path, METADATA_FOLDER);
    let mut entries = BTreeMap::new();
    for (object, bytes) in read_timestamped(store, &folder, at)? {
        metadata::apply(&mut entries, &bytes).in_object(store.display(&object))?;
    }
    Ok(entries)
}

pub(crate) fn read_members(store: &dyn Store, path: &str, at: u64) -> Result<Vec<Member>> {
    Ok(group::members(read_group_files(store, path, at)?))
}

/// The files that say which members a group has, oldest first.
pub(crate) fn read_group_files(
    store: &dyn Store,
    path: &str,
    at: u64,
) -> Result<Vec<GroupDetails>> {
    let folder = join(path, GROUP_FOLDER);
    let read = read_timestamped(store, &folder, at)?.into_iter();
    read.map(|(object, bytes)| GroupDetails::read(&bytes).in_object(store.display(&object)))
        .collect()
}

/// The timestamped files of a folder with their paths, oldest first.
fn read_timestamped(store: &dyn Store, folder: &str, at: u64) -> Result<Vec<(String, Vec<u8>)>> {
    let names = timestamped(store, folder, at)?;
    let objects: Vec<String> = names.iter().map(|name| join(folder, name)).collect();
    let read = store.read_all(&objects)?;
    Ok(objects.into_iter().zip(read).collect())
}
