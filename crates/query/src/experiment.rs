//! An experiment, and the parts of it that a query looks at.

use vacuole_soma::{Array, Error as SomaError, ErrorKind, Object, Period, SomaType};
use vacuole_store::join;

use crate::axis::AxisSelection;
use crate::error::Result;

/// An experiment as it was at one time.
#[derive(Clone, Debug)]
pub struct Experiment {
    object: Object,
}

impl Experiment {
    /// Opens the experiment at a path or URI as it was at a time (milliseconds since 1970;
    /// `u64::MAX` is now), or what was written to its arrays within a period.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) where there is no SOMA object,
    /// [`InvalidInput`](ErrorKind::InvalidInput) where it is no experiment.
    pub fn open(uri: &str, period: impl Into<Period>) -> Result<Self> {
        Self::of(Object::open_uri(uri, period)?)
    }

    /// The experiment that an object is.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) where it is no experiment.
    pub fn of(object: Object) -> Result<Self> {
        match object.soma_type() {
            SomaType::Experiment => Ok(Self { object }),
            other => {
                let message = format!("expected a SOMAExperiment, found a {other}");
                Err(SomaError::new(ErrorKind::InvalidInput, object.display(), message).into())
            }
        }
    }

    /// The SOMA object.
    pub fn object(&self) -> &Object {
        &self.object
    }

    /// The data frame of cells.
    pub fn obs(&self) -> Result<Object> {
        Ok(self.object.expect_member("obs")?)
    }

    /// A measurement; [`measurement_name`](Self::measurement_name) says which without a name.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound), with the names that there are.
    pub fn measurement(&self, name: Option<&str>) -> Result<Object> {
        let name = self.measurement_name(name)?;
        Ok(self.object.expect_member("ms")?.expect_member(&name)?)
    }

    /// The name of a measurement: the one given, else `RNA`, else the only one besides `raw`.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) where there are several, with their names.
    pub fn measurement_name(&self, name: Option<&str>) -> Result<String> {
        if let Some(name) = name {
            return Ok(name.to_owned());
        }
        let all = self.object.expect_member("ms")?;
        let names = all.member_names()?;
        let others: Vec<&String> = names.iter().filter(|name| *name != "raw").collect();
        match others[..] {
            _ if names.iter().any(|name| name == "RNA") => Ok("RNA".to_owned()),
            [only] => Ok(only.clone()),
            _ => {
                let message = format!("which measurement? There are {}", names.join(", "));
                Err(SomaError::new(ErrorKind::InvalidInput, all.display(), message).into())
            }
        }
    }

    /// Says that `obs`, `var` and these parts of a measurement will be opened and the data frames read, so that a store that
    /// is far away is asked for
    /// all of it at once. Where there is no name, which measurement it will be is a guess.
    pub(crate) fn expect(&self, measurement: Option<&str>, parts: &[&str]) -> Result<()> {
        let store = &**self.object.store();
        if !store.is_far() || !store.lists_freely() {
            return Ok(());
        }
        let ms = join(self.object.path(), "ms");
        let obs = join(self.object.path(), "obs");
        let mut frames = vec![obs.clone()];
        let mut paths = vec![obs, ms.clone()];
        let name = match measurement {
            Some(name) => Some(name.to_owned()),
            None => {
                let entries = store.list(&ms).map_err(SomaError::from)?.into_iter();
                let mut names: Vec<String> = entries.map(|entry| entry.name).collect();
                names.retain(|name| !name.starts_with("__") && name != "raw");
                names.sort_by_key(|name| name != "RNA");
                names.into_iter().next()
            }
        };
        if let Some(name) = name {
            let measurement = join(&ms, &name);
            frames.push(join(&measurement, "var"));
            for part in parts {
                paths.extend(vacuole_soma::folders_below(store, &join(&measurement, part))?);
                if part.starts_with("X/") {
                    paths.push(join(&measurement, "X"));
                }
            }
            paths.push(measurement);
        }
        let frames: Vec<&str> = frames.iter().map(String::as_str).collect();
        Ok(vacuole_soma::expect_read(store, &paths, &frames)?)
    }

    /// The cells that a value filter finds; all of them without one.
    pub fn select_obs(&self, filter: Option<&str>) -> Result<AxisSelection> {
        AxisSelection::find(self.obs()?.array()?, filter)
    }

    /// The genes of a measurement that a value filter finds; all of them without one.
    pub fn select_var(
        &self,
        measurement: Option<&str>,
        filter: Option<&str>,
    ) -> Result<AxisSelection> {
        AxisSelection::find(self.var(measurement)?, filter)
    }

    fn var(&self, measurement: Option<&str>) -> Result<Array> {
        Ok(self.measurement(measurement)?.expect_member("var")?.array()?)
    }
}
