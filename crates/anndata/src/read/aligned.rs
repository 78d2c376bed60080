//! Dictionaries in the root: what is aligned to the axes, and what is not.

use super::{Element, StoredRecords, element};
use crate::container::{ElementType, Group, Node};
use crate::{Error, Result};

/// The members of a dictionary in the root. Old files may store one as an array of records, a
/// field for each member.
pub(super) fn members(root: &Group, name: &str) -> Result<Vec<(String, Element)>> {
    match root.get(name)? {
        None => Ok(Vec::new()),
        Some(Node::Group(group)) => element::open_members(&group),
        Some(Node::Dataset(dataset)) if dataset.is_null() => Ok(Vec::new()),
        Some(Node::Dataset(dataset)) => match dataset.element() {
            ElementType::Compound { .. } => Ok(StoredRecords::open(&dataset)?
                .fields()
                .iter()
                .map(|(name, array)| (name.clone(), Element::Array(array.clone())))
                .collect()),
            _ => Err(dataset.locate(Error::corrupt("expected a dictionary, found an array"))),
        },
    }
}

/// Arrays of `n_rows` rows. AnnData makes vectors matrices of one column.
pub(super) fn aligned(root: &Group, name: &str, n_rows: u64) -> Result<Vec<(String, Element)>> {
    let mut members = members(root, name)?;
    for (key, element) in &mut members {
        if let Element::Array(array) = element {
            *array = array.clone().with_two_dimensions();
        }
        if let Some((found, _)) = shape_of(element)
            && found != n_rows
        {
            return Err(root.locate(
                Error::corrupt(format!("expected {n_rows} rows, found {found}"))
                    .in_element(format!("{name}/{key}")),
            ));
        }
    }
    Ok(members)
}

/// Matrices of `n` by `n`.
pub(super) fn pairwise(root: &Group, name: &str, n: u64) -> Result<Vec<(String, Element)>> {
    let members = members(root, name)?;
    for (key, element) in &members {
        if let Some(found) = shape_of(element)
            && found != (n, n)
        {
            return Err(root.locate(
                Error::corrupt(format!("expected the shape ({n}, {n}), found {found:?}"))
                    .in_element(format!("{name}/{key}")),
            ));
        }
    }
    Ok(members)
}

/// Takes the matrices out of `uns["neighbors"]` that belong in `obsp`.
pub(super) fn take_neighbors(uns: &mut [(String, Element)]) -> Vec<(String, Element)> {
    let neighbors = uns.iter_mut().find(|(name, _)| name == "neighbors");
    let Some((_, Element::Mapping(neighbors))) = neighbors else { return Vec::new() };
    let mut taken = Vec::new();
    for wanted in ["distances", "connectivities"] {
        let is_matrix = |(name, element): &(String, Element)| {
            name == wanted
                && match element {
                    Element::Sparse(_) => true,
                    Element::Array(array) => array.shape().len() == 2,
                    _ => false,
                }
        };
        if let Some(position) = neighbors.iter().position(is_matrix) {
            taken.push(neighbors.remove(position));
        }
    }
    taken
}

/// The first two dimensions of a matrix.
pub(super) fn shape_of(element: &Element) -> Option<(u64, u64)> {
    match element {
        Element::Array(array) => match array.shape() {
            [rows, columns, ..] => Some((*rows, *columns)),
            [rows] => Some((*rows, 1)),
            [] => None,
        },
        Element::Sparse(matrix) => Some(matrix.shape()),
        Element::Frame(frame) => Some((frame.n_rows(), frame.schema().columns.len() as u64)),
        _ => None,
    }
}
