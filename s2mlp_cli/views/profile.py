"""``profile``: how fast each implementation of the shift is, and what it needs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

from s2mlp_cli import units
from s2mlp_cli.records.base import BASELINE, FLOORS, REFERENCE, Environment
from s2mlp_cli.records.profile import (
    KEY,
    TORCH,
    Level,
    Measured,
    ProfileRecord,
    ProfileResult,
    Roofline,
)  # fmt: skip
from s2mlp_cli.records.profile_rows import implementation, options, peak_bytes, setting, where
from s2mlp_cli.views.document import (
    EMPTY,
    MOST_NAMES,
    Cell,
    Column,
    KnownModel,
    Picture,
    Sheet,
    Table,
    Tone,
    View,
    listed,
    measured,
    percentage,
    plural,
    with_interval,
)
from s2mlp_cli.views.ranking import Ranked, not_told_apart, rankings, rate_interval
from s2mlp_cli.views.svg import bars, lines

_TONES: dict[str, Tone] = {"faster": "good", "slower": "bad", "undecided": "quiet"}
_LEVELS: dict[Level, str] = {
    "model": "Whole model",
    "block": "One block",
    "op": "The shift alone",
}

# So many implementations are answered one by one; of more, the fastest is.
_FEW = 2


def view(record: ProfileRecord) -> View:
    """Return the view."""
    timed = [row for row in record.results if row.median_s is not None]
    return View(
        title="Speed and memory: " + listed((row.model for row in record.results), "models"),
        answers=tuple(_answers(timed)),
        pictures=partial(_pictures, record, timed),
        tables=(
            *map(_ranking, rankings(record.results)),
            *(_level(level, rows) for level in _LEVELS if (rows := _at(timed, level))),
            _roofline(record),
            _not_timed(record),
        ),
        warnings=tuple(_doubts(record)),
        remarks=tuple(_remarks(record, timed)),
        models=partial(_models, record, timed),
    )


def _at(rows: Iterable[ProfileResult], level: Level) -> list[ProfileResult]:
    return [row for row in rows if row.level == level]


def _models(record: ProfileRecord, timed: Sequence[ProfileResult]) -> Iterator[KnownModel]:
    """Yield the speed of each model at its own size, in the setting that has the most models."""
    settings: dict[str, dict[str, ProfileResult]] = {}
    for row in _at(timed, "model"):
        own = record.specs.get(row.model, {}).get("input_size")
        if not row.reference and (own is None or tuple(own) == row.input_size):
            best = settings.setdefault(_ranking_setting(row), {})
            best[row.model] = max(best.get(row.model, row), row, key=_rate_of)
    if settings:
        setting_, models = max(settings.items(), key=lambda each: len(each[1]))
        for name, row in models.items():
            top1 = record.published_top1.get(name)
            yield KnownModel(name, name, top1, images_per_s=row.images_per_s, setting=setting_)


def _rate_of(row: ProfileResult) -> float:
    return row.images_per_s or 0.0


# The answer


def _answers(timed: Sequence[ProfileResult]) -> list[str]:
    """Answer how fast each implementation is and what its shifts cost, at the widest level timed.

    Several models are ranked; those timed with the baseline alone are in the ranking only.
    """
    rows = next((found for level in _LEVELS if (found := _at(timed, level))), [])
    if not rows:
        return ["Nothing was timed."]
    ranked = rankings(rows)
    cases = [case for case in _cases(rows) if not ranked or _compares_shifts(case)]
    return [*(said for case in cases for said in _of_case(case)), *map(_ranking_answer, ranked)]


def _compares_shifts(rows: Iterable[ProfileResult]) -> bool:
    return any(row.shift not in (None, *FLOORS) and not row.is_baseline for row in rows)


def _cases(rows: Iterable[ProfileResult]) -> list[list[ProfileResult]]:
    """Group the rows that were measured in the same rounds: all but the implementation is equal."""
    groups: dict[tuple[object, ...], list[ProfileResult]] = {}
    for row in rows:
        rounds = tuple(getattr(row, name) for name in KEY if name not in ("shift", "runtime"))
        groups.setdefault(rounds, []).append(row)
    return list(groups.values())


def _case_name(row: ProfileResult) -> str:
    switched = [word for word in options(row) if not word.endswith(("thread", "threads"))]
    mode = [row.mode] if row.mode != "inference" else []
    return ", ".join(
        [where(row), row.device, row.dtype, f"batch {row.batch_size}", *mode, *switched]
    )


def _of_case(rows: list[ProfileResult]) -> list[str]:
    """Return a sentence for each implementation that was asked for, or one on the fastest."""
    competing = [row for row in rows if row.shift not in (*FLOORS, REFERENCE)]
    asked = [row for row in competing if not row.is_baseline] or competing or rows
    if len(asked) <= _FEW:
        return [f"{_case_name(asked[0])}: {'; '.join(map(_answer, asked))}."]
    fastest = min(competing, key=lambda row: row.median_s or 0)
    alike = not_told_apart(fastest, competing)
    first = [implementation(fastest), *alike]
    slower = [
        f"{implementation(row)}{_times_baseline(row)}"
        for row in sorted(competing, key=lambda row: row.median_s or 0)
        if implementation(row) not in first
    ]
    said = (
        f"no winner among {', '.join(first)}"
        if alike
        else f"the fastest of {len(competing)} is {_answer(fastest)}"
    )
    behind = f"; slower: {', '.join(slower)}" if slower else ""
    return [f"{_case_name(fastest)}: {said}{behind}."]


def _times_baseline(row: ProfileResult) -> str:
    ratio = row.ratio_to_slice
    return f" ({units.significant(ratio.value, 3)} × {BASELINE})" if ratio else ""


def _answer(row: ProfileResult) -> str:
    alone = " (n = 1)" if len(row.samples_s) == 1 else ""
    parts = [f"{implementation(row)} {units.seconds(row.median_s or 0)}{alone}"]
    if row.ratio_to_slice and not row.is_baseline:
        ratio = row.ratio_to_slice
        speed = with_interval(ratio.value, ratio.ci95)
        parts.append(f"{speed} × the speed of {BASELINE} ({ratio.verdict})")
    if row.shift_share and row.shift not in FLOORS:
        parts.append(
            f"shifts take {with_interval(row.shift_share.value, row.shift_share.ci95, 100)} % of "
            "its time"
            if _resolved(row.shift_share)
            else "the cost of its shifts is within the noise"
        )
    return ", ".join(parts)


def _resolved(share: Measured) -> bool:
    return share.ci95 is not None and share.ci95[0] > 0


def _ranking_answer(ranked: Sequence[Ranked]) -> str:
    """Say which models are the fastest, and how far the slowest is behind."""
    first, last = ranked[0].row, ranked[-1].row
    best = [row for rank, row in ranked if rank == 1]
    won = (
        f"no winner among {', '.join(row.model for row in best)}"
        if len(best) > 1
        else f"{first.model} is the fastest"
    )
    behind = f"; slowest: {last.model}, {_speed(last)} ({100 * _fraction(last, first):.3g} % of it)"
    return (
        f"{len(ranked)} models ({_ranking_setting(first)}): {won}, {_speed(first)} images/s"
        f"{behind if len(best) < len(ranked) else ''}."
    )


def _ranking_setting(row: ProfileResult) -> str:
    """Return what all models of a ranking have in common: ``cpu, fp32, batch 8, inference``."""
    return ", ".join([row.device, row.dtype, f"batch {row.batch_size}", row.mode, *options(row)])


def _speed(row: ProfileResult) -> str:
    return units.significant(_rate_of(row))


def _fraction(row: ProfileResult, first: ProfileResult) -> float:
    return _rate_of(row) / (first.images_per_s or 1.0)


# The tables

Shown = tuple[Column, Callable[[ProfileResult], Any]]

# What tells rows apart beside the implementation: shared by all rows, it goes into the caption.
_IDENTITY: tuple[Shown, ...] = (
    (Column("Model", common="{}", heading=True), lambda row: row.model),
    (Column("Stage", numeric=True, common="stage {}", heading=True), lambda row: row.stage),
    (Column("Map", common="{}", heading=True), lambda row: None if row.level == "model" else
     "×".join(map(str, row.shape)) or None),
    (Column("Device", common="{}", heading=True), lambda row: row.device),
    (Column("Dtype", common="{}", heading=True), lambda row: row.dtype),
    (Column("Batch", numeric=True, common="batch {}", heading=True), lambda row: row.batch_size),
    (Column("Input", common="{}", heading=True), lambda row: "×".join(map(str, row.input_size))),
    (Column("Mode", common="{}", heading=True), lambda row: row.mode),
    (Column("Options", common="{}", heading=True), lambda row: ", ".join(options(row)) or None),
)  # fmt: skip


def _level(level: Level, rows: list[ProfileResult]) -> Table:
    columns = (*_IDENTITY, *_measures(level, rows))
    return Table(
        caption=_LEVELS[level],
        columns=(Column("Shift"), *(column for column, _ in columns)),
        rows=tuple((_named(row), *(read(row) for _, read in columns)) for row in rows),
    )


def _named(row: ProfileResult) -> Cell:
    """Return the implementation, marked where a warning is about this row."""
    name = implementation(row)
    return Cell(name, f"{name} !" if row.warnings else name, "warn" if row.warnings else None)


def _measures(level: Level, rows: Sequence[ProfileResult]) -> list[Shown]:
    """Return the columns of what was measured, each with what it reads from a row."""
    factor, unit = _scale(rows)
    operation = level == "op"
    rate = "bytes_per_s" if operation else "images_per_s"
    fastest = max((getattr(row, rate) or 0.0 for row in rows), default=0.0)
    return [
        *_pair(Column("Median", unit=unit, numeric=True),
               lambda row: measured(row.median_s, row.ci95_s, factor)),
        (Column("GB/s" if operation else "images/s", numeric=True),
         lambda row: _rate(getattr(row, rate), 1e-9 if operation else 1, fastest)),
        *_pair(Column(f"×\u00a0{BASELINE}", numeric=True), _ratio),
        (Column("Verdict", tones=_TONES), _verdict),
        (Column("n", numeric=True), lambda row: len(row.samples_s) or None),
        (Column("p50", unit=unit, numeric=True), lambda row: _plain(row.p50_s, factor)),
        (Column("p90", numeric=True, beside=True), lambda row: _plain(row.p90_s, factor)),
        (Column("p99", numeric=True, beside=True), lambda row: _plain(row.p99_s, factor)),
        *_pair(Column("Shifts", unit="%", numeric=True), _share),
        (Column("Compile", unit="s", numeric=True), lambda row: _plain(row.compile_s, 1.0)),
        *_pair(Column("Over products", unit=unit, numeric=True, optional=True),
               lambda row: _over_products(row, factor)),
        (percentage("of copy"), lambda row: row.copy_fraction if operation else None),
        (percentage("of matmul"), lambda row: None if operation else row.matmul_fraction),
        *(
            (
                Column(title, unit="MiB", numeric=True, beside=number > 1),
                partial(_mebibytes, field=field),
            )
            for number, (title, field) in enumerate(_MEMORY.items())
        ),
    ]  # fmt: skip


_MEMORY = {
    "Peak RSS": "peak_rss_bytes",
    "Weights": "weights_bytes",
    "Activations": "activations_bytes",
    "Peak allocated": "peak_allocated_bytes",
    "Peak reserved": "peak_reserved_bytes",
}


def _mebibytes(row: ProfileResult, field: str) -> Cell:
    """Return what one row needs; a CPU's weights are in its resident set already."""
    if row.memory is None or (row.device == "cpu" and field != "peak_rss_bytes"):
        return EMPTY
    return _plain(getattr(row.memory, field), 2.0**-20)


def _plain(value: float | None, factor: float) -> Cell:
    return measured(value, None, factor)[0]


def _scale(rows: Iterable[ProfileResult]) -> tuple[float, str]:
    """Return the factor and the unit in which the slowest median reads well."""
    slowest = max(row.median_s or 0 for row in rows)
    for factor, unit in ((1.0, "s"), (1e3, "ms")):
        if slowest * factor >= 1:
            return factor, unit
    return 1e6, "µs"


def _pair(
    column: Column, read: Callable[[ProfileResult], tuple[Cell, Cell]]
) -> tuple[Shown, Shown]:
    """Return the columns of a value and of its interval."""
    interval = Column("95\u00a0%", numeric=True, beside=True)
    return (column, lambda row: read(row)[0]), (interval, lambda row: read(row)[1])


def _rate(value: float | None, factor: float, fastest: float) -> Cell:
    return measured(value, None, factor, digits=3, bar=(value or 0) / (fastest or 1))[0]


def _ratio(row: ProfileResult) -> tuple[Cell, Cell]:
    ratio = None if row.is_baseline else row.ratio_to_slice
    return measured(ratio.value, ratio.ci95, digits=3) if ratio else (EMPTY, EMPTY)


def _verdict(row: ProfileResult) -> str | None:
    if row.is_baseline:
        return "baseline"
    return row.ratio_to_slice.verdict if row.ratio_to_slice else None


def _share(row: ProfileResult) -> tuple[Cell, Cell]:
    """Return what the shifts take; ``none`` has none, and without an interval nothing is known."""
    share = row.shift_share if row.shift not in FLOORS else None
    if share is None or share.ci95 is None:
        return EMPTY, EMPTY
    value, interval = measured(share.value, share.ci95, 100, digits=3)
    return (value, interval) if _resolved(share) else (Cell(None, "noise", "quiet"), interval)


def _over_products(row: ProfileResult, factor: float) -> tuple[Cell, Cell]:
    """Return how much longer a row takes than its mixers' matrix products alone."""
    over = row.cost_over_products_s if row.shift != "products" else None
    return measured(over.value, over.ci95, factor, digits=3) if over else (EMPTY, EMPTY)


def _ranking(ranked: Sequence[Ranked]) -> Table:
    first = ranked[0].row
    return Table(
        caption=f"Models, the fastest first: {_ranking_setting(first)}",
        columns=(
            Column("Model"),
            Column("Rank", numeric=True),
            Column("Shift"),
            Column("images/s", numeric=True),
            Column("95\u00a0%", numeric=True, beside=True),
            percentage("of first"),
            percentage("of matmul"),
            Column("Peak", unit="MiB", numeric=True),
        ),
        rows=tuple(
            (
                row.model,
                rank,
                implementation(row) if row.runtime != TORCH else row.shift,
                *measured(row.images_per_s, rate_interval(row), bar=_fraction(row, first)),
                _fraction(row, first),
                row.matmul_fraction,
                _plain(peak_bytes(row), 2.0**-20),
            )
            for rank, row in ranked
        ),
        note="Models whose 95 % intervals overlap share a rank. They were timed one after another: "
        "intervals do not account for changes of the machine between models.",
    )


def _roofline(record: ProfileRecord) -> Table:
    return Table(
        caption="Roofline, measured in the same run",
        columns=(
            Column("Device"),
            Column("Dtype"),
            Column("Threads", numeric=True),
            Column("Copy", unit="GB/s", numeric=True),
            Column("Matrix product", unit="TFLOP/s", numeric=True),
        ),
        rows=tuple(map(_limit, record.limits)),
    )


def _limit(limit: Roofline) -> tuple[object, ...]:
    return (
        limit.device,
        limit.dtype,
        limit.threads if limit.device == "cpu" else None,
        _known(limit.copy_bytes_per_s, 1e-9),
        _known(limit.matmul_flops_per_s, 1e-12),
    )


def _known(value: float | None, factor: float) -> Cell:
    return Cell(None, "unknown") if value is None else _plain(value, factor)


def _not_timed(record: ProfileRecord) -> Table:
    """Return a row for each reason, with all the implementations and cases that it is about."""
    reasons: dict[str, list[ProfileResult]] = {}
    for row in record.results:
        if row.skipped:
            reasons.setdefault(row.skipped, []).append(row)
    return Table(
        caption="Not timed",
        columns=(Column("Shift"), Column("Of"), Column("Why", prose=True)),
        rows=tuple(
            (
                ", ".join(dict.fromkeys(map(implementation, rows))),
                listed((f"{where(row)}, batch {row.batch_size}" for row in rows), "cases"),
                why,
            )
            for why, rows in reasons.items()
        ),
    )


# What to know and what to doubt


def _remarks(record: ProfileRecord, timed: Sequence[ProfileResult]) -> Iterator[str]:
    if any(row.ratio_to_slice and not row.is_baseline for row in timed):
        yield (
            f"× {BASELINE}: speed relative to {BASELINE}, paired by round, so it may differ from "
            "the ratio of the medians; 'undecided' when its 95 % interval contains 1."
        )
    if any(cell.text == "noise" for row in timed for cell in _share(row)):
        yield "Shifts: 'noise' when the 95 % interval of their share contains 0."
    calls = max((row.calls_per_sample or 1 for row in record.results), default=1)
    if calls > 1:
        yield f"A sample of a fast row is the mean of up to {calls:,} calls; so are p50 to p99."
    if any((row.copy_fraction or 0) > 1 for row in timed):
        yield (
            "Over 100 % of copy: this map stays in the cache, and the large tensor of the copy "
            "does not."
        )
    if any((row.matmul_fraction or 0) > 1 for row in timed):
        yield (
            "Over 100 % of matmul: the roofline is one large square product, which ran slower than "
            "the model, most likely on a busy machine: measure again when it is idle."
        )
    for shift, why in {row.shift: row.reference for row in record.results if row.reference}.items():
        yield f"{shift} is {why}."
    unknown = {row.memory.unknown: None for row in timed if row.memory and row.memory.unknown}
    for why in unknown:
        yield f"Memory is not known: {why}."
    yield from _runtimes(timed)
    for shift, form in {row.shift: row.form for row in timed if row.form}.items():
        yield f"{shift} ran in its {form} form."
    yield from _earlier_runs(record)


def _runtimes(timed: Iterable[ProfileResult]) -> Iterator[str]:
    """Say of each runtime which it was, what it computed in, and how far that is off."""
    found: dict[str, list[str]] = {}
    for row in timed:
        if row.runtime != TORCH:
            how = f"{row.runtime} {row.runtime_version} in {row.runtime_precision}"
            known = "not checked" if row.error is None else f"off by {row.error:.2g}"
            found.setdefault(how, []).append(f"{row.shift or row.model} {known}")
    for how, errors in found.items():
        yield f"{how}, relative to the reference: {', '.join(dict.fromkeys(errors))}."


def _earlier_runs(record: ProfileRecord) -> Iterator[str]:
    """Say of a record that was resumed which of its rows are older."""
    first = 0
    for run in record.earlier:
        last = first + run.rows
        yield (
            f"Rows {first + 1} to {last} of {len(record.results)} are from "
            f"{run.created:%Y-%m-%d %H:%M} UTC, seed {run.settings.seed}"
            f"{_elsewhere(run.environment, record.environment)}."
        )
        first = last


def _elsewhere(before: Environment | None, now: Environment) -> str:
    """Name what was different when older rows were measured; the hardware was the same."""
    if before is None:
        return ""
    facts = {"Python": "python", "CUDA": "cuda", "system": "platform"}
    told = [
        f"{name} {getattr(before, field)}"
        for name, field in facts.items()
        if getattr(before, field) != getattr(now, field)
    ]
    return f", with {', '.join(told)}" if told else ""


def _doubts(record: ProfileRecord) -> Iterator[str]:
    """Yield each warning once, with the rows that it is about."""
    yield from record.warnings
    timed = [row for row in record.results if row.median_s is not None]
    found: dict[str, list[ProfileResult]] = {}
    for row in record.results:
        for warning in row.warnings:
            found.setdefault(warning, []).append(row)
    for warning in sorted(found):
        rows = found[warning]
        cases: dict[str, list[str]] = {}
        for row in rows:
            cases.setdefault(_case_name(row), []).append(implementation(row))
        shown = [f"{case}: {', '.join(names)}" for case, names in cases.items()][:MOST_NAMES]
        more = len(cases) - len(shown)
        shown += [f"and {plural(more, 'other case')}"] if more else []
        whole = f"all {len(timed)} rows" if len(rows) == len(timed) > 1 else "; ".join(shown)
        yield f"{warning} ({whole})"


# The pictures


def _pictures(record: ProfileRecord, timed: Sequence[ProfileResult]) -> Iterator[Picture]:
    yield from _ranking_pictures(timed)
    yield from _speed_pictures(timed)
    yield from _bandwidth_pictures(record)
    yield from _batch_pictures(timed)
    yield from _size_pictures(timed)


def _groups(
    rows: Iterable[ProfileResult], name: Callable[[ProfileResult], str]
) -> Iterator[tuple[int, str, list[ProfileResult]]]:
    """Yield the rows of each name, numbered."""
    found: dict[str, list[ProfileResult]] = {}
    for row in rows:
        found.setdefault(name(row), []).append(row)
    for number, (title, group) in enumerate(found.items(), 1):
        yield number, title, group


def _bar(row: ProfileResult, label: str) -> bars.Bar:
    return bars.Bar(
        label=label,
        value=row.images_per_s or 0.0,
        interval=rate_interval(row),
        samples=tuple(row.batch_size / seconds for seconds in row.samples_s if seconds > 0),
        hollow=row.reference is not None,
    )


def _speed_pictures(timed: Iterable[ProfileResult]) -> Iterator[Picture]:
    models = _at(timed, "model")
    for number, title, group in _groups(models, lambda row: f"{row.model}, {setting(row)}"):
        if len(group) == 1:
            continue
        found = [_bar(row, implementation(row)) for row in group]
        fastest = max(found, key=lambda bar: bar.value)
        known = " with 95 % intervals" if any(bar.interval for bar in found) else ""
        yield Picture(
            name=f"speed-{number}",
            title=f"Images per second: {title}",
            description=f"Bars of images per second{known} for {len(found)} implementations; "
            f"{fastest.label} has the most, {units.significant(fastest.value)}.",
            draw=partial(bars.speeds, found, "images/s"),
        )


def _ranking_pictures(timed: Sequence[ProfileResult]) -> Iterator[Picture]:
    for number, ranked in enumerate(rankings(timed), 1):
        first = ranked[0].row
        yield Picture(
            name=f"models-{number}",
            title=f"Images per second of each model: {_ranking_setting(first)}",
            description=f"Bars of images per second for {len(ranked)} models; {first.model} has "
            f"the most, {_speed(first)}.",
            draw=partial(bars.speeds, [_bar(row, row.model) for _, row in ranked], "images/s"),
        )


def _bandwidth_pictures(record: ProfileRecord) -> Iterator[Picture]:
    rows = [row for row in _at(record.results, "op") if row.bytes_per_s and not row.reference]
    for number, title, group in _groups(rows, lambda row: f"{row.model}, {setting(row)}"):
        rates: dict[str, dict[str, float]] = {}
        for row in group:
            shape = "×".join(map(str, row.shape[1:]))
            rate = (row.bytes_per_s or 0.0) / 1e9
            rates.setdefault(implementation(row), {})[f"stage {row.stage}, {shape}"] = rate
        found = record.roofline_of(group[0])
        copy = found.copy_bytes_per_s if found else None
        yield Picture(
            name=f"bandwidth-{number}",
            title=f"Bandwidth of the shift alone: {title}",
            description="Bars of the bytes per second that each implementation of the shift "
            "reaches, beside the copy rate that was measured on the same device.",
            draw=partial(
                bars.grouped,
                rates,
                "GB/s, one read and one write",
                line=("copy, measured", copy / 1e9) if copy else None,
            ),
        )


def _batch_pictures(timed: Iterable[ProfileResult]) -> Iterator[Picture]:
    models = _at(timed, "model")
    for number, title, group in _groups(
        models, lambda row: f"{row.model}, {setting(row, batch=False)}"
    ):
        if len({row.batch_size for row in group}) > 1:
            points: dict[str, list[lines.Point]] = {}
            for row in group:
                points.setdefault(implementation(row), []).append(_point(row))
            yield Picture(
                name=f"batch-{number}",
                title=f"Time and memory over the batch size: {title}",
                description="Lines of milliseconds per image and of peak memory over the batch "
                f"size, one for each of {len(points)} implementations.",
                draw=partial(lines.batches, points),
            )


def _size_pictures(timed: Iterable[ProfileResult]) -> Iterator[Picture]:
    models = _at(timed, "model")
    for number, title, group in _groups(
        models, lambda row: f"{row.model}, {setting(row, size=False)}"
    ):
        if len({row.input_size for row in group}) > 1:
            points: dict[str, list[lines.Point]] = {}
            for row in group:
                side = round(math.prod(row.input_size) ** 0.5)
                points.setdefault(implementation(row), []).append(_point(row, side))
            yield Picture(
                name=f"size-{number}",
                title=f"Time and memory over the image size: {title}",
                description="Lines of milliseconds per image and of peak memory over the side of a "
                f"square image of as many pixels, one for each of {len(points)} implementations.",
                draw=partial(lines.batches, points, over="image size (side in pixels)"),
            )


def _point(row: ProfileResult, size: int | None = None) -> lines.Point:
    each = row.batch_size
    ends = (row.ci95_s[0] / each, row.ci95_s[1] / each) if row.ci95_s else None
    return lines.Point(size or each, (row.median_s or 0.0) / each, ends, peak_bytes(row))


# The sheet

_FIELDS = (
    "model", "shift", "level", "stage", "device", "dtype", "batch_size", "mode", "compiled",
    "cuda_graph", "channels_last", "threads", "median_s", "ci95_s", "p50_s", "p90_s", "p99_s",
    "images_per_s", "bytes_per_s", "ratio_to_slice", "cost_over_none_s", "shift_share",
    "copy_fraction", "matmul_fraction", "weights_bytes", "peak_allocated_bytes",
    "peak_reserved_bytes", "activations_bytes", "peak_rss_bytes", "error", "reference", "skipped",
    "input_size", "runtime", "compile", "compile_mode", "compile_s",
    "form", "cost_over_products_s", "runtime_version", "runtime_precision",
)  # fmt: skip
# Fields with an interval: each becomes a column of values and two of its ends.
_RANGES = (
    "ci95_s", "ratio_to_slice", "cost_over_none_s", "shift_share", "cost_over_products_s"
)  # fmt: skip


def sheet(record: ProfileRecord) -> Sheet:
    """Return the rows with all that was measured but the samples."""
    header = tuple(itertools.chain.from_iterable(map(_columns, _FIELDS)))
    return Sheet(header, tuple(_cells(row) for row in record.results))


def _columns(field: str) -> tuple[str, ...]:
    if field == "ci95_s":
        return "ci95_low_s", "ci95_high_s"
    return (field, f"{field}_low", f"{field}_high") if field in _RANGES else (field,)


def _cells(row: ProfileResult) -> tuple[object, ...]:
    cells: list[object] = []
    for field in _FIELDS:
        if field.endswith("_bytes"):
            cells.append(getattr(row.memory, field, None))
        elif field == "input_size":
            cells.append("x".join(map(str, row.input_size)))
        elif field == "ci95_s":
            cells += row.ci95_s or (None, None)
        elif field in _RANGES:
            found: Measured | None = getattr(row, field)
            cells += [found and found.value, *((found and found.ci95) or (None, None))]
        else:
            cells.append(getattr(row, field))
    return tuple(cells)
