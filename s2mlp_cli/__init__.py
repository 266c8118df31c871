"""Count, time and validate spatial-shift MLPs (S2-MLP v1 and v2) for vision.

The commands call these functions, which return the same records. Each is imported when it is
first used, so that ``import s2mlp_cli`` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from s2mlp_cli import cores  # noqa: F401  (before torch binds this thread to one core)
from s2mlp_cli._version import __version__

if TYPE_CHECKING:  # what a type checker should know of the names below
    from s2mlp_cli.checkpoints.loading import load_checkpoint as load_checkpoint
    from s2mlp_cli.data.detect import open_images as open_images
    from s2mlp_cli.measure.counting.count import count as count
    from s2mlp_cli.measure.profiling.profiler import profile as profile
    from s2mlp_cli.measure.validating.plan import Settings as Settings
    from s2mlp_cli.measure.validating.validate import validate as validate
    from s2mlp_cli.measure.verifying.verify import verify as verify
    from s2mlp_cli.models import build_model as build_model
    from s2mlp_cli.models import set_shift as set_shift
    from s2mlp_cli.models.s2attention import S2Attention as S2Attention
    from s2mlp_cli.shifts.registry import shift as shift
    from s2mlp_cli.specs import load_spec as load_spec

# public name -> the module that it comes from.
_HOMES = {
    "load_spec": "s2mlp_cli.specs",
    "build_model": "s2mlp_cli.models",
    "set_shift": "s2mlp_cli.models",
    "S2Attention": "s2mlp_cli.models.s2attention",
    "shift": "s2mlp_cli.shifts.registry",
    "count": "s2mlp_cli.measure.counting.count",
    "verify": "s2mlp_cli.measure.verifying.verify",
    "profile": "s2mlp_cli.measure.profiling.profiler",
    "load_checkpoint": "s2mlp_cli.checkpoints.loading",
    "open_images": "s2mlp_cli.data.detect",
    "validate": "s2mlp_cli.measure.validating.validate",
    "Settings": "s2mlp_cli.measure.validating.plan",
}

__all__ = ["__version__", *_HOMES]  # noqa: PLE0604  (names, all of them)


def __getattr__(name: str) -> Any:
    """Import a public function when it is first asked for (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 's2mlp_cli' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """List the public functions before their first use too: interactive shells complete them."""
    return sorted({*globals(), *__all__})
