"""A reader for the little of MATLAB's level 5 MAT-file that the devkit's ``meta.mat`` uses.

The file is a header of 128 bytes, then data elements: a tag of (type, bytes), the data, padding
to 8 bytes. Up to 4 bytes of data may be inside the tag. A matrix is an element whose parts are
elements: flags, dimensions, name, then its values, or for a struct one matrix per field and row.
All numbers are little-endian: no big-endian devkit was ever published.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

import numpy as np

_HEADER_BYTES = 128
_MATRIX, _COMPRESSED = 14, 15
_NUMBERS = {
    1: "i1", 2: "u1", 3: "<i2", 4: "<u2", 5: "<i4", 6: "<u4", 7: "<f4", 9: "<f8", 12: "<i8",
    13: "<u8", 16: "u1", 17: "<u2", 18: "<u4",  # UTF-8, UTF-16, UTF-32
}  # fmt: skip
_STRUCT, _CHAR = 2, 4

# Bytes that a compressed element may swell to: many times the devkit's.
_LARGEST = 16 * 2**20

# The type of an element, and its content.
Element = tuple[int, bytes]

Scalar = str | float


def read_struct(data: bytes, name: str) -> dict[str, list[Scalar]]:
    """Return field -> values of the struct array called ``name`` in a MAT-file.

    Args:
        data: the content of the file.
        name: the name of the variable.

    Raises:
        ValueError: this is not a little-endian MAT-file of level 5, or it is cut short.
        KeyError: there is no struct of that name.
        zlib.error: its compressed part is damaged.
    """
    if data[126:_HEADER_BYTES] != b"IM":
        raise ValueError("not a little-endian MAT-file of level 5")
    try:
        for kind, content in _elements(data[_HEADER_BYTES:]):
            parts = list(_elements(content)) if kind == _MATRIX else []
            named = len(parts) > 4 and parts[2][1].decode("ascii") == name
            if named and _class(parts) == _STRUCT:
                return _struct(parts)
    except (IndexError, OverflowError, RecursionError) as error:
        raise ValueError(f"its elements do not make a table: {error}") from error
    raise KeyError(f"no struct {name}")


def _elements(data: bytes) -> Iterator[Element]:
    """Yield the elements in ``data``; compressed ones are opened."""
    at = 0
    while at + 8 <= len(data):
        kind, size = struct.unpack_from("<II", data, at)
        if kind >> 16:  # the small form: size and type share four bytes
            kind, size, start, step = kind & 0xFFFF, kind >> 16, at + 4, 8
        else:
            start = at + 8
            step = 8 + (size if kind == _COMPRESSED else size + -size % 8)
        content = data[start : start + size]
        if len(content) < size:
            raise ValueError("the file is cut short")
        if kind == _COMPRESSED:
            yield from _elements(_decompressed(content))
        else:
            yield kind, content
        at += step


def _decompressed(content: bytes) -> bytes:
    stream = zlib.decompressobj()
    data = stream.decompress(content, _LARGEST)
    if stream.unconsumed_tail:
        raise ValueError(f"a compressed element of more than {_LARGEST:,} bytes")
    return data


def _numbers(kind: int, content: bytes) -> list[float]:
    if kind not in _NUMBERS:
        raise ValueError(f"an element of type {kind} where numbers were expected")
    values: list[float] = np.frombuffer(content, _NUMBERS[kind]).tolist()
    return values


def _class(parts: list[Element]) -> int:
    return int(_numbers(*parts[0])[0]) & 0xFF


def _scalar(content: bytes) -> Scalar:
    """Return a text, or the first number of a numeric matrix (0.0 if it is empty)."""
    parts = list(_elements(content))
    if len(parts) < 4:
        return 0.0
    values = _numbers(*parts[3])
    if _class(parts) == _CHAR:
        return "".join(chr(int(value)) for value in values)
    return float(values[0]) if values else 0.0


def _struct(parts: list[Element]) -> dict[str, list[Scalar]]:
    """Return field -> one scalar for each row of a struct matrix."""
    width = int(_numbers(*parts[3])[0])
    text = parts[4][1].decode("ascii")
    fields = [text[i : i + width].rstrip("\0") for i in range(0, len(text), width)]
    values = [_scalar(content) for _, content in parts[5:]]
    return {field: values[i :: len(fields)] for i, field in enumerate(fields)}
