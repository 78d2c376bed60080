//! Temporary files.

use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::source::FileSource;
use crate::{ByteSource, Error, Result};

/// How many bytes are written at a time.
const BUFFER: usize = 256 << 10;

/// Tells the files of this process apart.
static COUNT: AtomicU64 = AtomicU64::new(0);

/// A temporary file that is being written.
#[derive(Debug)]
pub(super) struct Spool {
    folder: PathBuf,
    file: File,
    buffer: Vec<u8>,
}

impl Spool {
    /// Makes a file in a folder, which is made where it is not there. It has no name while it is open: whatever ends
    /// the program, the file goes with it.
    pub(super) fn create(folder: &Path) -> Result<Self> {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = folder.join(format!(".vacuole-{}-{number}.mtx", std::process::id()));
        let open = || {
            std::fs::create_dir_all(folder)?;
            // One that a killed process of the same number left.
            let _ = std::fs::remove_file(&path);
            let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
            std::fs::remove_file(&path)?;
            Ok(file)
        };
        let file = open().map_err(|error| failed(folder, "made", error))?;
        Ok(Self { folder: folder.to_owned(), file, buffer: Vec::with_capacity(BUFFER) })
    }

    /// Appends bytes.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<()> {
        if self.buffer.len() + bytes.len() > BUFFER {
            self.flush()?;
        }
        match bytes.len() > BUFFER {
            true => self.write(bytes),
            false => {
                self.buffer.extend_from_slice(bytes);
                Ok(())
            }
        }
    }

    /// Writes bytes at a place. Appending goes on behind them.
    pub(super) fn put(&mut self, at: u64, bytes: &[u8]) -> Result<()> {
        let sought = self.file.seek(SeekFrom::Start(at));
        sought.map_err(|error| failed(&self.folder, "written", error))?;
        self.write(bytes)
    }

    fn flush(&mut self) -> Result<()> {
        let buffer = std::mem::take(&mut self.buffer);
        self.write(&buffer)?;
        self.buffer = buffer;
        self.buffer.clear();
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(|error| failed(&self.folder, "written", error))
    }

    /// The file, to be read.
    pub(super) fn finish(mut self) -> Result<Spooled> {
        self.flush()?;
        Ok(Spooled { folder: self.folder, file: FileSource::of(self.file) })
    }
}

/// A temporary file that is complete.
#[derive(Debug)]
pub(super) struct Spooled {
    folder: PathBuf,
    file: FileSource,
}

impl Spooled {
    pub(super) fn read(&self, at: u64, length: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        let read = self.file.read_at(at, &mut bytes);
        read.map_err(|error| {
            error.context("a temporary file cannot be read").in_file(self.folder.display())
        })?;
        Ok(bytes)
    }
}

fn failed(folder: &Path, what: &str, error: std::io::Error) -> Error {
    Error::io(format!("a temporary file in it cannot be {what}"), error).in_file(folder.display())
}
