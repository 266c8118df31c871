"""How images are prepared for a model, where neither a checkpoint nor the user says it."""

from __future__ import annotations

from s2mlp_cli.preprocessing import Preprocessing
from s2mlp_cli.specs import ModelSpec, TimmSpec


def default_preprocessing(spec: ModelSpec) -> Preprocessing:
    """Return timm's own evaluation recipe for its models, and the papers' for the others.

    Raises:
        SpecError: timm has no such model.
        UnavailableError: timm's recipe cannot be followed here.
    """
    if isinstance(spec, TimmSpec):
        from s2mlp_cli.models.timm_models import timm_preprocessing

        return timm_preprocessing(spec)
    return Preprocessing(input_size=spec.input_size)
