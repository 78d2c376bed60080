//! An H5AD file as the SOMA objects that it becomes.
//!
//! The mapping is TileDB-SOMA's (`tiledbsoma.io.from_h5ad`), name by name and type by type, so that the same
//! file ingested by either reads as equal. What that mapping has no place for is left out with a warning.

mod column;
mod frame;
mod index;
mod matrix;
mod uns;

use std::collections::BTreeMap;

use vacuole_anndata::{Element, Frame, H5ad, Matrix};
use vacuole_soma::create::{folder_of, member, object_metadata};
use vacuole_soma::{SomaType, keys};
use vacuole_store::join;
use vacuole_tiledb::group::{Member, MemberKind};
use vacuole_tiledb::metadata::MetadataValue;
use vacuole_tiledb::schema::{ArraySchema, Enumeration};

pub(crate) use column::SomaColumn;
pub(crate) use frame::FrameContents;
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
}

pub(crate) struct ArrayNode {
    pub(crate) path: String,
    pub(crate) metadata: BTreeMap<String, MetadataValue>,
    pub(crate) schema: ArraySchema,
    pub(crate) enumerations: Vec<Enumeration>,
    pub(crate) contents: Contents,
}

/// What goes into an array.
pub(crate) enum Contents {
    Frame(FrameContents),
    Matrix(MatrixContents),
    Dense(DenseContents),
}

/// What is being described, and where warnings go.
pub(crate) struct Context<'a> {
    pub(crate) input: &'a str,
    pub(crate) options: &'a IngestOptions,
    pub(crate) progress: &'a dyn Progress,
    /// Names the enumerations' files apart from those of other writes.
    pub(crate) uuid: &'a str,
}

impl Context<'_> {
    pub(crate) fn leave_out(&self, element: &str, why: &str) {
        self.progress.warn(&format!("{}: {element}: left out: {why}", self.input));
    }

    pub(crate) fn unfit(&self, element: &str, message: impl Into<String>) -> Error {
        Error::Unfit { object: format!("{}: {element}", self.input), message: message.into() }
    }
}

/// Every object that the file becomes. Groups come behind their members; the experiment itself is last, `obs`
/// last of the arrays and `var` before it: the order in which they are committed.
pub(crate) fn describe(file: &H5ad, context: &Context<'_>) -> Result<Vec<Node>> {
    let mut tree = Tree::default();
    let options = context.options;
    let measurement_folder = folder_of(&options.measurement);
    let ms = "ms".to_owned();
    let measurement = join(&ms, &measurement_folder);

    let x = describe_x(&mut tree, file, context, &measurement)?;
    let mut members = vec![x];
    let axes = [
        ("obsm", file.obsm()?, file.n_obs(), None),
        ("varm", file.varm()?, file.n_vars(), None),
        ("obsp", file.obsp()?, file.n_obs(), Some(file.n_obs())),
        ("varp", file.varp()?, file.n_vars(), Some(file.n_vars())),
    ];
    for (part, elements, rows, columns) in axes {
        members.extend(describe_part(
            &mut tree,
            context,
            &measurement,
            part,
            elements,
            rows,
            columns,
        )?);
    }
    let uns = file.uns()?;
    if !uns.is_empty() {
        let path = join(&measurement, "uns");
        uns::describe(&mut tree, context, &path, "uns", &uns)?;
        members.push(member("uns", "uns", MemberKind::Group));
    }
    let mut modalities = vec![member(&options.measurement, &measurement_folder, MemberKind::Group)];
    if let Some(raw) = file.raw()? {
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
    tree.frames.push(frame::describe(context, &path, file.var(), id_name, true)?);
    let id_name = Some(options.obs_id_name.as_str());
    tree.frames.push(frame::describe(context, "obs", file.obs(), id_name, true)?);
    tree.group(measurement, SomaType::Measurement, members);
    tree.group(ms, SomaType::Collection, modalities);
    let parts =
        vec![member("ms", "ms", MemberKind::Group), member("obs", "obs", MemberKind::Array)];
    tree.group(String::new(), SomaType::Experiment, parts);
    Ok(tree.finish())
}

/// Nodes in the order in which they are committed.
#[derive(Default)]
pub(crate) struct Tree {
    arrays: Vec<ArrayNode>,
    frames: Vec<ArrayNode>,
    groups: Vec<GroupNode>,
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
        self.groups.push(GroupNode { path, metadata, members });
    }

    pub(crate) fn group_with(
        &mut self,
        path: String,
        metadata: BTreeMap<String, MetadataValue>,
        members: Vec<Member>,
    ) {
        self.groups.push(GroupNode { path, metadata, members });
    }

    fn finish(self) -> Vec<Node> {
        let arrays = self.arrays.into_iter().chain(self.frames);
        let arrays = arrays.map(|array| Node::Array(Box::new(array)));
        arrays.chain(self.groups.into_iter().map(Node::Group)).collect()
    }
}

fn describe_x(
    tree: &mut Tree,
    file: &H5ad,
    context: &Context<'_>,
    measurement: &str,
) -> Result<Member> {
    let path = join(measurement, "X");
    let shape = (file.n_obs(), file.n_vars());
    let mut members = Vec::new();
    if let Some(x) = file.x() {
        let name = &context.options.layer;
        let folder = folder_of(name);
        tree.array(matrix::describe(context, "X", &join(&path, &folder), x.clone(), shape)?);
        members.push(member(name, &folder, MemberKind::Array));
    }
    for (name, element) in file.layers()? {
        let folder = folder_of(&name);
        let element_path = format!("layers/{name}");
        if members.iter().any(|member| member.name.as_ref() == Some(&name)) {
            let message = format!(
                "X is stored as a layer of this name too; give X another name with --layer, such as --layer X_{name}"
            );
            return Err(context.unfit(&element_path, message));
        }
        match matrix::of_element(element) {
            Ok(layer) => {
                tree.array(matrix::describe(
                    context,
                    &element_path,
                    &join(&path, &folder),
                    layer,
                    shape,
                )?);
                members.push(member(&name, &folder, MemberKind::Array));
            }
            Err(why) => context.leave_out(&element_path, &why),
        }
    }
    tree.group(path, SomaType::Collection, members);
    Ok(member("X", "X", MemberKind::Group))
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
                context.leave_out(&element_path, "it has no columns");
            }
            Ok(found) => {
                let folder = folder_of(&name);
                let shape = (rows, columns.unwrap_or(found.shape().1));
                tree.array(matrix::describe(
                    context,
                    &element_path,
                    &join(&path, &folder),
                    found,
                    shape,
                )?);
                members.push(member(&name, &folder, MemberKind::Array));
            }
            Err(why) => context.leave_out(&element_path, &why),
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
    match raw.x {
        Some(x) => {
            let shape = (n_obs, raw.var.n_rows());
            // The reference calls raw's layer `data`, whatever X's is called.
            tree.array(matrix::describe(context, "raw/X", &join(&layers, "data"), x, shape)?);
            members.push(member("data", "data", MemberKind::Array));
        }
        None => context.leave_out("raw/X", "there is none"),
    }
    tree.group(layers, SomaType::Collection, members);
    if !raw.varm.is_empty() {
        context.leave_out("raw/varm", "SOMA's raw measurement has no place for it");
    }
    let id_name = Some(context.options.var_id_name.as_str());
    let var: &Frame = &raw.var;
    tree.frames.push(frame::describe(context, &join(&path, "var"), var, id_name, false)?);
    let members =
        vec![member("X", "X", MemberKind::Group), member("var", "var", MemberKind::Array)];
    tree.group(path, SomaType::Measurement, members);
    Ok(())
}
