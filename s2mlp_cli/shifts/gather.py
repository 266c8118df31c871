"""One index_select over the flattened map, with indices computed once per shape."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from s2mlp_cli.directions import Directions, groups
from s2mlp_cli.shifts.types import ShiftFunction


@functools.lru_cache(maxsize=64)
@torch.inference_mode(False)  # an inference tensor in the cache could not be trained with later
def _indices(
    height: int, width: int, channels: int, directions: Directions, device: torch.device
) -> Tensor:
    """Return for every output element of H,W,C the flat position that it is read from: H*W*C."""
    rows = torch.arange(height, device=device)
    columns = torch.arange(width, device=device)
    channel = torch.arange(channels, device=device)
    index = torch.empty(height, width, channels, dtype=torch.int64, device=device)
    for group, dh, dw in groups(channels, directions):
        source_rows = (rows - dh).clamp(0, height - 1)[:, None, None]
        source_columns = (columns - dw).clamp(0, width - 1)[None, :, None]
        index[..., group] = (source_rows * width + source_columns) * channels + channel[group]
    return index.reshape(-1)


def shift_gather(x: Tensor, directions: Directions) -> Tensor:
    """Select from ``x`` (B,H,W,C) by precomputed indices."""
    if not directions:
        return x.clone()
    height, width, channels = map(int, x.shape[1:])
    index = _indices(height, width, channels, directions, x.device)
    return x.flatten(1).index_select(1, index).reshape(x.shape)


IMPLEMENTATION = ShiftFunction("gather", "index_select with precomputed indices", shift_gather)
