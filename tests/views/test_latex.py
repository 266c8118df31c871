"""LaTeX: the whole text of a small table, and no letter that LaTeX would act on."""

import re

from s2mlp_cli.views import latex
from s2mlp_cli.views.document import Cell, Column, Number, Table, View
from s2mlp_cli.views.registry import report
from tests import samples

VIEW = View(
    title="Speed",
    answers=("conv is slower",),
    tables=(
        Table(
            "Rows & more",
            (
                Column("Shift"),
                Number("Time", unit="ms"),
                Column("95\u00a0%", numeric=True, beside=True),
                Column("Why", prose=True),
            ),
            (("slice_a", 1.0, Cell(0.9, "0.9–1.1"), "50 %"), ("2×{x}", 2.0, None, "a\nb")),
            note="A note.",
        ),
    ),
    details=lambda: [Table("Secondary", (Column("x"),), (("y",),))],
)

EXPECTED = r"""% \usepackage{booktabs}

% Speed
% conv is slower

\begin{table}
\centering
\caption{Rows \& more. A note.}
\begin{tabular}{lrrp{7cm}}
\toprule
Shift & Time (ms) & 95~\% & Why \\
\midrule
slice\_a & 1.000 & 0.9--1.1 & 50 \% \\
2$\times$\{x\} & 2.000 &  & a; b \\
\bottomrule
\end{tabular}
\end{table}
"""


def test_a_table():
    assert latex.document([VIEW], details=False) == EXPECTED
    assert r"\caption{Secondary}" in latex.document([VIEW])


def test_every_table_of_every_kind_is_closed_and_has_as_many_cells_as_columns():
    text = latex.document(report([make() for make in samples.ALL.values()]))
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") > 15
    assert re.sub(r"\\[{}]", "", text).count("{") == re.sub(r"\\[{}]", "", text).count("}")
    for columns, body in re.findall(
        r"\\begin{tabular}{(\S+)}\n(.*?)\\end{tabular}", text, re.DOTALL
    ):
        cells = len(re.sub(r"p{7cm}", "p", columns))
        lines = [line for line in body.splitlines() if line.endswith(r"\\")]
        rows = [line for line in lines if not line.startswith(r"\multicolumn")]
        assert {len(re.findall(r"(?<!\\)&", row)) + 1 for row in rows} == {cells}


def test_no_letter_of_a_record_is_a_command():
    assert latex.escaped("a_b\\c{d}$e%f#g^h~i") == (
        r"a\_b\textbackslash{}c\{d\}\$e\%f\#g\textasciicircum{}h\textasciitilde{}i"
    )
