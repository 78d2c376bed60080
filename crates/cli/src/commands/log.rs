//! `vacuole log`: what was written to an object, and when.

use vacuole_query::Source;
use vacuole_soma::{Change, Event, log};
use vacuole_store::Uri;

use super::NOW;
use crate::error::CliError;
use crate::output::{Output, bytes};

/// List what was written to an experiment, or any SOMA object in one, and when
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  vacuole log atlas
  vacuole log atlas/obs --json

Any of the times can be given to --at of every command that has it. What vacuum has removed is not listed any more.")]
pub(crate) struct Arguments {
    /// An experiment, or any SOMA object in one
    uri: String,
}

pub(crate) fn run(arguments: Arguments, output: &Output) -> Result<(), CliError> {
    let soma = vacuole_soma::Error::from;
    let uri = Uri::parse(&arguments.uri).map_err(soma)?;
    let object = Source::object(vacuole_store::open_to_read(&uri).map_err(soma)?, NOW)?;
    let events = log(&object)?;
    output.result(&events, || events.iter().map(line).collect::<Vec<_>>().join("\n"));
    Ok(())
}

fn line(event: &Event) -> String {
    let until = event.until.map(|until| format!(" to {}", time(until))).unwrap_or_default();
    let object = if event.object.is_empty() { "." } else { &event.object };
    let size = event.bytes.map(|size| format!(", {}", bytes(size))).unwrap_or_default();
    let change = match event.change {
        Change::Schema => "schema",
        Change::Members => "members",
        Change::Metadata => "metadata",
        Change::Fragment => "fragment",
        Change::Joined => "joined",
        Change::Replaced => "replaced",
        Change::Uncommitted => "uncommitted",
        Change::Delete => "delete",
        Change::Commits => "commits",
    };
    // Names are anybody's.
    let detail: String =
        event.detail.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    format!("{}{until}  {object}  {change}  {detail}{size}", time(event.at))
}

/// Milliseconds since 1970 as a time that `--at` takes.
fn time(milliseconds: u64) -> String {
    let (seconds, milliseconds) = (milliseconds / 1_000, milliseconds % 1_000);
    let (days, seconds) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = date(days);
    if year > 9999 {
        return format!("{}{milliseconds:03}", days * 86_400 + seconds);
    }
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milliseconds:03}Z")
}

/// Year, month and day of a count of days since 1970.
fn date(days: u64) -> (u64, u64, u64) {
    // Counted from the first of March of the year 0, a leap day is the last of its year: 400 years have 146,097 days.
    let since = days + 719_468;
    let (era, day) = (since / 146_097, since % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (year, month) = match month < 10 {
        true => (year, month + 3),
        false => (year + 1, month - 9),
    };
    (era * 400 + year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_they_are_read() {
        for (milliseconds, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_709_208_000_123, "2024-02-29T12:00:00.123Z"),
            (951_868_799_999, "2000-02-29T23:59:59.999Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(time(milliseconds), text);
            assert_eq!(vacuole_soma::value_filter::milliseconds(text), Ok(milliseconds));
        }
        assert_eq!(time(u64::MAX), u64::MAX.to_string());
    }
}
