"""How the record of ``verify`` looks."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from s2mlp_cli.records.verify import VerifyRecord, VerifyResult
from s2mlp_cli.views.sheets import Sheet
from s2mlp_cli.views.tables import HouseTable

_STYLES = {"right": "good", "wrong": "bad", "wrong as known": "warn", "cannot run": "quiet"}


def terminal(record: VerifyRecord) -> RenderableType:
    """Return the answer, a row per implementation, and below them what the figures do not say."""
    table = HouseTable(box=None, pad_edge=False, header_style="quiet")
    table.add_column("\nimplementation", no_wrap=True)
    table.add_column("\nverdict", no_wrap=True)
    for heading in ("\nchecks", "wrong\nforward", "wrong\ngradient", "largest\nerror"):
        table.add_column(heading, justify="right", no_wrap=True)
    for result in record.results:
        table.add_row(
            Text(result.implementation, style="key"),
            Text(result.verdict, style=_alarming(result)),
            str(result.checks),
            _percent(result.wrong_forward),
            _percent(result.wrong_gradient),
            "" if result.max_error is None else f"{result.max_error:.2g}",
        )
    return Group(_answer(record), Text(), table, *_remarks(record))


def sheet(record: VerifyRecord) -> Sheet:
    """Return a row of raw values per implementation."""
    header = (
        *("implementation", "subject", "safe", "device", "seed", "verdict", "checks", "failed"),
        *("wrong_forward", "wrong_gradient", "max_error", "remark"),
    )
    rows = tuple((*(getattr(r, key) for key in header[:-1]), remark(r)) for r in record.results)
    return Sheet(header, rows)


def remark(result: VerifyResult) -> str:
    """Return what the figures of a row do not say: what smears, what fails, what cannot run."""
    return "; ".join([*_smear(result), *_first_fault(result), *_tolerance(result), *_skips(result)])


def _remarks(record: VerifyRecord) -> list[Text]:
    """Return a line per remark, after an empty one; rows with the same remark share it."""
    names: dict[str, list[str]] = {}
    for result in record.results:
        names.setdefault(remark(result), []).append(result.implementation)
    names.pop("", None)
    lines = [
        Text.assemble((", ".join(shared), "key"), f": {said}") for said, shared in names.items()
    ]
    return [Text(), *lines] if lines else []


def _answer(record: VerifyRecord) -> Text:
    safe = [r for r in record.results if r.safe and r.checks]
    right = sum(r.verdict == "right" for r in safe)
    devices = ", ".join(dict.fromkeys(r.device for r in record.results))
    known = [r.implementation for r in record.results if r.verdict == "wrong as known"]
    idle = [r.implementation for r in record.results if not r.checks]
    alarms = [r.implementation for r in record.results if not r.as_expected]
    checks = sum(r.checks for r in record.results)
    agree = f"{right} of {len(safe)} safe implementations agree with the definition on {devices}"
    parts = [agree] if safe else []
    parts += [f"{', '.join(known)} wrong, as known"] if known else []
    parts += [f"{', '.join(idle)} cannot run here"] if idle else []
    parts += [f"ALARM: {', '.join(alarms)}"] if alarms else []
    style = "answer" if record.as_expected else "bad"
    said = "; ".join(parts) or "nothing was checked"
    return Text(f"{said} ({checks:,} checks)", style=style)


def _alarming(result: VerifyResult) -> str:
    return _STYLES[result.verdict] if result.as_expected else "bad"


def _smear(result: VerifyResult) -> list[str]:
    wrong = {name: part for name, part in result.wrong_by_direction.items() if part}
    if not wrong:
        return []
    parts = ", ".join(f"{name} {_percent(part)}" for name, part in wrong.items())
    return [f"wrong on 14x14x384 by direction: {parts}"]


def _first_fault(result: VerifyResult) -> list[str]:
    faults = [case for case in result.cases if case.fault]
    if not faults:
        return []
    case = faults[0]
    shape = "x".join(map(str, case.shape))
    return [f"{len(faults)} faults, the first at {shape} {case.dtype} {case.layout}: {case.fault}"]


def _tolerance(result: VerifyResult) -> list[str]:
    allowed = {case.dtype: case.tolerance for case in result.cases if case.tolerance}
    if not allowed:
        return []
    return ["within " + ", ".join(f"{value:g} in {dtype}" for dtype, value in allowed.items())]


def _skips(result: VerifyResult) -> list[str]:
    reasons: dict[str, list[str]] = {}
    for dtype, reason in result.skipped.items():
        reasons.setdefault(reason, []).append(dtype)
    if not result.checks and len(reasons) == 1:
        return list(reasons)
    return [f"not in {', '.join(dtypes)}: {reason}" for reason, dtypes in reasons.items()]


def _percent(fraction: float | None) -> str:
    if fraction is None:
        return ""
    return "0" if fraction == 0 else f"{100 * fraction:.1f} %"
