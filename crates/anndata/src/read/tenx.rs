//! Feature-barcode matrices of 10x Genomics in HDF5, as scanpy's `read_10x_h5` reads them.
//!
//! The group `matrix` of Cell Ranger 3 and later holds features by cells, compressed by cells: its arrays are those of
//! cells by features, compressed by rows. Files of Cell Ranger before 3 have such a group for each genome.

use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray, LargeStringArray};
use arrow_schema::DataType;

use super::{DenseArray, ForeignValues, Frame, SparseMatrix, StoredColumn};
use crate::container::{Dataset, ElementType, Group, Node, integers};
use crate::{Error, Result};

/// Members of `features` that become no column of their own.
const NO_COLUMNS: [&str; 5] = ["name", "feature_type", "id", "gene_id", "_all_tag_keys"];

/// What a group of any genome has, in files of Cell Ranger before 3.
const OF_A_GENOME: [&str; 6] = ["barcodes", "genes", "gene_names", "data", "indices", "indptr"];

/// What a file holds.
pub(super) enum Found {
    One(Parts),
    /// Each with cells and genes of its own, by its name.
    Genomes(Vec<(String, Parts)>),
}

/// The parts of an AnnData.
pub(super) struct Parts {
    pub(super) x: SparseMatrix,
    pub(super) obs: Frame,
    pub(super) var: Frame,
}

/// Opens what the root of a file holds; none where that is nothing of 10x Genomics.
pub(super) fn open(root: &Group) -> Result<Option<Found>> {
    if let Some(Node::Group(matrix)) = root.get("matrix")? {
        let parts = open_matrix(&matrix).map_err(|error| matrix.locate(error))?;
        return Ok(Some(Found::One(parts)));
    }
    let mut genomes = Vec::new();
    for name in root.names()? {
        if let Some(Node::Group(group)) = root.get(&name)?
            && is_of_a_genome(&group)?
        {
            let parts = open_genome(&group).map_err(|error| group.locate(error))?;
            genomes.push((name, parts));
        }
    }
    Ok(match genomes.len() {
        0 => None,
        1 => genomes.pop().map(|(_, parts)| Found::One(parts)),
        _ => Some(Found::Genomes(genomes)),
    })
}

fn is_of_a_genome(group: &Group) -> Result<bool> {
    let names = group.names()?;
    Ok(OF_A_GENOME.iter().all(|wanted| names.iter().any(|name| name == wanted)))
}

/// The group of Cell Ranger 3 and later.
fn open_matrix(matrix: &Group) -> Result<Parts> {
    let features = match matrix.get("features")? {
        Some(Node::Group(group)) => group,
        _ => {
            let message =
                "expected a group \"features\", as Cell Ranger 3 and later write it, found none";
            return Err(Error::corrupt(message));
        }
    };
    let mut of_cells = Vec::new();
    if let Some(Node::Dataset(filtered)) = matrix.get("filtered_barcodes")? {
        of_cells.push(("filtered_barcodes".to_owned(), column(&filtered, Kind::Truth)?));
    }
    let text = |name: &str| column(&features.require_dataset(name)?, Kind::Text);
    let mut of_features = Vec::new();
    let mut add = |name: &str, stored: &str| {
        of_features.push((name.to_owned(), text(stored)?));
        Ok::<_, Error>(())
    };
    // Of probes the id is that of the probe.
    if features.get("gene_id")?.is_some() {
        add("gene_ids", "gene_id")?;
        add("probe_ids", "id")?;
    } else {
        add("gene_ids", "id")?;
    }
    add("feature_types", "feature_type")?;
    for name in features.names()? {
        if NO_COLUMNS.contains(&name.as_str()) {
            continue;
        }
        if let Some(Node::Dataset(dataset)) = features.get(&name)? {
            let kind = match dataset.element() {
                ElementType::Bool => Kind::Truth,
                _ => Kind::Text,
            };
            let column = column(&dataset, kind)?;
            // As in a dictionary, a later one takes the place of one that is there.
            match of_features.iter_mut().find(|(there, _)| *there == name) {
                Some((_, place)) => *place = column,
                None => of_features.push((name, column)),
            }
        }
    }
    parts(matrix, &features.require_dataset("name")?, of_cells, of_features)
}

/// The group of one genome.
fn open_genome(group: &Group) -> Result<Parts> {
    let genes = column(&group.require_dataset("genes")?, Kind::Text)?;
    let columns = vec![("gene_ids".to_owned(), genes)];
    parts(group, &group.require_dataset("gene_names")?, Vec::new(), columns)
}

fn parts(
    group: &Group,
    names: &Dataset,
    of_cells: Vec<(String, StoredColumn)>,
    of_features: Vec<(String, StoredColumn)>,
) -> Result<Parts> {
    let shape = group.require_dataset("shape")?;
    let lengths = DenseArray::new(shape.clone())?.read()?.values;
    let lengths = integers::<u64>(&lengths);
    let Some(&[features, cells]) = lengths.as_deref() else {
        let found = format!("expected the numbers of features and cells, found {lengths:?}");
        return Err(shape.locate(Error::corrupt(found)));
    };
    let index = |dataset: &Dataset, expected: u64, what: &str| {
        let column = text_index(dataset)?;
        if column.len() != expected {
            return Err(dataset.locate(Error::corrupt(format!(
                "expected {expected} {what}, as \"shape\" says, found {}",
                column.len()
            ))));
        }
        Ok(column)
    };
    let x = SparseMatrix::open_tenx(group, (cells, features))?;
    let barcodes = index(&group.require_dataset("barcodes")?, cells, "barcodes")?;
    let names = index(names, features, "names")?;
    Ok(Parts {
        x,
        obs: Frame::new("obs", None, barcodes, of_cells)?,
        var: Frame::new("var", None, names, of_features)?,
    })
}

/// Names of cells or features, which stay in the file until they are asked for.
fn text_index(dataset: &Dataset) -> Result<StoredColumn> {
    let array = DenseArray::new(dataset.clone())?;
    match array.data_type() {
        DataType::LargeUtf8 => StoredColumn::plain(array),
        found => Err(dataset.locate(Error::corrupt(format!("expected strings, found {found}")))),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Truth,
}

/// A column of which AnnData makes categories where there are few.
fn column(dataset: &Dataset, kind: Kind) -> Result<StoredColumn> {
    let array = DenseArray::new(dataset.clone())?;
    if array.shape().len() != 1 {
        let found = format!("expected one dimension, found the shape {:?}", array.shape());
        return Err(dataset.locate(Error::corrupt(found)));
    }
    StoredColumn::foreign(Arc::new(Values { array, kind }))
}

#[derive(Debug)]
struct Values {
    array: DenseArray,
    kind: Kind,
}

impl ForeignValues for Values {
    fn read(&self) -> Result<ArrayRef> {
        let values = self.array.read()?.values;
        match (self.kind, values.data_type()) {
            (Kind::Text, DataType::LargeUtf8) | (Kind::Truth, DataType::Boolean) => {
                return Ok(values);
            }
            _ => {}
        }
        let Some(numbers) = integers::<i64>(&values) else {
            let found = values.data_type();
            let error = Error::unsupported(format!("expected strings or integers, found {found}"));
            return Err(self.array.locate(error));
        };
        let numbers = numbers.into_iter();
        Ok(match self.kind {
            Kind::Truth => Arc::new(numbers.map(|n| Some(n != 0)).collect::<BooleanArray>()),
            Kind::Text => {
                Arc::new(numbers.map(|n| Some(n.to_string())).collect::<LargeStringArray>())
            }
        })
    }
}
