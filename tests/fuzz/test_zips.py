"""Mutated zips: wrong fields of every structure, odd names, and plain damage."""

import io
import warnings
import zipfile
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.digits import SYNSETS, zip_of
from tests.fuzz.budget import budget
from tests.fuzz.law import hold_data
from tests.fuzz.mutations import damaged_bytes
from tests.fuzz.test_images import GOOD

NAME = "mutant.zip"

LAYOUTS = {
    "class folders": {f"val/{SYNSETS[i]}/{i}.jpeg": GOOD for i in range(10)},
    "flat": {"val/a.jpeg": GOOD, "val/b.jpeg": GOOD, "labels.csv": b"a.jpeg,0\nb.jpeg,1\n"},
}

# How a structure of the format begins (the last is ZIP64's extra field) -> (offset, length).
_FIELDS = {
    b"PK\x03\x04": ((0, 4), (6, 2), (26, 2), (28, 2)),
    b"PK\x01\x02": (
        (6, 2), (8, 2), (10, 2), (16, 4), (20, 4), (24, 4), (28, 2), (30, 2), (32, 2), (42, 4)
    ),
    b"PK\x05\x06": ((4, 2), (10, 2), (12, 4), (16, 4), (20, 2)),
    b"PK\x06\x06": ((24, 8), (32, 8), (40, 8), (48, 8)),
    b"PK\x06\x07": ((8, 8), (16, 4)),
    b"\x01\x00\x18\x00": ((2, 2), (4, 8), (12, 8), (20, 8)),
}  # fmt: skip

_VALUES = st.one_of(
    st.sampled_from(
        [0, 1, 8, 12, 14, 64, 99, 2**15, 2**16 - 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1]
    ),
    st.integers(0, 2**11),
)
_NAMES = st.sampled_from(
    [
        "", ".", "/", "/abs/a.jpeg", "../../a.jpeg", "\xff\xfe.jpeg", "a\nb.jpeg", "\x1b[31m.jpeg",
        "[red]b.jpeg", "val/a.jpeg", "val//a.jpeg", "val", "val/", "labels.csv", "val/labels.csv",
        "é\u2028.jpeg", "x" * 60_000 + ".jpeg", "x/" * 20_000 + "a.jpeg", "a.jpeg\x00b",
    ]
)  # fmt: skip


def _packed(members, method, zip64):
    whole = io.BytesIO()
    limit = 1 if zip64 else zipfile.ZIP64_LIMIT
    with warnings.catch_warnings(), mock.patch.object(zipfile, "ZIP64_LIMIT", limit):
        warnings.simplefilter("ignore")  # zipfile's own on repeated names
        with zipfile.ZipFile(whole, "w", method) as archive:
            for name, content in members:
                entry = zipfile.ZipInfo(name)
                entry.compress_type = method
                with archive.open(entry, "w", force_zip64=zip64) as stream:
                    stream.write(content)
    return whole.getvalue()


@st.composite
def _whole(draw):
    members = LAYOUTS[draw(st.sampled_from(sorted(LAYOUTS)))]
    method = draw(st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2]))
    odd = draw(st.lists(st.tuples(_NAMES, st.sampled_from([GOOD, b"", b"x"])), max_size=2))
    return _packed([*members.items(), *odd], method, draw(st.booleans()))


@st.composite
def _wrong_fields(draw):
    content = bytearray(draw(_whole()))
    for _ in range(draw(st.integers(0, 3))):
        mark = draw(st.sampled_from([mark for mark in sorted(_FIELDS) if mark in content]))
        places = [at for at in range(len(content)) if content.startswith(mark, at)]
        at, (offset, length) = draw(st.sampled_from(places)), draw(st.sampled_from(_FIELDS[mark]))
        value = draw(_VALUES) % 2 ** (8 * length)
        content[at + offset : at + offset + length] = value.to_bytes(length, "little")
    return bytes(content)


def _hold(content):
    Path(NAME).write_bytes(content)
    members = (Path(name).name for layout in LAYOUTS.values() for name in layout)
    hold_data(NAME, names=(NAME, *members))


@budget("zip fields")
@given(_wrong_fields())
def test_fields(content):
    _hold(content)


@budget("zip bytes")
@given(_whole().flatmap(damaged_bytes))
def test_bytes(content):
    _hold(content)


@pytest.mark.parametrize("told", [300 * 2**20, 100])
def test_a_member_that_swells_is_broken(told):
    """300 MiB of zeros, whether the directory says so or not."""
    swollen = 300 * 2**20
    content = zip_of(Path(NAME), {"0/a.jpeg": bytes(swollen), "1/b.jpeg": GOOD}).read_bytes()
    _hold(content.replace(swollen.to_bytes(4, "little"), told.to_bytes(4, "little")))
