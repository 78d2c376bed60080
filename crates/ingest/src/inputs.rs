//! All files of an ingest.

use std::collections::HashMap;
use std::ops::Deref;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::fingerprint::Fingerprint;
use crate::in_list::InputFile;
use crate::input::{Input, OpenInput};
use crate::options::Resources;
use crate::plan::PlannedInput;
use crate::side_by_side::side_by_side;

/// How many problems a message lists.
const LISTED: usize = 20;

/// How many files are asked for at a time that are not read.
const ASKED_AT_ONCE: usize = 16;

/// How many files are read at a time, at the most: more would not come sooner.
const READ_AT_ONCE: usize = 16;

/// How many files are looked at at a time where something is wrong, whatever the memory.
const BAD_AT_ONCE: usize = 4;

/// What describing a file takes at the most, its blocks apart: copies of its metadata and strings, and columns being read.
const DESCRIBED: u64 = 32 << 20;

/// What the program takes besides.
const FIXED: u64 = 96 << 20;

/// The files that become one experiment, in order.
pub(crate) struct Inputs {
    all: Vec<Input>,
    limits: Limits,
}

/// What may be taken while files are described: nothing is written yet, so that it is most of the memory.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    /// How many files are read at a time.
    pub(crate) at_once: usize,
    /// How many bytes of places of ids are kept in memory.
    pub(crate) id_bytes: u64,
    /// Where they are put that do not fit.
    pub(crate) tmpdir: PathBuf,
}

impl Limits {
    /// Those of reading files that take `each` bytes besides what is read, `far` where they are far away.
    pub(crate) fn new(resources: &Resources, each: u64, far: bool) -> Self {
        let free = resources.memory.saturating_sub(FIXED);
        let fit = usize::try_from(free / (DESCRIBED + each)).unwrap_or(READ_AT_ONCE);
        // Files on disk are waited for by the processor, those far away by nobody.
        let most = if far { READ_AT_ONCE } else { rayon::current_num_threads() };
        Self {
            at_once: fit.clamp(1, most.clamp(1, READ_AT_ONCE)),
            id_bytes: free / 4,
            // Not among the files of the experiment, of which there is nothing while files are looked at.
            tmpdir: resources.tmpdir.clone().unwrap_or_else(std::env::temp_dir),
        }
    }
}

/// All files, open.
pub(crate) struct OpenInputs {
    all: Vec<OpenInput>,
    pub(crate) limits: Limits,
}

impl Deref for OpenInputs {
    type Target = [OpenInput];

    fn deref(&self) -> &[OpenInput] {
        &self.all
    }
}

impl Inputs {
    /// Finds files at paths or URIs.
    ///
    /// # Errors
    /// Those of all files; [`Error::Unfit`] where there is none.
    pub(crate) fn find(files: &[InputFile], resources: &Resources) -> Result<Self> {
        if files.is_empty() {
            let message = "expected at least one H5AD file, found none".to_owned();
            return Err(Error::Unfit { object: "the inputs".to_owned(), message });
        }
        let all = each(files, ASKED_AT_ONCE, Input::find)?;
        let memory = all.iter().map(Input::memory).max().unwrap_or(0);
        let found = Self { all, limits: Limits::new(resources, memory, memory > 0) };
        let tmpdir = found.limits.tmpdir.clone();
        Ok(found.with_tmpdir(&tmpdir))
    }

    /// The same, with another folder for the temporary files of text that is put in order.
    pub(crate) fn with_tmpdir(self, tmpdir: &Path) -> Self {
        let all = self.all.into_iter().map(|input| input.with_tmpdir(tmpdir.to_owned()));
        Self { all: all.collect(), limits: self.limits }
    }

    /// Which files they are. Those on disk are read for it, unless they have the path, the size and the time of one of
    /// `known`.
    pub(crate) fn planned(&self, known: &[PlannedInput]) -> Result<Vec<PlannedInput>> {
        let known: HashMap<&str, &Fingerprint> =
            known.iter().map(|input| (&*input.path, &input.fingerprint)).collect();
        each(&self.all, self.limits.at_once, |input| {
            let known = known.get(input.name()).filter(|known| input.seems(known));
            Ok(PlannedInput {
                path: input.name().to_owned(),
                fingerprint: known
                    .map_or_else(|| input.fingerprint(), |known| Ok((*known).clone()))?,
                obs_values: input.obs_values().to_vec(),
            })
        })
    }

    /// Keeps those for which the flag, in their order, says so.
    pub(crate) fn retain(&mut self, wanted: impl IntoIterator<Item = bool>) {
        let mut wanted = wanted.into_iter();
        self.all.retain(|_| wanted.next().unwrap_or(true));
    }

    /// The most memory that reading them takes besides what is read: one is read at a time.
    pub(crate) fn memory(&self) -> u64 {
        self.all.iter().map(Input::memory).max().unwrap_or(0)
    }

    /// Opens them as AnnDatas.
    pub(crate) fn open(&self) -> Result<OpenInputs> {
        let few = self.all.len() <= self.limits.at_once;
        let all = each(&self.all, self.limits.at_once, |input| {
            let open = input.open()?;
            // A few are read on at once; of many, what was read would fill the memory.
            if !few {
                open.rest();
            }
            Ok(open)
        })?;
        Ok(OpenInputs { all, limits: self.limits.clone() })
    }

    /// Fails where one has been replaced since it was found: what was read may be of both.
    pub(crate) fn check_unchanged(&self) -> Result<()> {
        each(&self.all, ASKED_AT_ONCE, Input::check_unchanged).map(|_| ())
    }
}

/// Where one of several files cannot be taken, everything that is wrong with any of them; else the error as it is.
pub(crate) fn every_problem(
    error: Error,
    files: &[InputFile],
    look: impl Fn(&OpenInput) -> Result<()> + Sync,
) -> Error {
    if files.len() < 2 {
        return error;
    }
    let looked = side_by_side(files, BAD_AT_ONCE, |_, file| {
        Input::find(file)?.open().and_then(|file| look(&file))
    });
    let errors: Vec<Error> = looked.into_iter().filter_map(Result::err).collect();
    match errors.is_empty() {
        true => error,
        false => together(errors, files.len()),
    }
}

/// What tells the inputs of a plan from those that were found: the first that is another, expected and found.
pub(crate) fn difference(planned: &[PlannedInput], found: &[PlannedInput]) -> String {
    for (planned, found) in planned.iter().zip(found) {
        let (expected, is) = (&planned.fingerprint, &found.fingerprint);
        if planned.path != found.path && !expected.same_content(is) {
            return format!("expected {}, found {}", planned.path, found.path);
        }
        if !expected.same_content(is) {
            return format!("{}: expected {expected}, found {is}", found.path);
        }
        if planned.obs_values != found.obs_values {
            return format!("{}: the list gives it other values for columns of obs", found.path);
        }
    }
    format!("expected {} files, found {}", planned.len(), found.len())
}

/// Does something with each, with several at a time, and tells of all that failed, in their order.
fn each<T: Sync, U: Send>(
    all: &[T],
    at_once: usize,
    run: impl Fn(&T) -> Result<U> + Sync,
) -> Result<Vec<U>> {
    let mut done = Vec::with_capacity(all.len());
    let mut errors = Vec::new();
    for result in side_by_side(all, at_once, |_, one| run(one)) {
        match result {
            Ok(one) => done.push(one),
            Err(error) => errors.push(error),
        }
    }
    match errors.is_empty() {
        true => Ok(done),
        false => Err(together(errors, all.len())),
    }
}

/// One error of those that several of `files` files have. One alone stays what it is.
pub(crate) fn together(mut errors: Vec<Error>, files: usize) -> Error {
    match errors.len() {
        1 => errors.swap_remove(0),
        _ => problems(errors.iter().map(ToString::to_string).collect(), files),
    }
}

/// One error of all problems of `files` files.
pub(crate) fn problems(problems: Vec<String>, files: usize) -> Error {
    let count = problems.len();
    let more = count.saturating_sub(LISTED);
    let mut message =
        format!("{count} problem{}; nothing was written", if count == 1 { "" } else { "s" });
    for problem in problems.iter().take(LISTED) {
        message.push_str(&format!("\n  {problem}"));
    }
    if more > 0 {
        message.push_str(&format!("\n  and {more} more"));
    }
    message.push_str("\n; correct these files or leave them out");
    let plural = if files == 1 { "" } else { "s" };
    Error::Unfit { object: format!("{files} file{plural}"), message }
}
