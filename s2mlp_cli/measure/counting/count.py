"""Parameters, multiply-accumulates and activations of one model, by methods that must agree."""

from __future__ import annotations

import inspect
import re
from collections import Counter
from collections.abc import Iterable, Sequence

from torch import nn

from s2mlp_cli.errors import ExportError, S2MLPError, SpecError, UserCodeError
from s2mlp_cli.measure.counting.audit import published_figures
from s2mlp_cli.measure.counting.closed_form import closed_form
from s2mlp_cli.measure.counting.operators import FIGURES
from s2mlp_cli.measure.counting.running import Run, run_model
from s2mlp_cli.measure.source import GivenModel, as_given, spec_model
from s2mlp_cli.models import classifiers
from s2mlp_cli.papers.verdicts import Counted, LeftOut, Part
from s2mlp_cli.records.base import BASELINE, LARGEST_BATCH
from s2mlp_cli.records.count import (
    CountResult,
    CrossCheck,
    ModuleCount,
    OperatorCount,
    Uncounted,
    Unsupported,
)
from s2mlp_cli.shifts import registry
from s2mlp_cli.shifts.contender import ForeignFunction, find_shift
from s2mlp_cli.shifts.types import Implementation
from s2mlp_cli.specs import ModelSpec, built_in

_NORMS = (nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.modules.batchnorm._NormBase)

# The patch layers after the first.
_LATER_PATCHES = re.compile(r"stages\.[1-9]\d*\.patch")

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
    return _count(given, find_shift(shift), batch_size)


def count_sizes(
    models: Iterable[GivenModel],
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
    implementation = find_shift(shift)
    counted: list[CountResult] = []
    refused: list[Unsupported] = []
    errors: list[S2MLPError] = []
    for model in models:
        for size in sizes or (model.input_size,):
            try:
                counted.append(_count(model.at(size), implementation, batch_size))
            except (SpecError, UserCodeError, ExportError) as error:
                reason = error.reason if isinstance(error, SpecError) else str(error)
                refused.append(Unsupported(model=model.name, input_size=size, reason=reason))
                errors.append(error)
    if errors and not counted:
        raise errors[0]
    return tuple(counted), tuple(refused)


def count_parts(name: str) -> Counted:
    """Count one image through a built-in spec, and the parts that papers leave out."""
    return _counted(run_model(spec_model(built_in(name)), registry.get(BASELINE), 1), 1)


def _count(given: GivenModel, shift: Implementation, batch_size: int) -> CountResult:
    if batch_size not in range(1, LARGEST_BATCH + 1):
        raise S2MLPError(f"batch_size: found {batch_size}; allowed: 1 to {LARGEST_BATCH:,}")
    run = run_model(given, shift, batch_size)
    counted = _counted(run, batch_size)
    spec, cost = given.spec, run.shift_cost
    formula = closed_form(spec) if spec else None
    ignored = cost is None and shift.name != BASELINE
    foreign = shift if cost and isinstance(shift, ForeignFunction) else None
    return CountResult(
        model=given.name,
        title=spec.title if spec else "",
        family=spec.family if spec else given.source.kind,
        spec=spec.model_dump(mode="json") if spec else {},
        input_size=given.input_size,
        batch_size=batch_size,
        shift=shift.name if cost else None,
        params=counted.params,
        params_without_head=counted.params - counted.parts["classifier"].params,
        params_norm=counted.parts["norms"].params,
        macs=counted.macs + (cost.macs if cost else 0),
        macs_matmul=counted.macs,
        macs_head=counted.parts["classifier"].macs,
        elementwise=run.figures.total("elementwise"),
        activations=run.figures.total("activations"),
        shift_cost=cost,
        crosscheck=CrossCheck(
            fvcore=counted.macs,
            closed_form=formula.macs * batch_size if formula else None,
            flop_counter=run.flop_counter,
        ),
        by_operator=_by_operator(run.figures.modules[""]),
        by_module=_by_module(run),
        uncounted=tuple(
            Uncounted(operator=operator, calls=calls, reason="no rule for this operator")
            for operator, calls in sorted(run.figures.unknown.items())
        ),
        published=published_figures(spec, counted) if spec else (),
        source=given.source,
        shift_source=foreign.source if foreign else None,
        notes=(
            *given.notes,
            *run.notes,
            *_fusible(run.model),
            *((foreign.summary,) if foreign else ()),
            *((f"--shift {shift.name} does nothing: it has no mixer of this program",) * ignored),
        ),
    )


def _counted(run: Run, images: int) -> Counted:
    """Add up a run and its parts that papers leave out."""
    modules = dict(run.model.named_modules())
    named: dict[LeftOut, Sequence[str]] = {
        "classifier": classifiers(run.model),
        "norms": [
            name
            for name, module in modules.items()
            if isinstance(module, _NORMS) or type(module).__name__ == "Affine"  # ours and timm's
        ],
        "downsampling": [name for name in modules if _LATER_PATCHES.fullmatch(name)],
    }
    parts = {
        part: Part(
            params=sum(run.params[name] for name in names),
            macs=sum(run.figures.total("macs", name) for name in names),
        )
        for part, names in named.items()
    }
    # timm keeps its embeddings in the model itself, outside its layers.
    layers = sum(run.params[name] for name, _ in run.model.named_children())
    operators = run.figures.modules[""].items()
    return Counted(
        params=run.params[""],
        macs=run.figures.total("macs"),
        parts={**parts, "embeddings": Part(run.params[""] - layers, 0)},
        transforms=sum(n for name, n in operators if name.startswith("elementwise:fft_")),
        images=images,
    )


def _fusible(model: nn.Module) -> tuple[str, ...]:
    """Say that branches are counted as trained which timm can fuse for inference."""
    names = ("fuse", "reparameterize", "switch_to_deploy")
    fusible = sum(
        any(inspect.ismethod(getattr(part, name, None)) for name in names)
        for part in model.modules()
    )
    if not fusible:
        return ()
    return (
        f"counted as it is trained: {fusible} of its modules can be fused for inference, "
        "which needs fewer parameters and MACs (timm.utils.reparameterize_model)",
    )


def _by_operator(counts: Counter[str]) -> tuple[OperatorCount, ...]:
    rows = [
        OperatorCount(
            operator=operator,
            **{figure: int(counts[f"{figure}:{operator}"]) for figure in FIGURES},
        )
        for operator in {key.partition(":")[2] for key in counts}
    ]
    return tuple(sorted(rows, key=lambda row: (-row.macs, -row.elementwise, row.operator)))


def _by_module(run: Run) -> tuple[ModuleCount, ...]:
    """Return a row per module; what it shares with an earlier one counts there."""
    first = {module: name for name, module in run.model.named_modules()}
    owner = {parameter: name for name, parameter in run.model.named_parameters()}
    rows = []
    for name, module in run.model.named_modules(remove_duplicate=False):
        if isinstance(module, nn.Identity):
            continue
        own = module.named_parameters(name, recurse=False)
        shared = [owner[parameter] for path, parameter in own if owner[parameter] != path]
        again = first[module] != name
        seen = None if again else run.seen.get(name)
        rows.append(
            ModuleCount(
                module=name,
                kind=type(module).__name__,
                params=0 if again else run.params[name],
                **{figure: 0 if again else run.figures.total(figure, name) for figure in _SUMS},
                input_shape=seen.input_shape if seen else None,
                output_shape=seen.output_shape if seen else None,
                kernel_size=_kernel_size(module),
                shared=first[module] if again else next(iter(shared), None),
            )
        )
    return tuple(rows)


def _kernel_size(module: nn.Module) -> tuple[int, ...] | None:
    kernel = getattr(module, "kernel_size", None)
    if isinstance(kernel, int):
        return (kernel, kernel)
    whole = isinstance(kernel, tuple | list) and all(isinstance(side, int) for side in kernel)
    return tuple(kernel) if whole and kernel else None
