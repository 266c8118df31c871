"""``S2Attention``: the plug-in module that many repositories copied, with a shift that is one.

It takes the place of their copy: the same map in and out (B,C,H,W), the same parameter names, so
that their state dicts load as they are.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from s2mlp_cli.directions import OFFSETS, Splits
from s2mlp_cli.errors import S2MLPError, UnavailableError
from s2mlp_cli.shifts import registry
from s2mlp_cli.shifts.fused import fuse
from s2mlp_cli.shifts.torch_shifts import shift_maps
from s2mlp_cli.shifts.types import Implementation, MixerKernel

# The plug-in's own: first rows, then columns; the third map is not shifted.
PLUG_IN_SPLITS: Splits = (
    ("down", "up", "right", "left"),
    ("right", "left", "down", "up"),
    (),
)

# Other names that copies give the attention.
_ATTENTION = "split_attention"
_VARIANTS = ("split_attn", "SplitAtt", "splitatt", "split_att", "attention")
ATTENTIONS = (_ATTENTION, *_VARIANTS)


class _SplitAttention(nn.Module):
    """The plug-in's names for split attention's two linear layers (S2-MLPv2, section 3.2)."""

    def __init__(self, channels: int, maps: int, hidden: int) -> None:
        super().__init__()
        self.mlp1 = nn.Linear(channels, hidden, bias=False)
        self.mlp2 = nn.Linear(hidden, maps * channels, bias=False)

    # What a mixer kernel calls them (shifts/types.py).
    @property
    def reduce(self) -> nn.Linear:
        return self.mlp1

    @property
    def expand(self) -> nn.Linear:
        return self.mlp2


class S2Attention(nn.Module):
    """Expand, shift, weigh and project a map, as S2-MLPv2's mixer does.

    Args:
        channels: of the map, in and out. Where the directions do not divide them, the groups are
            those of the plug-in: group i ends at ``i * channels // directions``.
        splits: the directions of each expanded map; none leaves a map where it is.
        reduction: the attention's hidden layer has ``channels / reduction``; the plug-in's is 1,
            S2-MLPv2's is 4.
        shift: an implementation by name. ``concat`` and ``fused`` compute the shift. ``inplace``
            repeats the plug-in's fault, for models that were trained with it eagerly on a CPU:
            results then depend on the threads (use one) and on the memory of the map.

    Raises:
        UnavailableError: no such implementation, or it needs groups of equal size.
        S2MLPError: an argument that has no meaning.
    """

    def __init__(
        self,
        channels: int = 512,
        splits: Splits = PLUG_IN_SPLITS,
        reduction: int = 1,
        shift: str = "concat",
    ) -> None:
        super().__init__()
        self.splits = tuple(tuple(split) for split in splits)
        unknown = [name for split in self.splits for name in split if name not in OFFSETS]
        for what, found, right, allowed in (
            ("channels", channels, channels >= 1, "1 or more"),
            ("reduction", reduction, 1 <= reduction <= channels, f"1 to {channels}, the channels"),
            ("splits", splits, len(splits) > 0, "one tuple of directions for each map"),
            ("splits", ", ".join(unknown), not unknown, ", ".join(OFFSETS)),
        ):
            if not right:
                raise S2MLPError(f"S2Attention: {what}: found {found}; allowed: {allowed}")
        self.mlp1 = nn.Linear(channels, len(splits) * channels)
        self.split_attention = _SplitAttention(channels, len(splits), channels // reduction)
        self.mlp2 = nn.Linear(channels, channels)
        self.set_shift(shift)
        self.register_load_state_dict_pre_hook(_rename)  # type: ignore[no-untyped-call]

    def set_shift(self, shift: str) -> None:
        """Change how the shift is computed; the weights stay."""
        self.set_implementation(registry.get(shift))

    def set_implementation(self, implementation: Implementation) -> None:
        """Change how the shift is computed, as :meth:`set_shift` does by name."""
        channels = self.mlp2.in_features
        unequal = any(split and channels % len(split) for split in self.splits)
        if unequal and (
            isinstance(implementation, MixerKernel) or implementation.name == "inplace"
        ):
            raise UnavailableError(
                f"the shift '{implementation.name}' needs groups of equal size, and {channels} "
                "channels do not divide by the directions; use 'concat'"
            )
        self._implementation = implementation

    # What a mixer kernel reads (shifts/types.py).
    fusion = "split-attention"

    @property
    def expand(self) -> nn.Linear:
        return self.mlp1

    @property
    def project(self) -> nn.Linear:
        return self.mlp2

    @property
    def activation(self) -> nn.Module:
        return nn.Identity()

    @property
    def attention(self) -> _SplitAttention:
        return self.split_attention

    def forward(self, x: Tensor) -> Tensor:
        """Return B,C,H,W of ``x`` (B,C,H,W), in the memory format of channels last."""
        chosen, x = self._implementation, x.permute(0, 2, 3, 1)
        chosen.check_available(x.device)
        if isinstance(chosen, MixerKernel):
            mixed = chosen.run(x, self)
        else:
            mixed = self.mlp2(fuse(shift_maps(self.mlp1(x), self.splits, chosen.run), self))
        return mixed.permute(0, 3, 1, 2)


def _rename(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Accept the names that other copies give the attention."""
    for key in [key for key in state if key.startswith(prefix)]:
        first, dot, rest = key.removeprefix(prefix).partition(".")
        if dot and first in _VARIANTS:
            state[f"{prefix}{_ATTENTION}.{rest}"] = state.pop(key)
