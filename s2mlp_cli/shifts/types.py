"""What an implementation of the spatial shift is: a function, or a kernel for the whole mixer.

Both kinds are ordinary members of the registry (:mod:`s2mlp_cli.shifts.registry`). This module
imports torch only for type checking, so that names can be listed without it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from s2mlp_cli.directions import Directions

# Orders of the axes in which shifts take maps; N are positions, row by row.
Layout = Literal["B,H,W,C", "B,C,H,W", "B,N,C"]

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class ShiftCallable(Protocol):
    """``(x of B,H,W,C, directions) -> tensor of the same shape, dtype and device``."""

    def __call__(self, x: Tensor, directions: Directions) -> Tensor:
        """Shift ``x``."""
        ...


class MixerParameters(Protocol):
    """The weights and settings of one mixer, as a mixer kernel reads them.

    With C channels, K splits and C' = C / reduction::

        y = activation(x @ expand.weight.T + expand.bias)          B,H,W,K*C
        maps = [shift(y_k, splits[k]) for k in range(K)]           K x B,H,W,C
        out = fusion(maps) @ project.weight.T + project.bias       B,H,W,C

    ``attention`` is None unless ``fusion`` is ``"split-attention"`` (S2-MLPv2, section 3.2:
    a = sum over splits and positions; hat_a = W2 GELU(W1 a); softmax over the splits).
    """

    splits: tuple[Directions, ...]

    @property
    def expand(self) -> torch.nn.Linear:
        """C to K*C."""
        ...

    @property
    def project(self) -> torch.nn.Linear:
        """C to C."""
        ...

    @property
    def fusion(self) -> str:
        """``none``, ``mean`` or ``split-attention``."""
        ...

    @property
    def activation(self) -> torch.nn.Module:
        """What stands between the expansion and the shift: GELU or Identity."""
        ...

    @property
    def attention(self) -> SplitAttentionParameters | None:
        """Split attention's weights, where ``fusion`` says so."""
        ...


class SplitAttentionParameters(Protocol):
    """The two linear layers of split attention: C to C', and C' to K*C."""

    @property
    def reduce(self) -> torch.nn.Linear: ...

    @property
    def expand(self) -> torch.nn.Linear: ...


class MixerCallable(Protocol):
    """``(x of B,H,W,C, parameters) -> B,H,W,C``: expansion, shifts, fusion and projection."""

    def __call__(self, x: Tensor, mixer: MixerParameters) -> Tensor:
        """Mix ``x``."""
        ...


def _always_available(device: torch.device) -> str | None:
    return None


@dataclass(frozen=True)
class ShiftWork:
    """What an implementation does for the shifts and the fusion of one mixer.

    Attributes:
        maps: how many maps of B,H,W,C it reads or writes, the maps between the two matrix
            products and the products' own operands left out.
        products: how many vectors of C channels per image it multiplies by a C x C matrix.
    """

    maps: int
    products: int


@dataclass(frozen=True)
class ShiftFunction:
    """An implementation of the stand-alone shift.

    Attributes:
        name: its name in the registry and on the command line.
        summary: one line for people who choose.
        run: the function.
        safe: False for one that is known not to equal the definition.
        unavailable: the reason why it cannot run on a device, or None.
        work: (splits, fusion) -> what it moves, for one whose operators torch cannot see.
    """

    name: str
    summary: str
    run: ShiftCallable
    safe: bool = True
    unavailable: Callable[[torch.device], str | None] = _always_available
    work: Callable[[tuple[Directions, ...], str], ShiftWork] | None = None


@dataclass(frozen=True)
class MixerKernel:
    """An implementation that replaces expansion, shift, fusion and projection together.

    Attributes: as for :class:`ShiftFunction`, and
        trains: False where it has no gradient.
        form: (device, dtype, whether a compiler or exporter records it) -> which of its forms
            runs there, for one that has several.
    """

    name: str
    summary: str
    run: MixerCallable
    safe: bool = True
    trains: bool = True
    unavailable: Callable[[torch.device], str | None] = _always_available
    work: Callable[[tuple[Directions, ...], str], ShiftWork] | None = None
    form: Callable[[torch.device, torch.dtype, bool], str] | None = None


Implementation = ShiftFunction | MixerKernel
