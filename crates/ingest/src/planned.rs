//! A plan apart from its execution: made by one process, and executed by others that know nothing but its URI.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use vacuole_soma::private;
use vacuole_store::{PRIVATE_FOLDER, Store, Uri, join};

use crate::error::{Error, Result};
use crate::in_list::InputFile;
use crate::options::{IngestOptions, Progress, Resources};
use crate::plan::Plan;
use crate::run::{IngestSummary, Task, run};
use crate::shard::{Shard, given_up};

/// Where a plan is, as `s3://lab/atlas/__vacuole/plan.json#UUID`.
///
/// Behind `#` is which plan it is: once it is finished, another may have its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanUri {
    experiment: String,
    uuid: Option<String>,
}

impl PlanUri {
    pub(crate) fn of(experiment: &str, plan: &Plan) -> Self {
        Self { experiment: absolute(experiment), uuid: Some(plan.uuid.clone()) }
    }

    /// The experiment that it is of.
    pub fn experiment(&self) -> &str {
        &self.experiment
    }
}

impl fmt::Display for PlanUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = private::path(private::OPEN_PLAN);
        write!(f, "{}", join(self.experiment.trim_end_matches('/'), &path))?;
        self.uuid.as_ref().map_or(Ok(()), |uuid| write!(f, "#{uuid}"))
    }
}

impl FromStr for PlanUri {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let is_uuid = |text: &str| text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
        let (path, uuid) = match text.rsplit_once('#') {
            Some((path, uuid)) if is_uuid(uuid) => (path, Some(uuid.to_owned())),
            _ => (text, None),
        };
        let ending = private::path(private::OPEN_PLAN);
        match path.strip_suffix(&ending).and_then(|path| path.strip_suffix('/')) {
            Some(experiment) if !experiment.is_empty() => {
                Ok(Self { experiment: experiment.to_owned(), uuid })
            }
            _ => {
                let message = format!(
                    "expected the URI of a plan, EXPERIMENT/{PRIVATE_FOLDER}/{}; `vacuole ingest --prepare` prints it",
                    private::OPEN_PLAN
                );
                Err(Error::Unfit { object: text.to_owned(), message })
            }
        }
    }
}

/// A path as it is from any folder; a URI as it is.
fn absolute(place: &str) -> String {
    match Uri::parse(place) {
        Ok(Uri::Local(path)) => absolute_path(&path).display().to_string(),
        _ => place.to_owned(),
    }
}

fn absolute_path(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// Opens the plan of an ingest, or finds it open, and writes nothing else. The inputs are in it by their absolute paths.
///
/// # Errors
/// As of [`ingest`](crate::ingest); [`Error::Unfit`] where the path of an input is no text, which is all a plan holds.
pub fn prepare(
    destination: &str,
    inputs: &[InputFile],
    options: &IngestOptions,
    resources: &Resources,
    progress: &dyn Progress,
) -> Result<IngestSummary> {
    let inputs: Vec<InputFile> = inputs.iter().map(from_anywhere).collect::<Result<_>>()?;
    run(destination, &inputs, options, resources, progress, &Task { shard: None, plan: None })
}

fn from_anywhere(input: &InputFile) -> Result<InputFile> {
    let Some(text) = input.path.to_str() else {
        let message =
            "expected a path that is text (UTF-8), which is all that a plan holds; rename the file";
        let object = input.path.display().to_string();
        return Err(Error::Unfit { object, message: message.to_owned() });
    };
    let path = match Uri::parse(text)? {
        Uri::Local(path) => absolute_path(&path),
        _ => input.path.clone(),
    };
    Ok(InputFile { path, ..input.clone() })
}

/// Executes a shard of a plan, which says itself what it is of and where it goes. The shard that finds all units done
/// commits. Of a plan that is finished nothing is done.
///
/// # Errors
/// As of [`ingest`](crate::ingest); [`Error::Conflict`] where the plan was given up, or where there is none.
pub fn ingest_planned(
    plan: &PlanUri,
    resources: &Resources,
    progress: &dyn Progress,
    shard: Shard,
) -> Result<IngestSummary> {
    let uri = Uri::parse(&plan.experiment)?;
    uri.check_writable()?;
    let store = vacuole_store::open(&uri)?;
    let open = Plan::read(&*store)?;
    let open = open.filter(|open| plan.uuid.as_ref().is_none_or(|uuid| *uuid == open.uuid));
    let Some(open) = open else {
        return match &plan.uuid {
            Some(uuid) => finished(&*store, &plan.experiment, uuid),
            None => Err(Error::Conflict {
                object: plan.to_string(),
                message: "there is no open plan; it is finished, or was never made: give its URI as `vacuole ingest \
                          --prepare` prints it, which says which plan it is"
                    .to_owned(),
            }),
        };
    };
    // What it was made with decides what ids it may have: they are the same.
    let options = IngestOptions { allow_ambiguous_ids: true, ..open.options.clone() };
    let inputs = open.inputs.iter().map(|input| {
        let (path, obs_values) = (PathBuf::from(&input.path), input.obs_values.clone());
        InputFile { path, obs_values }
    });
    let inputs: Vec<InputFile> = inputs.collect();
    let task = Task { shard: Some(shard), plan: Some(&open.uuid) };
    run(&plan.experiment, &inputs, &options, resources, progress, &task)
}

/// What is said of a plan that is not open any more.
pub(crate) fn finished(store: &dyn Store, experiment: &str, uuid: &str) -> Result<IngestSummary> {
    match Plan::finished(store)?.into_iter().find(|plan| plan.uuid == uuid) {
        Some(plan) => {
            let summary = IngestSummary::of(&plan, experiment).finished();
            Ok(IngestSummary { unchanged: true, ..summary })
        }
        None => Err(given_up(store)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_named_by_its_place_and_by_itself() {
        let uuid = "0123456789abcdef0123456789abcdef";
        for (text, experiment, named) in [
            ("s3://lab/a/__vacuole/plan.json".to_owned(), "s3://lab/a", None),
            (format!("/data/a#b/__vacuole/plan.json#{uuid}"), "/data/a#b", Some(uuid)),
        ] {
            let plan: PlanUri = text.parse().unwrap();
            assert_eq!((plan.experiment(), plan.uuid.as_deref()), (experiment, named));
            assert_eq!(plan.to_string(), text);
        }
        for wrong in ["", "atlas", "/__vacuole/plan.json", "a/__vacuole/plan.json#1", "a/plan.json"]
        {
            assert!(wrong.parse::<PlanUri>().is_err(), "{wrong}");
        }
    }
}
