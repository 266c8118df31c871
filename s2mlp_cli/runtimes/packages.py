"""The packages that exported files need, which are an extra of this one."""

from __future__ import annotations

import importlib
import importlib.metadata

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


def version(name: str) -> str:
    """Return the version of an installed package."""
    return importlib.metadata.version(name)


def versions() -> dict[str, str]:
    """Return the versions of those that are installed."""
    return {name: version(name) for name in ALL if _there(name)}


def _there(name: str) -> bool:
    try:
        importlib.import_module(name)
    except ImportError:
        return False
    return True
