"""Shifts as people write them, good and bad: the verdict on each is true, and says where."""

import pytest

from s2mlp_cli.shifts.foreign import load_foreign
from s2mlp_cli.shifts.probe import probe

# Four groups that move by one with a copied border; REST are the channels of the last one.
FOUR = """
    def f(x):
        y = START
        g = x.shape[-1] // 4
        y[..., :g] = torch.cat([x[:, :1, :, :g], x[:, :-1, :, :g]], 1)
        y[..., g:2*g] = torch.cat([x[:, 1:, :, g:2*g], x[:, -1:, :, g:2*g]], 1)
        y[..., 2*g:3*g] = torch.cat([x[:, :, :1, 2*g:3*g], x[:, :, :-1, 2*g:3*g]], 2)
        y[..., REST] = torch.cat([x[:, :, 1:, REST], x[:, :, -1:, REST]], 2)
        return y
"""
AXIAL = """
    def f(x, parts=5):
        B, C, H, W = x.shape
        pad = parts // 2
        x = F.pad(x, (pad,) * 4)
        moved = [part.roll(step, 2) for part, step in zip(x.chunk(parts, 1), range(-pad, pad + 1))]
        return torch.cat(moved, 1).narrow(2, pad, H).narrow(3, pad, W)
"""
PARTS = """
    def f(x, n_div=12):
        g = x.shape[1] // n_div
        y = torch.zeros_like(x)
        y[:, :g, :, :-1] = x[:, :g, :, 1:]
        y[:, g:2*g, :, 1:] = x[:, g:2*g, :, :-1]
        y[:, 2*g:] = x[:, 2*g:]
        return y
"""
TOKENS = """
    def f(x, gamma=1/2, patch_resolution=None):
        B, N, C = x.shape
        x = x.transpose(1, 2).reshape(B, C, *patch_resolution)
        y = torch.zeros_like(x)
        g = int(C * gamma)
        y[:, :g, :, 1:] = x[:, :g, :, :-1]
        y[:, g:, :-1] = x[:, g:, 1:]
        return y.flatten(2).transpose(1, 2)
"""
TOKENS_OF = """
    def f(x, H, W):
        B, N, C = x.shape
        y = x.view(B, H, W, C)
        z = y.clone()
        z[:, 1:] = y[:, :-1]
        return z.view(B, N, C)
"""
SWAPPED = """
    def f(x, H, W):
        B, N, C = x.shape
        y = x.view(B, W, H, C)
        return torch.cat([y[:, :1], y[:, :-1]], 1).view(B, N, C)
"""
FIRST_ONLY = """
    def f(x, step=2):
        y = x.clone()
        g = x.shape[-1] // 2
        y[:, step:, :, :g] = x[:, :-step, :, :g]
        y[:, :, 1:, g:] = x[:, :, :-1, g:]
        return y
"""
KERNEL = """
    class f(torch.nn.Module):
        def __init__(self, dim):
            super().__init__()
            kernel = torch.zeros(dim, 1, 3, 3)
            kernel[: dim // 2, 0, 0, 1] = kernel[dim // 2 :, 0, 1, 2] = 1
            self.register_buffer("kernel", kernel)

        def forward(self, x):
            return F.conv2d(x, self.kernel, padding=1, groups=len(self.kernel))
"""
EVERY_FOURTH = """
    def f(x):
        y = x.clone()
        y[:, 1:, :, 0::4], y[:, :-1, :, 1::4] = x[:, :-1, :, 0::4], x[:, 1:, :, 1::4]
        y[:, :, 1:, 2::4], y[:, :, :-1, 3::4] = x[:, :, :-1, 2::4], x[:, :, 1:, 3::4]
        return y
"""
SAMPLED = """
    def f(x):
        B, C, H, W = x.shape
        rows, columns = torch.meshgrid(torch.arange(H), torch.arange(W), indexing="ij")
        grid = [2 * (columns - 1) / max(W - 1, 1) - 1, 2 * rows / max(H - 1, 1) - 1]
        grid = torch.stack(grid, -1).float().expand(B, -1, -1, -1)
        moved = F.grid_sample(x.float(), grid, padding_mode="border", align_corners=True)
        return moved.to(x.dtype)
"""
IGNORED = "def f(x, directions):\n    return x.roll(1, 1)"
OPPOSITE = """
    def f(x, directions):
        from s2mlp_cli import shift
        other = {"up": "down", "down": "up", "left": "right", "right": "left"}
        return shift(x, tuple(other[each] for each in directions))
"""
LOST = """
    def f(x):
        g = x.shape[-1] // 4
        y = torch.zeros_like(x)
        y[:, 1:, :, : 2 * g] = x[:, :-1, :, : 2 * g]
        y[:, :, 1:, 2 * g : 3 * g] = x[:, :, :-1, 2 * g : 3 * g]
        return y
"""
LOOP = """
    def f(x):
        y, g = x.clone(), x.shape[-1] // 2
        for row in range(1, x.shape[1]):
            y[:, row, :, :g] = y[:, row - 1, :, :g]
        y[:, :, 1:, g:] = x[:, :, :-1, g:]
        return y
"""
NO_GRADIENT = """
    @torch._dynamo.disable
    def f(x):
        y, g = x.clone(), x.shape[-1] // 2
        y[:, 1:, :, :g] = y[:, :-1, :, :g]
        y[:, :, 1:, g:] = x[:, :, :-1, g:]
        return y
"""
BIG_ONLY = """
    def f(x):
        y, g = x.clone(), x.shape[-1] // 2
        read = y if x.shape[1] > 20 else x
        y[:, 1:, :, :g] = read[:, :-1, :, :g]
        y[:, :-1, :, g:] = x[:, 1:, :, g:]
        return y
"""
DOWN = "torch.cat([x[:, :1], x[:, :-1]], 1)"
FIXED = """
    def f(x, SIZE):
        y = x.view(x.shape[0], h, w, x.shape[-1])
        return torch.cat([y[:, :1], y[:, :-1]], 1).flatten(1, 2)
"""
SHIFTS = {
    "rolled chunks": (
        "def f(x):\n    a, b = x.chunk(2, 1)\n    return torch.cat([a.roll(1, 2), b.roll(-1, 3)], 1)",
        "a shift that wraps around at the border: down, left on B,C,H,W",
        None,
    ),
    "all channels alike": (
        "def f(x):\n    y = x.clone()\n    y[:, :, 1:] = x[:, :, :-1]\n    return y",
        "a true shift: right on B,H,W,C, or a true shift: down on B,C,H,W",
        None,
    ),
    "a height and a width": (TOKENS_OF, "a true shift: down on B,N,C", None),
    "the identity": (
        "def f(x):\n    return x.clone()", "not a shift: the identity, nothing moves", None,
    ),
    "random": (
        "def f(x):\n    return x[:, torch.randperm(x.shape[1])]",
        "not a shift: two calls on the same map give different values",
        None,
    ),
    "other images": (
        "def f(x):\n    return x.flip(0)",
        "not a shift: at 11x13 on B,H,W,C, of its values 100.0% come from other images",
        None,
    ),
    "a ReLU": (
        "def f(x):\n    return 2 * x.relu()",
        "not a shift: at 11x13 on B,H,W,C, of its values 50.0% are zero and 50.0% are not values "
        "of its input",
        None,
    ),
    "an error": (
        "def f(x):\n    raise ValueError('no maps today')",
        "cannot be called on a map: ValueError: no maps today",
        None,
    ),
    "zeroed remainder": (
        FOUR.replace("START", "torch.zeros_like(x)").replace("REST", "3*g:4*g"),
        "a true shift: down, up, right, left on B,H,W,C",
        "with 46 channels, 2 of them become zero",
    ),
    "kept remainder": (
        FOUR.replace("START", "x.clone()").replace("REST", "3*g:4*g"),
        "a true shift: down, up, right, left on B,H,W,C",
        "with 46 channels, 2 of them stay where they are",
    ),
    "remainder in the last group": (
        FOUR.replace("START", "x.clone()").replace("REST", "3*g:"),
        "a true shift: down, up, right, left on B,H,W,C",
        "with 46 channels, its groups have 11, 11, 11 and 13",
    ),
    "axial chunks": (
        AXIAL,
        "a shift with zeros at the border: up by 2 (channels 0-9 of 48), up (channels 10-19 of 48)",
        None,
    ),
    "some parts": (
        PARTS,
        "a shift with zeros at the border: left (channels 0-3 of 48), right (channels 4-7 of 48); "
        "the other channels stay on B,C,H,W",
        None,
    ),
    "tokens and a resolution": (
        TOKENS, "a shift with zeros at the border: right, up on B,N,C", None,
    ),
    "swapped sizes": (
        SWAPPED,
        "not a shift: at 12x12 a true shift: down, but it differs on maps that are not square (at "
        "11x13: of its values ",
        None,
    ),
    "a step for the first group": (
        FIRST_ONLY,
        "a shift whose border keeps its own values: down by 2, right on B,H,W,C",
        None,
    ),
    "every fourth channel": (
        EVERY_FOURTH, "a shift: down, up, right, left, 12 times over on B,H,W,C", None,
    ),
    "interpolated": (
        SAMPLED, "a true shift: right on B,C,H,W", "its values are off by up to ",
    ),
    "directions ignored": (IGNORED, "a shift that wraps around", "ignores its directions"),
    "directions the other way": (
        OPPOSITE,
        "not a shift: asked for down, up, right, left, it gives a true shift: up, down, left, right",
        None,
    ),
    "numpy": (
        "import numpy\ndef f(x):\n    return torch.from_numpy(numpy.roll(x.detach().numpy(), 1, 1))",
        "a shift that wraps around at the border: down on B,H,W,C",
        "has no gradient",
    ),
    "sizes that divide by 7": (
        "def f(x):\n    x.unflatten(1, (-1, 7)).unflatten(3, (-1, 7))\n    return x.roll(1, 1)",
        "a shift that wraps around at the border: down on B,H,W,C",
        "fails on maps of 11x13, 12x12, 10x14, 5x7, 6x6, 1x1, 1x7, 7x1 and 65x9: ",
    ),
    "a step that depends on the size": (
        "def f(x):\n    return x.roll(max(1, x.shape[1] // 8), 1)",
        "not a shift: at 11x13 a shift that wraps around at the border: down, but it differs on "
        "maps of 56x56 and 65x9 (at 56x56: a shift that wraps around at the border: down by 7)",
        None,
    ),
    "a step that depends on the batch": (
        "def f(x):\n    return x.roll(len(x), 1)",
        "not a shift: an image's result depends on the images beside it",
        None,
    ),
    "a step that depends on the dtype": (
        "def f(x):\n    return x.roll(x.element_size() // 4, 1)",
        "not a shift: gives other values in float64, bfloat16 and float16",
        None,
    ),
    "half precision inside": (
        "def f(x):\n    return x.half().roll(1, 1).to(x.dtype)",
        "not a shift: it rounds its values, as half precision does",
        None,
    ),
    "another sign": (
        "def f(x):\n    return -x.roll(1, 1)",
        "not a shift: at 11x13 on B,H,W,C, of its values 100.0% are not values of its input",
        None,
    ),
    "a mean": (
        "def f(x):\n    return (x + x.roll(2, 1)) / 2",
        "not a shift: at 11x13 on ",
        None,
    ),
    "right values and a spoilt input": (
        "def f(x):\n    y = x.roll(1, 1)\n    x.zero_()\n    return y",
        "a shift that wraps around at the border: down on B,H,W,C",
        "changes its input, so that x + f(x) is wrong",
    ),
    "the wrong gradient": (
        """
        class Turn(torch.autograd.Function):
            @staticmethod
            def forward(context, x):
                return x.roll(1, 1)
            @staticmethod
            def backward(context, gradient):
                return gradient
        f = Turn.apply
        """,
        "a shift that wraps around at the border: down on B,H,W,C",
        "its gradient is not that of what it computes",
    ),
    "rounded": (
        f"def f(x):\n    return {DOWN}.round()",
        "not a shift: moves large whole numbers as a true shift: down, but changes 100.0% of random",
        None,
    ),
    "no small values": (
        f"def f(x):\n    return F.hardshrink({DOWN})",
        "not a shift: moves large whole numbers as a true shift: down, but changes 38.5% of random",
        None,
    ),
    "a little noise": (
        "def f(x):\n    return x.roll(1, 1) + 0.001 * torch.randn_like(x)",
        "not a shift: two calls on the same map give different values",
        None,
    ),
    "clamped": (
        f"def f(x):\n    return {DOWN}.clamp(-6, 6)",
        "not a shift: at 11x13 on B,H,W,C, of its values 100.0% are not values of its input",
        None,
    ),
    "lost channels": (
        LOST,
        "not a shift: at 11x13 on B,H,W,C, of its values 75.0% move as in a shift and 25.0% are "
        "zero: down (channels 0-23 of 48), right (channels 24-35 of 48), zero (channels 36-47 of "
        "48), the values of channels 36-47 are lost",
        None,
    ),
    "one value wrong": (
        f"def f(x):\n    y = {DOWN}.clone()\n    y[:, -1, -1, -1] = 0\n    return y",
        "not a shift: at 11x13 on B,H,W,C, of its values >99.9% move as in a shift and <0.1% are "
        "zero: down (channels 0-46 of 48), down but for 0.7% of its values (channel 47 of 48)",
        None,
    ),
    "another border": (
        f"def f(x):\n    y = {DOWN}.clone()\n    y[:, 0] *= 0.5\n    return y",
        "not a shift: at 11x13 on B,H,W,C, of its values 90.9% move as in a shift and 9.1% are not "
        "values of its input: down but for 9.1% of its values (channels 0-47 of 48)",
        None,
    ),
    "a loop that reads what it wrote": (
        LOOP,
        "not a shift: group 1 smears (85.7% of its values wrong at 14x14 on B,H,W,C), because it "
        "reads what it has just written; clone first, and it is a true shift: down, right",
        None,
    ),
    "the first row everywhere": (
        "def f(x):\n    return x[:, :1].expand_as(x)",
        "not a shift: at 11x13 on B,C,H,W, of its values 97.9% come from other channels",
        None,
    ),
    "a smear that is not compiled": (
        NO_GRADIENT,
        "not a shift: group 1 smears (85.7% of its values wrong at 14x14 on B,H,W,C), because it "
        "reads what it has just written; clone first, and it is a true shift: down, right",
        "its gradient is that of the true shift",
    ),
    "a smear on large maps": (
        BIG_ONLY, "not a shift: group 1 smears (96.4% of its values wrong at 56x56 with 2 images on ", None,
    ),
    "a smear that fails on one image": (
        "def f(x):\n    x[:, 1:] = x[:, :-1]\n    return x",
        "not a shift: group 1 smears (81.8% of its values wrong at 11x13 with 2 images on B,H,W,C)",
        "fails on one image: ",
    ),
    "a step by many rows": (
        "def f(x):\n    y = torch.zeros_like(x)\n    y[:, 12:] = x[:, :-12]\n    return y",
        "a shift with zeros at the border: down by 12 on B,H,W,C",
        None,
    ),
    "a step by half of a small map": (
        "def f(x):\n    return x.roll(6, 1)",
        "a shift that wraps around at the border: down by 6 on B,H,W,C",
        None,
    ),
    "a height and a width with defaults": (
        FIXED.replace("SIZE", "h=14, w=14"), "a true shift: down on B,N,C", None,
    ),
    "a resolution with a default": (
        FIXED.replace("SIZE", "resolution=(14, 14)").replace("h, w", "*resolution"),
        "a true shift: down on B,N,C",
        None,
    ),
    "a fixed size": (
        f"def f(x):\n    assert x.shape[1:3] == (14, 14)\n    return {DOWN}",
        "a true shift: down on B,H,W,C",
        "fails on maps of 11x13, ",
    ),
    "a fixed width": (
        f"def f(x):\n    assert x.shape[-1] == 100\n    return {DOWN}",
        "a true shift: down on B,H,W,C",
        "fails with 46 channels: ",
    ),
    "directions of its own": (
        "def f(x, directions=((1, 0), (0, 1))):\n    parts = x.chunk(len(directions), -1)\n"
        "    return torch.cat([p.roll(d, (1, 2)) for p, d in zip(parts, directions)], -1)",
        "a shift that wraps around at the border: down, right on B,H,W,C",
        None,
    ),
    "directions followed, diagonals ignored": (
        "def f(x, directions):\n    from s2mlp_cli import shift\n"
        "    return shift(x, directions) if '-' not in directions[0] else x",
        "a true shift: down, up, right, left on B,H,W,C",
        "asked for down-right, up-left, it gives nothing moves",
    ),
    "another dtype": (
        "def f(x):\n    return x.double().roll(1, 1)",
        "a shift that wraps around at the border: down on B,H,W,C",
        "returns float64 for float32, bfloat16 and float16",
    ),
    "another step at another width": (
        "def f(x):\n    return x.roll(max(1, x.shape[-1] // 48), 1)",
        "not a shift: with 128 channels, a shift that wraps around at the border: down by 2",
        None,
    ),
    "sys.exit": (
        "import sys\ndef f(x):\n    sys.exit(0)",
        "cannot be called on a map: it ends the program (sys.exit)",
        None,
    ),
    "a constant added": (
        "def f(x):\n    return x.roll(1, 1) + 0.2",
        "not a shift: moves large whole numbers as a shift that wraps around at the border: down",
        None,
    ),
    "a map and a number": (
        "def f(x):\n    return x.roll(1, 1), x.mean()",
        "cannot be called on a map: it returns a tuple for a map of [2, 11, 13, 48]",
        None,
    ),
    "no return": (
        "def f(x):\n    x.roll(1, 1)",
        "cannot be called on a map: it returns a NoneType for a map of [2, 11, 13, 48]",
        None,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("source", "verdict", "finding"), SHIFTS.values(), ids=SHIFTS)
def test_every_verdict_is_true_and_says_where(written, source, verdict, finding):
    found = probe(load_foreign(written(source)))
    assert found.verdict.startswith(verdict)
    assert found.is_shift == verdict.startswith("a ")
    assert finding is None or any(each.startswith(finding) for each in found.findings)


def test_a_width_that_is_fixed_by_its_arguments_is_tried(written):
    found = probe(load_foreign(written(KERNEL), {"dim": 20}))
    assert found.verdict == "a shift with zeros at the border: down, left on B,C,H,W"
    assert any(each.startswith("fails in float64: ") for each in found.findings)
