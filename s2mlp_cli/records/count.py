"""The record of ``s2mlp count``. One multiply-accumulate (MAC) is one multiply-add."""

from __future__ import annotations

from typing import Any, ClassVar

from s2mlp_cli.records.audit import AuditCell
from s2mlp_cli.records.base import Frozen, Record, Some
from s2mlp_cli.records.source import ModelSource


class OperatorCount(Frozen):
    """What one kind of operator adds up to over the whole model."""

    operator: str
    calls: int
    macs: int
    elementwise: int
    activations: int


class ModuleCount(Frozen):
    """What one module and everything inside it adds up to; ``""`` is the model.

    Attributes:
        kind: its class.
        params: a parameter that several modules share counts in the first of them.
        input_shape: of its first input in its first call; None if it is never called.
        output_shape: of its first output then.
        kernel_size: of convolutions and pooling.
        shared: the module, or the parameter, that this module shares with an earlier one.
    """

    module: str
    kind: str
    params: int
    macs: int
    elementwise: int
    activations: int
    input_shape: tuple[int, ...] | None = None
    output_shape: tuple[int, ...] | None = None
    kernel_size: tuple[int, ...] | None = None
    shared: str | None = None


class Uncounted(Frozen):
    """An operator without a rule, which the totals leave out."""

    operator: str
    calls: int
    reason: str


class CrossCheck(Frozen):
    """The algorithmic MACs by three methods; None where a method does not apply.

    fvcore and FlopCounterMode look at the shapes of the same tensors, each by its own rules; the
    closed form looks at nothing but the spec.

    Attributes:
        fvcore: from the traced graph, by this project's operator rules.
        closed_form: from the spec alone, without building a model.
        flop_counter: half of what torch's FlopCounterMode counts.
    """

    fvcore: int
    closed_form: int | None
    flop_counter: int

    @property
    def methods(self) -> dict[str, int]:
        """The number by each method that applies."""
        found = {"fvcore": self.fvcore, "closed form": self.closed_form,
                 "FlopCounterMode": self.flop_counter}  # fmt: skip
        return {name: macs for name, macs in found.items() if macs is not None}

    @property
    def agree(self) -> bool:
        """Whether all methods that apply give the same number, to the last unit."""
        return len(set(self.methods.values())) == 1


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
        model: its name, as tables show it.
        family: of its spec; ``python`` or ``module`` where there is only code.
        spec: empty where there is only code.
        shift: the implementation, or None for a model that has no shift.
        params_without_head: all parameters but the classifier's.
        params_norm: parameters of normalisations (v1's tables leave them out).
        macs: multiply-adds as executed with the chosen shift.
        macs_matmul: the algorithmic multiply-adds: linear layers, convolutions and matrix
            products; the same for every implementation of the shift.
        macs_head: the classifier's share of ``macs_matmul``.
        elementwise: element-wise operations (norms, activation functions, sums), by the
            convention of every operator.
        activations: values written by linear layers, convolutions and matrix products.
        source: where the model came from; None in records of 0.1.0.
        shift_source: where the shift came from, if a user wrote it.
        notes: what else a reader must know, such as that it was counted on the CPU.
    """

    model: str
    title: str
    family: str
    spec: dict[str, Any]
    input_size: tuple[int, int]
    batch_size: Some
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
    published: tuple[AuditCell, ...] = ()
    source: ModelSource | None = None
    shift_source: ModelSource | None = None
    notes: tuple[str, ...] = ()


class Unsupported(Frozen):
    """An input size that a model does not support, and the reason."""

    model: str
    input_size: tuple[int, int]
    reason: str


class CountRecord(Record):
    """One or more counted models, and the sizes that they do not support."""

    kind: ClassVar[str] = "count"
    results: tuple[CountResult, ...]
    refused: tuple[Unsupported, ...] = ()

    @property
    def disagreeing(self) -> tuple[CountResult, ...]:
        """The models whose counters do not give one number."""
        return tuple(result for result in self.results if not result.crosscheck.agree)
