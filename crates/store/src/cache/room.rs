//! How much is kept: what comes makes room first, under a lock that all processes respect.
//!
//! The lock's file holds the number of bytes that are taken, which is written before the entries are. A process that is
//! killed between the two leaves a number that is too large, and the next that finds no room counts again.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

use xxhash_rust::xxh3::xxh3_64;

use super::entry::{self, HEAD, Identity};
use super::folder::{Folder, KINDS, TEMPORARY};

/// How long to wait for others that write. What is not kept after that is fetched again one day.
const PATIENCE: Duration = Duration::from_secs(1);

/// The most that is written under the lock at a time, in bytes.
const TOGETHER: u64 = 8 << 20;

/// Room is made for more than what comes, so that it is seldom made: a tenth of all.
const SPARE: u64 = 10;

/// Writes entries, and gives up others where they do not fit into `most` bytes.
///
/// # Errors
/// What the system says.
pub(super) fn put(folder: &Folder, most: u64, entries: &[(Identity, &[u8])]) -> io::Result<()> {
    let together = TOGETHER.min(most / 4);
    let mut rest = entries;
    while let Some((first, _)) = rest.split_first() {
        let mut size = taken_by(first.1);
        let mut count = 1;
        for (_, bytes) in rest.iter().skip(1) {
            if size + taken_by(bytes) > together {
                break;
            }
            size += taken_by(bytes);
            count += 1;
        }
        let (now, later) = rest.split_at(count);
        rest = later;
        if size > most {
            continue;
        }
        let Some(lock) = Lock::wait(folder)? else { return Ok(()) };
        let taken = match lock.taken() {
            Some(taken) if taken.saturating_add(size) <= most => taken,
            _ => make_room(folder, most.saturating_sub(size.max(most / SPARE)))?,
        };
        lock.set_taken(taken + size)?;
        now.iter().try_for_each(|(identity, bytes)| entry::write(folder, identity, bytes))?;
    }
    Ok(())
}

fn taken_by(bytes: &[u8]) -> u64 {
    (bytes.len() + HEAD) as u64
}

/// The lock of a folder; it ends with the process, however that ends.
struct Lock(File);

impl Lock {
    /// Waits for the lock, for a while.
    fn wait(folder: &Folder) -> io::Result<Option<Self>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(folder.inner().join("lock"))?;
        let begun = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Some(Self(file))),
                Err(TryLockError::WouldBlock) if begun.elapsed() < PATIENCE => {
                    sleep(Duration::from_millis(2));
                }
                Err(TryLockError::WouldBlock) => return Ok(None),
                // File systems without locks: processes may then count past each other.
                Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {
                    return Ok(Some(Self(file)));
                }
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
    }

    /// The bytes taken, unless they have to be counted.
    fn taken(&self) -> Option<u64> {
        let mut found = [0; 16];
        self.0.read_exact_at(&mut found, 0).ok()?;
        let (number, check) = found.split_first_chunk::<8>()?;
        (check == xxh3_64(number).to_le_bytes()).then(|| u64::from_le_bytes(*number))
    }

    fn set_taken(&self, taken: u64) -> io::Result<()> {
        let number = taken.to_le_bytes();
        let check = xxh3_64(&number).to_le_bytes();
        self.0.write_all_at(&[number, check].concat(), 0)
    }
}

struct Found {
    path: PathBuf,
    size: u64,
    used: SystemTime,
}

/// Gives up what was used longest ago, until no more than `most` bytes are left; returns how many are. Answers are small,
/// and without them blocks are of no use where there is no network: they go last.
fn make_room(folder: &Folder, most: u64) -> io::Result<u64> {
    // Nobody else writes now: what is here was left by a process that was killed.
    for left in files(&folder.inner().join(TEMPORARY))? {
        let _ = fs::remove_file(left.path);
    }
    let mut kinds = Vec::new();
    for kind in KINDS {
        let mut found = Vec::new();
        for group in names(&folder.inner().join(kind))? {
            found.append(&mut files(&group)?);
        }
        found.sort_by_key(|found| found.used);
        kinds.push(found);
    }
    let mut taken: u64 = kinds.iter().flatten().map(|found| found.size).sum();
    for found in kinds.into_iter().flatten() {
        if taken <= most {
            break;
        }
        match fs::remove_file(&found.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => taken -= found.size,
        }
    }
    Ok(taken)
}

/// The paths in a folder; none where there is none.
fn names(folder: &std::path::Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(folder) {
        Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn files(folder: &std::path::Path) -> io::Result<Vec<Found>> {
    let mut found = Vec::new();
    for path in names(folder)? {
        // One that is gone meanwhile was unsound.
        let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
        let used = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        found.push(Found { path, size: metadata.len(), used });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: [u8; 1000] = [7; 1000];

    fn block(number: u64) -> Identity {
        Identity::block(&["b"], number)
    }

    fn put_one(folder: &Folder, most: u64, identity: Identity) {
        put(folder, most, &[(identity, &BYTES)]).unwrap();
    }

    fn taken(folder: &Folder) -> u64 {
        let kinds = KINDS.iter().flat_map(|kind| names(&folder.inner().join(kind)).unwrap());
        kinds.flat_map(|group| files(&group).unwrap()).map(|found| found.size).sum()
    }

    fn age(folder: &Folder, identity: &Identity, seconds: u64) {
        let file = File::open(identity.path(folder)).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(seconds)).unwrap();
    }

    #[test]
    fn what_was_used_longest_ago_goes_first_and_answers_last() {
        let outer = tempfile::tempdir().unwrap();
        let folder = Folder::open(outer.path()).unwrap();
        let most = 5 * 1024;
        let answer = Identity::answer(&["list"]);
        put_one(&folder, most, answer.clone());
        age(&folder, &answer, 10_000);
        for number in 0..4 {
            put_one(&folder, most, block(number));
            age(&folder, &block(number), 1000 - number);
        }
        assert!(entry::read(&folder, &block(0)).is_some());
        put_one(&folder, most, block(4));
        let kept = [0, 1, 2, 3, 4].map(|number| entry::read(&folder, &block(number)).is_some());
        assert_eq!(kept, [true, false, true, true, true]);
        assert!(entry::read(&folder, &answer).is_some());
        assert!(taken(&folder) <= most);
        // Less room later.
        put_one(&folder, 2 * 1024, block(5));
        assert!(taken(&folder) <= 2 * 1024);
        assert!(entry::read(&folder, &block(5)).is_some());
        // What never fits is not kept, and drives nothing out.
        put_one(&folder, 1000, block(6));
        assert!(entry::read(&folder, &block(5)).is_some());
    }

    #[test]
    fn a_number_that_is_wrong_and_files_left_behind_do_no_harm() {
        let outer = tempfile::tempdir().unwrap();
        let folder = Folder::open(outer.path()).unwrap();
        fs::write(folder.inner().join("lock"), "not a number at all").unwrap();
        let left = folder.inner().join(TEMPORARY).join("1-1");
        fs::write(&left, BYTES).unwrap();
        put_one(&folder, 10_000, block(0));
        assert!(!left.exists());
        // Counted too high by somebody who was killed.
        let lock = Lock::wait(&folder).unwrap().unwrap();
        assert_eq!(lock.taken(), Some(1024));
        lock.set_taken(u64::MAX).unwrap();
        drop(lock);
        put_one(&folder, 10_000, block(1));
        assert_eq!(Lock::wait(&folder).unwrap().unwrap().taken(), Some(2048));
        assert!(entry::read(&folder, &block(0)).is_some());
    }

    #[test]
    fn who_cannot_have_the_lock_keeps_nothing_and_waits_for_no_long_time() {
        let outer = tempfile::tempdir().unwrap();
        let folder = Folder::open(outer.path()).unwrap();
        let held = Lock::wait(&folder).unwrap().unwrap();
        let begun = Instant::now();
        put_one(&folder, 10_000, block(0));
        assert!(begun.elapsed() < 3 * PATIENCE);
        drop(held);
        assert!(entry::read(&folder, &block(0)).is_none());
    }

    #[test]
    fn threads_that_share_a_folder_keep_to_the_size() {
        let outer = tempfile::tempdir().unwrap();
        let most = 20 * 1024;
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let outer = outer.path();
                scope.spawn(move || {
                    let folder = Folder::open(outer).unwrap();
                    for number in 0..50 {
                        put_one(&folder, most, block(thread * 100 + number));
                    }
                });
            }
        });
        let folder = Folder::open(outer.path()).unwrap();
        let found = taken(&folder);
        assert!(found <= most && found > most / 2, "{found}");
        assert_eq!(Lock::wait(&folder).unwrap().unwrap().taken(), Some(found));
    }
}
