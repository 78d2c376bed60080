//! What can go wrong with an ingest.

/// The result of an ingest.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error on the side of the input, of the experiment, or of both together.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The input file.
    #[error(transparent)]
    AnnData(#[from] vacuole_anndata::Error),
    /// The experiment.
    #[error(transparent)]
    Soma(#[from] vacuole_soma::Error),
    /// The input cannot be read as a file.
    #[error("{path}: {source}")]
    Input {
        /// The file.
        path: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// Something else is at the destination, or has changed since the plan was made.
    #[error("{object}: {message}")]
    Conflict {
        /// The destination.
        object: String,
        /// What was found and what to do.
        message: String,
    },
    /// The input holds something that no experiment can.
    #[error("{object}: {message}")]
    Unfit {
        /// The file and the element in it.
        object: String,
        /// What was found and what to do.
        message: String,
    },
}

impl From<vacuole_store::Error> for Error {
    fn from(error: vacuole_store::Error) -> Self {
        Self::Soma(error.into())
    }
}

/// Names the stored object that an encoder's error is about.
pub(crate) fn in_object<T>(
    result: vacuole_tiledb::Result<T>,
    object: impl std::fmt::Display,
) -> Result<T> {
    result.map_err(|e| Error::Soma(vacuole_soma::Error::Format(e.in_object(object))))
}
