//! Which files of a folder are a matrix, its features and its barcodes.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Part;
use super::header::BANNER;
use super::text::Text;
use crate::source::FileSource;
use crate::{ByteSource, Error, ErrorKind, Result};

/// How the name of a matrix ends.
const MATRIX: &str = "matrix.mtx";

/// How the names of files of features end.
const FEATURES: [&str; 2] = ["features.tsv", GENES];
const GENES: &str = "genes.tsv";
const BARCODES: [&str; 1] = ["barcodes.tsv"];

/// How the names of compressed files end.
const GZIP: &str = ".gz";

/// The names of the files of a matrix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trio {
    /// `matrix.mtx`.
    pub matrix: String,
    /// `features.tsv`, or `genes.tsv` of Cell Ranger before 3.
    pub features: String,
    /// `barcodes.tsv`.
    pub barcodes: String,
}

impl Trio {
    /// Finds a matrix among the names of the files of a folder, or what belongs to the one that is `chosen`. All three
    /// may have the same words before their names, as `sample1_`, and `.gz` behind. None where no file has the name of
    /// a matrix, and none is chosen.
    ///
    /// # Errors
    /// `InvalidInput` where there are several matrices, or the features or barcodes are missing.
    pub fn find(names: &[String], chosen: Option<&str>) -> Result<Option<Self>> {
        let is_matrix = |name: &&String| name.strip_suffix(GZIP).unwrap_or(name).ends_with(MATRIX);
        let matrices: Vec<&str> = names.iter().filter(is_matrix).map(String::as_str).collect();
        let matrix = match (chosen, matrices.as_slice()) {
            (Some(chosen), _) => chosen,
            (None, []) => return Ok(None),
            (None, [only]) => only,
            (None, several) => {
                return Err(Error::invalid(format!(
                    "expected one matrix in a folder, found {}; give their paths instead of the folder's",
                    several.join(", ")
                )));
            }
        };
        let plain = matrix.strip_suffix(GZIP).unwrap_or(matrix);
        let compressed = plain.len() < matrix.len();
        let Some(prefix) = plain.strip_suffix(MATRIX) else {
            return Err(Error::invalid(format!(
                "expected a name that ends in {MATRIX} or {MATRIX}{GZIP}, from which those of its features and \
                 barcodes follow, found {matrix}; rename all three"
            )));
        };
        let beside = |endings: &[&str]| {
            let there = |name: &String| names.contains(name);
            let found = endings.iter().find_map(|ending| {
                let plain = format!("{prefix}{ending}");
                let gzip = format!("{plain}{GZIP}");
                // Where there are both, the one that goes with the matrix.
                let order = if compressed { [gzip, plain] } else { [plain, gzip] };
                order.into_iter().find(there)
            });
            found.ok_or_else(|| {
                let wanted: Vec<String> = endings.iter().map(|e| format!("{prefix}{e}")).collect();
                Error::invalid(format!(
                    "expected {}, with or without {GZIP}, beside {matrix}, found none",
                    wanted.join(" or ")
                ))
            })
        };
        let (features, barcodes) = (beside(&FEATURES)?, beside(&BARCODES)?);
        Ok(Some(Self { matrix: matrix.to_owned(), features, barcodes }))
    }

    /// The names in order.
    pub fn names(&self) -> [&str; 3] {
        [&self.matrix, &self.features, &self.barcodes]
    }
}

/// The paths of the matrix in a folder, or of the one at a path, of its features and of its barcodes; none where there
/// is no matrix. A file is one if it begins as Matrix Market files do, whatever its name.
///
/// # Errors
/// As of [`Trio::find`]; `Io` where the folder cannot be read.
pub fn paths_at(path: &Path) -> Result<Option<[PathBuf; 3]>> {
    let chosen = path.is_file();
    if chosen {
        // What cannot be read is told of when it is opened.
        let Ok(file) = FileSource::open(path) else { return Ok(None) };
        if !is_matrix_market(Arc::new(file)).unwrap_or(false) {
            return Ok(None);
        }
    } else if !path.is_dir() {
        return Ok(None);
    }
    let folder = if chosen { path.parent().unwrap_or(Path::new("")) } else { path };
    let listed = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let failed = |error| Error::io("the folder cannot be read", error).in_file(listed.display());
    let mut names = Vec::new();
    for entry in std::fs::read_dir(listed).map_err(failed)? {
        // A name that is no text is none of those looked for.
        names.extend(entry.map_err(failed)?.file_name().into_string());
    }
    names.sort_unstable();
    let chosen = path.file_name().and_then(|name| name.to_str()).filter(|_| chosen);
    let trio = Trio::find(&names, chosen).map_err(|error| error.in_file(listed.display()))?;
    Ok(trio.map(|trio| trio.names().map(|name| folder.join(name))))
}

/// Whether a file is of genes alone, as Cell Ranger before 3 wrote it.
pub(super) fn is_genes(name: &str) -> bool {
    name.strip_suffix(GZIP).unwrap_or(name).ends_with(GENES)
}

/// Whether a source holds a Matrix Market file, compressed or not.
///
/// # Errors
/// `Io` where it cannot be read.
pub fn is_matrix_market(source: Arc<dyn ByteSource>) -> Result<bool> {
    let text = Text::new(Part { name: String::new(), source });
    let mut first = vec![0; BANNER.len()];
    match text.open()?.read_exact(&mut first) {
        Ok(()) => Ok(first.eq_ignore_ascii_case(BANNER.as_bytes())),
        Err(error) => match error.get_ref().and_then(|error| error.downcast_ref::<Error>()) {
            Some(error) if error.kind() == ErrorKind::Io => Err(error.clone()),
            _ => Ok(false),
        },
    }
}
