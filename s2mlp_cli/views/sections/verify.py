"""The section of a verification: every implementation of the shift against the definition."""

from __future__ import annotations

from collections.abc import Iterator

from s2mlp_cli.records.verify import Deviation, VerifyCase, VerifyRecord, VerifyResult
from s2mlp_cli.views.document import Column, Section, Table, Tone, listed
from s2mlp_cli.views.sections.answer import answer
from s2mlp_cli.views.sections.environment import facts

TONES: dict[str, Tone] = {
    "right": "good",
    "wrong": "bad",
    "wrong as known": "warn",
    "cannot run": "quiet",
}


def section(record: VerifyRecord) -> Section:
    """Return the section; the cases of what is wrong are listed one by one."""
    return Section(
        title="Implementations against the definition: "
        + listed((result.device for result in record.results), "devices"),
        answer=answer(record),
        tables=(_implementations(record), *_wrong_cases(record), *_skipped(record)),
        facts=facts(record),
    )


def _implementations(record: VerifyRecord) -> Table:
    return Table(
        caption="Implementations",
        columns=(
            Column("Implementation"),
            Column("Verdict", tones=TONES),
            Column("Replaces"),
            Column("Device"),
            Column("Checks", numeric=True),
            Column("failed", numeric=True),
            Column("Outputs wrong", _percent, "%", numeric=True),
            Column("Gradients wrong", _percent, "%", numeric=True),
            Column("Largest error", "{:.2g}".format, numeric=True),
        ),
        rows=tuple(
            (
                result.implementation,
                result.verdict,
                result.subject,
                result.device,
                result.checks,
                result.failed,
                result.wrong_forward,
                result.wrong_gradient,
                result.max_error,
            )
            for result in record.results
        ),
        note="Errors are relative to the largest value; a shift has to be equal in every bit.",
    )


def _wrong_cases(record: VerifyRecord) -> Iterator[Table]:
    for result in record.results:
        wrong = [case for case in result.cases if not case.right]
        if wrong:
            yield Table(
                caption=f"{result.implementation}: cases that are wrong",
                columns=(
                    Column("Shape (B×H×W×C)"),
                    Column("Directions", prose=True),
                    Column("Type"),
                    Column("Layout"),
                    Column("Outputs wrong", _percent, "%", numeric=True),
                    Column("Gradients wrong", _percent, "%", numeric=True),
                    Column("Fault", prose=True),
                ),
                rows=tuple(map(_case, wrong)),
                folded=True,
            )


def _case(case: VerifyCase) -> tuple[object, ...]:
    directions = " | ".join(", ".join(split) or "none" for split in case.splits)
    return (
        "×".join(map(str, case.shape)),
        directions,
        case.dtype,
        case.layout,
        _fraction(case.forward),
        _fraction(case.gradient),
        case.fault,
    )


def _skipped(record: VerifyRecord) -> Iterator[Table]:
    rows = [(result, dtype) for result in record.results for dtype in result.skipped]
    if rows:
        yield Table(
            caption="Not checked here",
            columns=(Column("Implementation"), Column("Type"), Column("Why", prose=True)),
            rows=tuple(_reason(result, dtype) for result, dtype in rows),
        )


def _reason(result: VerifyResult, dtype: str) -> tuple[str, str, str]:
    return result.implementation, dtype, result.skipped[dtype]


def _fraction(part: Deviation | None) -> float | None:
    return part.wrong / part.elements if part and part.elements else None


def _percent(value: float) -> str:
    return f"{100 * value:.2f}"
