"""What there is to compare in a record of each kind: named rows of named quantities."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from s2mlp_cli import statistics
from s2mlp_cli.compare.specs import NO_NAMES, Names
from s2mlp_cli.errors import RecordError
from s2mlp_cli.records.audit import AuditRecord
from s2mlp_cli.records.base import BASELINE, Record
from s2mlp_cli.records.compare import Unit
from s2mlp_cli.records.count import CountRecord
from s2mlp_cli.records.export import ExportRecord
from s2mlp_cli.records.profile import (
    AUTO,
    KEY,
    TORCH,
    ProfileRecord,
    ProfileResult,
    ProfileSettings,
)
from s2mlp_cli.records.profile_rows import implementation, peak_bytes, setting, where
from s2mlp_cli.records.validate import ValidateRecord
from s2mlp_cli.records.verify import VerifyRecord

# The name of the quantity that McNemar's test is about.
TOP1 = "top-1"

# The reference of the baseline itself: the model without its shifts.
_NO_SHIFT = "none"

# Standard deviation of a machine's speed from run to run, as a fraction of it: a shared CPU was
# seen to wander by 10 %; a GPU works for one program, with its clock and temperature.
WANDER = {"cpu": 0.10, "cuda": 0.03}

# Rows that were timed in one run, by what they share with the others of their rounds, shift and
# runtime.
Peers = Mapping[tuple[tuple[object, ...], "str | None", str], ProfileResult]


@dataclass(frozen=True)
class RelativeSpeed:
    """A speed over that of ``reference`` in the same rounds, with its 95 % interval."""

    reference: str
    speed: float
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class Quantity:
    """One value of one row of a record.

    Attributes:
        row: what was measured, in words that are the same in every record of it.
        name: which of its figures this is.
        interval: the 95 % interval of the value, where the record knows one.
        relative: of a time, the speed relative to a reference, where one ran beside it.
        samples: of a time; 0 where the record has none.
        doubtful: fewer than 20 samples, or samples that follow each other.
        wander: how much a time varies from run to run with the machine, as a fraction.
    """

    row: str
    name: str
    unit: Unit
    value: float | int | str
    interval: tuple[float, float] | None = None
    relative: RelativeSpeed | None = None
    samples: int = 0
    doubtful: bool = False
    wander: float = 0.0


def quantities(record: Record, names: Names = NO_NAMES) -> list[Quantity]:
    """Return all that can be compared in a record.

    Args:
        record: of any kind but a trace or a comparison.
        names: what to call models that have another spec in another record.

    Raises:
        RecordError: nothing of its kind can be compared.
    """
    if record.kind not in _KINDS:
        raise RecordError(
            f"records of {record.kind} cannot be compared; give records of {', '.join(_KINDS)}"
        )
    return list(_KINDS[record.kind](record, names))


def _count(record: CountRecord, names: Names) -> Iterator[Quantity]:
    for result in record.results:
        height, width = result.input_size
        row = f"{result.model} {result.batch_size}×{height}×{width}"
        figures = {
            "parameters": result.params,
            "without head": result.params_without_head,
            "MACs": result.macs_matmul,
            **({f"executed ({result.shift})": result.macs} if result.shift else {}),
            "element-wise": result.elementwise,
            "activations": result.activations,
        }
        for name, value in figures.items():
            yield Quantity(row, name, "1", value)


def _audit(record: AuditRecord, names: Names) -> Iterator[Quantity]:
    for cell in record.results:
        row = f"{cell.paper} table {cell.table}, {cell.row}"
        yield Quantity(row, f"{cell.quantity} computed", "1", cell.computed)
        yield Quantity(row, f"{cell.quantity} verdict", "text", cell.verdict)


def _verify(record: VerifyRecord, names: Names) -> Iterator[Quantity]:
    for result in record.results:
        row = f"{result.implementation} on {result.device}"
        yield Quantity(row, "verdict", "text", result.verdict)


def _export(record: ExportRecord, names: Names) -> Iterator[Quantity]:
    """Yield what a file costs and how far it is off, under what it was made of."""
    for result in record.results:
        row = f"{result.format} of weights {result.weights_sha256[:12]}"
        yield Quantity(row, "size", "B", result.bytes)
        yield Quantity(row, "nodes", "1", sum(result.nodes.values()))
        yield Quantity(row, "precision", "text", result.precision)
        for images in dict.fromkeys(proof.images for proof in result.proofs):
            own = [proof for proof in result.proofs if proof.images == images]
            error = max(proof.relative_error for proof in own)
            yield Quantity(row, f"relative error, {images} images", "1", error)
            same = [proof.same_top1 for proof in own if proof.same_top1 is not None]
            if same:
                share = sum(same) / sum(proof.count for proof in own)
                yield Quantity(row, f"same top-1, {images} images", "share", share)


def _validate(record: ValidateRecord, names: Names) -> Iterator[Quantity]:
    """Yield the scores under the images that they are of: other images give other rows."""
    for result in record.results:
        row = f"{result.images} images of the set {result.data.fingerprint[:12]}"
        row += f", {result.model}" if len(record.results) > 1 else ""
        yield Quantity(row, TOP1, "share", result.top1, result.top1_interval)
        yield Quantity(row, "top-5", "share", result.top5, result.top5_interval)


def _profile(record: ProfileRecord, names: Names) -> Iterator[Quantity]:
    for settings, results in _runs(record):
        peers = {(_case(each), each.shift, each.runtime): each for each in results if each.median_s}
        for result in results:
            row, shift = _row(result, settings, names), implementation(result)
            if result.median_s:
                yield _time(row, f"{shift} time", result, peers)
            peak = peak_bytes(result)
            if peak is not None:
                yield Quantity(row, f"{shift} peak", "B", peak)


def reasons_not_timed(record: Record, names: Names) -> dict[tuple[str, str], str]:
    """Return, by row and quantity, why a profile has no time for an implementation."""
    if not isinstance(record, ProfileRecord):
        return {}
    return {
        (_row(result, settings, names), f"{implementation(result)} time"): result.skipped
        for settings, results in _runs(record)
        for result in results
        if result.skipped
    }


def _runs(record: ProfileRecord) -> Iterator[tuple[ProfileSettings, Sequence[ProfileResult]]]:
    """Yield the settings and the rows of every run that made the record, oldest first."""
    start = 0
    for run in record.earlier:
        yield run.settings, record.results[start : start + run.rows]
        start += run.rows
    yield record.settings, record.results[start:]


def _row(result: ProfileResult, settings: ProfileSettings, names: Names) -> str:
    """Return what was timed and how; what was timed otherwise is another row.

    Exported files are compared whatever their names and precisions are.
    """
    exported = result.source is not None and result.source.kind == "exported"
    model = "exported file" if exported else names.get(result.model, result.model)
    words = [model + where(result).removeprefix(result.model)]
    words.append(setting(result, dtype=not exported or result.dtype == AUTO))
    words += ["warm cache"] if settings.hot else []
    words += ["with the host's time"] if settings.host_time else []
    return ", ".join(words)


def _time(row: str, name: str, result: ProfileResult, peers: Peers) -> Quantity:
    samples = len(result.samples_s)
    enough = samples >= statistics.MIN_SAMPLES
    followed = enough and statistics.effective_count(result.samples_s) < samples
    return Quantity(
        row,
        name,
        "s",
        result.median_s or 0.0,
        result.ci95_s,
        relative=_relative(result, peers),
        samples=samples,
        doubtful=bool(followed or 0 < samples < statistics.FEW_SAMPLES),
        wander=WANDER.get(result.device.partition(":")[0], WANDER["cpu"]),
    )


def _relative(result: ProfileResult, peers: Peers) -> RelativeSpeed | None:
    """Return the speed over that of ``slice``, and of ``slice`` over that without a shift."""
    if result.shift in (None, _NO_SHIFT):
        return None
    reference = _NO_SHIFT if result.is_baseline else BASELINE
    beside = peers.get((_case(result), reference, TORCH))
    rounds = min(len(result.samples_s), len(beside.samples_s)) if beside else 0
    if beside and rounds:
        ratio = statistics.paired_ratio(beside.samples_s[:rounds], result.samples_s[:rounds])
        return RelativeSpeed(reference, ratio.value, ratio.interval)
    if result.is_baseline or result.ratio_to_slice is None:
        return None
    return RelativeSpeed(reference, result.ratio_to_slice.value, result.ratio_to_slice.ci95)


def _case(result: ProfileResult) -> tuple[object, ...]:
    """Return what tells one set of rounds from another: all but the shift and the runtime."""
    return tuple(getattr(result, name) for name in KEY if name not in ("shift", "runtime"))


_KINDS: dict[str, Callable[..., Iterator[Quantity]]] = {
    "count": _count,
    "audit": _audit,
    "verify": _verify,
    "export": _export,
    "profile": _profile,
    "validate": _validate,
}
