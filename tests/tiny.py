"""A model so small that whole profiles of it take a moment."""

from s2mlp_cli.sample.make import SPEC
from s2mlp_cli.specs import Stage

# The sample's v2 with maps of 6x6 and 3x3: large enough for `inplace` to come out wrong.
TINY = SPEC.model_copy(
    update={
        "name": "tiny",
        "title": "",
        "input_size": (24, 24),
        "classes": 5,
        "stages": (
            Stage(patch=4, dim=8, depth=1, expansion=2),
            Stage(patch=2, dim=16, depth=2, expansion=2),
        ),
    }
)


def case(spec=TINY, level="model", stage=0, **fields):
    """Return one thing to measure: the whole of ``spec``, or a part of one of its stages."""
    from s2mlp_cli.measure.profiling.workloads import BlockCase, ModelCase, OpCase
    from s2mlp_cli.measure.source import spec_model

    if level == "model":
        return ModelCase(model=spec_model(spec), **fields)
    kind = {"op": OpCase, "block": BlockCase}[level]
    return kind(model=spec_model(spec), spec=spec, stage=stage, **fields)
