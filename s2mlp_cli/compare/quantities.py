"""What there is to compare in a record of each kind: named rows of named quantities."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from s2mlp_cli.errors import RecordError
from s2mlp_cli.records.audit import AuditRecord
from s2mlp_cli.records.base import Record
from s2mlp_cli.records.compare import Unit
from s2mlp_cli.records.count import CountRecord
from s2mlp_cli.records.profile import ProfileRecord
from s2mlp_cli.records.profile_rows import implementation, peak_bytes, setting, where
from s2mlp_cli.records.validate import ValidateRecord
from s2mlp_cli.records.verify import VerifyRecord

# The name of the quantity that McNemar's test is about.
TOP1 = "top-1"


@dataclass(frozen=True)
class Quantity:
    """One value of one row of a record.

    Attributes:
        row: what was measured, in words that are the same in every record of it.
        name: which of its figures this is.
        interval: the 95 % interval of the value, where the record knows one.
    """

    row: str
    name: str
    unit: Unit
    value: float | int | str
    interval: tuple[float, float] | None = None


def quantities(record: Record) -> list[Quantity]:
    """Return all that can be compared in a record.

    Raises:
        RecordError: nothing of its kind can be compared.
    """
    if record.kind not in _KINDS:
        raise RecordError(
            f"records of {record.kind} cannot be compared; give records of {', '.join(_KINDS)}"
        )
    return list(_KINDS[record.kind](record))


def _count(record: CountRecord) -> Iterator[Quantity]:
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


def _audit(record: AuditRecord) -> Iterator[Quantity]:
    for cell in record.results:
        row = f"{cell.paper} table {cell.table}, {cell.row}"
        yield Quantity(row, f"{cell.quantity} computed", "1", cell.computed)
        yield Quantity(row, f"{cell.quantity} verdict", "text", cell.verdict)


def _verify(record: VerifyRecord) -> Iterator[Quantity]:
    for result in record.results:
        row = f"{result.implementation} on {result.device}"
        yield Quantity(row, "verdict", "text", result.verdict)


def _profile(record: ProfileRecord) -> Iterator[Quantity]:
    for result in record.results:
        row, shift = f"{where(result)}, {setting(result)}", implementation(result)
        if result.median_s:
            yield Quantity(row, f"{shift} time", "s", result.median_s, result.ci95_s)
        peak = peak_bytes(result)
        if peak is not None:
            yield Quantity(row, f"{shift} peak", "B", peak)


def _validate(record: ValidateRecord) -> Iterator[Quantity]:
    """Yield the scores under the images that they are of: other images give other rows."""
    for result in record.results:
        row = f"{result.images} images of the set {result.data.fingerprint[:12]}"
        row += f", {result.model}" if len(record.results) > 1 else ""
        yield Quantity(row, TOP1, "share", result.top1, result.top1_interval)
        yield Quantity(row, "top-5", "share", result.top5, result.top5_interval)


_KINDS: dict[str, Callable[..., Iterator[Quantity]]] = {
    "count": _count,
    "audit": _audit,
    "verify": _verify,
    "profile": _profile,
    "validate": _validate,
}
