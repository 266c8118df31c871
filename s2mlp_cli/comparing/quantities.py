"""What there is to compare in a record of each kind: named rows of named quantities."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from s2mlp_cli.errors import RecordError
from s2mlp_cli.records.base import Record
from s2mlp_cli.records.compare import Unit
from s2mlp_cli.records.count import CountRecord


@dataclass(frozen=True)
class Quantity:
    """One value of one row of a record.

    Attributes:
        row: what was measured, in words that are the same in every record of it.
        name: which of its figures this is.
        samples: seconds, one per round, for a time.
        interval: the 95 % interval of the value, where the record knows one.
    """

    row: str
    name: str
    unit: Unit
    value: float | int | str
    samples: tuple[float, ...] = ()
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
            f"executed ({result.shift})": result.macs,
            "element-wise": result.elementwise,
            "activations": result.activations,
        }
        for name, value in figures.items():
            yield Quantity(row, name, "1", value)


_KINDS: dict[str, Callable[..., Iterator[Quantity]]] = {"count": _count}
