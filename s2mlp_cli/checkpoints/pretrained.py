"""The weights that timm publishes for its models, downloaded only with ``--pretrained``."""

from __future__ import annotations

import urllib.error
import urllib.request
from pathlib import Path

from s2mlp_cli.errors import CheckpointError
from s2mlp_cli.specs import ModelSpec, TimmSpec
from s2mlp_cli.specs.timm_names import timm_config

# The file of every timm model on the hub.
WEIGHTS = "model.safetensors"


def fetch_weights(spec: ModelSpec) -> Path:
    """Return the file of a timm model's published weights, downloaded or from the hub's cache.

    Raises:
        CheckpointError: there are none for this model, or the hub cannot be reached.
    """
    from huggingface_hub import hf_hub_download, try_to_load_from_cache

    repository = _repository(spec)
    cached = try_to_load_from_cache(repository, WEIGHTS)
    if isinstance(cached, str):
        return Path(cached)
    _check_reachable(repository)
    try:
        return Path(hf_hub_download(repository, WEIGHTS))
    except OSError as error:
        raise CheckpointError(
            f"the weights {repository} could not be downloaded ({error}); use a file with --ckpt"
        ) from error


def _repository(spec: ModelSpec) -> str:
    if not isinstance(spec, TimmSpec):
        raise CheckpointError(
            f"there are no published weights for {spec.name}; use your own with --ckpt, or a timm "
            "model"
        )
    config = timm_config(spec.timm, spec.name)
    if not config.hf_hub_id:
        raise CheckpointError(f"timm has no weights for {spec.timm}; use a file with --ckpt")
    return str(config.hf_hub_id)


def _check_reachable(repository: str) -> None:
    """Fail at once where the hub's own client would retry for a minute."""
    from huggingface_hub import constants

    try:
        urllib.request.urlopen(constants.ENDPOINT, timeout=10).close()
    except urllib.error.HTTPError:
        return  # it answers: that the front page is refused does not matter
    except OSError as error:
        raise CheckpointError(
            f"the weights {repository} cannot be downloaded, since {constants.ENDPOINT} cannot be "
            f"reached ({getattr(error, 'reason', error)}); connect, or use a file with --ckpt"
        ) from error
