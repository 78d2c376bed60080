//! The arrays that rows are deleted from: those of tiledbsoma's `obs_axis_delete` and `var_axis_delete`.

use arrow_schema::DataType;

use super::Axis;
use crate::change::Standing;
use crate::error::{Error, ErrorKind, Result};
use crate::layout::JOIN_ID;
use crate::object::{Object, SomaType, member_name};

/// The first format version in which libtiledb deletes.
const DELETES_FROM: u32 = 16;

const ROWS: &[&str] = &["soma_dim_0"];
const COLUMNS: &[&str] = &["soma_dim_1"];
const PAIRS: &[&str] = &["soma_dim_0", "soma_dim_1"];
const IDS: &[&str] = &[JOIN_ID];

/// An array to delete from.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) path: String,
    /// The fields that hold join ids: a cell goes where any of them is deleted.
    pub(super) fields: &'static [&'static str],
    pub(super) standing: Standing,
    /// The time of the newest thing in it.
    pub(super) last_change: u64,
}

/// The arrays, the data frame of the axis first.
pub(super) fn find(root: &Object, axis: Axis<'_>) -> Result<Vec<Found>> {
    let mut found = Vec::new();
    match axis {
        Axis::Obs => {
            take(&mut found, &frame(root, axis)?, IDS)?;
            take_member(&mut found, root, "obs_spatial_presence", IDS)?;
            for measurement in members_of(root, "ms")? {
                for (part, fields) in [("X", ROWS), ("obsm", ROWS), ("obsp", PAIRS)] {
                    take_all(&mut found, &measurement, part, fields)?;
                }
            }
            for scene in members_of(root, "spatial")? {
                take_all(&mut found, &scene, "obsl", IDS)?;
            }
        }
        Axis::Var(name) => {
            let measurement = measurement(root, name)?;
            take(&mut found, &frame(root, axis)?, IDS)?;
            take_member(&mut found, &measurement, "var_spatial_presence", IDS)?;
            for (part, fields) in [("X", COLUMNS), ("varm", ROWS), ("varp", PAIRS)] {
                take_all(&mut found, &measurement, part, fields)?;
            }
            for scene in members_of(root, "spatial")? {
                if let Some(locations) = inside(&scene, "varl")? {
                    take_all(&mut found, &locations, name, IDS)?;
                }
            }
        }
    }
    Ok(found)
}

/// The data frame that decides which rows there are.
pub(super) fn frame(root: &Object, axis: Axis<'_>) -> Result<Object> {
    match axis {
        Axis::Obs => expect_inside(root, "obs"),
        Axis::Var(name) => expect_inside(&measurement(root, name)?, "var"),
    }
}

fn measurement(root: &Object, name: &str) -> Result<Object> {
    expect_inside(&expect_inside(root, "ms")?, name)
}

/// A member that must be there.
fn expect_inside(group: &Object, name: &str) -> Result<Object> {
    match inside(group, name)? {
        Some(member) => Ok(member),
        // It is not there, and this says what is.
        None => group.expect_member(name),
    }
}

/// A member, which has to be in the folder of its group: what lies elsewhere is not written to.
fn inside(group: &Object, name: &str) -> Result<Option<Object>> {
    if !group.is_group() {
        return Ok(None);
    }
    let members = group.members()?;
    let Some(member) = members.iter().find(|member| member_name(member) == name) else {
        return Ok(None);
    };
    if !member.relative {
        let message = format!(
            "expected members inside of the experiment, found '{name}' at {}; nothing was deleted",
            member.uri
        );
        return Err(Error::new(ErrorKind::Unsupported, group.display(), message));
    }
    group.member(name)
}

/// The members of a member; none where it is not there.
fn members_of(group: &Object, name: &str) -> Result<Vec<Object>> {
    let Some(group) = inside(group, name)? else { return Ok(Vec::new()) };
    let names = if group.is_group() { group.member_names()? } else { Vec::new() };
    let members = names.iter().map(|name| inside(&group, name));
    Ok(members.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
}

fn take_all(
    found: &mut Vec<Found>,
    group: &Object,
    part: &str,
    fields: &'static [&'static str],
) -> Result<()> {
    members_of(group, part)?.iter().try_for_each(|member| take(found, member, fields))
}

fn take_member(
    found: &mut Vec<Found>,
    group: &Object,
    name: &str,
    fields: &'static [&'static str],
) -> Result<()> {
    match inside(group, name)? {
        Some(member) => take(found, &member, fields),
        None => Ok(()),
    }
}

/// An array whose first dimension are join ids of cells; `None` where it is another.
pub(super) fn by_rows(object: &Object) -> Result<Option<Found>> {
    let mut found = Vec::new();
    take(&mut found, object, ROWS)?;
    Ok(found.pop())
}

/// Takes an array in, if it has these fields; other objects are nobody's.
fn take(found: &mut Vec<Found>, object: &Object, fields: &'static [&'static str]) -> Result<()> {
    let refused =
        |message: String| Err(Error::new(ErrorKind::Unsupported, object.display(), message));
    match object.soma_type() {
        SomaType::DenseNdArray => {
            return refused("expected a sparse array, as nothing can be deleted of dense ones, found a SOMADenseNDArray, and nothing was deleted; remove it from its collection, or store it as a SOMASparseNDArray".to_owned());
        }
        SomaType::GeometryDataFrame => {
            return refused("expected an array that tiledbsoma deletes from, found a SOMAGeometryDataFrame, and nothing was deleted; remove it from its collection".to_owned());
        }
        SomaType::DataFrame | SomaType::SparseNdArray | SomaType::PointCloudDataFrame => {}
        _ => return Ok(()),
    }
    let standing = Standing::of(&**object.store(), object.path())?;
    let array = object.array()?;
    let schema = array.arrow_schema();
    let kinds = fields.iter().map(|field| schema.field_with_name(field).map(|f| f.data_type()));
    let Ok(kinds) = kinds.collect::<Result<Vec<_>, _>>() else { return Ok(()) };
    if kinds.iter().any(|kind| **kind != DataType::Int64) {
        return refused(format!(
            "expected join ids of int64, found {kinds:?}; nothing was deleted"
        ));
    }
    if array.schema().version < DELETES_FROM {
        return refused(format!(
            "expected an array of format version {DELETES_FROM} or later, found {}: libtiledb deletes nothing of older ones; nothing was deleted",
            array.schema().version
        ));
    }
    let last_change = array.last_change().max(object.last_change()?);
    found.push(Found { path: object.path().to_owned(), fields, standing, last_change });
    Ok(())
}
