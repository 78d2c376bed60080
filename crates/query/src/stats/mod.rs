//! Statistics of a matrix: of each gene, of each cell, of each gene in the groups of a column, or of all of it.
//!
//! What is not stored is zero, and counts. Cells are read band by band, and only totals are kept, so many at a time; where
//! there are more, the matrix is read several times, each time a part of its columns or rows.

mod counts;
mod file;
mod groups;
mod row;
mod sums;
mod tally;

use std::ops::Range;

use arrow_array::cast::AsArray;
use arrow_array::{Array as _, ArrayRef};
use arrow_schema::{DataType, SchemaRef};
use serde::Serialize;
use serde_json::Value;
use vacuole_soma::anndata_record::AnnDataRecord;
use vacuole_soma::layout::JOIN_ID;
use vacuole_soma::{Array, Error as SomaError, ErrorKind, Object};

pub use self::file::StatsFile;
pub(crate) use self::groups::{Groups, NONE};
pub use self::row::{Number, StatsRow};
pub(crate) use self::sums::Totals;
pub(crate) use self::tally::{MOST_GROUPS, Tally, Whose, at_once, passes};
use crate::axis::AxisSelection;
use crate::column::IdColumn;
use crate::error::{Error, Result};
use crate::experiment::Experiment;
use crate::matrix::{self, Columns, Lines};
use crate::slice::{ids_of, layer};
use crate::values::not_told_apart;

/// How many values are added up at once where it does not matter whose they are: they stay in the processor's cache.
const AT_ONCE: usize = 1 << 14;

/// The most rows that groups and genes may make together.
const MOST_ROWS: u64 = 100_000_000;

/// Of what there is a row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Per {
    /// Of each gene.
    #[default]
    Gene,
    /// Of each cell.
    Cell,
    /// Of each gene in each group of cells that have the same value in a column of `obs`.
    Group(String),
    /// Of the whole layer one.
    Layer,
}

/// Which statistics are wanted, and of what.
#[derive(Clone, Debug, Default)]
pub struct StatsOptions {
    /// The measurement; by default `RNA`, or the only one besides `raw`.
    pub measurement: Option<String>,
    /// The layer; by default `data`, else the first by name; of a file X.
    pub layer: Option<String>,
    /// The cells: a value filter on `obs`.
    pub obs_filter: Option<String>,
    /// The genes: a value filter on `var`.
    pub var_filter: Option<String>,
    /// Of what there is a row.
    pub per: Per,
    /// What is taken off the number of values that the variance divides by: 0, as numpy does, or 1, as scanpy does.
    pub ddof: u32,
    /// The column of `obs` that holds the ids; by default the one that the ingest made of them.
    pub obs_id_name: Option<String>,
    /// The column of `var` that holds the ids.
    pub var_id_name: Option<String>,
}

/// What the statistics are of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StatsSummary {
    /// The measurement of an experiment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub measurement: Option<String>,
    /// The layer; of a file none for X.
    pub layer: Option<String>,
    /// Cells.
    pub n_obs: u64,
    /// Genes.
    pub n_var: u64,
    /// Groups, where there are some.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<u64>,
    /// Rows of the table.
    pub rows: u64,
    /// Values of the filters that are no categories, and why nothing was found.
    pub filter_notes: Vec<String>,
}

/// Takes what the rows are of, before there are any, and then the rows, in order.
pub trait StatsSink {
    /// Says what comes, and of which types it is as a table.
    ///
    /// # Errors
    /// Those of whoever takes it; nothing more is read then.
    fn begin(&mut self, summary: &StatsSummary, schema: &SchemaRef) -> Result<()>;

    /// Takes some rows.
    ///
    /// # Errors
    /// As of [`begin`](Self::begin).
    fn rows(&mut self, rows: Vec<StatsRow>) -> Result<()>;
}

/// A matrix of which rows are made, wherever it is.
pub(crate) trait Source {
    /// What the statistics are of, without `groups` and `rows`.
    fn summary(&self) -> StatsSummary;

    /// The type of the values.
    fn data_type(&self) -> &DataType;

    /// Adds up some genes.
    fn genes(&self, genes: Range<usize>, whose: Whose<'_>) -> Result<Vec<Totals>>;

    /// Adds up some cells.
    fn cells(&self, cells: Range<usize>) -> Result<Vec<Totals>>;

    /// Adds up everything.
    fn all(&self) -> Result<Totals> {
        of_all_genes(self)
    }

    /// The ids of some genes or cells.
    fn ids(&self, axis: Axis, part: Range<usize>) -> Result<ArrayRef>;

    /// The groups of the cells.
    fn groups(&self, column: &str) -> Result<Groups>;
}

/// Adds up everything, gene by gene.
fn of_all_genes(source: &(impl Source + ?Sized)) -> Result<Totals> {
    let mut all = Totals::default();
    for part in passes(source.summary().n_var as usize, at_once()) {
        source.genes(part, Whose::Columns)?.iter().for_each(|totals| all.merge(totals));
    }
    Ok(all)
}

/// One of the two axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Axis {
    Obs,
    Var,
}

/// Makes the rows and hands them on.
pub(crate) fn make(
    source: &dyn Source,
    options: &StatsOptions,
    sink: &mut dyn StatsSink,
) -> Result<StatsSummary> {
    let mut summary = source.summary();
    let groups = match &options.per {
        Per::Group(column) => Some(source.groups(column)?),
        Per::Gene | Per::Cell | Per::Layer => None,
    };
    summary.groups = groups.as_ref().map(|groups| groups.values.len() as u64);
    summary.rows = match options.per {
        Per::Layer => 1,
        Per::Cell => summary.n_obs,
        Per::Gene | Per::Group(_) => summary.n_var.saturating_mul(summary.groups.unwrap_or(1)),
    };
    if let Some(groups) = summary.groups
        && (groups > MOST_GROUPS as u64 || summary.rows > MOST_ROWS)
    {
        let message = format!(
            "expected at most {MOST_GROUPS} groups and {MOST_ROWS} rows, found {groups} groups of {} genes; choose a column with fewer values, or fewer genes",
            summary.n_var
        );
        return Err(SomaError::new(ErrorKind::InvalidInput, "--by", message).into());
    }
    let data_type = source.data_type();
    sink.begin(&summary, &row::schema(&options.per, data_type, groups.as_ref()))?;
    let rows = row::Rows { ddof: options.ddof, integers: row::holds_integers(data_type) };
    match (&options.per, &groups) {
        (Per::Layer, _) => {
            let n = summary.n_obs.saturating_mul(summary.n_var);
            sink.rows(vec![rows.layer(n, &source.all()?)])?;
        }
        (Per::Cell, _) => {
            for part in passes(summary.n_obs as usize, at_once()) {
                let totals = source.cells(part.clone())?;
                let ids = source.ids(Axis::Obs, part)?;
                let ids = ids.as_string::<i64>();
                let row = |(place, totals): (usize, &Totals)| {
                    rows.cell(ids.value(place), summary.n_var, totals)
                };
                sink.rows(totals.iter().enumerate().take(ids.len()).map(row).collect())?;
            }
        }
        (_, groups) => {
            let one = [summary.n_obs];
            let (sizes, values): (&[u64], &[Value]) = match groups {
                Some(groups) => (&groups.sizes, &groups.values),
                None => (&one, &[]),
            };
            let whose = match groups {
                Some(groups) => Whose::Groups(&groups.of, groups.values.len()),
                None => Whose::Columns,
            };
            for part in passes(summary.n_var as usize, at_once() / sizes.len().max(1)) {
                let totals = source.genes(part.clone(), whose)?;
                let ids = source.ids(Axis::Var, part)?;
                let mut made = Vec::with_capacity(totals.len());
                for (gene, id) in totals.chunks(sizes.len().max(1)).zip(ids.as_string::<i64>()) {
                    let id = id.unwrap_or_default();
                    for (place, (totals, &size)) in gene.iter().zip(sizes).enumerate() {
                        made.push(rows.gene(id, values.get(place), size, totals));
                    }
                }
                sink.rows(made)?;
            }
        }
    }
    Ok(summary)
}

/// Hands the statistics of a measurement's layer to `sink`.
///
/// # Errors
/// Those of filters; [`NotFound`](ErrorKind::NotFound) for a column or layer that there is not, with those that there
/// are; [`Unsupported`](ErrorKind::Unsupported) where the values of the column are not told apart; those of reading and
/// of the sink.
pub fn write_stats(
    experiment: &Experiment,
    options: &StatsOptions,
    sink: &mut dyn StatsSink,
) -> Result<StatsSummary> {
    let x = format!("X/{}", options.layer.as_deref().unwrap_or("data"));
    experiment.expect(options.measurement.as_deref(), &["var", &x])?;
    let name = experiment.measurement_name(options.measurement.as_deref())?;
    let measurement = experiment.measurement(Some(&name))?;
    let Some((layer_name, layer)) = layer(&measurement, options.layer.as_deref())? else {
        let message = "expected a layer, found none; there are no values";
        return Err(SomaError::new(ErrorKind::NotFound, measurement.display(), message).into());
    };
    let known = AnnDataRecord::find(&**experiment.object().store(), &name)?;
    let known = known.map(|(record, _)| record);
    let side = |object: Object, filter: Option<&str>, asked: &Option<String>, usual| {
        let recorded = known.as_ref().and_then(|record| record.id_column(object.path()));
        let selection = AxisSelection::find(object.array()?, filter)?;
        let recorded = recorded.map(str::to_owned);
        Ok::<_, Error>(Side { object, selection, asked: asked.clone(), recorded, usual })
    };
    let obs =
        side(experiment.obs()?, options.obs_filter.as_deref(), &options.obs_id_name, "obs_id")?;
    let var = measurement.expect_member("var")?;
    let var = side(var, options.var_filter.as_deref(), &options.var_id_name, "var_id")?;
    let array = layer.array()?;
    let data_type = matrix::value_type(&array)?;
    let stored = Stored { measurement: name, layer: layer_name, array, data_type, obs, var };
    make(&stored, options, sink)
}

/// An axis of an experiment, with what tells which column holds the ids.
struct Side {
    object: Object,
    selection: AxisSelection,
    asked: Option<String>,
    recorded: Option<String>,
    usual: &'static str,
}

/// The layer of an experiment.
struct Stored {
    measurement: String,
    layer: String,
    array: Array,
    data_type: DataType,
    obs: Side,
    var: Side,
}

impl Stored {
    fn add(
        &self,
        tally: Tally<'_>,
        obs: &AxisSelection,
        var: &AxisSelection,
    ) -> Result<Vec<Totals>> {
        matrix::visit(&self.array, obs, &Columns::Axis(var), &|cells| {
            self.added(tally.add(cells), cells.values)
        })?;
        Ok(tally.finish())
    }

    /// What values that are no numbers are told as.
    fn added(&self, numbers: bool, values: &ArrayRef) -> Result<()> {
        match numbers {
            true => Ok(()),
            false => {
                let message = format!("expected numbers, found {}", values.data_type());
                Err(SomaError::new(ErrorKind::Unsupported, self.array.display(), message).into())
            }
        }
    }
}

impl Source for Stored {
    fn summary(&self) -> StatsSummary {
        StatsSummary {
            measurement: Some(self.measurement.clone()),
            layer: Some(self.layer.clone()),
            n_obs: self.obs.selection.len() as u64,
            n_var: self.var.selection.len() as u64,
            groups: None,
            rows: 0,
            filter_notes: [self.obs.selection.notes(), self.var.selection.notes()].concat(),
        }
    }

    fn data_type(&self) -> &DataType {
        &self.data_type
    }

    fn genes(&self, genes: Range<usize>, whose: Whose<'_>) -> Result<Vec<Totals>> {
        let (obs, var) = (&self.obs.selection, self.var.selection.part(genes));
        self.add(Tally::new(whose, (obs.len(), var.len()), false), obs, &var)
    }

    fn cells(&self, cells: Range<usize>) -> Result<Vec<Totals>> {
        let (obs, var) = (self.obs.selection.part(cells), &self.var.selection);
        self.add(Tally::new(Whose::Rows, (obs.len(), var.len()), false), &obs, var)
    }

    fn all(&self) -> Result<Totals> {
        // What is stored of one place several times is one value, their sum.
        if !self.array.is_sparse() || self.array.schema().allows_duplicates {
            return of_all_genes(self);
        }
        let tally = Tally::new(Whose::Columns, (self.obs.selection.len(), 1), true);
        let add = |values: ArrayRef| {
            let lines = vec![(0, 0..values.len())];
            self.added(tally.add(&Lines { lines, positions: None, values: &values }), &values)
        };
        matrix::visit_values(&self.array, &self.obs.selection, &self.var.selection, &|values| {
            let part = |start| values.slice(start, AT_ONCE.min(values.len() - start));
            (0..values.len()).step_by(AT_ONCE).try_for_each(|start| add(part(start)))
        })?;
        Ok(tally.finish().into_iter().next().unwrap_or_default())
    }

    fn ids(&self, axis: Axis, part: Range<usize>) -> Result<ArrayRef> {
        let side = if axis == Axis::Obs { &self.obs } else { &self.var };
        let id_column = IdColumn {
            asked: side.asked.as_deref(),
            recorded: side.recorded.as_deref(),
            usual: side.usual,
        };
        ids_of(&side.selection.part(part), &side.object, &id_column)
    }

    fn groups(&self, column: &str) -> Result<Groups> {
        groups_of(&self.obs.selection, column)
    }
}

/// The groups that the rows of a data frame make by a column.
pub(crate) fn groups_of(rows: &AxisSelection, column: &str) -> Result<Groups> {
    let frame = rows.frame();
    let Ok(field) = frame.arrow_schema().field_with_name(column) else {
        let fields = frame.arrow_schema().fields().iter();
        let names: Vec<&str> = fields.map(|field| field.name().as_str()).collect();
        let message = format!("expected a column '{column}', found {}", names.join(", "));
        return Err(SomaError::new(ErrorKind::NotFound, frame.display(), message).into());
    };
    let columns = [JOIN_ID.to_owned(), column.to_owned()];
    let columns = if column == JOIN_ID { &columns[1..] } else { &columns };
    let read = rows.read(Some(columns))?;
    let ordered = field.dict_is_ordered() == Some(true);
    let found = read.column_by_name(column).and_then(|values| Groups::new(values, ordered));
    found.ok_or_else(|| not_told_apart(frame.display(), field))
}
