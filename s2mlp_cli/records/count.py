"""The record of ``s2mlp count``. One multiply-accumulate (MAC) is one multiply-add = 1."""

from __future__ import annotations

from typing import Any, ClassVar

from s2mlp_cli.records.base import Frozen, Record


class OperatorCount(Frozen):
    """What one kind of operator adds up to over the whole model."""

    operator: str
    calls: int
    macs: int
    elementwise: int
    activations: int


class ModuleCount(Frozen):
    """What one module and everything inside it adds up to; ``""`` is the model."""

    module: str
    kind: str
    params: int
    macs: int
    elementwise: int
    activations: int


class Uncounted(Frozen):
    """An operator that no handler knows, so that the totals leave it out."""

    operator: str
    calls: int
    reason: str


class CrossCheck(Frozen):
    """The algorithmic MACs by three roads; None where a road does not reach.

    fvcore and FlopCounterMode look at the same tensors' shapes and apply rules of their own; the
    closed form looks at nothing but the spec.

    Attributes:
        fvcore: from the traced graph, by this project's operator handlers.
        closed_form: from the spec alone, without building a model.
        flop_counter: half of what torch's FlopCounterMode counts.
    """

    fvcore: int
    closed_form: int | None
    flop_counter: int

    @property
    def agree(self) -> bool:
        """Whether all the roads that reach come to the same number, to the last unit."""
        roads = {self.fvcore, self.flop_counter, self.closed_form}
        return len(roads - {None}) == 1


class PublishedFigure(Frozen):
    """A figure that a paper prints for this model, and how the recomputed one stands to it.

    ``computed`` follows the paper's own convention (what it counts and leaves out);
    ``difference`` is computed / printed - 1.
    """

    paper: str
    table: str
    row: str
    quantity: str
    printed: str
    computed: float
    difference: float
    verdict: str
    reason: str = ""


class ShiftCost(Frozen):
    """What the chosen implementation executes and moves for all shifts of one forward pass.

    Attributes:
        macs: multiply-adds that it executes, beyond the algorithmic ones.
        bytes_moved: bytes that its operators read and write, at ``itemsize`` bytes a value.
        bytes_least: one read and one write of every shifted map: the least a stand-alone shift
            can move.
    """

    macs: int
    bytes_moved: int | None
    bytes_least: int
    itemsize: int


class CountResult(Frozen):
    """One model at one input size; every figure is for the whole batch.

    Attributes:
        shift: the implementation, or None for a model that has no shift.
        params_without_head: all parameters but the classifier's.
        params_norm: parameters of normalisations (v1's tables leave them out).
        macs: multiply-adds as executed with the chosen shift.
        macs_matmul: the algorithmic multiply-adds: linear layers, convolutions and matrix
            products; the same for every implementation of the shift.
        macs_head: the classifier's part of ``macs_matmul``.
        elementwise: operations on single values (norms, activations, sums), one each by the
            stated convention of every operator.
        activations: values written by linear layers, convolutions and matrix products.
    """

    model: str
    title: str
    family: str
    spec: dict[str, Any]
    input_size: tuple[int, int]
    batch_size: int
    shift: str | None
    params: int
    params_without_head: int
    params_norm: int
    macs: int
    macs_matmul: int
    macs_head: int
    elementwise: int
    activations: int
    shift_cost: ShiftCost | None
    crosscheck: CrossCheck
    by_operator: tuple[OperatorCount, ...]
    by_module: tuple[ModuleCount, ...]
    uncounted: tuple[Uncounted, ...]
    published: tuple[PublishedFigure, ...] = ()


class Refusal(Frozen):
    """An input size that an architecture cannot take; ``reason`` says what it takes, and why."""

    model: str
    input_size: tuple[int, int]
    reason: str


class CountRecord(Record):
    """One or more counted models, and the sizes that were asked for and refused."""

    kind: ClassVar[str] = "count"
    results: tuple[CountResult, ...]
    refused: tuple[Refusal, ...] = ()
