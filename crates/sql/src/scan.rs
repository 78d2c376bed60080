//! Reading a table as a part of a plan.
//!
//! What a query asks of coordinates is turned into selections, which the reader keeps to exactly. What else it says of single
//! columns, and what joins find on their other side while the query runs, only tells which rows need not be read.

use std::fmt;
use std::sync::Arc;

use arrow_array::Array as _;
use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use datafusion::common::config::ConfigOptions;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{ColumnStatistics, Result, Statistics};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::expressions::DynamicFilterTracking;
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_expr_common::physical_expr::{is_volatile, snapshot_physical_expr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::filter_pushdown::{
    ChildPushdownResult, FilterPushdownPhase, FilterPushdownPropagation, PushedDown,
};
use datafusion::physical_plan::metrics::{
    BaselineMetrics, ExecutionPlanMetricsSet, MetricBuilder, MetricsSet,
};
use datafusion::physical_plan::stream::{
    RecordBatchReceiverStreamBuilder, RecordBatchStreamAdapter,
};
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties,
    ReplaceChildrenOptions, StatisticsArgs,
};
use futures_util::{StreamExt, stream};
use vacuole_soma::Selection;

use crate::explained::external;
use crate::rows::{Rows, Wanted, projected};
use crate::selection::{self, both, only_column, size};

/// How many rows a plan gets at a time.
const ROWS: usize = 1 << 16;

/// How many batches are ready before they are taken.
const AHEAD: usize = 2;

/// Some columns of a table, and those of its rows that are wanted.
#[derive(Clone, Debug)]
pub(crate) struct Scan {
    name: Arc<str>,
    rows: Arc<dyn Rows>,
    wanted: Wanted,
    /// Conditions that change while the plan runs.
    dynamic: Vec<Arc<dyn PhysicalExpr>>,
    schema: SchemaRef,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl Scan {
    pub(crate) fn new(
        name: Arc<str>,
        rows: Arc<dyn Rows>,
        columns: Vec<usize>,
        limit: Option<usize>,
    ) -> Self {
        let schema = projected(rows.schema(), &columns);
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&schema)),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Self {
            name,
            rows,
            wanted: Wanted { columns, limit, ..Wanted::default() },
            dynamic: Vec::new(),
            schema,
            properties: Arc::new(properties),
            metrics: ExecutionPlanMetricsSet::new(),
        }
    }

    /// What a condition, if it is on one column, says of it.
    fn understood(&self, condition: &Arc<dyn PhysicalExpr>) -> Option<Understood> {
        let place = only_column(condition)?.index();
        let column = *self.wanted.columns.get(place)?;
        let field = self.rows.schema().field(column);
        if is_volatile(condition) {
            return None;
        }
        if let Some((low, high)) = self.rows.coordinates(column) {
            let before = self.wanted.selections.iter().find(|(other, _)| *other == column);
            let before = before.map(|(_, selection)| selection.clone());
            let within = before.unwrap_or_else(|| Selection::ranges([(low, high)]));
            let found = selection::coordinates(condition, field, &within);
            return Some(Understood::Coordinates(column, found));
        }
        let range = if let Some(values) = self.rows.categories(column) {
            let holds = selection::categories(condition, field, values)?;
            let null = holds.len().checked_sub(1)?;
            let found = |place: usize| holds.is_valid(place) && holds.value(place);
            if found(null) {
                return None;
            }
            let mut codes = (0..null).filter(|&code| found(code)).map(|code| code as i64);
            // Nothing is between a smallest value and a largest one that is smaller.
            codes.next().map_or((1, 0), |first| (first, codes.next_back().unwrap_or(first)))
        } else if self.rows.has_ranges(column) {
            let all = Selection::ranges([(i64::MIN, i64::MAX)]);
            let found = selection::coordinates(condition, field, &all);
            if found.selection == all {
                return None;
            }
            found.selection.bounds().unwrap_or((1, 0))
        } else {
            return None;
        };
        Some(Understood::Range(column, range))
    }

    /// What is wanted, with what is known by now.
    fn wanted_now(&self) -> Result<Wanted> {
        let mut scan = Self { dynamic: Vec::new(), ..self.clone() };
        for condition in &self.dynamic {
            let condition = snapshot_physical_expr(Arc::clone(condition))?;
            for part in datafusion::physical_expr::split_conjunction(&condition) {
                if let Some(understood) = scan.understood(part) {
                    scan.wanted.take(understood);
                }
            }
        }
        Ok(scan.wanted)
    }
}

/// What a condition says.
enum Understood {
    /// Which coordinates a column has.
    Coordinates(usize, selection::Found),
    /// Between which values a column is.
    Range(usize, (i64, i64)),
}

impl Wanted {
    /// Keeps to a condition; says whether it need not be looked at again.
    fn take(&mut self, understood: Understood) -> bool {
        match understood {
            Understood::Coordinates(column, found) => {
                match self.selections.iter_mut().find(|(other, _)| *other == column) {
                    Some((_, selection)) => *selection = both(selection, &found.selection),
                    None => self.selections.push((column, found.selection)),
                }
                found.exact
            }
            Understood::Range(column, (low, high)) => {
                self.within.push((column, low, high));
                false
            }
        }
    }
}

impl DisplayAs for Scan {
    fn fmt_as(&self, format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let between = if format == DisplayFormatType::TreeRender { "\n" } else { ", " };
        let names: Vec<&str> = self.schema.fields().iter().map(|f| f.name().as_str()).collect();
        if format != DisplayFormatType::TreeRender {
            write!(f, "Scan: ")?;
        }
        write!(f, "table={}{between}columns=[{}]", self.name, names.join(", "))?;
        let column = |column: usize| self.rows.schema().field(column).name();
        for (place, selection) in &self.wanted.selections {
            write!(f, "{between}{}={}", column(*place), Shown(selection))?;
        }
        for (place, low, high) in &self.wanted.within {
            match self.rows.categories(*place) {
                Some(_) => write!(f, "{between}codes of {}={low}..{high}", column(*place))?,
                None => write!(f, "{between}tiles of {}={low}..{high}", column(*place))?,
            }
        }
        for condition in &self.dynamic {
            write!(f, "{between}dynamic={condition}")?;
        }
        match self.wanted.limit {
            Some(limit) => write!(f, "{between}limit={limit}"),
            None => Ok(()),
        }
    }
}

/// A selection as a plan shows it.
struct Shown<'a>(&'a Selection);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// How many ranges are shown.
        const MOST: usize = 4;
        let Selection::Ranges(ranges) = self.0 else { return f.write_str("all") };
        if ranges.is_empty() {
            return f.write_str("none");
        }
        for (place, (low, high)) in ranges.iter().take(MOST).enumerate() {
            let between = if place > 0 { "," } else { "" };
            match low == high {
                true => write!(f, "{between}{low}")?,
                false => write!(f, "{between}{low}..{high}")?,
            }
        }
        if ranges.len() > MOST {
            write!(f, ",... ({} ranges)", ranges.len())?;
        }
        Ok(())
    }
}

impl ExecutionPlan for Scan {
    fn name(&self) -> &'static str {
        "Scan"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn replace_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn with_new_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        for condition in &self.dynamic {
            if f(condition)? == TreeNodeRecursion::Stop {
                return Ok(TreeNodeRecursion::Stop);
            }
        }
        Ok(TreeNodeRecursion::Continue)
    }

    fn execute(
        &self,
        partition: usize,
        _context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let scan = self.clone();
        let baseline = BaselineMetrics::new(&self.metrics, partition);
        // What joins find is known when rows are asked for first, and not before.
        let batches = stream::once(async move { scan.start(partition) }).flatten();
        let counted = batches.map(move |batch| {
            if let Ok(batch) = &batch {
                baseline.record_output(batch.num_rows());
            }
            batch
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), counted)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn statistics_from_inputs(
        &self,
        _: &[Arc<Statistics>],
        _: &StatisticsArgs,
    ) -> Result<Arc<Statistics>> {
        Ok(Arc::new(self.statistics()))
    }

    fn supports_limit_pushdown(&self) -> bool {
        true
    }

    fn with_fetch(&self, limit: Option<usize>) -> Option<Arc<dyn ExecutionPlan>> {
        let wanted = Wanted { limit, ..self.wanted.clone() };
        Some(Arc::new(Self { wanted, ..self.clone() }))
    }

    fn fetch(&self) -> Option<usize> {
        self.wanted.limit
    }

    fn handle_child_pushdown_result(
        &self,
        phase: FilterPushdownPhase,
        pushed: ChildPushdownResult,
        _: &ConfigOptions,
    ) -> Result<FilterPushdownPropagation<Arc<dyn ExecutionPlan>>> {
        let mut scan = self.clone();
        let taken = pushed.parent_filters.into_iter().map(|filter| {
            let condition = filter.filter;
            // Which rows a limit leaves has been decided before any condition comes.
            if scan.wanted.limit.is_some() {
                return PushedDown::No;
            }
            if DynamicFilterTracking::classify(&condition).contains_dynamic_filter() {
                scan.dynamic.push(condition);
                return PushedDown::No;
            }
            if matches!(phase, FilterPushdownPhase::Post) {
                return PushedDown::No;
            }
            match scan.understood(&condition).map(|understood| scan.wanted.take(understood)) {
                Some(true) => PushedDown::Yes,
                _ => PushedDown::No,
            }
        });
        let taken = taken.collect();
        let scan: Arc<dyn ExecutionPlan> = Arc::new(scan);
        Ok(FilterPushdownPropagation::with_parent_pushdown_result(taken).with_updated_node(scan))
    }
}

impl Scan {
    /// Begins to read, on a thread that may wait.
    fn start(self, partition: usize) -> SendableRecordBatchStream {
        let mut builder = RecordBatchReceiverStreamBuilder::new(Arc::clone(&self.schema), AHEAD);
        let sender = builder.tx();
        builder.spawn_blocking(move || {
            let wanted = self.wanted_now()?;
            self.measure(&wanted, partition);
            let mut left = wanted.limit.unwrap_or(usize::MAX);
            let done = self.rows.read(&wanted, &mut |batch| {
                pieces(&batch, left).all(|piece| {
                    left -= piece.num_rows();
                    sender.blocking_send(Ok(piece)).is_ok()
                }) && left > 0
            });
            done.map_err(external)
        });
        builder.build()
    }

    /// Notes how many coordinates are wanted, which `EXPLAIN ANALYZE` tells.
    fn measure(&self, wanted: &Wanted, partition: usize) {
        for (column, selection) in &wanted.selections {
            if let Some(size) = size(selection) {
                let name = format!("wanted_{}", self.rows.schema().field(*column).name());
                let size = usize::try_from(size).unwrap_or(usize::MAX);
                MetricBuilder::new(&self.metrics).counter(name, partition).add(size);
            }
        }
    }

    fn statistics(&self) -> Statistics {
        let columns = self.schema.fields().iter();
        let column_statistics = columns.map(|_| ColumnStatistics::new_unknown()).collect();
        Statistics { num_rows: self.count(), total_byte_size: Precision::Absent, column_statistics }
    }

    /// How many rows there are, about, where some are left out.
    fn count(&self) -> Precision<usize> {
        let Some(all) = self.rows.count().and_then(|count| usize::try_from(count).ok()) else {
            return Precision::Absent;
        };
        let limited = |count: usize| count.min(self.wanted.limit.unwrap_or(usize::MAX));
        if self.wanted.selections.is_empty() {
            return Precision::Exact(limited(all));
        }
        let parts = self.wanted.selections.iter().map(|(column, selection)| {
            let (low, high) = self.rows.coordinates(*column)?;
            let most = high.checked_sub(low)?.checked_add(1).filter(|most| *most > 0)?;
            Some(size(selection)? as f64 / most as f64)
        });
        let part: f64 = parts.map(|part| part.unwrap_or(1.0).min(1.0)).product();
        Precision::Inexact(limited((all as f64 * part).ceil() as usize))
    }
}

/// The first rows of a batch, in pieces.
fn pieces(batch: &RecordBatch, most: usize) -> impl Iterator<Item = RecordBatch> + '_ {
    let rows = batch.num_rows().min(most);
    (0..rows.div_ceil(ROWS)).map(move |piece| {
        let start = piece * ROWS;
        batch.slice(start, ROWS.min(rows - start))
    })
}
