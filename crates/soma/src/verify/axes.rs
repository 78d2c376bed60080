//! Comparing what lies along `obs` and `var` with them: join ids once each, and no values of others.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;

use super::VerifyReport;
use super::finding::Finding;
use super::id_set::IdSet;
use crate::array::Array;
use crate::error::Result;
use crate::layout::JOIN_ID;
use crate::object::{Object, own_member};
use crate::{Error, SparseReadOptions};

/// What to do about what an ingest has left that is not finished.
const OPEN: &str =
    "run its command again to finish it, or `vacuole ingest --abort` to take it back";

/// How many cells are read at a time.
const AT_A_TIME: u64 = 1 << 18;

/// Which axes the dimensions of the arrays of a collection are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Axis {
    /// None: any array.
    None,
    /// `X`: cells and genes.
    X,
    /// `obsm`: cells.
    Obsm,
    /// `varm`: genes.
    Varm,
    /// `obsp`: cells and cells.
    Obsp,
    /// `varp`: genes and genes.
    Varp,
}

impl Axis {
    /// Those of a collection of a measurement.
    pub(super) fn of_collection(name: &str) -> Self {
        match name {
            "X" => Self::X,
            "obsm" => Self::Obsm,
            "varm" => Self::Varm,
            "obsp" => Self::Obsp,
            "varp" => Self::Varp,
            _ => Self::None,
        }
    }
}

/// The join ids of cells and genes, where they are known.
#[derive(Clone, Debug, Default)]
pub(super) struct Axes {
    obs: Option<Arc<IdSet>>,
    var: Option<Arc<IdSet>>,
}

impl Axes {
    /// With the cells of an experiment.
    pub(super) fn with_obs(&self, experiment: &Object, report: &mut VerifyReport) -> Self {
        Self { obs: ids(experiment, "obs", report), var: None }
    }

    /// With the genes of a measurement.
    pub(super) fn with_var(&self, measurement: &Object, report: &mut VerifyReport) -> Self {
        Self { obs: self.obs.clone(), var: ids(measurement, "var", report) }
    }

    /// Compares an array with its axes; `coordinates` are those of all its fragments.
    pub(super) fn check(
        &self,
        array: &Array,
        axis: Axis,
        coordinates: &[IdSet],
        open_ingest: Option<&str>,
        report: &mut VerifyReport,
    ) {
        let (obs, var) = (("obs", &self.obs), ("var", &self.var));
        let axes: &[(&str, &Option<Arc<IdSet>>)] = match axis {
            Axis::None => return,
            Axis::X => &[obs, var],
            Axis::Obsm => &[obs],
            Axis::Varm => &[var],
            Axis::Obsp => &[obs, obs],
            Axis::Varp => &[var, var],
        };
        if !array.is_sparse() {
            return;
        }
        let known: Vec<(usize, &str, &IdSet)> = axes
            .iter()
            .enumerate()
            .filter_map(|(index, (name, ids))| Some((index, *name, ids.as_deref()?)))
            .collect();
        let unknown = |(index, _, ids): &(usize, &str, &IdSet)| {
            coordinates.get(*index).is_some_and(|set| set.missing_in(ids).0 > 0)
        };
        // Cells that were deleted, or written over, are in fragments all the same.
        let read;
        let mut coordinates = coordinates;
        if !array.deletes().is_empty() || known.iter().any(unknown) {
            read = match coordinates_read(array) {
                Ok(read) => read,
                Err(error) => return report.error(array.display(), error),
            };
            coordinates = &read;
        }
        let none = IdSet::default();
        for (index, name, ids) in known {
            // An array without fragments has no coordinates.
            let set = coordinates.get(index).unwrap_or(&none);
            let dimension = array.schema().dimensions.get(index).map(|d| d.name.clone());
            let (count, first) = set.missing_in(ids);
            if let Some(first) = first {
                if let Some(uuid) = open_ingest
                    && array.fragment_names().any(|fragment| fragment.uuid.contains(uuid))
                {
                    let message = format!(
                        "{count} join ids that {name} has not have values, the first {first}: the ingest that is open has written them"
                    );
                    report.notes.push(Finding::new(array.display(), message).remedy(OPEN));
                    continue;
                }
                let message = format!(
                    "expected values of the join ids of {name} only, found values of {count} others, the first {first}"
                );
                let remedy = format!(
                    "write the rows that {name} lacks, or delete these values: queries never find them"
                );
                let finding = Finding::new(array.display(), message).remedy(remedy);
                report.fault(finding.field(dimension.unwrap_or_default()));
            }
            let (count, first) = ids.missing_in(set);
            if let (Axis::X, 0, Some(first)) = (axis, index, first) {
                let message = format!(
                    "{count} of {} rows of {name} have no value here, the first that of join id {first}",
                    ids.len()
                );
                let remedy =
                    "nothing, if these cells have no counts, or are of other files than this layer";
                report.notes.push(Finding::new(array.display(), message).remedy(remedy));
            }
        }
    }
}

/// The join ids of a data frame, told where one is there twice. `None` where they cannot be read, which is told.
fn ids(parent: &Object, name: &str, report: &mut VerifyReport) -> Option<Arc<IdSet>> {
    let array =
        match own_member(parent, name).and_then(|member| member.map(|m| m.array()).transpose()) {
            Ok(array) => array?,
            // What is wrong for good is told elsewhere too; what was wrong on its way only now is told here alone.
            Err(error) => {
                report.error(parent.display(), error);
                return None;
            }
        };
    if !array.is_sparse() || array.arrow_schema().field_with_name(JOIN_ID).is_err() {
        return None;
    }
    let mut ids = IdSet::default();
    let (mut again, mut twice) = (0, None);
    let mut read = || -> Result<()> {
        let options = SparseReadOptions::columns(&[JOIN_ID]).at_a_time(AT_A_TIME);
        for batch in array.read_sparse(&options)? {
            let batch = batch?;
            let Some(column) = batch.column(0).as_primitive_opt::<Int64Type>() else {
                let message = format!("expected {JOIN_ID} of int64, found another type");
                return Err(Error::corrupt(array.display(), message));
            };
            let (more, first) = ids.extend(column.values());
            again += more;
            twice = twice.or(first);
        }
        Ok(())
    };
    if let Err(error) = read() {
        report.error(array.display(), error);
        return None;
    }
    if let Some(twice) = twice {
        let message = format!(
            "expected each join id once, found {again} rows with one that another row has, the first {twice}"
        );
        let remedy = "delete or renumber these rows: values cannot be told apart by cell";
        report.fault(Finding::new(array.display(), message).field(JOIN_ID).remedy(remedy));
    }
    if let Some((low, high)) = ids.bounds().filter(|(low, _)| *low < 0) {
        let message = format!("expected join ids from 0 on, found {low} to {high}");
        report.fault(Finding::new(array.display(), message).field(JOIN_ID));
    }
    Some(Arc::new(ids))
}

/// The coordinates of the cells that readers see, by dimension.
fn coordinates_read(array: &Array) -> Result<Vec<IdSet>> {
    let names: Vec<&str> = array.schema().dimensions.iter().map(|d| d.name.as_str()).collect();
    let mut found = vec![IdSet::default(); names.len()];
    for batch in array.read_sparse(&SparseReadOptions::columns(&names).at_a_time(AT_A_TIME))? {
        for (set, column) in found.iter_mut().zip(batch?.columns()) {
            if let Some(column) = column.as_primitive_opt::<Int64Type>() {
                set.extend(column.values());
            }
        }
    }
    Ok(found)
}
