"""A mixer as small as the protocol allows, and the definition that kernels are held to."""

from itertools import product
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import nn

from s2mlp_cli.directions import OFFSETS
from s2mlp_cli.measure.verifying.cases import MEMORY_FORMATS
from s2mlp_cli.shifts import borders, torch_shifts, triton_support
from s2mlp_cli.shifts.torch_shifts import shift_oracle

FIRST = ("down", "up", "right", "left")
SECOND = ("right", "left", "down", "up")
ALL = tuple(OFFSETS)
V2 = (FIRST, SECOND, ())
SIZES = ((1, 1), (1, 7), (7, 1), (14, 14), (33, 17))
SPLITS = {
    "v2": V2,
    "unshifted": ((), ()),
    "one split": (FIRST,),
    "mixed counts": (ALL, ("left",), ("up", "down-right"), ()),
    "diagonals": (ALL, tuple(reversed(ALL))),
}


def make_mixer(channels, splits, fusion="split-attention", activation=None, **kind):
    """Random weights at a scale where the attention is neither uniform nor one-hot."""
    attention = None
    if fusion == "split-attention":
        hidden = max(channels // 4, 1)
        attention = SimpleNamespace(
            reduce=nn.Linear(channels, hidden, bias=False, **kind),
            expand=nn.Linear(hidden, len(splits) * channels, bias=False, **kind),
        )
    return SimpleNamespace(
        splits=splits,
        fusion=fusion,
        expand=nn.Linear(channels, len(splits) * channels, **kind),
        project=nn.Linear(channels, channels, **kind),
        activation=activation or nn.Identity(),
        attention=attention,
    )


def weights_of(mixer):
    layers = [mixer.expand, mixer.project]
    if mixer.attention is not None:
        layers += [mixer.attention.reduce, mixer.attention.expand]
    return [parameter for layer in layers for parameter in layer.parameters()]


def mix_by_definition(x, mixer):
    """Expand, shift by the oracle, stack, fuse, project: S2-MLPv2, section 3.2, line by line."""
    y = mixer.activation(mixer.expand(x))
    maps = torch.stack(
        [
            shift_oracle(part, directions)
            for part, directions in zip(y.chunk(len(mixer.splits), -1), mixer.splits, strict=True)
        ],
        dim=1,
    )
    if mixer.attention is None:
        return mixer.project(maps.mean(1))
    total = maps.sum((1, 2, 3))
    scores = mixer.attention.expand(F.gelu(mixer.attention.reduce(total)))
    weights = scores.reshape(len(x), len(mixer.splits), -1).softmax(1)
    return mixer.project((weights[:, :, None, None] * maps).sum(1))


def relative_error(value, reference):
    value, reference = value.double(), reference.double()
    return float((value - reference).norm() / reference.norm())


def layouts(x):
    """The same values in memory of other strides."""
    return {name: laid_out(x) for name, laid_out in MEMORY_FORMATS.items()}


def forget_tables():
    """Empty what implementations keep between calls."""
    borders._coefficients.cache_clear()
    torch_shifts._source_positions.cache_clear()
    triton_support.offset_table.cache_clear()


CASES = list(product(SIZES, SPLITS))
