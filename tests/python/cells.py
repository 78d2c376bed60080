"""Cells as values that can be compared, whoever has read them: numbers as int, floats as their bytes, texts as bytes."""

from __future__ import annotations

import struct

import numpy as np


def normalized(values) -> list:
    if np.ma.isMaskedArray(values):
        mask = np.ma.getmaskarray(values)
        plain = normalized(values.data)
        return [None if hidden else value for hidden, value in zip(mask, plain)]
    return [one(value) for value in values]


def one(value):
    if value is None:
        return None
    if isinstance(value, np.ndarray | list | tuple):
        return tuple(one(v) for v in value)
    if isinstance(value, np.void):
        return tuple(one(v) for v in value.tolist())
    if isinstance(value, np.datetime64 | np.timedelta64):
        return int(value.view("int64"))
    if isinstance(value, complex | np.complexfloating):
        return (one(value.real), one(value.imag))
    if isinstance(value, str):
        # Of texts that end in zeros, as fills do, tiledb-py takes them off.
        return value.encode().rstrip(b"\0")
    if isinstance(value, bytes | np.bytes_):
        return bytes(value).rstrip(b"\0")
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, float | np.floating):
        return "nan" if value != value else struct.pack("<d", float(value))
    return int(value)
