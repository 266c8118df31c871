import pytest

from s2mlp_cli.measure.counting.audit import audit, published_figures
from s2mlp_cli.measure.counting.closed_form import closed_form
from s2mlp_cli.measure.counting.count import count
from s2mlp_cli.papers import published_rows
from s2mlp_cli.papers.published import PublishedRow, Row
from s2mlp_cli.papers.verdicts import recomputed
from s2mlp_cli.specs import load_spec, with_input_size


def by_formula(name):
    """Count by the closed form: no model, no trace."""
    return closed_form(load_spec(name))


@pytest.fixture(scope="module")
def cells():
    return audit(published_rows("v1", "v2"), by_formula)


def find(cells, table, row, quantity, paper="v1"):
    (cell,) = (
        cell
        for cell in cells
        if (cell.paper, cell.table, cell.row, cell.quantity) == (paper, table, row, quantity)
    )
    return cell


def test_every_verdict_is_the_known_one(cells):
    assert len(cells) == 66
    assert [cell for cell in cells if cell.changed] == []


def test_the_tally(cells):
    verdicts = [cell.verdict for cell in cells]
    assert {verdict: verdicts.count(verdict) for verdict in verdicts} == {
        "agrees": 55,
        "agrees in binary units": 6,
        "agrees after a correction": 4,
        "differs": 1,
    }


@pytest.mark.parametrize(
    ("paper", "table", "row", "quantity", "computed", "corrected"),
    [
        ("v1", "2", "wide", "params", 71_433_984, None),
        ("v1", "2", "wide", "flops", 13_988_265_984, None),
        ("v1", "2", "deep", "params", 53_476_224, None),
        ("v1", "5", "c=192", "params", 4_587_456, 4_587_456),
        ("v1", "5", "c=960", "flops", 21_820_538_880, None),
        ("v1", "8", "384", "flops", 41_108_373_504, 31_473_598_464),
        ("v1", "9", "32x32", "flops", 3_583_770_624, 3_497_066_496),
        ("v2", "6", "sum-pooling", "params", 22_901_608, 22_491_264),
        ("v2", "5", "Small/14", "flops", 6_855_613_440, None),
    ],
)
def test_figures_by_the_papers_own_formulas(
    cells, paper, table, row, quantity, computed, corrected
):
    cell = find(cells, table, row, quantity, paper)
    assert (cell.computed, cell.corrected) == (computed, corrected)


def test_the_first_papers_printed_formulas_give_the_same():
    """Blocks N c²(2r+2) + N c(3+r), patch layer (3p²+1)c: section 3.4."""
    n, c, r, p = 12, 768, 4, 16
    assert n * (c * c * (2 * r + 2) + c * (3 + r)) + (3 * p * p + 1) * c == 71_433_984


def test_what_the_reasons_claim():
    """The readings that a reason rejects are computed too."""
    patches_of_16 = closed_form(load_spec("v2-small-14", ("stages.0.patch=16",)))
    assert patches_of_16.macs / 1e9 == pytest.approx(5.3, abs=0.05)
    fifteen_blocks = closed_form(load_spec("v2-small-14", ("stages.0.depth=15",)))
    assert fifteen_blocks.macs / 1e9 == pytest.approx(5.7, abs=0.05)
    assert fifteen_blocks.params / 1e6 == pytest.approx(25, abs=0.5)
    three_blocks = closed_form(load_spec("v1-depth-3"))
    assert recomputed(three_blocks, "flops", ["classifier"]) / 1e9 == pytest.approx(3.58, abs=0.005)
    split_attention = closed_form(load_spec("v2-small"))
    small = recomputed(split_attention, "params", ["classifier", "norms"])
    assert round(small / 1e6) == round(split_attention.params / 1e6) == 25


def test_a_wrong_count_changes_verdicts():
    def a_million_more(name):
        counted = by_formula(name)
        return counted._replace(params=counted.params + 10**6)

    cells = audit(published_rows("v2"), a_million_more)
    assert [cell.verdict for cell in cells if cell.changed] == ["differs"] * 9


def test_each_spec_is_counted_once():
    counted = []

    def watched(name):
        counted.append(name)
        return by_formula(name)

    audit(published_rows("v1", "v2"), watched)
    assert len(counted) == len(set(counted))
    assert not any("directions" in name for name in counted)  # table 7 prints no counts


def test_progress_names_the_models():
    seen = []
    audit(published_rows("v2"), by_formula, progress=seen.append)
    assert seen[:2] == ["v2-small", "v2-medium"]


def test_rows_without_figures_are_passed_over():
    paper = next(published_rows("v1")).paper
    row = Row(row="a", model="no such model", top1=1.0)
    assert audit([PublishedRow(paper, "7", row)], by_formula) == ()


def published(spec):
    return published_figures(spec, closed_form(spec))


def test_published_figures_follow_the_papers_conventions():
    figures = published(load_spec("v1-patch-32"))
    assert [(f.paper, f.table, f.quantity, f.printed, f.computed, f.verdict) for f in figures] == [
        ("v1", "9", "params", "73M", 73_203_456, "agrees"),
        ("v1", "9", "flops", "3.5B", 3_583_770_624, "agrees after a correction"),
    ]
    assert figures[1].difference == pytest.approx(0.0239, abs=1e-4)
    assert "row 112 of table 8" in figures[1].reason


def test_a_batch_has_the_published_figures_of_its_images():
    one, four = (count(load_spec("v2-small"), batch_size=n).published for n in (1, 4))
    assert one == four != ()


@pytest.mark.parametrize(
    "spec",
    [
        load_spec("v2-small", ("stages.0.depth=2",)),
        with_input_size(load_spec("v2-small"), (448, 448)),
        load_spec("v1-directions-a"),
    ],
)
def test_nothing_is_published_for_another_model_or_size(spec):
    assert published(spec) == ()


def test_a_users_own_file_does_not_borrow_figures_by_its_name(tmp_path):
    mine = tmp_path / "v2-small.yaml"
    mine.write_text("extends: v2-small\nclasses: 10\n")
    spec = load_spec(str(mine))
    assert spec.name == "v2-small"
    assert published(spec) == ()
