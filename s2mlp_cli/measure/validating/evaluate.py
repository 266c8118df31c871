"""From a batch of pixels to what is kept of it: top-5, loss and confidence of each image."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from s2mlp_cli.errors import UnavailableError
from s2mlp_cli.measure.torch_support import DTYPES, precision, require_dtype
from s2mlp_cli.preprocessing import Preprocessing

# How many of the highest classes are kept of each image.
TOP = 5


@dataclass(frozen=True)
class Scores:
    """What the network says about a batch, on its device.

    Attributes:
        top: (B, 5) classes of the highest logits, -1 where there are none or they are not finite.
        loss: (B,) cross-entropy in nats.
        confidence: (B,) highest probability.
    """

    top: Tensor
    loss: Tensor
    confidence: Tensor


class Evaluator:
    """Turns batches of pixels into scores.

    Args:
        network: images of B,3,H,W to logits of B,classes, on ``device``.
        config: mean and standard deviation of the normalisation.
        dtype: ``"fp32"``, ``"tf32"`` (CUDA only), ``"bf16"`` or ``"fp16"`` (autocast).

    Raises:
        UnavailableError: the device cannot compute in this dtype.
    """

    def __init__(
        self,
        network: nn.Module,
        config: Preprocessing,
        device: torch.device,
        dtype: str = "fp32",
        channels_last: bool = False,
    ) -> None:
        require_dtype(device, dtype)
        self.network, self.device, self.dtype = network, device, dtype
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self._input: Tensor | None = None
        # As timm's loader does: in units of pixels, one subtraction, one division.
        self.mean = torch.tensor([m * 255 for m in config.mean], device=device).view(1, 3, 1, 1)
        self.std = torch.tensor([s * 255 for s in config.std], device=device).view(1, 3, 1, 1)

    @torch.inference_mode()
    def __call__(self, pixels: Tensor, targets: Tensor) -> Scores:
        """Score a batch.

        Args:
            pixels: (B, height, width, 3) uint8 on the host.
            targets: (B,) int64 on the host.

        Raises:
            UnavailableError: the GPU's memory is too small for the batch.
        """
        # In a 16-bit type weights stay float32, and products run in it.
        autocast = torch.autocast(
            self.device.type, DTYPES[self.dtype], enabled=self.dtype in ("bf16", "fp16")
        )
        pixels = pixels.to(self.device, non_blocking=True).permute(0, 3, 1, 2)
        # The memory of the last batch again: on a CPU fresh pages cost almost as much as the
        # arithmetic. Scores are tensors of their own, so none of them is overwritten.
        if self._input is None or self._input.shape != pixels.shape:
            self._input = torch.empty(
                pixels.shape, device=self.device, memory_format=self.memory_format
            )
        images = self._input.copy_(pixels).sub_(self.mean).div_(self.std)
        try:
            with precision(self.dtype), autocast:
                logits = self.network(images).float()
        except torch.OutOfMemoryError as error:
            raise UnavailableError(
                f"{self.device} has too little memory for batches of {len(pixels)}; choose a "
                "smaller --batch-size"
            ) from error
        return score(logits, targets.to(self.device, non_blocking=True))


def score(logits: Tensor, targets: Tensor) -> Scores:
    """Return top-5, loss and confidence of ``logits`` (B, classes); rows with NaN have no top-5."""
    finite = logits.isfinite().all(dim=1)
    top = logits.topk(min(TOP, logits.shape[1]), dim=1).indices.int()
    top = F.pad(top, (0, TOP - top.shape[1]), value=-1)
    top = torch.where(finite[:, None], top, -1)
    confidence = logits.softmax(dim=1).amax(dim=1)
    return Scores(top, F.cross_entropy(logits, targets, reduction="none"), confidence)
