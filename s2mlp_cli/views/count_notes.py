"""What a reader must know to trust a count: unit, shift, checks, and what is left out."""

from __future__ import annotations

from collections.abc import Iterable

from rich.text import Text

from s2mlp_cli.records.count import CountResult, PublishedFigure
from s2mlp_cli.units import count, size


def notes(results: tuple[CountResult, ...]) -> Iterable[Text]:
    """Return what a reader must know to trust the table: unit, shift, checks, what is left out."""
    yield Text("1 MAC = one multiply-add: what the papers call a FLOP.", style="quiet")
    for result in results if len(results) == 1 else ():
        yield from _shift_notes(result)
        yield _crosscheck_note(result)
    if len(results) > 1:
        yield _crosschecks_note(results)
    for result in results:
        for operator in result.uncounted:
            yield Text(
                f"{result.model}: {operator.operator} is not counted ({operator.calls} calls): "
                f"{operator.reason}",
                style="warn",
            )
        whose = f"{result.model}, " if len(results) > 1 else ""
        for figure in _explained(result):
            yield Text(
                f"{whose}{figure.printed} in {_place(figure)}: {figure.verdict}; {figure.reason}",
                style="quiet",
            )


def _place(figure: PublishedFigure) -> str:
    if figure.paper == figure.table:  # the systems that both papers' tables compare with
        return f"the papers' {figure.paper}"
    return f"table {figure.table} of {figure.paper}"


def _explained(result: CountResult) -> list[PublishedFigure]:
    """Return the published figures that carry a reason, each printed value and reason once."""
    unique = {(figure.printed, figure.reason): figure for figure in result.published}
    return [figure for figure in unique.values() if figure.reason]


def _shift_notes(result: CountResult) -> Iterable[Text]:
    cost = result.shift_cost
    if cost is None:
        return
    moved = "an amount not known here" if cost.bytes_moved is None else size(cost.bytes_moved)
    multiplied = f"executes {count(cost.macs)} MACs" if cost.macs else "multiplies nothing"
    yield Text(
        f"The shift '{result.shift}' {multiplied} and moves {moved} at {cost.itemsize} bytes a "
        f"value; one read and one write of each shifted map would be {size(cost.bytes_least)}.",
        style="quiet",
    )


def _crosscheck_note(result: CountResult) -> Text:
    check = result.crosscheck
    if not check.agree:
        return Text(
            f"The counters DISAGREE: fvcore {check.fvcore:,}, closed form {check.closed_form}, "
            f"FlopCounterMode {check.flop_counter:,}.",
            style="bad",
        )
    roads = (
        "fvcore"
        + (", closed form" if check.closed_form is not None else "")
        + " and FlopCounterMode"
    )
    return Text(f"{roads} agree: {check.fvcore:,} MACs.", style="quiet")


def _crosschecks_note(results: tuple[CountResult, ...]) -> Text:
    wrong = [result.model for result in results if not result.crosscheck.agree]
    if wrong:
        return Text(f"The counters DISAGREE on {', '.join(wrong)}.", style="bad")
    return Text("For every model all counters agree to the last unit.", style="quiet")
