//! SQL over SOMA experiments and H5AD files: `obs`, `var`, `X` and every other array as a table of DataFusion, read by the
//! readers of this project, which are told what a query asks for.

mod explained;
mod listing;
mod output;
mod rows;
mod scan;
mod selection;
mod session;
mod statement;
mod table;
mod tables;

use std::io::Read;
use std::sync::Arc;

use vacuole_cli::error::CliError;
use vacuole_cli::output::Output;
use vacuole_cli::sql::Arguments;

use self::output::Place;
pub use self::session::{Answer, Limits, Session};
pub use self::tables::Tables;

/// The catalog that all tables are in.
const CATALOG: &str = "vacuole";

/// The schema of the tables of the experiment that is named first.
pub const MAIN: &str = "main";

/// Names that nothing can be attached under: they are taken.
const TAKEN: [&str; 2] = [MAIN, "information_schema"];

/// Does what the command line says.
///
/// # Errors
/// Those of opening, of the query, and of writing.
pub fn run(arguments: &Arguments, output: &Output) -> Result<(), CliError> {
    let place = Place::of(arguments, output)?;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = arguments.jobs.unwrap_or(threads);
    if threads == 0 {
        return Err(CliError::usage("--jobs", "expected at least 1, found 0"));
    }
    // It fails only where there are threads already.
    let _ = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
    let attached = attached(arguments)?;
    let Some(query) = &arguments.query else { return listing::list(&attached, output) };
    let query = match query.as_str() {
        "-" => from_stdin()?,
        _ => query.clone(),
    };
    let tmpdir = arguments.tmpdir.clone().unwrap_or_else(std::env::temp_dir);
    let session = Session::new(attached, &Limits { memory: arguments.memory, threads, tmpdir })?;
    output::write(session.ask(&query)?, &place, output)
}

/// Opens all that a query is about.
fn attached(arguments: &Arguments) -> Result<Vec<(String, Arc<Tables>)>, CliError> {
    let (measurement, layer) = (arguments.measurement.as_deref(), arguments.layer.as_deref());
    let main = Tables::open(&arguments.source, measurement, layer, arguments.at)?;
    let mut attached = vec![(MAIN.to_owned(), Arc::new(main))];
    for attach in &arguments.attach {
        let wrong = |message: &str| Err(CliError::usage("--attach", message));
        let Some((name, location)) = attach.split_once('=') else {
            return wrong(&format!("expected NAME=URI, found '{attach}', without '='"));
        };
        if name.is_empty() || TAKEN.contains(&name) {
            return wrong(&format!("expected a name of your own before '=', found '{name}'"));
        }
        if attached.iter().any(|(known, _)| known == name) {
            return wrong(&format!("expected each name once, found '{name}' again"));
        }
        let tables = Tables::open(location, None, None, arguments.at)?;
        attached.push((name.to_owned(), Arc::new(tables)));
    }
    Ok(attached)
}

fn from_stdin() -> Result<String, CliError> {
    let mut query = String::new();
    match std::io::stdin().read_to_string(&mut query) {
        Ok(_) => Ok(query),
        Err(error) => Err(CliError::usage("-", format!("the query cannot be read: {error}"))),
    }
}
