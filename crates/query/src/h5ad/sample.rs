//! Cells that are drawn of a file.

use vacuole_anndata::{Chosen, Error as AnnDataError, H5ad};

use super::filter;
use super::stats::groups_of;
use crate::error::Result;
use crate::sample::{Sample, SampleOptions, draw, texts};

/// Draws cells of a file. The options that name a measurement and a column of ids are not
/// looked at.
///
/// # Errors
/// As of [`sample`](crate::sample).
pub fn sample_file(file: &H5ad, options: &SampleOptions) -> Result<Sample> {
    let found = filter::choose(file.obs(), "obs_id", &options.obs)?;
    let (obs, filter_notes) = (found.rows, found.notes);
    let positions: Vec<i64> = obs.positions().map(|position| position as i64).collect();
    let column = options.stratify.as_deref();
    let groups = column.map(|column| groups_of(file, &obs, column)).transpose()?;
    let (places, strata) = draw(&positions, groups.as_ref(), options)
        .map_err(|message| file.locate(AnnDataError::invalid(message), "obs"))?;
    let join_ids: Vec<i64> =
        places.iter().filter_map(|&place| positions.get(place).copied()).collect();
    let mut drawn = Chosen::default();
    join_ids.iter().for_each(|&position| drawn.push(position as u64..position as u64 + 1));
    let obs_ids = texts(&file.obs().index_of(&drawn)?);
    Ok(Sample { of: obs.len(), join_ids, obs_ids, strata, filter_notes })
}
