"""What an implementation of the spatial shift is: a function, or a kernel for the whole mixer.

Imports torch only for type checking, so that names can be listed without it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from s2mlp_cli.directions import Directions, Splits
from s2mlp_cli.errors import UnavailableError

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


class SplitAttentionParameters(Protocol):
    """The two linear layers of split attention: C to C', and C' to K*C."""

    @property
    def reduce(self) -> torch.nn.Linear: ...

    @property
    def expand(self) -> torch.nn.Linear: ...


class MixerParameters(Protocol):
    """The weights and settings of one mixer, as a mixer kernel reads them.

    With C channels, K splits and C' = C / reduction::

        y = activation(x @ expand.weight.T + expand.bias)          B,H,W,K*C
        maps = [shift(y_k, splits[k]) for k in range(K)]           K x B,H,W,C
        out = fusion(maps) @ project.weight.T + project.bias       B,H,W,C

    ``activation`` is GELU or Identity; ``fusion`` is ``none``, ``mean`` or ``split-attention``
    (S2-MLPv2, section 3.2: a = sum over splits and positions; hat_a = W2 GELU(W1 a); softmax over
    the splits), and ``attention`` has the weights of the last.
    """

    splits: Splits

    @property
    def expand(self) -> torch.nn.Linear: ...

    @property
    def project(self) -> torch.nn.Linear: ...

    @property
    def fusion(self) -> str: ...

    @property
    def activation(self) -> torch.nn.Module: ...

    @property
    def attention(self) -> SplitAttentionParameters | None: ...


class MixerCallable(Protocol):
    """``(x of B,H,W,C, parameters) -> B,H,W,C``: expansion, shifts, fusion and projection."""

    def __call__(self, x: Tensor, mixer: MixerParameters) -> Tensor:
        """Mix ``x``."""
        ...


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
class _Implementation:
    """What both kinds have.

    Attributes:
        name: its name in the registry and on the command line.
        summary: one line for people who choose.
        run: the function.
        safe: False if it is known to differ from the definition.
        unavailable: returns the reason why it cannot run on a device, or None.
        work: (splits, fusion) -> what it moves, where torch cannot see its operators.
    """

    name: str
    summary: str
    run: Callable[..., Tensor]
    safe: bool = True
    unavailable: Callable[[torch.device], str | None] = lambda device: None
    work: Callable[[Splits, str], ShiftWork] | None = None

    def check_available(self, device: torch.device) -> None:
        """Raise an UnavailableError with the reason why it cannot run on ``device``, if any."""
        reason = self.unavailable(device)
        if reason is not None:
            raise UnavailableError(f"the shift '{self.name}' cannot run on {device}: {reason}")


@dataclass(frozen=True)
class ShiftFunction(_Implementation):
    """An implementation of the stand-alone shift."""

    run: ShiftCallable


@dataclass(frozen=True)
class MixerKernel(_Implementation):
    """An implementation that replaces expansion, shift, fusion and projection together.

    Attributes: as above, and
        trains: False where it has no gradient.
        form: (device, dtype, whether a compiler or exporter records it) -> which of its forms
            runs there, for one that has several.
    """

    run: MixerCallable
    trains: bool = True
    form: Callable[[torch.device, torch.dtype, bool], str] | None = None


Implementation = ShiftFunction | MixerKernel
