//! What of a file is taken: X or its raw counts, and which layers.

use vacuole_anndata::{Element, Frame, H5ad, Matrix, Raw};

use super::Context;
use crate::error::Result;

/// The parts of a file that have genes.
pub(super) struct Chosen {
    pub(super) x: Option<Matrix>,
    pub(super) var: Frame,
    pub(super) layers: Vec<(String, Element)>,
    pub(super) varm: Vec<(String, Element)>,
    pub(super) varp: Vec<(String, Element)>,
    pub(super) raw: Option<Raw>,
    /// Whether raw has taken the place of X.
    pub(super) is_raw: bool,
}

impl Chosen {
    /// By the options. What has other genes than raw, where that takes the place of X, is left out.
    pub(super) fn of(
        file: &H5ad,
        context: &Context<'_>,
        left_out: &mut Vec<String>,
    ) -> Result<Self> {
        let options = context.options;
        let mut layers = file.layers()?;
        let (varm, varp, raw) = (file.varm()?, file.varp()?, file.raw()?);
        if options.use_raw {
            let Some(raw) = raw else {
                let message = "expected raw counts, found none; ingest the file without --use-raw";
                return Err(context.unfit("raw", message));
            };
            if let Some(name) = options.keep_layers.iter().flatten().next() {
                let message = "layers have other genes than raw, which takes the place of X; leave --use-raw or --keep-layer out";
                return Err(context.unfit(&format!("layers/{name}"), message));
            }
            let parts = [("layers", &layers), ("varm", &varm), ("varp", &varp)];
            for (part, elements) in parts {
                left_out.extend(elements.iter().map(|(name, _)| format!("{part}/{name}")));
            }
            left_out.extend(raw.varm.iter().map(|(name, _)| format!("raw/varm/{name}")));
            if file.x().is_some() {
                left_out.push("X".to_owned());
            }
            let Raw { x, var, .. } = raw;
            let (layers, varm, varp) = (Vec::new(), Vec::new(), Vec::new());
            return Ok(Self { x, var, layers, varm, varp, raw: None, is_raw: true });
        }
        for asked in options.keep_layers.iter().flatten() {
            if !layers.iter().any(|(name, _)| name == asked) {
                let names: Vec<&str> = layers.iter().map(|(name, _)| name.as_str()).collect();
                let message = format!("expected a layer of this name, found {}", listed(&names));
                return Err(context.unfit(&format!("layers/{asked}"), message));
            }
        }
        layers.retain(|(name, _)| {
            options.keep_layers.as_ref().is_none_or(|kept| kept.contains(name))
                && !options.drop_layers.contains(name)
        });
        let (x, var) = (file.x().cloned(), file.var().clone());
        Ok(Self { x, var, layers, varm, varp, raw, is_raw: false })
    }
}

fn listed(names: &[&str]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
