//! Which stored column an index becomes, and which columns stay.
//!
//! The rules are those of `tiledbsoma.io`, which demotes the index with pandas' `reset_index` and then looks for
//! the id column (`_prepare_df_for_ingest`): a column called `index` can be renamed or dropped by them.

/// Where a stored column comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Index,
    /// The column of this position.
    Column(usize),
}

/// The stored columns in order, and the name that the index had, where it had one of its own.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ColumnLayout {
    pub(crate) columns: Vec<(String, Origin)>,
    pub(crate) index_name: Option<String>,
}

/// Applies the rules; `id_name` is the id column's name for `obs` and `var`, none for frames in `uns`.
///
/// Where the index would take the name of a column, which the reference refuses, it becomes the id column, or the
/// first free name behind it.
pub(crate) fn lay_out(
    index_name: Option<&str>,
    columns: &[&str],
    id_name: Option<&str>,
) -> ColumnLayout {
    let named = index_name.filter(|&name| name != "index");
    let mut demoted = match index_name {
        Some(name) => name.to_owned(),
        None if columns.contains(&"index") => "level_0".to_owned(),
        None => "index".to_owned(),
    };
    if columns.contains(&demoted.as_str()) {
        id_name.unwrap_or("index").clone_into(&mut demoted);
        while columns.contains(&demoted.as_str()) {
            demoted.push('_');
        }
        let stay = columns.iter().enumerate();
        let stay = stay.map(|(position, &name)| (name.to_owned(), Origin::Column(position)));
        let laid = std::iter::once((demoted, Origin::Index)).chain(stay);
        return ColumnLayout { columns: without_join_ids(laid), index_name: None };
    }
    let mut laid: Vec<(String, Origin)> = vec![(demoted, Origin::Index)];
    let stay = columns.iter().enumerate();
    laid.extend(stay.map(|(position, &name)| (name.to_owned(), Origin::Column(position))));
    if let Some(id_name) = id_name {
        if laid.iter().any(|(name, _)| name == id_name) {
            laid.retain(|(name, _)| name != "index");
        } else if let Some((name, _)) = laid.iter_mut().find(|(name, _)| name == "index") {
            id_name.clone_into(name);
        }
    }
    let columns = without_join_ids(laid.into_iter());
    ColumnLayout { columns, index_name: named.map(str::to_owned) }
}

/// The join ids take the place of a column of their name.
fn without_join_ids(columns: impl Iterator<Item = (String, Origin)>) -> Vec<(String, Origin)> {
    columns.filter(|(name, _)| name != vacuole_soma::layout::JOIN_ID).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(
        index: Option<&str>,
        columns: &[&str],
        id: Option<&str>,
    ) -> (Vec<String>, Option<String>) {
        let laid = lay_out(index, columns, id);
        (laid.columns.into_iter().map(|(name, _)| name).collect(), laid.index_name)
    }

    /// What tiledbsoma 2.3 stores.
    #[test]
    fn columns_are_laid_out_as_tiledbsoma_does() {
        let id = Some("obs_id");
        for (index, columns, id, stored, name) in [
            (None, &["a"][..], id, &["obs_id", "a"][..], None),
            (Some("index"), &["a"], id, &["obs_id", "a"], None),
            (Some("foo"), &["a"], id, &["foo", "a"], Some("foo")),
            (Some("obs_id"), &["a"], id, &["obs_id", "a"], Some("obs_id")),
            (None, &["a", "obs_id"], id, &["a", "obs_id"], None),
            (Some("foo"), &["a", "obs_id"], id, &["foo", "a", "obs_id"], Some("foo")),
            (Some("foo"), &["a", "index"], id, &["foo", "a", "obs_id"], Some("foo")),
            (None, &["a", "index"], id, &["level_0", "a", "obs_id"], None),
            (None, &["a", "index", "obs_id"], id, &["level_0", "a", "obs_id"], None),
            (Some("obs_id"), &["a", "index"], id, &["obs_id", "a"], Some("obs_id")),
            (None, &["soma_joinid"], id, &["obs_id"], None),
            (Some("soma_joinid"), &["a"], id, &["a"], Some("soma_joinid")),
            (None, &["a"], None, &["index", "a"], None),
            (None, &["index"], None, &["level_0", "index"], None),
        ] {
            let expected = stored.iter().map(|&name| name.to_owned()).collect();
            assert_eq!(
                names(index, columns, id),
                (expected, name.map(str::to_owned)),
                "{index:?} {columns:?}"
            );
        }
    }

    #[test]
    fn an_index_cannot_take_the_name_of_a_column() {
        let both = |index, columns: &[&str], id| names(index, columns, id).0;
        assert_eq!(both(Some("foo"), &["foo"], Some("obs_id")), ["obs_id", "foo"]);
        assert_eq!(
            both(Some("foo"), &["foo", "obs_id"], Some("obs_id")),
            ["obs_id_", "foo", "obs_id"]
        );
        assert_eq!(both(None, &["index", "level_0"], None), ["index_", "index", "level_0"]);
    }
}
