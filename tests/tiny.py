"""A model so small that whole profiles of it take a moment."""

from s2mlp_cli.spec import Mixer, Norm, S2MLPSpec, Stage

TINY = S2MLPSpec(
    name="tiny",
    input_size=(24, 24),
    classes=5,
    stages=(
        Stage(patch=4, dim=8, depth=1, expansion=2),
        Stage(patch=2, dim=16, depth=2, expansion=2),
    ),
    norm=Norm(kind="layer", place="pre"),
    patch_norm=False,
    head_norm=True,
    mixer=Mixer(
        splits=(("down", "up", "right", "left"), ("right", "left", "down", "up"), ()),
        activation="none",
        fusion="split-attention",
    ),
)
"""v2 in two stages with maps of 6x6 and 3x3: large enough for `inplace` to come out wrong."""
