//! Writes Matrix Market folders as Cell Ranger does: `matrix.mtx.gz`, `features.tsv.gz`, `barcodes.tsv.gz`.
//!
//! Text is compressed in pieces on all threads, each a gzip member of its own, which every reader takes for one text.
//! The number of entries stands at the beginning and is known at the end: the first member is not compressed, its
//! lines are filled up with blanks to a length that does not change, and it is written again.

use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type,
    UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;
use libdeflater::{CompressionLvl, Compressor};
use rayon::prelude::*;

use super::header::BANNER;
use crate::write::TemporaryFolder;
use crate::{Error, Result};

const MATRIX: &str = "matrix.mtx.gz";
const FEATURES: &str = "features.tsv.gz";
const BARCODES: &str = "barcodes.tsv.gz";

/// How many lines are compressed together.
const LINES: usize = 1 << 16;

/// Numbers differ little from line to line: more effort costs more than it saves.
const LEVEL: i32 = 1;

/// The length of the first lines, for the largest numbers.
const HEADER: usize = 192;

/// What a feature is called in the three columns of its file.
#[derive(Clone, Copy, Debug)]
pub struct Features<'a> {
    /// Ids, as strings (`LargeUtf8`).
    pub ids: &'a ArrayRef,
    /// Names, as strings.
    pub names: &'a ArrayRef,
    /// What each is, as strings; all are `Gene Expression` where there are none.
    pub types: Option<&'a ArrayRef>,
}

/// Which positions a part of the matrix is cut by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Major {
    /// Cells, as rows of CSR.
    Cells,
    /// Features, as columns of CSC.
    Features,
}

/// Writes a folder, which appears when it is complete.
///
/// Entries are written in the order in which they come; of CSR that is Cell Ranger's.
pub struct MtxWriter {
    folder: TemporaryFolder,
    name: String,
    file: File,
    is_real: bool,
    cells: u64,
    features: u64,
    major: Major,
    /// The position of the next row or column.
    next: u64,
    entries: u64,
}

impl MtxWriter {
    /// Begins a folder of that name for a matrix of so many cells and features, whose values are of `data_type`.
    ///
    /// # Errors
    /// `InvalidInput` where there is something of that name, but for an empty folder, or values are no numbers; `Io`.
    pub fn create(
        target: &Path,
        (cells, features): (u64, u64),
        data_type: &DataType,
        major: Major,
    ) -> Result<Self> {
        let name = target.display().to_string();
        if !(data_type.is_numeric() || *data_type == DataType::Boolean) {
            let what = format!("expected numbers for a Matrix Market file, found {data_type}");
            return Err(Error::invalid(what).in_file(name));
        }
        let folder = TemporaryFolder::beside(target)?;
        let file = create(&folder, MATRIX).map_err(|error| error.in_file(&name))?;
        let is_real = data_type.is_floating();
        let mut writer =
            Self { folder, name, file, is_real, cells, features, major, next: 0, entries: 0 };
        writer.header()?;
        Ok(writer)
    }

    /// Writes the first lines, at the beginning.
    fn header(&mut self) -> Result<()> {
        let field = if self.is_real { "real" } else { "integer" };
        let first = format!("{BANNER} matrix coordinate {field} general\n");
        let counts = format!("{} {} {}\n", self.features, self.cells, self.entries);
        let blanks = HEADER - first.len() - counts.len() - 2;
        let text = format!("{first}%{}\n{counts}", " ".repeat(blanks));
        let member = compressed(text.as_bytes(), 0);
        let written = member.and_then(|member| {
            self.file.seek(SeekFrom::Start(0))?;
            self.file.write_all(&member)?;
            self.file.seek(SeekFrom::End(0))
        });
        written.map(|_| ()).map_err(|error| self.failed(MATRIX, error))
    }

    /// Adds cells, or features: the number of values stored in each, their positions on the other axis, from 0, and
    /// the values.
    ///
    /// # Errors
    /// `InvalidInput` where they do not fit together; `Io`.
    pub fn append(
        &mut self,
        lengths: impl IntoIterator<Item = u64>,
        positions: &[u32],
        values: &dyn Array,
    ) -> Result<()> {
        let mut majors: Vec<u32> = Vec::with_capacity(positions.len());
        for length in lengths {
            self.next += 1;
            let major = u32::try_from(self.next).map_err(|_| {
                Error::invalid("2^32 cells or features are the most").in_file(&self.name)
            })?;
            majors.resize(majors.len() + usize::try_from(length).unwrap_or(usize::MAX), major);
        }
        if (majors.len(), values.len()) != (positions.len(), positions.len()) {
            let what = format!(
                "the lengths add up to {}, with {} positions and {} values",
                majors.len(),
                positions.len(),
                values.len()
            );
            return Err(Error::invalid(what).in_file(&self.name));
        }
        self.entries += positions.len() as u64;
        let pieces = (0..positions.len().div_ceil(LINES)).into_par_iter().map(|piece| {
            let start = piece * LINES;
            let end = positions.len().min(start + LINES);
            let places = majors[start..end].iter().zip(&positions[start..end]);
            let places = places.map(|(&major, &minor)| match self.major {
                Major::Cells => (u64::from(minor) + 1, u64::from(major)),
                Major::Features => (u64::from(major), u64::from(minor) + 1),
            });
            compressed(&lines(places, values.slice(start, end - start).as_ref())?, LEVEL)
        });
        let pieces: std::io::Result<Vec<Vec<u8>>> = pieces.collect();
        let written = pieces
            .and_then(|pieces| pieces.iter().try_for_each(|piece| self.file.write_all(piece)));
        written.map_err(|error| self.failed(MATRIX, error))
    }

    /// Writes the names of the features and the barcodes, and gives the folder its name.
    ///
    /// # Errors
    /// `InvalidInput` where cells or features are missing, or a name holds a tab or an end of line; `Io`.
    pub fn finish(mut self, features: Features<'_>, barcodes: &ArrayRef) -> Result<()> {
        let expected = match self.major {
            Major::Cells => self.cells,
            Major::Features => self.features,
        };
        if self.next != expected {
            let what = format!("expected {expected} rows or columns, got {}", self.next);
            return Err(Error::invalid(what).in_file(&self.name));
        }
        self.header()?;
        let sync = self.file.sync_all();
        sync.map_err(|error| self.failed(MATRIX, error))?;
        let Features { ids, names, types } = features;
        let mut columns = vec![ids, names];
        columns.extend(types);
        let fallback = if types.is_none() { "\tGene Expression" } else { "" };
        self.names(FEATURES, &columns, fallback)?;
        self.names(BARCODES, &[barcodes], "")?;
        self.folder.persist()
    }

    /// A file of lines, with tabs between the columns.
    fn names(&self, file: &str, columns: &[&ArrayRef], last: &str) -> Result<()> {
        let located = |error: Error| error.in_element(file).in_file(&self.name);
        let mut out = create(&self.folder, file).map_err(located)?;
        let columns = columns.iter().map(|column| column.as_string_opt::<i64>());
        let columns: Option<Vec<_>> = columns.collect();
        let columns = columns.ok_or_else(|| located(Error::invalid("expected strings")))?;
        let rows = columns.first().map_or(0, |column| column.len());
        let pieces = (0..rows.div_ceil(LINES).max(1)).into_par_iter().map(|piece| {
            let mut text = String::new();
            for row in piece * LINES..rows.min((piece + 1) * LINES) {
                for (place, column) in columns.iter().enumerate() {
                    let name = if column.is_null(row) { "" } else { column.value(row) };
                    if name.contains(['\t', '\n', '\r']) {
                        let what = format!(
                            "expected names without tabs and ends of line, found {name:?} in row {row}"
                        );
                        return Err(located(Error::invalid(what)));
                    }
                    if place > 0 {
                        text.push('\t');
                    }
                    text.push_str(name);
                }
                text.push_str(last);
                text.push('\n');
            }
            compressed(text.as_bytes(), LEVEL).map_err(|error| self.failed(file, error))
        });
        let pieces = pieces.collect::<Result<Vec<_>>>()?;
        let written = pieces.iter().try_for_each(|piece| out.write_all(piece));
        written.and_then(|()| out.sync_all()).map_err(|error| self.failed(file, error))
    }

    fn failed(&self, file: &str, error: std::io::Error) -> Error {
        Error::io("could not be written", error).in_element(file).in_file(&self.name)
    }
}

fn create(folder: &TemporaryFolder, name: &str) -> Result<File> {
    let path = folder.path().join(name);
    let opened = OpenOptions::new().write(true).create_new(true).open(path);
    opened.map_err(|error| Error::io("could not be created", error).in_element(name))
}

/// A gzip member.
fn compressed(text: &[u8], level: i32) -> std::io::Result<Vec<u8>> {
    let level = CompressionLvl::new(level)
        .map_err(|_| std::io::Error::other(format!("expected a level of gzip, found {level}")))?;
    let mut compressor = Compressor::new(level);
    let mut member = vec![0; compressor.gzip_compress_bound(text.len())];
    let length = compressor.gzip_compress(text, &mut member).map_err(std::io::Error::other)?;
    member.truncate(length);
    Ok(member)
}

/// The lines of entries at places from 1 on.
fn lines(places: impl Iterator<Item = (u64, u64)>, values: &dyn Array) -> std::io::Result<Vec<u8>> {
    let mut text = Vec::with_capacity(values.len() * 16);
    macro_rules! write_values {
        ($values:expr, $push:expr) => {
            for ((feature, cell), value) in places.zip($values) {
                push_integer(&mut text, feature);
                text.push(b' ');
                push_integer(&mut text, cell);
                text.push(b' ');
                $push(&mut text, value)?;
                text.push(b'\n');
            }
        };
    }
    macro_rules! integers {
        ($type:ty) => {
            write_values!(
                values.as_primitive::<$type>().values().iter(),
                |text: &mut Vec<u8>, &value| {
                    match u64::try_from(value) {
                        Ok(value) => {
                            push_integer(text, value);
                            Ok(())
                        }
                        Err(_) => write!(text, "{value}"),
                    }
                }
            )
        };
    }
    match values.data_type() {
        DataType::Int8 => integers!(Int8Type),
        DataType::Int16 => integers!(Int16Type),
        DataType::Int32 => integers!(Int32Type),
        DataType::Int64 => integers!(Int64Type),
        DataType::UInt8 => integers!(UInt8Type),
        DataType::UInt16 => integers!(UInt16Type),
        DataType::UInt32 => integers!(UInt32Type),
        DataType::UInt64 => integers!(UInt64Type),
        DataType::Boolean => {
            write_values!(values.as_boolean().values().iter(), |text: &mut Vec<u8>, value| {
                text.push(if value { b'1' } else { b'0' });
                Ok::<_, std::io::Error>(())
            })
        }
        DataType::Float16 => {
            let values = values.as_primitive::<Float16Type>().values().iter();
            write_values!(values, |text: &mut Vec<u8>, value: &half::f16| {
                push_float(text, value.to_f32())
            })
        }
        DataType::Float32 => {
            let values = values.as_primitive::<Float32Type>().values().iter();
            write_values!(values, |text: &mut Vec<u8>, &value| push_float::<f32>(text, value))
        }
        DataType::Float64 => {
            let values = values.as_primitive::<Float64Type>().values().iter();
            write_values!(values, |text: &mut Vec<u8>, &value| push_float::<f64>(text, value))
        }
        other => return Err(std::io::Error::other(format!("expected numbers, found {other}"))),
    }
    Ok(text)
}

fn push_integer(text: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    text.extend_from_slice(&digits[at..]);
}

/// The shortest decimal that reads back as the same float; counts without a point.
fn push_float<T>(text: &mut Vec<u8>, value: T) -> std::io::Result<()>
where
    T: Copy + Into<f64> + std::fmt::Display + std::fmt::LowerExp,
{
    let wide: f64 = value.into();
    if wide >= 0.0 && wide.is_sign_positive() && wide < 1e15 && wide.fract() == 0.0 {
        push_integer(text, wide as u64);
        Ok(())
    } else if wide.is_finite() && wide != 0.0 && !(1e-5..1e16).contains(&wide.abs()) {
        write!(text, "{value:e}")
    } else {
        write!(text, "{value}")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{Float32Array, Int8Array, LargeStringArray, UInt64Array};

    use super::*;

    fn text(values: &dyn Array) -> String {
        let places = (0..values.len() as u64).map(|at| (at + 1, 7));
        String::from_utf8(lines(places, values).unwrap()).unwrap()
    }

    #[test]
    fn values_are_the_shortest_that_read_back() {
        assert_eq!(text(&Int8Array::from(vec![-3, 0])), "1 7 -3\n2 7 0\n");
        assert_eq!(text(&UInt64Array::from(vec![u64::MAX])), "1 7 18446744073709551615\n");
        let floats = [5.0, 0.1, -2.0, 1e-30, 3.4e38, -0.0];
        let expected = ["5", "0.1", "-2", "1e-30", "3.4e38", "-0"];
        let found = text(&Float32Array::from(floats.to_vec()));
        let found: Vec<&str> = found.lines().filter_map(|line| line.split(' ').nth(2)).collect();
        assert_eq!(found, expected);
        for (found, value) in found.iter().zip(floats) {
            assert_eq!(found.parse::<f32>().unwrap().to_bits(), value.to_bits());
        }
    }

    #[test]
    fn the_header_keeps_its_length() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("a.mtx");
        let shape = (u64::from(u32::MAX), u64::from(u32::MAX));
        let writer = MtxWriter::create(&target, shape, &DataType::Float32, Major::Cells).unwrap();
        let before = writer.file.metadata().unwrap().len();
        let mut writer = MtxWriter { entries: u64::MAX, ..writer };
        writer.header().unwrap();
        assert_eq!(writer.file.metadata().unwrap().len(), before);
    }

    #[test]
    fn a_name_that_would_not_stay_in_its_line_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("a.mtx");
        let mut writer =
            MtxWriter::create(&target, (1, 1), &DataType::Float32, Major::Cells).unwrap();
        writer.append([1], &[0], &Float32Array::from(vec![1.0])).unwrap();
        let names = |name: &str| Arc::new(LargeStringArray::from(vec![name])) as ArrayRef;
        let ids = names("a\tb");
        let features = Features { ids: &ids, names: &ids, types: None };
        let error = writer.finish(features, &names("c")).unwrap_err();
        assert!(error.to_string().contains("a\\tb"), "{error}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
