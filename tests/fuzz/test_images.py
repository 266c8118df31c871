"""Mutated images of every format, as files beside a good one."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.fuzz.budget import budget
from tests.fuzz.law import hold_data
from tests.fuzz.mutations import damaged_bytes

LIST = "list.csv"
NAME = "mutant.jpeg"


def encoded(mode, form, **options):
    pixels = np.random.default_rng(0).integers(0, 255, (20, 26, 4), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(stream, form, **options)
    return stream.getvalue()


def _exif():
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "described " * 20
    return exif


GOOD = encoded("RGB", "JPEG")
WHOLE = {
    "baseline": encoded("RGB", "JPEG", exif=_exif()),
    "progressive": encoded("RGB", "JPEG", progressive=True, quality=30),
    "CMYK": encoded("CMYK", "JPEG"),
    "grey": encoded("L", "JPEG"),
    "PNG": encoded("RGBA", "PNG"),
    "palette": encoded("P", "PNG", transparency=3),
    "WebP": encoded("RGB", "WEBP"),
    "GIF": encoded("P", "GIF"),
    "BMP": encoded("RGB", "BMP"),
    "TIFF": encoded("RGB", "TIFF", compression="tiff_lzw"),
    "PPM": encoded("RGB", "PPM"),
}


def _chunks(png):
    """Return (kind, data) of the chunks of a PNG."""
    found, at = [], 8
    while at < len(png):
        size = struct.unpack_from(">I", png, at)[0]
        found.append((png[at + 4 : at + 8], png[at + 8 : at + 8 + size]))
        at += 12 + size
    return found


def _png(chunks):
    parts = [b"\x89PNG\r\n\x1a\n"]
    for kind, data in chunks:
        parts += [
            struct.pack(">I", len(data)),
            kind,
            data,
            struct.pack(">I", zlib.crc32(kind + data)),
        ]
    return b"".join(parts)


@st.composite
def _damaged_png(draw):
    """Return a PNG with damaged chunks under right checksums, so that decoders read on."""
    chunks = _chunks(WHOLE[draw(st.sampled_from(["PNG", "palette"]))])
    at = draw(st.integers(0, len(chunks) - 1))
    kind, data = chunks[at]
    kinds = st.sampled_from(
        [kind, kind, b"IHDR", b"iCCP", b"zTXt", b"eXIf", b"acTL", b"tRNS", b"xxxx"]
    )
    chunks[at] = draw(kinds), draw(damaged_bytes(data))
    if draw(st.booleans()):
        chunks.insert(draw(st.integers(0, len(chunks))), draw(st.sampled_from(chunks)))
    return _png(chunks)


@pytest.fixture(autouse=True)
def _others(_beside):
    Path("good.jpeg").write_bytes(GOOD)
    Path(LIST).write_text(f"file,label\ngood.jpeg,1\n{NAME},2\n")


def _hold(content, transform="box"):
    Path(NAME).write_bytes(content)
    hold_data(LIST, "--transform", transform, names=(NAME,))


_FLIPPED = st.sampled_from(sorted(WHOLE)).flatmap(lambda form: damaged_bytes(WHOLE[form]))


@budget("images")
@given(st.one_of(_FLIPPED, _FLIPPED, _damaged_png()), st.sampled_from(["box", "timm"]))
def test_images(content, transform):
    _hold(content, transform)


def _of_size(width, height):
    """Return a tiny file that claims to be a black picture of that size, and decodes to it."""
    rows = zlib.compressobj(9)
    data = b"".join(
        [*(rows.compress(bytes(1 + (width + 7) // 8)) for _ in range(height)), rows.flush()]
    )
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return _png([(b"IHDR", header), (b"IDAT", data), (b"IEND", b"")])


@pytest.mark.parametrize("transform", ["box", "timm"])
@pytest.mark.parametrize(
    ("width", "height"),
    [(14_000, 14_000), (100_000, 100_000), (1, 100_000), (100_000, 1), (1, 2**31 - 1), (3, 4999)],
)
def test_a_picture_that_swells_is_refused(width, height, transform):
    rows = min(height, 14_000) if width > 1000 else min(height, 100_000)
    content = _of_size(width, rows)
    if rows < height:
        header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
        content = _png([(b"IHDR", header), *_chunks(content)[1:]])
    _hold(content, transform)
