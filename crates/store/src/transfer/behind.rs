//! Making a file durable while it is still coming, and giving back the memory that the system holds it in.
//!
//! Fresh memory for every page of a file can cost more than the copy into it: on a virtual machine 1 GiB has been seen
//! to take 2.4 s of the processor, and 0.25 s where the same pages are used again.

use std::fs::File;
use std::time::Instant;

/// From how many bytes per second on a disk counts as fast: who reads the file next will not wait for it.
const FAST: f64 = 400e6;

/// Makes durable what has been written, about `bytes` since the last call. Unless the file is to stay `cached`, what
/// is on a fast disk leaves the memory.
pub(super) fn sync(file: &File, bytes: u64, cached: bool) -> std::io::Result<()> {
    let begun = Instant::now();
    file.sync_data()?;
    if !cached && bytes as f64 >= FAST * begun.elapsed().as_secs_f64() {
        give_back(file);
    }
    Ok(())
}

/// Tells the system that the file need not be held in memory. It is advice: that it is not taken is no error.
#[cfg(target_os = "linux")]
fn give_back(file: &File) {
    let _ = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed);
}

#[cfg(not(target_os = "linux"))]
fn give_back(_: &File) {}
