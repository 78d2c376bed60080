//! `vacuole bucket doctor`: what stands in the way of using a bucket.

use serde_json::{Value, json};
use vacuole_store::Uri;
use vacuole_store::doctor::{Check, Outcome, examine};

use crate::error::CliError;
use crate::output::Output;

/// Find out what stands in the way of using a bucket
///
/// Looks at credentials, endpoint, network, clock and rights one after the other, and says for each that is not right
/// what to do. Writes a few objects below PREFIX/__vacuole-doctor-..., and removes them again.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  vacuole bucket doctor s3://lab
  AWS_PROFILE=lab vacuole bucket doctor s3://lab/atlas --read-only --json")]
pub(crate) struct Arguments {
    /// The bucket, with a prefix where only a part of it may be used
    #[arg(value_name = "s3://BUCKET[/PREFIX]")]
    uri: String,
    /// Write nothing: look at reading only
    #[arg(long)]
    read_only: bool,
}

pub(crate) fn run(arguments: Arguments, output: &Output) -> Result<(), CliError> {
    let uri = &arguments.uri;
    let Uri::S3 { bucket, key } = Uri::parse(uri).map_err(vacuole_soma::Error::from)? else {
        return Err(CliError::usage(uri, "expected a bucket, as s3://bucket"));
    };
    let checks = examine(&bucket, &key, arguments.read_only).map_err(vacuole_soma::Error::from)?;
    let mut failed = None;
    let mut rows = Vec::new();
    let mut lines = String::new();
    for Check { name, outcome } in checks {
        let (state, detail, remedy) = match outcome {
            Outcome::Ok(detail) => ("ok", detail, None),
            Outcome::Skipped(why) => ("skipped", why, None),
            Outcome::Failed(error) => {
                let error = CliError::from(vacuole_soma::Error::from(error));
                let told = ("failed", error.message.clone(), Some(error.remedy.clone()));
                failed.get_or_insert(error);
                told
            }
        };
        lines.push_str(&format!("{name:<12} {state:<8} {detail}\n"));
        if let Some(remedy) = &remedy {
            lines.push_str(&format!("{:<21} to do: {remedy}\n", ""));
        }
        rows.push(json!({ "name": name, "state": state, "detail": detail, "remedy": remedy }));
    }
    let ok = failed.is_none();
    let value: Value = json!({ "bucket": bucket, "prefix": key, "ok": ok, "checks": rows });
    output.result(&value, || lines.trim_end().to_owned());
    match failed {
        None => Ok(()),
        Some(error) => Err(error),
    }
}
