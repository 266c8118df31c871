import pytest
from pydantic import ValidationError

from s2mlp_cli.papers import papers, published_for, published_rows
from s2mlp_cli.papers.published import Cell, Paper
from s2mlp_cli.specs import load_spec, names


def test_both_papers_print_66_parameter_and_flop_cells():
    cells = [cell for row in published_rows("v1", "v2") for cell in row.row.cells()]
    assert len(cells) == 66


def test_tables_have_their_rows():
    rows = {
        (paper.name, table): len(rows)
        for paper in papers().values()
        for table, rows in paper.tables.items()
    }
    assert rows == {
        ("v1", "2"): 2,
        ("v1", "3"): 2,
        ("v1", "4"): 5,
        ("v1", "5"): 5,
        ("v1", "6"): 5,
        ("v1", "7"): 11,
        ("v1", "8"): 3,
        ("v1", "9"): 2,
        ("v2", "2"): 2,
        ("v2", "5"): 2,
        ("v2", "6"): 2,
        ("v2", "7"): 3,
        ("baselines", "baselines"): 24,
    }


def test_every_row_has_its_spec():
    assert {row.row.model for row in published_rows(*papers())} <= set(names())


def test_a_row_of_timm_names_the_model_that_its_spec_builds():
    for found in published_rows("baselines"):
        assert found.row.timm == getattr(load_spec(found.row.model), "timm", None)


def test_one_model_prints_the_same_figures_in_every_table():
    """v1-wide stands in seven tables; 14B and 14.0B are one figure."""
    printed = {
        (quantity, cell.printed.replace(".0B", "B"))
        for found in published_for("v1-wide")
        for quantity, cell in found.row.cells()
    }
    assert printed == {("params", "71M"), ("flops", "14B")}
    assert len(published_for("v1-wide")) == 7


def test_accuracies_are_percentages():
    rows = [
        found.row for found in published_rows(*papers()) if found.table != "2" or found.row.top1
    ]
    for row in rows:
        assert row.top1 is not None
        assert 50 < row.top1 < (row.top5 or 100) <= 100


def test_nobody_has_published_anything_for_an_unknown_model():
    assert published_for("mine") == ()


def test_everything_but_plain_agreement_has_a_reason():
    cells = [cell for found in published_rows(*papers()) for _, cell in found.row.cells()]
    assert [cell for cell in cells if cell.verdict != "agrees" and not cell.reason] == []


def test_a_cell_that_is_not_a_figure_is_refused():
    with pytest.raises(ValidationError, match="printed"):
        Cell(printed="71")


def test_an_unknown_key_is_refused():
    with pytest.raises(ValidationError, match="flop"):
        Paper(
            name="x",
            title="",
            source="",
            leaves_out={},
            binary_units=False,
            tables={"1": [{"row": "a", "model": "b", "flop": "1B"}]},
        )
