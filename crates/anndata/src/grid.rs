//! Chunks of a regular grid, and where their elements are in an array.

/// Copies what a chunk holds of the rows from `start` on to its place in `out`, in C order on both sides.
///
/// The array has the extent `shape`, every chunk the extent `dims`, also where it reaches past the array, and this one
/// starts at `offsets`. `out` holds whole rows; those of the chunk that lie behind its end are left out.
pub(crate) fn place(
    shape: &[u64],
    dims: &[u64],
    element_size: usize,
    offsets: &[u64],
    start: u64,
    bytes: &[u8],
    out: &mut [u8],
) {
    let rank = shape.len();
    // Runs of elements that follow each other both in the chunk and in the array.
    let valid: Vec<u64> = (0..rank)
        .map(|d| {
            let (offset, dim, length) = (at(offsets, d), at(dims, d), at(shape, d));
            dim.min(length.saturating_sub(offset))
        })
        .collect();
    let strides = |lengths: &[u64]| {
        let mut strides = vec![1u64; rank];
        for d in (0..rank.saturating_sub(1)).rev() {
            let next = at(&strides, d + 1).saturating_mul(at(lengths, d + 1));
            if let Some(stride) = strides.get_mut(d) {
                *stride = next;
            }
        }
        strides
    };
    let (inside, outside) = (strides(dims), strides(shape));
    let first = at(offsets, 0);
    let skip = start.saturating_sub(first);
    let run = if rank == 1 { at(&valid, 0).saturating_sub(skip) } else { at(&valid, rank - 1) };
    // Every index of the dimensions before the last, counted up like an odometer.
    let mut index = vec![0u64; rank];
    if let Some(row) = index.first_mut() {
        *row = skip;
    }
    if (0..rank).any(|d| at(&index, d) >= at(&valid, d)) {
        return;
    }
    loop {
        let from: u64 = (0..rank).map(|d| at(&index, d) * at(&inside, d)).sum();
        let to: u64 = (0..rank)
            .map(|d| {
                let base = if d == 0 { first.wrapping_sub(start) } else { at(offsets, d) };
                base.wrapping_add(at(&index, d)).wrapping_mul(at(&outside, d))
            })
            .fold(0, u64::wrapping_add);
        let (from, to) = (from as usize * element_size, to as usize * element_size);
        let length = run as usize * element_size;
        let target = match out.len().checked_sub(to) {
            // The rows that were asked for end before the chunk does.
            Some(room) => out.get_mut(to..to + length.min(room)),
            None => None,
        };
        let Some(target) = target.filter(|target| !target.is_empty()) else { return };
        let Some(source) = bytes.get(from..from + target.len()) else { return };
        target.copy_from_slice(source);
        let mut dimension = rank.saturating_sub(1);
        loop {
            if dimension == 0 {
                return;
            }
            dimension -= 1;
            let Some(place) = index.get_mut(dimension) else { return };
            *place += 1;
            if *place < at(&valid, dimension) {
                break;
            }
            if dimension == 0 {
                return;
            }
            *place = 0;
        }
    }
}

/// The value at `position`, which every caller knows to exist.
fn at(values: &[u64], position: usize) -> u64 {
    values.get(position).copied().unwrap_or(0)
}
