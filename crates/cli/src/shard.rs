//! `--shard`: which part of the work this process does, said by the user or by what has started it.

use std::env::VarError;
use std::str::FromStr;

use vacuole_ingest::Shard;

use crate::error::CliError;

/// What `--shard` may say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ShardArgument {
    /// This one.
    This(Shard),
    /// The one that the job's environment names, of as many as are given or as it has.
    Auto(Option<u64>),
}

impl FromStr for ShardArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some(of) = text.strip_prefix("auto") else {
            return text
                .parse()
                .map(Self::This)
                .map_err(|error: vacuole_ingest::NoShard| format!("{error}; or auto, or auto/8"));
        };
        match of.strip_prefix('/').map(str::parse) {
            None if of.is_empty() => Ok(Self::Auto(None)),
            Some(Ok(of)) if of > 0 => Ok(Self::Auto(Some(of))),
            _ => Err(format!("expected auto/N with N from 1, as auto/8, found '{text}'")),
        }
    }
}

impl ShardArgument {
    /// The shard that is meant.
    pub(crate) fn resolve(self) -> Result<Shard, CliError> {
        let auto = |of| {
            let read = |name: &str| match std::env::var(name) {
                Ok(value) => Some(value),
                Err(VarError::NotPresent) => None,
                Err(VarError::NotUnicode(value)) => Some(value.to_string_lossy().into_owned()),
            };
            of_job(of, read).map_err(|message| CliError::usage("--shard auto", message))
        };
        match self {
            Self::This(shard) => Ok(shard),
            Self::Auto(of) => auto(of),
        }
    }
}

/// The shard of a job of an array, by the variables that Slurm and AWS Batch set.
fn of_job(of: Option<u64>, read: impl Fn(&str) -> Option<String>) -> Result<Shard, String> {
    let number = |name: &str| {
        let value =
            read(name).ok_or_else(|| format!("expected {name} to be set, found it is not"))?;
        let number = value.parse::<u64>();
        number.map_err(|_| format!("expected a number in {name}, found '{value}'"))
    };
    if read("SLURM_ARRAY_TASK_ID").is_some() {
        return of_slurm(of, number);
    }
    if read("AWS_BATCH_JOB_ARRAY_INDEX").is_some() {
        let index = number("AWS_BATCH_JOB_ARRAY_INDEX")?;
        let of = match of {
            Some(of) => of,
            None => number("AWS_BATCH_JOB_ARRAY_SIZE").map_err(|error| {
                format!("{error}; give the size of the array job, as --shard auto/8")
            })?,
        };
        return Shard::new(index.saturating_add(1), of).ok_or_else(|| {
            format!(
                "expected AWS_BATCH_JOB_ARRAY_INDEX from 0 to {}, found {index}; give the size of the array job",
                of.saturating_sub(1)
            )
        });
    }
    Err("expected a job of an array, of Slurm (SLURM_ARRAY_TASK_ID) or AWS Batch (AWS_BATCH_JOB_ARRAY_INDEX), found \
         neither; give the shard itself, as --shard 2/8"
        .to_owned())
}

/// Of `--array=0-7`, `1-8` or `10-80:10` all eight; of others how many shards there are must be given, and tasks count
/// from 1.
fn of_slurm(
    of: Option<u64>,
    number: impl Fn(&str) -> Result<u64, String>,
) -> Result<Shard, String> {
    let id = number("SLURM_ARRAY_TASK_ID")?;
    if let Some(of) = of {
        return Shard::new(id, of).ok_or_else(|| {
            format!(
                "expected SLURM_ARRAY_TASK_ID from 1 to {of}, found {id}; submit the job with --array=1-{of} or some of these"
            )
        });
    }
    let (first, last) = (number("SLURM_ARRAY_TASK_MIN")?, number("SLURM_ARRAY_TASK_MAX")?);
    let (count, step) = (number("SLURM_ARRAY_TASK_COUNT")?, number("SLURM_ARRAY_TASK_STEP")?);
    let steps = |from: u64, to: u64| to.checked_sub(from)?.checked_div(step);
    let is_whole = |from, to| steps(from, to).is_some_and(|steps| to == from + steps * step);
    match steps(first, id) {
        Some(before)
            if steps(first, last).is_some_and(|steps| steps + 1 == count)
                && is_whole(first, last)
                && is_whole(first, id) =>
        {
            Shard::new(before + 1, count)
        }
        _ => None,
    }
    .ok_or_else(|| {
        format!(
            "expected an array of all tasks, as --array=1-8, found task {id} of {count} from {first} to {last} by {step}; \
             for some of the tasks give how many shards there are, as --shard auto/8 with --array=3,7"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(of: Option<u64>, variables: &[(&str, &str)]) -> Result<String, String> {
        let read = |name: &str| {
            let found = variables.iter().find(|(n, _)| *n == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        of_job(of, read).map(|shard| shard.to_string())
    }

    fn slurm(of: Option<u64>, [id, first, last, count, step]: [&str; 5]) -> Result<String, String> {
        job(
            of,
            &[
                ("SLURM_ARRAY_TASK_ID", id),
                ("SLURM_ARRAY_TASK_MIN", first),
                ("SLURM_ARRAY_TASK_MAX", last),
                ("SLURM_ARRAY_TASK_COUNT", count),
                ("SLURM_ARRAY_TASK_STEP", step),
            ],
        )
    }

    #[test]
    fn tasks_of_slurm() {
        let said = |text: &str| Ok(text.to_owned());
        assert_eq!(slurm(None, ["0", "0", "7", "8", "1"]), said("1/8"));
        assert_eq!(slurm(None, ["8", "1", "8", "8", "1"]), said("8/8"));
        assert_eq!(slurm(None, ["30", "10", "80", "8", "10"]), said("3/8"));
        assert_eq!(slurm(Some(8), ["7", "3", "7", "2", "1"]), said("7/8"));
        // Some tasks of an array, and numbers that fit no array.
        for wrong in [
            ["7", "3", "7", "2", "1"],
            ["9", "1", "8", "8", "1"],
            ["0", "1", "8", "8", "1"],
            ["2", "1", "9", "5", "2"],
            ["1", "1", "8", "8", "0"],
        ] {
            assert!(slurm(None, wrong).unwrap_err().contains("auto/8"), "{wrong:?}");
        }
        assert!(slurm(Some(8), ["0", "0", "7", "8", "1"]).unwrap_err().contains("--array=1-8"));
        assert!(slurm(None, ["x", "0", "7", "8", "1"]).unwrap_err().contains("'x'"));
        let error = job(None, &[("SLURM_ARRAY_TASK_ID", "1")]).unwrap_err();
        assert!(error.contains("SLURM_ARRAY_TASK_MIN"), "{error}");
    }

    #[test]
    fn jobs_of_aws_batch() {
        let index = ("AWS_BATCH_JOB_ARRAY_INDEX", "2");
        let size = ("AWS_BATCH_JOB_ARRAY_SIZE", "4");
        assert_eq!(job(None, &[index, size]).as_deref(), Ok("3/4"));
        assert_eq!(job(Some(9), &[index]).as_deref(), Ok("3/9"));
        assert!(job(None, &[index]).unwrap_err().contains("auto/8"));
        assert!(job(Some(2), &[index]).unwrap_err().contains("from 0 to 1"));
        assert!(job(None, &[]).unwrap_err().contains("--shard 2/8"));
    }

    #[test]
    fn what_may_be_said() {
        assert_eq!("auto".parse(), Ok(ShardArgument::Auto(None)));
        assert_eq!("auto/12".parse(), Ok(ShardArgument::Auto(Some(12))));
        assert_eq!("1/1".parse(), Ok(ShardArgument::This(Shard::WHOLE)));
        for wrong in ["", "auto/", "auto/0", "automatic", "0/3", "auto/x"] {
            assert!(wrong.parse::<ShardArgument>().is_err(), "{wrong}");
        }
    }
}
