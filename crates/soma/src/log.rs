//! What was written to an object, and to all in it, and when: the names and the small files say it.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use vacuole_store::{Store, join};
use vacuole_tiledb::group::GroupDetails;
use vacuole_tiledb::schema::{ArraySchema, Numbers};
use vacuole_tiledb::{Comparison, Condition, TimestampedName, metadata};

use crate::array::{
    Array, COMMIT_FOLDER, FRAGMENT_FOLDER, METADATA_FOLDER, SCHEMA_FOLDER, file_names,
};
use crate::error::{InObject, Result};
use crate::object::{GROUP_FOLDER, Object, member_name};

/// A kind of write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// The first schema of an array, or another one.
    Schema,
    /// Members of a collection.
    Members,
    /// Metadata.
    Metadata,
    /// Cells.
    Fragment,
    /// Cells of older fragments, joined.
    Joined,
    /// A fragment that a joined one stands for, which is still there.
    Replaced,
    /// A fragment that nobody has committed.
    Uncommitted,
    /// Cells are deleted.
    Delete,
    /// Commits of several fragments in one file.
    Commits,
}

/// One write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Event {
    /// When, in milliseconds since 1970; of what was joined, the oldest part.
    pub at: u64,
    /// Of what was joined, the newest part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
    /// The path below the object that was asked for; empty for that one.
    pub object: String,
    /// What was written.
    pub change: Change,
    /// More about it, for people.
    pub detail: String,
    /// How many cells a fragment has, where they are counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cells: Option<u64>,
    /// How many bytes they take up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// The name of what was written, in its folder.
    pub name: String,
}

/// Everything written to an object and to the members in its folder, oldest first.
///
/// What a vacuum has removed is not known any more, but for the times of cells that were joined.
///
/// # Errors
/// Those of reading and listing, and for what cannot be decoded.
pub fn log(object: &Object) -> Result<Vec<Event>> {
    let mut events = Vec::new();
    walk(object, object.path(), 0, &mut events)?;
    events.sort_by(|a, b| {
        let key = |event: &Event| (event.at, event.until, event.object.clone(), event.change);
        key(a).cmp(&key(b)).then_with(|| a.name.cmp(&b.name))
    });
    Ok(events)
}

fn walk(object: &Object, root: &str, depth: usize, events: &mut Vec<Event>) -> Result<()> {
    object.check_depth(depth)?;
    let store = &**object.store();
    let below = object.path().strip_prefix(root).unwrap_or(object.path());
    let mut log = Log { store, object: below.trim_start_matches('/'), events };
    log.metadata(object.path())?;
    if !object.is_group() {
        let array = object.array()?;
        log.schemas(object.path())?;
        return log.fragments(&array);
    }
    log.members(object.path())?;
    for member in object.members()?.iter().filter(|member| member.relative) {
        if let Some(member) = object.member(member_name(member))? {
            walk(&member, root, depth + 1, events)?;
        }
    }
    Ok(())
}

/// The log of one object.
struct Log<'a> {
    store: &'a dyn Store,
    object: &'a str,
    events: &'a mut Vec<Event>,
}

impl Log<'_> {
    fn add(&mut self, name: &TimestampedName, file: &str, change: Change, detail: String) {
        self.events.push(Event {
            at: name.start,
            until: (name.end != name.start).then_some(name.end),
            object: self.object.to_owned(),
            change,
            detail,
            cells: None,
            bytes: None,
            name: file.to_owned(),
        });
    }

    /// The timestamped files of a folder, oldest first, with their contents.
    fn files(&self, folder: &str) -> Result<Vec<(TimestampedName, String, Vec<u8>)>> {
        let mut named = Vec::new();
        for file in file_names(self.store, folder)? {
            if !file.ends_with(".vac") {
                let name = TimestampedName::parse(&file);
                named.push((name.in_object(self.store.display(&join(folder, &file)))?, file));
            }
        }
        named.sort();
        let objects: Vec<String> = named.iter().map(|(_, file)| join(folder, file)).collect();
        let read = self.store.read_all(&objects)?;
        Ok(named.into_iter().zip(read).map(|((name, file), bytes)| (name, file, bytes)).collect())
    }

    fn metadata(&mut self, path: &str) -> Result<()> {
        let folder = join(path, METADATA_FOLDER);
        let mut known = BTreeMap::new();
        for (name, file, bytes) in self.files(&folder)? {
            let before = known.clone();
            metadata::apply(&mut known, &bytes)
                .in_object(self.store.display(&join(&folder, &file)))?;
            let set = known.iter().filter(|(key, value)| before.get(*key) != Some(*value));
            let removed = before.keys().filter(|key| !known.contains_key(*key));
            let detail = changes(&[
                ("sets", set.map(|(key, _)| key.as_str()).collect()),
                ("removes", removed.map(String::as_str).collect()),
            ]);
            self.add(&name, &file, Change::Metadata, detail);
        }
        Ok(())
    }

    fn members(&mut self, path: &str) -> Result<()> {
        let folder = join(path, GROUP_FOLDER);
        for (name, file, bytes) in self.files(&folder)? {
            let details = GroupDetails::read(&bytes);
            let details = details.in_object(self.store.display(&join(&folder, &file)))?;
            let names = |gone: bool| {
                let entries = details.entries.iter().filter(move |(_, removed)| *removed == gone);
                entries.map(|(member, _)| member_name(member)).collect()
            };
            let detail = changes(&[("adds", names(false)), ("removes", names(true))]);
            self.add(&name, &file, Change::Members, detail);
        }
        Ok(())
    }

    fn schemas(&mut self, path: &str) -> Result<()> {
        let folder = join(path, SCHEMA_FOLDER);
        let mut before: Option<ArraySchema> = None;
        for (name, file, bytes) in self.files(&folder)? {
            let schema = ArraySchema::read(&bytes);
            let schema = schema.in_object(self.store.display(&join(&folder, &file)))?;
            let detail = evolution(before.as_ref(), &schema);
            self.add(&name, &file, Change::Schema, detail);
            before = Some(schema);
        }
        Ok(())
    }

    fn fragments(&mut self, array: &Array) -> Result<()> {
        let mut known = BTreeSet::new();
        for fragment in array.fragments() {
            let name = &fragment.name;
            let file = name.to_string();
            let change = if name.start < name.end { Change::Joined } else { Change::Fragment };
            let (cells, bytes) = (fragment.metadata.cells(), fragment.stored_bytes());
            let detail = match fragment.metadata.footer.dense {
                true => counted(fragment.metadata.tiles, "tile"),
                false => counted(cells, "cell"),
            };
            self.add(name, &file, change, detail);
            if let Some(event) = self.events.last_mut() {
                event.cells = (!fragment.metadata.footer.dense).then_some(cells);
                event.bytes = Some(bytes);
            }
            known.insert(file);
        }
        let commits = join(array.path(), COMMIT_FOLDER);
        let mut replaced = BTreeSet::new();
        for file in file_names(self.store, &commits)? {
            let object = join(&commits, &file);
            if file.ends_with(".vac") {
                let text = String::from_utf8_lossy(&self.store.read(&object)?).into_owned();
                let names =
                    text.lines().filter_map(|line| line.trim_end_matches('/').rsplit('/').next());
                replaced.extend(names.map(str::to_owned));
            } else if let Some(stem) = file.strip_suffix(".con") {
                // libtiledb takes any name.
                let Ok(name) = TimestampedName::parse(stem) else { continue };
                let lines = vacuole_tiledb::committed_lines(&self.store.read(&object)?);
                let lines = lines.in_object(self.store.display(&object))?.len();
                self.add(
                    &name,
                    &file,
                    Change::Commits,
                    format!("of {lines} fragments and deletes"),
                );
            }
        }
        for entry in self.store.list(&join(array.path(), FRAGMENT_FOLDER))? {
            let Ok(name) = TimestampedName::parse(&entry.name) else { continue };
            if !entry.is_folder || known.contains(&entry.name) {
                continue;
            }
            let (change, detail) = match replaced.contains(&entry.name) {
                true => (Change::Replaced, "a joined fragment stands for it"),
                false => (Change::Uncommitted, "nobody has committed it, so that nobody reads it"),
            };
            self.add(&name, &entry.name, change, detail.to_owned());
        }
        for delete in array.deletes() {
            let file = delete.marker.rsplit('/').next().unwrap_or(&delete.marker);
            let at = TimestampedName::new(delete.at, "", None);
            let detail = format!("keeps cells where {}", text(&delete.keep, array.schema()));
            self.add(&at, file, Change::Delete, detail);
        }
        Ok(())
    }
}

/// What is done to which names.
fn changes(all: &[(&str, Vec<&str>)]) -> String {
    let done = all.iter().filter(|(_, names)| !names.is_empty());
    let done: Vec<String> =
        done.map(|(verb, names)| format!("{verb} {}", names.join(", "))).collect();
    match done.is_empty() {
        true => "nothing".to_owned(),
        false => done.join("; "),
    }
}

/// `1 cell`, `2 cells`.
fn counted(count: u64, one: &str) -> String {
    format!("{count} {one}{}", if count == 1 { "" } else { "s" })
}

/// What a schema has that the one before it had not.
fn evolution(before: Option<&ArraySchema>, now: &ArraySchema) -> String {
    let columns = |schema: &ArraySchema| -> BTreeSet<String> {
        schema.attributes.iter().map(|attribute| attribute.name.clone()).collect()
    };
    let Some(before) = before else {
        let dimensions: Vec<&str> = now.dimensions.iter().map(|d| d.name.as_str()).collect();
        return format!(
            "creates it: indexed by {}; {}; format {}",
            dimensions.join(", "),
            counted(now.attributes.len() as u64, "column"),
            now.version
        );
    };
    let (old, new) = (columns(before), columns(now));
    let categories = now.enumerations.iter().filter(|entry| !before.enumerations.contains(entry));
    let mut detail = changes(&[
        ("adds", new.difference(&old).map(String::as_str).collect()),
        ("removes", old.difference(&new).map(String::as_str).collect()),
        ("sets the categories of", categories.map(|(name, _)| name.as_str()).collect()),
    ]);
    if before.current_domain != now.current_domain {
        let shape = now.current_domain.iter().flatten().map(|range| range.to_string());
        let shape = format!("sets the domain to {}", shape.collect::<Vec<_>>().join(" x "));
        detail = if detail == "nothing" { shape } else { format!("{detail}; {shape}") };
    }
    detail
}

/// A condition as people write it.
fn text(condition: &Condition, schema: &ArraySchema) -> String {
    let joined = |children: &[Condition], by: &str| {
        let children = children.iter().map(|child| format!("({})", text(child, schema)));
        children.collect::<Vec<_>>().join(by)
    };
    match condition {
        Condition::And(children) => joined(children, " and "),
        Condition::Or(children) => joined(children, " or "),
        Condition::Not(child) => format!("not ({})", text(child, schema)),
        Condition::Compare { field, comparison, value, offsets } => {
            let datatype = schema.attribute(field).map(|(_, attribute)| attribute.datatype);
            let dimension = || schema.dimensions.iter().find(|d| d.name == *field);
            let datatype = datatype.or_else(|| dimension().map(|d| d.datatype));
            let shown = |value: &[u8]| match datatype {
                Some(datatype) if value.is_empty() && !datatype.is_string() => "null".to_owned(),
                Some(datatype) => Numbers(datatype, value).to_string(),
                None => format!("{value:02x?}"),
            };
            let set = || {
                let values = Condition::set_values(value, offsets).map(shown);
                format!("[{}]", values.collect::<Vec<_>>().join(", "))
            };
            let one = |sign: &str| format!("{field} {sign} {}", shown(value));
            match comparison {
                Comparison::Less => one("<"),
                Comparison::LessOrEqual => one("<="),
                Comparison::Greater => one(">"),
                Comparison::GreaterOrEqual => one(">="),
                Comparison::Equal => one("=="),
                Comparison::NotEqual => one("!="),
                Comparison::In => format!("{field} in {}", set()),
                Comparison::NotIn => format!("{field} not in {}", set()),
                Comparison::AlwaysTrue => "true".to_owned(),
                Comparison::AlwaysFalse => "false".to_owned(),
            }
        }
    }
}
