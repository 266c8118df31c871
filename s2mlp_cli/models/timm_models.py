"""Models of the library timm, by name: built with random weights, nothing is downloaded.

timm takes seconds to import, so only the functions here do it.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn

from s2mlp_cli.errors import SpecError, UnavailableError
from s2mlp_cli.preprocessing import Preprocessing
from s2mlp_cli.specs import TimmSpec
from s2mlp_cli.specs.timm_names import timm_config
from s2mlp_cli.user_code import described

_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d)


def build_timm(spec: TimmSpec) -> nn.Module:
    """Build a timm model, for the image size that the spec names.

    A convolutional network supports any size. Where an architecture has a size, it is built for
    the spec's, and its position embeddings get that size. Where weights join the tokens, another
    size would be another model, so it is refused.

    Raises:
        SpecError: timm has no such model, or the model does not support the size.
    """
    config = timm_config(spec.timm, spec.name)
    native = tuple(config.input_size[1:])
    if not config.fixed_input_size or spec.input_size == native:
        return _create(spec)
    model = _create(spec, img_size=spec.input_size)
    _check_sizes(spec, model)
    _check_same_layers(spec, model, native)
    return model


def timm_preprocessing(spec: TimmSpec) -> Preprocessing:
    """Return how timm evaluates this model, at the spec's input size.

    Raises:
        SpecError: timm has no such model.
        UnavailableError: it evaluates by a kind of crop that is not known here.
    """
    from timm.data import resolve_data_config

    config = timm_config(spec.timm, spec.name)
    # Some weights are tested at a larger size, with a crop of its own that belongs to that size.
    at_test_size = config.test_input_size and config.test_input_size[1:] == spec.input_size
    resolved = resolve_data_config(
        pretrained_cfg=config.to_dict(), use_test_size=bool(at_test_size)
    )
    if resolved["crop_mode"] != "center":
        raise UnavailableError(
            f"timm evaluates {spec.timm} with the crop mode '{resolved['crop_mode']}', and only "
            "center crops are made here; validate it with timm itself"
        )
    known = {name: resolved[name] for name in ("mean", "std", "crop_pct", "interpolation")}
    return Preprocessing(input_size=spec.input_size, **known)


def interpolated_positions(spec: TimmSpec, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights of another image size for the one of ``spec``.

    timm's own rule for the architecture interpolates its position embeddings, or its tables of
    relative positions; where it has none, the weights come back as they are.
    """
    import torch

    with torch.device("meta"):
        model = build_timm(spec)
    rule = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)
    return dict(state) if rule is None else dict(rule(dict(state), model))


def _create(spec: TimmSpec, **size: Any) -> nn.Module:
    import timm

    try:
        model: nn.Module = timm.create_model(
            spec.timm,
            in_chans=spec.in_channels,
            num_classes=spec.classes,
            **size,
        )
    except Exception as error:  # timm refuses a size by an assertion, an index, a division by zero
        if is_of_meta(error):
            raise
        raise _unsupported(spec, f"timm cannot build it: {described(error)}") from error
    return model


@contextlib.contextmanager
def fused_attention() -> Iterator[None]:
    """Let timm's attention be the fused operator, whatever TIMM_FUSED_ATTN says.

    Fused or in parts it is the same algorithm, and its count must not depend on a variable.
    """
    variable = os.environ.get("TIMM_FUSED_ATTN")
    loaded: Any = sys.modules.get("timm.layers.config")
    before = loaded._USE_FUSED_ATTN if loaded else int(variable or 1)
    os.environ["TIMM_FUSED_ATTN"] = "1"  # read when timm is imported, if it is not yet
    if loaded:
        loaded.set_fused_attn(True)
    try:
        yield
    finally:
        os.environ.pop("TIMM_FUSED_ATTN")
        if variable is not None:
            os.environ["TIMM_FUSED_ATTN"] = variable
        loaded = sys.modules.get("timm.layers.config")
        if loaded:
            loaded._USE_FUSED_ATTN = before


def is_of_meta(error: Exception) -> bool:
    """Tell whether an operation has no meaning without values, or no kernel for the meta device."""
    return isinstance(error, NotImplementedError) or "meta" in str(error).lower()


def _unsupported(spec: TimmSpec, reason: str) -> SpecError:
    native = timm_config(spec.timm).input_size[1:]
    return SpecError.of_size(spec.name, spec.input_size, reason, native)


def _check_sizes(spec: TimmSpec, model: nn.Module) -> None:
    """Refuse a size whose last rows or columns the patches would leave out without a word."""
    patch = getattr(getattr(model, "patch_embed", None), "patch_size", None)
    if isinstance(patch, tuple) and any(
        size % side for size, side in zip(spec.input_size, patch, strict=True)
    ):
        raise _unsupported(
            spec, f"supports only multiples of its patch size, {patch[0]}x{patch[1]}"
        )


def _check_same_layers(spec: TimmSpec, model: nn.Module, native: tuple[int, ...]) -> None:
    """Refuse a model whose layers, not only its position embeddings, depend on the image size."""
    import torch

    with torch.device("meta"):
        original = dict(_create(spec).named_modules())
    for name, layer in model.named_modules():
        before = original.get(name)
        if not isinstance(layer, _LAYERS) or not isinstance(before, _LAYERS):
            continue
        shape, was = ("x".join(map(str, each.weight.shape)) for each in (layer, before))
        if shape != was:
            raise SpecError.of_size(
                spec.name,
                spec.input_size,
                f"supports {native[0]}x{native[1]} only, because its layer {name} joins the tokens "
                f"by weights of {was}, which would have to be {shape}",
            )
