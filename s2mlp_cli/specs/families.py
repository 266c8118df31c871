"""Which families of models there are, and the class that describes each."""

from __future__ import annotations

from s2mlp_cli.specs.model import BaseSpec, S2MLPSpec
from s2mlp_cli.specs.neighbours import GFNetSpec, TimmSpec, VipSpec

# family -> its class.
FAMILIES: dict[str, type[BaseSpec]] = {
    "s2mlp": S2MLPSpec,
    "vip": VipSpec,
    "gfnet": GFNetSpec,
    "timm": TimmSpec,
}
