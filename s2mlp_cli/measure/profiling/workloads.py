"""What is measured: the shift alone, one block or a whole model, as a call without arguments."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from s2mlp_cli.directions import Directions
from s2mlp_cli.measure.torch_support import DTYPES
from s2mlp_cli.models.build import build_model
from s2mlp_cli.models.s2mlp import Block
from s2mlp_cli.records.profile import Level, Mode
from s2mlp_cli.shifts import registry
from s2mlp_cli.shifts.types import ShiftFunction
from s2mlp_cli.specs import ModelSpec, S2MLPSpec

# Of weights and inputs: every implementation of a case computes with the same numbers.
_SEED = 0

# Images that differ; a larger batch repeats them, since a CPU draws a thousand in seconds. A prime,
# so that no power of 2 by which an index might be off leads from an image to its like.
_DRAWN = 251


@dataclass(frozen=True)
class Case:
    """One thing to measure with every implementation: level, shape, precision and mode.

    ``stage`` is None at the level of the model. The ``op`` is the shift of one stage's map by the
    first of the mixer's splits that moves anything.
    """

    spec: ModelSpec
    level: Level
    stage: int | None
    device: str
    dtype: str
    batch_size: int
    mode: Mode = "inference"
    compiled: bool = False
    cuda_graph: bool = False
    channels_last: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """The input: B,H,W,C of the stage, or B,channels,H,W of the images."""
        if self.stage is None:
            return (self.batch_size, self.spec.in_channels, *self.spec.input_size)
        assert isinstance(self.spec, S2MLPSpec)
        return (self.batch_size, *self.spec.maps()[self.stage], self.spec.stages[self.stage].dim)

    @property
    def directions(self) -> Directions:
        """The directions of the ``op``: of the first split that is not empty."""
        assert isinstance(self.spec, S2MLPSpec)
        return next((split for split in self.spec.mixer.splits if split), ())

    def context(self) -> AbstractContextManager[object]:
        """Return inference mode, or nothing where gradients are needed."""
        return torch.inference_mode() if self.mode == "inference" else nullcontext()


@dataclass(frozen=True)
class Workload:
    """A case with one implementation, ready to run.

    Attributes:
        run: one forward pass; in training also backward, and for a model the optimiser's step.
        function: the forward pass alone, for checks.
        example: its input.
        module: the block or the model; None for the shift alone.
    """

    run: Callable[[], object]
    function: Callable[[Tensor], Tensor]
    example: Tensor
    module: nn.Module | None

    @property
    def weights_bytes(self) -> int:
        """Bytes of parameters and buffers."""
        if self.module is None:
            return 0
        tensors = [*self.module.parameters(), *self.module.buffers()]
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def draw_example(case: Case) -> Tensor:
    """Return the input of ``case``, which all its implementations can share."""
    device = torch.device(case.device)
    drawn = (min(case.batch_size, _DRAWN), *case.shape[1:])
    few = torch.randn(drawn, generator=torch.Generator().manual_seed(_SEED))
    few = few.to(device, DTYPES[case.dtype])
    times = -(-case.batch_size // len(few))
    example = few.repeat(times, *[1] * (few.ndim - 1))[: case.batch_size]
    if case.channels_last and case.level == "model":
        example = example.to(memory_format=torch.channels_last)
    return example


def build_workload(case: Case, shift: str | None, example: Tensor | None = None) -> Workload:
    """Build ``case`` with the implementation ``shift`` (None: the model has none).

    Args:
        case: what.
        shift: the implementation.
        example: what :func:`draw_example` returned; None draws it anew.
    """
    device = torch.device(case.device)
    example = draw_example(case) if example is None else example
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(_SEED)
        module = build_module(case, shift, device)
        module = module.to(device, DTYPES[case.dtype]) if isinstance(module, nn.Module) else module
    if case.channels_last and case.level == "model":
        assert isinstance(module, nn.Module)
        module = module.to(memory_format=torch.channels_last)
    function = torch.compile(module) if case.compiled else module
    return Workload(
        run=_step(case, function, module, example),
        function=function,
        example=example,
        module=module if isinstance(module, nn.Module) else None,
    )


def build_module(
    case: Case, shift: str | None, device: torch.device
) -> nn.Module | Callable[[Tensor], Tensor]:
    """Return the model, its block, or the bare function of the shift, as ``case`` says."""
    name = shift or registry.DEFAULT
    if case.level == "op":
        implementation = registry.get(name)
        assert isinstance(implementation, ShiftFunction)
        return lambda x: implementation.run(x, case.directions)
    if case.level == "block":
        assert isinstance(case.spec, S2MLPSpec)
        assert case.stage is not None
        with device:
            return Block(case.spec, case.spec.stages[case.stage], registry.get(name)).eval()
    return build_model(case.spec, name, device)


def _step(
    case: Case,
    function: Callable[[Tensor], Tensor],
    module: nn.Module | Callable[[Tensor], Tensor],
    example: Tensor,
) -> Callable[[], object]:
    """Return the call that is timed."""
    if case.mode == "inference":
        return lambda: function(example)
    if case.level == "model":
        assert isinstance(module, nn.Module)
        return _training_step(function, module.train(), example, case.spec.classes)
    return _backward_step(function, module, example)


def _backward_step(
    function: Callable[[Tensor], Tensor],
    module: nn.Module | Callable[[Tensor], Tensor],
    example: Tensor,
) -> Callable[[], object]:
    """Forward and backward, with a fixed gradient of the output."""
    leaf = example.clone().requires_grad_()
    weights = list(module.parameters()) if isinstance(module, nn.Module) else []
    gradient = torch.ones_like(example)
    return lambda: torch.autograd.grad(function(leaf), [leaf, *weights], gradient)


def _training_step(
    function: Callable[[Tensor], Tensor], model: nn.Module, images: Tensor, classes: int
) -> Callable[[], object]:
    """Forward, cross-entropy, backward and a step of AdamW, the papers' optimiser."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6)
    labels = torch.arange(len(images), device=images.device) % classes

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(function(images).float(), labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step
