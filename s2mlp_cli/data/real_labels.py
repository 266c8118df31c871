"""ImageNet-ReaL (arXiv 2006.07159): for each validation image the set of labels that are right."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from s2mlp_cli.errors import DataError

# What selects the labels that timm carries.
BUNDLED = "timm"

_NUMBER = re.compile(r"ILSVRC2012_val_(\d{8})")


def real_labels(path: str | Path, names: Sequence[str]) -> tuple[tuple[int, ...], ...]:
    """Return the right labels of each image; none where ReaL's raters found none.

    Args:
        path: ``real.json`` (a list of lists in the order of the validation images), or
            ``"timm"`` for the copy that timm carries.
        names: names of images; each contains ``ILSVRC2012_val_<8 digits>``.

    Raises:
        DataError: the file is not of that form, or an image is not numbered so.
    """
    table = _read(path)
    result = []
    for name in names:
        match = _NUMBER.search(name)
        number = int(match[1]) if match else 0
        if not 1 <= number <= len(table):
            raise DataError(
                f"ReaL labels go by the number in ILSVRC2012_val_00000001.JPEG, which '{name}' "
                f"does not have (or not within 1 to {len(table)}); leave out --real-labels"
            )
        result.append(tuple(table[number - 1]))
    return tuple(result)


def _read(path: str | Path) -> list[list[int]]:
    try:
        if str(path) == BUNDLED:
            text = (files("timm.data") / "_info" / "imagenet_real_labels.json").read_text()
        else:
            text = Path(path).read_text(encoding="utf-8")
        return TypeAdapter(list[list[int]]).validate_json(text, strict=True)
    except ValidationError as error:
        raise DataError(
            f"{path} is not a list of lists of labels; give real.json, or 'timm'"
        ) from error
    except (OSError, ValueError) as error:
        raise DataError(
            f"the ReaL labels {path} cannot be read ({error}); give real.json, or 'timm'"
        ) from error
