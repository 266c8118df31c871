"""The Vision Permutator against loops over its definition."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from s2mlp_cli.models import build_model
from s2mlp_cli.models.vip import PermuteMixer, join_rows, split_rows
from s2mlp_cli.specs import load_spec

TINY = (
    "input_size=16",
    "classes=5",
    "stages=[{patch: 2, dim: 16, depth: 1, expansion: 2, segments: 8}, "
    "{patch: 2, dim: 32, depth: 2, expansion: 2, segments: 4}]",
)


def columns_by_loop(x, segments):
    """Section 3.1: cut the channels into N segments; stack one segment's rows into a vector."""
    batch, height, width, channels = x.shape
    step = channels // segments
    out = torch.empty(batch, segments, width, height * step)
    for n in range(segments):
        for h in range(height):
            for s in range(step):
                out[:, n, :, h * step + s] = x[:, h, :, n * step + s]
    return out


@given(
    st.integers(1, 2), st.integers(1, 5), st.integers(1, 5), st.integers(1, 4), st.integers(1, 3)
)
def test_the_permutation_is_that_of_the_loop_and_has_an_inverse(batch, height, width, n, step):
    x = torch.arange(float(batch * height * width * n * step)).reshape(batch, height, width, -1)
    joined = join_rows(x, n)
    assert torch.equal(joined, columns_by_loop(x, n))
    assert torch.equal(split_rows(joined, height), x)


def test_the_mixer_is_three_branches_and_their_attention():
    torch.manual_seed(0)
    mixer = PermuteMixer(12, segments=4, reduction=3)
    x = torch.randn(2, 4, 4, 12)
    columns = columns_by_loop(x, 4) @ mixer.height.weight.T
    rows = columns_by_loop(x.transpose(1, 2), 4) @ mixer.width.weight.T
    height, width = torch.empty(2, 4, 4, 12), torch.empty(2, 4, 4, 12)
    for n in range(4):
        for position in range(4):
            for s in range(3):
                height[:, position, :, n * 3 + s] = columns[:, n, :, position * 3 + s]
                width[:, :, position, n * 3 + s] = rows[:, n, :, position * 3 + s]
    maps = [height, width, x @ mixer.channel.weight.T]
    mean = sum(part.mean(dim=(1, 2)) for part in maps)
    hidden = nn.functional.gelu(mixer.attention.reduce(mean))
    weights = mixer.attention.expand(hidden).reshape(2, 3, 12).softmax(dim=1)
    fused = sum(weights[:, k, None, None] * maps[k] for k in range(3))
    torch.testing.assert_close(mixer(x), mixer.project(fused))


def test_only_the_height_branch_mixes_columns():
    mixer = PermuteMixer(16, segments=4, reduction=4)
    nn.init.zeros_(mixer.width.weight)
    for layer in (mixer.attention.expand, mixer.attention.reduce):
        nn.init.zeros_(layer.weight)
    x = torch.randn(1, 4, 4, 16)
    changed = x.clone()
    changed[:, :, 2] += 1
    moved = (mixer(changed) - mixer(x)).abs().amax(dim=(0, 1, 3))
    assert (moved > 0).tolist() == [False, False, True, False]


def test_logits_and_gradients():
    model = build_model(load_spec("vip-small", TINY))
    logits = model(torch.randn(3, 3, 16, 16))
    assert logits.shape == (3, 5)
    logits.square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
