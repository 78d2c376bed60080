//! The tables of an experiment, or of an H5AD file, by their names.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use datafusion::catalog::{CatalogProvider, SchemaProvider, TableProvider};
use datafusion::common::DataFusionError;
use vacuole_anndata::{Element, Error as AnnDataError, H5ad, Matrix};
use vacuole_cli::at::AtArgument;
use vacuole_explain::Explained;
use vacuole_query::{Experiment, Result, Source, layer};
use vacuole_soma::{Object, is_group, member_name};

use crate::explained::external;
use crate::rows::{FileDense, FileFrame, FileSparse, Rows, of_array};
use crate::table::Table;

/// The names that every experiment has.
const USUAL: [&str; 3] = ["obs", "var", "X"];

/// How deep collections are looked into.
const MOST_DEEP: usize = 16;

/// An experiment or a file, and which of its parts go by short names.
#[derive(Debug)]
pub struct Tables {
    place: Place,
    measurement: Option<String>,
    layer: Option<String>,
    opened: Mutex<BTreeMap<String, Table>>,
}

#[derive(Debug)]
enum Place {
    Experiment(Experiment),
    File(H5ad),
}

impl Tables {
    /// Those at a path or URI, as of a time or period; `var` and `X` are of this measurement, and `X` is this layer.
    ///
    /// # Errors
    /// Where there is neither an experiment nor a file, and for a measurement or a time of a file, which has none.
    pub fn open(
        location: &str,
        measurement: Option<&str>,
        layer: Option<&str>,
        at: AtArgument,
    ) -> Result<Self, Explained> {
        let source = Source::open(location).map_err(|e| Explained::from(e).about_either())?;
        let place = match source {
            Source::Folder(folder) => {
                Place::Experiment(Experiment::of(Source::object(folder, at.time())?)?)
            }
            Source::File(file) => {
                at.experiments_only()?;
                if measurement.is_some() {
                    let message = "expected an experiment with this option, found an H5AD file; leave the option out";
                    return Err(Explained::usage("--measurement", message));
                }
                Place::File(file)
            }
        };
        let own = |name: Option<&str>| name.map(str::to_owned);
        let opened = Mutex::default();
        Ok(Self { place, measurement: own(measurement), layer: own(layer), opened })
    }

    /// The names of all tables: the short ones, and the paths of all others.
    ///
    /// # Errors
    /// Those of reading.
    pub fn names(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        match &self.place {
            Place::Experiment(experiment) => {
                below(experiment.object(), "", 0, &mut names)?;
                let short = USUAL.into_iter().filter(|name| *name != "obs");
                for name in short {
                    if let Ok(Some(_)) = self.short(experiment, name) {
                        names.push(name.to_owned());
                    }
                }
            }
            Place::File(file) => {
                names.extend(elements(file)?.into_iter().map(|(name, _)| name));
                names.extend(["obs".to_owned(), "var".to_owned()]);
                if self.layer.is_some() || file.x().is_some() {
                    names.push("X".to_owned());
                }
            }
        }
        let place = |name: &String| USUAL.iter().position(|usual| usual == name).unwrap_or(3);
        names.sort_by(|a, b| place(a).cmp(&place(b)).then_with(|| a.cmp(b)));
        names.dedup();
        Ok(names)
    }

    /// A table, if there is one of this name.
    ///
    /// # Errors
    /// Those of opening it.
    pub(crate) fn table(&self, name: &str) -> Result<Option<Table>> {
        let opened = || self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(table) = opened().get(name) {
            return Ok(Some(table.clone()));
        }
        let rows = match &self.place {
            Place::Experiment(experiment) => self.of_experiment(experiment, name)?,
            Place::File(file) => self.of_file(file, name)?,
        };
        let table = rows.map(|rows| Table { name: name.into(), rows });
        if let Some(table) = &table {
            opened().insert(name.to_owned(), table.clone());
        }
        Ok(table)
    }

    fn of_experiment(&self, experiment: &Experiment, name: &str) -> Result<Option<Arc<dyn Rows>>> {
        let object = match USUAL.contains(&name) {
            true => self.short(experiment, name)?,
            false => at(experiment.object(), name)?,
        };
        match object.filter(|object| !object.is_group()) {
            Some(object) => Ok(Some(of_array(object.array()?)?)),
            None => Ok(None),
        }
    }

    /// What a short name stands for.
    fn short(&self, experiment: &Experiment, name: &str) -> Result<Option<Object>> {
        if name == "obs" {
            return experiment.obs().map(Some);
        }
        if experiment.object().member("ms")?.is_none_or(|ms| !ms.is_group()) {
            return Ok(None);
        }
        let measurement = experiment.measurement(self.measurement.as_deref())?;
        match name {
            "var" => Ok(measurement.member("var")?),
            _ => Ok(layer(&measurement, self.layer.as_deref())?.map(|(_, object)| object)),
        }
    }

    fn of_file(&self, file: &H5ad, name: &str) -> Result<Option<Arc<dyn Rows>>> {
        Ok(match (name, &self.layer) {
            ("obs", _) => Some(Arc::new(FileFrame::new(file.obs().clone(), "obs_id"))),
            ("var", _) => Some(Arc::new(FileFrame::new(file.var().clone(), "var_id"))),
            ("X", None) => file.x().map(of_matrix).transpose()?,
            ("X", Some(layer)) => {
                let layers = file.layers()?;
                let names: Vec<&str> = layers.iter().map(|(name, _)| name.as_str()).collect();
                let Some((_, element)) = layers.iter().find(|(name, _)| name == layer) else {
                    let found = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
                    let message = format!(
                        "expected a layer '{layer}', found {found}; name one of these, or leave --layer out"
                    );
                    return Err(file.locate(AnnDataError::invalid(message), "layers").into());
                };
                of_element(element)?
            }
            _ => match elements(file)?.into_iter().find(|(found, _)| found == name) {
                Some((path, Element::Frame(frame))) if path == "raw/var" => {
                    Some(Arc::new(FileFrame::new(frame, "var_id")))
                }
                Some((_, element)) => of_element(&element)?,
                None => None,
            },
        })
    }
}

/// The paths of the arrays below a group.
fn below(group: &Object, path: &str, depth: usize, names: &mut Vec<String>) -> Result<()> {
    for member in group.members()? {
        let name = member_name(&member);
        let path = if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
        match is_group(&member) {
            false => names.push(path),
            true if depth < MOST_DEEP => {
                if let Some(group) = group.member(name)? {
                    below(&group, &path, depth + 1, names)?;
                }
            }
            true => {}
        }
    }
    Ok(())
}

/// The object at a path.
fn at(root: &Object, path: &str) -> Result<Option<Object>> {
    let mut object = root.clone();
    for name in path.split('/') {
        match object.is_group().then(|| object.member(name)).transpose()?.flatten() {
            Some(member) => object = member,
            None => return Ok(None),
        }
    }
    Ok(Some(object))
}

/// The elements of a file that are tables, besides `obs`, `var` and `X`, by their paths.
fn elements(file: &H5ad) -> Result<Vec<(String, Element)>> {
    let mut found = Vec::new();
    let parts = [
        ("layers", file.layers()?),
        ("obsm", file.obsm()?),
        ("varm", file.varm()?),
        ("obsp", file.obsp()?),
        ("varp", file.varp()?),
        ("uns", file.uns()?),
    ];
    for (part, elements) in parts {
        put(part, elements, 0, &mut found);
    }
    if let Some(raw) = file.raw()? {
        match raw.x {
            Some(Matrix::Dense(array)) => found.push(("raw/X".to_owned(), Element::Array(array))),
            Some(Matrix::Sparse(x)) => found.push(("raw/X".to_owned(), Element::Sparse(x))),
            None => {}
        }
        found.push(("raw/var".to_owned(), Element::Frame(raw.var)));
        put("raw/varm", raw.varm, 0, &mut found);
    }
    Ok(found)
}

fn put(path: &str, from: Vec<(String, Element)>, depth: usize, found: &mut Vec<(String, Element)>) {
    for (name, element) in from {
        let path = format!("{path}/{name}");
        match element {
            Element::Mapping(members) if depth < MOST_DEEP => put(&path, members, depth + 1, found),
            Element::Array(_) | Element::Sparse(_) | Element::Frame(_) => {
                found.push((path, element));
            }
            _ => {}
        }
    }
}

fn of_element(element: &Element) -> Result<Option<Arc<dyn Rows>>> {
    Ok(match element {
        Element::Array(array) => Some(Arc::new(FileDense::new(array.clone()))),
        Element::Sparse(matrix) => Some(Arc::new(FileSparse::new(matrix.clone())?)),
        Element::Frame(frame) => Some(Arc::new(FileFrame::new(frame.clone(), "index"))),
        _ => None,
    })
}

fn of_matrix(matrix: &Matrix) -> Result<Arc<dyn Rows>> {
    Ok(match matrix {
        Matrix::Dense(array) => Arc::new(FileDense::new(array.clone())),
        Matrix::Sparse(matrix) => Arc::new(FileSparse::new(matrix.clone())?),
    })
}

/// Does what waits for the network on a thread of its own: those of DataFusion must not.
fn apart<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| match scope.spawn(work).join() {
        Ok(done) => done,
        Err(panicked) => std::panic::resume_unwind(panicked),
    })
}

#[async_trait]
impl SchemaProvider for Tables {
    fn table_names(&self) -> Vec<String> {
        apart(|| self.names()).unwrap_or_default()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        let table = apart(|| Self::table(self, name)).map_err(external)?;
        Ok(table.map(|table| Arc::new(table) as Arc<dyn TableProvider>))
    }

    fn table_exist(&self, name: &str) -> bool {
        matches!(apart(|| Self::table(self, name)), Ok(Some(_)))
    }
}

/// All that a query is about: the tables of each name that something was attached under.
#[derive(Debug)]
pub(crate) struct Attached(pub(crate) Vec<(String, Arc<Tables>)>);

impl CatalogProvider for Attached {
    fn schema_names(&self) -> Vec<String> {
        self.0.iter().map(|(name, _)| name.clone()).collect()
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, tables)| Arc::clone(tables) as Arc<dyn SchemaProvider>)
    }
}
