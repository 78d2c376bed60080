//! Places along a Hilbert curve, after J. Skilling, "Programming the Hilbert curve", AIP Conference Proceedings 707 (2004).

/// The bits of a coordinate, for a curve in so many dimensions: all of them together fit 63.
pub(super) fn bits(dimensions: usize) -> u32 {
    63 / u32::try_from(dimensions.max(1)).unwrap_or(u32::MAX).min(63)
}

/// How far along the curve a point is, whose coordinates have `bits` bits each; they are used up.
pub(super) fn distance(axes: &mut [u64], bits: u32) -> u64 {
    // The curve of one axis is the axis itself. The end of its domain is rounded up to 2^63, one more than 63 bits hold,
    // and libtiledb stores it last all the same.
    if let [axis] = axes {
        return *axis;
    }
    transpose(axes, bits);
    // The bits of the axes in turns, the highest of the first one first.
    let bits = (0..bits).rev().flat_map(|bit| axes.iter().map(move |axis| axis >> bit & 1));
    bits.fold(0, |distance, bit| distance << 1 | bit)
}

/// Makes of coordinates the distance, its bits dealt out to the axes in turns.
fn transpose(axes: &mut [u64], bits: u32) {
    let Some(last) = axes.len().checked_sub(1) else { return };
    for bit in (1..bits).rev() {
        let below = (1u64 << bit) - 1;
        for axis in 0..=last {
            if axes[axis] >> bit & 1 == 1 {
                axes[0] ^= below;
            } else {
                let differing = (axes[0] ^ axes[axis]) & below;
                axes[0] ^= differing;
                axes[axis] ^= differing;
            }
        }
    }
    for axis in 1..=last {
        axes[axis] ^= axes[axis - 1];
    }
    let mut flips = 0;
    for bit in (1..bits).rev() {
        if axes[last] >> bit & 1 == 1 {
            flips ^= (1u64 << bit) - 1;
        }
    }
    axes.iter_mut().for_each(|axis| *axis ^= flips);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// It begins at the origin, comes to every point once, and takes a single step each time.
    #[test]
    fn neighbours_along_the_curve_are_neighbours() {
        for (dimensions, bits) in [(1, 6), (2, 4), (3, 3), (4, 2)] {
            let side = 1u64 << bits;
            let count = side.pow(dimensions);
            let mut points = vec![Vec::new(); count as usize];
            for number in 0..count {
                let point: Vec<u64> =
                    (0..dimensions).map(|axis| number / side.pow(axis) % side).collect();
                let at = distance(&mut point.clone(), bits);
                points[at as usize] = point;
            }
            assert!(points[0].iter().all(|&at| at == 0));
            for pair in points.windows(2) {
                let steps = pair[0].iter().zip(&pair[1]).map(|(a, b)| a.abs_diff(*b));
                assert_eq!(steps.sum::<u64>(), 1, "{pair:?}");
            }
        }
        assert_eq!([1, 2, 3, 16].map(bits), [63, 31, 21, 3]);
    }

    /// As libtiledb draws its curve.
    #[test]
    fn the_curve_is_that_of_libtiledb() {
        assert_eq!(distance(&mut [1, 1], 4), 2);
        assert_eq!(distance(&mut [2, 3], 4), 9);
        assert_eq!(distance(&mut [15, 0], 4), 255);
        assert_eq!(distance(&mut [1 << 63], 63), 1 << 63);
    }
}
