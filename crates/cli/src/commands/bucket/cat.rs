//! `vacuole bucket cat`: the bytes of an object.

use std::io::{self, Write};
use std::ops::Range;

use super::one_object;
use crate::error::CliError;
use crate::output::Output;

/// Write an object to stdout, and check it by its checksum
#[derive(Debug, clap::Args)]
#[command(
    disable_version_flag = true,
    after_help = "Examples:
  vacuole bucket cat s3://lab/notes.txt
  vacuole bucket cat s3://lab/table.csv.gz | zcat | head
  vacuole bucket cat s3://lab/pbmc.h5ad --range 0-7 | xxd
  vacuole bucket cat s3://lab/notes.txt --version 3sL4kqtJlcpXroDTDmJ"
)]
pub(super) struct Arguments {
    /// The object
    #[arg(value_name = "S3_URI")]
    uri: String,
    /// The version [default: the newest]
    #[arg(long, value_name = "ID")]
    version: Option<String>,
    /// Only the bytes from A to B, both counted from 0 and included; A- is up to the end. No checksum covers a range
    #[arg(long, value_name = "A-B")]
    range: Option<String>,
}

pub(super) fn run(arguments: Arguments, _: &Output) -> Result<(), CliError> {
    let range = arguments.range.as_deref().map(range).transpose()?;
    let (bucket, key) = one_object(&arguments.uri)?;
    let mut out = Pipe(io::stdout().lock());
    bucket.read_to(&key, arguments.version.as_deref(), range, &mut out)?;
    out.flush().map_err(|error| vacuole_store::Error::io("stdout", "cannot be written", error))?;
    Ok(())
}

fn range(text: &str) -> Result<Range<u64>, CliError> {
    let parsed = text.split_once('-').and_then(|(start, end)| {
        let start: u64 = start.parse().ok()?;
        let end = match end {
            "" => u64::MAX,
            end => end.parse::<u64>().ok()?.checked_add(1)?,
        };
        (start < end).then_some(start..end)
    });
    parsed.ok_or_else(|| {
        CliError::usage(
            "--range",
            format!("expected A-B with A no larger than B, as 0-1023, found '{text}'"),
        )
    })
}

/// Standard output, whose reader may have enough.
struct Pipe(io::StdoutLock<'static>);

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        enough(self.0.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        enough(self.0.flush())
    }
}

/// Ends the program where nobody reads any more.
fn enough<T>(done: io::Result<T>) -> io::Result<T> {
    match done {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_include_their_end() {
        assert_eq!(range("0-0").unwrap(), 0..1);
        assert_eq!(range("5-").unwrap(), 5..u64::MAX);
        for wrong in ["", "-", "5", "-5", "6-5", "a-b", "0-18446744073709551615"] {
            assert!(range(wrong).is_err(), "{wrong}");
        }
    }
}
