//! Answers filters, one JSON string a line, with the join ids that they find in `obs`, for tests/python/test_filters.py.
//!
//! Usage: rows EXPERIMENT. Each answer is one line: `{"rows": [..], "notes": [..]}` or `{"error": ".."}`.

use std::error::Error;
use std::io::{BufRead, Write};

use serde_json::json;
use vacuole_query::Experiment;

fn main() -> Result<(), Box<dyn Error>> {
    let uri = std::env::args().nth(1).ok_or("usage: rows EXPERIMENT")?;
    let experiment = Experiment::open(&uri, u64::MAX)?;
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let filter: String = serde_json::from_str(&line?)?;
        let answer = match experiment.select_obs(Some(&filter)) {
            Ok(found) => json!({ "rows": found.join_ids(), "notes": found.notes() }),
            Err(error) => json!({ "error": error.to_string() }),
        };
        writeln!(out, "{answer}")?;
        out.flush()?;
    }
    Ok(())
}
