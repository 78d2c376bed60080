//! Writes a first corpus for each target: structures as the crates encode them, and the tests' files.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use vacuole_fuzzed::schema;
use vacuole_tiledb::bytes::{put_lp32, put_lp64, put_u64s};
use vacuole_tiledb::filter::{CellShape, Filter, FilterPipeline};
use vacuole_tiledb::fragment::{FieldData, Footer, FragmentWriter, encode_dense_tile, encode_tile};
use vacuole_tiledb::group::{GroupDetails, Member, MemberKind};
use vacuole_tiledb::metadata::MetadataValue;
use vacuole_tiledb::schema::{Enumeration, Range};
use vacuole_tiledb::{Datatype, FORMAT_VERSION, generic_tile};

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates");
    for file in files(&crates.join("anndata/tests/data"), "h5ad")? {
        put("h5ad", &fs::read(file)?)?;
    }
    for field in ["integer", "real", "pattern"] {
        let text = format!("%%MatrixMarket matrix coordinate {field} general\n%\n3 2 2\n1 1 1\n3 2 2\n");
        put("matrix_market", text.as_bytes())?;
    }
    for version in [2, 3] {
        let path = crates.join(format!("anndata/tests/data/zarr_v{version}.json"));
        put("zarr", &zarr_store(&fs::read(path)?)?)?;
    }
    let arrays = crates.join("tiledb/tests/data/array");
    for array in ["sparse", "dense"] {
        stored("array_schema", &fs::read(arrays.join(array).join("schema"))?)?;
    }
    stored("array_schema", &schema(false).write()?)?;
    stored("enumeration", &fs::read(arrays.join("sparse/enumeration"))?)?;
    let numbers = Enumeration {
        name: "n".to_owned(),
        file: "__n_0".to_owned(),
        datatype: Datatype::Int16,
        values_per_cell: Some(1),
        ordered: false,
        data: vec![1, 0, 2, 0],
        offsets: Vec::new(),
    };
    stored("enumeration", &numbers.write()?)?;
    let entries = BTreeMap::from([
        ("soma_object_type".to_owned(), MetadataValue::from("SOMADataFrame")),
        ("count".to_owned(), 5i64.into()),
        ("flag".to_owned(), true.into()),
    ]);
    stored("metadata", &vacuole_tiledb::metadata::write(&entries)?)?;
    let member = |name: &str, kind| Member {
        kind,
        relative: true,
        uri: name.to_owned(),
        name: Some(name.to_owned()),
    };
    let members = [member("obs", MemberKind::Array), member("ms", MemberKind::Group)];
    stored("group_details", &GroupDetails::write(&members)?)?;
    put("delete_condition", &condition()?)?;
    put("commits", &commits())?;
    let footers = [("__1_1_a_22".to_owned(), vec![1; 9]), ("__2_2_b_22".to_owned(), Vec::new())];
    stored("joined_footers", &vacuole_tiledb::fragment::joined_footers(&footers)?)?;
    put(
        "private_document",
        br#"{"a/b.tdb":{"size":5,"xxh3":"0123456789abcdef0123456789abcdef"}}"#,
    )?;
    put(
        "private_document",
        &vacuole_soma::private::encode("digests", &BTreeMap::<String, u8>::new()),
    )?;
    opening()?;
    for answer in ANSWERS {
        put("s3_answer", answer.as_bytes())?;
    }
    for text in [
        "a > 5 and (u in [1, 2] or not f <= 0.5)",
        "s == 'x' and c != \"y\" or b == True",
        "c not in ['x', \"\\u00e9\"] & a >= -9223372036854775808",
        "s like 'x\\\\%_' AND NOT (c IS NOT NULL or `f` is nan)",
        "matches(c, '^[xy]+$') or contains(s, 'x') and a <= u < f",
        "'2024-02-29T12:00:00.5+01:30' <= t != '1970-01-01' and startswith(c, 'x')",
    ] {
        put("value_filter", text.as_bytes())?;
    }
    pipelines()?;
    sparse_fragment()?;
    dense_fragment()
}

/// The objects of a store as pieces: keys and objects in turn.
fn zarr_store(packed: &[u8]) -> Result<Vec<u8>> {
    let all: BTreeMap<String, serde_json::Value> = serde_json::from_slice(packed)?;
    let mut pieces = Vec::new();
    for (key, value) in all {
        let object = match value.as_str() {
            Some(hex) => {
                let two = hex.as_bytes().chunks(2).map(std::str::from_utf8);
                two.map(|two| Ok(u8::from_str_radix(two?, 16)?)).collect::<Result<Vec<u8>>>()?
            }
            None => value.to_string().into_bytes(),
        };
        for piece in [key.as_bytes(), &object] {
            pieces.extend(u16::try_from(piece.len())?.to_le_bytes());
            pieces.extend_from_slice(piece);
        }
    }
    Ok(pieces)
}

const ANSWERS: [&str; 5] = [
    "<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code><Message>&lt;no&#62;</Message></Error>",
    "<ListBucketResult xmlns=\"x\"><EncodingType>url</EncodingType><IsTruncated>true</IsTruncated>\
     <NextContinuationToken>t</NextContinuationToken><Contents><Key>a%2F+b</Key><Size>5</Size>\
     <LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>&quot;0&quot;</ETag></Contents>\
     <CommonPrefixes><Prefix>c/</Prefix></CommonPrefixes></ListBucketResult>",
    "<ListVersionsResult><IsTruncated>true</IsTruncated><NextKeyMarker>k</NextKeyMarker>\
     <Version><Key>k</Key><VersionId>v</VersionId><IsLatest>true</IsLatest></Version>\
     <DeleteMarker><Key>k</Key></DeleteMarker></ListVersionsResult>",
    "<ListPartsResult><Part><PartNumber>1</PartNumber><Size>8388608</Size><ETag>\"x\"</ETag>\
     <ChecksumCRC64NVME>AAAAAAAAAAA=</ChecksumCRC64NVME></Part></ListPartsResult>",
    "<ListMultipartUploadsResult><Upload><Key><![CDATA[a&b]]></Key><UploadId>u</UploadId></Upload>\
     </ListMultipartUploadsResult>",
];

/// Whole, and as the list and the bytes of which the target makes one.
fn opening() -> Result {
    let files = serde_json::json!([
        {"path": "a/b", "size": 3, "md5": "900150983cd24fb0d6963f7d28e17f72"},
        {"path": "c", "size": 0, "md5": "d41d8cd98f00b204e9800998ecf8427e"},
    ]);
    let body = b"abc";
    let index = serde_json::json!({ "xxh3": vacuole_soma::private::digest(body), "files": files });
    put("opening", &[&vacuole_soma::private::encode("opening", &index)[..], body].concat())?;
    let mut pieces = Vec::new();
    for piece in [files.to_string().as_bytes(), body] {
        pieces.extend_from_slice(&u16::try_from(piece.len())?.to_le_bytes());
        pieces.extend_from_slice(piece);
    }
    put("opening", &pieces)
}

fn condition() -> Result<Vec<u8>> {
    let mut payload = vec![0, 1];
    put_u64s(&mut payload, &[2]);
    payload.extend_from_slice(&[1, 2]);
    put_lp32(&mut payload, b"a")?;
    put_lp64(&mut payload, &5i64.to_le_bytes());
    payload.extend_from_slice(&[0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 1, 6]);
    put_lp32(&mut payload, b"text")?;
    put_lp64(&mut payload, b"xyy");
    put_lp64(&mut payload, &[0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    Ok(payload)
}

fn commits() -> Vec<u8> {
    let mut inline = b"__commits/__3_3_d_22.del\n".to_vec();
    put_lp64(&mut inline, b"tile");
    inline.extend_from_slice(b"__commits/__2_2_b_22.wrt\n");
    let mut out = Vec::new();
    for piece in [
        b"__1_1_a_22.wrt",
        &b"__2_2_b_22.con"[..],
        &inline,
        b"__4_4_e_22.del",
        b"__5_5_i_22.ign",
        b"__commits/__2_2_b_22.wrt\n",
        b"__1_2_v_22.vac",
        b"/__fragments/__1_1_a_22\n",
    ] {
        put_piece(&mut out, piece);
    }
    out
}

/// A tile through each of the filters that are written.
fn pipelines() -> Result {
    let data: Vec<u8> = (0..40u64).flat_map(|value| (value * value / 7).to_le_bytes()).collect();
    let shape = CellShape { datatype: Datatype::UInt64, cell_size: 8, version: FORMAT_VERSION };
    let datatype = Datatype::ALL.iter().position(|d| *d == Datatype::UInt64).unwrap_or(0) as u8;
    for filter in [
        Filter::NoOp,
        Filter::Gzip { level: 1 },
        Filter::Zstd { level: 1 },
        Filter::Rle { level: -1 },
        Filter::DoubleDelta { level: -1, reinterpret: None },
        Filter::Delta { level: -1, reinterpret: None },
        Filter::BitWidthReduction { window: 256 },
        Filter::Byteshuffle,
        Filter::ChecksumMd5,
        Filter::ChecksumSha256,
    ] {
        let filters = FilterPipeline::new(vec![filter, Filter::Zstd { level: 1 }]);
        let mut pipeline = Vec::new();
        filters.write(&mut pipeline, FORMAT_VERSION)?;
        let mut out = vec![(FORMAT_VERSION - 16) as u8, datatype, 1];
        put_piece(&mut out, &pipeline);
        out.extend(filters.encode_tile(&data, &shape)?);
        put("filter_pipeline", &out)?;
        put("generic_tile", &generic_tile::write(&data, &filters)?)?;
    }
    Ok(())
}

fn field<'a>(
    data: &'a [u8],
    offsets: Option<&'a [u64]>,
    validity: Option<&'a [u8]>,
) -> FieldData<'a> {
    FieldData { data, offsets, validity }
}

fn sparse_fragment() -> Result {
    let schema = schema(false);
    let mut writer = FragmentWriter::sparse(&schema, "__1_1_s");
    for cells in [4usize, 4, 1] {
        let (numbers, rows, valid) = (vec![0; 4 * cells], vec![1; 8 * cells], vec![1; cells]);
        let offsets: Vec<u64> = (0..cells as u64).collect();
        let text = field(&rows[..cells], Some(&offsets), None);
        let name = FieldData { validity: Some(&valid), ..text };
        let attributes = [field(&numbers, None, None), name];
        let dimensions = [field(&rows, None, None), text];
        writer.push(encode_tile(&schema, cells as u64, &attributes, &dimensions)?)?;
    }
    fragment(0, &writer.finish()?)
}

fn dense_fragment() -> Result {
    let schema = schema(true);
    let region = vec![Range::Signed(0, 15), Range::Signed(3, 5)];
    let mut writer = FragmentWriter::dense(&schema, "__1_1_s", region.clone());
    let (numbers, offsets, valid) = (vec![0; 400], vec![0; 100], vec![0; 100]);
    for tile in 0..2 {
        let attributes = [field(&numbers, None, None), field(b"", Some(&offsets), Some(&valid))];
        writer.push(encode_dense_tile(&schema, &region, tile, &attributes)?)?;
    }
    fragment(1, &writer.finish()?)
}

/// A whole metadata file, and the pieces that the target makes one of.
fn fragment(dense: u8, file: &[u8]) -> Result {
    put("fragment_metadata", &[&[dense], file].concat())?;
    let footer = Footer::read(file, &schema(dense == 1))?;
    let payload = |at: u64| generic_tile::read(file, at as usize).map(|(payload, _)| payload);
    let mut whole = Vec::new();
    footer.write(&mut whole, &schema(dense == 1));
    // What stands before the two flags, the 11 numbers of each field, and 4 numbers of the file.
    let start = whole.len() - 4 * 8 - 11 * 8 * footer.file_sizes.len() - 2;
    let mut sizes = Vec::new();
    for list in [&footer.file_sizes, &footer.var_file_sizes, &footer.validity_file_sizes] {
        put_u64s(&mut sizes, list);
    }
    let mut out = vec![dense];
    put_piece(&mut out, &[&[0, 0], &whole[..start]].concat());
    put_piece(&mut out, &sizes);
    put_piece(&mut out, &payload(footer.rtree)?);
    put_piece(&mut out, &payload(footer.processed_conditions)?);
    for &at in footer.lists.iter().flatten() {
        put_piece(&mut out, &payload(at)?);
    }
    put("fragment_metadata", &out)
}

fn put_piece(out: &mut Vec<u8>, piece: &[u8]) {
    out.extend_from_slice(&(piece.len() as u16).to_le_bytes());
    out.extend_from_slice(piece);
}

/// Keeps a stored structure, and its payload alone.
fn stored(target: &str, file: &[u8]) -> Result {
    put(target, file)?;
    put(target, &generic_tile::read(file, 0)?.0)
}

fn put(target: &str, bytes: &[u8]) -> Result {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    fs::create_dir_all(&folder)?;
    let name = format!("seed-{}", vacuole_soma::private::digest(bytes));
    Ok(fs::write(folder.join(name), bytes)?)
}

fn files(folder: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
    Ok(found)
}
