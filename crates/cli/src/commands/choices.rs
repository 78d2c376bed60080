//! Options that choose cells and genes, besides filters.

use std::io::Read;
use std::path::{Path, PathBuf};

use vacuole_query::Choice;

use super::experiments_only;
use crate::error::CliError;

/// Which cells and genes are meant, besides filters; all that is given has to hold.
#[derive(Debug, clap::Args)]
pub(crate) struct ChoiceArguments {
    /// The cells with these ids, separated by commas
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    obs_ids: Option<Vec<String>>,
    /// The cells whose ids are in this file, one a line; - is stdin
    #[arg(long, value_name = "FILE", conflicts_with = "obs_ids")]
    obs_ids_file: Option<PathBuf>,
    /// The cells with these join ids, as 1,5,10:20; both ends of a range are meant
    #[arg(long, value_name = "1,5,10:20")]
    obs_join_ids: Option<String>,
    /// The genes with these ids, separated by commas
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    var_ids: Option<Vec<String>>,
    /// The genes whose ids are in this file, one a line; - is stdin
    #[arg(long, value_name = "FILE", conflicts_with = "var_ids")]
    var_ids_file: Option<PathBuf>,
    /// The genes with these join ids, as 1,5,10:20
    #[arg(long, value_name = "1,5,10:20")]
    var_join_ids: Option<String>,
}

impl ChoiceArguments {
    /// The cells that a filter and these options mean.
    pub(crate) fn obs(&self, filter: Option<&str>) -> Result<Choice, CliError> {
        let join_ids = self.obs_join_ids.as_deref();
        choice(
            filter,
            self.obs_ids.as_deref(),
            self.obs_ids_file.as_deref(),
            join_ids,
            "--obs-join-ids",
        )
    }

    /// Which of the options that choose cells is given, if any. Files of ids are not read, as stdin can be only once.
    pub(crate) fn given_of_obs(&self) -> Option<&'static str> {
        given([
            ("--obs-join-ids", self.obs_join_ids.is_some()),
            ("--obs-ids", self.obs_ids.is_some()),
            ("--obs-ids-file", self.obs_ids_file.is_some()),
        ])
    }

    /// The same of genes.
    pub(crate) fn given_of_var(&self) -> Option<&'static str> {
        given([
            ("--var-join-ids", self.var_join_ids.is_some()),
            ("--var-ids", self.var_ids.is_some()),
            ("--var-ids-file", self.var_ids_file.is_some()),
        ])
    }

    /// Refuses join ids where there are none.
    pub(crate) fn without_join_ids(&self) -> Result<(), CliError> {
        experiments_only("--obs-join-ids", self.obs_join_ids.is_some())?;
        experiments_only("--var-join-ids", self.var_join_ids.is_some())
    }

    /// The genes.
    pub(crate) fn var(&self, filter: Option<&str>) -> Result<Choice, CliError> {
        let join_ids = self.var_join_ids.as_deref();
        choice(
            filter,
            self.var_ids.as_deref(),
            self.var_ids_file.as_deref(),
            join_ids,
            "--var-join-ids",
        )
    }
}

/// The first of some options that is given.
pub(crate) fn given<const N: usize>(options: [(&'static str, bool); N]) -> Option<&'static str> {
    options.into_iter().find(|(_, given)| *given).map(|(option, _)| option)
}

fn choice(
    filter: Option<&str>,
    ids: Option<&[String]>,
    file: Option<&Path>,
    join_ids: Option<&str>,
    option: &str,
) -> Result<Choice, CliError> {
    let ids = match (ids, file) {
        (Some(ids), _) => Some(ids.to_vec()),
        (None, Some(path)) => Some(lines(path)?),
        (None, None) => None,
    };
    let join_ids = match join_ids {
        Some(text) => Some(ranges(text).map_err(|message| CliError::usage(option, message))?),
        None => None,
    };
    Ok(Choice { ids, join_ids, ..Choice::of_filter(filter) })
}

/// The lines of a file that are not empty.
fn lines(path: &Path) -> Result<Vec<String>, CliError> {
    let mut text = String::new();
    let read = match path.as_os_str() == "-" {
        true => std::io::stdin().read_to_string(&mut text),
        false => std::fs::File::open(path).and_then(|mut file| file.read_to_string(&mut text)),
    };
    read.map_err(|error| {
        CliError::from(
            vacuole_anndata::Error::io("the ids cannot be read", error).in_file(path.display()),
        )
    })?;
    Ok(text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect())
}

/// Numbers and closed ranges between commas.
fn ranges(text: &str) -> Result<Vec<(i64, i64)>, String> {
    let wrong =
        |part: &str| format!("expected numbers and ranges from 0 on, as 1,5,10:20, found '{part}'");
    let number = |text: &str| text.trim().parse().ok().filter(|number: &i64| *number >= 0);
    let range = |part: &str| {
        let (low, high) = part.split_once(':').unwrap_or((part, part));
        match (number(low), number(high)) {
            (Some(low), Some(high)) if low <= high => Ok((low, high)),
            _ => Err(wrong(part)),
        }
    };
    text.split(',').map(range).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_closed_and_rise() {
        assert_eq!(ranges("1,5,10:20"), Ok(vec![(1, 1), (5, 5), (10, 20)]));
        assert_eq!(ranges(" 3 : 3 "), Ok(vec![(3, 3)]));
        for wrong in ["", "1,", "a", "-1", "5:1", "1:2:3", "1-2", "99999999999999999999"] {
            assert!(ranges(wrong).is_err(), "{wrong}");
        }
    }
}
