"""The check that an exported file computes what its model does: that of ``export`` and ``profile``.

A file is compared with the model in eager float32 by the papers' own code, on random images; the
error counts beside the largest logit, and beside what tells images apart.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from s2mlp_cli.errors import ExportError
from s2mlp_cli.measure.source import ExportedModel, GivenModel, PythonModel, SpecModel
from s2mlp_cli.models.build import has_shifts, set_shift
from s2mlp_cli.records.base import BASELINE
from s2mlp_cli.records.export import Proof
from s2mlp_cli.runtimes.sessions import Session

# Relative error that a file may have, at least. Half precision rounds a deep model by more than
# that; it is allowed as much again as eager PyTorch is off in the same dtype, three times.
ALLOWED = {"fp32": 1e-4, "fp16": 2e-2, "bf16": 5e-2}
_ROUNDINGS = 3
# ... but never as much as a model that computes something else would show.
_MOST_ALLOWED = 0.5

# In float32 an error has to be small beside what tells images apart, too: a random model's logits
# are nearly the same for all of them.
_OF_SPREAD = 1e-2
# Logits that vary by less than this fraction of their size prove nothing.
_LEAST_SPREAD = 1e-5
# Images that show how logits vary, where one alone is compared.
_SEVERAL = 8

HALF = {"fp16": torch.float16, "bf16": torch.bfloat16}


class Reference:
    """A model in eager float32, which its exported files are compared with.

    Attributes:
        module: by the papers' own code. Weights that are random are the same each time.
        image: (channels, height, width).
        trained: whether the order of the classes says something.
        has_shifts: whether an implementation of the shift can be chosen.
        notes: what was done to random weights.
    """

    def __init__(self, model: GivenModel) -> None:
        if isinstance(model, ExportedModel):
            raise ExportError(
                f"{model.source.path} is exported already; give the checkpoint or the spec"
            )
        random = isinstance(model, SpecModel) or (
            isinstance(model, PythonModel) and model.weights is None
        )
        self._model = model
        self.image = (model.in_channels, *model.input_size)
        self.trained = not random
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.module = model.build()
        self.has_shifts = has_shifts(self.module)
        if self.has_shifts:
            set_shift(self.module, BASELINE)
        self.notes = _draw_zeros(self.module) if random else ()

    def copy(self, shift: str | None) -> nn.Module:
        """Return the model once more, by another implementation of the shift."""
        module = self._model.build(shift)
        module.load_state_dict(self.module.state_dict())
        return module

    def logits(self, images: Tensor) -> Tensor:
        """Return B,classes."""
        with torch.inference_mode(), self._model.running():
            logits: Tensor = self.module(images)
        return logits

    def proof(
        self, session: Session, batch_size: int, sample: Tensor | None = None
    ) -> tuple[Proof, str | None]:
        """Run a file on ``batch_size`` random images, or on all of ``sample``, so many at a time.

        Returns:
            How far it is off, and what that says against the file in words, if it does.
        """
        images = random_images(batch_size, self.image, batch_size) if sample is None else sample
        whole = [batch for batch in torch.split(images, batch_size) if len(batch) == batch_size]
        expected = torch.cat([self.logits(batch) for batch in whole])
        found = torch.cat([torch.from_numpy(session.run(batch.numpy())) for batch in whole])
        if found.shape != expected.shape:
            raise ExportError(
                f"the exported file returns {tuple(found.shape)} for {tuple(images.shape)}, not "
                f"{tuple(expected.shape)}; choose another --shift"
            )
        varied = expected
        if len(varied) == 1:
            varied = self.logits(random_images(_SEVERAL, self.image, _SEVERAL))
        error, largest = float((found - expected).abs().max()), float(expected.abs().max())
        proof = Proof(
            runtime=session.runtime,
            images="random" if sample is None else "sample",
            batch_size=batch_size,
            count=len(expected),
            largest_error=error,
            relative_error=error / largest if largest else math.inf,
            spread=float(varied.std(0).median()),
            same_top1=int((found.argmax(1) == expected.argmax(1)).sum()) if self.trained else None,
        )
        return proof, self._fault(proof, session.precision, largest)

    def _fault(self, proof: Proof, precision: str, largest: float) -> str | None:
        if not math.isfinite(proof.largest_error):
            return "it returns logits that are not finite numbers"
        if proof.spread <= _LEAST_SPREAD * largest:
            return (
                "the model returns nearly the same logits for every image, so that agreement "
                "proves nothing (are its weights those of a trained model?)"
            )
        allowed = self.allowed(precision)
        lost = precision == "fp32" and proof.largest_error > _OF_SPREAD * proof.spread
        if allowed is None or (proof.relative_error <= allowed and not lost):
            return None
        return (
            f"it is off eager float32 by {proof.largest_error:.2g} ({proof.relative_error:.2g} of "
            f"the largest logit; {allowed:.0e} is allowed) on {proof.count} {proof.images} images"
        )

    def allowed(self, precision: str) -> float | None:
        """Return the relative error that ``precision`` explains; None if it is only reported."""
        least = ALLOWED.get(precision)
        if least is None or precision not in HALF:
            return least
        own = self._rounding(HALF[precision])
        return min(max(least, _ROUNDINGS * own), _MOST_ALLOWED)

    @cache  # noqa: B019  (a reference lives as long as its command)
    def _rounding(self, dtype: torch.dtype) -> float:
        """Return how far eager PyTorch is off in ``dtype``, relative to the largest logit."""
        images = random_images(2, self.image, 0)
        exact = self.logits(images)
        with torch.inference_mode():
            rounded = copy.deepcopy(self.module).to(dtype)(images.to(dtype)).float()
        return float((rounded - exact).abs().max() / exact.abs().max())


def _draw_zeros(module: nn.Module) -> tuple[str, ...]:
    """Fill the tensors that start as zeros: a zero head maps everything to nothing."""
    generator = torch.Generator().manual_seed(0)
    drawn = []
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if not parameter.any():
                parameter.copy_(0.02 * torch.randn(parameter.shape, generator=generator))
                drawn.append(name)
    random = "the weights are random: the file is for timing and tests"
    if not drawn:
        return (random,)
    return random, f"{len(drawn)} tensors that start as zeros were drawn, such as {drawn[0]}"


def random_images(count: int, image: Iterable[int], seed: int) -> Tensor:
    """Return images of B,C,H,W that differ in colour, contrast and coarse structure.

    White noise all looks alike to a network that averages over positions.
    """
    channels, height, width = image
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(count, channels, 4, 4, generator=generator)
    smooth = F.interpolate(coarse, (height, width), mode="bilinear")
    colour = torch.randn(count, channels, 1, 1, generator=generator)
    contrast = 0.5 + torch.rand(count, 1, 1, 1, generator=generator)
    noise = 0.25 * torch.randn(count, channels, height, width, generator=generator)
    return (smooth + noise) * contrast + colour
