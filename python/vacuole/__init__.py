"""Vacuole: H5AD files into TileDB-SOMA experiments."""

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
from vacuole._vacuole import __version__

__all__ = [
    "AlreadyExistsError",
    "ConflictError",
    "CorruptError",
    "Error",
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
]
