//! What goes wrong with a query, as users are told it.

use std::error::Error as StdError;
use std::fmt;

use arrow_schema::ArrowError;
use datafusion::common::{DataFusionError, SchemaError};
use vacuole_anndata::Error as AnnDataError;
use vacuole_explain::{Explained, Kind};
use vacuole_soma::value_filter::{Place, nearest};

/// The most names that are listed.
const MOST_NAMES: usize = 60;

/// An error of the readers on its way through a plan, which may share it.
#[derive(Debug)]
struct Told(Explained);

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl StdError for Told {}

/// An error of the readers, as one of DataFusion.
pub(crate) fn external(error: vacuole_query::Error) -> DataFusionError {
    DataFusionError::External(Box::new(Told(error.into())))
}

/// Explains an error of a query; `tables` lists those that there are.
pub(crate) fn explained(
    error: &DataFusionError,
    query: &str,
    tables: &dyn Fn() -> Vec<String>,
) -> Explained {
    use DataFusionError as E;
    match error {
        E::Context(_, inner) | E::Diagnostic(_, inner) => explained(inner, query, tables),
        E::Shared(inner) => explained(inner, query, tables),
        E::Collection(all) => match all.first() {
            Some(first) => explained(first, query, tables),
            None => failed(error),
        },
        E::External(inner) => of_external(inner.as_ref(), query, tables),
        E::ArrowError(inner, _) => match inner.as_ref() {
            ArrowError::ExternalError(inner) => of_external(inner.as_ref(), query, tables),
            ArrowError::IoError(_, error) => of_system(error),
            other => wrong(of_arrow(other)),
        },
        E::IoError(error) => of_system(error),
        E::SQL(error, _) => syntax(&error.to_string(), query),
        E::SchemaError(error, _) => match error.as_ref() {
            SchemaError::FieldNotFound { field, valid_fields } => {
                let names: Vec<String> = valid_fields.iter().map(|c| c.name.clone()).collect();
                missing("column", &field.name, names, query)
            }
            other => wrong(other.to_string()),
        },
        E::Plan(message) => match missing_table(message) {
            Some(name) => missing("table", &name, tables(), query),
            None => wrong(message.clone()),
        },
        E::Execution(message) | E::Configuration(message) => wrong(message.clone()),
        E::NotImplemented(message) if message.contains("single SQL statement") => {
            wrong("expected one statement, found several")
        }
        E::NotImplemented(message) => {
            let message = format!("the query asks for what is not there: {message}");
            let remedy = "say it in other words".to_owned();
            Explained { kind: Kind::Unsupported, message, remedy, object: None }
        }
        E::ResourcesExhausted(message) => {
            let message = format!("the query needs more memory than --memory says: {message}");
            let remedy = "give it more by --memory, or ask for fewer rows or columns".to_owned();
            Explained { kind: Kind::TooLarge, message, remedy, object: None }
        }
        other => failed(other),
    }
}

fn of_external(
    error: &(dyn StdError + Send + Sync + 'static),
    query: &str,
    tables: &dyn Fn() -> Vec<String>,
) -> Explained {
    if let Some(Told(told)) = error.downcast_ref::<Told>() {
        let Explained { kind, message, remedy, object } = told;
        let (message, remedy, object) = (message.clone(), remedy.clone(), object.clone());
        return Explained { kind: *kind, message, remedy, object };
    }
    if let Some(inner) = error.downcast_ref::<DataFusionError>() {
        return explained(inner, query, tables);
    }
    match error.downcast_ref::<std::io::Error>() {
        Some(error) => of_system(error),
        None => failed(error),
    }
}

/// What the system says of the temporary files, whose error cannot be taken out.
fn of_system(error: &std::io::Error) -> Explained {
    let copy = match error.raw_os_error() {
        Some(code) => std::io::Error::from_raw_os_error(code),
        None => std::io::Error::new(error.kind(), error.to_string()),
    };
    let told = AnnDataError::io("what does not fit into memory could not be put aside", copy);
    Explained::from(told)
}

/// A query that does not say what it could mean.
fn wrong(message: impl Into<String>) -> Explained {
    let remedy = "correct the query; `vacuole sql --help` has examples".to_owned();
    let message = format!("query: {}", message.into());
    Explained { kind: Kind::InvalidInput, message, remedy, object: None }
}

/// What nobody has thought of.
fn failed(error: &(dyn StdError + 'static)) -> Explained {
    let remedy = "say it in other words, and report this".to_owned();
    let message = format!("query: could not be answered: {error}");
    Explained { kind: Kind::Io, message, remedy, object: None }
}

fn of_arrow(error: &ArrowError) -> String {
    match error {
        ArrowError::DivideByZero => "a number is divided by zero".to_owned(),
        ArrowError::ArithmeticOverflow(message) => format!("a number becomes too large: {message}"),
        ArrowError::CastError(message) | ArrowError::ComputeError(message) => message.clone(),
        other => other.to_string(),
    }
}

/// What the parser says, with the place it says it of.
fn syntax(message: &str, query: &str) -> Explained {
    let message = ["sql parser error: ", "SQL error: ", "ParserError"]
        .iter()
        .fold(message, |message, start| message.trim_start_matches(start));
    let Some((what, place)) = located(message, query) else { return wrong(message) };
    let place = Place::at(query, place, place + 1);
    wrong(format!("{what} (character {} of the query)\n{place}", place.start + 1))
}

/// What an error says, without its line and column, which become a number of characters.
fn located<'a>(message: &'a str, query: &str) -> Option<(&'a str, usize)> {
    let (what, place) = message.rsplit_once(" at Line: ")?;
    let (line, column) = place.split_once(", Column: ")?;
    let line: usize = line.trim().parse().ok()?;
    let digits = column.find(|c: char| !c.is_ascii_digit()).unwrap_or(column.len());
    let column: usize = column.get(..digits)?.parse().ok()?;
    let before = query.split('\n').take(line.checked_sub(1)?);
    let before: usize = before.map(|line| line.chars().count() + 1).sum();
    Some((what, before + column.saturating_sub(1)))
}

/// The table that a message says there is not.
fn missing_table(message: &str) -> Option<String> {
    let (_, rest) = message.split_once("table '")?;
    let (name, _) = rest.split_once("' not found")?;
    // The catalog, and where nothing else is said the schema, are ours.
    let name = name.strip_prefix(&format!("{}.", crate::CATALOG)).unwrap_or(name);
    Some(name.strip_prefix(&format!("{}.", crate::MAIN)).unwrap_or(name).to_owned())
}

/// A table or column that there is not: those that resemble it, and all that there are.
fn missing(what: &str, name: &str, mut known: Vec<String>, query: &str) -> Explained {
    let mut seen = Vec::new();
    known.retain(|name| {
        let new = !seen.contains(name);
        seen.push(name.clone());
        new
    });
    let near = nearest(name, known.iter().map(String::as_str));
    let quoted = |names: &[String]| -> String {
        names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
    };
    let mut message = format!("there is no {what} `{name}`");
    if !near.is_empty() {
        message.push_str(&format!(
            " (did you mean {}?)",
            near.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" or ")
        ));
    }
    let all = match known.len() {
        0 => format!("there are no {what}s"),
        n if n > MOST_NAMES => {
            let some = quoted(known.get(..MOST_NAMES).unwrap_or_default());
            format!("the {what}s are {some} and {} more", n - MOST_NAMES)
        }
        _ => format!("the {what}s are {}", quoted(&known)),
    };
    message.push_str(&format!("; {all}"));
    if let Some(start) = find(query, name) {
        let place = Place::at(query, start, start + name.chars().count());
        message.push_str(&format!(" (character {} of the query)\n{place}", start + 1));
    }
    wrong(message)
}

/// Where a name stands in a text as a word, in characters.
fn find(text: &str, name: &str) -> Option<usize> {
    let in_word = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(name).find_map(|(start, _)| {
        let before = text.get(..start)?;
        let after = text.get(start + name.len()..)?;
        let alone = !before.ends_with(in_word) && !after.starts_with(in_word);
        alone.then(|| before.chars().count())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_syntax_error_shows_its_place() {
        let told = syntax(
            "sql parser error: Expected: an expression, found: WHERE at Line: 2, Column: 3",
            "SELECT a,\n  WHERE b",
        );
        assert_eq!(told.kind, Kind::InvalidInput);
        assert!(
            told.message.contains("found: WHERE (character 13 of the query)\n    WHERE b\n    ^"),
            "{told}"
        );
        assert!(syntax("Unterminated", "'").message.ends_with("Unterminated"));
    }

    #[test]
    fn names_that_are_missing_are_told_with_those_near() {
        let known = || vec!["X".to_owned(), "obs".to_owned(), "X".to_owned()];
        let error = DataFusionError::Plan("table 'vacuole.main.x' not found".to_owned());
        let told = explained(&error, "SELECT max FROM x", &known).message;
        assert!(told.contains("there is no table `x`"), "{told}");
        assert!(told.contains("the tables are `X`, `obs` (character 17 of the query)"), "{told}");
        let error = DataFusionError::Plan("table 'vacuole.other.obz' not found".to_owned());
        assert!(explained(&error, "", &known).message.contains("`other.obz`"));
    }
}
