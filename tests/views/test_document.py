"""Cells of a report: units in the heading, decimals in one line, nothing for what is unknown."""

import pytest

from s2mlp_cli.views.document import Column, Number, Table, listed


def texts(column, values):
    return [cell.text for cell in column.cells(values)]


def test_numbers_of_a_column_have_the_same_decimals():
    column = Number("MACs", unit="G", scale=1e9)
    assert texts(column, [16.284e9, 13.9e9, 0, None]) == ["16.28", "13.90", "0", ""]


def test_small_numbers_add_decimals_but_no_more_than_three():
    column = Number("MACs", unit="G", scale=1e9)
    assert texts(column, [16.284e9, 0.1728e9, 2e6]) == ["16.284", "0.173", "0.002"]


def test_what_is_not_zero_never_reads_as_zero():
    assert texts(Number("MACs", scale=1e9), [16.284e9, 1000]) == ["16.284", "<0.001"]


def test_large_numbers_have_no_decimals():
    assert texts(Number("images/s"), [123456.7, 4321.2]) == ["123457", "4321"]


def test_integers_are_counts_and_have_none_either():
    assert texts(Number("Images", bar=True), [12, 1, 0]) == ["12", "1", "0"]
    assert texts(Number("MACs", unit="M", scale=1e6), [1_500_000]) == ["1.500"]


def test_a_bar_is_as_long_as_the_fraction_of_the_largest():
    cells = Number("MACs", bar=True).cells([4.0, 1.0, -1.0, None])
    assert [cell.fraction for cell in cells] == [1.0, 0.25, 0.0, None]


def test_a_column_of_nothing_and_one_of_zeros():
    assert texts(Number("x", bar=True), [None, None]) == ["", ""]
    assert texts(Number("x", bar=True), [0, 0]) == ["0", "0"]


def test_values_that_are_not_finite_are_written():
    assert texts(Number("x"), [float("inf"), 1.0]) == ["inf", "1.00"]


def test_a_verdict_has_its_tone():
    cells = Column("Verdict", tones={"wrong": "bad"}).cells(["wrong", "right"])
    assert [cell.tone for cell in cells] == ["bad", None]


def test_rows_of_a_table_keep_their_order():
    table = Table("T", (Column("a"), Number("b")), (("x", 2.0), ("y", 1.0)))
    assert [[cell.text for cell in row] for row in table.cells()] == [
        ["x", "2.000"],
        ["y", "1.000"],
    ]


@pytest.mark.parametrize(
    ("names", "title"),
    [("", "no models"), ("aba", "a, b"), ("abc", "a, b, c"), ("abcda", "4 models")],
)
def test_a_title_lists_each_name_once_and_no_more_than_three(names, title):
    assert listed(names, "models") == title
