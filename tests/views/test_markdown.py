"""Markdown: the whole text of a small report."""

from s2mlp_cli.views import markdown
from s2mlp_cli.views.document import Column, Figure, Number, Picture, Section, Table
from s2mlp_cli.views.sections import sections
from tests import samples

SECTION = Section(
    title="Speed of <b>",
    answer="conv is * slower | than slice",
    figures=(Figure("Top-1", "90 %", "of 300"),),
    pictures=(Picture("speed", "Speed", "Bars of [speed]", lambda: "<svg/>"),),
    tables=(
        Table(
            "Rows",
            (
                Column("Shift"),
                Number("Time", unit="ms"),
                Column("Verdict", tones={"slower": "bad"}),
            ),
            (("slice_a", 1.0, None), ("conv", 2.0, "slower")),
            note="A note.",
        ),
        Table("More", (Column("x"),), (("a\nb",),), folded=True),
    ),
    remarks=("A remark.",),
    facts={"CPU": "a & b"},
)

EXPECTED = r"""# A report

## Speed of \<b\>

**conv is \* slower \| than slice**

- Top-1: **90 %** (of 300)

![Bars of \[speed\]](report-speed.svg)

### Rows

| Shift | Time (ms) | Verdict |
|---|---:|---|
| slice\_a | 1.000 |  |
| conv | 2.000 | **slower** |

A note.

<details><summary>More</summary>

| x |
|---|
| a b |

</details>

A remark.

<details><summary>How this was measured</summary>

- CPU: a &amp; b

</details>
"""


def test_a_document():
    text = markdown.document([SECTION], "A report", link=lambda each: f"report-{each.name}.svg")
    assert text == EXPECTED


def test_without_a_place_for_pictures_there_are_none():
    assert "![" not in markdown.document([SECTION], "A report", link=None)


def test_every_kind_has_its_tables():
    text = markdown.document(sections([make() for make in samples.ALL.values()]), "All", None)
    for heading in (
        "### Totals",
        "### Why a cell does not plainly agree",
        "### Implementations",
        "### Whole model: v2-small, cpu, fp32, 224×224, inference, 2 threads",
        "### v2-small: scopes",
        "### digits: scores",
        "## Accuracy over cost",
    ):
        assert f"\n{heading}\n" in text
    for line in text.splitlines():
        if line.startswith("|"):
            assert line.endswith("|")


def test_a_link_holds_what_a_name_of_a_file_may_hold():
    text = markdown.document([SECTION], "A report", link=lambda each: "my report (ü).svg")
    assert "![Bars of \\[speed\\]](my%20report%20%28%C3%BC%29.svg)" in text
