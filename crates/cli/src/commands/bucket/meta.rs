//! `vacuole bucket meta`: the metadata of an object, as T4 kept it.

use serde_json::Value;
use vacuole_store::transfer::helium_of;

use super::{one_object, user_meta};
use crate::error::CliError;
use crate::output::Output;

/// Show the metadata of an object, or set it anew
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  vacuole bucket meta s3://lab/raw/pbmc.h5ad --json
  vacuole bucket meta s3://lab/raw/pbmc.h5ad --set name=thor --set donor=7
  vacuole bucket meta s3://lab/raw/pbmc.h5ad --set '{\"cells\": 700, \"tissue\": \"blood\"}'")]
pub(super) struct Arguments {
    /// The object
    #[arg(value_name = "S3_URI")]
    uri: String,
    /// The metadata in the place of the user's that there is, as KEY=VALUE or as a dictionary in JSON; any number of times
    #[arg(long, value_name = "KEY=VALUE|JSON")]
    set: Vec<String>,
}

pub(super) fn run(arguments: Arguments, output: &Output) -> Result<(), CliError> {
    let meta = user_meta("--set", &arguments.set)?;
    let (bucket, key) = one_object(&arguments.uri)?;
    let info = match arguments.set.is_empty() {
        true => bucket.info(&key, None)?,
        false => bucket.set_user_meta(&key, meta)?,
    };
    let helium = helium_of(&bucket.display(&key), &info.metadata)?;
    output.result(&helium, || {
        let user_meta = helium.get("user_meta").and_then(Value::as_object);
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let pairs = user_meta.into_iter().flatten();
        let lines: Vec<_> =
            pairs.map(|(name, value)| super::shown(&format!("{name}: {}", text(value)))).collect();
        if lines.is_empty() { "no metadata".to_owned() } else { lines.join("\n") }
    });
    Ok(())
}
