//! An H5AD file: the parts of an AnnData.

use std::path::Path;
use std::sync::Arc;

use arrow_schema::DataType;

use super::{
    DenseArray, Element, Frame, ReadOptions, SparseMatrix, StoredRecords, element, legacy,
};
use crate::hdf5::{ElementType, File, Group, Node};
use crate::source::FileSource;
use crate::{ByteSource, Error, ErrorKind, Result};

/// An H5AD file, open for reading. Cloning it is cheap, and any thread may use it.
#[derive(Clone, Debug)]
pub struct H5ad(Arc<State>);

#[derive(Debug)]
struct State {
    root: Group,
    x: Option<Matrix>,
    obs: Frame,
    var: Frame,
    /// `uns` after the categories of old files have been taken out; none where it is read anew.
    legacy_uns: Option<Vec<(String, Element)>>,
}

/// A matrix of observations by variables.
#[derive(Clone, Debug)]
pub enum Matrix {
    /// A dense matrix of two dimensions.
    Dense(DenseArray),
    /// A CSR or CSC matrix.
    Sparse(SparseMatrix),
}

impl Matrix {
    /// Rows and columns.
    pub fn shape(&self) -> (u64, u64) {
        match self {
            Self::Dense(array) => match array.shape() {
                [rows, columns] => (*rows, *columns),
                _ => (array.n_rows(), 1),
            },
            Self::Sparse(matrix) => matrix.shape(),
        }
    }

    /// The type of the values.
    pub fn data_type(&self) -> &DataType {
        match self {
            Self::Dense(array) => array.data_type(),
            Self::Sparse(matrix) => matrix.data_type(),
        }
    }
}

/// What was set aside before filtering: `adata.raw`.
#[derive(Clone, Debug)]
pub struct Raw {
    /// Observations by raw variables; none in a file that only has the rest.
    pub x: Option<Matrix>,
    /// The raw variables.
    pub var: Frame,
    /// Arrays by raw variables.
    pub varm: Vec<(String, Element)>,
}

impl H5ad {
    /// Opens the file at `path`.
    ///
    /// # Errors
    ///
    /// `Io` when it cannot be read, `NotH5ad` when it is no HDF5 file or has no `obs`, and
    /// `Corrupt` or `Unsupported` for what it holds.
    pub fn open(path: &Path) -> Result<Self> {
        Self::open_with(path, ReadOptions::default())
    }

    /// Opens the file at `path` with other limits than the usual ones.
    ///
    /// # Errors
    ///
    /// As of [`H5ad::open`].
    pub fn open_with(path: &Path, options: ReadOptions) -> Result<Self> {
        let name = path.display().to_string();
        let source = FileSource::open(path).map_err(|error| error.in_file(&name))?;
        Self::from_source_with(Arc::new(source), &name, options)
    }

    /// Opens the file whose bytes `source` gives; errors call it `name`.
    ///
    /// # Errors
    ///
    /// As of [`H5ad::open`].
    pub fn from_source(source: Arc<dyn ByteSource>, name: &str) -> Result<Self> {
        Self::from_source_with(source, name, ReadOptions::default())
    }

    /// Opens the file whose bytes `source` gives, with other limits than the usual ones.
    ///
    /// # Errors
    ///
    /// As of [`H5ad::open`].
    pub fn from_source_with(
        source: Arc<dyn ByteSource>,
        name: &str,
        options: ReadOptions,
    ) -> Result<Self> {
        let opened = File::open(source, name, options).and_then(|file| Self::open_root(&file));
        opened.map_err(|error| error.in_file(name))
    }

    fn open_root(file: &File) -> Result<Self> {
        let root = file.root()?;
        if root.get("obs")?.is_none() {
            let found = match root.get("matrix")? {
                Some(_) => "a group \"matrix\", as 10x Genomics' HDF5 files have".to_owned(),
                None => format!("{:?}", root.names()?),
            };
            return Err(Error::new(
                ErrorKind::NotH5ad,
                format!("expected an AnnData with \"obs\", found {found}"),
            ));
        }
        let x = match root.get("X")? {
            Some(node) => open_matrix(&node)?,
            None => None,
        };
        let shape = x.as_ref().map(Matrix::shape);
        let obs = open_axis(&root, "obs", &["obs_names", "row_names"], shape.map(|s| s.0))?;
        let var = open_axis(&root, "var", &["var_names", "col_names"], shape.map(|s| s.1))?;
        let (mut frames, mut legacy_uns) = ([obs, var], None);
        // Where obs is a dataset of records, categories are in uns.
        if matches!(root.get("obs")?, Some(Node::Dataset(_))) {
            let mut uns = members(&root, "uns")?;
            legacy::take_categories(&mut uns, &mut frames)?;
            legacy_uns = Some(uns);
        }
        let [obs, var] = frames;
        let state = State { root, x, obs, var, legacy_uns };
        state.check_shape(state.x.as_ref().map(Matrix::shape), "X")?;
        Ok(Self(Arc::new(state)))
    }

    /// The number of observations.
    pub fn n_obs(&self) -> u64 {
        self.0.obs.n_rows()
    }

    /// The number of variables.
    pub fn n_vars(&self) -> u64 {
        self.0.var.n_rows()
    }

    /// The observations.
    pub fn obs(&self) -> &Frame {
        &self.0.obs
    }

    /// The variables.
    pub fn var(&self) -> &Frame {
        &self.0.var
    }

    /// The matrix of observations by variables; none in a file without one.
    pub fn x(&self) -> Option<&Matrix> {
        self.0.x.as_ref()
    }

    /// Matrices of observations by variables beside `X`.
    ///
    /// # Errors
    ///
    /// `Corrupt` for a layer of another shape, and for what the file holds.
    pub fn layers(&self) -> Result<Vec<(String, Element)>> {
        let layers = members(&self.0.root, "layers")?;
        for (name, layer) in &layers {
            let path = format!("layers/{name}");
            self.0.check_shape(shape_of(layer), &path)?;
        }
        Ok(layers)
    }

    /// Arrays by observations.
    ///
    /// # Errors
    ///
    /// `Corrupt` for another number of rows, and for what the file holds.
    pub fn obsm(&self) -> Result<Vec<(String, Element)>> {
        aligned(&self.0.root, "obsm", self.n_obs())
    }

    /// Arrays by variables.
    ///
    /// # Errors
    ///
    /// `Corrupt` for another number of rows, and for what the file holds.
    pub fn varm(&self) -> Result<Vec<(String, Element)>> {
        aligned(&self.0.root, "varm", self.n_vars())
    }

    /// Matrices of observations by observations. Those of `uns["neighbors"]`, where AnnData
    /// before 0.7 kept them, are among them.
    ///
    /// # Errors
    ///
    /// `Corrupt` for another shape, and for what the file holds.
    pub fn obsp(&self) -> Result<Vec<(String, Element)>> {
        let mut obsp = pairwise(&self.0.root, "obsp", self.n_obs())?;
        let mut uns = self.stored_uns()?;
        for (name, element) in take_neighbors(&mut uns) {
            match obsp.iter_mut().find(|(found, _)| *found == name) {
                Some((_, place)) => *place = element,
                None => obsp.push((name, element)),
            }
        }
        Ok(obsp)
    }

    /// Matrices of variables by variables.
    ///
    /// # Errors
    ///
    /// `Corrupt` for another shape, and for what the file holds.
    pub fn varp(&self) -> Result<Vec<(String, Element)>> {
        pairwise(&self.0.root, "varp", self.n_vars())
    }

    /// Everything else.
    ///
    /// # Errors
    ///
    /// For what the file holds.
    pub fn uns(&self) -> Result<Vec<(String, Element)>> {
        let mut uns = self.stored_uns()?;
        take_neighbors(&mut uns);
        Ok(uns)
    }

    fn stored_uns(&self) -> Result<Vec<(String, Element)>> {
        match &self.0.legacy_uns {
            Some(uns) => Ok(uns.clone()),
            None => members(&self.0.root, "uns"),
        }
    }

    /// What was set aside before filtering; none if nothing was.
    ///
    /// # Errors
    ///
    /// For what the file holds.
    pub fn raw(&self) -> Result<Option<Raw>> {
        let root = &self.0.root;
        let path = |modern: &str| format!("raw/{modern}");
        let mut nodes = [root.get(&path("X"))?, root.get(&path("var"))?, root.get(&path("varm"))?];
        let mut prefix = "raw/";
        if nodes.iter().all(Option::is_none) {
            // AnnData before 0.7 stored them side by side in the root.
            nodes = [root.get("raw.X")?, root.get("raw.var")?, root.get("raw.varm")?];
            prefix = "raw.";
        }
        let [x, var, varm] = nodes;
        if x.is_none() && var.is_none() && varm.is_none() {
            return Ok(None);
        }
        let x = match x {
            Some(node) => open_matrix(&node)?,
            None => None,
        };
        let shape = x.as_ref().map(Matrix::shape);
        let var_path = format!("{prefix}var");
        let var = match var {
            Some(_) => open_axis(root, &var_path, &["var_names"], shape.map(|shape| shape.1))?,
            None => Frame::numbered(&var_path, shape.map_or(0, |shape| shape.1))?,
        };
        if let Some(shape) = shape
            && shape != (self.n_obs(), var.n_rows())
        {
            return Err(root.locate(
                Error::corrupt(format!(
                    "expected raw of {} observations and {} variables, found the shape {shape:?}",
                    self.n_obs(),
                    var.n_rows()
                ))
                .in_element(format!("{prefix}X")),
            ));
        }
        let varm = match varm {
            Some(_) => aligned(root, &format!("{prefix}varm"), var.n_rows())?,
            None => Vec::new(),
        };
        Ok(Some(Raw { x, var, varm }))
    }
}

impl State {
    fn check_shape(&self, found: Option<(u64, u64)>, path: &str) -> Result<()> {
        let expected = (self.obs.n_rows(), self.var.n_rows());
        match found {
            Some(found) if found != expected => Err(self.root.locate(
                Error::corrupt(format!(
                    "expected {} observations and {} variables, found the shape {found:?}",
                    expected.0, expected.1
                ))
                .in_element(path),
            )),
            _ => Ok(()),
        }
    }
}

/// The first two dimensions of a matrix.
fn shape_of(element: &Element) -> Option<(u64, u64)> {
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

fn open_matrix(node: &Node) -> Result<Option<Matrix>> {
    let wrong = |found: String| {
        Error::corrupt(format!("expected a matrix of numbers, found {found}"))
            .in_element(node.path())
    };
    match element::open(node)? {
        Element::Null => Ok(None),
        Element::Sparse(matrix) => Ok(Some(Matrix::Sparse(matrix))),
        Element::Array(array) if array.shape().len() == 2 && is_numeric(array.data_type()) => {
            Ok(Some(Matrix::Dense(array)))
        }
        Element::Array(array) => {
            Err(wrong(format!("{} of the shape {:?}", array.data_type(), array.shape())))
        }
        Element::Unsupported(unsupported) => Err(unsupported.why),
        _ => Err(wrong("another element".into())),
    }
}

fn is_numeric(data_type: &DataType) -> bool {
    data_type.is_numeric() || matches!(data_type, DataType::Boolean | DataType::FixedSizeList(..))
}

/// The frame of an axis, in whatever way it was ever stored.
fn open_axis(root: &Group, name: &str, index_names: &[&str], n_rows: Option<u64>) -> Result<Frame> {
    let Some(node) = root.get(name)? else {
        return Frame::numbered(name, n_rows.unwrap_or(0));
    };
    match &node {
        Node::Dataset(dataset) => Frame::open_records(dataset),
        Node::Group(group) => match element::encoding(&node)? {
            (kind, _) if kind.is_empty() || kind == "dict" => {
                Frame::open_mapping(group, index_names, n_rows)
            }
            _ => match element::open(&node)? {
                Element::Frame(frame) => Ok(frame),
                Element::Unsupported(unsupported) => Err(unsupported.why),
                _ => Err(group.locate(Error::corrupt("expected a data frame"))),
            },
        },
    }
}

/// The members of a dictionary in the root. Old files may store one as an array of records, a
/// field for each member.
fn members(root: &Group, name: &str) -> Result<Vec<(String, Element)>> {
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
fn aligned(root: &Group, name: &str, n_rows: u64) -> Result<Vec<(String, Element)>> {
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
fn pairwise(root: &Group, name: &str, n: u64) -> Result<Vec<(String, Element)>> {
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
fn take_neighbors(uns: &mut [(String, Element)]) -> Vec<(String, Element)> {
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
