//! Sums of about twice the precision of `f64`, and what is added up of a gene or cell.
//!
//! A sum is two floats that do not overlap. Such sums can be put together in any order, in parts, with an error far below
//! what a single float can show, and the variance can be made of the sums of values and of squares, which with single
//! floats would cancel. Integers are added exactly up to 2^105. (T. J. Dekker, "A floating-point technique for extending
//! the available precision", 1971; the errors of the operations: M. Joldes, J.-M. Muller, V. Popescu, "Tight and rigorous
//! error bounds for basic building blocks of double-word arithmetic", 2017.)

/// The unevaluated sum of two floats; of both, the first is the one nearest to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
pub(crate) struct Sum {
    high: f64,
    low: f64,
}

impl Sum {
    /// A value in two floats: the nearest one and the rest.
    pub(crate) fn new(high: f64, low: f64) -> Self {
        Self { high, low }
    }

    /// The nearest float.
    pub(crate) fn float(self) -> f64 {
        self.high
    }

    /// The number, where it is an integer.
    pub(crate) fn integer(self) -> i128 {
        (self.high as i128).saturating_add(self.low as i128)
    }

    /// What does not overlap of two floats, the first of which is the larger one. Beyond the range of floats it is infinite.
    fn settle(high: f64, low: f64) -> Self {
        let sum = high + low;
        match high.is_finite() {
            true => Self { high: sum, low: low - (sum - high) },
            false => Self { high, low: 0.0 },
        }
    }

    pub(crate) fn add(&mut self, value: f64) {
        let (sum, error) = two_sum(self.high, value);
        *self = Self::settle(sum, error + self.low);
    }

    pub(crate) fn add_sum(&mut self, other: Self) {
        let (sum, error) = two_sum(self.high, other.high);
        let (rest, error_of_rest) = two_sum(self.low, other.low);
        let settled = Self::settle(sum, error + rest);
        *self = Self::settle(settled.high, settled.low + error_of_rest);
    }

    fn negative(self) -> Self {
        Self { high: -self.high, low: -self.low }
    }

    fn times(self, other: Self) -> Self {
        let product = self.high * other.high;
        let error = self.high.mul_add(other.high, -product);
        Self::settle(product, error + (self.high * other.low + self.low * other.high))
    }

    /// A share of it, of one in `parts`.
    pub(crate) fn divided(self, parts: f64) -> Self {
        let share = self.high / parts;
        let rest = (-share).mul_add(parts, self.high) + self.low;
        Self::settle(share, rest / parts)
    }
}

/// The sum of two floats, and what it lacks.
fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let of_b = sum - a;
    (sum, (a - (sum - of_b)) + (b - of_b))
}

/// Integers are small below this magnitude: 2^31 squares of them fit into 64 bits.
pub(super) const SMALL: u32 = 1 << 16;

/// A number of a matrix.
pub(crate) trait Scalar: Copy + Send + Sync {
    /// Whether the square of every value is exact as an `f64`.
    const NARROW: bool;

    /// The nearest float, and the rest.
    fn split(self) -> Sum;

    /// The integer nearest to it towards zero, or the first or last of 32 bits; of NaN any.
    fn cast(self) -> i32;

    /// Whether it is this integer.
    fn is(self, integer: i32) -> bool;

    /// The values, where all are integers of a magnitude below [`SMALL`].
    fn small_integers(values: &[Self]) -> Option<Vec<i32>> {
        // Most values that are none are seen soon; the rest is done without a branch for each.
        let small = |values: &[Self]| {
            let integers: Vec<i32> = values.iter().map(|value| value.cast()).collect();
            let fits = |(value, &integer): (&Self, &i32)| {
                value.is(integer) & (integer.unsigned_abs() < SMALL)
            };
            let all = values.iter().zip(&integers).fold(true, |all, pair| all & fits(pair));
            all.then_some(integers)
        };
        small(values.get(..values.len().min(64))?)?;
        small(values)
    }
}

macro_rules! scalars {
    ($narrow:literal: $($type:ty),*) => {
        $(impl Scalar for $type {
            const NARROW: bool = $narrow;

            fn split(self) -> Sum {
                Sum::new(f64::from(self), 0.0)
            }

            fn cast(self) -> i32 {
                f64::from(self) as i32
            }

            fn is(self, integer: i32) -> bool {
                f64::from(integer) == f64::from(self)
            }
        })*
    };
}

scalars!(true: u8, i8, u16, i16, half::f16, f32);
scalars!(false: u32, i32, f64);

macro_rules! long_integers {
    ($($type:ty),*) => {
        $(impl Scalar for $type {
            const NARROW: bool = false;

            fn split(self) -> Sum {
                let high = self as f64;
                Sum::new(high, (i128::from(self) - high as i128) as f64)
            }

            fn cast(self) -> i32 {
                self as i32
            }

            fn is(self, integer: i32) -> bool {
                i128::from(integer) == i128::from(self)
            }
        })*
    };
}

long_integers!(u64, i64);

/// What is added up of the stored values of a gene or cell.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Totals {
    /// How many values are stored.
    stored: u64,
    nonzero: u64,
    /// The sum of those that are finite, and of their squares.
    sum: Sum,
    squares: Sum,
    /// Of all but NaN; the largest before the smallest where there is none.
    min: Sum,
    max: Sum,
    nan: bool,
    infinite: bool,
    negative_infinite: bool,
}

impl Default for Totals {
    fn default() -> Self {
        Self {
            stored: 0,
            nonzero: 0,
            sum: Sum::default(),
            squares: Sum::default(),
            min: Sum::new(f64::INFINITY, 0.0),
            max: Sum::new(f64::NEG_INFINITY, 0.0),
            nan: false,
            infinite: false,
            negative_infinite: false,
        }
    }
}

impl Totals {
    /// Adds a value of type `T`.
    pub(crate) fn add<T: Scalar>(&mut self, value: Sum) {
        let Sum { high, low } = value;
        self.stored += 1;
        self.nonzero += u64::from(high != 0.0);
        if value < self.min {
            self.min = value;
        }
        if value > self.max {
            self.max = value;
        }
        if !high.is_finite() {
            self.nan |= high.is_nan();
            self.infinite |= high == f64::INFINITY;
            self.negative_infinite |= high == f64::NEG_INFINITY;
            return;
        }
        self.sum.add(high);
        if T::NARROW {
            self.squares.add(high * high);
            return;
        }
        if low != 0.0 {
            self.sum.add(low);
        }
        self.squares.add_sum(value.times(value));
    }

    /// What finite values come to that were added up elsewhere: how many there are and how many of them are not zero,
    /// their sum, that of their squares, the smallest and the largest.
    pub(super) fn of_finite(
        (stored, nonzero): (u64, u64),
        sum: Sum,
        squares: Sum,
        (min, max): (Sum, Sum),
    ) -> Self {
        Self { stored, nonzero, sum, squares, min, max, ..Self::default() }
    }

    /// Adds what was added up elsewhere.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.stored += other.stored;
        self.nonzero += other.nonzero;
        self.sum.add_sum(other.sum);
        self.squares.add_sum(other.squares);
        if other.min < self.min {
            self.min = other.min;
        }
        if other.max > self.max {
            self.max = other.max;
        }
        self.nan |= other.nan;
        self.infinite |= other.infinite;
        self.negative_infinite |= other.negative_infinite;
    }

    /// What it comes to for `n` values, of which those that are not stored are zero, as numpy has it: NaN where there is
    /// one, infinities, `NaN` for the mean of nothing. The variance divides by `n - ddof`.
    pub(crate) fn finish(&self, n: u64, ddof: u32) -> Finished {
        let zero = Sum::default();
        let (mut min, mut max) = (self.min, self.max);
        if n > self.stored {
            (min, max) = (if min > zero { zero } else { min }, if max < zero { zero } else { max });
        }
        let count = n as f64;
        let over = match (self.nan, self.infinite, self.negative_infinite) {
            (false, false, false) => None,
            (false, true, false) => Some(f64::INFINITY),
            (false, false, true) => Some(f64::NEG_INFINITY),
            _ => Some(f64::NAN),
        };
        let of_over = |value: f64| Sum::new(value, 0.0);
        let sum = over.map_or(self.sum, of_over);
        let mean = match n {
            0 => of_over(f64::NAN),
            _ => over.map_or_else(|| self.sum.divided(count), of_over),
        };
        let variance = match n.checked_sub(u64::from(ddof)) {
            None | Some(0) => f64::NAN,
            Some(_) if over.is_some() => f64::NAN,
            // However the sums were rounded, values that are all the same do not vary.
            Some(_) if min == max => 0.0,
            Some(_) if !self.squares.high.is_finite() => f64::INFINITY,
            Some(degrees) => {
                let mut rest = self.squares;
                rest.add_sum(mean.times(self.sum).negative());
                rest.divided(degrees as f64).float().max(0.0)
            }
        };
        let told = |extreme: Sum| match n {
            0 => None,
            _ if self.nan => Some(of_over(f64::NAN)),
            _ => Some(extreme),
        };
        let nonzero = self.nonzero;
        Finished { nonzero, sum, mean: mean.float(), variance, min: told(min), max: told(max) }
    }
}

/// What is told of a gene or cell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Finished {
    pub(crate) nonzero: u64,
    pub(crate) sum: Sum,
    pub(crate) mean: f64,
    pub(crate) variance: f64,
    /// `None` where there are no values.
    pub(crate) min: Option<Sum>,
    pub(crate) max: Option<Sum>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn totals<T: Scalar>(values: &[T]) -> Totals {
        let mut totals = Totals::default();
        values.iter().for_each(|&value| totals.add::<T>(value.split()));
        totals
    }

    /// Of integers, exactly.
    fn expected(values: &[i64], zeros: u64, ddof: i128) -> (i128, f64) {
        let n = values.len() as i128 + i128::from(zeros);
        let sum: i128 = values.iter().map(|&v| i128::from(v)).sum();
        let squares: i128 = values.iter().map(|&v| i128::from(v) * i128::from(v)).sum();
        let variance = (n * squares - sum * sum) as f64 / (n * (n - ddof)) as f64;
        (sum, variance)
    }

    proptest! {
        #[test]
        fn integers_are_added_exactly(
            values in proptest::collection::vec(-(1i64 << 55)..1 << 55, 0..60),
            zeros in 0u64..50,
            cut in any::<prop::sample::Index>(),
            ddof in 0u32..2,
        ) {
            let cut = cut.index(values.len() + 1);
            let mut all = totals(&values[cut..]);
            all.merge(&totals(&values[..cut]));
            let n = values.len() as u64 + zeros;
            let found = all.finish(n, ddof);
            if n > u64::from(ddof) {
                let (sum, variance) = expected(&values, zeros, i128::from(ddof));
                prop_assert_eq!(found.sum.integer(), sum);
                prop_assert!((found.variance - variance).abs() <= 1e-14 * variance, "{} {variance}", found.variance);
                let all = || values.iter().copied().map(i128::from).chain((zeros > 0).then_some(0));
                prop_assert_eq!(found.min.map(Sum::integer), all().min());
                prop_assert_eq!(found.max.map(Sum::integer), all().max());
            }
            prop_assert_eq!(found.nonzero, values.iter().filter(|&&v| v != 0).count() as u64);
        }

        #[test]
        fn a_large_mean_does_not_spoil_the_variance(
            steps in proptest::collection::vec(-1000i64..1000, 2..200),
            far in 0i64..1 << 50,
        ) {
            // Sixteenths, so that the floats are exact.
            let floats: Vec<f64> = steps.iter().map(|&s| (far + s) as f64 / 16.0).collect();
            let found = totals(&floats).finish(floats.len() as u64, 1).variance * 256.0;
            let (_, variance) = expected(&steps, 0, 1);
            // Of the square of the mean, the sums hold about 104 bits.
            let error = (far as f64).powi(2) * 2f64.powi(-100) + variance * 1e-14;
            prop_assert!((found - variance).abs() <= error, "{found} {variance}");
        }
    }

    #[test]
    fn what_is_no_number_goes_through() {
        let infinite = totals(&[1.0, f64::INFINITY]).finish(3, 0);
        assert_eq!((infinite.sum.float(), infinite.mean), (f64::INFINITY, f64::INFINITY));
        assert!(infinite.variance.is_nan());
        assert_eq!(infinite.min.map(Sum::float), Some(0.0));
        assert_eq!(infinite.max.map(Sum::float), Some(f64::INFINITY));
        let both = totals(&[f64::NEG_INFINITY, f64::INFINITY]).finish(2, 0);
        assert!(both.sum.float().is_nan() && both.mean.is_nan());
        let nan = totals(&[1.0, f64::NAN]).finish(2, 0);
        assert!(nan.sum.float().is_nan() && nan.min.is_some_and(|min| min.float().is_nan()));
        assert_eq!(nan.nonzero, 2);
        let nothing = totals::<f64>(&[]).finish(0, 0);
        assert_eq!((nothing.sum.float(), nothing.min, nothing.max), (0.0, None, None));
        assert!(nothing.mean.is_nan() && nothing.variance.is_nan());
        let zeros = totals::<f64>(&[]).finish(4, 0);
        assert_eq!((zeros.mean, zeros.variance, zeros.min), (0.0, 0.0, Some(Sum::default())));
        assert!(totals(&[2.0]).finish(1, 1).variance.is_nan());
        assert_eq!(totals(&[0.1; 999]).finish(999, 0).variance, 0.0);
        assert_eq!(totals(&[f64::MAX, f64::MAX]).finish(2, 0).sum.float(), f64::INFINITY);
        assert_eq!(totals(&[1e300, 0.0]).finish(2, 0).variance, f64::INFINITY);
    }
}
