//! Where the bytes of a file come from.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use crate::{Error, Result};

/// Bytes that can be read by range, from any number of threads at once.
pub trait ByteSource: Send + Sync {
    /// The number of bytes.
    ///
    /// # Errors
    ///
    /// `Io` when it cannot be found out.
    fn size(&self) -> Result<u64>;

    /// Fills `buffer` with the bytes from `offset` on.
    ///
    /// # Errors
    ///
    /// `Io` when they cannot be read, or when the source ends before the buffer is full.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()>;
}

/// A file on a local disk.
#[derive(Debug)]
pub struct FileSource {
    file: fs::File,
}

impl FileSource {
    /// Opens the file at `path` for reading.
    ///
    /// # Errors
    ///
    /// `Io` when it cannot be opened.
    pub fn open(path: &Path) -> Result<Self> {
        let file =
            fs::File::open(path).map_err(|error| Error::io("the file cannot be opened", error))?;
        Ok(Self { file })
    }

    /// A file that is open for reading.
    pub(crate) fn of(file: fs::File) -> Self {
        Self { file }
    }
}

impl ByteSource for FileSource {
    fn size(&self) -> Result<u64> {
        let metadata =
            self.file.metadata().map_err(|error| Error::io("the file's size is unknown", error))?;
        if metadata.is_dir() {
            return Err(Error::invalid("expected a file, found a directory"));
        }
        Ok(metadata.len())
    }

    #[cfg(unix)]
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        use std::os::unix::fs::FileExt;
        self.file.read_exact_at(buffer, offset).map_err(|error| read_error(offset, buffer, error))
    }

    #[cfg(windows)]
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        use std::os::windows::fs::FileExt;
        let mut done = 0;
        while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
            match self.file.seek_read(rest, offset + done as u64) {
                Ok(0) => {
                    let end = std::io::ErrorKind::UnexpectedEof.into();
                    return Err(read_error(offset, buffer, end));
                }
                Ok(read) => done += read,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(read_error(offset, buffer, error)),
            }
        }
        Ok(())
    }
}

fn read_error(offset: u64, buffer: &[u8], error: std::io::Error) -> Error {
    Error::io(format!("reading {} bytes at {offset}", buffer.len()), error)
}

/// Bytes in memory.
impl ByteSource for Arc<[u8]> {
    fn size(&self) -> Result<u64> {
        Ok(self.len() as u64)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let found = usize::try_from(offset)
            .ok()
            .and_then(|start| Some(start..start.checked_add(buffer.len())?))
            .and_then(|range| self.get(range));
        let Some(bytes) = found else {
            return Err(read_error(offset, buffer, std::io::ErrorKind::UnexpectedEof.into()));
        };
        buffer.copy_from_slice(bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_and_file_give_the_same_ranges() {
        let bytes: Arc<[u8]> = (0..=255).collect();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("bytes");
        fs::write(&path, &bytes).unwrap();
        let file = FileSource::open(&path).unwrap();
        assert_eq!(file.size().unwrap(), 256);
        assert_eq!(bytes.size().unwrap(), 256);
        for source in [&file as &dyn ByteSource, &bytes] {
            let mut buffer = [0; 3];
            source.read_at(253, &mut buffer).unwrap();
            assert_eq!(buffer, [253, 254, 255]);
            assert!(source.read_at(254, &mut buffer).is_err());
            assert!(source.read_at(u64::MAX, &mut buffer).is_err());
        }
    }

    #[test]
    fn a_directory_is_no_file() {
        let directory = tempfile::tempdir().unwrap();
        let opened = FileSource::open(directory.path()).and_then(|source| source.size());
        assert!(opened.is_err());
    }
}
