"""Markdown: the whole text of a small report."""

from s2mlp_cli.views import markdown
from s2mlp_cli.views.document import Cell, Column, KeyFigure, Picture, Table, View
from s2mlp_cli.views.registry import report
from s2mlp_cli.views.svg import canvas
from tests import samples

VIEW = View(
    title="Speed of <b>",
    answers=("conv is * slower | than slice",),
    key_figures=lambda: [KeyFigure("Top-1", "90 %", "of 300")],
    pictures=lambda: [
        Picture("speed", "Bars of [speed]", canvas.Drawing(lambda figure: None, 1.0, "Speed"))
    ],
    tables=(
        Table(
            "Rows",
            (
                Column("Shift"),
                Column("Time", unit="ms", numeric=True),
                Column("Verdict", tones={"slower": "bad"}),
            ),
            (("slice_a", 1.0, None), ("conv", Cell(2.0, "2–3"), "slower")),
            note="A note.",
        ),
    ),
    details=lambda: [Table("More", (Column("x"),), (("a\nb",),))],
    remarks=("A remark.",),
    warnings=("busy",),
    facts={"Data": "d"},
    environment={"CPU": "a & b"},
)

EXPECTED = r"""# A report

## Speed of \<b\>

**conv is \* slower \| than slice**

> [!WARNING]
> - busy

- Top-1: **90 %** (of 300)

![Speed: Bars of \[speed\]](report-speed.svg)

### Rows

| Shift | Time (ms) | Verdict |
|---|---:|---|
| slice\_a | 1.0 |  |
| conv | 2⁠–⁠3 | **slower** |

A note.

<details><summary>More</summary>

| x |
|---|
| a<br>b |

</details>

A remark.

- Data: d

<details><summary>How this was measured</summary>

- CPU: a &amp; b

</details>
"""


def test_a_document():
    text = markdown.document([VIEW], "A report", link=lambda each: f"report-{each.name}.svg")
    assert text == EXPECTED


def test_without_a_place_for_pictures_there_are_none():
    assert "![" not in markdown.document([VIEW], "A report", link=None)


def test_every_kind_has_its_tables():
    text = markdown.document(report([make() for make in samples.ALL.values()]), "All", None)
    for heading in (
        "### Why a figure does not simply agree",
        "### Implementations: each replaces the shift, on cpu",
        "### Whole model: v2-small, cpu, fp32, 224×224, inference, 2 threads",
        "### Scopes",
        "### digits: scores",
    ):
        assert f"\n{heading}\n" in text
    for line in text.splitlines():
        if line.startswith("|"):
            assert line.endswith("|")


def test_a_link_holds_what_a_name_of_a_file_may_hold():
    text = markdown.document([VIEW], "A report", link=lambda each: "my report (ü).svg")
    assert "![Speed: Bars of \\[speed\\]](my%20report%20%28%C3%BC%29.svg)" in text
