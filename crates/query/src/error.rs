//! What can go wrong with a query.

/// The result of a query.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error on the side of the experiment or of the file that is written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The experiment.
    #[error(transparent)]
    Soma(#[from] vacuole_soma::Error),
    /// The H5AD file.
    #[error(transparent)]
    AnnData(#[from] vacuole_anndata::Error),
}

impl Error {
    pub(crate) fn arrow(object: impl std::fmt::Display, source: arrow_schema::ArrowError) -> Self {
        let object = object.to_string();
        Self::Soma(vacuole_soma::Error::Arrow { object, source })
    }
}
