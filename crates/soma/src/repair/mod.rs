//! Repairing what can be repaired without guessing.
//!
//! What an ingest wrote is put back from its copies, if the digest says that the copy is the file; what nobody ever
//! committed is dropped; what can be counted again is counted again. Everything else is left as it is, and told. Files appear
//! whole and under the names they had, and only what no reader sees is removed, so that readers may go on meanwhile, and
//! a repair that was killed is begun again.

mod arrays;
mod digests;
mod fragment_metadata;
mod rehearsal;

use std::sync::Arc;

use serde::Serialize;
use vacuole_store::{PRIVATE_FOLDER, Store};

use crate::error::{Error, ErrorKind, Result};
use crate::object::{Object, own_members};
use crate::verify::{Finding, documents, verify};
use crate::{private, summary};

use self::rehearsal::Rehearsal;

/// How often files are put back that groups name which were put back before: once for each level of groups.
const DEEPEST: usize = 16;

/// How to repair.
#[derive(Clone, Copy, Debug)]
pub struct RepairOptions {
    /// Whether to say only what would be done.
    pub dry_run: bool,
    /// Now, in milliseconds since 1970.
    pub now: u64,
    /// How old what was not committed must be before it is dropped, in milliseconds: younger writes may go on.
    pub older_than: u64,
    /// Whether fragments are dropped too that are whole, so that their commits may be lost.
    pub drop_uncommitted: bool,
}

/// One thing that was repaired, or would be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Repaired {
    /// The file or folder.
    pub object: String,
    /// What was done to it.
    pub what: String,
}

/// What a repair did.
#[derive(Clone, Debug, Default, Serialize)]
pub struct RepairReport {
    /// What was repaired.
    pub repaired: Vec<Repaired>,
    /// What is wrong after that, each with what to do.
    pub left: Vec<Finding>,
    /// What is legal, and worth knowing, after that.
    pub notes: Vec<Finding>,
}

impl RepairReport {
    fn add(&mut self, object: impl Into<String>, what: impl Into<String>) {
        self.repaired.push(Repaired { object: object.into(), what: what.into() });
    }
}

/// The ingest that is not finished.
#[derive(Debug)]
enum OpenIngest {
    None,
    /// The one of this name.
    One(String),
    /// There is a plan, which cannot be read.
    Unknown,
}

impl OpenIngest {
    /// That of the experiment at the root of a store, or that this is a part of.
    ///
    /// # Errors
    /// Those of requests: what cannot be reached may be there.
    fn find(store: &dyn Store) -> Result<Self> {
        match documents::open_ingest(store, "") {
            Ok(None) => Ok(Self::None),
            Ok(Some(uuid)) => Ok(Self::One(uuid)),
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::Corrupt | ErrorKind::Checksum | ErrorKind::Unsupported
                ) =>
            {
                Ok(Self::Unknown)
            }
            Err(error) => Err(error),
        }
    }

    /// Whether an ingest of this name may be it: those that are finished have left their records.
    fn may_be(&self, store: &dyn Store, uuid: &str) -> Result<bool> {
        Ok(match self {
            Self::None => false,
            Self::One(open) => open == uuid,
            Self::Unknown => {
                let record = private::path(&format!("{}/{uuid}.json", private::INGESTS));
                store.size(&record)?.is_none()
            }
        })
    }

    /// What the names of all that it has written have in them.
    fn part_of_names(&self) -> Option<&str> {
        match self {
            Self::None => None,
            Self::One(uuid) => Some(uuid),
            Self::Unknown => Some(""),
        }
    }
}

/// Repairs the object at the root of a store, and all that is in it.
///
/// # Errors
/// Those of listing, reading and writing; what was done until then is done, and the next call goes on.
pub fn repair(store: &Arc<dyn Store>, options: &RepairOptions) -> Result<RepairReport> {
    let store: Arc<dyn Store> = match options.dry_run {
        true => Arc::new(Rehearsal::new(Arc::clone(store))),
        false => Arc::clone(store),
    };
    let mut report = RepairReport::default();
    let open = OpenIngest::find(&*store)?;
    for _ in 0..DEEPEST {
        if !digests::put_back(&*store, &open, &mut report)? {
            break;
        }
    }
    let root = Object::open(Arc::clone(&store), "", u64::MAX)?;
    let mut work = arrays::Work {
        store: &*store,
        options,
        open_ingest: open.part_of_names(),
        report: &mut report,
    };
    walk(&root, 0, &mut work)?;
    remove_temporary(&*store, &mut report)?;
    count_again(&store, &mut report)?;
    store.flush()?;
    let root = Object::open(Arc::clone(&store), "", u64::MAX)?;
    let after = verify(&root)?;
    report.left = after.faults;
    report.notes = after.notes;
    Ok(report)
}

fn walk(object: &Object, depth: usize, work: &mut arrays::Work<'_>) -> Result<()> {
    if object.check_depth(depth).is_err() {
        // It is told by the check that comes last.
        return Ok(());
    }
    if !object.is_group() {
        return work.array(object.path());
    }
    // What cannot be opened is told by the check that comes last.
    let members = own_members(object).unwrap_or_default();
    members.iter().try_for_each(|member| walk(member, depth + 1, work))
}

/// Removes what killed writers have left among the temporary files; those of others are locked.
fn remove_temporary(store: &dyn Store, report: &mut RepairReport) -> Result<()> {
    if store.is_far() {
        // In a bucket nothing tells whose an unfinished upload is; that of a dropped fragment went with it.
        return Ok(());
    }
    let count = store.remove_unfinished("", "")?;
    if count > 0 {
        let what = format!("removed {count} temporary files that killed programs have left");
        report.add(store.display(PRIVATE_FOLDER), what);
    }
    Ok(())
}

/// Counts again what is kept of counts, where that cannot be read or is wrong.
fn count_again(store: &Arc<dyn Store>, report: &mut RepairReport) -> Result<()> {
    let path = private::path(summary::SUMMARY);
    if store.size(&path)?.is_none() || documents::summary_faults(store, "").is_empty() {
        return Ok(());
    }
    store.remove(&path)?;
    let counted = summary::keep(store);
    match counted {
        Ok(_) => report.add(store.display(&path), "counted again"),
        // Then there is none, which is no fault: it is counted when it is asked for.
        Err(error) => {
            report.add(store.display(&path), format!("removed; not counted again: {error}"))
        }
    }
    Ok(())
}

/// Opens the store at a URI to repair what is there.
///
/// # Errors
/// [`Unsupported`](crate::ErrorKind::Unsupported) or [`InvalidInput`](crate::ErrorKind::InvalidInput) where it cannot be written to, and those of the URI.
pub fn store_to_repair(uri: &str) -> Result<Arc<dyn Store>> {
    let uri = vacuole_store::Uri::parse(uri)?;
    uri.check_writable().map_err(Error::from)?;
    Ok(vacuole_store::open(&uri)?)
}
