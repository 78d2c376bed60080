//! What is added to an experiment that is there, for cells that it has: matrices of a measurement, or a whole measurement.
//!
//! Cells and genes are found by their ids, in whatever order the file has them; all of them must be there, and what is
//! added has the shape that the experiment gives it. So it is as if tiledbsoma had added a matrix whose rows and columns are
//! in the experiment's order.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, LargeStringArray};
use vacuole_anndata::{Element, Frame, H5ad, Matrix, Placement};
use vacuole_soma::SomaType;
use vacuole_soma::create::{folder_of, member, object_metadata};
use vacuole_store::join;
use vacuole_tiledb::group::{Member, MemberKind};

use super::base::{Base, Stored};
use super::ids::Ids;
use super::matrix::{self, ColumnAxis};
use super::{
    ArrayNode, Contents, Context, Description, GroupNode, MatrixContents, Node, Part, describe,
    settle,
};
use crate::error::{Error, Result};
use crate::input::OpenInput;
use crate::inputs::problems;
use crate::options::{Addition, IngestOptions};
use crate::write::Renumbered;

/// The data frame of cells.
const OBS: &str = "obs";

/// How many ids a message names.
const NAMED: usize = 3;

/// Every object that is added, in the order in which they are committed; each by its name.
///
/// # Errors
/// [`Error::Unfit`] where the file does not fit the experiment, [`Error::Conflict`] where something of the name is there.
pub(super) fn describe_addition(
    input: &OpenInput,
    base: &Base,
    addition: &Addition,
    context: &Context<'_>,
) -> Result<Description> {
    let options = context.options;
    let obs = base.array(OBS).ok_or_else(|| no_frame(base, OBS))?;
    let ids = ids_of(context, input.file.obs(), Ids::Cells)?;
    let mut adding = Adding { context, base, input, problems: Vec::new() };
    let cells = adding.axis(OBS, obs, &ids, options.obs_id_name.as_str())?;
    let mut nodes = match addition.elements.as_slice() {
        [] => adding.measurements(&cells)?,
        elements => adding.matrices(elements, &cells)?,
    };
    if !adding.problems.is_empty() {
        return Err(problems(adding.problems, 1));
    }
    settle(base, &mut nodes, context.uuid)?;
    let (n_obs, n_vars) = (ids.len() as u64, input.file.n_vars());
    Ok(Description { nodes, kept: None, n_obs, n_vars })
}

/// What is being added.
struct Adding<'a> {
    context: &'a Context<'a>,
    base: &'a Base,
    input: &'a OpenInput,
    problems: Vec<String>,
}

/// Where the rows of a file are along an axis of the experiment.
struct Axis {
    /// How many there are in the experiment.
    length: u64,
    /// The join id of each row.
    places: Vec<u64>,
    /// The least of them.
    first: u64,
    /// Which row each join id from there on is; none where they are the rows of the file, one by one.
    placement: Option<Arc<Placement>>,
}

/// An element of a file.
struct Found {
    /// The collection that it goes into.
    part: &'static str,
    /// What it is called there.
    name: String,
    element: Element,
    /// The genes of raw, where it is of those.
    raw: Option<Frame>,
}

impl Adding<'_> {
    /// Finds the rows of a file by their ids in a data frame that is there.
    fn axis(
        &mut self,
        path: &str,
        stored: &Stored,
        ids: &LargeStringArray,
        asked: &str,
    ) -> Result<Axis> {
        stored.check(1)?;
        let column = self.id_column(stored, asked)?;
        let mut known: HashMap<Box<str>, u64> = HashMap::new();
        stored.each_id(&column, |ids, rows| {
            for (id, &row) in ids.iter().zip(rows) {
                // The first of a name counts, where others have repeated it.
                known.entry(id.unwrap_or_default().into()).or_insert(row.unsigned_abs());
            }
            Ok(())
        })?;
        let mut places = Vec::with_capacity(ids.len());
        let (mut unknown, mut named) = (0, Vec::new());
        for id in ids {
            match id.and_then(|id| known.get(id)) {
                Some(&place) => places.push(place),
                None => {
                    unknown += 1;
                    if named.len() < NAMED {
                        named.push(id.unwrap_or("a missing one").to_owned());
                    }
                }
            }
        }
        if unknown > 0 {
            let (what, remedy) = match path {
                OBS => ("cells", "leave them out of the file, or ingest them before"),
                _ => ("genes", "leave them out of the file, or add it as a measurement of its own"),
            };
            let more = if unknown > named.len() { ", ..." } else { "" };
            let named = named.join(", ");
            self.problems.push(format!(
                "{}: {path}: {unknown} {what} whose ids '{column}' of the experiment does not have: {named}{more}; {remedy}",
                self.input.name
            ));
            places = (0..ids.len() as u64).collect();
        }
        let length = match stored.array.schema().current_domain {
            Some(_) => stored.array.shape().first().copied().flatten().unwrap_or(0),
            None => 0,
        };
        self.placed_at(path, places, length.max(stored.next_id()))
    }

    fn placed_at(&mut self, path: &str, places: Vec<u64>, length: u64) -> Result<Axis> {
        let first = places.iter().min().copied().unwrap_or(0);
        let last = places.iter().max().copied().unwrap_or(0);
        let in_order = places.iter().zip(first..).all(|(&place, expected)| place == expected);
        if in_order {
            return Ok(Axis { length, places, first, placement: None });
        }
        if last - first >= u64::from(u32::MAX) {
            let message =
                format!("expected join ids less than 2^32 apart, found {first} and {last}");
            return Err(self.context.unfit(path, message));
        }
        let mut rows = vec![None; (last - first + 1) as usize];
        for (row, &place) in (0..).zip(&places) {
            if let Some(at) = rows.get_mut((place - first) as usize) {
                if at.is_some() {
                    let message =
                        "expected each id once, found two rows with one id; make them unique";
                    return Err(self.context.unfit(path, message));
                }
                *at = Some(row);
            }
        }
        let placement = Some(Placement::of_rows(&rows, places.len() as u64)?);
        Ok(Axis { length, places, first, placement })
    }

    /// The column of ids of a data frame that is there: that which is asked for, else the one that was the index, else the
    /// usual one.
    fn id_column(&self, stored: &Stored, asked: &str) -> Result<String> {
        let columns = stored.columns();
        let names = || columns.iter().map(|column| column.field.name().as_str());
        let index = if is_usual(asked) { self.base.index_name(stored)? } else { None };
        let candidates = [index, Some(asked.to_owned())];
        let found =
            candidates.into_iter().flatten().find(|name| names().any(|known| known == name));
        found.ok_or_else(|| {
            let all = names().collect::<Vec<_>>().join(", ");
            let is_obs = self.base.array(OBS).is_some_and(|obs| obs.path == stored.path);
            let option = if is_obs { "--obs-id-name" } else { "--var-id-name" };
            let message = format!(
                "expected ids in a column '{asked}', found {all}; choose the column with {option}"
            );
            Error::Unfit { object: stored.array.display(), message }
        })
    }

    /// The matrices that elements of the file become, in a measurement that is there.
    fn matrices(&mut self, elements: &[String], cells: &Axis) -> Result<Vec<Node>> {
        let IngestOptions { measurement, var_id_name, .. } = self.context.options;
        let measurement_path = join("ms", &folder_of(measurement));
        let var_path = join(&measurement_path, "var");
        let Some(var) = self.base.array(&var_path) else {
            let message = format!(
                "expected a measurement '{measurement}', found none; name one that is there with --measurement, or add the \
                 whole file as a new one by leaving out {}",
                elements.join(" ")
            );
            return Err(Error::Unfit { object: self.base.display(), message });
        };
        let mut genes: BTreeMap<bool, Axis> = BTreeMap::new();
        let mut arrays = Vec::new();
        let mut parts: BTreeMap<&'static str, Vec<Member>> = BTreeMap::new();
        for text in elements {
            let Found { part, name, element, raw } = self.element(text)?;
            let path = join(&join(&measurement_path, part), &folder_of(&name));
            let members = parts.entry(part).or_default();
            let is_twice = members.iter().any(|member| member.name.as_ref() == Some(&name));
            if is_twice || self.base.array(&path).is_some() || self.base.has_group(&path) {
                let what = if is_twice { "is to be added twice" } else { "is there already" };
                let from = text.strip_suffix(&format!("={name}")).unwrap_or(text);
                let message = format!(
                    "'{name}' {what} in {part} of {measurement}; give it another name, as {from}=NAME, or remove or rename \
                     the one that is there"
                );
                return Err(Error::Conflict { object: self.base.display(), message });
            }
            members.push(member(&name, &folder_of(&name), MemberKind::Array));
            let Ok(matrix) = matrix::of_element(element) else {
                let message = "expected a matrix of numbers, found what SOMA has no place for";
                return Err(self.context.unfit(text, message));
            };
            if part != "obsm" && part != "obsp" && !genes.contains_key(&raw.is_some()) {
                let frame = raw.as_ref().unwrap_or_else(|| self.input.file.var());
                let ids = ids_of(self.context, frame, Ids::Genes)?;
                genes.insert(raw.is_some(), self.axis(&var_path, var, &ids, var_id_name)?);
            }
            let genes = genes.get(&raw.is_some());
            let (rows, columns) = match part {
                "X" => (Some(cells), genes),
                "obsm" => (Some(cells), None),
                "obsp" => (Some(cells), Some(cells)),
                "varm" => (genes, None),
                _ => (genes, genes),
            };
            if let (Some(rows), true) = (rows, self.problems.is_empty()) {
                arrays.push(self.placed(text, &path, &matrix, rows, columns)?);
            }
        }
        let mut groups = Vec::new();
        let mut more = Vec::new();
        for (part, members) in parts {
            let path = join(&measurement_path, part);
            let exists = self.base.has_group(&path);
            if !exists {
                more.push(member(part, part, MemberKind::Group));
            }
            let metadata = object_metadata(SomaType::Collection);
            groups.push(GroupNode { path, metadata, members, exists });
        }
        if !more.is_empty() {
            let metadata = BTreeMap::new();
            groups.push(GroupNode {
                path: measurement_path,
                metadata,
                members: more,
                exists: true,
            });
        }
        Ok(in_order(arrays, groups))
    }

    /// Everything of the file but its cells, in measurements that are not there.
    fn measurements(&mut self, cells: &Axis) -> Result<Vec<Node>> {
        let found = describe(&self.input.file, self.context)?;
        let of_raw = join("ms", "raw");
        let measured = join("ms", &folder_of(&self.context.options.measurement));
        let is_raw = |path: &str| path.starts_with(&format!("{of_raw}/")) || path == of_raw;
        let leaves_raw = !found.of_measurements
            && measured != of_raw
            && found.frames.iter().any(|frame| is_raw(&frame.path));
        if leaves_raw {
            self.context.leave_out(
                "raw",
                "it is a measurement of its own; add it with --use-raw and another name",
            );
        }
        let keeps = |path: &str| path.starts_with("ms/") && !(leaves_raw && is_raw(path));
        for element in found.kept.record.extras.keys() {
            if !element.contains("/columns/") && !element.ends_with("/index") {
                self.context.leave_out(element, "SOMA has no place for it, or not for all of it");
            }
        }
        let mut widths: BTreeMap<String, Axis> = BTreeMap::new();
        for frame in found.frames.iter().filter(|frame| keeps(&frame.path)) {
            let rows = super::many::frame_of(frame).map_or(0, |frame| frame.rows);
            let axis = self.placed_at(&frame.path, (0..rows).collect(), rows)?;
            widths.insert(frame.path.clone(), axis);
        }
        let mut arrays = Vec::new();
        for mut array in found.arrays {
            if !keeps(&array.path) {
                continue;
            }
            let path = array.path.clone();
            let mut names = path.split('/').skip(1);
            let (measurement, part) = (names.next().unwrap_or(""), names.next().unwrap_or(""));
            let genes = widths.get(&join(&join("ms", measurement), "var"));
            let columns = match part {
                "X" => genes,
                "obsm" => None,
                "obsp" => Some(cells),
                // They are of genes, or of none, as they are in the file.
                _ => {
                    arrays.push(array);
                    continue;
                }
            };
            match array.parts.pop().map(|part| part.contents) {
                Some(Contents::Matrix(contents)) if self.problems.is_empty() => {
                    let (element, matrix) = (&contents.element, &contents.matrix);
                    arrays.push(self.placed(element, &path, matrix, cells, columns)?);
                }
                _ => {}
            }
        }
        let frames = found.frames.into_iter().filter(|frame| keeps(&frame.path));
        arrays.extend(frames);
        let mut groups = Vec::new();
        for mut group in found.groups {
            match group.path.as_str() {
                "" => continue,
                "ms" => {
                    group.exists = true;
                    group.members.retain(|member| !(leaves_raw && member.uri == "raw"));
                    for member in &group.members {
                        self.check_new(member)?;
                    }
                }
                path if !keeps(path) => continue,
                _ => {}
            }
            groups.push(group);
        }
        Ok(in_order(arrays, groups))
    }

    /// Fails where there is a measurement of that name.
    fn check_new(&self, measurement: &Member) -> Result<()> {
        if !self.base.has_group(&join("ms", &measurement.uri)) {
            return Ok(());
        }
        let message = format!(
            "a measurement '{}' is there already; choose another name with --measurement, or name what is to be added to it \
             of the file, as X=NAME, layers/NAME or obsm/NAME",
            measurement.name.as_deref().unwrap_or_default()
        );
        Err(Error::Conflict { object: self.base.display(), message })
    }

    /// An array of a matrix whose rows, and columns where they are an axis too, are where the experiment has them.
    fn placed(
        &self,
        element: &str,
        path: &str,
        matrix: &Matrix,
        rows: &Axis,
        columns: Option<&Axis>,
    ) -> Result<ArrayNode> {
        let (found, own) = (matrix.shape(), matrix.shape().1);
        let expected =
            (rows.places.len() as u64, columns.map_or(own, |axis| axis.places.len() as u64));
        if found != expected || own == 0 {
            let message = format!(
                "expected {} x {} values, found {} x {}",
                expected.0,
                expected.1.max(1),
                found.0,
                found.1
            );
            return Err(self.context.unfit(element, message));
        }
        let stored = matrix::stored_as(matrix);
        let arranged = match &rows.placement {
            None => matrix.clone(),
            Some(placement) => placement.arranged(matrix).ok_or_else(|| {
                self.context.unfit(
                    element,
                    "expected a matrix by rows, found one by columns; convert it to CSR",
                )
            })?,
        };
        let width = columns.map_or(own, |axis| axis.length);
        let contents = MatrixContents {
            element: element.to_owned(),
            matrix: arranged,
            axis: if columns.is_some() { ColumnAxis::Var } else { ColumnAxis::Own },
            first_row: rows.first,
            columns: columns.map(Axis::columns).transpose()?.unwrap_or_default(),
            width,
            stored: stored.clone(),
        };
        let object = format!("{}: {element}", self.input.name);
        let parts = vec![Part::only(Contents::Matrix(contents))];
        matrix::array(path, &object, (rows.length, width), &stored, parts)
    }

    /// The element that a user names, by its path in AnnData, with `=` and a name behind it where it gets another.
    fn element(&self, text: &str) -> Result<Found> {
        let file = &self.input.file;
        if let Some(found) = look(file, text, self.context.options)? {
            return Ok(found);
        }
        if let Some((path, name)) = text.rsplit_once('=')
            && let Some(found) = look(file, path, self.context.options)?
        {
            return match name {
                "" => Err(self.context.unfit(text, "expected a name behind '=', found none")),
                name => Ok(Found { name: name.to_owned(), ..found }),
            };
        }
        let there = all_elements(file)?;
        let there = if there.is_empty() { "none".to_owned() } else { there.join(", ") };
        let message = format!("expected an element of the file, found no such one among {there}");
        Err(self.context.unfit(text, message))
    }
}

impl Axis {
    /// The experiment's columns of a matrix whose columns these are.
    fn columns(&self) -> Result<Renumbered> {
        let place = |&place: &u64| {
            let fits = u32::try_from(place).ok().filter(|&place| place != Renumbered::NOWHERE);
            fits.ok_or_else(|| Error::Unfit {
                object: format!("column {place}"),
                message: "expected fewer than 2^32 columns".to_owned(),
            })
        };
        Ok(Renumbered::new(self.places.iter().map(place).collect::<Result<_>>()?))
    }
}

/// Whether a column of ids is called so where nobody says what it is called.
fn is_usual(name: &str) -> bool {
    let usual = IngestOptions::default();
    name == usual.obs_id_name || name == usual.var_id_name
}

/// Arrays, groups that are new behind what is in them, and those that are there.
fn in_order(arrays: Vec<ArrayNode>, mut groups: Vec<GroupNode>) -> Vec<Node> {
    groups.sort_by_key(|group| (group.exists, usize::MAX - group.path.matches('/').count()));
    let arrays = arrays.into_iter().map(|array| Node::Array(Box::new(array)));
    arrays.chain(groups.into_iter().map(Node::Group)).collect()
}

/// The ids of a frame: its index.
fn ids_of(context: &Context<'_>, frame: &Frame, ids: Ids) -> Result<LargeStringArray> {
    let checked = ids.check(context, frame)?;
    let found = match checked.unique {
        Some(unique) => unique,
        None => frame.index()?,
    };
    found.as_string_opt::<i64>().cloned().ok_or_else(|| {
        context.unfit(frame.path(), format!("expected ids as text, found {}", found.data_type()))
    })
}

/// An element by its path.
fn look(file: &H5ad, path: &str, options: &IngestOptions) -> Result<Option<Found>> {
    let of = |part, name: &str, element, raw| Found { part, name: name.to_owned(), element, raw };
    let as_element = |matrix| match matrix {
        Matrix::Dense(array) => Element::Array(array),
        Matrix::Sparse(matrix) => Element::Sparse(matrix),
    };
    if path == "X" {
        let x = file.x().cloned().map(as_element);
        return Ok(x.map(|x| of("X", &options.layer, x, None)));
    }
    if path == "raw/X" {
        let raw = file.raw()?.and_then(|raw| Some((as_element(raw.x?), raw.var)));
        return Ok(raw.map(|(x, var)| of("X", &options.layer, x, Some(var))));
    }
    let Some((part, name)) = path.split_once('/') else { return Ok(None) };
    let (part, elements) = match part {
        "layers" => ("X", file.layers()?),
        "obsm" => ("obsm", file.obsm()?),
        "obsp" => ("obsp", file.obsp()?),
        "varm" => ("varm", file.varm()?),
        "varp" => ("varp", file.varp()?),
        _ => return Ok(None),
    };
    let found = elements.into_iter().find(|(other, _)| other == name);
    Ok(found.map(|(name, element)| of(part, &name, element, None)))
}

/// The paths of all elements that can be named.
fn all_elements(file: &H5ad) -> Result<Vec<String>> {
    let mut all: Vec<String> = file.x().map(|_| "X".to_owned()).into_iter().collect();
    let parts = [
        ("layers", file.layers()?),
        ("obsm", file.obsm()?),
        ("obsp", file.obsp()?),
        ("varm", file.varm()?),
        ("varp", file.varp()?),
    ];
    for (part, elements) in parts {
        all.extend(elements.iter().map(|(name, _)| join(part, name)));
    }
    all.extend(file.raw()?.filter(|raw| raw.x.is_some()).map(|_| "raw/X".to_owned()));
    Ok(all)
}

fn no_frame(base: &Base, name: &str) -> Error {
    let message = format!("expected an experiment with '{name}', found none");
    Error::Conflict { object: base.display(), message }
}
