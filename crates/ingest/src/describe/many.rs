//! Several H5AD files as the SOMA objects that they become together.
//!
//! Cells come one file after another, genes in the order in which they first appear, as tiledbsoma registers them. The
//! first file that has a gene says what `var` holds of it. Columns and categories are joined; what a file does not have
//! is null. Whatever does not fit together is told at once, for all files.

use std::collections::{BTreeMap, HashMap, HashSet};

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, LargeStringArray, UInt64Array};
use arrow_schema::DataType;
use arrow_select::take::take;
use vacuole_soma::anndata_record::ColumnSource;
use vacuole_soma::create::folder_of;
use vacuole_store::join;

use super::join_columns::{Joined, OfInput, join_columns, shown};
use super::matrix::{self, ColumnAxis};
use super::same_ids::SameIds;
use super::{
    ArrayNode, Contents, Context, Description, FrameContents, GroupNode, MatrixContents, Node,
    OfFile, Part, SomaColumn, describe, frame,
};
use crate::error::{Error, Result};
use crate::input::OpenInput;
use crate::inputs::{problems, together};
use crate::options::{IngestOptions, Progress, Silent};
use crate::write::Renumbered;

/// Every object that files become together, in the order in which they are committed; each by its name.
///
/// # Errors
/// [`Error::Unfit`] with everything that is wrong with the files, and with any two of them.
pub(crate) fn describe_all(
    files: &[OpenInput],
    options: &IngestOptions,
    progress: &dyn Progress,
    uuid: &str,
) -> Result<Description> {
    let of_several = files.len() > 1;
    let context =
        |input, obs_values| Context { input, options, progress, uuid, obs_values, of_several };
    if let [only] = files {
        return Ok(describe(&only.file, &context(&only.name, &only.obs_values))?.finish());
    }
    let mut errors = Vec::new();
    let mut found = Vec::with_capacity(files.len());
    for input in files {
        match describe(&input.file, &context(&input.name, &input.obs_values)) {
            Ok(file) => found.push(file),
            Err(error) => errors.push(error),
        }
        input.rest();
        progress.advance(1);
    }
    if !errors.is_empty() {
        return Err(together(errors, files.len()));
    }
    let names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
    warn_of_left_out(&found, progress);
    Together { context: context("the inputs", &[]), names, problems: Vec::new() }.describe(found)
}

/// Whether a file can be one of several.
///
/// # Errors
/// What is wrong with it alone.
pub(crate) fn describe_one(input: &OpenInput, options: &IngestOptions) -> Result<()> {
    let context = Context {
        input: &input.name,
        options,
        progress: &Silent,
        uuid: "",
        obs_values: &input.obs_values,
        of_several: true,
    };
    describe(&input.file, &context).map(|_| ())
}

/// Says what of the files has no place among several.
fn warn_of_left_out(files: &[OfFile], progress: &dyn Progress) {
    let mut left_out: BTreeMap<String, usize> = BTreeMap::new();
    for file in files {
        let stored = |path: &str, name: &str| {
            let frame = file.frames.iter().find(|frame| frame.path == path);
            let contents = frame.and_then(|frame| frame.parts.first());
            matches!(contents, Some(Part { contents: Contents::Frame(contents), .. })
                if contents.columns.iter().any(|column| column.field.name() == name))
        };
        let columns = file.kept.record.frames.iter().flat_map(|(path, form)| {
            let lost = form.columns.iter().filter(|column| {
                matches!(column.source, ColumnSource::Extra(_)) && !stored(path, &column.name)
            });
            lost.map(move |column| join(path, &column.name))
        });
        let is_of_frame =
            |element: &&String| element.contains("/columns/") || element.ends_with("/index");
        let elements = file.kept.record.extras.keys().filter(|element| !is_of_frame(element));
        let elements: HashSet<String> =
            file.left_out.iter().chain(elements).cloned().chain(columns).collect();
        for element in elements {
            *left_out.entry(element).or_default() += 1;
        }
    }
    for (element, count) in left_out {
        let plural = if count == 1 { "file" } else { "files" };
        progress.warn(&format!(
            "{element}: left out of {count} {plural}: an experiment of several has no place for it"
        ));
    }
}

/// Files that are put together.
struct Together<'a> {
    context: Context<'a>,
    names: Vec<&'a str>,
    problems: Vec<String>,
}

/// An axis of an experiment.
#[derive(Default)]
struct Axis {
    length: u64,
    /// For each file that has it: the first row, and the new rows among those of the file.
    files: BTreeMap<usize, OnAxis>,
}

#[derive(Default)]
struct OnAxis {
    first_row: u64,
    /// The rows of the file that are rows of their own; all of them where none is another file's too.
    chosen: Option<Vec<u64>>,
    /// Where the file's rows are.
    places: Renumbered,
}

impl Together<'_> {
    fn describe(mut self, files: Vec<OfFile>) -> Result<Description> {
        let measurement = join("ms", &folder_of(&self.context.options.measurement));
        let mut arrays: Vec<(String, Vec<(usize, ArrayNode)>)> = Vec::new();
        let mut frames: BTreeMap<String, Vec<(usize, ArrayNode)>> = BTreeMap::new();
        let mut groups: Vec<GroupNode> = Vec::new();
        for (input, file) in files.into_iter().enumerate() {
            for array in file.arrays {
                match arrays.iter_mut().find(|(path, _)| *path == array.path) {
                    Some((_, parts)) => parts.push((input, array)),
                    None => arrays.push((array.path.clone(), vec![(input, array)])),
                }
            }
            for frame in file.frames {
                frames.entry(frame.path.clone()).or_default().push((input, frame));
            }
            file.groups.into_iter().for_each(|group| add_group(&mut groups, group));
        }
        let var_path = join(&measurement, "var");
        let raw_path = join(&join("ms", "raw"), "var");
        let obs = frames.remove("obs").unwrap_or_default();
        let var = frames.remove(&var_path).unwrap_or_default();
        let raw = frames.remove(&raw_path).unwrap_or_default();
        let cells = self.cells(&obs)?;
        let genes = self.genes(&var_path, &var)?;
        let raw_genes = self.genes(&raw_path, &raw)?;
        let mut nodes = Vec::new();
        for (path, parts) in arrays {
            nodes.extend(self.array(&path, parts, &cells, &genes, &raw_genes)?);
        }
        for (path, axis, found) in
            [(raw_path, &raw_genes, raw), (var_path, &genes, var), ("obs".to_owned(), &cells, obs)]
        {
            if !found.is_empty() {
                nodes.extend(self.frame(&path, axis, found)?);
            }
        }
        if !self.problems.is_empty() {
            return Err(problems(self.problems, self.names.len()));
        }
        // Members come before the groups they are in.
        groups.sort_by_key(|group| match group.path.as_str() {
            "" => usize::MAX,
            path => usize::MAX - 1 - path.matches('/').count(),
        });
        let nodes = nodes.into_iter().map(|array| Node::Array(Box::new(array)));
        let nodes = nodes.chain(groups.into_iter().map(Node::Group)).collect();
        Ok(Description { nodes, kept: None, n_obs: cells.length, n_vars: genes.length })
    }

    fn name(&self, input: usize) -> &str {
        self.names.get(input).copied().unwrap_or_default()
    }

    /// Puts cells behind each other, and looks for ids that come twice.
    fn cells(&mut self, frames: &[(usize, ArrayNode)]) -> Result<Axis> {
        let mut axis = Axis::default();
        let mut ids = Vec::with_capacity(frames.len());
        for (input, frame) in frames {
            let (rows, found) = self.ids(*input, frame)?;
            let on_axis = OnAxis { first_row: axis.length, ..OnAxis::default() };
            axis.files.insert(*input, on_axis);
            axis.length += rows;
            ids.push((*input, found));
        }
        let columns: Vec<&LargeStringArray> = ids.iter().map(|(_, ids)| ids).collect();
        for same in SameIds::find(&columns) {
            let input = |at: usize| ids.get(at).map_or("", |(input, _)| self.name(*input));
            let examples =
                same.examples.iter().map(|(id, a, b)| format!("'{id}' (rows {a} and {b})"));
            let found = format!(
                "obs: {} ids are both in {} and in {}, as {}",
                same.count,
                input(same.files.0),
                input(same.files.1),
                examples.collect::<Vec<_>>().join(", "),
            );
            if self.context.options.allow_ambiguous_ids {
                self.context.progress.warn(&format!("{found}; they are stored as they are"));
            } else {
                let remedy = "make them unique, or leave one of the files out";
                self.problems.push(format!("{found}; {remedy}"));
            }
        }
        Ok(axis)
    }

    /// The union of genes, in the order in which they first appear.
    fn genes(&mut self, path: &str, frames: &[(usize, ArrayNode)]) -> Result<Axis> {
        let mut axis = Axis::default();
        let mut known: HashMap<String, u32> = HashMap::new();
        for (input, frame) in frames {
            let (rows, ids) = self.ids(*input, frame)?;
            let first_row = known.len() as u64;
            let mut chosen = Vec::new();
            let mut places = Vec::with_capacity(ids.len());
            let mut seen = HashSet::new();
            for (row, id) in ids.iter().map(Option::unwrap_or_default).enumerate() {
                let next = u32::try_from(known.len()).map_err(|_| Error::Unfit {
                    object: path.to_owned(),
                    message: "expected fewer than 2^32 genes".to_owned(),
                })?;
                let place = match known.get(id) {
                    Some(&place) => place,
                    None => {
                        known.insert(id.to_owned(), next);
                        chosen.push(row as u64);
                        next
                    }
                };
                if !seen.insert(place) {
                    self.problems.push(format!(
                        "{}: {path}: the id '{id}' is there twice",
                        self.name(*input)
                    ));
                }
                places.push(place);
            }
            let all_new = chosen.len() as u64 == rows;
            let on_axis = OnAxis {
                first_row,
                chosen: (!all_new).then_some(chosen),
                places: Renumbered::new(places),
            };
            axis.files.insert(*input, on_axis);
        }
        axis.length = known.len() as u64;
        Ok(axis)
    }

    /// How many rows a frame has, and their ids.
    fn ids(&mut self, input: usize, node: &ArrayNode) -> Result<(u64, LargeStringArray)> {
        let none = LargeStringArray::from(Vec::<&str>::new());
        let Some(frame) = frame_of(node) else { return Ok((0, none)) };
        let column = frame
            .ids
            .as_ref()
            .and_then(|ids| frame.columns.iter().find(|column| column.field.name() == ids));
        let Some(column) = column else {
            let (name, path) = (self.name(input), &node.path);
            self.problems.push(format!("{name}: {path}: expected a column of ids, found none"));
            return Ok((frame.rows, none));
        };
        let values = column.read_rows(0..frame.rows)?;
        let values = match &column.categories {
            Some(categories) => take(categories, &values, None).map_err(|source| {
                let object = node.path.clone();
                Error::Soma(vacuole_soma::Error::Arrow { object, source })
            })?,
            None => values,
        };
        match values.as_string_opt::<i64>() {
            Some(ids) => Ok((frame.rows, ids.clone())),
            None => {
                let (name, path, column) = (self.name(input), &node.path, column.field.name());
                let found = values.data_type();
                self.problems.push(format!(
                    "{name}: {path}/{column}: expected ids as text, found {found}; choose another column with \
                     --obs-id-name or --var-id-name"
                ));
                Ok((frame.rows, none))
            }
        }
    }

    /// A matrix of all files that have it.
    fn array(
        &mut self,
        path: &str,
        parts: Vec<(usize, ArrayNode)>,
        cells: &Axis,
        genes: &Axis,
        raw_genes: &Axis,
    ) -> Result<Option<ArrayNode>> {
        let mut first: Option<(usize, DataType, u64)> = None;
        let mut width = 0;
        let mut found = Vec::with_capacity(parts.len());
        for (input, node) in parts {
            for Part { contents, .. } in node.parts {
                let Contents::Matrix(contents) = contents else { continue };
                let (data_type, columns) =
                    (matrix::stored_as(&contents.matrix), contents.matrix.shape().1);
                let axis = match contents.axis {
                    ColumnAxis::Var => Some(genes),
                    ColumnAxis::RawVar => Some(raw_genes),
                    ColumnAxis::Own => None,
                };
                match &first {
                    None => first = Some((input, data_type, columns)),
                    Some((other, expected, _)) if *expected != data_type => {
                        let (name, other) = (self.name(input), self.name(*other));
                        let (expected, data_type) = (shown(expected), shown(&data_type));
                        self.problems.push(format!(
                            "{path}: expected values of one type, found {expected} in {other} and {data_type} in \
                             {name}; convert one of them"
                        ));
                        continue;
                    }
                    Some((other, _, expected)) if axis.is_none() && *expected != columns => {
                        let (name, other) = (self.name(input), self.name(*other));
                        self.problems.push(format!(
                            "{path}: expected as many columns in all files, found {expected} in {other} and \
                             {columns} in {name}; leave it out of one of them"
                        ));
                        continue;
                    }
                    Some(_) => {}
                }
                width = axis.map_or(columns, |axis| axis.length);
                let placed = MatrixContents {
                    first_row: cells.files.get(&input).map_or(0, |file| file.first_row),
                    columns: axis
                        .and_then(|axis| axis.files.get(&input))
                        .map_or_else(Renumbered::default, |file| file.places.clone()),
                    ..contents
                };
                found.push(Part { input, contents: Contents::Matrix(placed) });
            }
        }
        if !self.problems.is_empty() {
            return Ok(None);
        }
        matrix::array(path, path, (cells.length, width), found).map(Some)
    }

    /// A data frame of all files that have it.
    fn frame(
        &mut self,
        path: &str,
        axis: &Axis,
        found: Vec<(usize, ArrayNode)>,
    ) -> Result<Option<ArrayNode>> {
        let Some((_, first)) = found.first() else { return Ok(None) };
        let metadata = first.metadata.clone();
        let id_name = frame_of(first).and_then(|frame| frame.ids.clone());
        for (input, node) in &found {
            let ids = frame_of(node).and_then(|frame| frame.ids.clone());
            if ids != id_name {
                let text = |ids: &Option<String>| ids.clone().unwrap_or_else(|| "none".to_owned());
                self.problems.push(format!(
                    "{path}: expected ids by one name in all files, found {} in {} and {} in {}; rename the index",
                    text(&id_name),
                    self.name(found.first().map_or(0, |(input, _)| *input)),
                    text(&ids),
                    self.name(*input),
                ));
            }
        }
        let mut frames = Vec::with_capacity(found.len());
        for (input, node) in found {
            for part in node.parts {
                if let Contents::Frame(frame) = part.contents {
                    frames.push((input, frame));
                }
            }
        }
        let inputs = frames
            .iter()
            .map(|(input, frame)| OfInput { input: self.name(*input), columns: &frame.columns });
        let Joined { fields, enumerations, sources, problems, notes } =
            join_columns(&self.context, path, &inputs.collect::<Vec<_>>())?;
        notes.iter().for_each(|note| self.context.progress.warn(note));
        self.problems.extend(problems);
        if !self.problems.is_empty() {
            return Ok(None);
        }
        let (schema, enumerations) = frame::schema(path, &fields, enumerations, axis.length)?;
        let mut parts = Vec::with_capacity(frames.len());
        for ((input, frame), mut sources) in frames.into_iter().zip(sources) {
            let mut own: HashMap<String, SomaColumn> = frame
                .columns
                .into_iter()
                .map(|column| (column.field.name().clone(), column))
                .collect();
            let mut columns = Vec::with_capacity(fields.len());
            for field in &fields {
                let column = own.remove(field.name());
                let source = sources.remove(field.name());
                columns.push(match column.zip(source) {
                    Some((column, change)) => change.apply(column, field),
                    None => SomaColumn::nulls(field.clone()),
                });
            }
            let on_axis = axis.files.get(&input);
            let chosen = on_axis.and_then(|file| file.chosen.as_deref());
            let rows = chosen.map_or(frame.rows, |chosen| chosen.len() as u64);
            if let Some(chosen) = chosen {
                columns = chosen_rows(path, &columns, frame.rows, chosen)?;
            }
            let first_row = on_axis.map_or(0, |file| file.first_row);
            let contents = FrameContents { columns, rows, first_row, ids: frame.ids };
            parts.push(Part { input, contents: Contents::Frame(contents) });
        }
        Ok(Some(ArrayNode { path: path.to_owned(), metadata, schema, enumerations, parts }))
    }
}

/// Some rows of columns, in memory.
fn chosen_rows(
    path: &str,
    columns: &[SomaColumn],
    rows: u64,
    chosen: &[u64],
) -> Result<Vec<SomaColumn>> {
    let chosen = UInt64Array::from(chosen.to_vec());
    let taken = columns.iter().map(|column| {
        let values: ArrayRef = column.read_rows(0..rows)?;
        let values = take(&values, &chosen, None).map_err(|source| {
            Error::Soma(vacuole_soma::Error::Arrow { object: path.to_owned(), source })
        })?;
        Ok(SomaColumn::values(column.field.clone(), values))
    });
    taken.collect()
}

fn frame_of(node: &ArrayNode) -> Option<&FrameContents> {
    match node.parts.first().map(|part| &part.contents) {
        Some(Contents::Frame(frame)) => Some(frame),
        _ => None,
    }
}

/// Adds a group, or its members to the group of that path.
fn add_group(groups: &mut Vec<GroupNode>, group: GroupNode) {
    let Some(known) = groups.iter_mut().find(|known| known.path == group.path) else {
        groups.push(group);
        return;
    };
    for member in group.members {
        if !known.members.iter().any(|other| other.name == member.name) {
            known.members.push(member);
        }
    }
}
