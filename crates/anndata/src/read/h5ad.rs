//! An H5AD file or a Zarr store: the parts of an AnnData.

use std::cell::RefCell;
use std::path::Path;
use std::sync::Arc;

use super::aligned::{aligned, members, pairwise, shape_of, take_neighbors};
use super::matrix::open_matrix;
use super::placed::Placement;
use super::{
    Element, Frame, Matrix, ReadOptions, SparseMatrix, element, genomes, legacy, mudata, tenx,
};
use crate::container::{File, Group, Node};
use crate::source::FileSource;
use crate::zarr::{Store, ZarrFolder, ZarrSource};
use crate::{ByteSource, Error, ErrorKind, Result, hdf5};

/// An H5AD file or a Zarr store, open for reading. Cloning it is cheap, and any thread may use it.
#[derive(Clone, Debug)]
pub struct H5ad(Arc<State>);

#[derive(Debug)]
struct State {
    /// What errors call the file.
    name: String,
    /// None of formats that are neither HDF5 nor Zarr.
    file: Option<File>,
    /// Where all but `X`, `obs` and `var` is; none of formats that have nothing else.
    rest: Option<Group>,
    format: Format,
    x: Option<Matrix>,
    obs: Frame,
    var: Frame,
    /// `uns` after the categories of old files have been taken out; none where it is read anew.
    legacy_uns: Option<Vec<(String, Element)>>,
    /// Of a modality whose rows are not the cells one by one.
    placement: Option<Arc<Placement>>,
    modalities: Vec<(String, H5ad)>,
    unread: Vec<String>,
}

/// What an AnnData is read of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// An H5AD file, or a Zarr store.
    AnnData,
    /// A file of 10x Genomics in HDF5.
    TenX,
    /// A MuData file.
    MuData,
    /// A Matrix Market file, with its features and barcodes beside it.
    MatrixMarket,
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
        let opened = hdf5::File::open(source, name, options);
        let opened = opened.and_then(|file| Self::open_root(&File::Hdf5(file)));
        opened.map_err(|error| error.in_file(name))
    }

    /// The most memory, in bytes, that reading a Zarr store takes besides what is read, as long as its chunks have less than
    /// 16 MiB: chunks on their way of two arrays, and those that are kept for the next read.
    pub const ZARR_MEMORY: u64 = 96 << 20;

    /// Opens the Zarr store in the folder at `path`, as `adata.write_zarr` makes it.
    ///
    /// # Errors
    ///
    /// As of [`H5ad::from_zarr`].
    pub fn open_zarr(path: &Path) -> Result<Self> {
        Self::from_zarr(Arc::new(ZarrFolder::new(path)), &path.display().to_string())
    }

    /// Opens the Zarr store whose objects `source` gives, of version 2 or 3; errors call it `name`. Consolidated metadata
    /// are used where there are any.
    ///
    /// # Errors
    ///
    /// `Io` when it cannot be read, `NotH5ad` when it is no Zarr store or has no `obs`, and
    /// `Corrupt` or `Unsupported` for what it holds.
    pub fn from_zarr(source: Arc<dyn ZarrSource>, name: &str) -> Result<Self> {
        Self::from_zarr_with(source, name, ReadOptions::default())
    }

    /// Opens the Zarr store whose objects `source` gives, with other limits than the usual ones.
    ///
    /// # Errors
    ///
    /// As of [`H5ad::from_zarr`].
    pub fn from_zarr_with(
        source: Arc<dyn ZarrSource>,
        name: &str,
        options: ReadOptions,
    ) -> Result<Self> {
        let opened = Store::open(source, name, options);
        let opened = opened.and_then(|store| Self::open_root(&File::Zarr(store)));
        opened.map_err(|error| error.in_file(name))
    }

    fn open_root(file: &File) -> Result<Self> {
        let root = file.root()?;
        if mudata::is_mudata(&root) {
            return Self::open_mudata(file, root);
        }
        if root.get("obs")?.is_none() {
            return match tenx::open(&root)? {
                Some(tenx::Found::One(tenx::Parts { x, obs, var })) => {
                    Self::of_parts(file.name(), Some(file), Format::TenX, x, obs, var)
                }
                Some(tenx::Found::Genomes(genomes)) => Self::of_genomes(file, genomes),
                None => Err(Error::new(
                    ErrorKind::NotH5ad,
                    format!("expected an AnnData with \"obs\", found {:?}", root.names()?),
                )),
            };
        }
        State::open(root)?.checked()
    }

    /// Opens the modalities of a MuData. Those with other cells than all, or in another order, get the cells of all.
    fn open_mudata(file: &File, root: Group) -> Result<Self> {
        let obs = open_axis(&root, "obs", &[], None)?;
        let var = open_axis(&root, "var", &[], None)?;
        let pulled = RefCell::new(Vec::new());
        let open = |modality: &str,
                    group: Group,
                    placement: &dyn Fn(u64) -> Result<Option<Arc<Placement>>>| {
            let mut state = State::open(group)?;
            state.check_shape(state.x.as_ref().map(Matrix::shape), "X")?;
            let placement = placement(state.obs.n_rows())?;
            if let Some(placement) = &placement {
                state.x = state.x.map(|x| placement.matrix(&x));
            }
            pulled.borrow_mut().extend(mudata::pulled(
                modality,
                &state.obs,
                placement.as_ref(),
                &obs,
            )?);
            State { obs: obs.clone(), placement, ..state }.checked()
        };
        let modalities = mudata::modalities(&root, obs.n_rows(), open)?;
        let obs = obs.with_columns_before(pulled.into_inner())?;
        let (name, format) = (file.name().to_owned(), Format::MuData);
        let file = Some(file.clone());
        let (x, rest, legacy_uns, placement) = (None, None, None, None);
        let unread = mudata::of_all(&root, &modalities)?;
        State { name, file, rest, format, x, obs, var, legacy_uns, placement, modalities, unread }
            .checked()
    }

    /// Makes a modality of each genome, with the cells of all.
    fn of_genomes(file: &File, genomes: Vec<(String, tenx::Parts)>) -> Result<Self> {
        let (obs, placements) = genomes::together(&genomes)?;
        let mut modalities = Vec::with_capacity(genomes.len());
        for ((genome, parts), placement) in genomes.into_iter().zip(placements) {
            let x = Matrix::Sparse(parts.x);
            let x = Some(placement.as_ref().map_or(x.clone(), |placement| placement.matrix(&x)));
            let (obs, var) = (obs.clone(), parts.var);
            let state = State { placement, ..State::without_rest(file, Format::TenX, x, obs, var) };
            modalities.push((genome, state.checked()?));
        }
        let var = Frame::numbered("var", 0)?;
        let state = State::without_rest(file, Format::TenX, None, obs, var);
        State { modalities, ..state }.checked()
    }

    /// The modalities of a MuData, and the genomes of a file of 10x Genomics that has several, with the cells of all; else
    /// nothing.
    pub fn modalities(&self) -> &[(String, H5ad)] {
        &self.0.modalities
    }

    /// What is read of another format; errors call it `name`.
    pub(crate) fn of_parts(
        name: &str,
        file: Option<&File>,
        format: Format,
        x: SparseMatrix,
        obs: Frame,
        var: Frame,
    ) -> Result<Self> {
        let (name, x, file) = (name.to_owned(), Some(Matrix::Sparse(x)), file.cloned());
        let (rest, legacy_uns, placement, modalities) = (None, None, None, Vec::new());
        let unread = Vec::new();
        State { name, file, rest, format, x, obs, var, legacy_uns, placement, modalities, unread }
            .checked()
    }

    /// What errors call it.
    pub(super) fn name(&self) -> &str {
        &self.0.name
    }

    pub(super) fn file(&self) -> Option<&File> {
        self.0.file.as_ref()
    }

    /// What it is read of.
    pub fn format(&self) -> Format {
        self.0.format
    }

    /// Gives up the memory that copies of the file's metadata and strings take, and what is held of X beside its file,
    /// until it is read again.
    pub fn forget(&self) {
        if let Some(file) = &self.0.file {
            file.forget();
        }
        if let Some(Matrix::Sparse(matrix)) = self.x() {
            matrix.forget();
        }
        self.0.modalities.iter().for_each(|(_, modality)| modality.forget());
    }

    /// Adds the name of the file, and an element in it, to an error about what was asked of it.
    pub fn locate(&self, error: Error, element: &str) -> Error {
        error.in_element(element).in_file(&self.0.name)
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
        let layers = self.placed(self.rest(|root| members(root, "layers"))?);
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
        let rows = self.stored_rows();
        Ok(self.placed(self.rest(|root| aligned(root, "obsm", rows))?))
    }

    /// Arrays by variables.
    ///
    /// # Errors
    ///
    /// `Corrupt` for another number of rows, and for what the file holds.
    pub fn varm(&self) -> Result<Vec<(String, Element)>> {
        self.rest(|root| aligned(root, "varm", self.n_vars()))
    }

    /// Matrices of observations by observations. Those of `uns["neighbors"]`, where AnnData
    /// before 0.7 kept them, are among them.
    ///
    /// # Errors
    ///
    /// `Corrupt` for another shape, and for what the file holds.
    pub fn obsp(&self) -> Result<Vec<(String, Element)>> {
        let rows = self.stored_rows();
        let mut obsp = self.rest(|root| pairwise(root, "obsp", rows))?;
        let mut uns = self.stored_uns()?;
        for (name, element) in take_neighbors(&mut uns) {
            match obsp.iter_mut().find(|(found, _)| *found == name) {
                Some((_, place)) => *place = element,
                None => obsp.push((name, element)),
            }
        }
        if self.0.placement.is_some() && !obsp.is_empty() {
            let message = "pairs of cells are not read of a modality that has other cells than all, or another order";
            let root = self.0.rest.as_ref().map_or("", |root| root.path());
            return Err(self.locate(Error::unsupported(message), &format!("{root}/obsp")));
        }
        Ok(obsp)
    }

    /// Matrices of variables by variables.
    ///
    /// # Errors
    ///
    /// `Corrupt` for another shape, and for what the file holds.
    pub fn varp(&self) -> Result<Vec<(String, Element)>> {
        self.rest(|root| pairwise(root, "varp", self.n_vars()))
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
            None => self.rest(|root| members(root, "uns")),
        }
    }

    /// How many rows what is stored by rows has.
    fn stored_rows(&self) -> u64 {
        self.0.placement.as_ref().map_or(self.n_obs(), |part| part.n_rows())
    }

    /// What a MuData has for all modalities together besides `obs`, and is not read.
    pub fn unread(&self) -> &[String] {
        &self.0.unread
    }

    /// Elements by rows as elements by cells.
    fn placed(&self, elements: Vec<(String, Element)>) -> Vec<(String, Element)> {
        match &self.0.placement {
            Some(part) => {
                elements.into_iter().map(|(name, element)| (name, part.element(element))).collect()
            }
            None => elements,
        }
    }

    /// What the root has; nothing in formats without.
    fn rest(
        &self,
        read: impl FnOnce(&Group) -> Result<Vec<(String, Element)>>,
    ) -> Result<Vec<(String, Element)>> {
        self.0.rest.as_ref().map_or(Ok(Vec::new()), read)
    }

    /// What was set aside before filtering; none if nothing was.
    ///
    /// # Errors
    ///
    /// For what the file holds.
    pub fn raw(&self) -> Result<Option<Raw>> {
        let Some(root) = &self.0.rest else { return Ok(None) };
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
            && shape != (self.stored_rows(), var.n_rows())
        {
            return Err(root.locate(
                Error::corrupt(format!(
                    "expected raw of {} observations and {} variables, found the shape {shape:?}",
                    self.stored_rows(),
                    var.n_rows()
                ))
                .in_element(format!("{prefix}X")),
            ));
        }
        let varm = match varm {
            Some(_) => aligned(root, &format!("{prefix}varm"), var.n_rows())?,
            None => Vec::new(),
        };
        let x = match &self.0.placement {
            Some(part) => x.map(|x| part.matrix(&x)),
            None => x,
        };
        Ok(Some(Raw { x, var, varm }))
    }
}

impl State {
    /// What is read of a file of a format that has nothing but `X`, `obs` and `var`.
    fn without_rest(
        file: &File,
        format: Format,
        x: Option<Matrix>,
        obs: Frame,
        var: Frame,
    ) -> Self {
        let (name, file) = (file.name().to_owned(), Some(file.clone()));
        let (rest, legacy_uns, placement) = (None, None, None);
        let (modalities, unread) = (Vec::new(), Vec::new());
        Self { name, file, rest, format, x, obs, var, legacy_uns, placement, modalities, unread }
    }

    /// An AnnData, whose shape is not checked yet.
    fn open(root: Group) -> Result<Self> {
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
        let file = root.file();
        let (name, file) = (file.name().to_owned(), Some(file));
        let (format, rest) = (Format::AnnData, Some(root));
        let (placement, modalities, unread) = (None, Vec::new(), Vec::new());
        Ok(Self {
            name,
            file,
            rest,
            format,
            x,
            obs,
            var,
            legacy_uns,
            placement,
            modalities,
            unread,
        })
    }

    fn checked(self) -> Result<H5ad> {
        self.check_shape(self.x.as_ref().map(Matrix::shape), "X")?;
        Ok(H5ad(Arc::new(self)))
    }

    fn check_shape(&self, found: Option<(u64, u64)>, path: &str) -> Result<()> {
        let expected = (self.obs.n_rows(), self.var.n_rows());
        match found {
            Some(found) if found != expected => Err(Error::corrupt(format!(
                "expected {} observations and {} variables, found the shape {found:?}",
                expected.0, expected.1
            ))
            .in_element(path)
            .in_file(&self.name)),
            _ => Ok(()),
        }
    }
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
