//! Several H5AD files as the SOMA objects that they become together.
//!
//! Where there is an experiment already, they become more of it: cells and genes behind those that it has.
//!
//! Cells come one file after another, genes in the order in which they first appear, as tiledbsoma registers them. The
//! first file that has a gene says what `var` holds of it. Columns and categories are joined; what a file does not have
//! is null. Whatever does not fit together is told at once, for all files.

use std::collections::{BTreeMap, HashMap, HashSet};

use arrow_array::{Array, ArrayRef, LargeStringArray, UInt64Array};
use arrow_schema::DataType;
use arrow_select::take::take;
use vacuole_soma::anndata_record::ColumnSource;
use vacuole_soma::create::folder_of;
use vacuole_store::join;
use vacuole_tiledb::FORMAT_VERSION;
use vacuole_tiledb::schema::{ArraySchema, Enumeration};

use super::addition::describe_addition;
use super::base::{Base, Stored};
use super::id_column::{IdColumn, IdsThere};
use super::join_columns::{Joined, OfInput, WIDEN, join_columns, shown};
use super::matrix::{self, ColumnAxis};
use super::same_cells::{Known, Settled};
use super::same_ids::{IdSource, SameIds};
use super::{
    ArrayNode, Contents, Context, Description, FrameContents, GroupNode, MatrixContents, Node,
    OfFile, Part, SomaColumn, Standing, describe, frame, settle, widen,
};

use crate::error::{Error, Result};
use crate::input::OpenInput;
use crate::inputs::{OpenInputs, problems, together};
use crate::options::{Held, IngestOptions, NewGenesPolicy, Progress, SameIdsPolicy, Silent};
use crate::side_by_side::side_by_side;
use crate::write::Renumbered;

/// Where it is looked whether ids of cells come twice, where nothing but that hangs on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IdsOf {
    /// In the inputs, and the experiment.
    Inputs,
    /// It was looked when the plan was made.
    Plan,
}

/// The data frame of cells.
const OBS: &str = "obs";

/// Every object that files become together, in the order in which they are committed; each by its name.
///
/// # Errors
/// [`Error::Unfit`] with everything that is wrong with the files, and with any two of them.
pub(crate) fn describe_all(
    files: &OpenInputs,
    base: Option<&Base>,
    options: &IngestOptions,
    progress: &dyn Progress,
    uuid: &str,
    ids: IdsOf,
) -> Result<Description> {
    if let Some(addition) = &options.addition {
        let (Some(base), [only]) = (base, &**files) else {
            let message = "expected one file, and an experiment to add to".to_owned();
            return Err(Error::Unfit { object: "the inputs".to_owned(), message });
        };
        let context = context_of(only, options, progress, uuid, false);
        return describe_addition(only, base, addition, &context);
    }
    if let ([only], None, false) = (&**files, base, options.schema_only) {
        let context = context_of(only, options, progress, uuid, false);
        return Ok(describe(&only.file, &context)?.finish());
    }
    let described = side_by_side(files, files.limits.at_once, |_, input| {
        let held = Held::default();
        let found = describe(&input.file, &context_of(input, options, &held, uuid, true));
        input.rest();
        (found, held)
    });
    let mut errors = Vec::new();
    let mut found = Vec::with_capacity(files.len());
    for (file, held) in described {
        held.tell(progress);
        match file {
            Ok(file) => found.push(file),
            Err(error) => errors.push(error),
        }
        progress.advance(1);
    }
    if !errors.is_empty() {
        return Err(together(errors, files.len()));
    }
    warn_of_left_out(&found, progress);
    let (input, obs_values) = ("the inputs", &[][..]);
    let context = Context { input, options, progress, uuid, obs_values, of_several: true };
    Together { context, base, files, ids, problems: Vec::new() }.describe(found)
}

fn context_of<'a>(
    input: &'a OpenInput,
    options: &'a IngestOptions,
    progress: &'a dyn Progress,
    uuid: &'a str,
    of_several: bool,
) -> Context<'a> {
    let (name, obs_values) = (&input.name, &input.obs_values);
    Context { input: name, options, progress, uuid, obs_values, of_several }
}

/// Whether a file can be one of several.
///
/// # Errors
/// What is wrong with it alone.
pub(crate) fn describe_one(input: &OpenInput, options: &IngestOptions) -> Result<()> {
    let context = context_of(input, options, &Silent, "", true);
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
    base: Option<&'a Base>,
    files: &'a OpenInputs,
    ids: IdsOf,
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
    /// Of cells, what else becomes of them.
    settled: Settled,
}

impl<'a> Together<'a> {
    fn describe(mut self, files: Vec<OfFile>) -> Result<Description> {
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
        let mut obs = frames.remove(OBS).unwrap_or_default();
        let axes = Axes {
            cells: self.cells(&mut obs)?,
            genes: frames
                .iter()
                .map(|(path, found)| Ok((path.clone(), self.genes(path, found)?)))
                .collect::<Result<_>>()?,
        };
        let mut nodes = Vec::new();
        for (path, parts) in arrays {
            nodes.extend(self.array(&path, parts, &axes)?);
        }
        // The measurement that was asked for last, and obs behind all.
        let measurement = join("ms", &folder_of(&self.context.options.measurement));
        let var_path = join(&measurement, "var");
        let mut frames: Vec<_> = frames.into_iter().collect();
        frames.sort_by_key(|(path, _)| *path == var_path);
        for (path, found) in frames {
            if let Some(axis) = axes.genes.get(&path) {
                nodes.extend(self.frame(&path, axis, found)?);
            }
        }
        if !obs.is_empty() {
            nodes.extend(self.frame(OBS, &axes.cells, obs)?);
        }
        if !self.problems.is_empty() {
            return Err(problems(self.problems, self.files.len()));
        }
        let n_vars = axes.genes.get(&var_path).map_or(0, |axis| axis.length);
        let cells = axes.cells.length;
        let n_obs = cells - self.base.and_then(|base| base.array(OBS)).map_or(0, Stored::next_id);
        if let Some(base) = self.base {
            if self.context.options.schema_only {
                nodes.retain(|node| base.array(&node.path).is_none());
            } else {
                nodes = self.grow(base, nodes, &axes)?;
            }
            groups = more_of(base, groups);
        }
        let (mut n_obs, mut n_vars) = (n_obs, n_vars);
        if self.context.options.schema_only {
            nodes.iter_mut().for_each(|node| node.parts.clear());
            (n_obs, n_vars) = (0, 0);
        }
        // Members come before the groups they are in.
        groups.sort_by_key(|group| match group.path.as_str() {
            "" => usize::MAX,
            path => usize::MAX - 1 - path.matches('/').count(),
        });
        let arrays = nodes.into_iter().map(|array| Node::Array(Box::new(array)));
        let groups = groups.into_iter().map(Node::Group);
        let mut nodes: Vec<Node> = match self.base {
            None => arrays.chain(groups).collect(),
            // What is new is there before the cells are.
            Some(_) => {
                let mut arrays: Vec<Node> = arrays.collect();
                let obs = arrays.pop();
                arrays.into_iter().chain(groups).chain(obs).collect()
            }
        };
        if let Some(base) = self.base {
            settle(base, &mut nodes, self.context.uuid)?;
        }
        Ok(Description { nodes, kept: None, n_obs, n_vars })
    }

    /// Makes room along the axes in the arrays that are there, as the reference does: those that files add nothing to are
    /// put before the others.
    fn grow(&self, base: &Base, nodes: Vec<ArrayNode>, axes: &Axes) -> Result<Vec<ArrayNode>> {
        let mut grown = Vec::new();
        for (path, stored) in base.arrays() {
            if nodes.iter().any(|node| node.path == *path) {
                continue;
            }
            let genes = axes.genes_of(path).map(|axis| axis.length);
            let cells = Some(axes.cells.length);
            let lengths = match path.rsplit('/').nth(1) {
                Some("X") => [cells, genes],
                Some("obsm") => [cells, None],
                Some("obsp") => [cells, cells],
                Some("varm") => [genes, None],
                Some("varp") => [genes, genes],
                _ => continue,
            };
            let dimensions = stored.array.schema().dimensions.len();
            let schema = stored.grown(lengths.get(..dimensions).unwrap_or(&lengths))?;
            if schema != **stored.array.schema() {
                grown.push(array_there(path, stored, schema, Vec::new(), Vec::new()));
            }
        }
        grown.extend(nodes);
        Ok(grown)
    }

    fn name(&self, input: usize) -> &str {
        self.files.get(input).map_or("", |file| &file.name)
    }

    /// Puts cells behind each other, but for those that others are by the user's policy.
    fn cells_by_policy(&mut self, frames: &mut [(usize, ArrayNode)]) -> Result<Axis> {
        let policy = self.context.options.same_ids;
        let mut axis = Axis::default();
        let mut known = Known::default();
        if let Some(stored) = self.base.and_then(|base| base.array(OBS)) {
            axis.length = stored.next_id();
            if let Some(name) = self.id_name_there(OBS, stored, frames)? {
                stored.each_id(&name, |ids, rows| {
                    known.there(ids, rows);
                    Ok(())
                })?;
            }
        }
        for (input, node) in frames {
            let first_row = axis.length;
            let rows = frame_of(node).map_or(0, |frame| frame.rows);
            let mut settled = match self.id_column(*input, node) {
                Some(column) => known.settle(policy, &column.read_all()?, first_row)?,
                None => Settled::default(),
            };
            if settled.same > 0 {
                let what = match policy {
                    SameIdsPolicy::Suffix => "get other ids",
                    SameIdsPolicy::Match => "are cells that are there",
                    SameIdsPolicy::KeepFirst | SameIdsPolicy::Error => "are left out",
                };
                let (name, count) = (self.name(*input), settled.same);
                self.context.progress.warn(&format!(
                    "{name}: obs: {count} cells, whose ids are there already, as {}, {what}",
                    settled.examples.join(", ")
                ));
            }
            if let (Some(ids), Some(Part { contents: Contents::Frame(frame), .. })) =
                (settled.renamed.take(), node.parts.first_mut())
                && let Some(name) = frame.ids.clone()
                && let Some(column) = frame.columns.iter_mut().find(|c| *c.field.name() == name)
            {
                *column = SomaColumn::strings(&name, ids);
            }
            let chosen = settled.chosen.take();
            axis.length += chosen.as_ref().map_or(rows, |chosen| chosen.len() as u64);
            let on_axis = OnAxis { first_row, chosen, settled, ..OnAxis::default() };
            axis.files.insert(*input, on_axis);
        }
        Ok(axis)
    }

    /// Puts cells behind each other, and looks for ids that come twice.
    fn cells(&mut self, frames: &mut [(usize, ArrayNode)]) -> Result<Axis> {
        if self.context.options.same_ids != SameIdsPolicy::Error {
            return self.cells_by_policy(frames);
        }
        let mut axis = Axis::default();
        let mut ids: Vec<Box<dyn IdSource + '_>> = Vec::with_capacity(frames.len());
        let mut names = Vec::with_capacity(frames.len());
        let base = self.base;
        if let Some(stored) = base.and_then(|base| base.array(OBS)) {
            axis.length = stored.next_id();
            if let Some(name) = self.id_name_there(OBS, stored, frames)?
                && self.ids == IdsOf::Inputs
            {
                names.push(base.map(Base::display).unwrap_or_default());
                ids.push(Box::new(IdsThere { stored, name }));
            }
        }
        for (input, frame) in frames {
            let on_axis = OnAxis { first_row: axis.length, ..OnAxis::default() };
            axis.files.insert(*input, on_axis);
            axis.length += frame_of(frame).map_or(0, |frame| frame.rows);
            if self.ids == IdsOf::Inputs
                && let Some(column) = self.id_column(*input, frame)
            {
                names.push(self.name(*input).to_owned());
                ids.push(Box::new(column));
            }
        }
        for same in SameIds::find(&ids, &self.files.limits)? {
            let name = |at| names.get(at).map_or("", |name: &String| name);
            let found = format!("obs: {}", same.told(name));
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
        let there = self.base.and_then(|base| base.array(path));
        let policy = match there {
            Some(_) => self.context.options.new_genes,
            None => NewGenesPolicy::Add,
        };
        if let Some(stored) = there {
            axis.length = stored.next_id();
            if let Some(name) = self.id_name_there(path, stored, frames)? {
                stored.each_id(&name, |ids, places| {
                    for (id, &place) in ids.iter().zip(places) {
                        // The first of a name counts, where genes have been repeated.
                        let place = u32::try_from(place).unwrap_or(u32::MAX);
                        known.entry(id.unwrap_or_default().to_owned()).or_insert(place);
                    }
                    Ok(())
                })?;
            }
        }
        let columns = frames.iter().map(|(input, frame)| self.id_column(*input, frame));
        let columns: Vec<Option<IdColumn<'_>>> = columns.collect();
        let at_once = self.files.limits.at_once;
        // Some are read ahead, side by side.
        let read = columns.chunks(at_once).flat_map(|columns| {
            side_by_side(columns, at_once, |_, column| match column {
                Some(column) => column.read_all(),
                None => Ok(LargeStringArray::from(Vec::<&str>::new())),
            })
        });
        for ((input, frame), ids) in frames.iter().zip(read) {
            let (rows, ids) = (frame_of(frame).map_or(0, |frame| frame.rows), ids?);
            let first_row = axis.length;
            let mut chosen = Vec::new();
            let mut places = Vec::with_capacity(ids.len());
            let mut seen = HashSet::new();
            let mut unknown = Unknown::default();
            for (row, id) in ids.iter().map(Option::unwrap_or_default).enumerate() {
                let next = u32::try_from(axis.length).map_err(|_| Error::Unfit {
                    object: path.to_owned(),
                    message: "expected fewer than 2^32 genes".to_owned(),
                })?;
                let place = match known.get(id) {
                    Some(&place) => place,
                    None if policy != NewGenesPolicy::Add => {
                        unknown.add(id);
                        places.push(Renumbered::NOWHERE);
                        continue;
                    }
                    None => {
                        known.insert(id.to_owned(), next);
                        axis.length += 1;
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
            if let Some(found) = unknown.told() {
                let found = format!("{}: {path}: {found}", self.name(*input));
                match policy {
                    NewGenesPolicy::Error => self.problems.push(format!(
                        "{found}; choose with --new-genes whether to add or to drop them"
                    )),
                    _ => self.context.progress.warn(&format!("{found}; they are left out")),
                }
            }
            let all_new = chosen.len() as u64 == rows;
            let on_axis = OnAxis {
                first_row,
                chosen: (!all_new).then_some(chosen),
                places: Renumbered::new(places),
                settled: Settled::default(),
            };
            axis.files.insert(*input, on_axis);
        }
        Ok(axis)
    }

    /// The column of a data frame that is there which has the ids; a problem where there is none.
    fn id_name_there(
        &mut self,
        path: &str,
        stored: &Stored,
        frames: &[(usize, ArrayNode)],
    ) -> Result<Option<String>> {
        stored.check(1)?;
        let name = frames.iter().find_map(|(_, node)| frame_of(node)?.ids.clone());
        let Some(name) = name else { return Ok(None) };
        let columns = stored.columns();
        if columns.iter().any(|column| *column.field.name() == name) {
            return Ok(Some(name));
        }
        let names: Vec<&str> = columns.iter().map(|column| column.field.name().as_str()).collect();
        self.problems.push(format!(
            "{path}: expected the ids of files in a column of the experiment, found '{name}' and the columns {}; give the \
             index of the files the name of the experiment's, or choose it with --obs-id-name or --var-id-name",
            names.join(", ")
        ));
        Ok(None)
    }

    /// The column of ids of a frame; a problem where there is none.
    fn id_column<'f>(&mut self, input: usize, node: &'f ArrayNode) -> Option<IdColumn<'f>>
    where
        'a: 'f,
    {
        let found = IdColumn::find(self.files.get(input)?, &node.path, frame_of(node)?);
        found.map_err(|problem| self.problems.push(problem)).ok()
    }

    /// A matrix of all files that have it.
    fn array(
        &mut self,
        path: &str,
        parts: Vec<(usize, ArrayNode)>,
        axes: &Axes,
    ) -> Result<Option<ArrayNode>> {
        let there = self.base.and_then(|base| base.array(path));
        let mut types = match there {
            Some(stored) => {
                stored.check(2)?;
                Types::there(stored)
            }
            None => Types::default(),
        };
        let mut width = 0;
        let mut found = Vec::with_capacity(parts.len());
        for (input, node) in parts {
            for Part { contents, .. } in node.parts {
                let Contents::Matrix(contents) = contents else { continue };
                let (data_type, columns) =
                    (matrix::stored_as(&contents.matrix), contents.matrix.shape().1);
                let axis = match contents.axis {
                    ColumnAxis::Var => axes.genes_of(path),
                    ColumnAxis::Own => None,
                };
                let own = axis.is_none().then_some(columns);
                let widen = self.context.options.widen;
                if let Err((other, expected, found, remedy)) =
                    types.add(input, &data_type, own, widen)
                {
                    let other = other.map_or("the experiment", |other| self.name(other));
                    let name = self.name(input);
                    self.problems.push(format!(
                        "{path}: expected {expected}, as in {other}, found {found} in {name}; {remedy}"
                    ));
                    continue;
                }
                width = axis.map_or(columns, |axis| axis.length);
                let cells = axes.cells.files.get(&input);
                let settled = cells.map(|cells| &cells.settled);
                let first_row = cells.map_or(0, |cells| cells.first_row);
                let is_matched = settled.is_some_and(|settled| settled.matrix_row.is_some());
                if is_matched
                    && (there.is_some_and(|there| there.array.stored_cells() > 0)
                        || !found.is_empty())
                {
                    self.problems.push(format!(
                        "{}: {path}: expected a layer that the matched cells do not have, found one with values; choose \
                         another with --layer or --measurement, or leave it out with --drop-layer",
                        self.name(input)
                    ));
                    continue;
                }
                let contents = match settled.and_then(|settled| settled.placement.as_ref()) {
                    None => contents,
                    Some(placement) => match placement.arranged(&contents.matrix) {
                        Some(matrix) => MatrixContents { matrix, ..contents },
                        None => {
                            self.problems.push(format!(
                                "{}: {path}: expected a matrix by rows, of which cells can be left out, found one by \
                                 columns; convert it to CSR",
                                self.name(input)
                            ));
                            continue;
                        }
                    },
                };
                let placed = MatrixContents {
                    first_row: settled.and_then(|settled| settled.matrix_row).unwrap_or(first_row),
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
        let data_type = types.data_type.unwrap_or(DataType::Float32);
        let mut changed = 0;
        for part in &mut found {
            if let Contents::Matrix(contents) = &mut part.contents {
                changed += usize::from(contents.stored != data_type);
                contents.stored = data_type.clone();
                contents.width = width;
            }
        }
        if changed > 0 {
            let (shown, files) = (shown(&data_type), found.len());
            self.context.progress.warn(&format!(
                "{path}: stored as {shown}: its type is another one in {changed} of {files} files"
            ));
        }
        let shape = (axes.cells.length, width);
        Ok(Some(match there {
            Some(stored) => {
                let schema = stored.grown(&[Some(shape.0), Some(shape.1)])?;
                array_there(path, stored, schema, Vec::new(), found)
            }
            None => matrix::array(path, path, shape, &data_type, found)?,
        }))
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
            // Cells that are all there bring no columns.
            let on_axis = axis.files.get(&input);
            if on_axis.is_some_and(|file| file.settled.same > 0 && file.chosen == Some(Vec::new()))
            {
                continue;
            }
            for part in node.parts {
                if let Contents::Frame(frame) = part.contents {
                    frames.push((input, frame));
                }
            }
        }
        let inputs = frames
            .iter()
            .map(|(input, frame)| OfInput { input: self.name(*input), columns: &frame.columns });
        let there = self.base.and_then(|base| base.array(path));
        let columns_there = there.map(Stored::columns).unwrap_or_default();
        let Joined { fields, enumerations, sources, problems, notes } =
            join_columns(&self.context, path, &columns_there, &inputs.collect::<Vec<_>>())?;
        notes.iter().for_each(|note| self.context.progress.warn(note));
        self.problems.extend(problems);
        if !self.problems.is_empty() {
            return Ok(None);
        }
        let (schema, enumerations) = match there {
            Some(stored) => frame::evolved(stored, &fields, enumerations, axis.length)?,
            None => frame::schema(path, &fields, enumerations, axis.length)?,
        };
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
                if let Some(file) = self.files.get(input) {
                    file.rest();
                }
            }
            let first_row = on_axis.map_or(0, |file| file.first_row);
            let contents = FrameContents { columns, rows, first_row, ids: frame.ids };
            parts.push(Part { input, contents: Contents::Frame(contents) });
        }
        Ok(Some(match there {
            Some(stored) => array_there(path, stored, schema, enumerations, parts),
            None => {
                let (path, standing) = (path.to_owned(), Standing::New);
                ArrayNode { path, metadata, schema, enumerations, parts, standing }
            }
        }))
    }
}

/// More of an array that is there.
fn array_there(
    path: &str,
    stored: &Stored,
    mut schema: ArraySchema,
    enumerations: Vec<Enumeration>,
    parts: Vec<Part>,
) -> ArrayNode {
    let standing = match schema == **stored.array.schema() {
        true => Standing::AsItWas(stored.array.schema_name().to_owned()),
        false => {
            schema.version = FORMAT_VERSION;
            Standing::Evolved
        }
    };
    let metadata = BTreeMap::new();
    ArrayNode { path: path.to_owned(), metadata, schema, enumerations, parts, standing }
}

/// Of groups only what is not there.
fn more_of(base: &Base, groups: Vec<GroupNode>) -> Vec<GroupNode> {
    let more = groups.into_iter().filter_map(|mut group| {
        group.exists = base.has_group(&group.path);
        let path = group.path.clone();
        let is_there = |name: &str| {
            let path = join(&path, &folder_of(name));
            base.has_group(&path) || base.array(&path).is_some()
        };
        group.members.retain(|member| !member.name.as_deref().is_some_and(is_there));
        (!group.exists || !group.members.is_empty()).then_some(group)
    });
    more.collect()
}

/// Genes that the experiment does not have.
#[derive(Default)]
struct Unknown {
    count: usize,
    first: Vec<String>,
}

impl Unknown {
    /// How many are named.
    const NAMED: usize = 3;

    fn add(&mut self, id: &str) {
        self.count += 1;
        if self.first.len() < Self::NAMED {
            self.first.push(id.to_owned());
        }
    }

    /// How many there are, and some of them; none where there are none.
    fn told(&self) -> Option<String> {
        let more = if self.count > self.first.len() { ", ..." } else { "" };
        let (count, plural) = (self.count, if self.count == 1 { "gene" } else { "genes" });
        let named = self.first.join(", ");
        (count > 0)
            .then(|| format!("{count} {plural} that the experiment does not have: {named}{more}"))
    }
}

/// The axes of an experiment.
struct Axes {
    cells: Axis,
    /// By the paths of their data frames.
    genes: BTreeMap<String, Axis>,
}

impl Axes {
    /// The genes of the measurement that an array is in.
    fn genes_of(&self, path: &str) -> Option<&Axis> {
        let mut parts = path.split('/');
        let measurement = join(parts.next()?, parts.next()?);
        self.genes.get(&join(&measurement, "var"))
    }
}

/// The type of an array's values, and how many columns it has where these are its own.
#[derive(Default)]
struct Types {
    /// The file that it was first seen in; none for the experiment.
    first: Option<usize>,
    data_type: Option<DataType>,
    columns: Option<u64>,
    /// Whether they stay.
    fixed: bool,
}

/// Where something else was found, what was expected, what was found, and what to do.
type Mismatch = (Option<usize>, String, String, &'static str);

impl Types {
    /// Those of an array that is there.
    fn there(stored: &Stored) -> Self {
        let columns = stored.array.shape().get(1).copied().flatten();
        Self { first: None, data_type: stored.data_type(), columns, fixed: true }
    }

    fn add(
        &mut self,
        input: usize,
        found: &DataType,
        own_columns: Option<u64>,
        widen: bool,
    ) -> std::result::Result<(), Mismatch> {
        let Some(expected) = &self.data_type else {
            (self.first, self.columns) = (Some(input), own_columns);
            self.data_type = Some(found.clone());
            return Ok(());
        };
        let both = |widen| match self.fixed {
            true => widen::fits(found, expected, widen).then(|| expected.clone()),
            false => widen::common(found, expected, widen),
        };
        let Some(both) = both(widen) else {
            let remedy = match both(true) {
                Some(_) => WIDEN,
                None => "convert one of them",
            };
            return Err((self.first, shown(expected), shown(found), remedy));
        };
        if let (Some(found), Some(expected)) = (own_columns, self.columns)
            && found != expected
        {
            let text = |columns| format!("{columns} columns");
            return Err((self.first, text(expected), text(found), "leave it out of one of them"));
        }
        self.data_type = Some(both);
        Ok(())
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

pub(super) fn frame_of(node: &ArrayNode) -> Option<&FrameContents> {
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
