//! Writing back while a file is being written, and giving back the memory that the system holds it in.
//!
//! Left to itself, the system keeps a file of many gigabytes in memory that others need, and all of it is waited for
//! at the end. Taking fresh memory for every page costs it more than the copy into them, too: 1.1 GB take 1.3 s and
//! another 0.4 s at the end, and 0.5 s in all where the same pages are used again.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Instant;

/// How much is written between two calls, in bytes.
const STEP: u64 = 32 << 20;

/// From how many bytes per second on a disk counts as fast: who reads the file next will not wait for it.
const FAST: f64 = 400e6;

/// Makes a file durable on a thread of its own, which begins with the first [`STEP`] bytes.
#[derive(Default)]
pub(super) struct Behind {
    /// What has been written since the last call.
    bytes: u64,
    thread: Option<(SyncSender<u64>, JoinHandle<io::Result<File>>)>,
}

impl Behind {
    /// Notes that so many bytes have been written to the file at `path`.
    pub(super) fn wrote(&mut self, path: &Path, bytes: u64) {
        self.bytes += bytes;
        if self.bytes < STEP {
            return;
        }
        if self.thread.is_none()
            && let Ok(file) = OpenOptions::new().write(true).open(path)
        {
            // Without a thread, or a file, all is left to the end.
            let (sender, receiver) = sync_channel(1);
            let thread = std::thread::Builder::new().name("write behind".to_owned());
            let thread = thread.spawn(move || sync(&file, &receiver).map(|()| file));
            self.thread = thread.ok().map(|thread| (sender, thread));
        }
        if let Some((sender, _)) = &self.thread
            // Where it is at work still, the next call covers this one.
            && sender.try_send(self.bytes).is_ok()
        {
            self.bytes = 0;
        }
    }

    /// Makes all of the file at `path` durable. The system tells an error of writing back once, to those who had the
    /// file open: so it has to be asked through the same handle.
    pub(super) fn finish(&mut self, path: &Path) -> io::Result<()> {
        let file = match self.thread.take() {
            Some((sender, thread)) => {
                drop(sender);
                let ended = thread.join();
                ended.unwrap_or_else(|cause| std::panic::resume_unwind(cause))?
            }
            None => OpenOptions::new().write(true).open(path)?,
        };
        file.sync_all()
    }
}

impl Drop for Behind {
    fn drop(&mut self) {
        if let Some((sender, thread)) = self.thread.take() {
            drop(sender);
            let _ = thread.join();
        }
    }
}

/// Makes durable what was written at each step.
fn sync(file: &File, steps: &Receiver<u64>) -> io::Result<()> {
    steps.iter().try_for_each(|bytes| {
        let begun = Instant::now();
        file.sync_data()?;
        if bytes as f64 >= FAST * begun.elapsed().as_secs_f64() {
            give_back(file);
        }
        Ok(())
    })
}

/// Tells the system that the file need not be held in memory. It is advice: that it is not taken is no error.
#[cfg(target_os = "linux")]
fn give_back(file: &File) {
    let _ = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed);
}

#[cfg(not(target_os = "linux"))]
fn give_back(_: &File) {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_file_is_whole_after_steps_and_without() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        for steps in [0, 1, 3] {
            let mut file = File::create(&path).unwrap();
            let mut behind = Behind::default();
            for _ in 0..steps {
                file.write_all(&[7; 10_000]).unwrap();
                behind.wrote(&path, STEP);
            }
            assert_eq!(behind.thread.is_some(), steps > 0);
            behind.finish(&path).unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), vec![7; steps * 10_000]);
        }
    }

    #[test]
    fn a_file_that_is_gone_is_an_error_of_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("none");
        let mut behind = Behind::default();
        behind.wrote(&missing, STEP);
        assert_eq!(behind.finish(&missing).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
