//! Text that may be compressed, read as a stream of whole lines.

use std::fmt;
use std::io::{self, BufReader, Read};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;

use flate2::bufread::MultiGzDecoder;

use super::Part;
use crate::{ByteSource, Error, ErrorKind, Result};

/// How much text is taken at a time.
const BLOCK: usize = 1 << 20;

/// How many bytes of the file are read at a time.
const READ: usize = 1 << 20;

/// Longer lines are in no file of this kind.
const LONGEST_LINE: usize = 16 << 20;

/// What compressed text begins with.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// A file of text, compressed or not: its first bytes tell.
pub(super) struct Text {
    name: String,
    source: Arc<dyn ByteSource>,
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Text").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Text {
    pub(super) fn new(part: Part) -> Self {
        Self { name: part.name, source: part.source }
    }

    /// What messages call the file.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Adds the file and a line, counted from 1, to an error.
    pub(super) fn at_line(&self, line: u64, error: Error) -> Error {
        error.context(format!("line {line}")).in_file(&self.name)
    }

    /// The text from its beginning.
    pub(super) fn open(&self) -> Result<Box<dyn Read + Send>> {
        let open = || {
            let size = self.source.size()?;
            let mut first = [0; GZIP.len()];
            if size >= GZIP.len() as u64 {
                self.source.read_at(0, &mut first)?;
            }
            let source = Arc::clone(&self.source);
            let bytes = BufReader::with_capacity(READ, Bytes { source, at: 0, size });
            Ok(match first == GZIP {
                true => Box::new(MultiGzDecoder::new(bytes)) as Box<dyn Read + Send>,
                false => Box::new(bytes),
            })
        };
        open().map_err(|error: Error| error.in_file(&self.name))
    }

    /// Gives the text in blocks of whole lines, the last of which may lack its end, until `take` wants no more. The
    /// next blocks are inflated meanwhile.
    pub(super) fn lines(&self, mut take: impl FnMut(&[u8]) -> Result<bool>) -> Result<()> {
        let mut text = self.open()?;
        std::thread::scope(|scope| {
            let (sender, receiver) = sync_channel::<Result<Vec<u8>>>(2);
            scope.spawn(move || {
                let mut rest = Vec::new();
                loop {
                    let block = next_block(&mut text, &mut rest);
                    let last = block.as_ref().map_or(true, Vec::is_empty);
                    // Nobody waits for it where taking has failed before.
                    if sender.send(block).is_err() || last {
                        return;
                    }
                }
            });
            for block in receiver {
                let block = block.map_err(|error| error.in_file(&self.name))?;
                if block.is_empty() || !take(&block)? {
                    break;
                }
            }
            Ok(())
        })
    }
}

/// The next whole lines; nothing at the end. `rest` is the beginning of the line after them.
fn next_block(text: &mut dyn Read, rest: &mut Vec<u8>) -> Result<Vec<u8>> {
    let mut block = std::mem::take(rest);
    loop {
        let before = block.len();
        block.resize(before + BLOCK, 0);
        let read = fill(text, block.get_mut(before..).unwrap_or_default())?;
        block.truncate(before + read);
        if read < BLOCK {
            return Ok(block);
        }
        let fresh = block.get(before..).unwrap_or_default();
        if let Some(end) = fresh.iter().rposition(|&byte| byte == b'\n') {
            *rest = block.split_off(before + end + 1);
            return Ok(block);
        }
        if block.len() > LONGEST_LINE {
            return Err(Error::corrupt(format!(
                "expected lines of at most {LONGEST_LINE} bytes, found a longer one"
            )));
        }
    }
}

/// Reads until the buffer is full or the text ends.
fn fill(text: &mut dyn Read, buffer: &mut [u8]) -> Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match text.read(rest) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(unreadable(error)),
        }
    }
    Ok(filled)
}

fn unreadable(error: io::Error) -> Error {
    if let Some(error) = error.get_ref().and_then(|error| error.downcast_ref::<Error>()) {
        return error.clone();
    }
    let what = match error.kind() {
        io::ErrorKind::UnexpectedEof => "it ends in the middle: the file is truncated",
        _ => "what is there is damaged",
    };
    Error::new(ErrorKind::Corrupt, format!("expected text compressed by gzip; {what}; get it anew"))
        .caused_by(error)
}

/// A source read from its beginning to its end.
struct Bytes {
    source: Arc<dyn ByteSource>,
    at: u64,
    size: u64,
}

impl Read for Bytes {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = (self.size - self.at).min(buffer.len() as u64) as usize;
        let Some(buffer) = buffer.get_mut(..count).filter(|buffer| !buffer.is_empty()) else {
            return Ok(0);
        };
        self.source.read_at(self.at, buffer).map_err(io::Error::other)?;
        self.at += count as u64;
        Ok(count)
    }
}
