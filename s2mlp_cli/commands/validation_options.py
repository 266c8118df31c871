"""The options of ``s2mlp validate``, in the sections in which --help lists them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from s2mlp_cli.commands import options
from s2mlp_cli.commands.options import OptionGroups


class Triple(click.ParamType[tuple[float, float, float]]):
    """A number from 0 to 1 for each channel: ``0.485,0.456,0.406``."""

    name = "R,G,B"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, float, float]:
        """Return the three numbers."""
        if isinstance(value, tuple):
            return value
        try:
            red, green, blue = (float(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f"'{value}' is not three numbers; write 0.485,0.456,0.406", param, ctx)
        if not all(0 <= part <= 1 for part in (red, green, blue)):
            self.fail(f"'{value}' is not within 0 to 1; divide pixel values by 255", param, ctx)
        return red, green, blue


class Deviations(Triple):
    """The same for what is divided by."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, float, float]:
        """Return the three numbers, none of them 0."""
        triple = super().convert(value, param, ctx)
        if not all(triple):
            self.fail(f"'{value}' has a 0, and is divided by", param, ctx)
        return triple


_CHECKPOINT = (
    click.option(
        "--ckpt",
        metavar="FILE|sample",
        shell_complete=options.complete_files,
        help="The weights: PyTorch or safetensors; `sample` is a small one inside s2mlp.",
    ),
    click.option(
        "--pretrained",
        is_flag=True,
        help="Fetch the weights that timm publishes for --model; nothing is fetched otherwise.",
    ),
    click.option("--ema", is_flag=True, help="Take the averaged weights."),
    click.option(
        "--model",
        "-m",
        metavar="NAME|FILE",
        shell_complete=options.complete_models,
        help="The model, where the checkpoint's tensors do not tell enough.",
    ),
    options.overrides,
)
_DATA = (
    click.option(
        "--data",
        envvar="S2MLP_DATA",
        metavar="PATH",
        show_envvar=True,
        shell_complete=options.complete_files,
        help="Images: class folders, flat folder, tar, zip, WebDataset, Parquet or CSV.",
    ),
    click.option(
        "--labels",
        metavar="FILE",
        shell_complete=options.complete_files,
        help="Labels: devkit archive, LOC_val_solution.csv or a CSV of file,label.",
    ),
    click.option(
        "--real-labels",
        metavar="FILE|timm",
        shell_complete=options.complete_files,
        help="Score ImageNet-ReaL too: real.json, or the copy in timm.",
    ),
    click.option("--partial", is_flag=True, help="Accept fewer images than labels."),
    click.option(
        "--limit",
        type=click.IntRange(min=1),
        metavar="N",
        help="Only N images, evenly over the classes.",
    ),
    options.seed("Which images --limit draws."),
    click.option("--strict", is_flag=True, help="Fail at the first broken image."),
)
_INPUT = (
    options.input_size,
    click.option(
        "--crop-pct",
        type=options.Finite(0, 1, min_open=True),
        metavar="SHARE",
        help="The crop's share of the resized short side.  [default: timm's or 0.9]",
    ),
    click.option(
        "--interpolation",
        type=click.Choice(["bicubic", "bilinear", "lanczos"]),
        help="[default: timm's or bicubic]",
    ),
    click.option(
        "--mean",
        type=Triple(),
        help="Mean of each channel, 0 to 1.  [default: timm's or ImageNet's]",
    ),
    click.option(
        "--std",
        type=Deviations(),
        help="Deviation of each channel, likewise.  [default: as for --mean]",
    ),
    click.option(
        "--transform",
        type=click.Choice(["box", "timm"]),
        help="box: resize what the crop keeps. timm: timm's pixels exactly.  [default: box]",
    ),
)
_RUN = (
    options.device,
    click.option(
        "--dtype",
        type=click.Choice(["fp32", "tf32", "bf16", "fp16"]),
        default="fp32",
        show_default=True,
        help="Precision; bf16 and fp16 by autocast.",
    ),
    click.option(
        "--batch-size",
        type=click.IntRange(min=1),
        default=64,
        show_default=True,
        help="Images at a time.",
    ),
    click.option(
        "--workers",
        type=click.IntRange(min=0),
        metavar="N",
        help="Processes that decode.  [default: one for each core, at most 16]",
    ),
    click.option("--compile", "compiled", is_flag=True, help="torch.compile the model."),
    click.option("--channels-last", is_flag=True, help="Channels-last inputs and weights."),
    options.shift(),
    click.option(
        "--resume",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE",
        help="Keep the progress in FILE, and go on from it if it is there.",
    ),
)
_REPORT = (
    click.option("--per-class", is_flag=True, help="Report every class."),
    click.option(
        "--predictions",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE.csv|.parquet",
        help="Save top-5, loss and correctness per image.",
    ),
    options.output,
)


# heading -> its options, in the order in which --help lists them.
GROUPS: OptionGroups = {
    "Checkpoint": _CHECKPOINT,
    "Data": _DATA,
    "Input": _INPUT,
    "Run": _RUN,
    "Report": _REPORT,
}
