//! What is added up of small integers, as counts of molecules are: exactly, in a third of the memory that any numbers
//! take, so that the totals of all genes stay near the processor.

use super::sums::{Scalar, Sum, Totals};

/// How many values may be added before the totals are taken out.
pub(super) const MOST: usize = 1 << 31;

/// What is added up of the small integers of a gene or cell.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counts {
    sum: i64,
    squares: u64,
    stored: u32,
    nonzero: u32,
    min: i32,
    max: i32,
}

impl Default for Counts {
    fn default() -> Self {
        Self { sum: 0, squares: 0, stored: 0, nonzero: 0, min: i32::MAX, max: i32::MIN }
    }
}

impl Counts {
    /// Adds a [small](super::sums::SMALL) integer.
    #[inline]
    pub(super) fn add(&mut self, value: i32) {
        let wide = i64::from(value);
        self.sum += wide;
        self.squares += (wide * wide) as u64;
        self.stored += 1;
        self.nonzero += u32::from(value != 0);
        self.min = self.min.min(value);
        self.max = self.max.max(value);
    }

    /// Moves what was added to `totals`.
    pub(super) fn take_to(&mut self, totals: &mut Totals) {
        let Self { sum, squares, stored, nonzero, min, max } = std::mem::take(self);
        if stored > 0 {
            let (min, max) = (Sum::new(min.into(), 0.0), Sum::new(max.into(), 0.0));
            let counts = (stored.into(), nonzero.into());
            totals.merge(&Totals::of_finite(counts, sum.split(), squares.split(), (min, max)));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::stats::sums::SMALL;

    const END: i32 = SMALL as i32;

    proptest! {
        #[test]
        fn they_come_to_what_numbers_come_to(
            values in proptest::collection::vec(1 - END..END, 0..50),
            before in proptest::collection::vec(any::<f32>(), 0..3),
        ) {
            let mut expected = Totals::default();
            before.iter().for_each(|value| expected.add::<f32>(value.split()));
            let mut found = expected;
            let mut counts = Counts::default();
            for &value in &values {
                expected.add::<i32>(value.split());
                counts.add(value);
            }
            counts.take_to(&mut found);
            counts.take_to(&mut found);
            let n = (values.len() + before.len()) as u64;
            let (found, expected) = (found.finish(n, 0), expected.finish(n, 0));
            prop_assert_eq!(found.nonzero, expected.nonzero);
            prop_assert_eq!(format!("{:?}", (found.min, found.max)), format!("{:?}", (expected.min, expected.max)));
            let near = |a: f64, b: f64| a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-12 * b.abs();
            prop_assert!(near(found.sum.float(), expected.sum.float()), "{found:?} {expected:?}");
            prop_assert!(near(found.variance, expected.variance), "{found:?} {expected:?}");
        }
    }
}
