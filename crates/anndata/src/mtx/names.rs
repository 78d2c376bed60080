//! Features and barcodes: a row a line, fields between tabs.

use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_array::builder::LargeStringBuilder;

use super::header::shown;
use super::text::Text;
use crate::read::ForeignValues;
use crate::{Error, ErrorKind, Result};

/// The most text that is held: the ids of a hundred million cells.
const MOST_BYTES: usize = 4 << 30;

/// A file of names, read anew for each column that is asked for.
#[derive(Debug)]
pub(super) struct Names {
    text: Arc<Text>,
    count: u64,
    /// How many fields every line has; none where a line is one field.
    fields: Option<usize>,
    typed: bool,
}

impl Names {
    /// Opens a file of features: ids, symbols and, where they are `typed`, what kind of feature each is.
    pub(super) fn open(text: Text, typed: bool) -> Result<Self> {
        let mut names = Self { text: Arc::new(text), count: 0, fields: None, typed };
        let mut fields = None;
        names.count = each(&names.text, |line| {
            let found = line.split('\t').count();
            let least = (*fields.get_or_insert(found)).min(3);
            if found < least {
                return Err(Error::corrupt(format!(
                    "expected {least} fields with tabs between them, as in the first line, found {found} in {}",
                    shown(line.as_bytes())
                )));
            }
            Ok(())
        })?;
        names.fields = Some(fields.unwrap_or(3));
        Ok(names)
    }

    /// Opens a file of barcodes: all of a line is one.
    pub(super) fn open_lines(text: Text) -> Result<Self> {
        let text = Arc::new(text);
        let count = each(&text, |_| Ok(()))?;
        Ok(Self { text, count, fields: None, typed: false })
    }

    pub(super) fn file(&self) -> &str {
        self.text.name()
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// The field that has the symbols: the ids, where there is nothing else.
    pub(super) fn symbols(&self) -> usize {
        usize::from(self.fields.is_some_and(|fields| fields > 1))
    }

    /// The field that has the types, where there is one.
    pub(super) fn types(&self) -> Option<usize> {
        (self.typed && self.fields.is_some_and(|fields| fields > 2)).then_some(2)
    }

    pub(super) fn column(&self, field: usize) -> Arc<dyn ForeignValues> {
        let field = self.fields.map(|_| field);
        Arc::new(NameColumn { text: Arc::clone(&self.text), field })
    }
}

#[derive(Debug)]
struct NameColumn {
    text: Arc<Text>,
    field: Option<usize>,
}

impl ForeignValues for NameColumn {
    fn read(&self) -> Result<ArrayRef> {
        let mut strings = LargeStringBuilder::new();
        let mut bytes = 0_usize;
        each(&self.text, |line| {
            let name = match self.field {
                None => Some(line),
                Some(field) => line.split('\t').nth(field),
            };
            let name = unquoted(name.unwrap_or_default());
            bytes += name.len();
            if bytes > MOST_BYTES {
                let message = format!("expected names of at most {MOST_BYTES} bytes, found more");
                return Err(Error::new(ErrorKind::TooLarge, message));
            }
            strings.append_value(name);
            Ok(())
        })?;
        Ok(Arc::new(strings.finish()))
    }
}

/// A field without the quotes that R puts around it.
fn unquoted(field: &str) -> &str {
    let inside = field.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    inside.filter(|inside| !inside.contains('"')).unwrap_or(field)
}

/// Gives each line that has anything, and counts them.
fn each(text: &Text, mut take: impl FnMut(&str) -> Result<()>) -> Result<u64> {
    let (mut count, mut number) = (0, 0);
    text.lines(|block| {
        for line in block.split_inclusive(|&byte| byte == b'\n') {
            number += 1;
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if line.is_empty() {
                continue;
            }
            let line = std::str::from_utf8(line)
                .map_err(|_| Error::corrupt(format!("expected UTF-8, found {}", shown(line))));
            let taken = line.and_then(&mut take);
            taken.map_err(|error| text.at_line(number, error))?;
            count += 1;
        }
        Ok(true)
    })?;
    Ok(count)
}
