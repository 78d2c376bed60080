//! Checking the members of groups: what must be there, and what is there that no group names.

use std::collections::BTreeSet;

use vacuole_store::join;
use vacuole_tiledb::group::{GroupDetails, Member};

use super::VerifyReport;
use super::finding::Finding;
use crate::array::{METADATA_FOLDER, SCHEMA_FOLDER, file_names};
use crate::object::{GROUP_FOLDER, Object, SomaType, member_name};

/// Compares what a group says with the folders that it has.
pub(super) fn check(object: &Object, members: &[Member], report: &mut VerifyReport) {
    let names: BTreeSet<&str> = members.iter().map(member_name).collect();
    if object.soma_type() == SomaType::Experiment {
        for wanted in ["obs", "ms"].into_iter().filter(|wanted| !names.contains(wanted)) {
            let message =
                format!("expected a member '{wanted}', as every experiment has, found none");
            report.fault(Finding::new(object.display(), message));
        }
    }
    let store = &**object.store();
    let folders = match store.list(object.path()) {
        Ok(entries) => entries.into_iter().filter(|entry| entry.is_folder).map(|entry| entry.name),
        Err(error) => return report.error(object.display(), error),
    };
    let inside: BTreeSet<&str> = members
        .iter()
        .filter_map(|member| {
            let first = member.uri.trim_end_matches('/').split('/').next();
            let last = member.uri.trim_end_matches('/').rsplit('/').next();
            if member.relative { first } else { last }
        })
        .collect();
    let removed = removed(object);
    for folder in folders.filter(|name| !name.starts_with("__") && !inside.contains(name.as_str()))
    {
        let path = join(object.path(), &folder);
        let holds = |part: &str| file_names(store, &join(&path, part)).is_ok_and(|n| !n.is_empty());
        if ![SCHEMA_FOLDER, GROUP_FOLDER, METADATA_FOLDER].into_iter().any(holds) {
            continue;
        }
        let shown = store.display(&path);
        if removed.contains(&folder) {
            let remedy =
                "keep it for --at of earlier times, or delete it by `vacuole remove --delete`";
            let message =
                "is here, and was removed from its group: only readers of an earlier time see it";
            report.notes.push(Finding::new(&*shown, message).remedy(remedy));
        } else {
            let remedy = "add it to the group, or remove its folder";
            let message = "is here, and its group does not name it: either it was never added, or the file in `__group` \
                           that says so is lost";
            report.notes.push(Finding::new(&*shown, message).remedy(remedy));
            report.not_checksummed.push(shown);
        }
    }
}

/// The folders and names of members that a group has removed.
fn removed(object: &Object) -> BTreeSet<String> {
    let store = &**object.store();
    let folder = join(object.path(), GROUP_FOLDER);
    let mut entries: Vec<(Member, bool)> = Vec::new();
    for name in file_names(store, &folder).unwrap_or_default() {
        let bytes = store.read(&join(&folder, &name)).unwrap_or_default();
        entries
            .extend(GroupDetails::read(&bytes).map(|details| details.entries).unwrap_or_default());
    }
    let deleted = entries.iter().filter(|(_, deleted)| *deleted);
    let names: BTreeSet<&str> = deleted.map(|(member, _)| member_name(member)).collect();
    // The entry that removes a member has its name, the one that added it says where it is.
    let folders = entries.iter().filter(|(member, _)| names.contains(member_name(member)));
    let folders = folders.filter_map(|(m, _)| m.uri.trim_end_matches('/').rsplit('/').next());
    folders.chain(names.iter().copied()).map(str::to_owned).collect()
}
