//! `obs` and `var` as tables: their rows in order, some at a time.

mod columnar;
mod text;
mod write;

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{ArrayRef, RecordBatch, UInt64Array};
use arrow_schema::{Field, Schema, SchemaRef};
use arrow_select::concat::concat_batches;
use arrow_select::take::take_record_batch;
use vacuole_anndata::model::ColumnEncoding;
use vacuole_anndata::{Chosen, Frame, H5ad, StoredColumn};
use vacuole_soma::ahead::{Put, ahead};
use vacuole_soma::anndata_record::AnnDataRecord;
use vacuole_soma::layout::JOIN_ID;
use vacuole_soma::{Error as SomaError, ErrorKind, SparseReadOptions};

use crate::axis::AxisSelection;
use crate::choice::Choice;
use crate::column::IdColumn;
use crate::error::{Error, Result};
use crate::experiment::Experiment;
use crate::h5ad;

pub use self::text::cells as text_of_cells;
pub use self::write::{TableFile, TableFormat, TableSummary, TableWriter};

/// How many values, of all columns, are held at a time, where stored tiles allow it.
const VALUES: u64 = 1 << 21;

/// The fewest rows of a file that are read at a time.
const LEAST_ROWS: u64 = 1 << 14;

/// A data frame of an experiment or of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TableAxis {
    /// Cells.
    #[default]
    Obs,
    /// Genes.
    Var,
}

impl TableAxis {
    pub(crate) fn usual_id(self) -> &'static str {
        match self {
            Self::Obs => "obs_id",
            Self::Var => "var_id",
        }
    }
}

/// What a table holds.
#[derive(Clone, Debug, Default)]
pub struct TableOptions {
    /// The data frame.
    pub axis: TableAxis,
    /// The measurement that `var` is of; by default `RNA`, or the only one besides `raw`.
    pub measurement: Option<String>,
    /// The rows.
    pub rows: Choice,
    /// The columns, in this order; by default all, in their order.
    pub columns: Option<Vec<String>>,
    /// Whether `soma_joinid` is one of the columns where none are named, the first.
    pub join_ids: bool,
    /// The column that ids are looked for in; by default the one that the ingest made the index.
    pub id_name: Option<String>,
    /// The most rows.
    pub limit: Option<u64>,
}

/// Rows of `obs` or `var`, in the order of the join ids, which is that of a file.
#[derive(Debug)]
pub struct Table {
    schema: SchemaRef,
    found: u64,
    rows: Rows,
    notes: Vec<String>,
}

#[derive(Debug)]
enum Rows {
    Stored(AxisSelection),
    /// A column without a name is the index.
    InFile(Frame, Chosen, Vec<Option<String>>),
}

impl Table {
    /// A data frame of an experiment.
    ///
    /// # Errors
    /// As of choosing rows; [`NotFound`](ErrorKind::NotFound) for a column that there is not, with those that there are.
    pub fn of_experiment(experiment: &Experiment, options: &TableOptions) -> Result<Self> {
        let measurement = options.measurement.as_deref();
        let object = match options.axis {
            TableAxis::Obs => {
                experiment.expect(measurement, &[])?;
                experiment.obs()?
            }
            TableAxis::Var => {
                experiment.expect(measurement, &["var"])?;
                experiment.measurement(measurement)?.expect_member("var")?
            }
        };
        let frame = object.array()?;
        let known = match &options.rows.ids {
            // What is not needed is not asked for.
            None => None,
            Some(_) => {
                let name = experiment.measurement_name(measurement)?;
                AnnDataRecord::find(&**experiment.object().store(), &name)?
            }
        };
        let id_column = IdColumn {
            asked: options.id_name.as_deref(),
            recorded: known.as_ref().and_then(|(record, _)| record.id_column(object.path())),
            usual: options.axis.usual_id(),
        };
        let all = frame.arrow_schema();
        let fields = match &options.columns {
            Some(columns) => columns_named(all, columns, frame.display())?,
            None => {
                let is_join_id = |field: &&Arc<Field>| field.name() == JOIN_ID;
                let join_id = all.fields().iter().filter(is_join_id).filter(|_| options.join_ids);
                let others = all.fields().iter().filter(|field| !is_join_id(field));
                join_id.chain(others).map(|field| field.as_ref().clone()).collect()
            }
        };
        let axis = AxisSelection::choose(frame, &options.rows, &id_column.candidates(&object))?;
        let found = axis.len() as u64;
        let notes = axis.notes().to_vec();
        let axis = match options.limit {
            Some(limit) => axis.first(usize::try_from(limit).unwrap_or(usize::MAX)),
            None => axis,
        };
        Ok(Self { schema: Arc::new(Schema::new(fields)), found, rows: Rows::Stored(axis), notes })
    }

    /// A data frame of a file, which has the ids as its first column, by the name of the index or else as `obs_id` or
    /// `var_id`.
    ///
    /// # Errors
    /// As of [`of_experiment`](Self::of_experiment), and for what the file holds.
    pub fn of_file(file: &H5ad, options: &TableOptions) -> Result<Self> {
        let frame = match options.axis {
            TableAxis::Obs => file.obs(),
            TableAxis::Var => file.var(),
        };
        let usual_id = options.axis.usual_id();
        let h5ad::Selected { rows, notes } = h5ad::choose(frame, usual_id, &options.rows)?;
        let found = rows.len();
        let limit = options.limit.unwrap_or(u64::MAX);
        let rows = match limit < found {
            true => rows.blocks(limit).next().filter(|_| limit > 0).unwrap_or_default(),
            false => rows,
        };
        let all = h5ad::schema(frame, usual_id);
        let fields = match &options.columns {
            Some(columns) => columns_named(&all, columns, frame.path().to_owned())?,
            None => {
                let is_id = |field: &&Arc<Field>| frame.stored_column(field.name()).is_none();
                // The ids go by several names.
                let id = all.fields().iter().find(is_id);
                let others = all.fields().iter().filter(|field| !is_id(field));
                id.into_iter().chain(others).map(|field| field.as_ref().clone()).collect()
            }
        };
        let column = |field: &Field| {
            let name = field.name();
            frame.stored_column(name).map(|_| name.clone())
        };
        let columns: Vec<Option<String>> = fields.iter().map(column).collect();
        // Of text the stored type decides.
        let none = Chosen::default();
        let fields = fields.into_iter().zip(&columns).map(|(field, column)| {
            let values = of_rows(frame, column.as_deref(), &none)?;
            let stored = column.as_deref().and_then(|name| frame.stored_column(name));
            let ordered = stored.map(StoredColumn::encoding)
                == Some(ColumnEncoding::Categorical { ordered: true });
            let data_type = values.data_type().clone();
            Ok(Field::new(field.name(), data_type, true).with_dict_is_ordered(ordered))
        });
        let fields = fields.collect::<Result<Vec<_>>>()?;
        let rows = Rows::InFile(frame.clone(), rows, columns);
        Ok(Self { schema: Arc::new(Schema::new(fields)), found, rows, notes })
    }

    /// The columns. Categories are dictionaries.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// How many rows were found, whatever the limit.
    pub fn found(&self) -> u64 {
        self.found
    }

    /// What to tell whoever wrote the filter.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// How many rows there are, within the limit.
    pub fn len(&self) -> u64 {
        match &self.rows {
            Rows::Stored(axis) => axis.len() as u64,
            Rows::InFile(_, rows, _) => rows.len(),
        }
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What messages call it.
    fn name(&self) -> String {
        match &self.rows {
            Rows::Stored(axis) => axis.frame().display(),
            Rows::InFile(frame, ..) => frame.path().to_owned(),
        }
    }

    /// Hands on the rows, in order; the next ones are read meanwhile.
    ///
    /// # Errors
    /// Those of reading, and of `take`.
    pub fn each(&self, take: impl FnMut(RecordBatch) -> Result<()>) -> Result<()> {
        if self.is_empty() {
            return Ok(());
        }
        let at_a_time = VALUES / self.schema.fields().len().max(1) as u64;
        match &self.rows {
            Rows::Stored(axis) => ahead(|put| self.stored(axis, at_a_time, put), take),
            Rows::InFile(frame, rows, columns) => ahead(
                |put| {
                    for rows in rows.blocks(at_a_time.max(LEAST_ROWS)) {
                        let columns = columns.iter();
                        let columns = columns.map(|name| of_rows(frame, name.as_deref(), &rows));
                        if !put(self.batch(columns.collect::<Result<_>>()?, rows.len())?) {
                            break;
                        }
                    }
                    Ok(())
                },
                take,
            ),
        }
    }

    fn stored(
        &self,
        axis: &AxisSelection,
        at_a_time: u64,
        put: &mut Put<'_, RecordBatch>,
    ) -> Result<()> {
        let frame = axis.frame();
        let mut columns: Vec<&str> = vec![JOIN_ID];
        let others = self.schema.fields().iter().map(|field| field.name().as_str());
        columns.extend(others.filter(|name| *name != JOIN_ID));
        let options = SparseReadOptions::columns(&columns)
            .select(vec![axis.selection()])
            .at_a_time(at_a_time);
        let places = self.schema.fields().iter();
        let places: Vec<usize> = places
            .filter_map(|field| columns.iter().position(|name| name == field.name()))
            .collect();
        let mut read = frame.read_sparse(&options)?;
        while let Some(band) = read.next_band(Ok::<_, Error>) {
            let band = in_order(band?).map_err(|e| Error::arrow(frame.display(), e))?;
            for batch in band {
                let columns = places.iter().map(|&place| Arc::clone(batch.column(place)));
                if !put(self.batch(columns.collect(), batch.num_rows() as u64)?) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn batch(&self, columns: Vec<ArrayRef>, rows: u64) -> Result<RecordBatch> {
        // Without columns there are rows all the same.
        let options =
            arrow_array::RecordBatchOptions::new().with_row_count(usize::try_from(rows).ok());
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)
            .map_err(|error| Error::arrow(self.name(), error))
    }
}

/// Some of the fields of a schema, in the order in which they are asked for, each once.
fn columns_named(schema: &Schema, asked: &[String], place: String) -> Result<Vec<Field>> {
    let mut fields: Vec<Field> = Vec::new();
    for name in asked {
        let Ok(field) = schema.field_with_name(name) else {
            let names: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
            let message = format!("expected a column '{name}', found {}", names.join(", "));
            return Err(SomaError::new(ErrorKind::NotFound, place, message).into());
        };
        if !fields.iter().any(|field| field.name() == name) {
            fields.push(field.clone());
        }
    }
    Ok(fields)
}

/// A column of chosen rows of a file; without a name the index.
fn of_rows(frame: &Frame, name: Option<&str>, rows: &Chosen) -> Result<ArrayRef> {
    match name.and_then(|name| frame.stored_column(name)) {
        Some(column) => h5ad::comparable(&column.read_chosen(rows)?.values),
        None => Ok(frame.index_of(rows)?),
    }
}

/// The rows of a band by rising join ids, which are the first column: fragments may hold rows in between each other's.
fn in_order(batches: Vec<RecordBatch>) -> Result<Vec<RecordBatch>, arrow_schema::ArrowError> {
    let rising = |batches: &[RecordBatch]| {
        let ids = batches.iter().filter_map(|b| b.column(0).as_primitive_opt::<Int64Type>());
        ids.flat_map(|ids| ids.values().iter().copied()).is_sorted()
    };
    let Some(first) = batches.first().filter(|_| !rising(&batches)) else { return Ok(batches) };
    let all = concat_batches(&first.schema(), &batches)?;
    let mut order: Vec<u64> = (0..all.num_rows() as u64).collect();
    if let Some(ids) = all.column(0).as_primitive_opt::<Int64Type>() {
        order.sort_by_key(|&row| ids.value(row as usize));
    }
    Ok(vec![take_record_batch(&all, &UInt64Array::from(order))?])
}
