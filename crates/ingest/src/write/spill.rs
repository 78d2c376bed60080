//! A file for what does not fit into memory.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use crate::error::Result;

/// Bytes appended to a temporary file, which has no name while it is open: whatever ends the program, the
/// file goes with it.
#[derive(Debug)]
pub(crate) struct Spill {
    folder: PathBuf,
    file: Option<File>,
    end: u64,
}

impl Spill {
    /// Makes a file in `folder` when the first bytes come.
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder, file: None, end: 0 }
    }

    /// Appends bytes and returns where they are.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<u64> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(create(&self.folder)?),
        };
        let at = self.end;
        file.write_all_at(bytes, at).map_err(|e| error(&self.folder, "cannot be written to", e))?;
        self.end += bytes.len() as u64;
        Ok(at)
    }

    /// Reads bytes back.
    pub(crate) fn read(&self, at: u64, length: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        if let Some(file) = &self.file {
            let read = file.read_exact_at(&mut bytes, at);
            read.map_err(|e| error(&self.folder, "cannot be read from", e))?;
        }
        Ok(bytes)
    }

    /// Forgets what was appended.
    pub(crate) fn clear(&mut self) -> Result<()> {
        if let Some(file) = self.file.as_ref().filter(|_| self.end > 0) {
            file.set_len(0).map_err(|e| error(&self.folder, "cannot be written to", e))?;
        }
        self.end = 0;
        Ok(())
    }

    /// How many bytes are in the file.
    #[cfg(test)]
    pub(super) fn len(&self) -> u64 {
        self.end
    }
}

fn create(folder: &PathBuf) -> Result<File> {
    let name = folder.join(uuid::Uuid::new_v4().simple().to_string());
    let open = || -> std::io::Result<File> {
        std::fs::create_dir_all(folder)?;
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&name)?;
        std::fs::remove_file(&name)?;
        Ok(file)
    };
    let opened = match open() {
        // Another process has done with the folder and removed it, between the two.
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => open(),
        opened => opened,
    };
    opened.map_err(|e| error(folder, "cannot be made", e))
}

fn error(folder: &std::path::Path, doing: &str, source: std::io::Error) -> crate::Error {
    let doing = format!("a temporary file in it {doing}");
    vacuole_store::Error::io(folder.display().to_string(), &doing, source).into()
}
