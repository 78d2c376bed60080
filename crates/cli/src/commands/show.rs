//! `vacuole show`: the tree below an object.

use std::fmt::Write;

use vacuole_query::{Node, Source, h5ad, tree};
use vacuole_store::Uri;

use super::source;
use crate::at::AtArgument;
use crate::error::CliError;
use crate::output::{Output, bytes};

/// Show what is in an experiment or an H5AD file: types, shapes, columns, sizes
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  vacuole show atlas
  vacuole show atlas/ms/RNA/var --json
  vacuole show atlas --at 2024-03-01
  vacuole show pbmc.h5ad")]
pub(crate) struct Arguments {
    /// An experiment, any SOMA object in one, or an H5AD file
    uri: String,
    #[command(flatten)]
    at: AtArgument,
}

pub(crate) fn run(arguments: Arguments, output: &Output) -> Result<(), CliError> {
    let tree = match source(&arguments.uri)? {
        // As it may be shown: a URL may hold a key.
        Source::File(file) => {
            arguments.at.experiments_only()?;
            let uri = Uri::parse(&arguments.uri).map_err(vacuole_soma::Error::from)?;
            let name = if uri.is_file() { uri.to_string() } else { arguments.uri };
            Node { name, ..h5ad::show(&file)? }
        }
        Source::Folder(folder) => {
            let object = Source::object(folder, arguments.at.time())?;
            let name = object.display().trim_end_matches('/').to_owned();
            Node { name, ..tree(&object)? }
        }
    };
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
    // Of points and shapes too.
    let is_frame = kind.to_ascii_lowercase().ends_with("dataframe");
    let _ = write!(text, "{indent}{}  {kind}", node.name);
    if !node.shape.is_empty() {
        let shape = node.shape.iter();
        let shape: Vec<_> = shape.map(|n| n.map_or("?".to_owned(), |n| n.to_string())).collect();
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
        if let Some(data_type) = &node.data_type {
            let _ = write!(text, "  {data_type}");
        }
        if let Some(fragments) = node.fragments {
            let plural = if fragments == 1 { "" } else { "s" };
            let size = bytes(node.bytes.unwrap_or_default());
            let _ = write!(text, "  {size} in {fragments} fragment{plural}");
        }
    }
    text.push('\n');
    if is_frame || kind == "rec-array" {
        for column in &node.columns {
            let _ = write!(text, "{indent}  . {}  {}", column.name, column.data_type);
            if let Some(categories) = column.categories {
                let _ = write!(text, " ({categories})");
            }
            if column.index {
                text.push_str(", the index");
            }
            text.push('\n');
        }
    }
    for member in &node.members {
        print(member, depth + 1, text);
    }
}
