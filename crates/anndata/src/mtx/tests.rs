use std::io::Write;
use std::sync::Arc;

use proptest::prelude::*;

use super::entries::{check, each};
use super::*;
use crate::ErrorKind;

fn text_of(bytes: &[u8]) -> Text {
    Text::new(Part { name: "matrix.mtx".to_owned(), source: Arc::new(Arc::<[u8]>::from(bytes)) })
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Rows, columns and entries.
type Drawn = (u32, u32, Vec<(u32, u32, i32)>);

fn drawn() -> impl Strategy<Value = Drawn> {
    (1..40_u32, 1..40_u32).prop_flat_map(|(rows, columns)| {
        let entry = (0..rows, 0..columns, -1000..1000_i32);
        (Just(rows), Just(columns), prop::collection::vec(entry, 0..200))
    })
}

fn written((rows, columns, entries): &Drawn, blank: &str, end: &str) -> String {
    let mut text = format!("%%MatrixMarket matrix coordinate integer general{end}%{end}");
    text.push_str(&format!("{rows}{blank}{columns}{blank}{}{end}", entries.len()));
    for (row, column, value) in entries {
        text.push_str(&format!("{}{blank}{}{blank}{value}{end}", row + 1, column + 1));
    }
    text
}

proptest! {
    /// Whatever the order of entries and the size of buckets, they come by cell, in their order.
    #[test]
    fn entries_come_by_cell(
        drawn in drawn(),
        bucket in 1..60_u64,
        in_order: bool,
        compressed: bool,
        blank in prop::sample::select(vec![" ", "\t", "  \t"]),
        end in prop::sample::select(vec!["\n", "\r\n", " \n\n"]),
    ) {
        let mut drawn = drawn;
        if in_order {
            drawn.2.sort_by_key(|entry| entry.1);
        }
        let text = written(&drawn, blank, end);
        prop_assert_eq!(check(text.as_bytes()).unwrap(), drawn.2.len() as u64);
        let text = match compressed {
            true => text_of(&gzip(text.as_bytes())),
            false => text_of(text.as_bytes()),
        };
        let header = Header::read(&text).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let ordered = Ordered::make_with(&text, &header, folder.path(), bucket).unwrap();
        let mut expected = drawn.2.clone();
        expected.sort_by_key(|entry| entry.1);
        let count = expected.len() as u64;
        let rows: Vec<u32> = expected.iter().map(|entry| entry.0).collect();
        let values: Vec<f32> = expected.iter().map(|entry| entry.2 as f32).collect();
        prop_assert_eq!(ordered.read_indices(0..count).unwrap(), rows);
        prop_assert_eq!(ordered.read_data(0..count).unwrap(), values);
        for column in 0..=drawn.1 {
            let before = expected.iter().filter(|entry| entry.1 < column).count() as u64;
            prop_assert_eq!(ordered.indptr()[column as usize], before);
        }
        prop_assert!(ordered.read_data(0..count + 1).is_err());
        prop_assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    /// Any change to a byte gives an error or entries inside of the matrix, as many as announced.
    #[test]
    fn damaged_text_is_read_or_refused(drawn in drawn(), at: prop::sample::Index, byte: u8) {
        let mut text = written(&drawn, " ", "\n").into_bytes();
        let at = at.index(text.len());
        text[at] = byte;
        let _ = check(&text);
        text.truncate(at);
        let _ = check(&text);
    }

    #[test]
    fn anything_is_read_or_refused(text: Vec<u8>, columns in 0..3_usize) {
        let start = ["", "%%MatrixMarket matrix coordinate real general\n", "%%MatrixMarket matrix coordinate pattern general\n9 9 9\n"];
        let mut all = start[columns].as_bytes().to_vec();
        all.extend(text);
        let _ = check(&all);
    }

    /// Numbers are read as the standard library reads them.
    #[test]
    fn numbers_are_exact(number in any::<f64>().prop_filter("finite", |n| n.is_finite())) {
        for word in [format!("{number}"), format!("{number:e}"), format!("{number:.3}")] {
            let text = format!("%%MatrixMarket matrix coordinate real general\n1 1 1\n1 1 {word}\n");
            let text = text_of(text.as_bytes());
            let header = Header::read(&text).unwrap();
            each(&text, &header, |entry| {
                assert_eq!(entry.value.to_bits(), (word.parse::<f64>().unwrap() as f32).to_bits());
                Ok(())
            }).unwrap();
        }
    }
}

#[test]
fn lines_are_counted_over_blocks() {
    let mut text = "%%MatrixMarket matrix coordinate integer general\n10 10 400000\n".to_owned();
    text.push_str(&"1 1 1\n".repeat(300_000));
    text.push_str("1 1 x\n");
    let text = text_of(&gzip(text.as_bytes()));
    let header = Header::read(&text).unwrap();
    let error = each(&text, &header, |_| Ok(())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().starts_with("matrix.mtx: line 300003: "), "{error}");
}

#[test]
fn a_line_without_end_is_refused() {
    let text = text_of(&vec![b'1'; 20 << 20]);
    let error = Header::read(&text).unwrap_err();
    assert!(error.to_string().contains("expected lines of at most"), "{error}");
}

#[test]
fn a_trio_goes_together() {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let all = names(&[
        "a_barcodes.tsv",
        "a_barcodes.tsv.gz",
        "a_genes.tsv",
        "a_features.tsv.gz",
        "a_matrix.mtx.gz",
        "b_matrix.mtx",
    ]);
    let trio = Trio::find(&all, Some("a_matrix.mtx.gz")).unwrap().unwrap();
    assert_eq!(trio.names(), ["a_matrix.mtx.gz", "a_features.tsv.gz", "a_barcodes.tsv.gz"]);
    assert!(
        Trio::find(&all, None).unwrap_err().to_string().contains("a_matrix.mtx.gz, b_matrix.mtx")
    );
    assert!(
        Trio::find(&all, Some("b_matrix.mtx")).unwrap_err().to_string().contains("b_features.tsv")
    );
    assert_eq!(Trio::find(&names(&["x.h5ad"]), None).unwrap(), None);
}
