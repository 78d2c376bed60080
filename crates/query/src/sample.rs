//! Some of the cells, drawn without replacement.
//!
//! Each cell has a number that its join id (in a file its position) and the seed decide, their XXH3; the cells with the lowest
//! ones are drawn. So the same seed draws the same cells, a larger sample holds a smaller one of the same strata, and
//! cells that are appended leave most of a sample as it was.

use arrow_array::cast::AsArray;
use arrow_array::{Array as _, ArrayRef};
use serde::Serialize;
use serde_json::Value;
use vacuole_soma::anndata_record::AnnDataRecord;
use vacuole_soma::{Error as SomaError, ErrorKind};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::axis::AxisSelection;
use crate::choice::Choice;
use crate::column::IdColumn;
use crate::error::Result;
use crate::experiment::Experiment;
use crate::slice::ids_of;
use crate::stats::{Groups, NONE, groups_of};

/// What is drawn.
#[derive(Clone, Debug, Default)]
pub struct SampleOptions {
    /// How many cells.
    pub n: u64,
    /// A column of `obs`: of each of its values as large a share is drawn.
    pub stratify: Option<String>,
    /// Which of the possible samples.
    pub seed: u64,
    /// The cells that are drawn from.
    pub obs: Choice,
    /// The measurement whose record says which column holds the ids.
    pub measurement: Option<String>,
    /// The column of `obs` that holds the ids; by default the one that the ingest made of them.
    pub obs_id_name: Option<String>,
}

/// The cells with one value.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Stratum {
    /// The value; null for cells without one.
    pub value: Value,
    /// How many cells have it.
    pub cells: u64,
    /// How many of them are drawn.
    pub drawn: u64,
}

/// Cells that were drawn.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Sample {
    /// How many cells there were to draw from.
    pub of: u64,
    /// Their join ids, rising; in a file their positions.
    pub join_ids: Vec<i64>,
    /// Their ids.
    pub obs_ids: Vec<String>,
    /// Where the sample is stratified, how many were drawn of each value: ordered categories in their order, others as they
    /// sort, at last those without one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub strata: Vec<Stratum>,
    /// Values of the filter that are no categories, and why nothing was found.
    pub filter_notes: Vec<String>,
}

impl Sample {
    /// The cells, as they are chosen of the experiment or the file that they were drawn of.
    pub fn choice(&self) -> Choice {
        Choice::of_join_ids(&self.join_ids)
    }
}

/// Draws cells of an experiment.
///
/// With strata, of each as many are drawn as its share of `n` is, rounded down, and one more of those whose shares lost
/// most by that, in their order where they lost as much, until there are `n`.
///
/// # Errors
/// [`InvalidInput`](ErrorKind::InvalidInput) where there are fewer cells than `n`; those of filters, of the column, and of
/// reading.
pub fn sample(experiment: &Experiment, options: &SampleOptions) -> Result<Sample> {
    let object = experiment.obs()?;
    let name = experiment.measurement_name(options.measurement.as_deref());
    let known = match name {
        Ok(name) => AnnDataRecord::find(&**experiment.object().store(), &name)?,
        // Whichever measurement it is, the cells are the same.
        Err(_) => None,
    };
    let id_column = IdColumn {
        asked: options.obs_id_name.as_deref(),
        recorded: known.as_ref().and_then(|(record, _)| record.id_column(object.path())),
        usual: "obs_id",
    };
    let candidates = id_column.candidates(&object);
    let obs = AxisSelection::choose(object.array()?, &options.obs, &candidates)?;
    let groups = options.stratify.as_deref().map(|column| groups_of(&obs, column)).transpose()?;
    let (places, strata) = draw(obs.join_ids(), groups.as_ref(), options)
        .map_err(|message| SomaError::new(ErrorKind::InvalidInput, object.display(), message))?;
    let join_ids: Vec<i64> =
        places.iter().filter_map(|&place| obs.join_ids().get(place).copied()).collect();
    let (of, filter_notes) = (obs.len() as u64, obs.notes().to_vec());
    let ids = ids_of(&obs.only(&join_ids), &object, &id_column)?;
    Ok(Sample { of, join_ids, obs_ids: texts(&ids), strata, filter_notes })
}

pub(crate) fn texts(ids: &ArrayRef) -> Vec<String> {
    let ids = ids.as_string::<i64>();
    (0..ids.len()).map(|place| ids.value(place).to_owned()).collect()
}

/// The places of the cells that are drawn, rising, and the strata; or what is wrong.
pub(crate) fn draw(
    numbers: &[i64],
    groups: Option<&Groups>,
    options: &SampleOptions,
) -> Result<(Vec<usize>, Vec<Stratum>), String> {
    let cells = numbers.len() as u64;
    if options.n > cells {
        return Err(format!(
            "expected at least {} cells to draw from, found {cells}; draw fewer, or choose more",
            options.n
        ));
    }
    let count = groups.map_or(0, |groups| groups.values.len());
    // The last stratum is that of cells without a value.
    let mut members: Vec<Vec<(u64, usize)>> = vec![Vec::new(); count + 1];
    for (place, number) in numbers.iter().enumerate() {
        let group = groups.and_then(|groups| groups.of.get(place).copied()).unwrap_or(NONE);
        let drawn = xxh3_64_with_seed(&number.to_le_bytes(), options.seed);
        members[(group as usize).min(count)].push((drawn, place));
    }
    let sizes: Vec<u64> = members.iter().map(|members| members.len() as u64).collect();
    let shares = shares(&sizes, options.n);
    let mut places = Vec::with_capacity(options.n as usize);
    for (members, &share) in members.iter_mut().zip(&shares) {
        let share = share as usize;
        if share < members.len() {
            members.select_nth_unstable(share);
        }
        places.extend(members.iter().take(share).map(|(_, place)| *place));
    }
    places.sort_unstable();
    let strata = match groups {
        None => Vec::new(),
        Some(groups) => {
            let values = groups.values.iter().cloned().chain([Value::Null]);
            let strata = values.zip(sizes).zip(shares);
            let strata = strata.map(|((value, cells), drawn)| Stratum { value, cells, drawn });
            strata.filter(|stratum| stratum.cells > 0).collect()
        }
    };
    Ok((places, strata))
}

/// How many of `n` fall to each of these sizes, whose sum is at least `n`, by their share and the largest remainders.
fn shares(sizes: &[u64], n: u64) -> Vec<u64> {
    let all = sizes.iter().map(|&size| u128::from(size)).sum::<u128>().max(1);
    let exact = |size: u64| u128::from(size) * u128::from(n);
    let mut shares: Vec<u64> = sizes.iter().map(|&size| (exact(size) / all) as u64).collect();
    let mut order: Vec<usize> = (0..sizes.len()).collect();
    order.sort_by_key(|&place| std::cmp::Reverse(exact(sizes[place]) % all));
    let rest = n - shares.iter().sum::<u64>();
    for place in order.into_iter().take(rest as usize) {
        shares[place] += 1;
    }
    shares
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn remainders_decide() {
        assert_eq!(shares(&[50, 30, 20], 10), [5, 3, 2]);
        assert_eq!(shares(&[1, 1, 1], 2), [1, 1, 0]);
        assert_eq!(shares(&[10, 6, 5], 4), [2, 1, 1]);
        assert_eq!(shares(&[], 0), Vec::<u64>::new());
        assert_eq!(shares(&[0, 0], 0), [0, 0]);
        assert_eq!(shares(&[u64::MAX / 2, u64::MAX / 2], 3), [2, 1]);
    }

    proptest! {
        #[test]
        fn shares_add_up_and_are_there(
            sizes in proptest::collection::vec(0u64..1000, 1..20), part in 0.0f64..=1.0,
        ) {
            let all: u64 = sizes.iter().sum();
            let n = (all as f64 * part) as u64;
            let found = shares(&sizes, n);
            prop_assert_eq!(found.iter().sum::<u64>(), n);
            for (&share, &size) in found.iter().zip(&sizes) {
                prop_assert!(share <= size);
                prop_assert!((share as f64 - n as f64 * size as f64 / all.max(1) as f64).abs() < 1.0);
            }
        }

        #[test]
        fn a_larger_sample_holds_a_smaller_one(seed in any::<u64>(), a in 0u64..50, b in 0u64..50) {
            let numbers: Vec<i64> = (0..100).map(|i| i * 7).collect();
            let draw = |n| {
                let options = SampleOptions { n, seed, ..SampleOptions::default() };
                draw(&numbers, None, &options).unwrap().0
            };
            let (few, many) = (draw(a), draw(a + b));
            prop_assert_eq!(few.len() as u64, a);
            prop_assert!(many.is_sorted_by(|x, y| x < y));
            prop_assert!(few.iter().all(|place| many.contains(place)));
        }
    }
}
