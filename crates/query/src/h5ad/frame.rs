//! The columns of `obs` and `var` that are written.

use vacuole_anndata::{Error as AnnDataError, Frame, H5ad};

use crate::error::Result;

/// The columns that are `asked` for, in that order, each once; all of them where nothing is. The ids are written
/// anyway: they may be asked for, by the name of the index or by `usual_id`, and are none of these.
///
/// # Errors
/// `InvalidInput` for a column that there is not, with those that there are.
pub(super) fn columns<'a>(
    file: &H5ad,
    frame: &'a Frame,
    usual_id: &str,
    asked: Option<&'a [String]>,
) -> Result<Vec<&'a str>> {
    let schema = frame.schema();
    let all = schema.columns.iter().map(|column| column.name.as_str());
    let Some(asked) = asked else { return Ok(all.collect()) };
    let mut names: Vec<&str> = Vec::new();
    for name in asked {
        if frame.stored_column(name).is_none() {
            if name == usual_id || Some(name) == schema.index_name.as_ref() {
                continue;
            }
            let found = match all.map(|name| format!("'{name}'")).collect::<Vec<_>>() {
                names if names.is_empty() => "no columns".to_owned(),
                names => format!("{}; name some of these", names.join(", ")),
            };
            let message = format!("expected a column '{name}', found {found}");
            return Err(file.locate(AnnDataError::invalid(message), frame.path()).into());
        }
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    Ok(names)
}
