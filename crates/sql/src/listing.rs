//! The tables that there are, with their columns.

use std::sync::Arc;

use arrow_schema::DataType;
use serde_json::json;
use vacuole_cli::error::CliError;
use vacuole_cli::output::Output;

use crate::MAIN;
use crate::tables::Tables;

/// Prints the tables of each name that something is attached under.
pub(crate) fn list(attached: &[(String, Arc<Tables>)], output: &Output) -> Result<(), CliError> {
    let mut listed = Vec::new();
    let mut text = Vec::new();
    for (schema, tables) in attached {
        for name in tables.names()? {
            let Some(table) = tables.table(&name)? else { continue };
            let fields = table.rows.schema().fields();
            let columns: Vec<_> = fields
                .iter()
                .map(|field| json!({ "name": field.name(), "type": type_name(field.data_type()) }))
                .collect();
            let (kind, rows) = (table.rows.kind(), table.rows.count());
            listed.push(json!({
                "schema": schema, "name": name, "kind": kind, "rows": rows, "columns": columns,
            }));
            let rows = rows.map_or(String::new(), |rows| format!(", {rows} rows"));
            text.push(format!("{}: {kind}{rows}", written(schema, &name)));
            let width = fields.iter().map(|field| field.name().chars().count()).max().unwrap_or(0);
            for field in fields {
                text.push(format!("  {:width$}  {}", field.name(), type_name(field.data_type())));
            }
        }
    }
    output.result(&json!({ "tables": listed }), || text.join("\n"));
    Ok(())
}

/// The name of a table as a query has to have it.
fn written(schema: &str, name: &str) -> String {
    let plain = |name: &str| {
        let mut chars = name.chars();
        chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
            && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    let quoted = |name: &str| match plain(name) {
        true => name.to_owned(),
        false => format!("\"{}\"", name.replace('"', "\"\"")),
    };
    match schema == MAIN {
        true => quoted(name),
        false => format!("{}.{}", quoted(schema), quoted(name)),
    }
}

fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 => "text".to_owned(),
        DataType::Dictionary(..) => "text, categories".to_owned(),
        DataType::Binary | DataType::LargeBinary => "bytes".to_owned(),
        DataType::Timestamp(..) => "timestamp".to_owned(),
        other => other.to_string().to_lowercase(),
    }
}
