//! A file whose features are of several types, or that has several modalities: a measurement for each.

use vacuole_anndata::{Format, H5ad};
use vacuole_soma::SomaType;
use vacuole_soma::create::{folder_of, member};
use vacuole_store::join;
use vacuole_tiledb::group::MemberKind;

use super::ids::Ids;
use super::{Chosen, Context, OfFile, Tree, describe_measurement, frame};
use crate::error::Result;

/// The type whose features go into the measurement that the user chooses.
const GENES: &str = "Gene Expression";

/// The name of a measurement, and what goes into it.
type Measurement = (String, H5ad);

/// The measurements of a file that has others than the one that is chosen.
pub(super) fn of(file: &H5ad, context: &Context<'_>) -> Result<Option<Vec<Measurement>>> {
    let chosen = &context.options.measurement;
    if !file.modalities().is_empty() || file.format() == Format::MuData {
        let mut found = file.modalities().to_vec();
        found.sort_by_key(|(name, _)| name == chosen);
        return Ok(Some(found));
    }
    let types = file.by_feature_type()?;
    if matches!(types.as_slice(), [] | [_])
        && types.iter().all(|(name, _)| name == GENES || name == chosen)
    {
        return Ok(None);
    }
    let mut found: Vec<Measurement> = Vec::with_capacity(types.len());
    for (name, part) in types {
        let measurement = if name == GENES { chosen.clone() } else { name };
        if measurement.is_empty() {
            let message = "expected a type for each feature, found an empty one, after which no measurement can be named";
            return Err(context.unfit("var/feature_types", message));
        }
        if found.iter().any(|(other, _)| *other == measurement) {
            let message = format!(
                "expected another name for the measurement of genes, found '{measurement}', which is a type of \
                 features; choose another with --measurement"
            );
            return Err(context.unfit("var/feature_types", message));
        }
        found.push((measurement, part));
    }
    // The chosen one is committed last.
    found.sort_by_key(|(name, _)| name == chosen);
    Ok(Some(found))
}

/// Every object that a file becomes.
pub(super) fn describe(
    file: &H5ad,
    measurements: &[Measurement],
    context: &Context<'_>,
) -> Result<OfFile> {
    let mut tree = Tree { of_measurements: true, ..Tree::default() };
    let options = context.options;
    let chosen = measurements.iter().find(|(name, _)| *name == options.measurement);
    let record = &mut tree.kept.record;
    record.n_obs = file.n_obs();
    record.n_vars = chosen.map_or(0, |(_, part)| part.n_vars());
    let ms = "ms".to_owned();
    let mut all = Vec::with_capacity(measurements.len());
    for (name, part) in measurements {
        let folder = folder_of(name);
        let path = join(&ms, &folder);
        let chosen = Chosen::of(part, context, &mut tree.left_out)?;
        if chosen.raw.is_some() {
            context.leave_out(&format!("mod/{name}/raw"), "only one measurement has that name");
        }
        say_what_is_unread(&format!("mod/{name}/"), part, context);
        let var = chosen.var.clone();
        let mut members = describe_measurement(&mut tree, part, chosen, context, &path)?;
        members.push(member("var", "var", MemberKind::Array));
        let (var_path, id_name) = (join(&path, "var"), Some(options.var_id_name.as_str()));
        let kept = &mut tree.kept;
        let var = frame::describe_axis(context, kept, &var_path, &var, id_name, Ids::Genes)?;
        tree.frames.push(var);
        tree.group(path, SomaType::Measurement, members);
        all.push(member(name, &folder, MemberKind::Group));
    }
    let id_name = Some(options.obs_id_name.as_str());
    let obs =
        frame::describe_axis(context, &mut tree.kept, "obs", file.obs(), id_name, Ids::Cells)?;
    tree.frames.push(obs);
    say_what_is_unread("", file, context);
    if !context.of_several {
        // Otherwise it is said for all files together.
        for path in tree.kept.record.extras.keys() {
            if !path.contains("/columns/") && !path.ends_with("/index") {
                context
                    .leave_out(path, "an experiment of several measurements has no place for it, or not for all of it");
            }
        }
    }
    tree.group(ms, SomaType::Collection, all);
    let parts =
        vec![member("ms", "ms", MemberKind::Group), member("obs", "obs", MemberKind::Array)];
    tree.group(String::new(), SomaType::Experiment, parts);
    Ok(tree.finish())
}

/// Warns of what a MuData, or the part of it below a path, has and a measurement has no place for.
fn say_what_is_unread(path: &str, file: &H5ad, context: &Context<'_>) {
    for element in file.unread() {
        let why = "cells and measurements have what all of the MuData or one modality says";
        context.leave_out(&format!("{path}{element}"), why);
    }
}
