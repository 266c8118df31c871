"""The record of ``s2mlp audit``: every published figure beside the recomputed one."""

from __future__ import annotations

from typing import ClassVar, Literal

from s2mlp_cli.records.base import Frozen, Record

Quantity = Literal["params", "flops"]

# From the best to the worst; ``binary units``: 2^20 for M, 2^30 for B.
Agreement = Literal["agrees", "agrees in binary units", "agrees after a correction", "differs"]

AGREEMENTS: tuple[Agreement, ...] = Agreement.__args__  # type: ignore[attr-defined]


class AuditCell(Frozen):
    """A figure that a paper prints for a model, and the recomputed one.

    Attributes:
        model: the spec that was counted.
        quantity: ``params``, or ``flops``: multiply-adds, one each, as the papers count them.
        printed: the figure as the paper prints it, such as ``16.3B``.
        computed: the recomputed figure by the paper's own convention: what it counts, leaves out.
        difference: computed / printed - 1, in decimal units.
        corrected: the figure after the stated correction, where there is one.
        verdict: how the computed figure compares with the printed one, by rule.
        known: the expected verdict; another one means that something changed.
        reason: one line for everything but plain agreement.
        top1: the accuracy on ImageNet-1K that the row prints, in percent.
    """

    paper: str
    table: str
    row: str
    model: str = ""
    quantity: Quantity
    printed: str
    computed: int
    difference: float
    corrected: int | None = None
    verdict: Agreement
    known: Agreement | None = None
    reason: str = ""
    top1: float | None = None

    @property
    def changed(self) -> bool:
        """Whether the verdict is another one than expected."""
        return self.known is not None and self.verdict != self.known


class AuditRecord(Record):
    """The cells of the tables."""

    kind: ClassVar[str] = "audit"
    results: tuple[AuditCell, ...]

    @property
    def tally(self) -> dict[Agreement, int]:
        """How many cells have each verdict, from the best to the worst."""
        found = [cell.verdict for cell in self.results]
        return {verdict: found.count(verdict) for verdict in AGREEMENTS}

    @property
    def changed(self) -> tuple[AuditCell, ...]:
        """The cells whose verdict is not the expected one."""
        return tuple(cell for cell in self.results if cell.changed)
