"""What somebody asked to have profiled, and the cases that follow from it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from s2mlp_cli.measure.profiling.workloads import Case
from s2mlp_cli.records.profile import Level, Mode, ProfileResult
from s2mlp_cli.specs import ModelSpec, S2MLPSpec

LEVELS: tuple[Level, ...] = ("op", "block", "model")
# Measured in every round beside what was asked for.
REFERENCES = ("slice", "none")

# One image is what a CPU answers; a GPU is not full with less than some dozens.
DEFAULT_BATCH = {"cpu": 1, "cuda": 64}


@dataclass(frozen=True)
class Request:
    """What to profile.

    Attributes:
        specs: the models.
        shifts: implementations beside the references, by name.
        batch_sizes: images at a time; None stands for the largest that fits.
        threads: of the CPU.
    """

    specs: tuple[ModelSpec, ...]
    shifts: tuple[str, ...]
    levels: tuple[Level, ...] = LEVELS
    dtypes: tuple[str, ...] = ("fp32",)
    batch_sizes: tuple[int | None, ...] = (1,)
    mode: Mode = "inference"
    compiled: bool = False
    cuda_graph: bool = False
    channels_last: bool = False
    threads: int = 1

    def contenders(self, spec: ModelSpec) -> tuple[str | None, ...]:
        """Return the implementations for ``spec``, references first; (None,) if it has no shift."""
        if not isinstance(spec, S2MLPSpec):
            return (None,)
        return tuple(dict.fromkeys((*REFERENCES, *self.shifts)))


def cases(request: Request, device: str, largest_batch: Callable[[Case], int]) -> Iterator[Case]:
    """Yield every case of ``request``, models outermost.

    Args:
        request: what was asked for.
        device: where it runs.
        largest_batch: finds the batch for a None among the batch sizes, given the whole model.
    """
    for spec in request.specs:
        for dtype in request.dtypes:
            for batch_size in request.batch_sizes:
                model = Case(
                    spec=spec,
                    level="model",
                    stage=None,
                    device=device,
                    dtype=dtype,
                    batch_size=batch_size or 1,
                    mode=request.mode,
                    compiled=request.compiled,
                    cuda_graph=request.cuda_graph,
                    channels_last=request.channels_last,
                )
                if batch_size is None:
                    model = replace(model, batch_size=largest_batch(model))
                yield from _levels(model, request.levels)


def _levels(model: Case, levels: tuple[Level, ...]) -> Iterator[Case]:
    """Yield the asked levels of one model: each stage's shift, each stage's block, the whole.

    A stage's map is B,H,W,C already: only the images of the whole model can lie channels last.
    """
    for level in levels:
        if level == "model":
            yield model
        elif isinstance(model.spec, S2MLPSpec):
            for stage in range(len(model.spec.stages)):
                yield replace(model, level=level, stage=stage, channels_last=False)


def blank_row(case: Case, shift: str | None, threads: int) -> ProfileResult:
    """Return the row of ``case`` with nothing measured yet."""
    return ProfileResult(
        model=case.spec.name,
        shift=shift,
        level=case.level,
        stage=case.stage,
        device=case.device,
        dtype=case.dtype,
        batch_size=case.batch_size,
        input_size=case.spec.input_size,
        shape=case.shape,
        mode=case.mode,
        compiled=case.compiled,
        cuda_graph=case.cuda_graph,
        channels_last=case.channels_last,
        threads=threads,
    )
