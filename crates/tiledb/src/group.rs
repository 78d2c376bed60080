//! Group details: the members of a group, under `__group`.

use std::collections::HashMap;

use crate::bytes::{Cursor, put_lp64};
use crate::error::{Error, Result};
use crate::generic_tile;
use crate::schema::structure_filters;

/// What a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberKind {
    /// Another group.
    Group,
    /// An array.
    Array,
}

/// A member of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Group or array.
    pub kind: MemberKind,
    /// Whether `uri` is relative to the group.
    pub relative: bool,
    /// Where it is.
    pub uri: String,
    /// Its name in the group.
    pub name: Option<String>,
}

/// One group details file.
///
/// ```text
/// u32 version | u64 members, each:
///     u32 version | u8 kind (1 group, 2 array) | u8 relative | lp64 uri
///     u8 named | lp64 name, where named | u8 deleted (from member version 2)
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupDetails {
    /// 1: the newest file alone counts. 2: files add up, in the order of their timestamps.
    pub version: u32,
    /// Each member, and whether this file removes it.
    pub entries: Vec<(Member, bool)>,
}

impl GroupDetails {
    /// Decodes a group details file.
    pub fn read(bytes: &[u8]) -> Result<Self> {
        let (payload, _) = generic_tile::read(bytes, 0)?;
        let mut cursor = Cursor::new(&payload);
        let version = cursor.u32("group version")?;
        if !(1..=2).contains(&version) {
            return Err(Error::unsupported(format!(
                "group version: expected 1 or 2, found {version}"
            )));
        }
        let mut entries = Vec::new();
        for _ in 0..cursor.count64(15, "group members")? {
            let version = cursor.u32("group member version")?;
            if !(1..=2).contains(&version) {
                return Err(Error::unsupported(format!(
                    "group member version: expected 1 or 2, found {version}"
                )));
            }
            let at = cursor.position() as u64;
            let kind = match cursor.u8("group member kind")? {
                1 => MemberKind::Group,
                2 => MemberKind::Array,
                other => {
                    let message = format!("group member kind: expected 1 or 2, found {other}");
                    return Err(Error::corrupt(message).at(at));
                }
            };
            let relative = cursor.flag("group member relative")?;
            let uri = cursor.lp64_str("group member uri")?.to_owned();
            let name = match cursor.flag("group member named")? {
                true => Some(cursor.lp64_str("group member name")?.to_owned()),
                false => None,
            };
            let deleted = version >= 2 && cursor.flag("group member deleted")?;
            entries.push((Member { kind, relative, uri, name }, deleted));
        }
        cursor.finish("group details")?;
        Ok(Self { version, entries })
    }

    /// The bytes of a version 2 file that adds `members`.
    pub fn write(members: &[Member]) -> Result<Vec<u8>> {
        Self::write_changes(members.iter().map(|member| (member, false)))
    }

    /// The bytes of a version 1 file, which names all members, since it counts alone.
    pub fn write_version_1(members: &[Member]) -> Result<Vec<u8>> {
        let mut payload = 1u32.to_le_bytes().to_vec();
        payload.extend_from_slice(&(members.len() as u64).to_le_bytes());
        for member in members {
            put_member(&mut payload, 1, member);
        }
        generic_tile::write(&payload, &structure_filters())
    }

    /// The bytes of a version 2 file with these entries: each a member, and whether it is removed.
    pub fn write_changes<'a>(
        entries: impl ExactSizeIterator<Item = (&'a Member, bool)>,
    ) -> Result<Vec<u8>> {
        let mut payload = 2u32.to_le_bytes().to_vec();
        payload.extend_from_slice(&(entries.len() as u64).to_le_bytes());
        for (member, deleted) in entries {
            put_member(&mut payload, 2, member);
            payload.push(u8::from(deleted));
        }
        generic_tile::write(&payload, &structure_filters())
    }
}

/// What all versions of a member begin with.
fn put_member(payload: &mut Vec<u8>, version: u32, member: &Member) {
    payload.extend_from_slice(&version.to_le_bytes());
    payload.push(match member.kind {
        MemberKind::Group => 1,
        MemberKind::Array => 2,
    });
    payload.push(u8::from(member.relative));
    put_lp64(payload, member.uri.as_bytes());
    payload.push(u8::from(member.name.is_some()));
    if let Some(name) = &member.name {
        put_lp64(payload, name.as_bytes());
    }
}

/// The members after all files, given oldest first.
pub fn members(files: impl IntoIterator<Item = GroupDetails>) -> Vec<Member> {
    // By the place of the entry that last named each: one pass, however long the files are.
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut members: Vec<Option<Member>> = Vec::new();
    for file in files {
        if file.version == 1 {
            members.clear();
            places.clear();
        }
        for (member, deleted) in file.entries {
            let key = member.name.as_ref().unwrap_or(&member.uri).clone();
            let before = places.insert(key, members.len());
            if let Some(before) = before.and_then(|place| members.get_mut(place)) {
                *before = None;
            }
            members.push(Some(member).filter(|_| !deleted));
        }
    }
    members.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_member() -> impl Strategy<Value = Member> {
        (any::<bool>(), any::<bool>(), any::<String>(), any::<Option<String>>()).prop_map(
            |(group, relative, uri, name)| Member {
                kind: if group { MemberKind::Group } else { MemberKind::Array },
                relative,
                uri,
                name,
            },
        )
    }

    proptest! {
        #[test]
        fn round_trip(entries in proptest::collection::vec((any_member(), any::<bool>()), 0..10)) {
            let changes = entries.iter().map(|(member, deleted)| (member, *deleted));
            let read = GroupDetails::read(&GroupDetails::write_changes(changes).unwrap()).unwrap();
            prop_assert_eq!(read.version, 2);
            prop_assert_eq!(&read.entries, &entries);
            let members: Vec<Member> = entries.into_iter().map(|(member, _)| member).collect();
            let read = GroupDetails::read(&GroupDetails::write_version_1(&members).unwrap()).unwrap();
            prop_assert_eq!(read.version, 1);
            prop_assert!(read.entries.into_iter().eq(members.into_iter().map(|member| (member, false))));
        }

        #[test]
        fn altered_or_cut_bytes_never_panic(
            members in proptest::collection::vec(any_member(), 1..4),
            at in any::<prop::sample::Index>(), byte: u8, cut: bool,
        ) {
            let mut bytes = GroupDetails::write(&members).unwrap();
            let at = at.index(bytes.len());
            if cut { bytes.truncate(at) } else { bytes[at] = byte }
            let _ = GroupDetails::read(&bytes);
        }
    }

    #[test]
    fn every_cut_of_the_payload_and_newer_versions_are_refused() {
        let member = Member {
            kind: MemberKind::Group,
            relative: true,
            uri: "a".to_owned(),
            name: Some("b".to_owned()),
        };
        let file = GroupDetails::write(&[member]).unwrap();
        let (mut payload, _) = generic_tile::read(&file, 0).unwrap();
        let read = |payload: &[u8]| {
            GroupDetails::read(&generic_tile::write(payload, &structure_filters()).unwrap())
        };
        for end in 0..payload.len() {
            assert!(read(&payload[..end]).is_err(), "cut at {end}");
        }
        assert!(read(&[&payload[..], &[0]].concat()).is_err());
        // The file's version, then the member's.
        for at in [0, 12] {
            payload[at] = 3;
            let error = read(&payload).unwrap_err();
            assert_eq!(error.kind(), crate::ErrorKind::Unsupported);
            assert!(error.to_string().contains("found 3"), "{error}");
            payload[at] = 2;
        }
    }

    #[test]
    fn a_file_of_version_1_replaces_what_was_before() {
        let entry = |uri: &str| {
            let (kind, uri) = (MemberKind::Array, uri.to_owned());
            (Member { kind, relative: true, uri, name: None }, false)
        };
        let first = GroupDetails { version: 2, entries: vec![entry("a"), entry("b")] };
        let second = GroupDetails { version: 1, entries: vec![entry("c"), entry("c")] };
        let found = super::members([first, second]);
        assert_eq!(found.iter().map(|member| member.uri.as_str()).collect::<Vec<_>>(), ["c"]);
    }

    #[test]
    fn later_files_replace_and_remove_by_name() {
        let member = |name: &str, uri: &str| Member {
            kind: MemberKind::Array,
            relative: true,
            uri: uri.to_owned(),
            name: Some(name.to_owned()),
        };
        let first = GroupDetails {
            version: 2,
            entries: vec![(member("a", "1"), false), (member("b", "2"), false)],
        };
        let second = GroupDetails {
            version: 2,
            entries: vec![(member("a", "3"), false), (member("b", ""), true)],
        };
        assert_eq!(super::members([first, second]), [member("a", "3")]);
    }
}
