//! A Zarr store: its nodes, by the metadata of each or by the consolidated ones of all.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Map, Value};

use super::array::Array;
use super::attributes::Attributes;
use super::held::Held;
use super::metadata::ArrayMetadata;
use super::source::{ObjectRange, ZarrSource};
use crate::read::ReadOptions;
use crate::{Error, ErrorKind, Result};

/// More metadata than this in one object are refused: in memory they take ten times as much.
const MAX_METADATA_BYTES: u64 = 16 << 20;

/// A Zarr store.
#[derive(Clone)]
pub(crate) struct Store(Arc<State>);

struct State {
    name: String,
    source: Arc<dyn ZarrSource>,
    options: ReadOptions,
    nodes: Nodes,
    held: Mutex<Held>,
}

/// Where the metadata of nodes are.
enum Nodes {
    /// `.zgroup`, `.zarray` and `.zattrs` below each node.
    V2,
    /// `zarr.json` below each node.
    V3,
    /// All of them in one object, by the path of the node.
    Consolidated(BTreeMap<String, Metadata>),
}

/// What is known of a node.
#[derive(Clone, Debug)]
struct Metadata {
    /// Of an array, its document; none for a group.
    array: Option<ArrayDocument>,
    attributes: Map<String, Value>,
}

/// The metadata of an array as they are stored.
#[derive(Clone, Debug)]
enum ArrayDocument {
    V2(Value),
    V3(Map<String, Value>),
}

/// A group or an array.
#[derive(Clone)]
pub(crate) enum Node {
    Group(Group),
    Array(Array),
}

/// A group.
#[derive(Clone)]
pub(crate) struct Group {
    store: Store,
    path: Arc<str>,
    attributes: Arc<Attributes>,
}

impl Store {
    /// Opens the store whose objects `source` gives; `name` is what errors call it.
    pub(crate) fn open(
        source: Arc<dyn ZarrSource>,
        name: &str,
        options: ReadOptions,
    ) -> Result<Self> {
        let nodes = find_nodes(source.as_ref())?;
        let held = Mutex::new(Held::default());
        Ok(Self(Arc::new(State { name: name.to_owned(), source, options, nodes, held })))
    }

    /// The group that holds everything.
    pub(crate) fn root(&self) -> Result<Group> {
        match self.node("")? {
            Some(Node::Group(group)) => Ok(group),
            Some(Node::Array(_)) => Err(Error::new(
                ErrorKind::NotH5ad,
                "expected a Zarr group with an AnnData, found an array",
            )),
            None => Err(Error::corrupt("expected the metadata of the root, found none")),
        }
    }

    /// What errors call the store.
    pub(crate) fn name(&self) -> &str {
        &self.0.name
    }

    pub(super) fn options(&self) -> &ReadOptions {
        &self.0.options
    }

    pub(super) fn source(&self) -> &dyn ZarrSource {
        self.0.source.as_ref()
    }

    /// Chunks that were not needed to their end.
    pub(super) fn held(&self) -> std::sync::MutexGuard<'_, Held> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives up the memory that such chunks take.
    pub(crate) fn forget(&self) {
        self.held().clear();
    }

    /// The node at `path`, a path from the root of names without `.` and `..`.
    fn node(&self, path: &str) -> Result<Option<Node>> {
        let located = |error: Error| error.in_element(path).in_file(self.name());
        let Some(metadata) = self.metadata(path).map_err(located)? else { return Ok(None) };
        let attributes = Arc::new(Attributes::new(metadata.attributes));
        let Some(document) = metadata.array else {
            return Ok(Some(Node::Group(Group {
                store: self.clone(),
                path: path.into(),
                attributes,
            })));
        };
        let parsed = match &document {
            ArrayDocument::V2(document) => ArrayMetadata::of_v2(document),
            ArrayDocument::V3(document) => ArrayMetadata::of_v3(document),
        };
        let array = Array::new(self, path, attributes, parsed.map_err(located)?);
        array.map(|array| Some(Node::Array(array))).map_err(located)
    }

    fn metadata(&self, path: &str) -> Result<Option<Metadata>> {
        let source = self.source();
        match &self.0.nodes {
            Nodes::Consolidated(all) => Ok(all.get(path).cloned()),
            Nodes::V3 => match document(source, &join(path, "zarr.json"))? {
                Some(document) => metadata_v3(document).map(Some),
                None => Ok(None),
            },
            Nodes::V2 => {
                let array = document(source, &join(path, ".zarray"))?;
                if array.is_none() && document(source, &join(path, ".zgroup"))?.is_none() {
                    return Ok(None);
                }
                let attributes = document(source, &join(path, ".zattrs"))?.unwrap_or_default();
                let array = array.map(|array| ArrayDocument::V2(Value::Object(array)));
                Ok(Some(Metadata { array, attributes }))
            }
        }
    }

    /// Whether there is a node, without reading its metadata.
    fn exists(&self, path: &str) -> Result<bool> {
        let has = |name: &str| Ok(self.source().size(&join(path, name))?.is_some());
        match &self.0.nodes {
            Nodes::Consolidated(all) => Ok(all.contains_key(path)),
            Nodes::V3 => has("zarr.json"),
            Nodes::V2 => Ok(has(".zgroup")? || has(".zarray")?),
        }
    }
}

impl Group {
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    pub(crate) fn attributes(&self) -> &Attributes {
        &self.attributes
    }

    /// The names of the members, sorted.
    pub(crate) fn names(&self) -> Result<Vec<String>> {
        self.read_names().map_err(|error| self.locate(error))
    }

    fn read_names(&self) -> Result<Vec<String>> {
        if let Nodes::Consolidated(all) = &self.store.0.nodes {
            let below = join(&self.path, "");
            let nodes = all.range(below.clone()..).map(|(path, _)| path);
            let nodes = nodes.map_while(|path| path.strip_prefix(&below));
            let names = nodes.filter(|name| !name.is_empty() && !name.contains('/'));
            return Ok(names.map(str::to_owned).collect());
        }
        let mut names = self.store.source().list(&self.path)?;
        let mut failed = Ok(());
        names.retain(|name| {
            self.store.exists(&join(&self.path, name)).unwrap_or_else(|error| {
                failed = Err(error);
                false
            })
        });
        failed.map(|()| names)
    }

    /// The member at `path`, which may lead through groups inside; none if there is none.
    pub(crate) fn get(&self, path: &str) -> Result<Option<Node>> {
        let (mut found, path) = match path.strip_prefix('/') {
            Some(path) => (String::new(), path),
            None => (self.path.to_string(), path),
        };
        for name in path.split('/').filter(|name| !name.is_empty() && *name != ".") {
            // A key never leads out of the store.
            if name == ".." {
                return Ok(None);
            }
            found = join(&found, name);
        }
        self.store.node(&found)
    }

    /// Adds store and path to an error.
    pub(crate) fn locate(&self, error: Error) -> Error {
        error.in_element(&self.path).in_file(self.store.name())
    }
}

/// Finds out which version a store has, and its consolidated metadata.
fn find_nodes(source: &dyn ZarrSource) -> Result<Nodes> {
    if let Some(root) = document(source, "zarr.json")? {
        let all = root.get("consolidated_metadata").and_then(|all| all.get("metadata"));
        let Some(Value::Object(all)) = all else { return Ok(Nodes::V3) };
        let mut nodes = BTreeMap::new();
        for (path, node) in all {
            let Value::Object(node) = node else { return Err(not_consolidated(path)) };
            nodes.insert(path.clone(), metadata_v3(node.clone())?);
        }
        nodes.insert(String::new(), metadata_v3(root)?);
        return Ok(Nodes::Consolidated(nodes));
    }
    if let Some(root) = document(source, ".zmetadata")? {
        let Some(Value::Object(all)) = root.get("metadata") else {
            return Err(not_consolidated("metadata"));
        };
        return consolidated_v2(all).map(Nodes::Consolidated);
    }
    match source.size(".zgroup")?.or(source.size(".zarray")?) {
        Some(_) => Ok(Nodes::V2),
        None => Err(Error::new(
            ErrorKind::NotH5ad,
            "expected a Zarr store with zarr.json or .zgroup in it, found neither",
        )),
    }
}

fn consolidated_v2(all: &Map<String, Value>) -> Result<BTreeMap<String, Metadata>> {
    let mut nodes: BTreeMap<String, Metadata> = BTreeMap::new();
    let node = |array| Metadata { array, attributes: Map::new() };
    for (key, document) in all {
        let (path, name) = key.rsplit_once('/').unwrap_or(("", key));
        let Value::Object(fields) = document else { return Err(not_consolidated(key)) };
        match name {
            ".zarray" => {
                let array = Some(ArrayDocument::V2(document.clone()));
                nodes.entry(path.to_owned()).or_insert_with(|| node(None)).array = array;
            }
            ".zgroup" => {
                nodes.entry(path.to_owned()).or_insert_with(|| node(None));
            }
            ".zattrs" => {
                let attributes =
                    &mut nodes.entry(path.to_owned()).or_insert_with(|| node(None)).attributes;
                attributes.clone_from(fields);
            }
            _ => {}
        }
    }
    Ok(nodes)
}

fn not_consolidated(key: &str) -> Error {
    Error::corrupt(format!("expected consolidated metadata of {key:?}, found something else"))
}

fn metadata_v3(mut document: Map<String, Value>) -> Result<Metadata> {
    let attributes = match document.remove("attributes") {
        None => Map::new(),
        Some(Value::Object(attributes)) => attributes,
        Some(_) => return Err(Error::corrupt("expected attributes with names, found others")),
    };
    document.remove("consolidated_metadata");
    match document.get("node_type").and_then(Value::as_str) {
        Some("group") => Ok(Metadata { array: None, attributes }),
        Some("array") => Ok(Metadata { array: Some(ArrayDocument::V3(document)), attributes }),
        found => Err(Error::corrupt(format!(
            "expected the metadata of a group or an array, found node_type {found:?}"
        ))),
    }
}

/// A metadata object; none where there is none.
fn document(source: &dyn ZarrSource, key: &str) -> Result<Option<Map<String, Value>>> {
    let Some(size) = source.size(key)? else { return Ok(None) };
    if size > MAX_METADATA_BYTES {
        return Err(Error::new(
            ErrorKind::TooLarge,
            format!(
                "expected at most {MAX_METADATA_BYTES} bytes of metadata in {key}, found {size}"
            ),
        ));
    }
    let wanted = ObjectRange { key: key.to_owned(), range: 0..size };
    let bytes = source.read(std::slice::from_ref(&wanted))?.pop().unwrap_or_default();
    match serde_json::from_slice(&bytes) {
        Ok(document) => Ok(Some(document)),
        Err(error) => {
            Err(Error::corrupt(format!("expected JSON in {key}, found {error}")).caused_by(error))
        }
    }
}

/// The key of `name` in `folder`; with an empty name, what the keys below the folder begin with.
pub(super) fn join(folder: &str, name: &str) -> String {
    match folder {
        "" => name.to_owned(),
        folder => format!("{folder}/{name}"),
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("name", &self.name()).finish_non_exhaustive()
    }
}
