"""``verify``: every implementation of the shift against the reference implementation."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from s2mlp_cli.records.verify import ForeignResult, VerifyCase, VerifyRecord, VerifyResult
from s2mlp_cli.views.document import Cell, Column, Sheet, Table, Tone, View, listed, percentage

_TONES: dict[str, Tone] = {
    "right": "good",
    "wrong": "bad",
    "wrong as known": "warn",
    "cannot run": "quiet",
}
# Verdict -> what it is called in a table.
_WORDS = {"wrong as known": "expected failure", "cannot run": "unsupported"}


def view(record: VerifyRecord) -> View:
    """Return the view; the cases of what is wrong are listed one by one."""
    return View(
        title="Implementations against the reference: "
        + listed((result.device for result in record.results), "devices")
        if record.results
        else "Shifts explained: " + listed((f.implementation for f in record.foreign), "shifts"),
        answers=(
            *((_answer(record),) if record.results or not record.foreign else ()),
            *(f"{each.implementation}: {each.explanation}." for each in record.foreign),
        ),
        alarm=not record.as_expected,
        tables=(
            *((_implementations(record), _remarks(record)) if record.results else ()),
            *_foreign(record),
        ),
        details=partial(_wrong_cases, record),
    )


def _answer(record: VerifyRecord) -> str:
    safe = [r for r in record.results if r.safe and r.checks]
    right = sum(r.verdict == "right" for r in safe)
    devices = ", ".join(dict.fromkeys(r.device for r in record.results))
    expected = [r.implementation for r in record.results if r.verdict == "wrong as known"]
    idle = [r.implementation for r in record.results if not r.checks]
    alarms = [r.implementation for r in record.results if not r.as_expected]
    checks = sum(r.checks for r in record.results)
    parts = (
        (safe, f"{right} of {len(safe)} implementations match the reference on {devices}"),
        (alarms, f"WRONG: {', '.join(alarms)}"),
        (expected, f"expected failure: {', '.join(expected)}"),
        (idle, f"unavailable here: {', '.join(idle)}"),
    )
    said = "; ".join(text for some, text in parts if some) or "no implementation was checked"
    return f"{said[0].upper()}{said[1:]} ({checks:,} checks)"


def _implementations(record: VerifyRecord) -> Table:
    return Table(
        caption="Implementations",
        columns=(
            Column("Implementation"),
            Column("Verdict"),
            Column("Replaces", common="each replaces the {}"),
            Column("Device", common="on {}"),
            Column("Checks", numeric=True),
            Column("Failed", numeric=True),
            percentage("Outputs wrong"),
            percentage("Gradients wrong"),
            Column("Largest error", "{:.2g}".format, numeric=True),
        ),
        rows=tuple(
            (
                result.implementation,
                _verdict(result),
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
        note="Errors are relative to the largest value. A shift must be equal in every bit.",
    )


def _verdict(result: VerifyResult) -> Cell:
    tone = _TONES[result.verdict] if result.as_expected else "bad"
    return Cell(result.verdict, _WORDS.get(result.verdict, result.verdict), tone)


def _remarks(record: VerifyRecord) -> Table:
    """Return a sentence for each remark; implementations with the same remark share it."""
    names: dict[str, list[str]] = {}
    for result in record.results:
        names.setdefault(remark(result), []).append(result.implementation)
    return Table(
        caption="Remarks",
        columns=(Column("Implementation"), Column("Remark", prose=True)),
        rows=tuple((", ".join(shared), said) for said, shared in names.items() if said),
    )


def remark(result: VerifyResult) -> str:
    """Return what the numbers of a row do not say: what smears, fails, or cannot run."""
    return "; ".join([*_smear(result), *_first_fault(result), *_tolerance(result), *_skips(result)])


def _smear(result: VerifyResult) -> Iterator[str]:
    wrong = {name: share for name, share in result.wrong_by_direction.items() if share}
    if wrong:
        shares = ", ".join(f"{name} {100 * share:.1f} %" for name, share in wrong.items())
        yield f"wrong on 14x14x384 by direction: {shares}"


def _first_fault(result: VerifyResult) -> Iterator[str]:
    faults = [case for case in result.cases if case.fault]
    if faults:
        first = faults[0]
        where = f"{'x'.join(map(str, first.shape))} {first.dtype} {first.layout}"
        yield f"{len(faults)} faults, the first at {where}: {first.fault}"


def _tolerance(result: VerifyResult) -> Iterator[str]:
    allowed = {case.dtype: case.tolerance for case in result.cases if case.tolerance}
    if allowed:
        yield "within " + ", ".join(f"{value:g} in {dtype}" for dtype, value in allowed.items())


def _skips(result: VerifyResult) -> Iterator[str]:
    reasons: dict[str, list[str]] = {}
    for dtype, reason in result.skipped.items():
        reasons.setdefault(reason, []).append(dtype)
    if not result.checks and len(reasons) == 1:
        yield from reasons
    else:
        yield from (f"not in {', '.join(dtypes)}: {why}" for why, dtypes in reasons.items())


def _wrong_cases(record: VerifyRecord) -> Iterator[Table]:
    for result in record.results:
        wrong = [case for case in result.cases if not case.right]
        if wrong:
            yield Table(
                caption=f"{result.implementation}: wrong cases",
                columns=(
                    Column("Shape (B×H×W×C)"),
                    Column("Directions", prose=True),
                    Column("Dtype"),
                    Column("Memory format"),
                    percentage("Outputs wrong", 2),
                    percentage("Gradients wrong", 2),
                    Column("Fault", prose=True),
                ),
                rows=tuple(map(_case, wrong)),
            )


def _case(case: VerifyCase) -> tuple[object, ...]:
    return (
        "×".join(map(str, case.shape)),
        " | ".join(", ".join(split) or "none" for split in case.splits),
        case.dtype,
        case.layout,
        case.forward and case.forward.fraction,
        case.gradient and case.gradient.fraction,
        case.fault,
    )


def _foreign(record: VerifyRecord) -> Iterator[Table]:
    """Yield what each foreign shift does beside its values."""
    for each in record.foreign:
        rows = [
            *([("As a spec", each.splits)] if each.splits else []),
            *(
                (f"Group {smear.group}", f"{smear.direction}: {100 * smear.wrong:.1f} % wrong")
                for smear in each.smears
            ),
            *(("Finding", finding) for finding in each.findings),
        ]
        if rows:
            yield Table(
                caption=each.implementation,
                columns=(Column("What"), Column("Found", prose=True)),
                rows=tuple(rows),
                note=f"Percentages are of a contiguous {each.layout} map of {_size(each)}."
                if each.smears
                else "",
            )


def _size(found: ForeignResult) -> str:
    images, height, width = found.smears[0].size
    return f"{height}x{width}{f', {images} images' * (images > 1)}"


def sheet(record: VerifyRecord) -> Sheet:
    """Return one row for each implementation."""
    header = (
        *("implementation", "subject", "safe", "device", "seed", "verdict", "checks", "failed"),
        *("wrong_forward", "wrong_gradient", "max_error", "remark"),
    )
    rows = [(*(getattr(r, key) for key in header[:-1]), remark(r)) for r in record.results]
    for each in record.foreign:
        verdict = "right" if each.is_shift else "wrong"
        row = {"implementation": each.implementation, "subject": "shift", "verdict": verdict}
        rows.append((*(row.get(key) for key in header[:-1]), each.explanation))
    return Sheet(header, tuple(rows))
