//! Statistics of a file's matrix.

use std::ops::Range;

use arrow_array::ArrayRef;
use arrow_schema::DataType;
use rayon::prelude::*;
use vacuole_anndata::model::{ColumnEncoding, SparseFormat};
use vacuole_anndata::{
    Chosen, DenseArray, Element, Error as AnnDataError, H5ad, SparseMatrix, StoredColumn,
};
use vacuole_soma::ahead::ahead;
use vacuole_soma::{Error as SomaError, ErrorKind};

use super::slice::{element_of, take_layer};
use super::{Selected, dense, filter, select_obs, select_var, sparse};
use crate::error::{Error, Result};
use crate::matrix::{Lines, every};
use crate::stats::{
    Axis, Groups, Source, StatsOptions, StatsSink, StatsSummary, Tally, Totals, Whose, make,
};
use crate::values::not_told_apart;

/// About how many cells one thread adds up at a time.
const AT_A_TIME: usize = 1 << 16;

/// Hands the statistics of a file's X, or of a layer of it, to `sink`. The options that name measurements and columns of ids
/// are not looked at.
///
/// # Errors
/// Those of filters; `InvalidInput` for a layer and `NotFound` for a column that there is not, with those that there are;
/// `Unsupported` where the values of the column are not told apart; those of reading and of the sink.
pub fn write_file_stats(
    file: &H5ad,
    options: &StatsOptions,
    sink: &mut dyn StatsSink,
) -> Result<StatsSummary> {
    let found = match &options.layer {
        Some(name) => Some(take_layer(file, &mut file.layers()?, name)?),
        None => file.x().cloned().map(element_of),
    };
    let path =
        options.layer.as_ref().map_or_else(|| "X".to_owned(), |name| format!("layers/{name}"));
    let fail = |error: AnnDataError| Err(file.locate(error, &path).into());
    let matrix = match found {
        Some(Element::Sparse(matrix)) => Matrix::Sparse(matrix.indptr()?, matrix),
        Some(Element::Array(array)) if array.shape().len() == 2 => Matrix::Dense(array),
        None => return fail(AnnDataError::invalid("expected values, found none; name a layer")),
        Some(_) => return fail(AnnDataError::unsupported("expected a matrix of numbers")),
    };
    let obs = select_obs(file, options.obs_filter.as_deref())?;
    let var = select_var(file, options.var_filter.as_deref())?;
    let layer = options.layer.clone();
    make(&InFile { file, path, layer, matrix, obs, var }, options, sink)
}

enum Matrix {
    /// With the ends of its rows or columns.
    Sparse(Vec<u64>, SparseMatrix),
    Dense(DenseArray),
}

struct InFile<'a> {
    file: &'a H5ad,
    path: String,
    layer: Option<String>,
    matrix: Matrix,
    obs: Selected,
    var: Selected,
}

impl InFile<'_> {
    fn add(&self, whose: Whose<'_>, obs: &Chosen, var: &Chosen) -> Result<Vec<Totals>> {
        let by_columns = match &self.matrix {
            Matrix::Sparse(_, matrix) => matrix.format() == SparseFormat::Csc,
            Matrix::Dense(_) => false,
        };
        let tally = Tally::new(whose, (obs.len() as usize, var.len() as usize), by_columns);
        let each = |cells: &Lines<'_>| match tally.add(cells) {
            true => Ok(()),
            false => {
                let message = format!("expected numbers, found {}", cells.values.data_type());
                Err(Error::from(self.file.locate(AnnDataError::unsupported(message), &self.path)))
            }
        };
        let mut first = 0;
        match &self.matrix {
            Matrix::Dense(array) => ahead(
                |put| dense::blocks(array, obs, Some(var), put),
                |(rows, values)| {
                    every(first, rows as usize, &values, &each)?;
                    first += rows as usize;
                    Ok::<_, Error>(())
                },
            )?,
            Matrix::Sparse(indptr, matrix) => ahead(
                |put| sparse::parts(matrix, indptr, obs, var, put),
                |part| {
                    add_part(first, &part, &each)?;
                    first += part.lengths.len();
                    Ok::<_, Error>(())
                },
            )?,
        }
        Ok(tally.finish())
    }
}

/// Hands the lines of a part on, some to every thread.
fn add_part(
    first: usize,
    part: &sparse::Part,
    each: &(dyn Fn(&Lines<'_>) -> Result<()> + Sync),
) -> Result<()> {
    let mut tasks: Vec<Vec<(usize, Range<usize>)>> = vec![Vec::new()];
    let (mut start, mut cells) = (0, 0);
    for (line, &length) in part.lengths.iter().enumerate() {
        let range = start..start + length as usize;
        start = range.end;
        cells += range.len();
        if let Some(task) = tasks.last_mut() {
            task.push((first + line, range));
        }
        if cells > AT_A_TIME {
            tasks.push(Vec::new());
            cells = 0;
        }
    }
    tasks.into_par_iter().try_for_each(|lines| {
        each(&Lines { lines, positions: Some(&part.positions), values: &part.values })
    })
}

/// Those at some places of what is chosen.
fn part_of(chosen: &Chosen, places: Range<usize>) -> Chosen {
    let mut part = Chosen::default();
    let mut place = 0;
    for range in chosen.ranges() {
        let length = range.end - range.start;
        let inside = |at: usize| range.start + (at as u64).saturating_sub(place).min(length);
        part.push(inside(places.start)..inside(places.end));
        place += length;
    }
    part
}

impl Source for InFile<'_> {
    fn summary(&self) -> StatsSummary {
        StatsSummary {
            measurement: None,
            layer: self.layer.clone(),
            n_obs: self.obs.len(),
            n_var: self.var.len(),
            groups: None,
            rows: 0,
            filter_notes: [self.obs.notes.as_slice(), &self.var.notes].concat(),
        }
    }

    fn data_type(&self) -> &DataType {
        match &self.matrix {
            Matrix::Sparse(_, matrix) => matrix.data_type(),
            Matrix::Dense(array) => array.data_type(),
        }
    }

    fn genes(&self, genes: Range<usize>, whose: Whose<'_>) -> Result<Vec<Totals>> {
        self.add(whose, &self.obs.rows, &part_of(&self.var.rows, genes))
    }

    fn cells(&self, cells: Range<usize>) -> Result<Vec<Totals>> {
        self.add(Whose::Rows, &part_of(&self.obs.rows, cells), &self.var.rows)
    }

    fn ids(&self, axis: Axis, part: Range<usize>) -> Result<ArrayRef> {
        Ok(match axis {
            Axis::Obs => self.file.obs().index_of(&part_of(&self.obs.rows, part))?,
            Axis::Var => self.file.var().index_of(&part_of(&self.var.rows, part))?,
        })
    }

    fn groups(&self, column: &str) -> Result<Groups> {
        groups_of(self.file, &self.obs.rows, column)
    }
}

/// The groups that chosen cells make by a column.
pub(super) fn groups_of(file: &H5ad, obs: &Chosen, column: &str) -> Result<Groups> {
    let frame = file.obs();
    let schema = filter::schema(frame, "obs_id");
    let Ok(field) = schema.field_with_name(column) else {
        let names: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
        let message = format!("expected a column '{column}', found {}", names.join(", "));
        return Err(SomaError::new(ErrorKind::NotFound, frame.path(), message).into());
    };
    let stored = frame.stored_column(column);
    let ordered =
        stored.map(StoredColumn::encoding) == Some(ColumnEncoding::Categorical { ordered: true });
    let values = match stored {
        Some(stored) => filter::comparable(&stored.read_chosen(obs)?.values)?,
        None => frame.index_of(obs)?,
    };
    Groups::new(&values, ordered).ok_or_else(|| not_told_apart(frame.path().to_owned(), field))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_has_the_positions_of_its_places() {
        let chosen = Chosen::from_ranges([2..5, 7..8, 10..14]);
        let all: Vec<u64> = chosen.positions().collect();
        for start in 0..=all.len() {
            for end in start..=all.len() {
                let part = part_of(&chosen, start..end);
                assert_eq!(part.positions().collect::<Vec<_>>(), all[start..end]);
            }
        }
    }
}
