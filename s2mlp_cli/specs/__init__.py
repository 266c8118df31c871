"""Model specs: YAML files in, frozen typed descriptions out. No torch here."""

from s2mlp_cli.specs.catalogue import built_in, load_spec, names, with_input_size
from s2mlp_cli.specs.model import BaseSpec, Mixer, ModelSpec, Norm, PyramidSpec, S2MLPSpec, Stage
from s2mlp_cli.specs.neighbours import GFNetSpec, TimmSpec, VipSpec, VipStage

__all__ = [
    "BaseSpec",
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
    "load_spec",
    "names",
    "with_input_size",
]
