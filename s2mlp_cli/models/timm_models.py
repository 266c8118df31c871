"""Models of the library timm, by name: built, never downloaded unless asked for.

timm takes seconds to import, so only the functions here do it.
"""

from __future__ import annotations

import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any

from torch import nn

from s2mlp_cli.errors import CheckpointError, SpecError
from s2mlp_cli.spec import TimmSpec
from s2mlp_cli.spec.timm_names import timm_config


@dataclass(frozen=True)
class DataConfig:
    """How the images for a model are prepared: its authors' evaluation recipe."""

    input_size: tuple[int, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    crop_pct: float
    interpolation: str


def build_timm(spec: TimmSpec, pretrained: bool = False) -> nn.Module:
    """Build a timm model, for the image size that the spec names.

    A convolutional network takes any size. Where an architecture has a size, it is built for the
    one of the spec, and position embeddings become as large as that asks for; where weights join
    tokens, another size is another model, and is refused.

    Args:
        spec: with the model's name in timm.
        pretrained: fetch the weights that timm has for this name.

    Raises:
        SpecError: timm has no such model, or it cannot take the size.
        CheckpointError: the weights cannot be fetched.
    """
    config = timm_config(spec.timm)
    if pretrained:
        _check_fetchable(spec, config)
    native = tuple(config.input_size[1:])
    if not config.fixed_input_size or spec.input_size == native:
        return _create(spec, pretrained)
    model = _create(spec, pretrained, img_size=spec.input_size)
    _check_patches(spec, model)
    _check_same_layers(spec, model, native)
    return model


def data_config(spec: TimmSpec) -> DataConfig:
    """Return how timm evaluates this model; ``input_size`` is the spec's, not timm's.

    Raises:
        SpecError: timm has no such model.
    """
    from timm.data import resolve_data_config

    config = timm_config(spec.timm)
    # Some weights are tested at a larger size, with a crop of its own that belongs to that size.
    at_test_size = config.test_input_size and config.test_input_size[1:] == spec.input_size
    resolved = resolve_data_config(
        pretrained_cfg=config.to_dict(), use_test_size=bool(at_test_size)
    )
    return DataConfig(
        input_size=spec.input_size,
        mean=resolved["mean"],
        std=resolved["std"],
        crop_pct=resolved["crop_pct"],
        interpolation=resolved["interpolation"],
    )


def _check_fetchable(spec: TimmSpec, config: Any) -> None:
    """Fail at once, instead of after a minute of retries, where there is nothing to fetch."""
    from huggingface_hub import constants, try_to_load_from_cache

    if not config.has_weights:
        raise CheckpointError(f"timm has no weights for {spec.timm}; give a checkpoint by --ckpt")
    hub = config.hf_hub_id
    if not hub or isinstance(try_to_load_from_cache(hub, "model.safetensors"), str):
        return
    try:
        urllib.request.urlopen(constants.ENDPOINT, timeout=10).close()
    except urllib.error.HTTPError:  # it answers: timm will tell more
        return
    except OSError as error:
        raise CheckpointError(
            f"the weights of {spec.timm} cannot be fetched, since {constants.ENDPOINT} cannot be "
            f"reached ({getattr(error, 'reason', error)}); connect, or give a file by --ckpt"
        ) from error


def _create(spec: TimmSpec, pretrained: bool, **size: Any) -> nn.Module:
    import timm

    try:
        model: nn.Module = timm.create_model(
            spec.timm,
            pretrained=pretrained,
            in_chans=spec.in_channels,
            num_classes=spec.classes,
            **size,
        )
    except AssertionError as error:  # timm's way to say that a size does not fit
        height, width = spec.input_size
        raise SpecError(f"{spec.name} cannot take {height}x{width}: {error}") from error
    return model


def _check_patches(spec: TimmSpec, model: nn.Module) -> None:
    """Refuse a size whose last rows or columns the patches would leave out without a word."""
    patch = getattr(getattr(model, "patch_embed", None), "patch_size", None)
    if isinstance(patch, tuple) and any(
        size % side for size, side in zip(spec.input_size, patch, strict=True)
    ):
        height, width = spec.input_size
        raise SpecError(
            f"{spec.name} cannot take {height}x{width}: its patches are {patch[0]}x{patch[1]}; "
            "choose multiples of that"
        )


def _check_same_layers(spec: TimmSpec, model: nn.Module, native: tuple[int, ...]) -> None:
    """Refuse a model whose layers, not only its position embeddings, depend on the image size."""
    import torch

    with torch.device("meta"):
        original = dict(_create(spec, pretrained=False).named_modules())
    for name, layer in model.named_modules():
        if not isinstance(layer, nn.Linear | nn.Conv1d | nn.Conv2d):
            continue
        shape, was = tuple(layer.weight.shape), tuple(original[name].weight.shape)
        if shape != was:
            height, width = spec.input_size
            raise SpecError(
                f"{spec.name} takes {native[0]}x{native[1]} only, and found {height}x{width}: "
                f"its layer {name} joins the tokens by a weight of {was}, which would have to "
                f"be {shape}"
            )
