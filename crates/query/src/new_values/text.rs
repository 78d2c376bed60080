//! CSV and TSV: a line of names, and the texts of each row. What they stand for, the columns of the data frame say.

use std::sync::Arc;

use arrow_array::builder::LargeStringBuilder;
use vacuole_soma::update::TableColumn;

use super::invalid;
use crate::error::Result;

/// Reads all of a table. An empty field is null.
pub(super) fn read(location: &str, bytes: &[u8], separator: u8) -> Result<Vec<TableColumn>> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut reader = csv::ReaderBuilder::new().delimiter(separator).from_reader(bytes);
    let fault = |error: csv::Error| invalid(location, error);
    let names: Vec<String> = reader.headers().map_err(fault)?.iter().map(str::to_owned).collect();
    if let Some(twice) = names.iter().enumerate().find(|(at, name)| names[..*at].contains(name)) {
        let message =
            format!("expected columns of different names, found two called '{}'", twice.1);
        return Err(invalid(location, message).into());
    }
    let mut builders: Vec<LargeStringBuilder> =
        names.iter().map(|_| LargeStringBuilder::new()).collect();
    let mut record = csv::StringRecord::new();
    while reader.read_record(&mut record).map_err(fault)? {
        for (builder, field) in builders.iter_mut().zip(&record) {
            builder.append_option(Some(field).filter(|field| !field.is_empty()));
        }
    }
    let columns = names.into_iter().zip(&mut builders).map(|(name, builder)| TableColumn {
        name,
        values: Arc::new(builder.finish()),
        ordered: false,
        is_text: true,
    });
    Ok(columns.collect())
}

#[cfg(test)]
mod tests {
    use arrow_array::{Array as _, LargeStringArray};

    use super::*;

    #[test]
    fn fields_are_texts_and_empty_ones_null() {
        let bytes = b"\xef\xbb\xbfobs_id,note\nA,\"x, \"\"y\"\"\nz\"\nB,\n";
        let columns = read("t.csv", bytes, b',').unwrap();
        assert_eq!(columns[0].name, "obs_id");
        let expected = LargeStringArray::from(vec![Some("x, \"y\"\nz"), None]);
        assert_eq!(columns[1].values.to_data(), expected.to_data());
        assert_eq!(read("t.tsv", b"a\tb\n1\t2\n", b'\t').unwrap().len(), 2);
    }

    #[test]
    fn lines_of_other_lengths_and_names_that_are_there_twice_are_refused() {
        let error = read("t.csv", b"a,b\n1,2\n3\n", b',').unwrap_err().to_string();
        assert!(error.starts_with("t.csv: ") && error.contains("line: 3"), "{error}");
        assert!(read("t.csv", b"a,a\n1,2\n", b',').unwrap_err().to_string().contains("'a'"));
        assert!(read("t.csv", b"a\n\xff\n", b',').is_err());
    }
}
