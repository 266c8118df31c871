"""Two models on the same images, image by image: McNemar's test."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from s2mlp_cli import __version__
from s2mlp_cli.records.base import Environment
from s2mlp_cli.records.compare import ComparedRow, CompareRecord, Source, Verdict
from s2mlp_cli.records.predictions import PredictionComparison, compare_predictions

SIGNIFICANT = 0.05
"""A smaller p-value calls one model better: the same level as the 95 % of all intervals."""


def compare_prediction_files(first: Path, last: Path) -> CompareRecord:
    """Return what McNemar's test says of two files of ``s2mlp validate --predictions``.

    Raises:
        RecordError: a file holds no predictions, or they are not about the same images.
    """
    found = compare_predictions(first, last)
    row = f"{found.images} images that both decoded"
    return CompareRecord.new(
        command=("s2mlp", "compare", str(first), str(last)),
        environment=_here(),
        compared="predictions",
        sources=tuple(Source(path=str(path), schema_name="predictions") for path in (first, last)),
        results=(
            ComparedRow(
                row=row,
                quantity="top-1",
                unit="share",
                values=(found.top1_first, found.top1_second),
                p_value=found.p,
                verdict=_verdict(found),
            ),
            ComparedRow(
                row=row,
                quantity="right here only",
                unit="1",
                values=(found.only_first, found.only_second),
                verdict=_verdict(found),
            ),
        ),
    )


def _verdict(found: PredictionComparison) -> Verdict:
    if found.p >= SIGNIFICANT:
        return "undecided"
    return "better" if found.only_second > found.only_first else "worse"


def _here() -> Environment:
    """Return where the test was computed; its result depends on none of this."""
    return Environment(
        s2mlp=__version__,
        python=platform.python_version(),
        platform=platform.platform(),
        cpu=platform.machine(),
        cpu_count=os.cpu_count() or 1,
        packages={},
    )
