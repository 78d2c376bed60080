"""Vacuole: H5AD files into TileDB-SOMA experiments, and slices of these as AnnData."""

from vacuole._errors import (
    AlreadyExistsError,
    ConflictError,
    CorruptError,
    Error,
    InvalidInputError,
    IoError,
    NoSpaceError,
    NotFoundError,
    PermissionDeniedError,
    TooLargeError,
    UnsupportedError,
    UsageError,
)
from vacuole._ingest import ingest
from vacuole._query import AxisQuery, Experiment, ExperimentAxisQuery, open
from vacuole._vacuole import __version__

__all__ = [
    "AlreadyExistsError",
    "AxisQuery",
    "ConflictError",
    "CorruptError",
    "Error",
    "Experiment",
    "ExperimentAxisQuery",
    "InvalidInputError",
    "IoError",
    "NoSpaceError",
    "NotFoundError",
    "PermissionDeniedError",
    "TooLargeError",
    "UnsupportedError",
    "UsageError",
    "__version__",
    "ingest",
    "open",
]
