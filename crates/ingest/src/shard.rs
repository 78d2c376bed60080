//! Shards: the parts of a plan that several processes write, and how they come to one end.
//!
//! Nobody leads. Whoever is first opens the plan, and the others join it. Each writes its share of the units and then
//! looks which are recorded; who finds all of them commits. Two who find so write the same bytes under the same names.
//! Who is late, with units that others have written too and a plan that is closed, takes away what nobody needs, and is
//! done.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use vacuole_soma::array::{Array, fragment_path};
use vacuole_store::Store;

use crate::error::{Error, Result};
use crate::plan::{Plan, Standing, Unit, UnitRecord};
use crate::units::Units;

/// One of the parts into which the work of a plan is divided, as `2/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    index: u64,
    of: u64,
}

impl Shard {
    /// All of the work.
    pub const WHOLE: Self = Self { index: 1, of: 1 };

    /// The part `index`, from 1, of `of`. `None` where there is no such part.
    pub fn new(index: u64, of: u64) -> Option<Self> {
        (1..=of).contains(&index).then_some(Self { index, of })
    }

    /// Whether it is all of the work.
    pub(crate) fn is_whole(self) -> bool {
        self.of == 1
    }

    /// Which units are its own, by position in the plan.
    ///
    /// Files come one after another, and each shard takes a run of them with its part of all values: so it opens few
    /// files, and few elements are read by two shards.
    pub(crate) fn takes(self, units: &[Unit]) -> Vec<bool> {
        let mut order: Vec<usize> = (0..units.len()).collect();
        order.sort_by_key(|&position| (units[position].input, position));
        // A unit of few values takes its time too.
        let weight = |unit: &Unit| u128::from(unit.values) + 1;
        let total: u128 = units.iter().map(weight).sum();
        let mut takes = vec![false; units.len()];
        let mut before = 0;
        for position in order {
            let weight = weight(&units[position]);
            // The shard in whose part the middle of the unit is.
            let owner = (2 * before + weight) * u128::from(self.of) / (2 * total) + 1;
            takes[position] = owner == u128::from(self.index);
            before += weight;
        }
        takes
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.of)
    }
}

/// Why a text names no shard.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected I/N with I from 1 to N, as 2/8, found '{0}'")]
pub struct NoShard(String);

impl FromStr for Shard {
    type Err = NoShard;

    fn from_str(text: &str) -> Result<Self, NoShard> {
        let numbers = text.split_once('/');
        let shard =
            numbers.and_then(|(index, of)| Self::new(index.parse().ok()?, of.parse().ok()?));
        shard.ok_or_else(|| NoShard(text.to_owned()))
    }
}

/// What a run has done of its share.
#[derive(Debug)]
pub(crate) struct Done {
    /// How many units of the share were done before.
    pub(crate) resumed: usize,
    /// How many this run has written.
    pub(crate) written: usize,
    pub(crate) end: End,
}

/// Where the plan is after a share is written.
#[derive(Debug)]
pub(crate) enum End {
    /// All units are recorded: it can be committed.
    All(Vec<UnitRecord>),
    /// So many are not.
    Remaining(usize),
    /// Another process has finished it meanwhile.
    Finished,
}

/// Writes a share of the units, and says where the plan is then.
///
/// # Errors
/// Those of writing, unless others have finished the plan meanwhile; [`Error::Conflict`] where it was given up.
pub(crate) fn write_share(
    units: &Units<'_>,
    inputs_are_same: impl Fn() -> Result<()>,
) -> Result<Done> {
    let (plan, store) = (units.plan, units.store);
    let mut touched = Vec::new();
    let written = units.write(&mut touched).and_then(|share| inputs_are_same().map(|()| share));
    let standing = match &written {
        Ok(_) => plan.standing(&**store)?,
        // Whatever went wrong, it may be because another has finished, or is about to remove the plan.
        Err(_) => match plan.is_finished(&**store) {
            Ok(true) => Standing::Finished,
            _ => plan.standing(&**store).unwrap_or(Standing::Open),
        },
    };
    if standing != Standing::Open {
        take_back(plan, store, &touched, standing)?;
    }
    match standing {
        Standing::Open => {}
        Standing::Finished => {
            let resumed = written.as_ref().map_or(0, |(_, resumed)| *resumed);
            return Ok(Done { resumed, written: touched.len(), end: End::Finished });
        }
        Standing::Gone => return Err(given_up(&**store)),
    }
    let (mut records, resumed) = written?;
    if records.iter().any(Option::is_none) {
        records = match plan.unit_records(&**store) {
            Ok(records) => records,
            // Another process has taken them away between the listing and the reading.
            Err(_) if plan.is_finished(&**store)? => Vec::new(),
            Err(error) => return Err(error),
        };
    }
    let missing = plan.units.len() - records.iter().flatten().count();
    let end = match missing {
        0 => End::All(records.into_iter().flatten().collect()),
        _ if plan.is_finished(&**store)? => {
            take_back(plan, store, &touched, Standing::Finished)?;
            End::Finished
        }
        missing => End::Remaining(missing),
    };
    Ok(Done { resumed, written: touched.len(), end })
}

/// What a process is told whose plan is not there any more.
pub(crate) fn given_up(store: &dyn Store) -> Error {
    let message = "this ingest was given up by another process (--abort); what was written is removed; begin again";
    Error::Conflict { object: store.display(""), message: message.to_owned() }
}

/// Removes what units written late have left: their records, and fragments that no array has.
fn take_back(
    plan: &Plan,
    store: &Arc<dyn Store>,
    touched: &[usize],
    standing: Standing,
) -> Result<()> {
    plan.remove_records(&**store)?;
    let stamp = plan.stamp();
    for &position in touched {
        let array = &plan.units[position].array;
        let name = stamp.fragment_name(position);
        // What is committed has the bytes that were written again.
        let is_used = standing == Standing::Finished
            && match Array::open(Arc::clone(store), array, u64::MAX) {
                Ok(array) => {
                    array.fragment_names().any(|used| *used == name)
                        || is_joined(&**store, array.path(), &name.to_string())?
                }
                Err(error) if error.kind() == vacuole_soma::ErrorKind::NotFound => false,
                Err(error) => return Err(error.into()),
            };
        if !is_used {
            let folder = fragment_path(array, &name);
            store.remove_folder(&folder)?;
            remove_empty(&**store, &folder)?;
        }
    }
    remove_empty(&**store, &vacuole_soma::private::path("tmp"))
}

/// Whether a fragment has been joined with others and is not removed yet: readers of the past still read it.
fn is_joined(store: &dyn Store, array: &str, fragment: &str) -> Result<bool> {
    let folder = vacuole_store::join(array, "__commits");
    for entry in store.list(&folder)?.iter().filter(|entry| entry.name.ends_with(".vac")) {
        let listed = match store.read(&vacuole_store::join(&folder, &entry.name)) {
            Ok(listed) => listed,
            // Vacuumed since.
            Err(error) if error.kind() == vacuole_store::ErrorKind::NotFound => continue,
            Err(error) => return Err(error.into()),
        };
        if String::from_utf8_lossy(&listed).lines().any(|line| line.ends_with(fragment)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Removes the folders that a folder was in, as far as they are empty. In a bucket there are none.
fn remove_empty(store: &dyn Store, path: &str) -> Result<()> {
    let mut folder = path;
    while let Some((parent, _)) = folder.rsplit_once('/').filter(|_| !store.is_far()) {
        if !store.list(parent)?.is_empty() {
            break;
        }
        store.remove_folder(parent)?;
        folder = parent;
    }
    Ok(())
}

/// The end of a commit that failed, or of one that another process has completed while it was under way: that one may have
/// taken away what this one had not finished.
pub(crate) fn unless_finished<T>(
    plan: &Plan,
    store: &dyn Store,
    done: Result<T>,
    close: impl Fn() -> Result<()>,
) -> Result<Option<T>> {
    let error = match done {
        Ok(done) => return Ok(Some(done)),
        Err(error) => error,
    };
    match plan.is_finished(store) {
        // What the other has not removed yet is removed here.
        Ok(true) if close().is_ok() => Ok(None),
        _ => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn unit(input: usize, values: u64) -> Unit {
        Unit { array: "X".to_owned(), input, rows: 0..1, values }
    }

    proptest! {
        #[test]
        fn every_unit_is_in_one_shard_and_shards_are_alike(
            units in prop::collection::vec((0usize..5, 0u64..1000), 0..60),
            of in 1u64..20,
        ) {
            let units: Vec<Unit> = units.into_iter().map(|(input, values)| unit(input, values)).collect();
            let largest = units.iter().map(|unit| unit.values + 1).max().unwrap_or(0);
            let total: u64 = units.iter().map(|unit| unit.values + 1).sum();
            let mut owners = vec![0; units.len()];
            for index in 1..=of {
                let takes = Shard::new(index, of).unwrap().takes(&units);
                let mine = units.iter().zip(&takes).filter(|(_, takes)| **takes);
                let values: u64 = mine.map(|(unit, _)| unit.values + 1).sum();
                prop_assert!(values <= total / of + largest + 1);
                owners.iter_mut().zip(takes).for_each(|(owner, takes)| *owner += u64::from(takes));
            }
            prop_assert!(owners.iter().all(|owner| *owner == 1));
        }
    }

    #[test]
    fn a_shard_takes_neighbours() {
        let units: Vec<Unit> = (0..8).map(|i| unit(i % 4, 10)).collect();
        let first = Shard::new(1, 4).unwrap().takes(&units);
        let expected: Vec<bool> = (0..8).map(|i| i % 4 == 0).collect();
        assert_eq!(first, expected);
    }

    #[test]
    fn a_shard_is_written_as_two_numbers() {
        assert_eq!("2/8".parse(), Ok(Shard { index: 2, of: 8 }));
        assert_eq!("1/1".parse(), Ok(Shard::WHOLE));
        assert_eq!(Shard::new(2, 8).unwrap().to_string(), "2/8");
        for wrong in ["", "1", "0/2", "3/2", "-1/2", "1/0", "a/b", "1/2/3"] {
            assert!(wrong.parse::<Shard>().unwrap_err().to_string().contains(wrong), "{wrong}");
        }
    }
}
