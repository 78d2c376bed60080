//! One change at a time: a document that is there while the files of a change are put.

use std::path::Path;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use vacuole_store::Store;

use crate::error::Result;
use crate::private;

/// The document's kind, and its name.
const LOCK: &str = "change";

/// A lock that stays for so long is left of somebody who was killed, on a machine that cannot be asked: a few small files
/// are put meanwhile, no more.
const GIVEN_UP: Duration = Duration::from_secs(30);

/// Whoever puts the files of a change holds it, and then only; others wait. It goes with the value.
///
/// What an array is, is looked at while it is held, and then changed, so that of two changes the later one finds the
/// earlier. TileDB knows nothing of it.
#[derive(Debug)]
pub(crate) struct Lock {
    store: Arc<dyn Store>,
    written: Vec<u8>,
}

/// What tells who holds it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Holder {
    uuid: String,
    /// The process, where the machine can be asked whether it is still there.
    process: Option<Process>,
}

/// A process of a machine.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Process {
    /// Where its number counts, and who sees it: the machine since it was started, the namespace, the user.
    place: String,
    number: u32,
    /// When it began, as the machine counts: numbers are used again.
    began: String,
}

impl Lock {
    /// Takes it, once nobody else has it.
    ///
    /// # Errors
    /// Those of reading and writing.
    pub(crate) fn take(store: &Arc<dyn Store>) -> Result<Self> {
        Self::take_within(store, GIVEN_UP)
    }

    fn take_within(store: &Arc<dyn Store>, given_up: Duration) -> Result<Self> {
        let uuid = uuid::Uuid::new_v4().simple().to_string();
        let holder = Holder { uuid, process: Process::this() };
        let lock = Self { store: Arc::clone(store), written: private::encode(LOCK, &holder) };
        let mut seen: Option<(Vec<u8>, Instant)> = None;
        loop {
            match store.put_new(&path(), &lock.written) {
                Err(error) if error.kind() == vacuole_store::ErrorKind::AlreadyExists => {}
                done => return Ok(done.map(|()| lock)?),
            }
            let Some(found) = read(&**store)? else { continue };
            // An answer that was lost.
            if found == lock.written {
                return Ok(lock);
            }
            let since = match seen.take() {
                Some((before, since)) if before == found => since,
                _ => Instant::now(),
            };
            if is_left(&found) || since.elapsed() > given_up {
                if read(&**store)?.as_ref() == Some(&found) {
                    store.remove(&path())?;
                }
                continue;
            }
            seen = Some((found, since));
            sleep(Duration::from_millis(if store.is_far() { 500 } else { 20 }));
        }
    }

    /// Whether it is still held: who was stopped for long may have been taken for dead.
    pub(crate) fn is_held(&self) -> Result<bool> {
        Ok(read(&*self.store)?.as_ref() == Some(&self.written))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if self.is_held().unwrap_or(false) {
            // One that stays is given up by the next who comes.
            let _ = self.store.remove(&path());
        }
    }
}

fn path() -> String {
    private::path(&format!("{LOCK}.json"))
}

fn read(store: &dyn Store) -> Result<Option<Vec<u8>>> {
    match store.read(&path()) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == vacuole_store::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Whether it is of a process of this machine that is gone.
fn is_left(found: &[u8]) -> bool {
    let holder = private::decode::<Holder>(LOCK, LOCK, found).ok();
    let Some(process) = holder.and_then(|holder| holder.process) else { return false };
    let here = place().is_some_and(|place| place == process.place);
    here && began(process.number).as_ref() != Some(&process.began)
}

impl Process {
    /// This one; none where the system does not tell.
    fn this() -> Option<Self> {
        let number = std::process::id();
        Some(Self { place: place()?, number, began: began(number)? })
    }
}

/// Where numbers of processes count, on Linux.
fn place() -> Option<String> {
    use std::os::unix::fs::MetadataExt;
    let machine = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let namespace = std::fs::read_link("/proc/self/ns/pid").ok()?;
    let user = Path::new("/proc/self").metadata().ok()?.uid();
    Some(format!("{} {} {user}", machine.trim(), namespace.display()))
}

/// When a process began; none where there is none of that number, or it has ended.
fn began(number: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{number}/stat")).ok()?;
    // The name before may hold anything; the state comes first behind it.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    // Of 22 fields two were before.
    fields.nth(18).filter(|_| !matches!(state, "Z" | "X")).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use vacuole_store::MemoryStore;

    use super::*;

    #[test]
    fn one_has_it_at_a_time() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let counted = std::sync::Mutex::new((0, 0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let lock = Lock::take(&store).unwrap();
                    counted.lock().unwrap().0 += 1;
                    sleep(Duration::from_millis(3));
                    assert_eq!(counted.lock().unwrap().0, 1);
                    assert!(lock.is_held().unwrap());
                    let mut counted = counted.lock().unwrap();
                    *counted = (0, counted.1 + 1);
                });
            }
        });
        assert_eq!(counted.into_inner().unwrap().1, 8);
        assert_eq!(read(&*store).unwrap(), None);
    }

    #[test]
    fn what_the_dead_have_left_is_taken_over() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let holder = |process| Holder { uuid: "other".to_owned(), process };
        // A number that was used again: this process, begun at another time.
        if let Some(this) = Process::this() {
            let before = Process { began: "0".to_owned(), ..this };
            store.put(&path(), &private::encode(LOCK, &holder(Some(before)))).unwrap();
            drop(Lock::take(&store).unwrap());
        }
        // Of elsewhere, and what cannot be read.
        for left in [private::encode(LOCK, &holder(None)), b"cut".to_vec()] {
            store.put(&path(), &left).unwrap();
            assert!(!is_left(&left));
            let began = Instant::now();
            let lock = Lock::take_within(&store, Duration::from_millis(60)).unwrap();
            assert!(began.elapsed() >= Duration::from_millis(60));
            // Taken from who was only slow, it is not given back by them.
            store.put(&path(), &left).unwrap();
            assert!(!lock.is_held().unwrap());
            drop(lock);
            assert_eq!(read(&*store).unwrap(), Some(left));
        }
    }
}
