"""The options of ``s2mlp profile``, in the sections in which --help lists them."""

from __future__ import annotations

from pathlib import Path

import click

from s2mlp_cli.commands import options
from s2mlp_cli.commands.options import BatchSizes, OptionGroups, Words

DTYPES = ("fp32", "tf32", "bf16", "fp16")
LEVELS = ("op", "block", "model")

_WHAT = (
    options.shifts(default="all"),
    options.models(default="v2-small"),
    options.overrides,
    click.option(
        "--level",
        "levels",
        type=Words(LEVELS),
        default=",".join(LEVELS),
        show_default=True,
        help="The shift alone on each stage's map, one block of each stage, the whole model.",
    ),
    options.input_size,
    click.option(
        "--batch-size",
        "batch_sizes",
        type=BatchSizes(),
        metavar="N[,N…]|max",
        help="Images at a time; max: the largest that fits. Default: 1 on a CPU, 64 on a GPU.",
    ),
    click.option(
        "--mode",
        type=click.Choice(["inference", "training"]),
        default="inference",
        show_default=True,
        help="training: forward, backward and, for a model, a step of AdamW.",
    ),
)
_WHERE = (
    options.device,
    click.option(
        "--dtype",
        "dtypes",
        type=Words(DTYPES),
        default="fp32",
        show_default=True,
        help="Precisions, with commas between.",
    ),
    click.option(
        "--threads", type=click.IntRange(1, 1024), help="CPU threads. Default: all cores."
    ),
    click.option("--compile", "compiled", is_flag=True, help="Through torch.compile."),
    click.option("--cuda-graph", is_flag=True, help="Replayed as one CUDA graph (inference)."),
    click.option("--channels-last", is_flag=True, help="Images in NHWC memory (whole model)."),
)
_MEASURING = (
    click.option(
        "--min-time",
        type=options.Finite(0),
        default=0.5,
        show_default=True,
        metavar="SECONDS",
        help="Per row: measured for so long even if all ratios are known to 1 %.",
    ),
    click.option(
        "--max-time",
        type=options.Finite(0, min_open=True),
        default=3.0,
        show_default=True,
        metavar="SECONDS",
        help="Per row: measuring ends after so long even if they are not.",
    ),
    click.option(
        "--host-time", is_flag=True, help="Count the launches of a GPU's kernels as well."
    ),
    click.option("--hot", is_flag=True, help="Leave the GPU's cache as the last call left it."),
    options.seed("Seed of the order in the rounds."),
)
_REPORT = (
    click.option(
        "--resume",
        type=options.OutputFile(),
        metavar="FILE",
        help="Go on with this record, or begin it: measure only the rows that are missing.",
    ),
    click.option(
        "--trace",
        type=click.Path(file_okay=False, path_type=Path),
        metavar="DIR",
        help="Afterwards, trace one run of each whole model under torch.profiler.",
    ),
    options.output,
)

# heading -> its options, in the order in which --help lists them.
GROUPS: OptionGroups = {
    "What is measured": _WHAT,
    "Where and how it runs": _WHERE,
    "How it is measured": _MEASURING,
    "Report": _REPORT,
}
