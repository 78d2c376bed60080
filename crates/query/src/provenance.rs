//! Where a slice is from, as it says in `uns["vacuole"]`.

use vacuole_anndata::model::{Scalar, Value};
use vacuole_anndata::write::H5adWriter;

use crate::choice::Choice;
use crate::error::Result;
use crate::sample::SampleOptions;

/// The key in `uns`.
pub(crate) const KEY: &str = "vacuole";

/// Where a slice is from.
pub(crate) struct Provenance<'a> {
    /// The path or URI of the experiment or the file.
    pub(crate) uri: &'a str,
    /// As of when an experiment gives the same again, in milliseconds since 1970: the newest write to what was read.
    pub(crate) timestamp: Option<u64>,
    pub(crate) measurement: Option<&'a str>,
    /// X first.
    pub(crate) layers: Vec<&'a str>,
    pub(crate) obs: &'a Choice,
    pub(crate) var: &'a Choice,
    /// What the cells were drawn by, which then says more than `obs`.
    pub(crate) drawn: Option<&'a SampleOptions>,
}

impl Provenance<'_> {
    /// Writes it. What was not asked for is left out.
    pub(crate) fn write(&self, out: &mut H5adWriter) -> Result<()> {
        let mut entries = Vec::new();
        let mut text = |key: &str, value: Option<&str>| {
            entries
                .extend(value.map(|value| {
                    (key.to_owned(), Value::Scalar(Scalar::String(value.to_owned())))
                }));
        };
        text("uri", Some(self.uri));
        text("version", Some(env!("CARGO_PKG_VERSION")));
        text("measurement", self.measurement);
        let layers = self.layers.join(",");
        text("layers", Some(&*layers).filter(|layers| !layers.is_empty()));
        let obs = self.drawn.map_or(self.obs, |drawn| &drawn.obs);
        for (axis, choice) in [("obs", obs), ("var", self.var)] {
            text(&format!("{axis}_filter"), choice.filter.as_deref());
            text(&format!("{axis}_join_ids"), choice.join_ids.as_deref().map(ranges).as_deref());
        }
        text("sample_stratify", self.drawn.and_then(|drawn| drawn.stratify.as_deref()));
        // A seed may be larger than the integers that readers know.
        text("sample_seed", self.drawn.map(|drawn| drawn.seed.to_string()).as_deref());
        let mut number = |key: &str, value: Option<i64>| {
            entries
                .extend(value.map(|value| (key.to_owned(), Value::Scalar(Scalar::Int64(value)))));
        };
        number("timestamp", self.timestamp.and_then(|at| i64::try_from(at).ok()));
        number("sample_n", self.drawn.and_then(|drawn| i64::try_from(drawn.n).ok()));
        for (axis, choice) in [("obs", obs), ("var", self.var)] {
            let count = choice.ids.as_ref().and_then(|ids| i64::try_from(ids.len()).ok());
            number(&format!("{axis}_ids"), count);
        }
        Ok(out.value(&format!("uns/{KEY}"), &Value::Mapping(entries))?)
    }
}

/// Ranges as the command line takes them.
fn ranges(ranges: &[(i64, i64)]) -> String {
    let text = ranges.iter().map(|(low, high)| match low == high {
        true => low.to_string(),
        false => format!("{low}:{high}"),
    });
    text.collect::<Vec<_>>().join(",")
}
