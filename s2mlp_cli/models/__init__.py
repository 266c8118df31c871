"""Models as torch modules, built from specs."""

from s2mlp_cli.models.build import build_model, classifiers, default_preprocessing, set_shift

__all__ = ["build_model", "classifiers", "default_preprocessing", "set_shift"]
