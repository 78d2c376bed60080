//! Random pipelines over random data: what is written is read again, and altered bytes never panic.

use proptest::prelude::*;
use vacuole_tiledb::filter::{CellShape, Filter, FilterPipeline};
use vacuole_tiledb::{Datatype, ErrorKind, generic_tile};

fn datatypes() -> impl Strategy<Value = Datatype> {
    proptest::sample::select(Datatype::ALL)
}

fn is_float(datatype: Datatype) -> bool {
    matches!(datatype, Datatype::Float32 | Datatype::Float64)
}

/// Filters that take any bytes.
fn any_bytes() -> impl Strategy<Value = Filter> {
    prop_oneof![
        Just(Filter::NoOp),
        (-1..=9).prop_map(|level| Filter::Gzip { level }),
        (-8..=9).prop_map(|level| Filter::Zstd { level }),
        (8_u32..300).prop_map(|window| Filter::BitWidthReduction { window }),
        Just(Filter::Lz4 { level: -1 }),
        (-1..=10).prop_map(|level| Filter::Bzip2 { level }),
        Just(Filter::Byteshuffle),
        Just(Filter::Bitshuffle),
        Just(Filter::ChecksumMd5),
        Just(Filter::ChecksumSha256),
    ]
}

/// Filters that take whole values, so that they come first.
fn whole_values(datatype: Datatype) -> BoxedStrategy<Option<Filter>> {
    let size = datatype.size();
    let integers: Vec<_> = [Datatype::UInt8, Datatype::Int16, Datatype::UInt32, Datatype::Int64]
        .into_iter()
        .filter(|integer| size.is_multiple_of(integer.size()))
        .map(Some)
        .chain((!is_float(datatype)).then_some(None))
        .collect();
    let reinterpret = proptest::sample::select(integers);
    prop_oneof![
        Just(None),
        Just(Some(Filter::Rle { level: -1 })),
        Just(Some(Filter::Xor)),
        reinterpret.clone().prop_map(|reinterpret| Some(Filter::Delta { level: -1, reinterpret })),
        reinterpret.prop_map(|reinterpret| Some(Filter::DoubleDelta { level: -1, reinterpret })),
    ]
    .boxed()
}

/// Values of a width, low bytes first: runs, ramps, small numbers and noise, one or more.
fn values(width: usize, per_cell: usize) -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        (any::<u64>(), 1_usize..60).prop_map(|(value, count)| vec![value; count]),
        (any::<u64>(), 0_u64..1000, 1_u64..60).prop_map(|(start, step, count)| (0..count)
            .map(|i| start.wrapping_add(i * step))
            .collect()),
        proptest::collection::vec(0_u64..300, 1..60),
        proptest::collection::vec(any::<u64>(), 1..60),
    ];
    proptest::collection::vec(piece, 1..5).prop_map(move |pieces| {
        let mut values = pieces.concat();
        values.resize(values.len().next_multiple_of(per_cell), 7);
        values.iter().flat_map(|value| value.to_le_bytes()[..width].to_vec()).collect()
    })
}

/// A field's shape, a pipeline for it, and data.
fn tiles() -> impl Strategy<Value = (CellShape, FilterPipeline, Vec<u8>)> {
    (datatypes(), 1_usize..4, 16_u32..=22).prop_flat_map(|(datatype, per_cell, version)| {
        let shape = CellShape { datatype, cell_size: datatype.size() * per_cell, version };
        let pipeline = (
            prop_oneof![Just(0_u32), 1_u32..2000, Just(65536)],
            whole_values(datatype),
            proptest::collection::vec(any_bytes(), 0..5),
        )
            .prop_map(|(max_chunk_size, first, rest)| FilterPipeline {
                max_chunk_size,
                filters: first.into_iter().chain(rest).collect(),
            });
        (Just(shape), pipeline, values(datatype.size(), per_cell))
    })
}

/// Any filter at all, with options that make no sense too.
fn any_filter() -> impl Strategy<Value = Filter> {
    let reinterpret = || proptest::option::of(datatypes());
    prop_oneof![
        any_bytes(),
        Just(Filter::Lz4 { level: 0 }),
        Just(Filter::Rle { level: 0 }),
        Just(Filter::Bzip2 { level: 0 }),
        Just(Filter::Dictionary { level: 0 }),
        Just(Filter::Bitshuffle),
        Just(Filter::Xor),
        any::<u32>().prop_map(|window| Filter::BitWidthReduction { window }),
        any::<u32>().prop_map(|window| Filter::PositiveDelta { window }),
        (any::<f64>(), any::<f64>(), 0_u64..9).prop_map(|(scale, offset, byte_width)| {
            Filter::ScaleFloat { scale, offset, byte_width }
        }),
        reinterpret().prop_map(|reinterpret| Filter::Delta { level: 0, reinterpret }),
        reinterpret().prop_map(|reinterpret| Filter::DoubleDelta { level: 0, reinterpret }),
    ]
}

/// Chunks may be cut inside of cells.
#[test]
fn cells_that_lie_in_two_chunks_come_whole() {
    let values = CellShape { datatype: Datatype::Int32, cell_size: 4, version: 22 };
    let pipeline = FilterPipeline {
        max_chunk_size: 20,
        filters: vec![Filter::Byteshuffle, Filter::Zstd { level: 1 }, Filter::ChecksumMd5],
    };
    let data: Vec<u8> = (0..96).collect();
    let mut stored = pipeline.encode_tile(&data, &values).unwrap();
    let triples = CellShape { cell_size: 12, ..values };
    let lengths = |stored: &[u8], shape: &CellShape, size| {
        let chunks = pipeline.decode_chunks(stored, shape, size)?;
        chunks.map(|chunk| Ok(chunk?.len())).collect::<vacuole_tiledb::Result<Vec<_>>>()
    };
    assert_eq!(lengths(&stored, &triples, 96).unwrap(), [12, 24, 24, 12, 24]);
    let sevens = CellShape { cell_size: 28, ..values };
    let error = lengths(&stored, &sevens, 96).unwrap_err();
    assert_eq!(error.to_string(), "expected cells of 28 bytes, found 12 at the end");
    *stored.last_mut().unwrap() ^= 1;
    let error = lengths(&stored, &triples, 96).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Checksum);
    assert!(error.to_string().contains("chunk 4 of the tile"), "{error}");
    stored.push(0);
    assert!(lengths(&stored[..90], &triples, 96).is_err());
}

proptest! {
    #[test]
    fn tiles_round_trip((shape, pipeline, data) in tiles()) {
        let stored = pipeline.encode_tile(&data, &shape).unwrap();
        prop_assert_eq!(pipeline.decode_tile(&stored, &shape, data.len()).unwrap(), &data[..]);
        let chunks = pipeline.decode_chunks(&stored, &shape, data.len()).unwrap();
        let chunks: Vec<Vec<u8>> = chunks.collect::<Result<_, _>>().unwrap();
        prop_assert!(chunks.iter().all(|chunk| chunk.len() % shape.cell_size == 0));
        prop_assert_eq!(&chunks.concat(), &data);
        let error = pipeline.decode_tile(&stored, &shape, data.len() - 1).unwrap_err();
        prop_assert_eq!(error.kind(), ErrorKind::Corrupt);
        let error = pipeline.decode_chunks(&stored, &shape, data.len() + 1).err().unwrap();
        prop_assert_eq!(error.kind(), ErrorKind::Corrupt);
    }

    #[test]
    fn chunks_are_whole_cells((shape, pipeline, data) in tiles()) {
        let stored = pipeline.encode_tile(&data, &shape).unwrap();
        let number = |at: usize| u32::from_le_bytes(stored[at..at + 4].try_into().unwrap()) as usize;
        let (mut at, mut total) = (8, 0);
        while at < stored.len() {
            let length = number(at);
            prop_assert_eq!(length % shape.cell_size, 0);
            let most = (pipeline.max_chunk_size as usize).max(shape.cell_size);
            prop_assert!(pipeline.max_chunk_size == 0 || length <= most);
            total += length;
            at += 12 + number(at + 4) + number(at + 8);
        }
        prop_assert_eq!(total, data.len());
    }

    #[test]
    fn data_of_variable_length_round_trip(
        lengths in proptest::collection::vec(0_usize..200, 1..60),
        max_chunk_size in 1_u32..300,
        filters in proptest::collection::vec(any_bytes(), 0..5),
    ) {
        let shape = CellShape { datatype: Datatype::StringUtf8, cell_size: 1, version: 22 };
        let pipeline = FilterPipeline { max_chunk_size, filters };
        let data: Vec<u8> = (0..lengths.iter().sum()).map(|i: usize| (i / 3) as u8).collect();
        let ends = lengths.iter().scan(0, |end, length| { *end += length; Some(*end as u64) });
        let offsets: Vec<u64> = [0].into_iter().chain(ends).take(lengths.len()).collect();
        let stored = pipeline.encode_var_tile(&data, &offsets, &shape).unwrap();
        let read = pipeline.decode_var_tile(&stored, &shape, data.len()).unwrap();
        prop_assert_eq!(read, (data, None));
    }

    #[test]
    fn strings_round_trip(
        words in proptest::collection::vec("[a-c]{0,3}|é|x{300}", 1..400),
        runs in proptest::collection::vec(1_usize..400, 1..8),
        dictionary: bool,
        datatype in proptest::sample::select(vec![Datatype::StringAscii, Datatype::StringUtf8]),
        rest in proptest::collection::vec(any_bytes(), 0..4),
    ) {
        let shape = CellShape { datatype, cell_size: 1, version: 22 };
        let first = match dictionary {
            true => Filter::Dictionary { level: -1 },
            false => Filter::Rle { level: -1 },
        };
        let pipeline = FilterPipeline::new([first].into_iter().chain(rest).collect());
        let repeated = words.iter().zip(runs.iter().cycle()).flat_map(|(word, &run)| {
            std::iter::repeat_n(word.as_str(), if run > 390 { run } else { 1 + run % 2 })
        });
        let cells: Vec<&str> = repeated.collect();
        let starts = cells.iter().scan(0, |end, cell| {
            *end += cell.len() as u64;
            Some(*end - cell.len() as u64)
        });
        let offsets: Vec<u64> = starts.collect();
        let data = cells.concat().into_bytes();
        prop_assert!(pipeline.encodes_strings(&shape));
        let stored = pipeline.encode_var_tile(&data, &offsets, &shape).unwrap();
        let read = pipeline.decode_var_tile(&stored, &shape, data.len()).unwrap();
        prop_assert_eq!(read, (data, Some(offsets)));
    }

    #[test]
    fn rising_values_round_trip(
        (datatype, wide) in datatypes().prop_flat_map(|datatype| {
            (Just(datatype), proptest::collection::vec(any::<i64>(), 1..400))
        }),
        window in 8_u32..300,
        rest in proptest::collection::vec(any_bytes(), 0..4),
    ) {
        let (size, signed) = (datatype.size(), datatype.numeric() == vacuole_tiledb::Numeric::Signed);
        let bits = 64 - 8 * size as u32;
        let mut values: Vec<i64> = wide.iter().map(|value| value >> bits).collect();
        if signed { values.sort_unstable() } else {
            values.sort_unstable_by_key(|value| (*value as u64) << bits >> bits);
        }
        let data: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()[..size].to_vec()).collect();
        let shape = CellShape { datatype, cell_size: size, version: 22 };
        let first = Filter::PositiveDelta { window };
        let pipeline = FilterPipeline::new([first].into_iter().chain(rest).collect());
        let stored = pipeline.encode_tile(&data, &shape).unwrap();
        prop_assert_eq!(pipeline.decode_tile(&stored, &shape, data.len()).unwrap(), data);
    }

    #[test]
    fn steps_round_trip(
        steps in proptest::collection::vec(-100_i8..100, 1..400),
        (scale, offset) in (1_i32..64, -100_i32..100).prop_map(|(a, b)| (f64::from(a) / 8.0, f64::from(b) / 4.0)),
        byte_width in proptest::sample::select(vec![1_u64, 2, 4, 8]),
        single: bool,
        rest in proptest::collection::vec(any_bytes(), 0..4),
    ) {
        let numbers = steps.iter().map(|&step| f64::from(step) * scale + offset);
        let (datatype, data): (Datatype, Vec<u8>) = match single {
            true => (Datatype::Float32, numbers.flat_map(|n| (n as f32).to_le_bytes()).collect()),
            false => (Datatype::Float64, numbers.flat_map(f64::to_le_bytes).collect()),
        };
        let shape = CellShape { datatype, cell_size: datatype.size(), version: 22 };
        let first = Filter::ScaleFloat { scale, offset, byte_width };
        let pipeline = FilterPipeline::new([first].into_iter().chain(rest).collect());
        let stored = pipeline.encode_tile(&data, &shape).unwrap();
        prop_assert_eq!(pipeline.decode_tile(&stored, &shape, data.len()).unwrap(), data);
    }

    #[test]
    fn altered_tiles_never_panic(
        (shape, pipeline, data) in tiles(),
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..8),
        other in proptest::collection::vec(any_filter(), 0..5),
    ) {
        let mut stored = pipeline.encode_tile(&data, &shape).unwrap();
        for (at, value) in changes {
            let at = at.index(stored.len());
            stored[at] = value;
        }
        // Whether it fails is another test's concern: what it gives is within the limit.
        for pipeline in [&pipeline, &FilterPipeline::new(other)] {
            for limit in [data.len(), 1 << 20] {
                if let Ok(read) = pipeline.decode_tile(&stored, &shape, limit) {
                    prop_assert!(read.len() <= limit);
                }
                if let Ok((read, _)) = pipeline.decode_var_tile(&stored, &shape, limit) {
                    prop_assert!(read.len() <= limit);
                }
            }
        }
    }

    #[test]
    fn altered_chunks_never_pass_a_checksum(
        (shape, mut pipeline, data) in tiles(),
        digest in prop_oneof![Just(Filter::ChecksumMd5), Just(Filter::ChecksumSha256)],
        at in any::<proptest::sample::Index>(),
        bit in 0_u32..8,
    ) {
        pipeline.filters.push(digest);
        let mut stored = pipeline.encode_tile(&data, &shape).unwrap();
        let at = at.index(stored.len());
        stored[at] ^= 1_u8 << bit;
        let error = pipeline.decode_tile(&stored, &shape, data.len()).unwrap_err();
        prop_assert!(matches!(error.kind(), ErrorKind::Checksum | ErrorKind::Corrupt));
    }

    #[test]
    fn random_metadata_and_data_never_panic(
        datatype in datatypes(),
        filters in proptest::collection::vec(any_filter(), 1..4),
        original in 0_u32..5000,
        // Small numbers make counts and lengths that fit.
        metadata in proptest::collection::vec(prop_oneof![0_u32..4, 0_u32..100, any::<u32>()], 0..12),
        data in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let shape = CellShape { datatype, cell_size: datatype.size(), version: 22 };
        let metadata: Vec<u8> = metadata.iter().flat_map(|number| number.to_le_bytes()).collect();
        let mut stored = 1_u64.to_le_bytes().to_vec();
        for length in [original, data.len() as u32, metadata.len() as u32] {
            stored.extend(length.to_le_bytes());
        }
        stored.extend(metadata.iter().chain(&data));
        let pipeline = FilterPipeline::new(filters);
        for read in [
            pipeline.decode_tile(&stored, &shape, 5000),
            pipeline.decode_var_tile(&stored, &shape, 5000).map(|(data, _)| data),
        ].into_iter().flatten() {
            prop_assert_eq!(read.len(), original as usize);
        }
    }

    #[test]
    fn generic_tiles_round_trip_and_never_panic(
        payload in proptest::collection::vec(any::<u8>(), 0..3000),
        filters in proptest::collection::vec(any_bytes(), 0..4),
        at in any::<proptest::sample::Index>(),
        value in any::<u8>(),
    ) {
        let pipeline = FilterPipeline::new(filters);
        let mut stored = generic_tile::write(&payload, &pipeline).unwrap();
        prop_assert_eq!(generic_tile::read(&stored, 0).unwrap(), (payload.clone(), stored.len()));
        let at = at.index(stored.len());
        stored[at] = value;
        if let Ok((read, end)) = generic_tile::read(&stored, 0) {
            prop_assert!(read.len() == payload.len() && end <= stored.len());
        }
    }
}

#[test]
fn an_empty_tile_is_one_empty_chunk() {
    let shape = CellShape { datatype: Datatype::StringAscii, cell_size: 1, version: 22 };
    let pipeline = FilterPipeline::default();
    let stored = pipeline.encode_tile(&[], &shape).unwrap();
    assert_eq!(stored, [&1_u64.to_le_bytes()[..], &[0; 12]].concat());
    assert_eq!(pipeline.decode_tile(&stored, &shape, 0).unwrap(), []);
    // Offsets that a filter makes are stored as a tile without chunks.
    assert_eq!(pipeline.decode_tile(&[0; 8], &shape, 0).unwrap(), []);
    let delta = FilterPipeline::new(vec![Filter::Delta { level: -1, reinterpret: None }]);
    assert_eq!(delta.encode_tile(&[], &shape).unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[test]
fn offsets_that_descend_or_exceed_the_data_are_refused() {
    let shape = CellShape { datatype: Datatype::StringAscii, cell_size: 1, version: 22 };
    let pipeline = FilterPipeline::default();
    for offsets in [&[0, 3, 2][..], &[0, 5], &[0, u64::MAX]] {
        let error = pipeline.encode_var_tile(b"abcd", offsets, &shape).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
    let rle = Filter::Rle { level: -1 };
    for offsets in [&[0, 3, 2][..], &[0, 5], &[1, 2], &[]] {
        let strings = FilterPipeline::new(vec![rle]);
        assert!(strings.encode_var_tile(b"abcd", offsets, &shape).is_err());
    }
    let late = FilterPipeline::new(vec![Filter::Byteshuffle, rle]);
    assert!(late.encode_var_tile(b"abcd", &[0, 2], &shape).is_err());
}
