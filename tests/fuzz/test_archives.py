"""Mutated tars: headers with right checksums and wrong fields, odd members, and plain damage."""

import functools
import gzip
import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from tests.digits import SYNSETS, Digits, write_devkit
from tests.fuzz.budget import budget
from tests.fuzz.law import hold_data
from tests.fuzz.mutations import damaged_bytes
from tests.fuzz.test_images import GOOD

pytestmark = pytest.mark.filterwarnings("ignore:Generating overly large repr")

NAME = "mutant.tar"
BLOCK = tarfile.BLOCKSIZE

_NAMES = ("ILSVRC2012_val_00000001.JPEG", "ILSVRC2012_val_00000002.JPEG")
_DIGITS = Digits((GOOD, GOOD), (0, 1), nn.Identity(), np.zeros((2, 10)))

LAYOUTS = {
    "class folders": {f"val/{SYNSETS[i]}/{i}.jpeg": GOOD for i in range(10)},
    "flat": dict.fromkeys(_NAMES, GOOD),
    "shard": {
        "a.jpeg": GOOD,
        "a.cls": b"3",
        "b.jpeg": GOOD,
        "b.json": json.dumps({"label": 4}).encode(),
    },
}

_FIELDS = {
    "name": (0, 100), "mode": (100, 8), "uid": (108, 8), "size": (124, 12), "mtime": (136, 12),
    "type": (156, 1), "linkname": (157, 100), "magic": (257, 8), "owner": (265, 32),
    "prefix": (345, 155),
}  # fmt: skip
_VALUES = {
    "type": st.sampled_from([bytes([c]) for c in b"\x000123456789ADKLMNSVXgx\xff"]),
    "size": st.sampled_from(
        [
            b"0" * 11, b"7" * 11, b"00000000001", b"-0000000001", b"9" * 11, b" " * 12, b"",
            b"\x80" + b"\x00" * 3 + b"\x7f" * 8, b"\x80" + bytes(6) + b"\x01" + bytes(4),
            b"\xff" * 12, b"\xff" * 10 + b"\xfe\x00", b"\xff" * 11,
        ]
    ),
    "name": st.sampled_from(
        [
            b"", b".", b"/", b"/abs/a.jpeg", b"../../a.jpeg", b"\xff\xfe.jpeg", b"a\nb.jpeg",
            b"\x1b[31m.jpeg", b"x" * 96 + b".cls", b"a.json", b"a.cls", b"a.b.c.jpeg", b"a.jpeg/",
            b"PaxHeader/a", b"././@LongLink", b"[red]b.jpeg",
        ]
    ),
}  # fmt: skip
_RECORDS = st.sampled_from(
    [
        b"20 path=../../a.jpg\n", b"12 size=-512\n", b"30 size=99999999999999999999\n",
        b"14 size=1e400\n", b"99999 path=x\n", b"0 path=x\n", b"-5 path=x\n", b"x path=x\n",
        b"9" * 5000 + b" path=x\n", b"23 GNU.sparse.map=0,a\n", b"23 GNU.sparse.major=1\n",
        b"23 GNU.sparse.minor=0\n", b"28 GNU.sparse.name=\xff.jpeg\n", b"21 hdrcharset=BINARY\n",
        b"31 GNU.sparse.realsize=99999999\n", b"16 path=\xff.jpeg\n", b"13 mtime=nan\n",
        b"24 GNU.sparse.size=9999\n",
    ]
)  # fmt: skip


def _packed(members, form):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=form) as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return stream.getvalue()


def _header(name, kind, size):
    entry = tarfile.TarInfo("x")
    entry.size, entry.type = size, kind
    block = bytearray(entry.tobuf(tarfile.USTAR_FORMAT))
    block[:100] = name.ljust(100, b"\0")[:100]
    return _signed(bytes(block))


def _signed(block):
    """Return a header with the checksum that belongs to it."""
    total = sum(block[:148]) + 8 * 32 + sum(block[156:])
    return block[:148] + b"%06o\0 " % (total & 0o777777) + block[156:]


def _offsets(content):
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        return [entry.offset for entry in archive]


def _blocks(content):
    return content + bytes(-len(content) % BLOCK)


def _wrong_field(draw, content):
    at = draw(st.sampled_from(_offsets(content)))
    field = draw(st.sampled_from([*_FIELDS, "size", "size", "type", "type", "name"]))
    start, length = _FIELDS[field]
    value = draw(_VALUES.get(field, st.binary(max_size=length))).ljust(length, b"\0")[:length]
    block = bytearray(content[at : at + BLOCK])
    block[start : start + length] = value
    return content[:at] + _signed(bytes(block)) + content[at + BLOCK :]


def _odd_member(draw, content):
    """Put a member of an odd kind before one of the others."""
    at = draw(st.sampled_from(_offsets(content)))
    kind = draw(st.sampled_from([b"x", b"g", b"x", b"L", b"K", b"S", b"1", b"2", b"5", b"3", b"0"]))
    if kind in b"xg":
        body = b"".join(draw(st.lists(_RECORDS, min_size=1, max_size=3)))
    else:
        body = draw(st.one_of(st.just(b""), _VALUES["name"], st.binary(max_size=40)))
    name = draw(_VALUES["name"])
    many = draw(st.sampled_from([1, 1, 1, 2, 2000]))
    member = _header(name, kind, len(body)) + _blocks(body)
    return content[:at] + member * many + content[at:]


def _wrong_class(draw, content):
    """Write another class into a shard; the length stays, so that the archive is whole."""
    odd = draw(
        st.sampled_from([b"9" * 30, b"9" * 5000, b"", b"-1", b"x", b"1.5", b"[" * 500, b"\xff"])
    )
    many = draw(st.sampled_from([b'{"label": 1e999}', b'{"label": NaN}', b"[]", b'{"label": [1]}',
                                 b'{"label": ' + b"9" * 30 + b"}", b"[" * 100_000]))  # fmt: skip
    form = tarfile.USTAR_FORMAT
    return _packed({"a.jpeg": GOOD, "a.cls": odd, "b.jpeg": GOOD, "b.json": many}, form)


_FAULTS = (_wrong_field, _wrong_field, _odd_member, _odd_member, _wrong_class)


@st.composite
def _damaged_headers(draw):
    members = LAYOUTS[draw(st.sampled_from(sorted(LAYOUTS)))]
    form = draw(st.sampled_from([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]))
    return draw(st.sampled_from(_FAULTS))(draw, _packed(members, form))


@pytest.fixture(autouse=True)
def _others(_beside):
    Path("labels.csv").write_text("".join(f"{name},{i}\n" for i, name in enumerate(_NAMES)))


def _hold(content):
    """Where images are broken, the first of the members is named."""
    Path(NAME).write_bytes(content)
    members = (Path(name).name for layout in LAYOUTS.values() for name in layout)
    hold_data(NAME, names=(NAME, "labels.csv", *members))


@budget("tar headers")
@given(_damaged_headers())
def test_headers(content):
    _hold(content)


@budget("tar bytes")
@given(st.sampled_from(sorted(LAYOUTS)), st.data())
def test_bytes(layout, data):
    content = data.draw(damaged_bytes(_packed(LAYOUTS[layout], tarfile.GNU_FORMAT)))
    content = data.draw(st.sampled_from([bytes, gzip.compress]))(content)
    _hold(content)


def _hold_labels(content):
    Path("flat.tar").write_bytes(_packed(LAYOUTS["flat"], tarfile.GNU_FORMAT))
    Path(NAME).write_bytes(content)
    hold_data("flat.tar", "--labels", NAME, names=(NAME,))


@functools.cache
def _devkit(place):
    """Written once: it has the time in it, and what is drawn must not depend on that."""
    return write_devkit(_DIGITS, place / "devkit.tgz").read_bytes()


@budget("tar bytes")
@given(st.data())
def test_devkits(place, data):
    whole = _devkit(place)
    plain = gzip.decompress(whole)
    damaged = data.draw(st.one_of(damaged_bytes(plain).map(gzip.compress), damaged_bytes(whole)))
    _hold_labels(damaged)


def _swelling(name, kind):
    """Return a compressed tar of one member of a GiB, all zeros; gzip takes parts one by one."""
    mebibyte = gzip.compress(bytes(2**20))
    return gzip.compress(_header(name, kind, 2**30)) + mebibyte * 2**10


def test_a_devkit_that_swells_is_refused():
    _hold_labels(_swelling(b"data/ILSVRC2012_validation_ground_truth.txt", b"0"))


@pytest.mark.parametrize("kind", [b"x", b"L"])
def test_a_compressed_header_that_swells_is_refused(kind):
    content = _swelling(b"a", kind)
    _hold_labels(content)
    Path("mutant.bin").write_bytes(content)
    hold_data("mutant.bin", names=("mutant.bin",))
