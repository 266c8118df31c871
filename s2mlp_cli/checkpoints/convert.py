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
from s2mlp_cli.shifts import registry


def convert(checkpoint: Checkpoint, output: Path) -> float:
    """Write ``checkpoint`` under our names with its spec, read it back and compare the logits.

    Args:
        checkpoint: what :func:`load_checkpoint` returned.
        output: the file to write; it is replaced as a whole or not at all.

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
    if checkpoint.preprocessing is not None:
        metadata[PREPROCESSING_KEY] = checkpoint.preprocessing.model_dump_json()
    # Tied, sliced or channels-last tensors share storage or have gaps, which safetensors refuses.
    tensors = {
        name: tensor.detach().clone(memory_format=torch.contiguous_format)
        for name, tensor in checkpoint.state.items()
    }
    write_atomically(output, save(tensors, metadata))
    shape = (1, checkpoint.spec.in_channels, *checkpoint.spec.input_size)
    image = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    both = checkpoint, load_checkpoint(output)
    with torch.inference_mode():
        before, after = (each.build(registry.DEFAULT, "cpu")(image) for each in both)
    return float((before - after).abs().max())
