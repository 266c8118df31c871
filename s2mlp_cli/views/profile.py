"""``profile``: how fast each implementation of the shift is, and what it needs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import partial

from s2mlp_cli import units
from s2mlp_cli.records.base import BASELINE, FLOORS, REFERENCE, Environment
from s2mlp_cli.records.profile import AUTO, KEY, TORCH, ProfileRecord, ProfileResult
from s2mlp_cli.records.profile_rows import implementation, setting, where
from s2mlp_cli.views.document import (
    KnownModel,
    Sheet,
    View,
    listed,
    with_interval,
)
from s2mlp_cli.views.profile_pictures import pictures
from s2mlp_cli.views.profile_tables import (
    LEVELS,
    folded,
    grouped,
    level_table,
    roofline_table,
    share,
    skipped_table,
)
from s2mlp_cli.views.ranking import (
    fastest_rows,
    not_told_apart,
    ranking_answer,
    ranking_table,
    rankings,
)

# So many implementations are answered one by one, in so many cases; of more, the fastest is. Groups
# of rows likewise.
_FEW = 2
_FEW_CASES = 4


def view(record: ProfileRecord) -> View:
    """Return the view."""
    timed = [row for row in record.results if row.median_s is not None]
    levels = {level: [row for row in timed if row.level == level] for level in LEVELS}
    ranked = rankings(timed)
    widest = next((rows for rows in levels.values() if rows), [])
    about, cases = _About(timed), _cases(widest, bool(ranked))
    brief = len(cases) > _FEW_CASES
    return View(
        title="Speed and memory: " + listed((row.model for row in record.results), "models"),
        answers=(
            *(_of_case(case, about, brief) for case in cases),
            *map(ranking_answer, ranked),
            *([] if timed else ["Nothing was timed."]),
        ),
        tables=(
            *map(ranking_table, ranked),
            *(level_table(level, rows) for level, rows in levels.items() if rows),
            roofline_table(record),
            skipped_table(record.results),
        ),
        warnings=tuple(_doubts(record, about)),
        remarks=tuple(_remarks(record, timed, about)),
        pictures=partial(pictures, record),
        models=partial(_models, record, timed),
    )


def _models(record: ProfileRecord, timed: Sequence[ProfileResult]) -> Iterator[KnownModel]:
    """Yield the speed of each model at its own size, run in the way that has the most models."""
    own = {name: spec.get("input_size") for name, spec in record.specs.items()}
    ways = fastest_rows(row for row in timed if own.get(row.model) in (None, [*row.input_size]))
    if ways:
        how, models = max(ways.items(), key=lambda each: len(each[1]))
        for name, row in models.items():
            top1 = record.published_top1.get(name)
            yield KnownModel(name, name, top1, images_per_s=row.images_per_s, setting=how)


# The answer


def _cases(rows: Iterable[ProfileResult], ranked: bool) -> list[list[ProfileResult]]:
    """Group the rows that were measured in the same rounds: all but the implementation is equal.

    Models that are ranked, and were timed with the baseline alone, are left to the ranking.
    """
    rounds = [name for name in KEY if name not in ("shift", "runtime")]
    groups = grouped((tuple(getattr(row, name) for name in rounds), row) for row in rows)
    return [
        group
        for _, group in groups
        if not ranked
        or any(row.shift not in (None, *FLOORS) and not row.is_baseline for row in group)
    ]


class _About:
    """Names cases and rows among all that were timed: their image size only where it differs."""

    def __init__(self, timed: Sequence[ProfileResult]) -> None:
        self.timed = timed
        named = [model for model, _ in {(row.model, row.input_size) for row in timed}]
        self._sized = {model for model in named if named.count(model) > 1}
        self._in_case = Counter(map(self.case, timed))

    def case(self, row: ProfileResult) -> str:
        """Return the case: ``v2-small, whole model, cpu, fp32, batch 8``."""
        return f"{where(row)}, {setting(row, size=row.model in self._sized, threads=False)}"

    def rows(self, rows: Sequence[ProfileResult]) -> str:
        """Return which rows: ``all 12 rows``, or ``slice, conv of`` cases; alike, these are one."""
        if len(rows) == len(self.timed) > 1:
            return f"all {len(rows)} rows"
        alike: dict[str, list[str]] = {}
        for case, own in grouped((self.case(row), row) for row in rows):
            names = listed(map(implementation, own), "implementations")
            whole = len(own) == self._in_case[case] > 1
            alike.setdefault("all" if whole else names, []).append(case)
        if len(alike) > _FEW:
            cases = [case for own in alike.values() for case in own]
            return f"{len(rows)} of {len(self.timed)} rows, in {folded(cases)}"
        return "; ".join(f"{names} of {folded(cases)}" for names, cases in alike.items())


def _of_case(rows: list[ProfileResult], about: _About, brief: bool) -> str:
    """Return what each of a few requested implementations does, or which one is the fastest."""
    competing = [row for row in rows if row.shift not in (*FLOORS, REFERENCE)]
    asked = [row for row in competing if not row.is_baseline] or competing or rows
    if len(asked) <= _FEW and not brief:
        return f"{about.case(asked[0])}: {'; '.join(map(_answer, asked))}."
    first, *others = sorted(competing or rows, key=lambda row: row.median_s or 0)
    alike = not_told_apart(first, others)
    slower = [row for row in others if row not in alike]
    if alike:
        said = f"no winner among {', '.join(map(_relative, [first, *alike]))}"
    else:
        won = _relative(first) if brief else _answer(first)
        said = f"the fastest of {len(others) + 1} is {won}"
    behind = f"; slower than {'these' if alike else 'it'}: {', '.join(map(_relative, slower))}"
    return f"{about.case(first)}: {said}{behind if slower else ''}."


def _relative(row: ProfileResult) -> str:
    """Name a row with its speed: ``fused (onnxruntime, 1.74 × slice)``."""
    ratio = None if row.is_baseline else row.ratio_to_slice
    inside = [row.runtime] if row.runtime != TORCH else []
    inside += [f"{units.significant(ratio.value, 3)} × {BASELINE}"] if ratio else []
    name = implementation(row).removesuffix(f" ({row.runtime})")
    return f"{name} ({', '.join(inside)})" if inside else name


def _answer(row: ProfileResult) -> str:
    alone = " (n = 1)" if len(row.samples_s) == 1 else ""
    parts = [f"{implementation(row)} {units.seconds(row.median_s or 0)}{alone}"]
    ratio, cost = row.ratio_to_slice, row.shift_share
    if ratio and not row.is_baseline:
        speed = with_interval(ratio.value, ratio.ci95)
        parts.append(f"{speed} × the speed of {BASELINE} ({ratio.verdict})")
    if cost and row.shift not in FLOORS:
        low, high = cost.ci95 or (0, 0)
        if low > 0:
            parts.append(f"shifts take {with_interval(cost.value, cost.ci95, 100)} % of its time")
        elif high < 0:
            parts.append("it is faster than the model without shifts, which stacks its maps")
        else:
            parts.append("the cost of its shifts is within the noise")
    return ", ".join(parts)


# What to know and what to doubt


def _remarks(record: ProfileRecord, timed: Sequence[ProfileResult], about: _About) -> Iterator[str]:
    if any(row.ratio_to_slice and not row.is_baseline for row in timed):
        yield (
            f"× {BASELINE}: speed relative to {BASELINE}, paired by round, so it may differ from "
            "the ratio of the medians; 'undecided' when its 95 % interval contains 1."
        )
    shares = {cell.text for row in timed for cell in share(row)}
    if "noise" in shares:
        yield "Shifts: 'noise' when the 95 % interval of their share contains 0."
    if "<0" in shares:
        yield "Shifts: '<0' where the model without shifts is slower, since it stacks its maps."
    calls = max((row.calls_per_sample or 1 for row in record.results), default=1)
    if calls > 1:
        yield f"A sample of a fast row is the mean of up to {calls:,} calls; so are p50 to p99."
    if cached := [row for row in timed if (row.copy_fraction or 0) > 1]:
        yield (
            f"Over 100 % of copy ({about.rows(cached)}): the map stays in the cache, and the large "
            "tensor of the copy does not."
        )
    fast = [row for row in timed if (row.matmul_fraction or 0) > 1]
    if of_torch := [row for row in fast if row.runtime == TORCH]:
        yield (
            f"Over 100 % of matmul ({about.rows(of_torch)}): the roofline is one large square "
            "product, which ran slower than the model, most likely on a busy machine: measure "
            "again when it is idle."
        )
    if exported := [row for row in fast if row.runtime != TORCH]:
        yield (
            f"Over 100 % of matmul ({about.rows(exported)}): the roofline is a product of torch, "
            "and these runtimes have faster ones."
        )
    for shift, why in {row.shift: row.reference for row in record.results if row.reference}.items():
        yield f"{shift} is {why}."
    measured = [(row.memory.unknown, row) for row in timed if row.memory]
    for unknown, rows in grouped(measured):
        yield f"Memory is not known: {unknown} ({about.rows(rows)})."
    yield from _runtimes(timed, about)
    for form, rows in grouped((row.form, row) for row in timed):
        yield f"The {form} form ran ({about.rows(rows)})."
    yield from _earlier_runs(record)


def _runtimes(timed: Iterable[ProfileResult], about: _About) -> Iterator[str]:
    """Say which runtimes ran exported files, in which precision, and what was checked."""
    exported = [row for row in timed if row.runtime != TORCH]
    if any(row.error is not None for row in exported):
        yield (
            "Max error: the largest difference between the logits of an exported file and those of "
            "the reference in torch, relative to the largest of these."
        )
    for runtime, rows in grouped((f"{row.runtime} {row.runtime_version}", row) for row in exported):
        computed = dict.fromkeys(map(_computed_in, rows))
        yield f"{runtime} computes in {', '.join(computed)}."
    if unchecked := [row for row in exported if row.error is None and not row.reference]:
        yield f"Not compared with a reference: {about.rows(unchecked)}."


def _computed_in(row: ProfileResult) -> str:
    known = {AUTO: " (its own choice)", row.runtime_precision: ""}
    return f"{row.runtime_precision}{known.get(row.dtype, f' (files of {row.dtype})')}"


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


def _doubts(record: ProfileRecord, about: _About) -> Iterator[str]:
    """Yield each warning once, with the rows that it is about."""
    yield from record.warnings
    found = grouped((warning, row) for row in record.results for warning in row.warnings)
    for warning, rows in sorted(found, key=lambda each: each[0]):
        yield f"{warning} ({about.rows(rows)})"


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
_RANGES = ("ratio_to_slice", "cost_over_none_s", "shift_share", "cost_over_products_s")


def sheet(record: ProfileRecord) -> Sheet:
    """Return the rows with all that was measured but the samples."""
    return Sheet(
        tuple(name for field in _FIELDS for name in _columns(field)),
        tuple([cell for field in _FIELDS for cell in _cells(row, field)] for row in record.results),
    )


def _columns(field: str) -> tuple[str, ...]:
    if field == "ci95_s":
        return "ci95_low_s", "ci95_high_s"
    return (field, f"{field}_low", f"{field}_high") if field in _RANGES else (field,)


def _cells(row: ProfileResult, field: str) -> tuple[object, ...]:
    if field.endswith("_bytes"):
        return (getattr(row.memory, field, None),)
    value = getattr(row, field)
    if field == "input_size":
        return ("x".join(map(str, value)),)
    if field == "ci95_s":
        return value or (None, None)
    if field in _RANGES:
        return (value.value, *(value.ci95 or (None, None))) if value else (None, None, None)
    return (value,)
