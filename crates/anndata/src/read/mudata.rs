//! MuData files: several AnnDatas, the modalities, of cells in common.
//!
//! The format is described at <https://mudata.readthedocs.io/en/latest/io/mudata.html>. The root has the cells of any
//! modality, and for each modality `obsmap` says which of its rows each of these cells is.

use std::sync::Arc;

use super::placed::Placement;
use super::{DenseArray, Frame, H5ad, StoredColumn};
use crate::container::{Group, Node, integers};
use crate::{Error, Result};

/// What the attribute `encoding-type` of the root is.
const ENCODING: &str = "MuData";

/// Whether the root of a file is that of a MuData.
pub(super) fn is_mudata(root: &Group) -> bool {
    let encoding = root.attributes().string("encoding-type");
    encoding.is_ok_and(|found| found.as_deref() == Some(ENCODING))
}

/// The modalities in their order; `open` makes an AnnData of a group, with rows in other places.
pub(super) fn modalities(
    root: &Group,
    n_obs: u64,
    open: impl Fn(&str, Group, &dyn Fn(u64) -> Result<Option<Arc<Placement>>>) -> Result<H5ad>,
) -> Result<Vec<(String, H5ad)>> {
    // 1 where features are in common, -1 where both are.
    if !matches!(
        root.attributes().lengths("axis").as_ref().map(Option::as_deref),
        Ok(None | Some([0]))
    ) {
        let message = "a MuData whose modalities share features and not cells is not read; write an H5AD of each";
        return Err(root.locate(Error::unsupported(message)));
    }
    let all = match root.get("mod")? {
        Some(Node::Group(group)) => group,
        _ => return Err(root.locate(Error::corrupt("expected a group \"mod\", found none"))),
    };
    let there = all.names()?;
    let order = all.attributes().strings("mod-order")?.unwrap_or_default();
    // As mudata does: an order that is not of all is none.
    let names = match there.iter().all(|name| order.contains(name)) && order.len() == there.len() {
        true => order,
        false => there,
    };
    let modality = |name: String| {
        let Some(Node::Group(group)) = all.get(&name)? else {
            return Err(
                all.locate(Error::corrupt(format!("expected a group {name:?}, found none")))
            );
        };
        let placement = |count: u64| placement(root, &name, n_obs, count);
        Ok((name.clone(), open(&name, group, &placement)?))
    };
    names.into_iter().map(modality).collect()
}

/// The columns of a modality's own `obs` that the `obs` of all has not, named after both: mudata before 0.4 leaves them out
/// when it writes a file, and puts them there, before the others, when it reads one.
pub(super) fn pulled(
    modality: &str,
    own: &Frame,
    placement: Option<&Arc<Placement>>,
    all: &Frame,
) -> Result<Vec<(String, StoredColumn)>> {
    let mut found = Vec::new();
    for schema in &own.schema().columns {
        let name = format!("{modality}:{}", schema.name);
        if all.stored_column(&name).is_some() {
            continue;
        }
        let column = own.require(&schema.name)?.clone();
        found.push((
            name,
            match placement {
                Some(placement) => column.placed(placement),
                None => column,
            },
        ));
    }
    Ok(found)
}

/// What is of all modalities together, but for the marks of which cells each has.
pub(super) fn of_all(root: &Group, modalities: &[(String, H5ad)]) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for part in ["obsm", "obsp", "varm", "varp", "uns"] {
        let Some(Node::Group(group)) = root.get(part)? else { continue };
        let names = group.names()?;
        let others = names.iter().filter(|name| !modalities.iter().any(|(mark, _)| mark == *name));
        found.extend(others.map(|name| format!("{part}/{name}")));
    }
    Ok(found)
}

/// Which rows of a modality, which has `count` of them, the cells are.
fn placement(root: &Group, name: &str, n_obs: u64, count: u64) -> Result<Option<Arc<Placement>>> {
    let path = format!("obsmap/{name}");
    let Some(Node::Dataset(dataset)) = root.get(&path)? else {
        if count == n_obs {
            return Ok(None);
        }
        let message = format!("expected {path:?}, which says what rows the cells are, found none");
        return Err(root.locate(Error::corrupt(message)));
    };
    let map = integers::<u64>(&DenseArray::new(dataset.clone())?.read()?.values);
    let Some(map) = map.filter(|map| map.len() as u64 == n_obs) else {
        let message = format!("expected a row of 0 to {count} for each of {n_obs} cells");
        return Err(dataset.locate(Error::corrupt(message)));
    };
    Placement::new(&map, count).map_err(|error| dataset.locate(error))
}
