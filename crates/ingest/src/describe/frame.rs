//! AnnData frames as SOMA data frames.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{ArrayRef, LargeStringArray};
use vacuole_anndata::Frame;
use vacuole_soma::create::object_metadata;
use vacuole_soma::{SomaType, keys, layout};
use vacuole_tiledb::metadata::MetadataValue;
use vacuole_tiledb::schema::Enumeration;

use super::index::{ColumnLayout, Origin, lay_out, unique_names};
use super::{ArrayNode, Contents, Context, SomaColumn};
use crate::error::{Result, in_object};

/// What goes into a data frame.
pub(crate) struct FrameContents {
    pub(crate) columns: Vec<SomaColumn>,
    pub(crate) rows: u64,
}

/// Describes a frame; `unique` says that its ids are made unique, as those of `obs` and `var` are.
pub(super) fn describe(
    context: &Context<'_>,
    path: &str,
    frame: &Frame,
    id_name: Option<&str>,
    unique: bool,
) -> Result<ArrayNode> {
    let element = frame.path();
    let schema = frame.schema();
    let names: Vec<&str> = schema.columns.iter().map(|column| column.name.as_str()).collect();
    let laid = lay_out(schema.index_name.as_deref(), &names, id_name).map_err(|name| {
        context.unfit(
            element,
            format!(
                "the index would become a column '{name}', and there is one already; rename either"
            ),
        )
    })?;
    let ColumnLayout { columns: laid, index_name } = laid;
    let mut columns = Vec::with_capacity(laid.len());
    let mut enumerations = Vec::new();
    for (name, origin) in laid {
        if name.starts_with(keys::RESERVED_PREFIX) {
            let message = format!(
                "SOMA reserves names that begin with '{}'; rename the column",
                keys::RESERVED_PREFIX
            );
            return Err(context.unfit(&format!("{element}/{name}"), message));
        }
        match origin {
            Origin::Index => {
                let ids = frame.index()?;
                let ids = if unique { made_unique(context, element, ids) } else { ids };
                columns.push(SomaColumn::strings(&name, ids));
            }
            Origin::Column(position) => {
                let stored = names.get(position).and_then(|name| frame.stored_column(name));
                let Some(stored) = stored else { continue };
                match SomaColumn::describe(context, &name, stored)? {
                    Ok((column, enumeration)) => {
                        columns.push(column);
                        enumerations.extend(enumeration);
                    }
                    Err(why) => context.leave_out(&format!("{element}/{name}"), &why),
                }
            }
        }
    }
    node(path, columns, enumerations, frame.n_rows(), index_name.as_deref(), BTreeMap::new())
}

/// A data frame of these columns. `index_name` is what pandas called the index.
pub(super) fn node(
    path: &str,
    columns: Vec<SomaColumn>,
    mut enumerations: Vec<Enumeration>,
    rows: u64,
    index_name: Option<&str>,
    more: BTreeMap<String, MetadataValue>,
) -> Result<ArrayNode> {
    let fields: Vec<_> = columns.iter().map(|column| column.field.clone()).collect();
    let mut schema = in_object(layout::data_frame(&fields, rows), path)?;
    for (number, enumeration) in enumerations.iter_mut().enumerate() {
        // libtiledb's own names end in a number that counts extensions; a UUID must come before it.
        enumeration.file = format!("{}e{number}_0", enumeration.file);
        schema.enumerations.push((enumeration.name.clone(), enumeration.file.clone()));
    }
    let mut metadata = object_metadata(SomaType::DataFrame);
    let json = ascii_json(&serde_json::to_string(&index_name).unwrap_or_default());
    metadata.insert(keys::INDEX_NAME.to_owned(), json.as_str().into());
    metadata.extend(more);
    let contents = Contents::Frame(FrameContents { columns, rows });
    Ok(ArrayNode { path: path.to_owned(), metadata, schema, enumerations, contents })
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

fn made_unique(context: &Context<'_>, element: &str, ids: ArrayRef) -> ArrayRef {
    let Some(names) = ids.as_string_opt::<i64>() else { return ids };
    let names: Vec<&str> = names.iter().map(Option::unwrap_or_default).collect();
    let changes = unique_names(&names);
    let Some((row, new)) = changes.first() else { return ids };
    let first = names.get(*row).copied().unwrap_or_default();
    context.progress.warn(&format!(
        "{}: {element}: {} repeated ids were made unique, as AnnData does: the second '{first}' is now '{new}'",
        context.input,
        changes.len()
    ));
    let mut unique: Vec<&str> = names;
    for (row, name) in &changes {
        if let Some(place) = unique.get_mut(*row) {
            *place = name;
        }
    }
    Arc::new(LargeStringArray::from_iter_values(unique))
}

#[cfg(test)]
mod tests {
    use super::ascii_json;

    #[test]
    fn json_is_escaped_as_python_escapes_it() {
        assert_eq!(ascii_json("\"Zelle-№ 🧬\""), "\"Zelle-\\u2116 \\ud83e\\uddec\"");
    }
}
