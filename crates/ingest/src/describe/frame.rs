//! AnnData frames as SOMA data frames.

use std::collections::BTreeMap;

use arrow_schema::Field;
use vacuole_anndata::Frame;
use vacuole_anndata::model::ColumnEncoding;
use vacuole_soma::anndata_record::{ColumnForm, ColumnKind, ColumnSource, FrameForm};
use vacuole_soma::create::object_metadata;
use vacuole_soma::{SomaType, keys, layout};
use vacuole_tiledb::metadata::MetadataValue;
use vacuole_tiledb::schema::{ArraySchema, Enumeration};

use super::base::Stored;
use super::ids::{Checked, Ids};
use super::index::{ColumnLayout, Origin, lay_out};
use super::{ArrayNode, Contents, Context, Extra, Kept, Part, SomaColumn, Standing};
use crate::error::{Result, in_object};

/// What goes into a data frame.
pub(crate) struct FrameContents {
    pub(crate) columns: Vec<SomaColumn>,
    pub(crate) rows: u64,
    /// The join id of the first row.
    pub(crate) first_row: u64,
    /// The name of the column of ids.
    pub(crate) ids: Option<String>,
}

/// Describes a data frame of `uns`.
pub(super) fn describe(context: &Context<'_>, path: &str, frame: &Frame) -> Result<ArrayNode> {
    describe_axis(context, &mut Kept::default(), path, frame, None, Ids::Any)
}

/// Describes `obs`, `var` or `raw/var`, and keeps its form; `ids_are` says what its ids must be.
pub(super) fn describe_axis(
    context: &Context<'_>,
    kept: &mut Kept,
    path: &str,
    frame: &Frame,
    id_name: Option<&str>,
    ids_are: Ids,
) -> Result<ArrayNode> {
    let element = frame.path();
    let schema = frame.schema();
    let names: Vec<&str> = schema.columns.iter().map(|column| column.name.as_str()).collect();
    // An index without a name takes the one of the options.
    let renamed = context.options.rename_ids && id_name.is_some();
    let index_called = schema.index_name.clone().filter(|_| !renamed);
    let ColumnLayout { columns: laid, index_name } =
        lay_out(index_called.as_deref(), &names, id_name);
    let mut columns = Vec::with_capacity(laid.len());
    let mut enumerations = Vec::new();
    let mut index_source = None;
    let ids_are_in = |origin: fn(&Origin) -> bool, wanted: Option<&str>| {
        let found =
            laid.iter().find(|(name, from)| origin(from) && wanted.is_none_or(|w| w == name));
        found.map(|(name, _)| name.clone())
    };
    // Beside a column `obs_id`, an index without a name is not stored.
    let id_column = ids_are_in(|from| *from == Origin::Index, None)
        .or_else(|| id_name.and_then(|name| ids_are_in(|_| true, Some(name))));
    let mut sources: Vec<Option<ColumnSource>> = vec![None; names.len()];
    for (name, origin) in laid {
        if let Some(whose) = reserved(&name) {
            let remedy = match origin {
                Origin::Column(_) => "rename the column",
                Origin::Index if schema.index_name.as_deref() == Some(name.as_str()) => {
                    "rename the index"
                }
                Origin::Index => "choose another name with --obs-id-name or --var-id-name",
            };
            return Err(context.unfit(&format!("{element}/{name}"), format!("{whose}; {remedy}")));
        }
        let stored_in = |encoding| ColumnSource::Stored { column: name.clone(), encoding };
        match origin {
            Origin::Index => {
                let Checked { unique: unique_ids, any_null } = ids_are.check(context, frame)?;
                let stored = frame.stored_index();
                let categories = matches!(stored.encoding(), ColumnEncoding::Categorical { .. });
                // Ids that pandas has as categories stay such.
                if categories
                    && unique_ids.is_none()
                    && let Some((column, enumeration)) =
                        SomaColumn::describe(context, &name, stored)?
                {
                    columns.push(column);
                    enumerations.extend(enumeration);
                    continue;
                }
                if unique_ids.is_none() && !any_null {
                    index_source = Some(stored_in(ColumnKind::Plain));
                }
                columns.push(match unique_ids {
                    Some(ids) => SomaColumn::strings(&name, ids),
                    None => SomaColumn::index(&name, frame),
                });
            }
            Origin::Column(position) => {
                let stored = names.get(position).and_then(|name| frame.stored_column(name));
                let Some(stored) = stored else { continue };
                let Some((column, enumeration)) = SomaColumn::describe(context, &name, stored)?
                else {
                    continue;
                };
                if let Some(source) = sources.get_mut(position) {
                    *source = column.lossless().map(stored_in);
                }
                columns.push(column);
                enumerations.extend(enumeration);
            }
        }
    }
    let mut added = Vec::new();
    if ids_are == Ids::Cells {
        for (name, value) in context.obs_values {
            let (column, enumeration) = constant(context, frame, &columns, (name, value))?;
            let encoding = ColumnKind::Categorical;
            let source = ColumnSource::Stored { column: name.clone(), encoding };
            added.push(ColumnForm { name: name.clone(), source });
            columns.push(column);
            enumerations.push(enumeration);
        }
    }
    let index = match index_source {
        Some(source) => source,
        None => {
            let key = kept.keep(&format!("{element}/index"), Extra::Ids(frame.clone()));
            ColumnSource::Extra(key)
        }
    };
    let mut forms = Vec::with_capacity(names.len());
    for (&name, source) in names.iter().zip(sources) {
        let source = match (source, frame.stored_column(name)) {
            (Some(source), _) => source,
            (None, Some(column)) => {
                let extra = Extra::Column(column.clone());
                ColumnSource::Extra(kept.keep(&format!("{element}/columns/{name}"), extra))
            }
            (None, None) => continue,
        };
        forms.push(ColumnForm { name: name.to_owned(), source });
    }
    forms.extend(added);
    let index_name_was = index_called;
    // A column of that name goes before the index, as in the reference.
    let ids = id_name.filter(|name| columns.iter().any(|column| column.field.name() == name));
    let ids = ids.map(str::to_owned).or_else(|| id_column.clone());
    let form = FrameForm { index_name: index_name_was, index, id_column, columns: forms };
    kept.record.frames.insert(path.to_owned(), form);
    let contents = FrameContents { columns, rows: frame.n_rows(), first_row: 0, ids };
    node(path, contents, enumerations, index_name.as_deref(), BTreeMap::new())
}

/// A column that is added to those of a frame, with one value in every row.
fn constant(
    context: &Context<'_>,
    frame: &Frame,
    columns: &[SomaColumn],
    (name, value): (&str, &str),
) -> Result<(SomaColumn, Enumeration)> {
    let object = format!("{}/{name}", frame.path());
    if let Some(whose) = reserved(name) {
        return Err(context.unfit(&object, format!("{whose}; rename the column of the list")));
    }
    if columns.iter().any(|column| column.field.name() == name) {
        let message =
            "the list of files adds a column that is there already; rename that of the list";
        return Err(context.unfit(&object, message));
    }
    SomaColumn::constant(context, name, value)
}

/// Who reserves a name, and which; none where a column can have it.
pub(super) fn reserved(name: &str) -> Option<String> {
    let by = |who: &str, prefix: &str| {
        name.starts_with(prefix).then(|| format!("{who} reserves names that begin with '{prefix}'"))
    };
    by("SOMA", keys::RESERVED_PREFIX).or_else(|| by("TileDB", "__"))
}

/// A data frame of these columns. `index_name` is what pandas called the index.
pub(super) fn node(
    path: &str,
    contents: FrameContents,
    enumerations: Vec<Enumeration>,
    index_name: Option<&str>,
    more: BTreeMap<String, MetadataValue>,
) -> Result<ArrayNode> {
    let fields: Vec<_> = contents.columns.iter().map(|column| column.field.clone()).collect();
    let (schema, enumerations) = schema(path, &fields, enumerations, contents.rows)?;
    let mut metadata = object_metadata(SomaType::DataFrame);
    let json = ascii_json(&serde_json::to_string(&index_name).unwrap_or_default());
    metadata.insert(keys::INDEX_NAME.to_owned(), json.as_str().into());
    metadata.extend(more);
    let parts = vec![Part::only(Contents::Frame(contents))];
    let standing = Standing::New;
    Ok(ArrayNode { path: path.to_owned(), metadata, schema, enumerations, parts, standing })
}

/// The schema of a data frame of `rows` rows, and its enumerations with the names of their files.
pub(super) fn schema(
    path: &str,
    fields: &[Field],
    mut enumerations: Vec<Enumeration>,
    rows: u64,
) -> Result<(ArraySchema, Vec<Enumeration>)> {
    let mut schema = in_object(layout::data_frame(fields, rows), path)?;
    name_files(&mut enumerations);
    add_enumerations(&mut schema, &enumerations);
    Ok((schema, enumerations))
}

/// Gives enumerations files of their own.
fn name_files(enumerations: &mut [Enumeration]) {
    for (number, enumeration) in enumerations.iter_mut().enumerate() {
        // libtiledb's own names end in a number that counts extensions; a UUID must come before it.
        enumeration.file = format!("{}e{number}_0", enumeration.file);
    }
}

/// Names the files of enumerations in a schema; those that it has by these names are replaced.
fn add_enumerations(schema: &mut ArraySchema, enumerations: &[Enumeration]) {
    for Enumeration { name, file, .. } in enumerations {
        match schema.enumerations.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => known.clone_from(file),
            None => schema.enumerations.push((name.clone(), file.clone())),
        }
    }
}

/// The schema of a data frame that is there, with more rows, columns and enumerations; these with the names of their files.
pub(super) fn evolved(
    stored: &Stored,
    fields: &[Field],
    mut enumerations: Vec<Enumeration>,
    rows: u64,
) -> Result<(ArraySchema, Vec<Enumeration>)> {
    let mut schema = stored.grown(&[Some(rows)])?;
    for field in fields {
        if schema.attribute(field.name()).is_none() {
            schema.attributes.push(in_object(layout::column(field), stored.array.display())?);
        }
    }
    name_files(&mut enumerations);
    add_enumerations(&mut schema, &enumerations);
    Ok((schema, enumerations))
}

/// JSON with everything but ASCII escaped, as Python writes it.
fn ascii_json(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for unit in json.encode_utf16() {
        match u8::try_from(unit) {
            Ok(ascii) if ascii.is_ascii() => out.push(char::from(ascii)),
            _ => out.push_str(&format!("\\u{unit:04x}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::ascii_json;

    #[test]
    fn json_is_escaped_as_python_escapes_it() {
        assert_eq!(ascii_json("\"Zelle-№ 🧬\""), "\"Zelle-\\u2116 \\ud83e\\uddec\"");
    }
}
