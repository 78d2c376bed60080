//! wip
use crate::error::CliError;
use crate::output::Output;
/// wip
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {}
pub(crate) fn run(_arguments: Arguments, _output: &Output) -> Result<(), CliError> { Ok(()) }
