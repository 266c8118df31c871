"""What is measured: the shift alone, one block or a whole model, as a call without arguments."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from s2mlp_cli.directions import Directions, Splits
from s2mlp_cli.errors import UnavailableError
from s2mlp_cli.measure.profiling.compiling import compiled_blocks
from s2mlp_cli.measure.source import GivenModel
from s2mlp_cli.measure.torch_support import DTYPES
from s2mlp_cli.models.build import mixers
from s2mlp_cli.models.layers import Block
from s2mlp_cli.models.s2mlp import SpatialShiftMixer
from s2mlp_cli.records.profile import TORCH, CompileMode, CompileUnit, Level, Mode
from s2mlp_cli.runtimes.sessions import Session
from s2mlp_cli.shifts import registry
from s2mlp_cli.shifts.contender import foreign
from s2mlp_cli.shifts.types import ShiftFunction
from s2mlp_cli.specs import S2MLPSpec

# Of weights and inputs: every implementation of a case computes with the same numbers.
_SEED = 0

# Images that differ; a larger batch repeats them, since a CPU draws a thousand in seconds. A prime,
# so that no power of 2 by which an index might be off leads from an image to its like.
_DRAWN = 251

# A forward pass, or a model's module, which is one.
Forward = Callable[[Tensor], Tensor]


class Candidate(NamedTuple):
    """What takes turns in the rounds of a case, by name: an implementation in a runtime.

    Attributes:
        shift: the implementation; None for a model that has no shift.
        runtime: what runs it.
        precision: of an exported file, where it is not the case's own dtype.
    """

    shift: str | None
    runtime: str = TORCH
    precision: str | None = None

    def __str__(self) -> str:
        """Say which it is: ``conv (onnxruntime, int8)``."""
        where = [self.runtime] if self.runtime != TORCH else []
        where += [self.precision] if self.precision else []
        return (self.shift or "the model") + (f" ({', '.join(where)})" if where else "")


@dataclass(frozen=True, kw_only=True, eq=False)
class Case(ABC):
    """One thing to measure with every implementation: of a model, in a precision, in a mode.

    ``stage`` is the index of its stage; None for the whole model.
    """

    level: ClassVar[Level]

    model: GivenModel
    stage: int | None = None
    device: str = "cpu"
    dtype: str = "fp32"
    batch_size: int = 1
    mode: Mode = "inference"
    compile: CompileUnit | None = None
    compile_mode: CompileMode = "default"
    cuda_graph: bool = False
    channels_last: bool = False

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Of the input: B,H,W,C of a stage, or B,channels,H,W of images."""

    @abstractmethod
    def build(self, shift: str | None, device: torch.device) -> Forward:
        """Return the module, or the bare function of the shift, that computes with ``shift``."""

    def context(self) -> AbstractContextManager[object]:
        """Return inference mode, or nothing where gradients are needed."""
        return torch.inference_mode() if self.mode == "inference" else nullcontext()

    def __str__(self) -> str:
        """Say in a few words which it is: ``v2-small op stage 0, batch 1, fp32``."""
        stage = "" if self.stage is None else f" stage {self.stage}"
        return f"{self.model.name} {self.level}{stage}, batch {self.batch_size}, {self.dtype}"


Step = Callable[[], object]


@dataclass(frozen=True, kw_only=True, eq=False)
class ModelCase(Case):
    """A whole model, from images to logits."""

    level = "model"

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.batch_size, self.model.in_channels, *self.model.input_size)

    def build(self, shift: str | None, device: torch.device) -> nn.Module:
        return self.model.build(shift, device)


@dataclass(frozen=True, kw_only=True, eq=False)
class StageCase(Case):
    """A part of one stage of an S2-MLP."""

    spec: S2MLPSpec
    stage: int = 0

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.batch_size, *self.spec.maps()[self.stage], self.spec.stages[self.stage].dim)


@dataclass(frozen=True, kw_only=True, eq=False)
class OpCase(StageCase):
    """The shift of a stage's map by the first of the mixer's splits that moves anything."""

    level = "op"

    @property
    def directions(self) -> Directions:
        """The directions of the first split that is not empty; none where all are."""
        return next((split for split in self.spec.mixer.splits if split), ())

    def build(self, shift: str | None, device: torch.device) -> Forward:
        implementation = registry.get(shift or registry.DEFAULT)
        if not isinstance(implementation, ShiftFunction):
            raise UnavailableError(f"'{shift}' replaces the whole mixer and has no shift alone")
        return lambda x: implementation.run(x, self.directions)


@dataclass(frozen=True, kw_only=True, eq=False)
class BlockCase(StageCase):
    """The first block of a stage: its mixer and its channel MLP."""

    level = "block"

    def build(self, shift: str | None, device: torch.device) -> nn.Module:
        if self.model.source.kind == "spec":  # the rest of a large model takes seconds to draw
            implementation = registry.get(shift or registry.DEFAULT)
            stage = self.spec.stages[self.stage]
            with device:
                mixer = SpatialShiftMixer(stage.dim, self.spec.mixer, implementation)
                return Block(mixer, stage, self.spec.norm).eval()
        return self.model.build(shift, device).get_submodule(f"stages.{self.stage}.blocks.0")


def parts(whole: Case, kind: type[StageCase]) -> Iterator[StageCase]:
    """Yield one part of each stage, measured as ``whole`` is; none of a model without shifts.

    A stage's map is B,H,W,C already: only the images of the whole model can be channels last.
    """
    spec = whole.model.spec
    shared = {each.name: getattr(whole, each.name) for each in fields(Case)}
    if isinstance(spec, S2MLPSpec):
        for index in range(len(spec.stages)):
            yield kind(spec=spec, **{**shared, "stage": index, "channels_last": False})


def splits_of(model: GivenModel) -> Splits:
    """Return the directions of every split of the model's mixers, each once."""
    if isinstance(model.spec, S2MLPSpec):
        return tuple(dict.fromkeys(model.spec.mixer.splits))
    built = mixers(model.build(device="meta"))
    return tuple(dict.fromkeys(split for mixer in built for split in mixer.splits))


@dataclass(frozen=True)
class Workload:
    """A case with one implementation, ready to run.

    Attributes:
        run: one forward pass; in training also backward, and for a model the optimiser's step.
        function: the forward pass alone, for checks.
        example: its input.
        module: the block or the model; None for the shift alone, and for an exported file.
        session: of the runtime that runs an exported file.
        copies: whether each call gets a copy of the input, because it changes what it gets.
    """

    run: Step
    function: Forward
    example: Tensor
    module: nn.Module | None = None
    session: Session | None = None
    copies: bool = False

    @property
    def weights_bytes(self) -> int:
        """Bytes of parameters and buffers."""
        if self.module is None:
            return 0
        tensors = [*self.module.parameters(), *self.module.buffers()]
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def draw_example(case: Case) -> Tensor:
    """Return the input of ``case``, which all its implementations can share."""
    drawn = (min(case.batch_size, _DRAWN), *case.shape[1:])
    few = torch.randn(drawn, generator=torch.Generator().manual_seed(_SEED))
    few = few.to(torch.device(case.device), DTYPES[case.dtype])
    if case.batch_size > _DRAWN:  # a slice of repeats would keep the rest of them in memory
        few = few[torch.arange(case.batch_size, device=few.device) % _DRAWN]
    return few.to(memory_format=torch.channels_last) if case.channels_last else few


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
        built = case.build(shift, device)
    module = built.to(device, DTYPES[case.dtype]) if isinstance(built, nn.Module) else None
    if module is not None and case.channels_last:
        module = module.to(memory_format=torch.channels_last)
    function = built if module is None else module
    of_user = case.model.spec is None or (case.level == "op" and foreign(shift) is not None)
    copies = of_user and _changes_input(function, example)
    if copies:
        function = _on_copies(function)
    if case.compile == "block" and case.level == "model" and module is not None:
        for block in compiled_blocks(module):
            block.compile(mode=case.compile_mode)
    elif case.compile:
        function = torch.compile(function, mode=case.compile_mode)
    step = _step(case, function, module, example)
    return Workload(step, function, example, module, copies=copies)


def _changes_input(function: Forward, example: Tensor) -> bool:
    """Tell whether code of the user writes to the input that all implementations share."""
    given = example.clone()
    with torch.no_grad():
        function(given)
    return not torch.equal(given, example)


def _on_copies(function: Forward) -> Forward:
    return lambda x: function(x.clone())


def _step(case: Case, function: Forward, module: nn.Module | None, example: Tensor) -> Step:
    """Return the call that is timed: forward; in training also backward, of a sum of ones."""
    if case.mode == "inference":
        return lambda: function(example)
    if case.level == "model" and module is not None:
        return _training_step(function, module.train(), example, capturable=case.cuda_graph)
    leaf = example.clone().requires_grad_()
    inputs = [leaf, *(module.parameters() if module else ())]
    gradient = torch.ones_like(example)
    return lambda: torch.autograd.grad(function(leaf), inputs, gradient)


def _training_step(
    function: Forward, model: nn.Module, images: Tensor, *, capturable: bool
) -> Step:
    """Forward, cross-entropy, backward and a step of AdamW, the papers' optimiser.

    A CUDA graph can hold the optimiser's step only if its counters are on the GPU: ``capturable``.
    """
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6, capturable=capturable)
    numbers = torch.arange(len(images), device=images.device)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        logits = function(images).float()
        loss = F.cross_entropy(logits, numbers % logits.shape[1])
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step


def matmul_macs(case: Case, workload: Workload) -> int:
    """Count the multiply-adds of one forward pass; 0 where nothing counts them.

    The shift alone has none, and of an exported file they are not known. A model of this project
    has as many for each image, so that one tells; other code runs as it is timed.

    Args:
        case: what.
        workload: it, with an implementation that multiplies no matrices to shift.
    """
    from s2mlp_cli.measure.counting.counters import flop_counter_macs  # fvcore, in no child

    if workload.module is None:
        return 0
    try:
        with torch.compiler.set_stance("force_eager") if case.compile else nullcontext():
            if case.model.is_own:
                one = workload.example[:1]
                return case.batch_size * flop_counter_macs(workload.module, one)
            return flop_counter_macs(workload.module, workload.example)
    except Exception:
        if case.model.is_own:
            raise
        return 0  # the counter's mode may not suit other code, whose timing was made
