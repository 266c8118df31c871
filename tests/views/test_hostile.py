"""Hostile records: whatever a file says, its report ends, paints nothing and divides by nothing."""

import contextlib
import json

import pytest
from pydantic import ValidationError

from s2mlp_cli.compare import compare_records
from s2mlp_cli.errors import RecordError
from s2mlp_cli.views import html, latex, markdown
from s2mlp_cli.views.registry import report, sheet, view
from s2mlp_cli.views.sheet import to_csv, to_markdown
from s2mlp_cli.views.terminal import to_text
from tests import samples

RECORDS = {
    **samples.ALL,
    "compare": lambda: compare_records(
        ["before.json", "after.json", "now.json"],
        [samples.profile(), samples.profile(1.1), samples.profile(1.2)],
        0.05,
    ),
}

# Fields that take any text.
FREE = {
    "model", "title", "name", "row", "reason", "skipped", "cpu", "warnings", "run", "printed",
    "implementation", "remarks", "path", "word", "recommendations", "explanation", "notes",
    "what", "module", "operator",
}  # fmt: skip

EVIL = "\x1b[31mred\x07 <img src=x onerror=alert(1)> a|b `c` \u202e\x9b2J"
LONG = "<b>0123456789 " * 4700  # 64 KiB


def replaced(value, change, key=""):
    """Return a tree with every text and number changed, told the name of its field."""
    if isinstance(value, dict):
        return {name: replaced(each, change, name) for name, each in value.items()}
    if isinstance(value, list):
        return [replaced(each, change, key) for each in value]
    return change(key, value)


def with_text(record, text):
    """Return the record with ``text`` at the end of every name, file and reason that it has."""

    def longer(key, value):
        return f"{value}{text}" if key in FREE and isinstance(value, str) else value

    return type(record).model_validate(replaced(json.loads(record.to_json()), longer))


def texts(record):
    """Return what every writer makes of a record."""
    views = report([record])
    pictures = [picture.drawing.svg() for each in views for picture in each.pictures()]
    return {
        "terminal": to_text([view(record)], 80),
        "csv": to_csv(sheet(record)),
        "markdown": markdown.document(views, "t", link=lambda picture: f"{picture.name}.svg"),
        "sheet": to_markdown(sheet(record)),
        "latex": latex.document(views),
        "html": html.page(views, "t"),
        **{f"picture {number}": svg for number, svg in enumerate(pictures)},
    }


@pytest.mark.parametrize("kind", RECORDS)
def test_names_in_a_record_neither_paint_a_terminal_nor_run_in_a_page(kind):
    record = with_text(RECORDS[kind](), EVIL)
    found = texts(record)
    for form, text in found.items():
        assert not set("\x1b\x07\x9b\u202e") & set(text), form
        if form in ("markdown", "sheet", "html"):
            assert "<img" not in text.replace("\\<img", ""), form
    assert record.to_json().count("\\u001b") > 0  # the record has it as it is
    assert r"\x1b[31mred\x07" in found["terminal"] + found["csv"]


@pytest.mark.parametrize("kind", RECORDS)
def test_texts_of_64_kb_are_shown_whole_and_a_picture_cuts_them(kind):
    record = with_text(RECORDS[kind](), LONG)
    whole = len(record.to_json())
    for form, text in texts(record).items():
        if form.startswith("picture"):
            assert len(text) < 300_000
        else:
            assert len(text) < 20 * whole, form
        if form == "csv" and kind != "trace":
            assert LONG in text
        if form in ("markdown", "sheet", "html"):
            assert "<b>0123" not in text.replace("\\<b", ""), form


def numbers(value, key=""):
    """Yield the names of the fields that have numbers."""
    if isinstance(value, dict):
        for name, each in value.items():
            yield from numbers(each, name)
    elif isinstance(value, list):
        for each in value:
            yield from numbers(each, key)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield key


@pytest.mark.parametrize("value", [0, -1, 1e300, None])
@pytest.mark.parametrize("kind", RECORDS)
def test_no_rate_size_or_time_breaks_a_text(kind, value):
    """Zero, negative, huge or missing: refused when it is read, or shown as it is."""
    good = RECORDS[kind]()
    tree = json.loads(good.to_json())
    shown = 0
    for name in sorted(set(numbers(tree["results"]))):

        def other(key, old, name=name):
            return value if key == name and not isinstance(old, (str, bool)) else old

        try:
            record = type(good).model_validate(
                {**tree, "results": replaced(tree["results"], other)}
            )
        except ValidationError:
            continue
        shown += 1
        views = report([record])
        assert to_text([view(record)], 80)
        assert to_csv(sheet(record))
        assert markdown.document(views, "t", link=None)
        with contextlib.suppress(RecordError):
            compare_records(["a", "b"], [good, record], None)
    assert shown or value != 0


@pytest.mark.parametrize("kind", RECORDS)
def test_a_record_of_zeros_is_drawn(kind):
    good = RECORDS[kind]()
    tree = json.loads(good.to_json())
    zeros = dict(tree)
    for name in sorted(set(numbers(tree["results"]))):

        def zero(key, old, name=name):
            return 0 if key == name and not isinstance(old, (str, bool)) else old

        fewer = {**zeros, "results": replaced(zeros["results"], zero)}
        with contextlib.suppress(ValidationError):
            type(good).model_validate(fewer)
            zeros = fewer
    assert texts(type(good).model_validate(zeros))
