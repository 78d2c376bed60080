//! Damages each file of a SOMA object in turn, in memory, and says what `verify` finds.
//!
//! Usage: `damage FOLDER SEED FLIPS`. One line of JSON for each damage: `file`, `damage`, `verdict` (`sound`,
//! `not checksummed`, `fault`, `error` where it cannot be opened, `panic`), `milliseconds`; the first one is of the undamaged
//! store, with `file` empty.

use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use vacuole_soma::{Object, verify};
use vacuole_store::{MemoryStore, Store};

/// What is drawn, from one seed: xorshift.
struct Draw(u64);

impl Draw {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end.max(1) as u64) as usize
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, folder, seed, flips] = arguments.as_slice() else {
        return Err("usage: damage FOLDER SEED FLIPS".into());
    };
    let mut draw = Draw(seed.parse::<u64>()?.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let flips: usize = flips.parse()?;
    let store = MemoryStore::new();
    let mut files = Vec::new();
    load(&store, Path::new(folder), "", &mut files)?;
    files.sort();
    // What panics is told in the line of its damage.
    std::panic::set_hook(Box::new(|_| {}));
    tell(&store, "", "none");
    for file in files {
        let sound = store.read(&file)?;
        let mut offsets: Vec<usize> = (0..flips).map(|_| draw.below(sound.len())).collect();
        offsets.extend([0, sound.len().saturating_sub(1)]);
        offsets.sort_unstable();
        offsets.dedup();
        for at in offsets.into_iter().filter(|at| *at < sound.len()) {
            let mut damaged = sound.clone();
            let bits = 1 + draw.below(255) as u8;
            damaged[at] ^= bits;
            store.put(&file, &damaged)?;
            tell(&store, &file, &format!("byte {at} of {} by {bits}", sound.len()));
        }
        let mut ends =
            vec![0, sound.len() / 2, sound.len().saturating_sub(1), draw.below(sound.len())];
        ends.sort_unstable();
        ends.dedup();
        for end in ends.into_iter().filter(|end| *end < sound.len()) {
            store.put(&file, &sound[..end])?;
            tell(&store, &file, &format!("cut at {end} of {}", sound.len()));
        }
        store.remove(&file)?;
        tell(&store, &file, "removed");
        store.put(&file, &sound)?;
    }
    Ok(())
}

fn load(
    store: &MemoryStore,
    folder: &Path,
    below: &str,
    files: &mut Vec<String>,
) -> Result<(), Box<dyn Error>> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = vacuole_store::join(below, &entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            load(store, &entry.path(), &name, files)?;
        } else {
            store.put(&name, &std::fs::read(entry.path())?)?;
            files.push(name);
        }
    }
    Ok(())
}

fn tell(store: &MemoryStore, file: &str, damage: &str) {
    let begun = Instant::now();
    let looked = catch_unwind(AssertUnwindSafe(|| {
        let store: Arc<dyn Store> = Arc::new(store.clone());
        verify(&Object::open(store, "", u64::MAX)?)
    }));
    let (verdict, faults) = match looked {
        Err(_) => ("panic", Vec::new()),
        Ok(Err(error)) => ("error", vec![error.to_string()]),
        Ok(Ok(report)) if !report.faults.is_empty() => {
            ("fault", report.faults.iter().map(ToString::to_string).collect())
        }
        Ok(Ok(report)) if report.not_checksummed.is_empty() => ("sound", Vec::new()),
        Ok(Ok(report)) => ("not checksummed", report.not_checksummed),
    };
    let milliseconds = begun.elapsed().as_millis() as u64;
    println!(
        "{}",
        serde_json::json!({
            "file": file, "damage": damage, "verdict": verdict, "milliseconds": milliseconds, "said": faults,
        })
    );
}
