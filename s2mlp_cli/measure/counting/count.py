"""Parameters, multiply-accumulates and activations of one model, by three roads that must agree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import torch
from torch import nn

from s2mlp_cli.errors import SpecError
from s2mlp_cli.measure.counting.closed_form import closed_form
from s2mlp_cli.measure.counting.counters import Figures, flop_counter_macs, traced_figures
from s2mlp_cli.measure.counting.meta_kernels import meta_kernels
from s2mlp_cli.measure.counting.operators import FIGURES
from s2mlp_cli.measure.counting.shift_cost import shift_cost
from s2mlp_cli.models import build_model, classifiers
from s2mlp_cli.records.count import (
    CountResult,
    CrossCheck,
    ModuleCount,
    OperatorCount,
    Refusal,
    Uncounted,
)
from s2mlp_cli.shifts import registry
from s2mlp_cli.specs import ModelSpec, with_input_size

_NORMS = (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._BatchNorm)


def count(spec: ModelSpec, shift: str = registry.DEFAULT, batch_size: int = 1) -> CountResult:
    """Count the model of ``spec`` on the meta device: nothing is allocated, nothing computed.

    The algorithm is what remains when the shifts are taken out: it is traced like that, so that
    no implementation of the shift can change it. What the chosen implementation executes and
    moves is counted apart, on the shift alone.

    Args:
        spec: the model; its ``input_size`` is the size that is counted.
        shift: the implementation of the shift whose own work is counted beside the algorithm's.
        batch_size: images; every figure but the parameters grows with it.

    Raises:
        UnavailableError: no such implementation of the shift, or it cannot run here.
    """
    model = build_model(spec, "none", device="meta").requires_grad_(False)
    images = torch.empty(batch_size, spec.in_channels, *spec.input_size, device="meta")
    with meta_kernels():
        figures = traced_figures(model, images)
        flop_counter = flop_counter_macs(model, images)
        cost = shift_cost(spec, shift, batch_size)
    formula = closed_form(spec)
    algorithmic = figures.total("macs")
    params = _parameters(model)
    heads = classifiers(model)
    return CountResult(
        model=spec.name,
        title=spec.title,
        family=spec.family,
        spec=spec.model_dump(mode="json"),
        input_size=spec.input_size,
        batch_size=batch_size,
        shift=shift if cost else None,
        params=params,
        params_without_head=params - sum(_parameters(model.get_submodule(name)) for name in heads),
        params_norm=sum(_parameters(part) for part in model.modules() if _is_norm(part)),
        macs=algorithmic + (cost.macs if cost else 0),
        macs_matmul=algorithmic,
        macs_head=sum(figures.total("macs", name) for name in heads),
        elementwise=figures.total("elementwise"),
        activations=figures.total("activations"),
        shift_cost=cost,
        crosscheck=CrossCheck(
            fvcore=algorithmic,
            closed_form=formula.macs * batch_size if formula else None,
            flop_counter=flop_counter,
        ),
        by_operator=_by_operator(figures.modules[""]),
        by_module=_by_module(model, figures),
        uncounted=tuple(
            Uncounted(operator=operator, calls=calls, reason="no rule for this operator")
            for operator, calls in sorted(figures.unknown.items())
        ),
    )


def count_sizes(
    specs: Iterable[ModelSpec],
    sizes: Sequence[tuple[int, int]],
    shift: str = registry.DEFAULT,
    batch_size: int = 1,
) -> tuple[tuple[CountResult, ...], tuple[Refusal, ...]]:
    """Count every spec at every size, or at its own where there are no ``sizes``.

    Returns:
        The counts, and what an architecture refused with its reason.

    Raises:
        SpecError: every size was refused, so that there is nothing to show.
    """
    counted: list[CountResult] = []
    refused: list[Refusal] = []
    errors: list[SpecError] = []
    for spec in specs:
        for size in sizes or (spec.input_size,):
            try:
                counted.append(count(with_input_size(spec, size), shift, batch_size))
            except SpecError as error:
                refused.append(Refusal(model=spec.name, input_size=size, reason=error.reason))
                errors.append(error)
    if errors and not counted:
        raise errors[0]
    return tuple(counted), tuple(refused)


def _parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _is_norm(module: nn.Module) -> bool:
    """Affine transformations in the place of norms count as norms, timm's by their name too."""
    return isinstance(module, _NORMS) or type(module).__name__ == "Affine"


def _by_operator(counts: Counter[str]) -> tuple[OperatorCount, ...]:
    operators = sorted({key.partition(":")[2] for key in counts})
    rows = [
        OperatorCount(
            operator=operator,
            **{figure: int(counts[f"{figure}:{operator}"]) for figure in FIGURES},
        )
        for operator in operators
    ]
    return tuple(sorted(rows, key=lambda row: (-row.macs, -row.elementwise, row.operator)))


def _by_module(model: nn.Module, figures: Figures) -> tuple[ModuleCount, ...]:
    return tuple(
        ModuleCount(
            module=name,
            kind=type(module).__name__,
            params=_parameters(module),
            macs=figures.total("macs", name),
            elementwise=figures.total("elementwise", name),
            activations=figures.total("activations", name),
        )
        for name, module in model.named_modules()
        if not isinstance(module, nn.Identity)
    )
