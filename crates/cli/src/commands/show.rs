//! `vacuole show`: the tree below an object.

use std::fmt::Write;

use vacuole_query::{Node, tree};
use vacuole_soma::Object;

use super::NOW;
use crate::error::CliError;
use crate::output::{Output, bytes};

/// Show what is in an experiment: types, shapes, columns, sizes, fragments
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  vacuole show atlas
  vacuole show atlas/ms/RNA/var --json")]
pub(crate) struct Arguments {
    /// An experiment, or any SOMA object in one
    uri: String,
}

pub(crate) fn run(arguments: Arguments, output: &Output) -> Result<(), CliError> {
    let object = Object::open_uri(&arguments.uri, NOW)?;
    let mut tree = tree(&object)?;
    tree.name = object.display().trim_end_matches('/').to_owned();
    output.result(&tree, || {
        let mut text = String::new();
        print(&tree, 0, &mut text);
        text.trim_end().to_owned()
    });
    Ok(())
}

fn print(node: &Node, depth: usize, text: &mut String) {
    let indent = "  ".repeat(depth);
    let kind = node.soma_type.trim_start_matches("SOMA");
    let _ = write!(text, "{indent}{}  {kind}", node.name);
    if !node.shape.is_empty() {
        let shape = node.shape.iter();
        let shape: Vec<_> = shape.map(|n| n.map_or("?".to_owned(), |n| n.to_string())).collect();
        let is_frame = kind == "DataFrame";
        match (is_frame, node.count) {
            (true, Some(rows)) => {
                let _ = write!(text, "  {rows} rows");
            }
            (_, count) => {
                let _ = write!(text, "  {}", shape.join(" x "));
                if let Some(count) = count {
                    let _ = write!(text, "  {count} values");
                }
            }
        }
        if let Some(column) = node.columns.iter().find(|column| column.name == "soma_data") {
            let _ = write!(text, "  {}", column.data_type);
        }
        let fragments = node.fragments.unwrap_or_default();
        let plural = if fragments == 1 { "" } else { "s" };
        let size = bytes(node.bytes.unwrap_or_default());
        let _ = write!(text, "  {size} in {fragments} fragment{plural}");
    }
    text.push('\n');
    if node.soma_type == "SOMADataFrame" {
        for column in &node.columns {
            let _ = write!(text, "{indent}  . {}  {}", column.name, column.data_type);
            if let Some(categories) = column.categories {
                let _ = write!(text, " ({categories})");
            }
            text.push('\n');
        }
    }
    for member in &node.members {
        print(member, depth + 1, text);
    }
}
