//! The datatypes of dimensions, attributes, enumerations and metadata.

use crate::error::{Error, Result};

macro_rules! datatypes {
    ($($name:ident = $code:literal, $size:literal, $text:literal;)*) => {
        /// A stored datatype, by the number that stands for it in schemas (format spec, "datatype").
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[allow(missing_docs, reason = "the variants are TileDB's own names")]
        #[repr(u8)]
        pub enum Datatype { $($name = $code,)* }

        impl Datatype {
            /// Every datatype that is known here.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The datatype of a stored number.
            pub fn from_code(code: u8) -> Result<Self> {
                match code {
                    $($code => Ok(Self::$name),)*
                    _ => Err(Error::unsupported(format!("datatype {code} is not known"))),
                }
            }

            /// The size of one value, in bytes.
            pub fn size(self) -> usize {
                match self { $(Self::$name => $size,)* }
            }

            /// TileDB's name for it.
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

datatypes! {
    Int32 = 0, 4, "INT32";
    Int64 = 1, 8, "INT64";
    Float32 = 2, 4, "FLOAT32";
    Float64 = 3, 8, "FLOAT64";
    Char = 4, 1, "CHAR";
    Int8 = 5, 1, "INT8";
    UInt8 = 6, 1, "UINT8";
    Int16 = 7, 2, "INT16";
    UInt16 = 8, 2, "UINT16";
    UInt32 = 9, 4, "UINT32";
    UInt64 = 10, 8, "UINT64";
    StringAscii = 11, 1, "STRING_ASCII";
    StringUtf8 = 12, 1, "STRING_UTF8";
    StringUtf16 = 13, 2, "STRING_UTF16";
    StringUtf32 = 14, 4, "STRING_UTF32";
    StringUcs2 = 15, 2, "STRING_UCS2";
    StringUcs4 = 16, 4, "STRING_UCS4";
    Any = 17, 1, "ANY";
    DateTimeYear = 18, 8, "DATETIME_YEAR";
    DateTimeMonth = 19, 8, "DATETIME_MONTH";
    DateTimeWeek = 20, 8, "DATETIME_WEEK";
    DateTimeDay = 21, 8, "DATETIME_DAY";
    DateTimeHour = 22, 8, "DATETIME_HR";
    DateTimeMinute = 23, 8, "DATETIME_MIN";
    DateTimeSecond = 24, 8, "DATETIME_SEC";
    DateTimeMillisecond = 25, 8, "DATETIME_MS";
    DateTimeMicrosecond = 26, 8, "DATETIME_US";
    DateTimeNanosecond = 27, 8, "DATETIME_NS";
    DateTimePicosecond = 28, 8, "DATETIME_PS";
    DateTimeFemtosecond = 29, 8, "DATETIME_FS";
    DateTimeAttosecond = 30, 8, "DATETIME_AS";
    TimeHour = 31, 8, "TIME_HR";
    TimeMinute = 32, 8, "TIME_MIN";
    TimeSecond = 33, 8, "TIME_SEC";
    TimeMillisecond = 34, 8, "TIME_MS";
    TimeMicrosecond = 35, 8, "TIME_US";
    TimeNanosecond = 36, 8, "TIME_NS";
    TimePicosecond = 37, 8, "TIME_PS";
    TimeFemtosecond = 38, 8, "TIME_FS";
    TimeAttosecond = 39, 8, "TIME_AS";
    Blob = 40, 1, "BLOB";
    Bool = 41, 1, "BOOL";
    GeomWkb = 42, 1, "GEOM_WKB";
    GeomWkt = 43, 1, "GEOM_WKT";
}

/// How a datatype's bytes are to be taken as numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Numeric {
    /// Two's complement.
    Signed,
    /// Unsigned.
    Unsigned,
    /// IEEE 754.
    Float,
}

impl Datatype {
    /// How its values are numbers: dates and times are signed, characters and bytes unsigned.
    ///
    /// `Char` counts as signed, as C's `char` does where libtiledb is built.
    pub fn numeric(self) -> Numeric {
        use Datatype::*;
        match self {
            Float32 | Float64 => Numeric::Float,
            UInt8 | UInt16 | UInt32 | UInt64 | StringAscii | StringUtf8 | StringUtf16
            | StringUtf32 | StringUcs2 | StringUcs4 | Any | Blob | Bool | GeomWkb | GeomWkt => {
                Numeric::Unsigned
            }
            _ => Numeric::Signed,
        }
    }

    /// Whether it is a datatype of text.
    pub fn is_string(self) -> bool {
        (Self::StringAscii as u8..=Self::StringUcs4 as u8).contains(&(self as u8))
    }

    /// Whether it is a date, a time, or a span of them.
    pub fn is_datetime(self) -> bool {
        (Self::DateTimeYear as u8..=Self::TimeAttosecond as u8).contains(&(self as u8))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_round_trip_and_unknown_ones_are_refused() {
        for &datatype in Datatype::ALL {
            assert_eq!(Datatype::from_code(datatype as u8), Ok(datatype));
        }
        assert!(Datatype::from_code(44).is_err());
    }
}
