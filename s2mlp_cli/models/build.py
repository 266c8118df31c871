"""Modules from specs of every family."""

from __future__ import annotations

import torch
from torch import nn

from s2mlp_cli.models.s2attention import S2Attention
from s2mlp_cli.models.s2mlp import S2MLP, SpatialShiftMixer
from s2mlp_cli.preprocessing import Preprocessing
from s2mlp_cli.shifts import registry
from s2mlp_cli.specs import GFNetSpec, ModelSpec, S2MLPSpec, TimmSpec, VipSpec


def build_model(
    spec: ModelSpec, shift: str = registry.DEFAULT, device: torch.device | str = "cpu"
) -> nn.Module:
    """Build the model of ``spec`` with random weights, in evaluation mode.

    A family is imported when it is needed: timm takes seconds.

    Args:
        spec: what :func:`s2mlp_cli.specs.load_spec` returned.
        shift: the implementation of the spatial shift, by name.
        device: ``"meta"`` builds without memory or initialisation.

    Returns:
        A module from images of B,3,H,W to logits of B,classes.

    Raises:
        UnavailableError: no such implementation, or it cannot run on this device.
    """
    implementation = registry.get(shift)
    implementation.check_available(torch.device(device))
    model: nn.Module
    with torch.device(device):
        if isinstance(spec, S2MLPSpec):
            model = S2MLP(spec, implementation)
        elif isinstance(spec, VipSpec):
            from s2mlp_cli.models.vip import VisionPermutator

            model = VisionPermutator(spec)
        elif isinstance(spec, GFNetSpec):
            from s2mlp_cli.models.gfnet import GFNet

            model = GFNet(spec)
        elif isinstance(spec, TimmSpec):
            from s2mlp_cli.models.timm_models import build_timm

            model = build_timm(spec)
        else:
            raise AssertionError(f"no builder for the family {spec.family}")
    return model.eval()


def set_shift(model: nn.Module, shift: str) -> int:
    """Switch every mixer of ``model`` to another implementation; the weights stay.

    Returns:
        How many mixers there were: 0 for a model without shifts.

    Raises:
        UnavailableError: no such implementation, or it cannot run on the model's device.
    """
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    implementation = registry.get(shift)
    implementation.check_available(device)
    found = mixers(model)
    for mixer in found:
        mixer.set_implementation(implementation)
    return len(found)


def mixers(model: nn.Module) -> list[SpatialShiftMixer | S2Attention]:
    """Return the parts of ``model`` whose shift can be chosen: this project's mixers."""
    kinds = (SpatialShiftMixer, S2Attention)
    return [module for module in model.modules() if isinstance(module, kinds)]


def has_shifts(model: nn.Module) -> bool:
    """Tell whether ``model`` has a mixer whose implementation can be chosen."""
    return bool(mixers(model))


def default_preprocessing(spec: ModelSpec) -> Preprocessing:
    """Return timm's own evaluation recipe for its models, and the papers' for the others.

    Used where neither a checkpoint nor the user says how images are prepared.

    Raises:
        SpecError: timm has no such model.
        UnavailableError: timm's recipe cannot be followed here.
    """
    if isinstance(spec, TimmSpec):
        from s2mlp_cli.models.timm_models import timm_preprocessing

        return timm_preprocessing(spec)
    return Preprocessing(input_size=spec.input_size)


# What networks call their classifier, where no configuration of timm says it.
_HEADS = ("head", "fc", "classifier", "mlp_head")


def classifiers(model: nn.Module) -> tuple[str, ...]:
    """Return the names of the modules that turn features into logits; usually there is one.

    timm's configuration may name a classifier that the model was built without.
    """
    config = getattr(model, "pretrained_cfg", None)
    if config is None:
        return tuple(name for name in _HEADS if hasattr(model, name))[:1]
    names = config.get("classifier") or ()
    known = {name for name, _ in model.named_modules()}
    return tuple(name for name in ((names,) if isinstance(names, str) else names) if name in known)
