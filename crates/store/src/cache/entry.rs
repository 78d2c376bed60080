//! One entry: a file whose name is made of what it is, and which carries a digest of that and of its bytes.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::PathBuf;
use std::time::SystemTime;

use xxhash_rust::xxh3::Xxh3;

use super::folder::{Folder, KINDS};
use crate::checksum::{self, Algorithm};

/// What a file begins with, before the digest.
const MAGIC: &[u8; 8] = b"VACUOLE1";

/// The bytes of a file that are none of the entry's.
pub(super) const HEAD: usize = MAGIC.len() + 16;

/// What an entry is. No two things have the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    kind: &'static str,
    text: String,
}

impl Identity {
    /// A block of an object.
    pub(super) fn block(object: &[&str], number: u64) -> Self {
        // No part has a NUL in it: neither URLs nor keys nor headers can.
        Self { kind: KINDS[0], text: format!("{}\0{number}", object.join("\0")) }
    }

    /// The answer to a question.
    pub(super) fn answer(question: &[&str]) -> Self {
        Self { kind: KINDS[1], text: question.join("\0") }
    }

    /// The file of the entry.
    pub(super) fn path(&self, folder: &Folder) -> PathBuf {
        let digest = checksum::of(Algorithm::Sha256, self.text.as_bytes());
        let name = checksum::hex(digest.get(..20).unwrap_or_default());
        let (first, rest) = name.split_at(2);
        folder.inner().join(self.kind).join(first).join(rest)
    }

    fn digest(&self, bytes: &[u8]) -> [u8; 16] {
        let mut hasher = Xxh3::new();
        hasher.update(&(self.text.len() as u64).to_le_bytes());
        hasher.update(self.text.as_bytes());
        hasher.update(bytes);
        hasher.digest128().to_le_bytes()
    }
}

/// Writes an entry, which appears whole.
pub(super) fn write(folder: &Folder, identity: &Identity, bytes: &[u8]) -> io::Result<()> {
    folder.put(&identity.path(folder), &[MAGIC, &identity.digest(bytes), bytes])
}

/// The bytes of an entry, which is then the one used last. One that is not sound is removed.
pub(super) fn read(folder: &Folder, identity: &Identity) -> Option<Vec<u8>> {
    let path = identity.path(folder);
    let mut file = File::open(&path).ok()?;
    let mut found = Vec::new();
    let read = file.read_to_end(&mut found);
    let is_sound = read.is_ok()
        && found
            .strip_prefix(MAGIC)
            .and_then(<[u8]>::split_first_chunk::<16>)
            .is_some_and(|(digest, bytes)| *digest == identity.digest(bytes));
    if !is_sound {
        // What cannot be removed is found unsound again.
        let _ = fs::remove_file(&path);
        return None;
    }
    // Where this fails, the entry is given up before its time.
    let _ = file.set_modified(SystemTime::now());
    found.drain(..HEAD);
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn folder() -> (tempfile::TempDir, Folder) {
        let outer = tempfile::tempdir().unwrap();
        let folder = Folder::open(outer.path()).unwrap();
        (outer, folder)
    }

    #[test]
    fn an_entry_is_read_as_it_was_written_and_under_its_own_identity_only() {
        let (_outer, folder) = folder();
        let (a, b) = (Identity::block(&["x", "y"], 1), Identity::block(&["x", "y"], 2));
        assert_eq!(read(&folder, &a), None);
        write(&folder, &a, b"bytes").unwrap();
        assert_eq!(read(&folder, &a).as_deref(), Some(&b"bytes"[..]));
        assert_eq!(read(&folder, &b), None);
        // A file that was copied under another name is not believed.
        let target = b.path(&folder);
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(a.path(&folder), &target).unwrap();
        assert_eq!(read(&folder, &b), None);
        assert!(!target.exists());
        assert_ne!(Identity::block(&["x", "y1"], 2), Identity::block(&["x", "y"], 12));
        write(&folder, &a, b"").unwrap();
        assert_eq!(read(&folder, &a).as_deref(), Some(&b""[..]));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn damage_is_never_believed(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
            at in 0.0f64..1.0,
            flip in 1u8..,
            cut in any::<bool>(),
        ) {
            let (_outer, folder) = folder();
            let identity = Identity::answer(&["list", "b"]);
            write(&folder, &identity, &bytes).unwrap();
            let path = identity.path(&folder);
            let mut stored = fs::read(&path).unwrap();
            let place = (at * stored.len() as f64) as usize;
            match cut {
                true => stored.truncate(place),
                false => stored[place] ^= flip,
            }
            fs::write(&path, &stored).unwrap();
            prop_assert_eq!(read(&folder, &identity), None);
            prop_assert!(!path.exists());
        }
    }
}
