//! Going on without files that cannot be taken.

use std::error::Error as _;

use serde::Serialize;
use vacuole_anndata::CachedSource;
use vacuole_store::Uri;

use crate::describe::describe_one;
use crate::error::{Error, Result};
use crate::in_list::InputFile;
use crate::input::Input;
use crate::inputs::{Limits, together};
use crate::options::{IngestOptions, Resources};
use crate::side_by_side::side_by_side;

/// A file that was left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Skipped {
    /// Its path or URI.
    pub path: String,
    /// What is wrong with it.
    pub problem: String,
}

/// Those of the files that can be taken, each by itself, in their order, and those that cannot: what cannot be read, is no
/// input, or holds what no experiment can. Files that do not fit together are all taken.
///
/// # Errors
/// What is wrong with the files, where none is left.
pub fn leave_out_bad(
    inputs: Vec<InputFile>,
    options: &IngestOptions,
    resources: &Resources,
) -> Result<(Vec<InputFile>, Vec<Skipped>)> {
    let each = CachedSource::memory(CachedSource::LITTLE);
    let limits = Limits::new(resources, each, true);
    let looked = side_by_side(&inputs, limits.at_once, |_, file| {
        describe_one(&Input::find(file)?.open()?, options)
    });
    let count = inputs.len();
    let (mut good, mut skipped, mut errors) = (Vec::new(), Vec::new(), Vec::new());
    for (input, looked) in inputs.into_iter().zip(looked) {
        match looked {
            Ok(()) => good.push(input),
            Err(error) => {
                skipped.push(Skipped { path: name(&input), problem: told(&error) });
                errors.push(error);
            }
        }
    }
    match good.is_empty() && !errors.is_empty() {
        true => Err(together(errors, count)),
        false => Ok((good, skipped)),
    }
}

/// The path, or the URI without what may be secret in it.
fn name(input: &InputFile) -> String {
    let shown = input.path.display().to_string();
    match Uri::parse(&shown) {
        Ok(uri) if uri.as_local().is_none() => uri.to_string(),
        _ => shown,
    }
}

/// The error with its causes, as far as it does not tell them itself.
fn told(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}
