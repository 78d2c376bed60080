//! `--at`: the time as of which stored objects are read, or the period of which.

use vacuole_soma::Period;

use crate::error::{CliError, experiments_only};

/// The newest state.
pub const NOW: u64 = u64::MAX;

/// What stands between the ends of a period.
const TO: &str = "..";

/// As of when to read.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct AtArgument {
    /// Read what was there at this time: milliseconds since 1970, or a date or time as 2024-03-01 or 2024-03-01T12:00:00Z;
    /// START..END is what was written within these times, both of them included [default: now]
    #[arg(long, value_name = "TIME", value_parser = parse)]
    at: Option<Period>,
}

impl AtArgument {
    /// The period whose writes count; where one time was given, all until then.
    pub fn time(self) -> Period {
        self.at.unwrap_or(NOW.into())
    }

    /// Refuses a time where there is no history.
    ///
    /// # Errors
    /// A usage error where one was given.
    pub fn experiments_only(self) -> Result<(), CliError> {
        experiments_only("--at", self.at.is_some())
    }
}

fn parse(text: &str) -> Result<Period, String> {
    let Some((start, end)) = text.split_once(TO) else { return Ok(moment(text)?.into()) };
    // Either end can be left out.
    let end_of = |text: &str, open: u64| if text.is_empty() { Ok(open) } else { moment(text) };
    let period = Period { start: end_of(start, 0)?, end: end_of(end, NOW)? };
    if period.start > period.end {
        return Err(format!(
            "expected a start before the end, found {} and {}",
            period.start, period.end
        ));
    }
    Ok(period)
}

fn moment(text: &str) -> Result<u64, String> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty() {
        let time = text.parse();
        return time.map_err(|_| format!("expected at most {} milliseconds", u64::MAX));
    }
    vacuole_soma::value_filter::milliseconds(text)
        .map_err(|reason| format!("expected milliseconds since 1970, or a date or time: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_milliseconds_or_dates() {
        assert_eq!(parse("0"), until(0));
        assert_eq!(parse("1709251200123"), until(1_709_251_200_123));
        assert_eq!(parse("2024-03-01"), until(1_709_251_200_000));
        assert_eq!(parse("2024-03-01T01:00:00.5+01:00"), until(1_709_251_200_500));
        for wrong in ["", "-1", "yesterday", "2024-13-01", "1969-12-31", "99999999999999999999"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn periods_have_two_ends() {
        let between = |start, end| Ok(Period { start, end });
        assert_eq!(parse("5..9"), between(5, 9));
        assert_eq!(parse("5..5"), between(5, 5));
        assert_eq!(
            parse("2024-03-01..2024-03-01T00:00:01Z"),
            between(1_709_251_200_000, 1_709_251_201_000)
        );
        assert_eq!(
            (parse("5.."), parse("..9"), parse("..")),
            (between(5, NOW), until(9), until(NOW))
        );
        for wrong in ["9..5", "5...9", "5..x", "5..6..7", "."] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    fn until(end: u64) -> Result<Period, String> {
        Ok(end.into())
    }
}
