//! All files of an ingest.

use crate::error::{Error, Result};
use crate::in_list::InputFile;
use crate::input::{Input, OpenInput};
use crate::plan::PlannedInput;

/// How many problems a message lists.
const LISTED: usize = 20;

/// The files that become one experiment, in order.
pub(crate) struct Inputs {
    all: Vec<Input>,
}

impl Inputs {
    /// Finds files at paths or URIs.
    ///
    /// # Errors
    /// Those of all files; [`Error::Unfit`] where there is none.
    pub(crate) fn find(files: &[InputFile]) -> Result<Self> {
        if files.is_empty() {
            let message = "expected at least one H5AD file, found none".to_owned();
            return Err(Error::Unfit { object: "the inputs".to_owned(), message });
        }
        Ok(Self { all: each(files.iter(), Input::find)? })
    }

    /// Which files they are. Those on disk are read for it.
    pub(crate) fn planned(&self) -> Result<Vec<PlannedInput>> {
        each(self.all.iter(), |input| {
            Ok(PlannedInput {
                path: input.name().to_owned(),
                fingerprint: input.fingerprint()?,
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
    pub(crate) fn open(&self) -> Result<Vec<OpenInput>> {
        each(self.all.iter(), Input::open)
    }

    /// Fails where one has been replaced since it was found: what was read may be of both.
    pub(crate) fn check_unchanged(&self) -> Result<()> {
        each(self.all.iter(), Input::check_unchanged).map(|_| ())
    }
}

/// Where one of several files cannot be taken, everything that is wrong with any of them; else the error as it is.
pub(crate) fn every_problem(
    error: Error,
    files: &[InputFile],
    look: impl Fn(&OpenInput) -> Result<()>,
) -> Error {
    if files.len() < 2 {
        return error;
    }
    let looked = files.iter().map(|file| look(&Input::find(file)?.open()?));
    let errors: Vec<Error> = looked.filter_map(Result::err).collect();
    match errors.is_empty() {
        true => error,
        false => together(errors, files.len()),
    }
}

/// Does something with each, and tells of all that failed.
fn each<T, U>(all: impl Iterator<Item = T>, run: impl Fn(T) -> Result<U>) -> Result<Vec<U>> {
    let mut done = Vec::new();
    let mut errors = Vec::new();
    let mut count = 0;
    for one in all {
        count += 1;
        match run(one) {
            Ok(one) => done.push(one),
            Err(error) => errors.push(error),
        }
    }
    match errors.is_empty() {
        true => Ok(done),
        false => Err(together(errors, count)),
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
    Error::Unfit { object: format!("{files} files"), message }
}
