//! What is in a SOMA object: the tree that `show` prints.

use std::collections::BTreeMap;

use serde::Serialize;
use vacuole_soma::summary::Summary;
use vacuole_soma::{Array, Object};

use crate::error::Result;

/// A column of an array, or a dimension.
#[derive(Clone, Debug, Serialize)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its Arrow type.
    #[serde(rename = "type")]
    pub data_type: String,
    /// How many categories it has, where it is categorical.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub categories: Option<u64>,
    /// Whether it is the index of a data frame in an H5AD file.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub index: bool,
}

/// A SOMA object, or an element of an H5AD file, and what is in it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Node {
    /// The name in its parent; empty for the root.
    pub name: String,
    /// The SOMA type, or how AnnData encodes an element.
    #[serde(rename = "type")]
    pub soma_type: String,
    /// The metadata of a SOMA object.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, serde_json::Value>,
    /// The length of each dimension; for a data frame, the end of its index.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub shape: Vec<Option<u64>>,
    /// The rows of a data frame, the stored values of a matrix.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// The type of a matrix in an H5AD file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_type: Option<String>,
    /// Dimensions and attributes of an array; the columns of a data frame in an H5AD file, its index first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<Column>,
    /// How many fragments an array has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fragments: Option<usize>,
    /// The stored bytes of an array's data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// What is in a group, by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<Node>,
}

/// The tree below an object.
pub fn tree(object: &Object) -> Result<Node> {
    let store = &**object.store();
    vacuole_soma::expect(store, &vacuole_soma::folders_below(store, object.path())?)?;
    node(object, String::new(), 0, &Summary::find(store))
}

fn node(object: &Object, name: String, depth: usize, summary: &Summary) -> Result<Node> {
    object.check_depth(depth)?;
    let soma_type = object.soma_type().to_string();
    let mut node = Node { name, soma_type, metadata: object.metadata_json(), ..Node::default() };
    if !object.is_group() {
        describe(&object.array()?, summary, &mut node)?;
        return Ok(node);
    }
    for name in object.member_names()? {
        let member = object.expect_member(&name)?;
        node.members.push(self::node(&member, name, depth + 1, summary)?);
    }
    Ok(node)
}

fn describe(array: &Array, summary: &Summary, node: &mut Node) -> Result<()> {
    node.shape = array.shape();
    if array.is_sparse() {
        let kept = summary.of(array).map(|kept| kept.count);
        node.count = Some(kept.map_or_else(|| array.count(), Ok)?);
    }
    node.fragments = Some(array.fragment_names().count());
    node.bytes = Some(array.stored_bytes());
    let fields = array.arrow_schema().fields();
    let shown = array.columns();
    for (_, field) in shown.into_iter().filter_map(|name| fields.find(name)) {
        let data_type = column_type(field.data_type(), field.dict_is_ordered() == Some(true));
        let categories = array.enumeration(field.name()).map(|values| values.len() as u64);
        let name = field.name().clone();
        node.columns.push(Column { name, data_type, categories, index: false });
    }
    Ok(())
}

/// The type of a column.
pub(crate) fn column_type(data_type: &arrow_schema::DataType, ordered: bool) -> String {
    match data_type {
        arrow_schema::DataType::Dictionary(_, values) => {
            let order = if ordered { "ordered " } else { "" };
            format!("{order}categorical of {}", type_name(values))
        }
        other => type_name(other),
    }
}

/// The name that pandas and NumPy users know a type by.
pub(crate) fn type_name(data_type: &arrow_schema::DataType) -> String {
    match data_type {
        arrow_schema::DataType::LargeUtf8 => "string".to_owned(),
        arrow_schema::DataType::LargeBinary => "bytes".to_owned(),
        arrow_schema::DataType::Boolean => "bool".to_owned(),
        arrow_schema::DataType::FixedSizeList(part, 2) if part.data_type().is_floating() => {
            let width = part.data_type().primitive_width().unwrap_or(0);
            format!("complex{}", width * 16)
        }
        other => other.to_string().to_lowercase(),
    }
}
