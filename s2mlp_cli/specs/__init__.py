"""Model specs: YAML files in, frozen typed descriptions out. No torch here."""

from s2mlp_cli.specs.comparison import GFNetSpec, TimmSpec, VipSpec, VipStage
from s2mlp_cli.specs.loading import (
    built_in,
    from_record,
    load_spec,
    names,
    spec_keys,
    with_input_size,
)
from s2mlp_cli.specs.model import Mixer, ModelSpec, Norm, PyramidSpec, S2MLPSpec, Stage

__all__ = [
    "GFNetSpec",
    "Mixer",
    "ModelSpec",
    "Norm",
    "PyramidSpec",
    "S2MLPSpec",
    "Stage",
    "TimmSpec",
    "VipSpec",
    "VipStage",
    "built_in",
    "from_record",
    "load_spec",
    "names",
    "spec_keys",
    "with_input_size",
]
