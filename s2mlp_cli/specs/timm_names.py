"""timm's models by name: ``--model timm:NAME`` is a spec without a file.

The only module of this floor that imports timm, and only inside the function that needs it.
"""

from __future__ import annotations

from typing import Any

from s2mlp_cli.errors import SpecError, did_you_mean
from s2mlp_cli.specs.yaml_source import Document, Origin

TIMM = "timm:"


def timm_config(name: str, spec: str = "") -> Any:
    """Return what timm knows about a model: its ``PretrainedCfg`` (input size, classes, weights).

    Args:
        name: an architecture, ``resnet50``, or one with a tag for its weights,
            ``resnet50.a1_in1k``.
        spec: the name of the spec that asks for it, for the sentence.

    Raises:
        SpecError: timm has no such model, or the model no such tag.
    """
    import timm
    from timm.models import PretrainedCfg

    architecture = name.partition(".")[0]
    lacking = f"{spec}: timm" if spec else "timm"
    if not timm.is_model(architecture):
        near = did_you_mean(architecture, timm.list_models())
        raise SpecError(
            f"{lacking} {timm.__version__} has no model '{name}'{near or ';'} "
            "timm.list_models() lists them"
        )
    try:
        return timm.get_pretrained_cfg(name) or PretrainedCfg()
    except RuntimeError as error:  # timm's word for an unknown tag
        near = did_you_mean(name, timm.list_pretrained(architecture))
        raise SpecError(
            f"{lacking} {timm.__version__} has no weights '{name}'{near or ';'} "
            f"timm.list_pretrained('{architecture}') lists them"
        ) from error


def timm_document(text: str) -> Document:
    """Return the data of a spec for ``timm:NAME``.

    Raises:
        SpecError: timm has no such model.
    """
    name = text.removeprefix(TIMM)
    config = timm_config(name)
    channels, height, width = config.input_size
    data = {
        "family": "timm",
        "name": text,
        "title": name,
        "timm": name,
        "input_size": [height, width],
        "in_channels": channels,
        "classes": config.num_classes,  # 0 where timm builds no classifier
    }
    return Document(data, {(): Origin(text)})
