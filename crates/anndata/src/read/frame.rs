//! Data frames, read by columns.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::ArrayRef;

use super::element::{encoding, unknown};
use super::index_text::index_text;
use super::{Chosen, DenseArray, StoredColumn};
use crate::container::{Dataset, ElementType, Group, Node};
use crate::model::{Column, ColumnSchema, FrameSchema, Table};
use crate::{Error, Result};

/// A data frame in a file.
#[derive(Clone, Debug)]
pub struct Frame(Arc<FrameState>);

#[derive(Debug)]
struct FrameState {
    path: String,
    schema: FrameSchema,
    index: StoredColumn,
    columns: Vec<StoredColumn>,
    by_name: HashMap<String, usize>,
}

impl Frame {
    /// A frame of `columns`, each as long as `index`.
    pub(super) fn new(
        path: &str,
        index_name: Option<String>,
        index: StoredColumn,
        columns: Vec<(String, StoredColumn)>,
    ) -> Result<Self> {
        let n_rows = index.len();
        let mut by_name = HashMap::with_capacity(columns.len());
        let mut schemas = Vec::with_capacity(columns.len());
        let mut stored = Vec::with_capacity(columns.len());
        for (position, (name, column)) in columns.into_iter().enumerate() {
            if column.len() != n_rows {
                return Err(Error::corrupt(format!(
                    "expected {n_rows} rows as the index has, found {} in column {name:?}",
                    column.len()
                ))
                .in_element(path));
            }
            schemas.push(ColumnSchema {
                name: name.clone(),
                data_type: column.data_type(),
                encoding: column.encoding(),
            });
            stored.push(column);
            if by_name.insert(name.clone(), position).is_some() {
                return Err(Error::corrupt(format!("expected one column {name:?}, found two"))
                    .in_element(path));
            }
        }
        let schema = FrameSchema { index_name, n_rows, columns: schemas };
        let state = FrameState { path: path.to_owned(), schema, index, columns: stored, by_name };
        Ok(Self(Arc::new(state)))
    }

    /// The frame in a group of encoding `dataframe`: a member per column, in the order of the
    /// attribute `column-order`, and one for the index, which the attribute `_index` names.
    pub(super) fn open(group: &Group, version: &str) -> Result<Self> {
        Self::open_group(group, version).map_err(|error| group.locate(error))
    }

    fn open_group(group: &Group, version: &str) -> Result<Self> {
        let attributes = group.attributes();
        let names = attributes
            .strings("column-order")?
            .ok_or_else(|| Error::corrupt("expected an attribute \"column-order\", found none"))?;
        let index_name = attributes
            .string("_index")?
            .ok_or_else(|| Error::corrupt("expected an attribute \"_index\", found none"))?;
        let open = |name: &str| match version {
            "0.1.0" => open_series(group, &group.require(name)?),
            _ => open_column(&group.require(name)?),
        };
        let index = open(&index_name)?;
        let columns = names
            .into_iter()
            .map(|name| open(&name).map(|column| (name, column)))
            .collect::<Result<_>>()?;
        let index_name = (index_name != "_index").then_some(index_name);
        Self::new(group.path(), index_name, index, columns)
    }

    /// A group without an encoding, which AnnData reads as a dictionary of columns. The index is
    /// the member with one of `index_names`, and made up if there is none.
    pub(super) fn open_mapping(
        group: &Group,
        index_names: &[&str],
        n_rows: Option<u64>,
    ) -> Result<Self> {
        let mut columns = Vec::new();
        for name in group.names()? {
            columns.push((name.clone(), open_column(&group.require(&name)?)?));
        }
        let stored = index_names
            .iter()
            .find_map(|wanted| columns.iter().position(|(name, _)| name == wanted));
        let index = match stored {
            Some(position) => columns.remove(position).1,
            None => {
                let first = columns.first().map(|(_, column)| column.len());
                StoredColumn::numbered(n_rows.or(first).unwrap_or(0))
            }
        };
        Self::new(group.path(), None, index, columns).map_err(|error| group.locate(error))
    }

    /// A frame that is not stored: rows numbered from 0, without columns.
    pub(super) fn numbered(path: &str, n_rows: u64) -> Result<Self> {
        Self::new(path, None, StoredColumn::numbered(n_rows), Vec::new())
    }

    /// A frame of another format.
    pub(crate) fn foreign(
        path: &str,
        index: StoredColumn,
        columns: Vec<(String, StoredColumn)>,
    ) -> Result<Self> {
        Self::new(path, None, index, columns)
    }

    /// The frame in a dataset of records, as AnnData before 0.7 stored it: the first field is the
    /// index.
    pub(super) fn open_records(dataset: &Dataset) -> Result<Self> {
        let ElementType::Compound { fields, .. } = dataset.element() else {
            return Err(dataset.locate(Error::corrupt("expected records, found other elements")));
        };
        let mut columns = fields
            .iter()
            .map(|field| {
                let array = DenseArray::of_field(dataset, field)?;
                Ok((field.name.clone(), StoredColumn::plain(array)?))
            })
            .collect::<Result<Vec<_>>>()?
            .into_iter();
        let Some((index_name, index)) = columns.next() else {
            return Err(dataset.locate(Error::corrupt("expected an index, found no fields")));
        };
        Self::new(dataset.path(), Some(index_name), index, columns.collect())
            .map_err(|error| dataset.locate(error))
    }

    /// The same frame with other values in a column.
    pub(super) fn with_column(&self, name: &str, column: StoredColumn) -> Result<Self> {
        let columns = self.0.schema.columns.iter().zip(&self.0.columns).map(|(schema, stored)| {
            let column = if schema.name == name { column.clone() } else { stored.clone() };
            (schema.name.clone(), column)
        });
        Self::new(
            &self.0.path,
            self.0.schema.index_name.clone(),
            self.0.index.clone(),
            columns.collect(),
        )
    }

    /// The same frame with more columns, before those that it has.
    pub(super) fn with_columns_before(&self, more: Vec<(String, StoredColumn)>) -> Result<Self> {
        if more.is_empty() {
            return Ok(self.clone());
        }
        let state = &self.0;
        let own = state.schema.columns.iter().zip(&state.columns);
        let own = own.map(|(schema, column)| (schema.name.clone(), column.clone()));
        let columns = more.into_iter().chain(own).collect();
        Self::new(&state.path, state.schema.index_name.clone(), state.index.clone(), columns)
    }

    /// The path inside the file.
    pub fn path(&self) -> &str {
        &self.0.path
    }

    /// Names and types of the columns, the number of rows, and the name of the index.
    pub fn schema(&self) -> &FrameSchema {
        &self.0.schema
    }

    /// The number of rows.
    pub fn n_rows(&self) -> u64 {
        self.0.schema.n_rows
    }

    /// The index as AnnData gives it for `obs` and `var`: as strings (`LargeUtf8`), whatever it
    /// is stored as. Null only where a nullable string array has nulls.
    ///
    /// # Errors
    ///
    /// As of [`StoredColumn::read`].
    pub fn index(&self) -> Result<ArrayRef> {
        self.index_of(&Chosen::all(self.n_rows()))
    }

    /// The index of chosen rows, as [`index`](Self::index) gives it.
    ///
    /// # Errors
    ///
    /// As of [`StoredColumn::read`].
    pub fn index_of(&self, rows: &Chosen) -> Result<ArrayRef> {
        let column = self.0.index.read_chosen(rows)?;
        index_text(&column).map_err(|error| error.in_element(&self.0.path))
    }

    /// The index as it is stored.
    pub fn stored_index(&self) -> &StoredColumn {
        &self.0.index
    }

    /// A column by its name, without reading it; none if there is no such column.
    pub fn stored_column(&self, name: &str) -> Option<&StoredColumn> {
        self.0.by_name.get(name).and_then(|&position| self.0.columns.get(position))
    }

    /// The values of a column.
    ///
    /// # Errors
    ///
    /// `InvalidInput` when there is no such column, and as of [`StoredColumn::read`].
    pub fn column(&self, name: &str) -> Result<Column> {
        self.require(name)?.read()
    }

    /// A column by its name, without reading it.
    pub(crate) fn require(&self, name: &str) -> Result<&StoredColumn> {
        self.stored_column(name).ok_or_else(|| {
            Error::invalid(format!("there is no column {name:?}")).in_element(&self.0.path)
        })
    }

    /// The whole frame, with the index as it is stored.
    ///
    /// # Errors
    ///
    /// As of [`StoredColumn::read`].
    pub fn read(&self) -> Result<Table> {
        let state = &self.0;
        let columns = state
            .schema
            .columns
            .iter()
            .zip(&state.columns)
            .map(|(schema, column)| Ok((schema.name.clone(), column.read()?)))
            .collect::<Result<_>>()?;
        let index_name = state.schema.index_name.clone();
        Ok(Table { index_name, index: state.index.read()?, columns })
    }
}

/// Opens a column of a frame of version 0.2.0, or the index.
fn open_column(node: &Node) -> Result<StoredColumn> {
    let (kind, version) = encoding(node)?;
    match (node, kind.as_str(), version.as_str()) {
        (Node::Dataset(dataset), "array" | "string-array", "0.2.0")
        | (Node::Dataset(dataset), "", "") => {
            StoredColumn::plain(DenseArray::new(dataset.clone())?)
        }
        (Node::Dataset(dataset), kind, version) => {
            Err(dataset.locate(unknown(kind, version, "column")))
        }
        (Node::Group(group), kind, version) => StoredColumn::open_group(group, kind, version)?
            .ok_or_else(|| group.locate(unknown(kind, version, "column"))),
    }
}

/// Opens a column of a frame of version 0.1.0: a categorical one holds codes, and an attribute
/// that leads to its categories, by reference or by path.
fn open_series(frame: &Group, node: &Node) -> Result<StoredColumn> {
    let Node::Dataset(dataset) = node else { return open_column(node) };
    let attributes = dataset.attributes();
    if !attributes.contains("categories") {
        return open_column(node);
    }
    let locate = |error: Error| dataset.locate(error);
    let categories = match attributes.reference("categories").map_err(locate)? {
        Some(address) => frame.dereference(address)?,
        None => {
            let path = attributes.string("categories").map_err(locate)?.unwrap_or_default();
            frame.require(&path)?
        }
    };
    let Node::Dataset(categories) = categories else {
        return Err(locate(Error::corrupt("expected a dataset of categories, found a group")));
    };
    let ordered = categories.attributes().truth("ordered").map_err(locate)?.unwrap_or(false);
    StoredColumn::categorical(
        DenseArray::new(dataset.clone())?,
        DenseArray::new(categories)?,
        ordered,
    )
}
