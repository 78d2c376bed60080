//! Dates and times as ISO 8601 writes them, against counts of a column's unit.

use arrow_schema::TimeUnit;

/// Digits of a fraction of a second that are told apart: attoseconds.
const FIGURES: usize = 18;
const ATTOSECONDS: i128 = 1_000_000_000_000_000_000;

/// What a text must look like, for error messages.
const FORM: &str = "write a date as '2024-03-01' and a time as '2024-03-01T12:00:00'";

/// The counts of `unit` since 1970 that are nearest to a moment from either side; equal where it is a count itself.
///
/// A date is its first moment. Times are UTC, unless they end in another offset.
///
/// # Errors
/// What to write instead of a text that is no date or time.
pub(super) fn nearest(text: &str, unit: TimeUnit) -> Result<(i128, i128), String> {
    let moment = attoseconds(text)?;
    let count = match unit {
        TimeUnit::Second => ATTOSECONDS,
        TimeUnit::Millisecond => ATTOSECONDS / 1_000,
        TimeUnit::Microsecond => ATTOSECONDS / 1_000_000,
        TimeUnit::Nanosecond => ATTOSECONDS / 1_000_000_000,
    };
    let below = moment.div_euclid(count);
    Ok((below, below + i128::from(moment.rem_euclid(count) != 0)))
}

/// The last whole millisecond since 1970 up to a moment, which is written as [`nearest`] takes it.
///
/// # Errors
/// As of [`nearest`]; also for moments before 1970.
pub(super) fn milliseconds(text: &str) -> Result<u64, String> {
    let (below, _) = nearest(text, TimeUnit::Millisecond)?;
    u64::try_from(below).map_err(|_| "the moment is before 1970".to_owned())
}

/// A moment's distance from 1970.
fn attoseconds(text: &str) -> Result<i128, String> {
    let form = || FORM.to_owned();
    let mut rest = Rest(text.as_bytes());
    let year = rest.number(4).ok_or_else(form)?;
    let month = rest.sign(b"-").and_then(|_| rest.number(2)).ok_or_else(form)?;
    let day = rest.sign(b"-").and_then(|_| rest.number(2)).ok_or_else(form)?;
    if !(1..=12).contains(&month) || !(1..=days_in(year, month)).contains(&day) {
        return Err(format!("there is no day {day} in month {month} of the year {year}"));
    }
    let mut seconds = days_since_1970(year, month, day) * 86_400;
    let mut fraction = 0;
    if rest.sign(b"Tt ").is_some() {
        let hour = rest.number(2).ok_or_else(form)?;
        let minute = rest.sign(b":").and_then(|_| rest.number(2)).ok_or_else(form)?;
        let mut second = 0;
        if rest.sign(b":").is_some() {
            second = rest.number(2).ok_or_else(form)?;
            if rest.sign(b".,").is_some() {
                fraction = rest
                    .fraction()
                    .ok_or_else(|| format!("a fraction of a second has one to {FIGURES} digits"))?;
            }
        }
        if hour > 23 || minute > 59 || second > 59 {
            return Err("times go from 00:00:00 to 23:59:59".to_owned());
        }
        seconds += hour * 3_600 + minute * 60 + second;
        seconds -= rest.offset().ok_or_else(form)?;
    }
    if !rest.0.is_empty() {
        return Err(form());
    }
    Ok(i128::from(seconds) * ATTOSECONDS + fraction)
}

/// What has not been read yet.
struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    /// One of some signs.
    fn sign(&mut self, signs: &[u8]) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        signs.contains(first).then(|| {
            self.0 = rest;
            *first
        })
    }

    /// A number of exactly so many digits.
    fn number(&mut self, digits: usize) -> Option<i64> {
        let (number, rest) = self.0.split_at_checked(digits)?;
        let mut value = 0;
        for digit in number {
            value = value * 10 + i64::from(char::from(*digit).to_digit(10)?);
        }
        self.0 = rest;
        Some(value)
    }

    /// The digits behind a point, in attoseconds.
    fn fraction(&mut self) -> Option<i128> {
        let (mut value, mut figures) = (0, 0);
        while let Some(digit) = self.number(1) {
            figures += 1;
            if figures > FIGURES {
                return None;
            }
            value = value * 10 + i128::from(digit);
        }
        let missing = u32::try_from(FIGURES - figures).ok()?;
        (figures > 0).then(|| value * 10i128.pow(missing))
    }

    /// Seconds that a clock is ahead of UTC: `Z`, `+02:00`, or nothing.
    fn offset(&mut self) -> Option<i64> {
        let ahead = match self.sign(b"Zz+-") {
            None | Some(b'Z' | b'z') => return Some(0),
            Some(sign) => sign == b'+',
        };
        let hours = self.number(2)?;
        self.sign(b":");
        let minutes = self.number(2)?;
        let seconds = hours * 3_600 + minutes * 60;
        (hours < 24 && minutes < 60).then_some(if ahead { seconds } else { -seconds })
    }
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 => 28 + i64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days of the Gregorian calendar, also before it was introduced.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let before = year - 1;
    let years = year * 365 + before.div_euclid(4) - before.div_euclid(100) + before.div_euclid(400);
    let months: i64 = (1..month).map(|month| days_in(year, month)).sum();
    // Days from the start of the year 0 by the same count.
    const TO_1970: i64 = 1970 * 365 + 1969 / 4 - 1969 / 100 + 1969 / 400;
    years + months + day - 1 - TO_1970
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(text: &str) -> Result<(i128, i128), String> {
        nearest(text, TimeUnit::Second)
    }

    /// The counts are numpy's, of `datetime64`.
    #[test]
    fn moments() {
        for (text, count) in [
            ("1970-01-01", 0),
            ("1969-12-31T23:59:59", -1),
            ("2024-02-29", 1_709_164_800),
            ("2024-03-01", 1_709_251_200),
            ("2024-03-01T12:34:56", 1_709_296_496),
            ("2024-03-01 12:34", 1_709_296_440),
            ("2024-03-01T12:00:00Z", 1_709_294_400),
            ("2024-03-01T12:00:00+02:00", 1_709_287_200),
            ("2024-03-01T12:00:00-0130", 1_709_299_800),
            ("1900-03-01", -2_203_891_200),
            ("2000-12-31", 978_220_800),
            ("0001-01-01", -62_135_596_800),
            ("0000-01-01", -62_167_219_200),
            ("9999-12-31T23:59:59", 253_402_300_799),
        ] {
            assert_eq!(seconds(text), Ok((count, count)), "{text}");
        }
    }

    #[test]
    fn finer_times_lie_between_counts() {
        let text = "1969-12-31T23:59:59.5";
        assert_eq!(seconds(text), Ok((-1, 0)));
        assert_eq!(nearest(text, TimeUnit::Millisecond), Ok((-500, -500)));
        let text = "1970-01-01T00:00:00.000000001000";
        assert_eq!(nearest(text, TimeUnit::Microsecond), Ok((0, 1)));
        assert_eq!(nearest(text, TimeUnit::Nanosecond), Ok((1, 1)));
        let text = "9999-12-31T23:59:59.999999999999999999";
        let last = 253_402_300_799_999_999_999;
        assert_eq!(nearest(text, TimeUnit::Nanosecond), Ok((last, last + 1)));
    }

    #[test]
    fn refused() {
        for (text, reason) in [
            ("", "write a date"),
            ("2024", "write a date"),
            ("2024-03", "write a date"),
            ("2024-3-1", "write a date"),
            ("24-03-01", "write a date"),
            ("2024-03-01T", "write a date"),
            ("2024-03-01T12", "write a date"),
            ("2024-03-01x", "write a date"),
            ("2024-03-01T12:00:00 ", "write a date"),
            ("2024-03-01T12:00:00+2", "write a date"),
            ("2024-03-01T12:00:00+24:00", "write a date"),
            ("２０24-03-01", "write a date"),
            ("2024-13-01", "no day 1 in month 13"),
            ("2023-02-29", "no day 29 in month 2 of the year 2023"),
            ("2024-04-31", "no day"),
            ("2024-04-00", "no day"),
            ("2024-03-01T24:00", "23:59:59"),
            ("2024-03-01T12:00:60", "23:59:59"),
            ("2024-03-01T12:00:00.", "digits"),
            ("2024-03-01T12:00:00.0000000000000000001", "digits"),
        ] {
            let refused = seconds(text).unwrap_err();
            assert!(refused.contains(reason), "{text}: {refused}");
        }
    }

    #[test]
    fn every_day_follows_the_one_before() {
        let mut expected = days_since_1970(1890, 1, 1);
        for year in 1890..2110 {
            for month in 1..=12 {
                for day in 1..=days_in(year, month) {
                    assert_eq!(days_since_1970(year, month, day), expected);
                    expected += 1;
                }
            }
        }
    }
}
