"""Numbers as people read them. Measurements keep raw values; only renderers call these."""

from __future__ import annotations

import math

_DECIMAL = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_BINARY = ((2**40, "TiB"), (2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))
_TIME = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))


def significant(value: float, digits: int = 4) -> str:
    """Return ``value`` with ``digits`` significant digits and no exponent: 16.34, 0.8994, 1634."""
    return f"{value:.{decimals(value, digits)}f}"


def decimals(value: float, digits: int) -> int:
    """Return how many decimals give ``value`` this many significant digits."""
    if not value or not math.isfinite(value):
        return 0
    exponent = int(f"{abs(value):.{digits - 1}e}".partition("e")[2])
    return max(digits - 1 - exponent, 0)


def count(value: float, digits: int = 4) -> str:
    """Return a count in decimal units: ``55.32 M``, ``16.34 G``, ``960``."""
    scaled = _scaled(value, _DECIMAL, digits)
    return scaled or (f"{value:.0f}" if float(value).is_integer() else significant(value, digits))


def size(value: float, digits: int = 4) -> str:
    """Return a number of bytes in binary units: ``1.500 MiB``, ``312 B``."""
    return _scaled(value, _BINARY, digits) or f"{value:.0f} B"


def seconds(value: float, digits: int = 4) -> str:
    """Return a duration in the unit that suits it: ``12.34 ms``."""
    return _scaled(value, _TIME, digits) or f"{significant(value / 1e-9, digits)} ns"


def _scaled(value: float, units: tuple[tuple[float, str], ...], digits: int) -> str | None:
    """Return ``value`` in the largest unit of which it is one or more, once rounded."""
    least = 1 - 0.5 * 10.0**-digits  # 999,960 is 1.000 M, not 1000 k
    for factor, suffix in units:
        if abs(value) >= factor * least:
            return f"{significant(value / factor, digits)} {suffix}"
    return None
