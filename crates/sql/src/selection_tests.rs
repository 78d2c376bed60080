//! Conditions become the coordinates for which they are true.

use super::*;
use datafusion::common::DFSchema;
use datafusion::execution::context::ExecutionProps;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{Expr, col, lit};
use datafusion::physical_expr::create_physical_expr;
use proptest::prelude::*;

fn field() -> Field {
    Field::new("x", DataType::Int64, false)
}

fn physical(condition: &Expr) -> Arc<dyn PhysicalExpr> {
    let schema = DFSchema::try_from(Schema::new(vec![field()])).unwrap();
    let props = ExecutionProps::new();
    create_physical_expr(condition, &schema, &props, &PhysicalPlanningContext::default()).unwrap()
}

fn found(condition: &Expr, low: i64, high: i64) -> Found {
    coordinates(&physical(condition), &field(), &Selection::ranges([(low, high)]))
}

fn ranges(condition: &Expr) -> Vec<(i64, i64)> {
    let Found { selection: Selection::Ranges(ranges), exact: true } = found(condition, 0, 99)
    else {
        panic!("{condition}")
    };
    ranges
}

#[test]
fn comparisons_and_lists_are_ranges() {
    let x = || col("x");
    for (condition, expected) in [
        (x().eq(lit(5i64)), vec![(5, 5)]),
        (lit(5i64).lt(x()), vec![(6, 99)]),
        (x().not_eq(lit(5i64)), vec![(0, 4), (6, 99)]),
        (x().between(lit(90i64), lit(200i64)), vec![(90, 99)]),
        (
            x().in_list(vec![lit(3i64), lit(1i64), lit(2i64), lit(7i64)], false),
            vec![(1, 3), (7, 7)],
        ),
        (x().lt(lit(2i64)).or(x().gt_eq(lit(98i64))), vec![(0, 1), (98, 99)]),
        (x().gt(lit(i64::MAX)), vec![]),
        (x().lt(lit(i64::MIN)), vec![]),
        (x().eq(lit(ScalarValue::Int64(None))), vec![]),
        (x().in_list(vec![lit(3i64), lit(ScalarValue::Int64(None))], false), vec![(3, 3)]),
        (lit(true), vec![(0, 99)]),
        (lit(ScalarValue::Boolean(None)), vec![]),
    ] {
        assert_eq!(ranges(&condition), expected, "{condition}");
    }
}

#[test]
fn what_is_no_range_is_evaluated() {
    let x = || col("x");
    let odd = (x() % lit(25i64)).eq(lit(1i64));
    assert_eq!(ranges(&odd), [(1, 1), (26, 26), (51, 51), (76, 76)]);
    // Of a list with a null nothing is outside.
    let outside = x().in_list(vec![lit(3i64), lit(ScalarValue::Int64(None))], true);
    assert_eq!(ranges(&outside), []);
    let outside = x().in_list(vec![lit(3i64), lit(98i64)], true);
    assert_eq!(ranges(&outside), [(0, 2), (4, 97), (99, 99)]);
    assert_eq!(ranges(&x().gt(lit(50i64)).is_false().and(x().gt(lit(48i64)))), [(49, 50)]);
}

#[test]
fn what_cannot_be_tried_is_no_answer() {
    let x = || col("x");
    let odd = (x() % lit(2i64)).eq(lit(1i64));
    assert!(!found(&odd, 0, i64::MAX - 1).exact);
    // One side of it narrows all the same.
    let Found { selection, exact } = found(&odd.clone().and(x().lt(lit(5i64))), 0, i64::MAX - 1);
    assert!(!exact);
    assert_eq!(selection, Selection::ranges([(0, 4)]));
    let Found { selection, exact } = found(&x().lt(lit(5i64)).and(odd), 0, i64::MAX - 1);
    assert!(exact);
    assert_eq!(selection, Selection::points([1, 3]));
    // It fails for a coordinate that a cell may not have: the cells decide.
    let fails = (lit(1i64) / x()).eq(lit(1i64));
    assert_eq!(found(&fails, 0, 9), Found::at_most(&Selection::ranges([(0, 9)])));
}

fn condition() -> impl Strategy<Value = Expr> {
    let leaf = (0..8u8, -3i64..23).prop_map(|(kind, n)| {
        let x = || col("x");
        match kind {
            0 => x().eq(lit(n)),
            1 => x().lt(lit(n)),
            2 => lit(n).lt_eq(x()),
            3 => x().between(lit(n), lit(n + 5)),
            4 => x().in_list(vec![lit(n), lit(n + 2), lit(n + 3)], n % 2 == 0),
            5 => (x() % lit(3i64)).eq(lit(n % 3)),
            6 => x().not_eq(lit(n)),
            _ => x().eq(lit(ScalarValue::Int64(None))),
        }
    });
    leaf.prop_recursive(3, 12, 2, |inner| {
        (0..3u8, inner.clone(), inner).prop_map(|(kind, left, right)| match kind {
            0 => left.and(right),
            1 => left.or(right),
            _ => Expr::Not(Box::new(left)),
        })
    })
}

proptest! {
    #[test]
    fn agrees_with_evaluation(condition in condition()) {
        let condition = physical(&condition);
        let all = Selection::ranges([(-2, 5), (7, 20)]);
        let Found { selection, exact } = coordinates(&condition, &field(), &all);
        prop_assert!(exact);
        let alone = Alone::new(&condition, &field()).unwrap();
        for x in -5..25 {
            let holds = alone.holds(Arc::new(Int64Array::from(vec![x]))).unwrap();
            let holds = holds.is_valid(0) && holds.value(0);
            prop_assert_eq!(selection.contains(x), holds && all.contains(x), "{}", x);
        }
    }

    #[test]
    fn what_two_have_in_common(
        left in proptest::collection::vec((0i64..30, 0i64..5), 0..6),
        right in proptest::collection::vec((0i64..30, 0i64..5), 0..6),
    ) {
        let of = |ranges: Vec<(i64, i64)>| Selection::ranges(ranges.into_iter().map(|(a, n)| (a, a + n)));
        let (left, right) = (of(left), of(right));
        let common = both(&left, &right);
        for x in 0..40 {
            prop_assert_eq!(common.contains(x), left.contains(x) && right.contains(x));
        }
        let counted = (0..40).filter(|x| common.contains(*x)).count() as u64;
        prop_assert_eq!(size(&common), Some(counted));
        prop_assert_eq!(both(&Selection::All, &left), left);
    }
}
