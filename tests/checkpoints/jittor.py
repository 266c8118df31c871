"""The third-party S2-MLPs that people train with, rebuilt from their description.

Names of tensors as in that layout; the shift is the true one (not in place), so that what is
tested is the translation of names and the order of the directions.
"""

import torch
from torch import nn

MOVES = {"down": (1, 0), "up": (-1, 0), "right": (0, 1), "left": (0, -1)}


def moved(x, order):
    """Move each quarter of the channels of ``x`` (B,H,W,C) by index arithmetic."""
    parts = []
    for part, name in zip(x.chunk(4, -1), order, strict=True):
        dh, dw = MOVES[name]
        rows = (torch.arange(x.shape[1]) - dh).clamp(0, x.shape[1] - 1)
        columns = (torch.arange(x.shape[2]) - dw).clamp(0, x.shape[2] - 1)
        parts.append(part[:, rows][:, :, columns])
    return torch.cat(parts, -1)


DOWN_FIRST, RIGHT_FIRST = ("down", "up", "right", "left"), ("right", "left", "down", "up")


class Move(nn.Module):
    def forward(self, x):
        return moved(x, DOWN_FIRST)


class Residual(nn.Module):
    def __init__(self, dim, fn):
        super().__init__()
        self.fn, self.norm = fn, nn.LayerNorm(dim)

    def forward(self, x):
        return x + self.fn(self.norm(x))


class Attention(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.mlp1, self.mlp2 = nn.Linear(dim, dim, bias=False), nn.Linear(dim, 3 * dim, bias=False)

    def forward(self, maps):
        total = maps.sum((1, 2, 3))
        weights = self.mlp2(nn.functional.gelu(self.mlp1(total)))
        weights = weights.reshape(len(maps), 3, -1).softmax(1)
        return torch.einsum("bkc,bkhwc->bhwc", weights, maps)


class ThreeMaps(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.mlp1, self.mlp2 = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.split_attention = Attention(dim)

    def forward(self, x):
        first, second, third = self.mlp1(x).chunk(3, -1)
        maps = torch.stack([moved(first, DOWN_FIRST), moved(second, RIGHT_FIRST), third], 1)
        return self.mlp2(self.split_attention(maps))


def mixer(dim, version):
    if version == 2:
        return ThreeMaps(dim)
    return nn.Sequential(nn.Linear(dim, dim), nn.GELU(), Move(), nn.Linear(dim, dim))


def mlp(dim, hidden):
    return nn.Sequential(nn.Linear(dim, hidden), nn.GELU(), nn.Dropout(0.0), nn.Linear(hidden, dim))


class Blocks(nn.Module):
    def __init__(self, dim, depth, expansion, version):
        super().__init__()
        self.model = nn.Sequential()
        for _ in range(depth):
            both = Residual(dim, mixer(dim, version)), Residual(dim, mlp(dim, expansion * dim))
            self.model.append(nn.Sequential(*both))

    def forward(self, x):
        return self.model(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ThirdParty(nn.Module):
    """The classifier of either version."""

    def __init__(self, version, patches, dims, depths, expansion, classes):
        super().__init__()
        self.stages = nn.Sequential()
        for above, dim, patch, depth in zip((3, *dims), dims, patches, depths, strict=False):
            patches_of = nn.Conv2d(above, dim, patch, stride=patch)
            self.stages.append(nn.Sequential(patches_of, Blocks(dim, depth, expansion, version)))
        self.mlp_head = nn.Sequential(nn.Identity(), nn.Linear(dims[-1], classes))

    def forward(self, images):
        return self.mlp_head(self.stages(images).mean((2, 3)))
