"""One house style: the answer first, 80 columns are enough, 200 are used, colours can be off."""

import io
import re

import pytest
from rich.console import Console

from s2mlp_cli.views.document import Column, Table, View
from s2mlp_cli.views.registry import sheet, view
from s2mlp_cli.views.terminal import THEME, screen
from tests import samples
from tests.views import shown as text_of


def shown(record, width):
    return text_of(view(record), width)


@pytest.fixture(params=samples.ALL)
def record(request):
    return samples.ALL[request.param]()


def test_the_first_line_answers(record):
    first = shown(record, 200).splitlines()[0]
    assert len(first) > 15
    assert first[0].isalnum()


def test_eighty_columns_are_enough(record):
    text = shown(record, 80)
    assert max(map(len, text.splitlines())) <= 80
    assert not re.search(r"(?<![0-9a-f]{8})(?<! )…", text), "a cell is cut off"


def test_a_wide_terminal_needs_no_more_lines(record):
    assert len(shown(record, 200).splitlines()) <= len(shown(record, 80).splitlines())


def on_terminal(record, **settings):
    stream = io.StringIO()
    console = Console(theme=THEME, file=stream, width=100, force_terminal=True, **settings)
    console.print(screen([view(record)], 100))
    return stream.getvalue()


def test_colours_are_used_and_can_be_switched_off(record):
    colour = re.compile(r"\x1b\[[\d;]*3[0-7][\d;]*m")
    assert "\x1b[" in on_terminal(record, color_system="standard", no_color=False)
    assert not colour.search(on_terminal(record, color_system="standard", no_color=True))


@pytest.mark.parametrize("kind", [kind for kind in samples.ALL if kind != "trace"])
def test_every_sheet_is_a_table(kind):
    record = samples.ALL[kind]()
    found = sheet(record)
    assert found.rows
    assert all(len(row) == len(found.header) for row in found.rows)


@pytest.mark.parametrize("kind", [kind for kind in samples.ALL if kind != "validate"])
def test_a_record_without_results_is_shown_as_such(kind):
    empty = samples.ALL[kind]().model_copy(update={"results": ()})
    assert len(shown(empty, 80).splitlines()[0]) > 10
    assert view(empty).answers[0] == shown(empty, 200).splitlines()[0]


def test_in_a_table_that_is_too_wide_each_group_has_only_the_columns_that_it_fills():
    columns = (Column("Model"), Column("Way", heading=True), Column("Speed", numeric=True),
               Column("Rest", numeric=True))  # fmt: skip
    rows = (("a", "fast", "9" * 20, None), ("a", "slow", "1" * 20, "x" * 20))
    text = text_of(View("T", ("An answer.",), tables=(Table("", columns, rows),)), 40)
    fast, slow = text.partition("fast\n")[2].split("slow\n")
    assert fast.split() == ["Model", "Speed", "a", "9" * 20]
    assert slow.split() == ["Model", "Speed", "a", "1" * 20, "Model", "Rest", "a", "x" * 20]
