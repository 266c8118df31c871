"""The packages that exported files need, which are an extra of this one."""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import io
import logging
import warnings
from collections.abc import Iterator

from s2mlp_cli.errors import UnavailableError

# What the extra `runtimes` installs.
ALL = ("onnx", "onnxscript", "onnxruntime", "openvino")


def missing(*names: str) -> str | None:
    """Return a sentence that says how to install what of ``names`` is missing, or None."""
    lacking = [name for name in names if not _there(name)]
    if not lacking:
        return None
    verb = "is" if len(lacking) == 1 else "are"
    return f"{', '.join(lacking)} {verb} not installed; run: pip install {' '.join(ALL)}"


def require(*names: str) -> None:
    """Raise an UnavailableError that says how to install what of ``names`` is missing."""
    reason = missing(*names)
    if reason:
        raise UnavailableError(reason)


def versions() -> dict[str, str]:
    """Return the versions of those that are installed."""
    return {name: importlib.metadata.version(name) for name in ALL if _there(name)}


def _there(name: str) -> bool:
    try:
        importlib.import_module(name)
    except ImportError:
        return False
    return True


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Silence what exporters tell developers: warnings, logs and progress on stdout."""
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
