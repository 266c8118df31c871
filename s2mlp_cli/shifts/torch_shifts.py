"""The stand-alone shift in PyTorch operators: the reference implementation and the others.

Every function takes a map of B,H,W,C and the directions of its equal channel groups, and returns
a tensor of the same shape, dtype and device; no directions: the map unchanged.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from s2mlp_cli.directions import Directions, Splits, destination_and_source, groups
from s2mlp_cli.errors import UnavailableError
from s2mlp_cli.shifts.types import (
    MixerKernel,
    MixerParameters,
    ShiftCallable,
    ShiftFunction,
    ShiftWork,
)


def is_recorded() -> bool:
    """Whether a compiler, exporter or tracer records the operators of this call."""
    return torch.compiler.is_compiling() or bool(torch.jit.is_tracing())  # type: ignore


def is_exporting() -> bool:
    """Whether they are recorded for another program: torch.export, ONNX or TorchScript."""
    return is_recorded() and (torch.compiler.is_exporting() or not torch.compiler.is_compiling())


def remembered(table: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Cache a function that makes a constant tensor, where a later call can use it.

    A compiler folds the constant into its graph. Tensors made under a fake mode or functionalize
    are empty outside it, and inference tensors cannot be used in training.
    """
    cached = functools.lru_cache(maxsize=64)(torch.inference_mode(False)(table))

    def look_up(*key: Any) -> Tensor:
        if is_recorded():
            return table(*key)
        probe = torch.empty(0)
        if type(probe) is not Tensor or torch._is_functional_tensor(probe):
            return table(*key)
        return cached(*key)

    look_up.cache_clear = cached.cache_clear  # type: ignore[attr-defined]
    return look_up


def shift_maps(x: Tensor, splits: Splits, shift: ShiftCallable) -> list[Tensor]:
    """Shift the K maps of ``x`` (B,H,W,K*C); one without directions is passed on uncopied."""
    maps = zip(x.chunk(len(splits), -1), splits, strict=True)
    return [
        _shift_map(part, directions, shift) if directions else part for part, directions in maps
    ]


def _shift_map(x: Tensor, directions: Directions, shift: ShiftCallable) -> Tensor:
    """Shift one map; groups that cannot be equal end where the plug-in's do, at i*C // n."""
    channels, count = int(x.shape[-1]), len(directions)
    if channels % count == 0:
        return shift(x, directions)
    sizes = [(i + 1) * channels // count - i * channels // count for i in range(count)]
    parts = zip(torch.split_with_sizes(x, sizes, -1), directions, strict=True)
    return torch.cat([shift(part, (direction,)) for part, direction in parts], -1)


def shift_oracle(x: Tensor, directions: Directions) -> Tensor:
    """Shift by index arithmetic straight from the definition (S2-MLP, section 3.2).

    ``out[b, h, w, c] = x[b, clamp(h - dh), clamp(w - dw), c]``; this is the reference
    implementation that all others are checked against.
    """
    height, width, channels = map(int, x.shape[1:])
    rows = torch.arange(height, device=x.device)
    columns = torch.arange(width, device=x.device)
    moved = []
    for group, dh, dw in groups(channels, directions):
        source_rows = (rows - dh).clamp(0, height - 1)
        source_columns = (columns - dw).clamp(0, width - 1)
        moved.append(x[..., group][:, source_rows][:, :, source_columns])
    return torch.cat(moved, dim=-1)


def shift_slice(x: Tensor, directions: Directions) -> Tensor:
    """Copy ``x``, then overwrite each group with its moved slice: what the papers' code means."""
    out = x.clone()
    for group, dh, dw in groups(x.shape[-1], directions):
        to_rows, from_rows = destination_and_source(dh)
        to_columns, from_columns = destination_and_source(dw)
        out[:, to_rows, to_columns, group] = x[:, from_rows, from_columns, group]
        if dh and dw:  # a diagonal also moves along the edge that it enters by
            row, column = 0 if dh > 0 else -1, 0 if dw > 0 else -1
            out[:, row, to_columns, group] = x[:, row, from_columns, group]
            out[:, to_rows, column, group] = x[:, from_rows, column, group]
    return out


def shift_concat(x: Tensor, directions: Directions) -> Tensor:
    """Join each group's replicated edge with its moved lines, then the groups: no assignment."""
    if is_recorded() and not is_exporting() and x.device.type == "cpu":
        return _selected(x, directions)
    offsets = [(dh, dw) for _, dh, dw in groups(x.shape[-1], directions)]
    parts = zip(x.chunk(len(offsets), -1), offsets, strict=True)
    moved = [_moved(_moved(part, dh, 1), dw, 2) for part, (dh, dw) in parts]
    return torch.cat(moved, dim=-1)


def _moved(x: Tensor, offset: int, axis: int) -> Tensor:
    """Move the lines of one axis by -1, 0 or +1 and replicate the edge that they leave."""
    size = x.shape[axis]
    if not offset or size == 1:
        return x
    if offset > 0:
        lines = (x.narrow(axis, 0, 1), x.narrow(axis, 0, size - 1))
    else:
        lines = (x.narrow(axis, 1, size - 1), x.narrow(axis, size - 1, 1))
    return torch.cat(lines, dim=axis)


def _selected(x: Tensor, directions: Directions) -> Tensor:
    """Select each channel from the whole map read at every group's offset.

    The compiler makes one vectorised kernel of this on a CPU, or none at all where the result is
    read once; of joined slices it makes a copying loop per slice. On a GPU it fuses those too,
    and they read each value once.
    """
    height, width, channels = x.shape[1:]
    rows = torch.arange(height, device=x.device)
    columns = torch.arange(width, device=x.device)
    channel = torch.arange(channels, device=x.device)
    out = x
    for group, dh, dw in groups(channels, directions):
        read = x[:, (rows - dh).clamp(0, height - 1)] if dh else x
        read = read[:, :, (columns - dw).clamp(0, width - 1)] if dw else read
        out = torch.where(channel < group.start, out, read)
    return out


def _replicate_pad(x: Tensor) -> Tensor:
    """Pad ``x`` (B,H,W,C) by one replicated pixel on each side: B,C,H+2,W+2."""
    return F.pad(x.permute(0, 3, 1, 2), (1, 1, 1, 1), mode="replicate")


def shift_roll(x: Tensor, directions: Directions) -> Tensor:
    """Roll each group of the padded map; what wraps around falls in the cropped border."""
    padded = _replicate_pad(x).permute(0, 2, 3, 1)
    rolled = [
        torch.roll(padded[..., group], (dh, dw), dims=(1, 2))[:, 1:-1, 1:-1]
        for group, dh, dw in groups(x.shape[-1], directions)
    ]
    return torch.cat(rolled, dim=-1)


def shift_conv(x: Tensor, directions: Directions) -> Tensor:
    """Convolve the padded map depthwise with kernels C,1,3,3 that have a single 1.

    Content that moves by (dh, dw) has its 1 at row 1 - dh, column 1 - dw. Exact for finite
    values, the sign of a zero apart (-0 + 0 is 0): an infinity or a NaN spreads to the pixels
    whose kernels multiply it by 0.
    """
    channels = int(x.shape[-1])
    kernels = torch.zeros(channels, 1, 3, 3, dtype=x.dtype, device=x.device)
    for group, dh, dw in groups(channels, directions):
        kernels[group, 0, 1 - dh, 1 - dw] = 1
    if is_exporting():
        moved = F.conv2d(_replicate_pad(x), kernels, groups=channels)
    else:
        # F.conv2d's own operator, with its last argument, TF32, off: TF32 would round the values.
        # (The context manager that does the same breaks the compiler's graph.)
        moved = torch.ops.aten._convolution(
            _replicate_pad(x), kernels, None, [1, 1], [0, 0], [1, 1], False, [0, 0], channels,
            False, False, True, False,
        )  # fmt: skip
    return moved.permute(0, 2, 3, 1)


def _no_torchvision(device: torch.device) -> str | None:
    try:
        import torchvision.ops  # noqa: F401  (registers the operator)
    except (ImportError, RuntimeError, OSError) as error:
        # A torchvision built for another torch fails with "torchvision::nms does not exist".
        return (
            f"torchvision cannot be imported beside torch {torch.__version__} ({error}); "
            "install the torchvision that belongs to this torch"
        )
    return None


def shift_deform(x: Tensor, directions: Directions) -> Tensor:
    """Sample the padded map at (-dh, -dw) with a 1x1 identity weight, then crop.

    The channels of one direction share an offset group: offsets are B,2*D,H+2,W+2 for D
    directions. Exact for finite values, the sign of a zero apart: the 1x1 product multiplies
    every other channel by 0, and 0 * inf is NaN.
    """
    if reason := _no_torchvision(x.device):
        raise UnavailableError(reason)
    batch, height, width, channels = x.shape
    moves = [-move for _, dh, dw in groups(channels, directions) for move in (dh, dw)]
    offsets = torch.tensor(moves, dtype=x.dtype, device=x.device).view(1, -1, 1, 1)
    moved = torch.ops.torchvision.deform_conv2d(
        _replicate_pad(x).contiguous(),
        torch.eye(channels, dtype=x.dtype, device=x.device)[:, :, None, None],
        offsets.expand(batch, -1, height + 2, width + 2).contiguous(),
        x.new_zeros(batch, 0),  # no modulation
        x.new_zeros(channels),  # no bias
        1, 1, 0, 0, 1, 1,  # stride, padding, dilation
        1, len(moves) // 2, False,  # groups of channels and of offsets
    )  # fmt: skip
    cropped: Tensor = moved[:, :, 1:-1, 1:-1].permute(0, 2, 3, 1)
    return cropped


@remembered
def _source_positions(
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
    """Select from the flattened map by indices that are computed once per shape."""
    height, width, channels = map(int, x.shape[1:])
    index = _source_positions(height, width, channels, directions, x.device)
    return x.flatten(1).index_select(1, index).reshape(x.shape)


def shift_inplace(x: Tensor, directions: Directions) -> Tensor:
    """Overwrite slices of one copy by overlapping slices of itself: wrong, as in public code.

    Source and destination share memory, so on a CPU a group that moves down or right smears its
    first line over the map, and on a GPU the result is not defined. It is here so that its error
    can be measured, and so that a model trained with it can be recognised.

    Raises:
        UnavailableError: under a compiler or exporter; those separate the overlapping slices, and
            what they make of them is the true shift.
    """
    if torch.compiler.is_compiling():
        raise UnavailableError(
            "a compiler or exporter makes the true shift of 'inplace'; run it in eager PyTorch"
        )
    out = x.clone(memory_format=torch.contiguous_format)
    for group, dh, dw in groups(x.shape[-1], directions):
        to_rows, from_rows = destination_and_source(dh)
        to_columns, from_columns = destination_and_source(dw)
        out[:, to_rows, to_columns, group] = out[:, from_rows, from_columns, group]
    return out


def _undefined_on_a_gpu(device: torch.device) -> str | None:
    if device.type == "cuda":
        return "overlapping slices have no defined result on a GPU; use --device cpu"
    return None


def shift_none(x: Tensor, directions: Directions) -> Tensor:
    """Return ``x`` itself: a model without its shifts, which tells what the shifts cost.

    The maps stay views of the expanded map, where other implementations return dense maps.
    """
    return x


def mix_products(x: Tensor, mixer: MixerParameters) -> Tensor:
    """Expand, keep the first C of the K*C channels, project: a mixer's matrix products alone.

    Below ``none``, which still stacks, sums and weighs its maps, this is the floor of what an
    implementation can cost. Weights that it leaves out have no gradient.
    """
    kept = mixer.activation(mixer.expand(x)[..., : x.shape[-1]])
    projected: Tensor = mixer.project(kept)
    return projected


IMPLEMENTATIONS: dict[str, ShiftFunction | MixerKernel] = {
    one.name: one
    for one in (
        ShiftFunction("oracle", "index arithmetic straight from the definition", shift_oracle),
        ShiftFunction("slice", "slice indexing on a copy", shift_slice),
        ShiftFunction("concat", "edge and moved slice joined, no assignment", shift_concat),
        ShiftFunction("roll", "replicate-pad, torch.roll, crop", shift_roll),
        ShiftFunction("conv", "replicate-pad, depthwise 3x3 convolution", shift_conv),
        ShiftFunction(
            "deform",
            "replicate-pad, torchvision deform_conv2d, crop",
            shift_deform,
            unavailable=_no_torchvision,
        ),
        ShiftFunction("gather", "index_select with precomputed indices", shift_gather),
        ShiftFunction(
            "inplace",
            "the papers' overlapping slices: WRONG on purpose",
            shift_inplace,
            safe=False,
            unavailable=_undefined_on_a_gpu,
        ),
        ShiftFunction("none", "shifts taken out: WRONG on purpose", shift_none, safe=False),
        MixerKernel(
            "products",
            "a mixer's two matrix products alone: WRONG on purpose",
            mix_products,
            safe=False,
            trains=False,
            work=lambda splits, fusion: ShiftWork(maps=0, products=0),
        ),
    )
}
