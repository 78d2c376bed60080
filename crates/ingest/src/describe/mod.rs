//! An H5AD file as the SOMA objects that it becomes.
//!
//! The mapping is TileDB-SOMA's (`tiledbsoma.io.from_h5ad`), name by name and type by type, so that the same
//! file ingested by either reads as equal. What that mapping has no place for is left out with a warning.

mod addition;
mod base;
mod chosen;
mod column;
mod frame;
mod id_column;
mod id_places;
mod ids;
mod index;
mod join_columns;
mod join_to;
mod keep;
mod many;
mod matrix;
mod measurements;
mod same_cells;
mod same_ids;
mod uns;
mod widen;

use std::collections::BTreeMap;

use vacuole_anndata::{Element, ErrorKind, Frame, H5ad, Matrix};
use vacuole_soma::create::{WriteStamp, folder_of, member, object_metadata};
use vacuole_soma::{SomaType, keys};
use vacuole_store::join;
use vacuole_tiledb::group::{Member, MemberKind};
use vacuole_tiledb::metadata::MetadataValue;
use vacuole_tiledb::schema::{ArraySchema, Enumeration};

pub(crate) use base::{Base, Stored};
use chosen::Chosen;
pub(crate) use column::SomaColumn;
pub(crate) use frame::FrameContents;
use ids::Ids;
pub(crate) use keep::{Extra, Kept};
pub(crate) use many::{IdsOf, describe_all, describe_one};
use matrix::ColumnAxis;
pub(crate) use matrix::{DenseContents, MatrixContents};

use crate::error::{Error, Result};
use crate::options::{IngestOptions, Progress};

/// A group or an array to make.
pub(crate) enum Node {
    Group(GroupNode),
    Array(Box<ArrayNode>),
}

pub(crate) struct GroupNode {
    pub(crate) path: String,
    pub(crate) metadata: BTreeMap<String, MetadataValue>,
    pub(crate) members: Vec<Member>,
    /// Whether it is there already, and gets these members as well.
    pub(crate) exists: bool,
}

pub(crate) struct ArrayNode {
    pub(crate) path: String,
    pub(crate) metadata: BTreeMap<String, MetadataValue>,
    pub(crate) schema: ArraySchema,
    pub(crate) enumerations: Vec<Enumeration>,
    /// What goes into it, in order.
    pub(crate) parts: Vec<Part>,
    pub(crate) standing: Standing,
}

/// What is there of an array already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Nothing.
    New,
    /// The array, which gets this schema and these enumerations.
    Evolved,
    /// The array, whose schema has this name and stays.
    AsItWas(String),
}

impl ArrayNode {
    /// The name of the schema that its fragments are written under.
    pub(crate) fn schema_name(&self, stamp: &WriteStamp) -> String {
        match &self.standing {
            Standing::AsItWas(name) => name.clone(),
            Standing::New | Standing::Evolved => stamp.structure_name().to_string(),
        }
    }
}

/// What one file puts into an array.
pub(crate) struct Part {
    /// The number of the file.
    pub(crate) input: usize,
    pub(crate) contents: Contents,
}

impl Part {
    /// All that goes into an array, of the only file.
    pub(crate) fn only(contents: Contents) -> Self {
        Self { input: 0, contents }
    }
}

pub(crate) enum Contents {
    Frame(FrameContents),
    Matrix(MatrixContents),
    Dense(DenseContents),
}

/// Says of objects, which have the paths that an ingest gives them, where they are in the store, or will be.
fn settle(base: &Base, nodes: &mut [Node], uuid: &str) -> Result<()> {
    for node in nodes {
        match node {
            Node::Array(array) => array.path = base.place(&array.path, uuid)?,
            Node::Group(group) => {
                for member in &mut group.members {
                    let place = base.place(&join(&group.path, &member.uri), uuid)?;
                    member.uri = place.rsplit('/').next().unwrap_or(&place).to_owned();
                }
                group.path = base.place(&group.path, uuid)?;
            }
        }
    }
    Ok(())
}

/// What is being described, and where warnings go.
pub(crate) struct Context<'a> {
    pub(crate) input: &'a str,
    pub(crate) options: &'a IngestOptions,
    pub(crate) progress: &'a dyn Progress,
    /// Names the enumerations' files apart from those of other writes.
    pub(crate) uuid: &'a str,
    /// Names and values of columns that are added to `obs`.
    pub(crate) obs_values: &'a [(String, String)],
    /// Whether it is one file of several, of which only cells and genes are put together.
    pub(crate) of_several: bool,
}

impl Context<'_> {
    pub(crate) fn leave_out(&self, element: &str, why: &str) {
        self.progress.warn(&format!("{}: {element}: left out: {why}", self.input));
    }

    pub(crate) fn unfit(&self, element: &str, message: impl Into<String>) -> Error {
        Error::Unfit { object: format!("{}: {element}", self.input), message: message.into() }
    }
}

/// Every object that a file becomes. Groups come behind their members; the experiment itself is last, `obs`
/// last of the arrays and `var` before it: the order in which they are committed.
fn describe(file: &H5ad, context: &Context<'_>) -> Result<OfFile> {
    if let Some(measurements) = measurements::of(file, context)? {
        return measurements::describe(file, &measurements, context);
    }
    let mut tree = Tree::default();
    let options = context.options;
    let chosen = Chosen::of(file, context, &mut tree.left_out)?;
    tree.of_measurements = chosen.is_raw;
    let record = &mut tree.kept.record;
    (record.n_obs, record.n_vars) = (file.n_obs(), chosen.var.n_rows());
    record.measurement.clone_from(&options.measurement);
    record.x_layer = chosen.x.as_ref().map(|_| options.layer.clone());
    let measurement_folder = folder_of(&options.measurement);
    let ms = "ms".to_owned();
    let measurement = join(&ms, &measurement_folder);

    let (var, raw) = (chosen.var.clone(), chosen.raw.clone());
    let mut members = describe_measurement(&mut tree, file, chosen, context, &measurement)?;
    let mut modalities = vec![member(&options.measurement, &measurement_folder, MemberKind::Group)];
    if let Some(raw) = raw {
        if options.measurement == "raw" {
            let message =
                "the measurement cannot be called raw, since the file has a raw; choose another";
            return Err(context.unfit("raw", message));
        }
        describe_raw(&mut tree, context, raw, file.n_obs())?;
        modalities.push(member("raw", "raw", MemberKind::Group));
    }
    members.push(member("var", "var", MemberKind::Array));
    let id_name = Some(options.var_id_name.as_str());
    let path = join(&measurement, "var");
    let var = frame::describe_axis(context, &mut tree.kept, &path, &var, id_name, Ids::Genes)?;
    tree.frames.push(var);
    let id_name = Some(options.obs_id_name.as_str());
    let obs =
        frame::describe_axis(context, &mut tree.kept, "obs", file.obs(), id_name, Ids::Cells)?;
    tree.frames.push(obs);
    tree.group(measurement, SomaType::Measurement, members);
    tree.group(ms, SomaType::Collection, modalities);
    let parts =
        vec![member("ms", "ms", MemberKind::Group), member("obs", "obs", MemberKind::Array)];
    tree.group(String::new(), SomaType::Experiment, parts);
    Ok(tree.finish())
}

/// What is ingested as the objects that it becomes.
pub(crate) struct Description {
    /// In the order in which they are committed.
    pub(crate) nodes: Vec<Node>,
    /// What is kept beside them; nothing of several files or measurements.
    pub(crate) kept: Option<Kept>,
    /// Cells.
    pub(crate) n_obs: u64,
    /// Genes of the measurement.
    pub(crate) n_vars: u64,
}

/// What one file becomes.
struct OfFile {
    arrays: Vec<ArrayNode>,
    frames: Vec<ArrayNode>,
    groups: Vec<GroupNode>,
    kept: Kept,
    /// Elements that have no place among several files.
    left_out: Vec<String>,
    /// Whether it is of measurements of its own choice, of which no AnnData is made again.
    of_measurements: bool,
}

impl OfFile {
    fn finish(self) -> Description {
        let arrays = self.arrays.into_iter().chain(self.frames);
        let arrays = arrays.map(|array| Node::Array(Box::new(array)));
        let nodes = arrays.chain(self.groups.into_iter().map(Node::Group)).collect();
        let (n_obs, n_vars) = (self.kept.record.n_obs, self.kept.record.n_vars);
        let kept = (!self.of_measurements).then_some(self.kept);
        Description { nodes, kept, n_obs, n_vars }
    }
}

/// Nodes in the order in which they are committed.
#[derive(Default)]
pub(crate) struct Tree {
    arrays: Vec<ArrayNode>,
    frames: Vec<ArrayNode>,
    groups: Vec<GroupNode>,
    pub(crate) kept: Kept,
    left_out: Vec<String>,
    of_measurements: bool,
}

impl Tree {
    pub(crate) fn array(&mut self, array: ArrayNode) {
        self.arrays.push(array);
    }

    pub(crate) fn group(&mut self, path: String, soma_type: SomaType, members: Vec<Member>) {
        let mut metadata = object_metadata(soma_type);
        if soma_type == SomaType::Experiment {
            metadata.insert(keys::DATASET_TYPE.to_owned(), "soma".into());
        }
        self.groups.push(GroupNode { path, metadata, members, exists: false });
    }

    pub(crate) fn group_with(
        &mut self,
        path: String,
        metadata: BTreeMap<String, MetadataValue>,
        members: Vec<Member>,
    ) {
        self.groups.push(GroupNode { path, metadata, members, exists: false });
    }

    fn finish(self) -> OfFile {
        let Self { arrays, frames, groups, kept, left_out, of_measurements } = self;
        OfFile { arrays, frames, groups, kept, left_out, of_measurements }
    }

    /// Adds a matrix, and keeps its form.
    fn matrix(
        &mut self,
        context: &Context<'_>,
        element: &str,
        path: &str,
        matrix: Matrix,
        shape: (u64, u64),
        axis: ColumnAxis,
    ) -> Result<()> {
        self.kept.matrix(path, &matrix);
        self.array(matrix::describe(context, element, path, matrix, shape, axis)?);
        Ok(())
    }
}

fn describe_x(
    tree: &mut Tree,
    chosen: Chosen,
    n_obs: u64,
    context: &Context<'_>,
    measurement: &str,
) -> Result<Member> {
    let path = join(measurement, "X");
    let shape = (n_obs, chosen.var.n_rows());
    let mut members = Vec::new();
    if let Some(x) = chosen.x {
        let name = &context.options.layer;
        let folder = folder_of(name);
        tree.matrix(context, "X", &join(&path, &folder), x, shape, ColumnAxis::Var)?;
        members.push(member(name, &folder, MemberKind::Array));
    }
    for (name, element) in chosen.layers {
        let folder = folder_of(&name);
        let element_path = format!("layers/{name}");
        if members.iter().any(|member| member.name.as_ref() == Some(&name)) {
            context.progress.warn(&format!(
                "{}: {element_path}: X is stored as the layer '{name}', so that this one is only kept for export; \
                 --layer gives X another name",
                context.input
            ));
            tree.kept.keep_element(context, &element_path, &element);
            continue;
        }
        match matrix::of_element(element) {
            Ok(layer) => {
                let path = join(&path, &folder);
                tree.matrix(context, &element_path, &path, layer, shape, ColumnAxis::Var)?;
                members.push(member(&name, &folder, MemberKind::Array));
            }
            Err(element) => tree.kept.keep_element(context, &element_path, &element),
        }
    }
    tree.group(path, SomaType::Collection, members);
    Ok(member("X", "X", MemberKind::Group))
}

/// Describes what a measurement has besides `var`.
fn describe_measurement(
    tree: &mut Tree,
    file: &H5ad,
    chosen: Chosen,
    context: &Context<'_>,
    measurement: &str,
) -> Result<Vec<Member>> {
    let obsp = match file.obsp() {
        Err(error) if error.kind() == ErrorKind::Unsupported => {
            context.leave_out(error.element().unwrap_or("obsp"), error.message());
            Vec::new()
        }
        obsp => obsp?,
    };
    let n_vars = chosen.var.n_rows();
    let axes = [
        ("obsm", file.obsm()?, file.n_obs(), None),
        ("varm", chosen.varm.clone(), n_vars, None),
        ("obsp", obsp, file.n_obs(), Some(file.n_obs())),
        ("varp", chosen.varp.clone(), n_vars, Some(n_vars)),
    ];
    let mut members = vec![describe_x(tree, chosen, file.n_obs(), context, measurement)?];
    for (part, elements, rows, columns) in axes {
        if context.of_several && part != "obsm" {
            tree.left_out.extend(elements.iter().map(|(name, _)| format!("{part}/{name}")));
            continue;
        }
        members.extend(describe_part(tree, context, measurement, part, elements, rows, columns)?);
    }
    let uns = file.uns()?;
    if context.of_several {
        tree.left_out.extend(uns.iter().map(|(key, _)| format!("uns/{key}")));
    } else if !uns.is_empty() {
        let path = join(measurement, "uns");
        uns::describe(tree, context, &path, &uns)?;
        for (key, element) in uns.iter().filter(|(key, element)| !keep::is_exact(key, element)) {
            tree.kept.keep_element(context, &format!("uns/{key}"), element);
        }
        members.push(member("uns", "uns", MemberKind::Group));
    }
    Ok(members)
}

fn describe_part(
    tree: &mut Tree,
    context: &Context<'_>,
    measurement: &str,
    part: &str,
    elements: Vec<(String, Element)>,
    rows: u64,
    columns: Option<u64>,
) -> Result<Option<Member>> {
    if elements.is_empty() {
        return Ok(None);
    }
    let path = join(measurement, part);
    let mut members = Vec::new();
    for (name, element) in elements {
        let element_path = format!("{part}/{name}");
        match matrix::of_element(element) {
            Ok(Matrix::Dense(array)) if array.shape().get(1) == Some(&0) => {
                tree.kept.keep_element(context, &element_path, &Element::Array(array));
            }
            Ok(found) => {
                let folder = folder_of(&name);
                let shape = (rows, columns.unwrap_or(found.shape().1));
                let path = join(&path, &folder);
                tree.matrix(context, &element_path, &path, found, shape, ColumnAxis::Own)?;
                members.push(member(&name, &folder, MemberKind::Array));
            }
            Err(element) => tree.kept.keep_element(context, &element_path, &element),
        }
    }
    tree.group(path, SomaType::Collection, members);
    Ok(Some(member(part, part, MemberKind::Group)))
}

fn describe_raw(
    tree: &mut Tree,
    context: &Context<'_>,
    raw: vacuole_anndata::Raw,
    n_obs: u64,
) -> Result<()> {
    let path = join("ms", "raw");
    let layers = join(&path, "X");
    let mut members = Vec::new();
    if let Some(x) = raw.x {
        let shape = (n_obs, raw.var.n_rows());
        // The reference calls raw's layer `data`, whatever X's is called.
        let path = join(&layers, "data");
        tree.matrix(context, "raw/X", &path, x, shape, ColumnAxis::Var)?;
        members.push(member("data", "data", MemberKind::Array));
    }
    tree.group(layers, SomaType::Collection, members);
    for (name, element) in &raw.varm {
        tree.kept.keep_element(context, &format!("raw/varm/{name}"), element);
    }
    tree.kept.record.raw_n_vars = Some(raw.var.n_rows());
    let id_name = Some(context.options.var_id_name.as_str());
    let var: &Frame = &raw.var;
    let var =
        frame::describe_axis(context, &mut tree.kept, &join(&path, "var"), var, id_name, Ids::Any)?;
    tree.frames.push(var);
    let members =
        vec![member("X", "X", MemberKind::Group), member("var", "var", MemberKind::Array)];
    tree.group(path, SomaType::Measurement, members);
    Ok(())
}
