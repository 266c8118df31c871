"""Writing a checkpoint with any known names as this project's safetensors, spec included."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save

from s2mlp_cli._version import __version__
from s2mlp_cli.checkpoints.loading import (
    PREPROCESSING_KEY,
    SPEC_KEY,
    Checkpoint,
    load_checkpoint,
)
from s2mlp_cli.files import write_atomically
from s2mlp_cli.preprocessing import Preprocessing
from s2mlp_cli.shifts import registry


def convert(
    checkpoint: Checkpoint, output: Path, preprocessing: Preprocessing | None = None
) -> float:
    """Write ``checkpoint`` under our names with its spec, read it back and compare the logits.

    Args:
        checkpoint: what :func:`load_checkpoint` returned.
        output: the file to write; it is replaced as a whole or not at all.
        preprocessing: how images are to be prepared, if that is known.

    Returns:
        The largest difference of a logit before and after, on one random image.

    Raises:
        WriteError: the file cannot be written.
    """
    metadata = {
        "format": "pt",
        SPEC_KEY: checkpoint.spec.model_dump_json(),
        "s2mlp.version": __version__,
        "s2mlp.source_sha256": checkpoint.facts.sha256,
    }
    preprocessing = preprocessing or checkpoint.preprocessing
    if preprocessing is not None:
        metadata[PREPROCESSING_KEY] = preprocessing.model_dump_json()
    _save(checkpoint, output, metadata)
    return _largest_difference(checkpoint, load_checkpoint(output))


def _save(checkpoint: Checkpoint, output: Path, metadata: dict[str, str]) -> None:
    # Tied, sliced or channels-last tensors share storage or have gaps, which safetensors refuses.
    tensors = {
        name: tensor.detach().clone(memory_format=torch.contiguous_format)
        for name, tensor in checkpoint.state.items()
    }
    write_atomically(output, save(tensors, metadata))


def _largest_difference(before: Checkpoint, after: Checkpoint) -> float:
    generator = torch.Generator().manual_seed(0)
    channels: int = before.spec.in_channels
    image = torch.randn(1, channels, *before.spec.input_size, generator=generator)
    with torch.inference_mode():
        first, second = (c.build(registry.DEFAULT, "cpu")(image) for c in (before, after))
    return float((first - second).abs().max())
