"""Arithmetic of the audit: from a counted model and a printed figure to a verdict."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal
from typing import Literal, NamedTuple

from s2mlp_cli.records.audit import Agreement, Quantity
from s2mlp_cli.records.base import Frozen

# What a paper may leave out of its figures; ``embeddings``: of positions and the class token,
# ``downsampling``: the patch layers after the first.
LeftOut = Literal["classifier", "norms", "embeddings", "downsampling"]

DECIMAL = {"M": 10**6, "B": 10**9, "G": 10**9}
BINARY = {"M": 2**20, "B": 2**30, "G": 2**30}

# A figure as papers print it.
FIGURE = r"(\d+(?:\.\d+)?)([MBG])"


class Correction(Frozen):
    """Another reading of a cell than the paper's own convention; what is None stays as it is.

    Attributes:
        model: count this spec instead.
        input_size: count at this square size instead.
        leaves_out: leave out these parts instead of those of the convention.
        transforms: add Fourier transforms to the multiply-adds, two operations to one.
        binary: in units of 2^20 and 2^30.
        truncated: the digits after the last printed one are cut off instead of rounded.
    """

    model: str | None = None
    input_size: int | None = None
    leaves_out: tuple[LeftOut, ...] | None = None
    transforms: bool = False
    binary: bool = False
    truncated: bool = False


class Part(NamedTuple):
    """What one part of a model has."""

    params: int
    macs: int


class Counted(NamedTuple):
    """What a model has, and what of it papers leave out or add.

    Attributes:
        params: parameters.
        macs: multiply-adds of linear layers, convolutions and matrix products.
        parts: norms and embeddings have no such multiply-adds.
        transforms: operations of Fourier transforms.
        images: how many the multiply-adds and operations are for.
    """

    params: int
    macs: int
    parts: Mapping[LeftOut, Part]
    transforms: int = 0
    images: int = 1


def parse(printed: str) -> tuple[Decimal, str]:
    """Read a figure such as ``71M``, ``16.3B`` or ``4.5G``: its value as printed, and its unit.

    Raises:
        ValueError: it is not digits, optional decimals and one of M, B, G.
    """
    match = re.fullmatch(FIGURE, printed)
    if match is None:
        raise ValueError(f"'{printed}' is not a figure such as 71M or 16.3B")
    return Decimal(match[1]), match[2]


def recomputed(
    counted: Counted,
    quantity: Quantity,
    leaves_out: Collection[LeftOut],
    transforms: bool = False,
) -> int:
    """Return parameters, or multiply-adds of one image, without the parts that are left out."""
    if quantity == "params":
        return counted.params - sum(counted.parts[part].params for part in leaves_out)
    macs = counted.macs - sum(counted.parts[part].macs for part in leaves_out)
    return (macs + transforms * counted.transforms // 2) // counted.images


def prints_as(value: int, printed: str, *, binary: bool = False, truncated: bool = False) -> bool:
    """Tell whether ``value``, brought to the unit and decimals of ``printed``, reads the same."""
    expected, unit = parse(printed)
    scaled = Decimal(value) / (BINARY if binary else DECIMAL)[unit]
    return scaled.quantize(expected, ROUND_DOWN if truncated else ROUND_HALF_UP) == expected


def difference(value: int, printed: str) -> float:
    """Return value / printed - 1, in decimal units."""
    expected, unit = parse(printed)
    return float(value / (expected * DECIMAL[unit]) - 1)


def judge(
    printed: str,
    computed: int,
    *,
    binary_units: bool,
    correction: Correction | None = None,
    corrected: int | None = None,
) -> Agreement:
    """Return the best verdict that the figures allow.

    Args:
        printed: the figure as the paper prints it.
        computed: the recomputed figure by the paper's convention.
        binary_units: whether the paper is known to mix in units of 2^20 and 2^30. Without that,
            one cell in twenty would agree in one of the two by chance.
        correction: the stated other reading of this cell.
        corrected: the figure that it leads to.
    """
    if prints_as(computed, printed):
        return "agrees"
    if binary_units and prints_as(computed, printed, binary=True):
        return "agrees in binary units"
    if correction is not None and corrected is not None:
        binary, truncated = correction.binary, correction.truncated
        if prints_as(corrected, printed, binary=binary, truncated=truncated):
            return "agrees after a correction"
    return "differs"
