"""Parquet files of odd columns and plain damage, and CSV lists with odd rows."""

import datetime
import decimal
import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.budget import budget
from tests.fuzz.law import hold_data
from tests.fuzz.mutations import damaged_bytes
from tests.fuzz.test_images import GOOD

pytestmark = pytest.mark.filterwarnings("ignore:Generating overly large repr")

ROWS = 4

_IMAGES = (
    [{"bytes": GOOD, "path": f"{row}.jpeg"} for row in range(ROWS)],
    [{"bytes": GOOD, "path": 10**row} for row in range(ROWS)],
    [{"bytes": GOOD, "path": None}] * ROWS,
    [{"bytes": None, "path": "a.jpeg"}] * ROWS,
    [{"bytes": 10**10, "path": "a.jpeg"}] * ROWS,
    [{"bytes": [1, 2], "path": "a.jpeg"}] * ROWS,
    [{"bytes": "text", "path": "a\n\x1b.jpeg"}] * ROWS,
    [{"path": "a.jpeg"}] * ROWS,
    [GOOD] * ROWS,
    [[GOOD]] * ROWS,
    [10**10] * ROWS,
    ["a.jpeg"] * ROWS,
    [None] * ROWS,
    [True] * ROWS,
)
_LABELS = (
    [0, 1, 2, 3], [0, 1, 2, 10**9], [-1, 0, 1, 2], [0, None, 1, 2], [None] * ROWS,
    [0.0, 1.0, 2.0, 3.0], [0.5, float("nan"), 1e300, 2.0], ["a", "b", "c", "d"], ["0", "1", "2", "3"],
    ["\n", "\x1b[31m", "", "d"], [True, False, True, False], [[0], [1], [2], [3]], [b"\xff", b"0"] * 2,
    [{"a": 1}] * ROWS, [datetime.date(2026, 1, 1)] * ROWS, [decimal.Decimal("1.5")] * ROWS,
    [2**64 - 1] * ROWS,
)  # fmt: skip
_IMAGE_NAMES = st.sampled_from(
    ["image", "image", "image", "img", "jpg", "im\x1bage", "Image", "label"]
)
_LABEL_NAMES = st.sampled_from(["label", "label", "label", "cls", "labels", "image", "x"])


def _parquet(columns, **options):
    arrays = [pa.array(values) if values[0] != 2**64 - 1 else pa.array(values, pa.uint64())
              for _, values in columns]  # fmt: skip
    stream = io.BytesIO()
    table = pa.Table.from_arrays(arrays, [name for name, _ in columns])
    pq.write_table(table, stream, **options)
    return stream.getvalue()


_WHOLE = _parquet([("image", _IMAGES[0]), ("label", _LABELS[0])], row_group_size=2)


@st.composite
def _odd_columns(draw):
    images = draw(_IMAGE_NAMES), draw(st.sampled_from(_IMAGES))
    labels = (draw(_LABEL_NAMES), draw(st.sampled_from(_LABELS)))
    compression = draw(st.sampled_from(["snappy", "gzip", "zstd", "none"]))
    return _parquet([images, labels], compression=compression)


@pytest.fixture(autouse=True)
def _others(_beside):
    Path("a.jpeg").write_bytes(GOOD)
    Path("b.jpeg").write_bytes(GOOD)


def _hold(name, content):
    Path(name).write_bytes(content)
    hold_data(name, names=(name, *(f"{row}.jpeg" for row in range(ROWS)), "a.jpeg", "1000"))


@budget("tables")
@given(st.one_of(_odd_columns(), damaged_bytes(_WHOLE)))
def test_parquet(content):
    _hold("mutant.parquet", content)


def test_a_parquet_file_that_swells_is_refused():
    rows = 2**26
    images = pa.StructArray.from_arrays([pa.nulls(rows, pa.binary())], ["bytes"])
    labels = pa.DictionaryArray.from_arrays(pa.repeat(pa.scalar(0, pa.int8()), rows), pa.array([7]))
    stream = io.BytesIO()
    pq.write_table(pa.table({"image": images, "label": labels}), stream)
    _hold("mutant.parquet", stream.getvalue())


_CELLS = st.sampled_from(
    [
        "a.jpeg", "b.jpeg", "a", "0", "1", "9", "10", "-1", "1.0", "", " ", '"', '"a.jpeg"', "a,b", "\0",
        "/etc/passwd", "../a.jpeg", "é", "\x1b[31m", "9" * 30, "9" * 5000, "x" * 140_000, "²", "०",
        "file", "label", "ImageId", "PredictionString", "n01440764 1 2 3 4", ".", "[bold]",
    ]
)  # fmt: skip


@st.composite
def _listing(draw):
    rows = draw(st.lists(st.lists(_CELLS, min_size=1, max_size=3), max_size=4))
    rows.insert(draw(st.integers(0, len(rows))), ["b.jpeg", draw(_CELLS)])
    heads = [[], [["file", "label"]], [["ImageId", "PredictionString"]]]
    lines = [",".join(row) for row in [*draw(st.sampled_from(heads)), *rows]]
    text = draw(st.sampled_from(["\n", "\r\n", "\r"])).join(lines)
    return text.encode(
        draw(st.sampled_from(["utf-8", "utf-8", "utf-8-sig", "utf-16", "latin-1"])), "replace"
    )


@budget("tables")
@given(st.one_of(_listing(), _listing(), damaged_bytes(b"file,label\na.jpeg,1\nb.jpeg,2\n")))
def test_listings(content):
    _hold("mutant.csv", content)
