"""Parameters, multiply-accumulates and activations of one model, by methods that must agree."""

from __future__ import annotations

import contextlib
import inspect
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from s2mlp_cli.errors import ExportError, S2MLPError, SpecError, UnavailableError, UserCodeError
from s2mlp_cli.measure.counting.audit import published_figures
from s2mlp_cli.measure.counting.closed_form import closed_form
from s2mlp_cli.measure.counting.counters import (
    Figures,
    Seen,
    flop_counter_macs,
    traced_figures,
    watching,
)
from s2mlp_cli.measure.counting.meta_kernels import meta_kernels
from s2mlp_cli.measure.counting.operators import FIGURES
from s2mlp_cli.measure.counting.shift_cost import find_shift, shift_cost
from s2mlp_cli.measure.source import GivenModel, as_given
from s2mlp_cli.models import classifiers
from s2mlp_cli.records.base import BASELINE, LARGEST_BATCH, changed
from s2mlp_cli.records.count import (
    CountResult,
    CrossCheck,
    ModuleCount,
    OperatorCount,
    ShiftCost,
    Uncounted,
    Unsupported,
)
from s2mlp_cli.shifts import registry
from s2mlp_cli.specs import ModelSpec, TimmSpec
from s2mlp_cli.user_code import described, names_code

_NORMS = (nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.modules.batchnorm._NormBase)

# Figures that a module's parts add up to.
_SUMS = ("macs", "elementwise", "activations")


def count(
    model: ModelSpec | GivenModel | nn.Module,
    shift: str = BASELINE,
    batch_size: int = 1,
    *,
    input_size: int | tuple[int, int] | None = None,
    in_channels: int | None = None,
) -> CountResult:
    """Count a model on the meta device: nothing is allocated, nothing computed.

    The algorithm is what remains when the shifts are taken out: it is traced like that, so that
    no implementation of the shift can change it. What the chosen implementation executes and
    moves is counted apart, on the shift alone. A module that cannot run on the meta device is
    counted on the CPU, and ``notes`` says so.

    Args:
        model: a spec, a model from :func:`s2mlp_cli.measure.source.open_model`, or any module
            from images B,C,H,W to tensors.
        shift: the implementation of the shift whose own work is counted beside the algorithm's:
            a name, or your own in a Python file (``mine.py:my_shift``).
        batch_size: images; every figure but the parameters grows with it.
        input_size: pixels, one number for a square or (height, width); by default the spec's
            own, and 224 for a module.
        in_channels: channels of a module's images; 3 by default.

    Raises:
        SpecError: the model does not support this size.
        UserCodeError: the module fails, on the CPU too.
        UnavailableError: no such implementation of the shift, or it cannot run here.
    """
    given = as_given(model, "count", input_size, in_channels)
    if not 1 <= batch_size <= LARGEST_BATCH:
        raise S2MLPError(f"batch_size: found {batch_size}; allowed: 1 to {LARGEST_BATCH:,}")
    if not names_code(shift):
        registry.get(shift)  # a wrong name is an error, also where a model has no shift
    result = _count(given, shift, batch_size)
    if given.spec is None:
        return result
    published = published_figures(given.spec, result, count_spec)
    return changed(result, published=published) if published else result


def count_sizes(
    models: Iterable[ModelSpec | GivenModel],
    sizes: Sequence[tuple[int, int]],
    shift: str = BASELINE,
    batch_size: int = 1,
) -> tuple[tuple[CountResult, ...], tuple[Unsupported, ...]]:
    """Count every model at every size, or at its own where there are no ``sizes``.

    Returns:
        The counts, and the sizes that a model does not support with the reasons.

    Raises:
        S2MLPError: nothing was counted, so that there is nothing to show.
    """
    counted: list[CountResult] = []
    refused: list[Unsupported] = []
    errors: list[S2MLPError] = []
    for model in (as_given(each, "count") for each in models):
        for size in sizes or (model.input_size,):
            try:
                counted.append(count(model.at(size), shift, batch_size))
            except (SpecError, UserCodeError, ExportError) as error:
                reason = error.reason if isinstance(error, SpecError) else str(error)
                refused.append(Unsupported(model=model.name, input_size=size, reason=reason))
                errors.append(error)
    if errors and not counted:
        raise errors[0]
    return tuple(counted), tuple(refused)


def count_spec(spec: ModelSpec) -> CountResult:
    """Count a spec with the default shift, without published figures."""
    return _count(as_given(spec, "count"), BASELINE, 1)


@dataclass(frozen=True)
class _Run:
    """One run of a model under both counters."""

    model: nn.Module
    figures: Figures
    flop_counter: int
    seen: Mapping[str, Seen]
    shift_cost: ShiftCost | None
    notes: tuple[str, ...] = ()


def _count(given: GivenModel, shift: str, batch_size: int) -> CountResult:
    run = _run(given, shift, batch_size)
    model, figures, cost = run.model, run.figures, run.shift_cost
    formula = closed_form(given.spec) if given.spec else None
    algorithmic = figures.total("macs")
    own, shared = _owned_parameters(model)
    heads = classifiers(model)
    norms = {name for name, part in model.named_modules() if isinstance(part, _NORMS)}
    norms |= {name for name, part in model.named_modules() if type(part).__name__ == "Affine"}
    return CountResult(
        model=given.name,
        title=given.spec.title if given.spec else "",
        family=given.spec.family if given.spec else given.source.kind,
        spec=given.spec.model_dump(mode="json") if given.spec else {},
        input_size=given.input_size,
        batch_size=batch_size,
        shift=find_shift(shift).name if cost else None,
        params=own[""],
        params_without_head=own[""] - sum(own[name] for name in heads),
        params_norm=sum(own[name] for name in norms),
        macs=algorithmic + (cost.macs if cost else 0),
        macs_matmul=algorithmic,
        macs_head=sum(figures.total("macs", name) for name in heads),
        elementwise=figures.total("elementwise"),
        activations=figures.total("activations"),
        shift_cost=cost,
        crosscheck=CrossCheck(
            fvcore=algorithmic,
            closed_form=formula.macs * batch_size if formula else None,
            flop_counter=run.flop_counter,
        ),
        by_operator=_by_operator(figures.modules[""]),
        by_module=_by_module(run, own, shared),
        uncounted=tuple(
            Uncounted(operator=operator, calls=calls, reason="no rule for this operator")
            for operator, calls in sorted(figures.unknown.items())
        ),
        source=given.source,
        notes=(
            *given.notes,
            *run.notes,
            *_fusible(model),
            *((find_shift(shift).summary,) if cost and names_code(shift) else ()),
        ),
    )


def _run(given: GivenModel, shift: str, batch_size: int) -> _Run:
    """Run a model on the meta device; code that cannot run there runs on the CPU."""
    if given.spec is not None and not isinstance(given.spec, TimmSpec):
        return _run_on("meta", given, shift, batch_size)  # this project's own models run there
    try:
        return _run_on("meta", given, shift, batch_size)
    except (SpecError, UnavailableError):
        raise
    except Exception as error:
        from s2mlp_cli.models.timm_models import is_of_meta

        if given.spec is not None and not is_of_meta(error):
            raise _unsupported(given, error) from error
        reason = str(error) if isinstance(error, UserCodeError) else described(error)
    try:
        run = _run_on("cpu", given, shift, batch_size)
    except S2MLPError:
        raise
    except Exception as error:
        raise _unsupported(given, error) from error
    note = f"counted on the CPU, because it does not run on the meta device ({reason})"
    return _Run(**{**vars(run), "notes": (note,)})


def _run_on(device: str, given: GivenModel, shift: str, batch_size: int) -> _Run:
    with fused_attention(), meta_kernels():
        model = given.build("none", device)
        for weight in model.parameters():
            if not is_lazy(weight):  # the lent kernels know no gradients
                weight.requires_grad_(False)
        size = (batch_size, given.in_channels, *given.input_size)
        weights = (weight.dtype for weight in model.parameters() if weight.is_floating_point())
        images = torch.zeros(size, device=device, dtype=next(weights, torch.float32))
        with watching(model) as seen, given.running(), torch.device(device):
            flop_counter = flop_counter_macs(model, images)
        with given.running(), torch.device(device):
            figures = traced_figures(model, images)
        cost = shift_cost(model, seen, shift)
    return _Run(model, figures, flop_counter, seen, cost)


@contextlib.contextmanager
def fused_attention() -> Iterator[None]:
    """Let timm's attention be the fused operator, whatever TIMM_FUSED_ATTN says.

    Fused or in parts it is the same algorithm, and its count must not depend on a variable.
    """
    variable = os.environ.get("TIMM_FUSED_ATTN")
    loaded: Any = sys.modules.get("timm.layers.config")
    before = loaded._USE_FUSED_ATTN if loaded else int(variable or 1)
    os.environ["TIMM_FUSED_ATTN"] = "1"  # read when timm is imported, if it is not yet
    if loaded:
        loaded.set_fused_attn(True)
    try:
        yield
    finally:
        os.environ.pop("TIMM_FUSED_ATTN")
        if variable is not None:
            os.environ["TIMM_FUSED_ATTN"] = variable
        loaded = sys.modules.get("timm.layers.config")
        if loaded:
            loaded._USE_FUSED_ATTN = before


def _unsupported(given: GivenModel, error: Exception) -> S2MLPError:
    """Return the error of a forward pass that failed, with the size that the model was made for."""
    height, width = given.input_size
    reason = f"its forward pass fails: {described(error, given.path)}"
    native = given.native_size
    if native is not None and native != given.input_size:
        reason += f"; its native size is {native[0]}x{native[1]}"
    return SpecError(f"{given.name} at {height}x{width}: {reason}", reason)


def _fusible(model: nn.Module) -> tuple[str, ...]:
    """Say that branches are counted as trained which timm can fuse for inference."""
    names = ("fuse", "reparameterize", "switch_to_deploy")
    fusible = [
        part
        for part in model.modules()
        if any(inspect.ismethod(getattr(part, name, None)) for name in names)
    ]
    if not fusible:
        return ()
    return (
        f"counted as it is trained: {len(fusible)} of its modules can be fused for inference, "
        "which needs fewer parameters and MACs (timm.utils.reparameterize_model)",
    )


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


def _by_module(run: _Run, own: Counter[str], shared: Mapping[str, str]) -> tuple[ModuleCount, ...]:
    """Return a row per module; what it shares with an earlier one counts there."""
    first = {module: name for name, module in reversed([*run.model.named_modules()])}
    rows = []
    for name, module in run.model.named_modules(remove_duplicate=False):
        if isinstance(module, nn.Identity):
            continue
        again = first[module] if first[module] != name else None
        seen = None if again else run.seen.get(name)
        rows.append(
            ModuleCount(
                module=name,
                kind=type(module).__name__,
                params=0 if again else own[name],
                **{figure: 0 if again else run.figures.total(figure, name) for figure in _SUMS},
                input_shape=seen.input_shape if seen else None,
                output_shape=seen.output_shape if seen else None,
                kernel_size=_kernel_size(module),
                shared=again or shared.get(name),
            )
        )
    return tuple(rows)


def _owned_parameters(model: nn.Module) -> tuple[Counter[str], dict[str, str]]:
    """Return the parameters of each module and its parts, and which are an earlier module's."""
    own: Counter[str] = Counter()
    owners: dict[int, str] = {}
    shared: dict[str, str] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        module = name.rpartition(".")[0]
        if id(parameter) in owners:
            shared[module] = owners[id(parameter)]
            continue
        owners[id(parameter)] = name
        parts = name.split(".")[:-1]
        for length in range(len(parts) + 1):
            own[".".join(parts[:length])] += parameter.numel()
    return own, shared


def _kernel_size(module: nn.Module) -> tuple[int, ...] | None:
    kernel = getattr(module, "kernel_size", None)
    if isinstance(kernel, int):
        return (kernel, kernel)
    whole = isinstance(kernel, tuple | list) and all(isinstance(side, int) for side in kernel)
    return tuple(kernel) if whole and kernel else None
