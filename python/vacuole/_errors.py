"""Errors: one class for each kind that docs/cli.md lists and a call can have."""

from __future__ import annotations


class Error(Exception):
    """What went wrong: `kind` as in docs/cli.md, `message`, `remedy`, and `object`, the file or URI, or None."""

    kind = "io"

    def __init__(self, message: str, remedy: str = "", object: str | None = None):
        super().__init__(message, remedy, object)
        self.message = message
        self.remedy = remedy
        self.object = object

    def __str__(self) -> str:
        return f"{self.message}; {self.remedy}" if self.remedy else self.message


class IoError(Error):
    kind = "io"


class UsageError(Error):
    kind = "usage"


class NotFoundError(Error):
    kind = "not_found"


class AlreadyExistsError(Error):
    kind = "already_exists"


class InvalidInputError(Error):
    kind = "invalid_input"


class CorruptError(Error):
    kind = "corrupt"


class UnsupportedError(Error):
    kind = "unsupported"


class ConflictError(Error):
    kind = "conflict"


class PermissionDeniedError(Error):
    kind = "permission_denied"


class NoSpaceError(Error):
    kind = "no_space"


class TooLargeError(Error):
    kind = "too_large"


CLASSES = {cls.kind: cls for cls in Error.__subclasses__()}


def explained(kind: str, message: str, remedy: str, object: str | None) -> Error:
    """The exception of a kind."""
    return CLASSES.get(kind, Error)(message, remedy, object)
